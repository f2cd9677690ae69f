//! From a sentence's sums to its labels and how sure they are: Viterbi for the labels, forward-backward for the
//! probabilities.

use super::Label;

/// What each label of each token is worth.
pub type Sums = [f32; Label::COUNT];

/// What stands around the tokens: the label before them (7 at a sentence's start), and whether nothing stands behind.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// The label before.
    pub before: usize,
    /// The sentence ends here; else a token in no name follows.
    pub last: bool,
}

/// Fills `labels` with the likeliest sequence; `from` is for its use.
pub fn best(
    sums: &[Sums],
    after: &[[f32; 8]; 8],
    around: Around,
    from: &mut Vec<[u8; Label::COUNT]>,
    labels: &mut Vec<u8>,
) {
    labels.clear();
    from.clear();
    let mut score = [f32::NEG_INFINITY; Label::COUNT];
    for (i, sum) in sums.iter().enumerate() {
        let mut next = [f32::NEG_INFINITY; Label::COUNT];
        let mut best = [0u8; Label::COUNT];
        for to in 0..Label::COUNT {
            if i == 0 {
                next[to] = after[around.before][to];
            } else {
                for (label, s) in score.iter().enumerate() {
                    let s = s + after[label][to];
                    if s > next[to] {
                        next[to] = s;
                        best[to] = label as u8;
                    }
                }
            }
            next[to] += sum[to];
        }
        score = next;
        from.push(best);
    }
    if !around.last {
        score.iter_mut().zip(after).for_each(|(s, a)| *s += a[0]);
    }
    let last = (0..Label::COUNT).fold(0, |best, i| if score[i] > score[best] { i } else { best });
    labels.resize(sums.len(), 0);
    let mut label = last as u8;
    for i in (0..sums.len()).rev() {
        labels[i] = label;
        label = from[i][label as usize];
    }
}

/// Fills `odds` with each label's probability at each token.
pub fn odds(sums: &[Sums], after: &[[f32; 8]; 8], around: Around, odds: &mut Vec<Sums>) {
    odds.clear();
    if sums.is_empty() {
        return;
    }
    let turn: [[f32; Label::COUNT]; Label::COUNT] = std::array::from_fn(|a| std::array::from_fn(|b| after[a][b].exp()));
    let emit: Vec<Sums> = sums
        .iter()
        .map(|s| {
            let top = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            s.map(|x| (x - top).exp())
        })
        .collect();
    // Forward, each token's made to sum to one.
    let mut alpha: Sums = std::array::from_fn(|y| after[around.before][y].exp() * emit[0][y]);
    normalize(&mut alpha);
    odds.push(alpha);
    for e in &emit[1..] {
        let mut next = [0.0; Label::COUNT];
        for (a, row) in alpha.iter().zip(&turn) {
            for (n, t) in next.iter_mut().zip(row) {
                *n += a * t;
            }
        }
        for (n, e) in next.iter_mut().zip(e) {
            *n *= e;
        }
        normalize(&mut next);
        odds.push(next);
        alpha = next;
    }
    let mut beta: Sums = std::array::from_fn(|y| if around.last { 1.0 } else { turn[y][0] });
    for i in (0..sums.len()).rev() {
        for (o, b) in odds[i].iter_mut().zip(&beta) {
            *o *= b;
        }
        normalize(&mut odds[i]);
        let mut back = [0.0; Label::COUNT];
        for (b, row) in back.iter_mut().zip(&turn) {
            *b = row.iter().zip(&beta).zip(&emit[i]).map(|((t, b), e)| t * b * e).sum();
        }
        normalize(&mut back);
        beta = back;
    }
}

fn normalize(x: &mut Sums) {
    let sum: f32 = x.iter().sum();
    if sum > 0.0 {
        x.iter_mut().for_each(|v| *v /= sum);
    }
}
