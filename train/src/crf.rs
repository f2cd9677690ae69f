//! Trains a linear-chain conditional random field: likelihood by forward-backward, steps by FTRL-proximal (McMahan et
//! al., "Ad click prediction", 2013), which keeps most weights at zero.

use tabellion_detect::tagger::{Label, decode};

pub(crate) const LABELS: usize = Label::COUNT;

/// A sentence as the trainer sees it: the numbers of its features, token after token, and its labels.
#[derive(Default)]
pub(crate) struct Example {
    pub features: Vec<u32>,
    pub ends: Vec<u32>,
    pub labels: Vec<u8>,
}

/// Eight lanes: seven labels and a spare.
type Lanes = [f32; 8];

pub(crate) struct Crf {
    pub weights: Vec<Lanes>,
    z: Vec<Lanes>,
    n: Vec<Lanes>,
    /// `[from][to]`, the last row for the sentence's first token.
    pub after: [Lanes; 8],
    after_n: [Lanes; 8],
    alpha: f32,
    l1: f32,
    l2: f32,
}

const BETA: f32 = 1.0;

impl Crf {
    pub(crate) fn new(features: usize, alpha: f32, l1: f32, l2: f32) -> Self {
        let mut after = [[0.0; 8]; 8];
        for (from, row) in after.iter_mut().enumerate() {
            for (to, x) in row.iter_mut().enumerate().take(LABELS) {
                let continues = from < LABELS && Label::entity(from as u8) == Label::entity(to as u8);
                if Label::further(to as u8) && !continues {
                    *x = -1e4;
                }
            }
        }
        Self {
            weights: vec![[0.0; 8]; features],
            z: vec![[0.0; 8]; features],
            n: vec![[0.0; 8]; features],
            after,
            after_n: [[0.0; 8]; 8],
            alpha,
            l1,
            l2,
        }
    }

    /// One step on one sentence; what it said of the right labels.
    pub(crate) fn step(&mut self, example: &Example, sums: &mut Vec<decode::Sums>) -> f64 {
        sums.clear();
        let mut begin = 0;
        for &end in &example.ends {
            let mut sum = [0.0f32; 8];
            for &f in &example.features[begin as usize..end as usize] {
                for (s, w) in sum.iter_mut().zip(&self.weights[f as usize]) {
                    *s += w;
                }
            }
            sums.push(std::array::from_fn(|i| sum[i]));
            begin = end;
        }
        let mut loss = 0.0;
        let pairs = forward_backward(sums, &self.after);
        begin = 0;
        for (i, &end) in example.ends.iter().enumerate() {
            let gold = example.labels[i] as usize;
            let mut gradient = [0.0f32; 8];
            gradient[..LABELS].copy_from_slice(&pairs.odds[i]);
            loss -= f64::from(gradient[gold].max(1e-9).ln());
            gradient[gold] -= 1.0;
            if gradient.iter().any(|g| g.abs() > 2e-3) {
                let squares = gradient.map(|g| g * g);
                for &f in &example.features[begin as usize..end as usize] {
                    let (w, z, n) = (&mut self.weights[f as usize], &mut self.z[f as usize], &mut self.n[f as usize]);
                    for y in 0..8 {
                        let was = n[y].sqrt();
                        n[y] += squares[y];
                        let now = n[y].sqrt();
                        z[y] += gradient[y] - (now - was) / self.alpha * w[y];
                        let over = (z[y].abs() - self.l1).max(0.0);
                        w[y] = -over.copysign(z[y]) / ((BETA + now) / self.alpha + self.l2);
                    }
                }
            }
            begin = end;
        }
        // What labels add after one another: plain AdaGrad.
        let mut gradient = pairs.after;
        let mut before = 7;
        for &label in &example.labels {
            gradient[before][label as usize] -= 1.0;
            before = label as usize;
        }
        for from in 0..8 {
            for to in 0..LABELS {
                let g = gradient[from][to];
                if self.after[from][to] > -1e3 && g != 0.0 {
                    self.after_n[from][to] += g * g;
                    self.after[from][to] -= 0.05 * g / (1.0 + self.after_n[from][to]).sqrt();
                }
            }
        }
        loss
    }
}

struct Expected {
    odds: Vec<decode::Sums>,
    after: [Lanes; 8],
}

fn forward_backward(sums: &[decode::Sums], after: &[Lanes; 8]) -> Expected {
    let n = sums.len();
    let mut expected = Expected { odds: Vec::with_capacity(n), after: [[0.0; 8]; 8] };
    if n == 0 {
        return expected;
    }
    let turn: [[f32; LABELS]; 8] = std::array::from_fn(|a| std::array::from_fn(|b| after[a][b].exp()));
    let emit: Vec<decode::Sums> = sums
        .iter()
        .map(|s| {
            let top = s.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            s.map(|x| (x - top).exp())
        })
        .collect();
    let scaled = |mut x: decode::Sums| {
        let sum: f32 = x.iter().sum::<f32>().max(1e-30);
        x.iter_mut().for_each(|v| *v /= sum);
        x
    };
    let mut alphas = Vec::with_capacity(n);
    let mut alpha = scaled(std::array::from_fn(|y| turn[7][y] * emit[0][y]));
    alphas.push(alpha);
    for e in &emit[1..] {
        alpha = scaled(std::array::from_fn(|y| (0..LABELS).map(|x| alpha[x] * turn[x][y]).sum::<f32>() * e[y]));
        alphas.push(alpha);
    }
    let mut betas = vec![[1.0; LABELS]; n];
    for i in (0..n - 1).rev() {
        let next: decode::Sums = std::array::from_fn(|y| betas[i + 1][y] * emit[i + 1][y]);
        betas[i] = scaled(std::array::from_fn(|x| (0..LABELS).map(|y| turn[x][y] * next[y]).sum()));
        let mut pair = [[0.0; LABELS]; LABELS];
        let mut total = 0.0;
        for x in 0..LABELS {
            for y in 0..LABELS {
                pair[x][y] = alphas[i][x] * turn[x][y] * next[y];
                total += pair[x][y];
            }
        }
        for x in 0..LABELS {
            for y in 0..LABELS {
                expected.after[x][y] += pair[x][y] / total.max(1e-30);
            }
        }
    }
    for i in 0..n {
        expected.odds.push(scaled(std::array::from_fn(|y| alphas[i][y] * betas[i][y])));
    }
    for y in 0..LABELS {
        expected.after[7][y] += expected.odds[0][y];
    }
    expected
}
