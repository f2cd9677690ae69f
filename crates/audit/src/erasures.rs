//! What is not there any more: removed, as the log itself says, or missing.
//!
//! The entry that says so comes later in the log than what it is about. So what is lacking is kept until that was read,
//! as ranges of entries, of which there may be millions; which parts of them nothing excuses, the entries are read a
//! second time to say ([`crate::entries::Scope::missing`]).

use tabellion_evidence::entry::{Entry, Kind};
use tabellion_evidence::ranges::Ranges;

use crate::report::{Checked, LISTED_MAX};

/// What entries lack, and what others say of that.
#[derive(Default)]
pub(crate) struct Erasures {
    /// Entries that lack content: a part of it is in no pack, or only in a later one.
    pub(crate) content: Ranges,
    /// Entries that name sealed pieces that are nowhere.
    pub(crate) sealed: Ranges,
    /// Entries that later ones say were erased.
    erased: Ranges,
    /// Entries that later ones say expired.
    expired: Ranges,
    /// Which entries say that others expired, the first of them.
    pub(crate) expiries: Vec<u64>,
    /// How many of the expired lack content.
    removed: u64,
}

impl Erasures {
    /// Takes in what an entry says of others. What comes after it, it cannot speak of; so who said a thing need not be kept.
    pub(crate) fn say(&mut self, index: u64, entry: &Entry) {
        let said = match entry.kind {
            Kind::Erase => &mut self.erased,
            Kind::Expire => &mut self.expired,
            _ => return,
        };
        for &(first, last) in entry.erase.iter().flat_map(|erase| &erase.entries) {
            if first < index {
                said.add(first, last.min(index - 1));
            }
        }
        if entry.kind == Kind::Expire {
            self.expiries.push(index);
        }
    }

    pub(crate) fn take(&mut self, later: Self) {
        self.content.extend(later.content);
        self.sealed.extend(later.sealed);
        self.erased.extend(later.erased);
        self.expired.extend(later.expired);
        self.expiries.extend(later.expiries);
        self.expiries.truncate(LISTED_MAX);
        self.removed += later.removed;
    }

    /// Drops what is excused by what was said so far.
    pub(crate) fn settle(&mut self) {
        for ranges in [&mut self.content, &mut self.sealed, &mut self.erased, &mut self.expired] {
            ranges.order();
        }
        let lacking = self.content.count();
        self.content.remove(&self.expired);
        self.removed += lacking - self.content.count();
        self.sealed.remove(&self.erased);
        self.sealed.remove(&self.expired);
    }

    /// Whether nothing is lacking, but for what [`Erasures::settle`] dropped.
    pub(crate) fn lacks_nothing(&self) -> bool {
        self.content.is_empty() && self.sealed.is_empty()
    }

    /// Adds how many it is that the entries that were read say of, once that is settled. (One that was erased by an entry
    /// before a state, and again by one after it, counts twice.)
    pub(crate) fn count(&self, checked: &mut Checked) {
        checked.erased += self.erased.count();
        checked.expired += self.expired.count();
        checked.removed += self.removed;
    }
}
