//! Sealed pieces that are nowhere: erased, as the log itself says, or missing.

use tabellion_evidence::audit::Problem;
use tabellion_evidence::entry::Erase;
use tabellion_evidence::tree::Hash;

use crate::entries::Entries;

/// What entries lack, and what others say of that.
#[derive(Default)]
pub(crate) struct Erasures {
    lacking: Vec<(u64, Hash)>,
    said: Vec<(u64, Erase)>,
}

impl Erasures {
    pub(crate) fn take(&mut self, read: &mut Entries) {
        self.lacking.append(&mut read.lacking);
        self.said.append(&mut read.erasures);
    }

    pub(crate) fn lacks_nothing(&self) -> bool {
        self.lacking.is_empty()
    }

    /// How many entries' originals were erased, by the entries that were read.
    pub(crate) fn count(&self) -> u64 {
        let ranges = self.said.iter().flat_map(|(_, erase)| &erase.entries);
        let mut ranges: Vec<(u64, u64)> = ranges.copied().collect();
        ranges.sort_unstable();
        let (mut count, mut next) = (0, 0);
        for (first, last) in ranges {
            let first = first.max(next);
            if first <= last {
                count += last - first + 1;
                next = last + 1;
            }
        }
        count
    }

    /// Those pieces that no later entry says were erased.
    pub(crate) fn missing(self) -> impl Iterator<Item = Problem> {
        let said = self.said;
        let erased = move |entry| said.iter().any(|(at, erase)| *at > entry && erase.names(entry));
        self.lacking
            .into_iter()
            .filter(move |&(entry, _)| !erased(entry))
            .map(|(entry, part)| Problem::SealedMissing { entry, part })
    }
}
