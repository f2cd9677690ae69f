//! Which parts are surely not stored yet, without asking the catalog.
//!
//! Nearly every part is new, and to find in a large table that something is not there costs more than everything else
//! that giving out a position takes. So all parts that the log has are in a Bloom filter, in memory. It learns those of
//! earlier runs from the catalog bit by bit, in the order of their hashes, so that starting does not wait for it: until
//! it has come to a hash it knows nothing of it. What it takes for possible the catalog is asked about.

use tabellion_evidence::tree::Hash;

use crate::{Catalog, LedgerError};

/// 16 MiB: 32 bits a part for four million parts. With many more the filter only gets useless.
const BLOCKS: usize = if cfg!(test) { 1 << 4 } else { 1 << 18 };
/// Bits of a part, all in one block, which is one line of the processor's cache.
const BITS: usize = 6;
/// How many parts are read at once from the catalog: a fraction of a millisecond.
const READ_AT_ONCE: usize = if cfg!(test) { 3 } else { 1024 };

/// How far the catalog has been read.
#[derive(Clone, Copy)]
enum Read {
    Nothing,
    To(Hash),
    Everything,
}

pub(crate) struct Filter {
    blocks: Vec<[u64; 8]>,
    read: Read,
}

impl Filter {
    pub(crate) fn new() -> Self {
        Self { blocks: vec![[0; 8]; BLOCKS], read: Read::Nothing }
    }

    fn place(hash: &Hash) -> (usize, impl Iterator<Item = (usize, u64)>) {
        // A SHA-256 value is as good as random, so its bytes need no further hashing.
        let word = |at: usize| u64::from_be_bytes(hash.0[at..at + 8].try_into().expect("8 bytes"));
        let bits = word(16);
        let bits = (0..BITS).map(move |n| (bits >> (9 * n)) as usize % 512).map(|bit| (bit / 64, 1 << (bit % 64)));
        (word(8) as usize % BLOCKS, bits)
    }

    /// Takes in a part that is going to be stored.
    pub(crate) fn insert(&mut self, hash: &Hash) {
        let (block, bits) = Self::place(hash);
        for (word, bit) in bits {
            self.blocks[block][word] |= bit;
        }
    }

    /// Whether this part is surely not stored.
    pub(crate) fn lacks(&self, hash: &Hash) -> bool {
        let known_of = match &self.read {
            Read::Nothing => false,
            Read::To(last) => hash <= last,
            Read::Everything => true,
        };
        let (block, mut bits) = Self::place(hash);
        known_of && bits.any(|(word, bit)| self.blocks[block][word] & bit == 0)
    }

    /// Reads on in the catalog, if that has everything that was published.
    pub(crate) fn read_on(&mut self, catalog: &mut Catalog, published: u64) -> Result<(), LedgerError> {
        let after = match self.read {
            Read::Nothing => None,
            Read::To(last) => Some(last),
            Read::Everything => return Ok(()),
        };
        let Some(hashes) = catalog.parts_after(after, READ_AT_ONCE, published)? else { return Ok(()) };
        for hash in &hashes {
            self.insert(hash);
        }
        self.read = match hashes.last() {
            Some(last) if hashes.len() == READ_AT_ONCE => Read::To(*last),
            _ => Read::Everything,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tabellion_evidence::tree::{self, sha256};

    use super::*;
    use crate::catalog::News;

    #[test]
    fn never_says_of_a_stored_part_that_it_is_not() {
        let hashes: Vec<Hash> = (0..40_u32).map(|n| sha256(n.to_be_bytes())).collect();
        let (earlier, later) = hashes.split_at(20);
        let mut news = News::new(0);
        news.add(0, &[b"{}"], &earlier.iter().map(|&hash| (hash, 0, 1)).collect::<Vec<_>>(), &[]);
        let mut catalog = Catalog::in_memory().unwrap();
        let mut filter = Filter::new();
        let lacked = |filter: &Filter| hashes.iter().filter(|hash| filter.lacks(hash)).count();

        filter.read_on(&mut catalog, 1).unwrap();
        assert_eq!(lacked(&filter), 0, "a catalog that is behind says nothing");
        assert!(catalog.advance(&mut news, 1, tree::empty_root()).unwrap());
        let mut before = 0;
        for _ in 0..=earlier.len() / READ_AT_ONCE {
            filter.read_on(&mut catalog, 1).unwrap();
            assert!(earlier.iter().all(|hash| !filter.lacks(hash)));
            assert!(lacked(&filter) >= before, "it learns");
            before = lacked(&filter);
        }
        assert!(before > later.len() / 2, "{before}");
        for (position, hash) in later.iter().enumerate() {
            filter.insert(hash);
            assert!(later[..=position].iter().chain(earlier).all(|hash| !filter.lacks(hash)));
        }
        assert_eq!(lacked(&filter), 0);
    }
}
