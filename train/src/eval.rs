//! Counts what a tagger finds against what is there.

use crate::data::Sentence;
use tabellion_detect::tagger::{Entity, Span, Tagger};

/// Counts for one entity.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    right: usize,
    found: usize,
    there: usize,
    touched: usize,
}

impl Count {
    fn rate(a: usize, b: usize) -> f64 {
        if b == 0 { 0.0 } else { a as f64 / b as f64 }
    }
    pub(crate) fn precision(&self) -> f64 {
        Self::rate(self.right, self.found)
    }
    pub(crate) fn recall(&self) -> f64 {
        Self::rate(self.right, self.there)
    }
    pub(crate) fn f1(&self) -> f64 {
        Self::rate(2 * self.right, self.found + self.there)
    }
    /// Of what is there, the part that something found of the same kind overlaps.
    pub(crate) fn touched(&self) -> f64 {
        Self::rate(self.touched, self.there)
    }
}

pub(crate) const ENTITIES: [Entity; 3] = [Entity::Person, Entity::Location, Entity::Organization];

/// Counts over sentences for people, places and organizations, of what scores at least `least`.
pub(crate) fn count(
    tagger: &Tagger<'_>,
    sentences: &[Sentence],
    small: bool,
    least: f32,
    mut see: impl FnMut(&Sentence, &[Span]),
) -> [Count; 3] {
    let mut counts = [Count::default(); 3];
    for s in sentences {
        let small = small.then(|| crate::data::rebuild(s, |t, _| t.to_lowercase()));
        let s = small.as_ref().unwrap_or(s);
        let mut spans = tagger.tag(&s.text);
        spans.retain(|span| span.score >= least);
        for (count, entity) in counts.iter_mut().zip(ENTITIES) {
            let found: Vec<_> = spans.iter().filter(|x| x.entity == entity).collect();
            count.found += found.len();
            for (start, end, _) in s.spans.iter().filter(|x| x.2 == entity) {
                count.there += 1;
                count.right += usize::from(found.iter().any(|x| x.start == *start && x.end == *end));
                count.touched += usize::from(found.iter().any(|x| x.start < *end && x.end > *start));
            }
        }
        see(s, &spans);
    }
    counts
}
