//! Sets of entries that are mostly next to each other.

/// Entries, as ranges from a first to a last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// In order and apart from each other, once [`Ranges::order`] was called.
    list: Vec<(u64, u64)>,
    /// How long the list may become before it is put in order.
    room: usize,
}

impl Ranges {
    /// The list never has more than twice as many ranges as are apart from each other, but for so many.
    const ROOM_MIN: usize = 1 << 10;

    /// Adds the entries from a first to a last.
    pub fn add(&mut self, first: u64, last: u64) {
        match self.list.last_mut() {
            // Nearly all come in order.
            Some(end) if end.0 <= first && first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.list.push((first, last)),
        }
        if self.list.len() > self.room.max(Self::ROOM_MIN) {
            self.order();
            self.room = 2 * self.list.len();
        }
    }

    /// Adds others.
    pub fn extend(&mut self, later: Self) {
        later.list.into_iter().for_each(|(first, last)| self.add(first, last));
    }

    /// Puts them in order: ascending, and apart from each other.
    pub fn order(&mut self) {
        self.list.sort_unstable();
        self.list.dedup_by(|next, end| {
            let joins = next.0 <= end.1.saturating_add(1);
            if joins {
                end.1 = end.1.max(next.1);
            }
            joins
        });
    }

    /// Takes out those that are among others. Both are in order.
    pub fn remove(&mut self, others: &Self) {
        let mut rest = Vec::new();
        let mut others = &*others.list;
        for &(mut first, last) in &self.list {
            others = &others[others.partition_point(|other| other.1 < first)..];
            for &(from, to) in others.iter().take_while(|other| other.0 <= last) {
                if first < from {
                    rest.push((first, from - 1));
                }
                first = to.saturating_add(1);
            }
            if first <= last {
                rest.push((first, last));
            }
        }
        self.list = rest;
    }

    /// How many entries they are, in order.
    pub fn count(&self) -> u64 {
        self.list.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Whether an entry is among them, in order.
    pub fn has(&self, entry: u64) -> bool {
        let after = self.list.partition_point(|&(first, _)| first <= entry);
        after > 0 && entry <= self.list[after - 1].1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The ranges, first and last of each.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.list.iter().copied()
    }

    /// Groups of so many entries that any of them is in, by number.
    pub fn groups(&self, of: u64) -> impl Iterator<Item = u64> {
        self.list.iter().flat_map(move |(first, last)| first / of..=last / of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        list.iter().for_each(|&(first, last)| ranges.add(first, last));
        ranges.order();
        ranges
    }

    #[test]
    fn ranges_are_the_entries_that_went_in_whatever_their_order() {
        // Every two ranges within eight entries, and every other two taken from them.
        let all: Vec<(u64, u64)> = (0..8).flat_map(|first| (first..8).map(move |last| (first, last))).collect();
        let among = |list: &[(u64, u64)], entry| list.iter().any(|(first, last)| (*first..=*last).contains(&entry));
        for &a in &all {
            for &b in &all {
                let ranges = ranges(&[a, b]);
                assert!((0..9).all(|entry| ranges.has(entry) == among(&[a, b], entry)), "{a:?} {b:?}");
                assert!(ranges.list.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                assert_eq!(ranges.count(), (0..9).filter(|&entry| ranges.has(entry)).count() as u64);
                for &c in &all {
                    for d in [c, (0, 0), (3, 3)] {
                        let mut rest = ranges.clone();
                        rest.remove(&self::ranges(&[c, d]));
                        let left = |entry| ranges.has(entry) && !among(&[c, d], entry);
                        assert!((0..9).all(|entry| rest.has(entry) == left(entry)), "{a:?} {b:?} without {c:?} {d:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_million_entries_that_come_in_any_order_take_no_more_room_than_the_ranges_that_they_make() {
        let mut ranges = Ranges::default();
        for n in 0..1_000_000_u64 {
            // 7 and 2^20 have no factor in common, so each comes once.
            let entry = n.wrapping_mul(7) % (1 << 20);
            ranges.add(entry, entry);
            ranges.add(entry / 2, entry / 2 + 600_000);
            assert!(ranges.list.len() <= ranges.room.max(Ranges::ROOM_MIN));
        }
        assert!(ranges.list.capacity() < 1 << 21);
    }
}
