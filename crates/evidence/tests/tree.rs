//! The tree against RFC 6962's recursive definition, for every small case.

use std::collections::HashMap;

use tabellion_evidence::Hash;
use tabellion_evidence::tile::{self, TileId};
use tabellion_evidence::tree::{
    self, Frontier, ProofError, Tiles, TreeError, empty_root, leaf_hash, node_hash, verify_consistency,
    verify_inclusion,
};

/// RFC 6962, section 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// Section 2.1.1.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) =
        if m < left.len() { (path(m, left), mth(right)) } else { (path(m - left.len(), right), mth(left)) };
    proof.push(sibling);
    proof
}

/// Section 2.1.2.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if m <= left.len() {
        (subproof(m, left, whole), mth(right))
    } else {
        (subproof(m - left.len(), right, false), mth(left))
    };
    proof.push(sibling);
    proof
}

fn leaves(size: usize) -> Vec<Hash> {
    (0..size).map(|n| leaf_hash(format!("leaf {n}").as_bytes())).collect()
}

/// Tiles in a map, as a log of this size has them in files.
struct Map {
    tiles: HashMap<(u8, u64), Vec<u8>>,
}

impl Map {
    /// Cut from the definition of a tile, without `Frontier`.
    fn of(leaves: &[Hash]) -> Self {
        let mut tiles = HashMap::new();
        for id in tile::tiles_of(leaves.len() as u64) {
            let span = 256usize.pow(u32::from(id.level));
            let first = id.index as usize * 256;
            let hashes = (first..first + usize::from(id.width)).map(|n| mth(&leaves[n * span..(n + 1) * span]));
            tiles.insert((id.level, id.index), hashes.flat_map(|hash| hash.0).collect());
        }
        Self { tiles }
    }
}

impl Tiles for Map {
    type Error = (u8, u64);

    fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, (u8, u64)> {
        let bytes = self.tiles.get(&(level, index)).ok_or((level, index))?;
        Ok(bytes[..usize::from(width) * 32].to_vec())
    }
}

#[test]
fn a_frontier_has_the_root_of_the_definition() {
    let leaves = leaves(600);
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), empty_root());
    for (n, leaf) in leaves.iter().enumerate() {
        frontier.push(*leaf);
        assert_eq!(frontier.size(), n as u64 + 1);
        assert_eq!(frontier.root(), mth(&leaves[..=n]), "size {}", n + 1);
        let again = Frontier::from_parts(frontier.size(), frontier.parts().to_vec());
        assert_eq!(again.as_ref(), Some(&frontier));
    }
    assert_eq!(Frontier::from_parts(3, vec![leaves[0]]), None);
    assert_eq!(Frontier::from_parts(4, vec![leaves[0]; 3]), None);
    assert_eq!(Frontier::from_parts(0, vec![leaves[0]]), None);
}

#[test]
fn a_frontier_calls_back_each_perfect_subtree_once() {
    let leaves = leaves(300);
    let mut frontier = Frontier::new();
    let mut seen = HashMap::new();
    for leaf in &leaves {
        frontier.push_with(*leaf, |level, index, hash| {
            assert_eq!(seen.insert((level, index), hash), None);
        });
    }
    let mut expected = 0;
    for level in 0..9u8 {
        for index in 0..300usize >> level {
            let run = index << level..(index + 1) << level;
            assert_eq!(seen.get(&(level, index as u64)), Some(&mth(&leaves[run])));
            expected += 1;
        }
    }
    assert_eq!(seen.len(), expected);
}

#[test]
fn tiles_written_from_callbacks_are_those_of_the_definition() {
    let leaves = leaves(1000);
    let mut frontier = Frontier::new();
    let mut written: HashMap<(u8, u64), Vec<u8>> = HashMap::new();
    for leaf in &leaves {
        frontier.push_with(*leaf, |level, index, hash| {
            if level % 8 == 0 {
                written.entry((level / 8, index / 256)).or_default().extend_from_slice(&hash.0);
            }
        });
    }
    assert_eq!(written, Map::of(&leaves).tiles);
}

#[test]
fn every_inclusion_proof_up_to_300_is_right_and_every_change_refused() {
    let all = leaves(300);
    for size in (1..=64).chain([127, 128, 129, 255, 256, 257, 299, 300]) {
        let leaves = &all[..size];
        let (tiles, root) = (Map::of(leaves), mth(leaves));
        for index in 0..size {
            let (n, m) = (index as u64, size as u64);
            let proof = tree::inclusion_proof(n, m, &tiles).expect("the tiles are there");
            assert_eq!(proof, path(index, leaves), "{index} of {size}");
            let leaf = &leaves[index];
            assert_eq!(verify_inclusion(n, m, leaf, &proof, &root), Ok(()));

            for (position, hash) in proof.iter().enumerate() {
                let mut changed = proof.clone();
                changed[position] = flipped(hash, index);
                assert_eq!(verify_inclusion(n, m, leaf, &changed, &root), Err(ProofError::Root));
            }
            for cut in 0..proof.len() {
                assert_eq!(verify_inclusion(n, m, leaf, &proof[..cut], &root), Err(ProofError::Length));
                assert_eq!(verify_inclusion(n, m, leaf, &proof[cut + 1..], &root), Err(ProofError::Length));
            }
            let mut longer = proof.clone();
            longer.push(root);
            assert_eq!(verify_inclusion(n, m, leaf, &longer, &root), Err(ProofError::Length));
            assert_eq!(verify_inclusion(n, m, &flipped(leaf, 3), &proof, &root), Err(ProofError::Root));
            assert_eq!(verify_inclusion(n, m, leaf, &proof, &flipped(&root, 9)), Err(ProofError::Root));
            assert_eq!(verify_inclusion(m, m, leaf, &proof, &root), Err(ProofError::Size));
            for other in (0..m).filter(|other| *other != n) {
                assert!(verify_inclusion(other, m, leaf, &proof, &root).is_err());
            }
        }
    }
}

#[test]
fn every_inclusion_proof_of_every_size_up_to_300_verifies() {
    let all = leaves(300);
    let mut seen = HashMap::new();
    for size in 1..=300 {
        let tiles = Map::of(&all[..size]);
        let root = range(&all, 0, size, &mut seen);
        for (index, leaf) in all[..size].iter().enumerate() {
            let proof = path_in(&all, index, 0, size, &mut seen);
            assert_eq!(verify_inclusion(index as u64, size as u64, leaf, &proof, &root), Ok(()));
            // From tiles, some of each size: all of them take a minute.
            if index % 29 == size % 29 {
                let from_tiles = tree::inclusion_proof(index as u64, size as u64, &tiles);
                assert_eq!(from_tiles, Ok(proof), "{index} of {size}");
            }
        }
        assert_eq!(tree::root(size as u64, size as u64, &tiles), Ok(root));
    }
}

/// [`mth`] of a range, remembering every range that it saw.
fn range(leaves: &[Hash], begin: usize, end: usize, seen: &mut HashMap<(usize, usize), Hash>) -> Hash {
    if let Some(hash) = seen.get(&(begin, end)) {
        return *hash;
    }
    let hash = if end - begin == 1 {
        leaves[begin]
    } else {
        let middle = begin + (end - begin).next_power_of_two() / 2;
        let left = range(leaves, begin, middle, seen);
        node_hash(&left, &range(leaves, middle, end, seen))
    };
    seen.insert((begin, end), hash);
    hash
}

/// [`path`] with the help of [`range`].
fn path_in(leaves: &[Hash], m: usize, begin: usize, end: usize, seen: &mut HashMap<(usize, usize), Hash>) -> Vec<Hash> {
    if end - begin == 1 {
        return Vec::new();
    }
    let middle = begin + (end - begin).next_power_of_two() / 2;
    let (mut proof, sibling) = if m < middle {
        (path_in(leaves, m, begin, middle, seen), range(leaves, middle, end, seen))
    } else {
        (path_in(leaves, m, middle, end, seen), range(leaves, begin, middle, seen))
    };
    proof.push(sibling);
    proof
}

#[test]
fn every_consistency_proof_up_to_70_is_right_and_every_change_refused() {
    let all = leaves(300);
    for new in (1..=70).chain([255, 256, 257, 300]) {
        let leaves = &all[..new];
        let (tiles, new_root) = (Map::of(leaves), mth(leaves));
        for old in 1..=new {
            let (m, n) = (old as u64, new as u64);
            let old_root = mth(&leaves[..old]);
            let proof = tree::consistency_proof(m, n, &tiles).expect("the tiles are there");
            assert_eq!(proof, subproof(old, leaves, true), "{old} to {new}");
            let verify =
                |old_root: &Hash, new_root: &Hash, proof: &[Hash]| verify_consistency(m, old_root, n, new_root, proof);
            assert_eq!(verify(&old_root, &new_root, &proof), Ok(()));
            assert_eq!(tree::root(m, n, &tiles), Ok(old_root));

            for (position, hash) in proof.iter().enumerate() {
                let mut changed = proof.clone();
                changed[position] = flipped(hash, old);
                assert_eq!(verify(&old_root, &new_root, &changed), Err(ProofError::Root));
            }
            for cut in 0..proof.len() {
                assert!(verify(&old_root, &new_root, &proof[..cut]).is_err());
                assert!(verify(&old_root, &new_root, &proof[cut + 1..]).is_err());
            }
            let mut longer = proof.clone();
            longer.push(new_root);
            assert_eq!(verify(&old_root, &new_root, &longer), Err(ProofError::Length));
            assert_eq!(verify(&flipped(&old_root, 1), &new_root, &proof), Err(ProofError::Root));
            assert_eq!(verify(&old_root, &flipped(&new_root, 1), &proof), Err(ProofError::Root));
            if old < new {
                assert_eq!(verify_consistency(n, &new_root, m, &old_root, &proof), Err(ProofError::Size));
            }
        }
    }
}

#[test]
fn everything_extends_the_empty_tree() {
    let (one, empty) = (leaf_hash(b"one"), empty_root());
    assert_eq!(verify_consistency(0, &empty, 1, &one, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &one, 1, &one, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, &empty, 0, &one, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, &one, 0, &one, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(0, &empty, 1, &one, &[one]), Err(ProofError::Length));
}

#[test]
fn tiles_of_a_large_tree_give_its_frontier_root_and_proofs() {
    let leaves = leaves(70_000);
    let tiles = Map::of(&leaves);
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.push(*leaf);
    }
    let size = frontier.size();
    let root = frontier.root();
    assert_eq!(tree::frontier(size, &tiles), Ok(frontier));
    assert_eq!(tree::root(size, size, &tiles), Ok(root));
    for old in [1, 255, 256, 257, 4096, 65_535, 65_536, 65_537, 69_999, 70_000] {
        let old_root = tree::root(old, size, &tiles).expect("the tiles are there");
        assert_eq!(old_root, mth(&leaves[..old as usize]));
        let proof = tree::consistency_proof(old, size, &tiles).expect("the tiles are there");
        assert_eq!(verify_consistency(old, &old_root, size, &root, &proof), Ok(()));
        let proof = tree::inclusion_proof(old - 1, size, &tiles).expect("the tiles are there");
        assert_eq!(verify_inclusion(old - 1, size, &leaves[old as usize - 1], &proof, &root), Ok(()));
    }
}

#[test]
fn refuses_what_the_tree_does_not_have() {
    let tiles = Map::of(&leaves(5));
    assert_eq!(tree::inclusion_proof(5, 5, &tiles), Err(TreeError::Size));
    assert_eq!(tree::inclusion_proof(0, 0, &tiles), Err(TreeError::Size));
    assert_eq!(tree::consistency_proof(6, 5, &tiles), Err(TreeError::Size));
    assert_eq!(tree::root(6, 5, &tiles), Err(TreeError::Size));
    assert_eq!(tree::consistency_proof(0, 5, &tiles), Ok(Vec::new()));
    // A tree that the source has not: its answer comes through.
    assert_eq!(tree::inclusion_proof(0, 300, &Map::of(&[])), Err(TreeError::Source((0, 1))));
}

#[test]
fn refuses_tiles_of_the_wrong_length_and_takes_wider_ones() {
    struct Bytes(usize);
    impl Tiles for Bytes {
        type Error = std::convert::Infallible;
        fn tile(&self, _: u8, _: u64, _: u16) -> Result<Vec<u8>, Self::Error> {
            Ok(vec![7; self.0])
        }
    }
    let bad = Err(TreeError::Tile { level: 0, index: 0 });
    for length in [0, 31, 32, 95, 97] {
        assert_eq!(tree::root(3, 3, &Bytes(length)), bad, "{length} bytes");
    }
    assert_eq!(tree::root(3, 3, &Bytes(96)), tree::root(3, 3, &Bytes(8192)));
}

#[test]
fn nothing_overflows_at_the_largest_sizes() {
    struct Sevens;
    impl Tiles for Sevens {
        type Error = std::convert::Infallible;
        fn tile(&self, _: u8, _: u64, width: u16) -> Result<Vec<u8>, Self::Error> {
            assert!((1..=256).contains(&width));
            Ok(vec![7; usize::from(width) * 32])
        }
    }
    let leaf = Hash([7; 32]);
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1, (1 << 63) - 1] {
        let root = tree::root(size, size, &Sevens).expect("sevens");
        for index in [0, 1, size / 2, size - 2, size - 1] {
            let proof = tree::inclusion_proof(index, size, &Sevens).expect("sevens");
            assert!(proof.len() <= 64);
            // Sevens are no tree: only that it does not panic is asked.
            let _ = verify_inclusion(index, size, &leaf, &proof, &root);
            let proof = tree::consistency_proof(index, size, &Sevens).expect("sevens");
            let _ = verify_consistency(index, &leaf, size, &root, &proof);
        }
        assert_eq!(tree::frontier(size, &Sevens).map(|frontier| frontier.root()), Ok(root));
    }
}

#[test]
fn lists_the_tiles_that_a_size_has() {
    let list = |size| tile::tiles_of(size).map(|id| id.path()).collect::<Vec<_>>();
    assert!(list(0).is_empty());
    assert_eq!(list(1), ["tile/0/000.p/1"]);
    assert_eq!(list(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(list(257), ["tile/0/000", "tile/0/001.p/1", "tile/1/000.p/1"]);
    let large: Vec<TileId> = tile::tiles_of(70_000).collect();
    assert_eq!(large.iter().filter(|id| id.level == 0 && id.is_full()).count(), 273);
    let rest: Vec<String> = large.iter().skip(273).map(TileId::path).collect();
    assert_eq!(rest, ["tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
    for size in [u64::MAX, 1 << 56] {
        assert_eq!(tile::tiles_of(size).next().map(|id| id.path()), Some("tile/0/000".to_owned()));
        assert_eq!(tile::partial_width(size, 63), 0);
    }
    assert_eq!(tile::partial_width(70_000, 0), 112);
    assert_eq!(tile::partial_width(70_000, 1), 17);
    assert_eq!(tile::partial_width(70_000, 2), 1);
    assert_eq!(tile::partial_width(u64::MAX, 7), 255);
}

#[test]
fn the_tiles_between_two_sizes_are_the_difference_of_their_lists() {
    let marks = [0, 1, 2, 255, 256, 257, 300, 511, 512, 513, 65_535, 65_536, 65_537, 70_000];
    for old in marks {
        for new in marks.into_iter().filter(|new| *new >= old) {
            let had: Vec<TileId> = tile::tiles_of(old).collect();
            let expected: Vec<TileId> = tile::tiles_of(new).filter(|id| !had.contains(id)).collect();
            assert_eq!(tile::tiles_between(old, new), expected, "{old} to {new}");
        }
    }
    assert!(tile::tiles_between(300, 5).is_empty());
}

#[test]
fn a_path_has_one_spelling() {
    for n in (0..5000).chain([999_999, 1_000_000, 1_234_067, u64::MAX]) {
        let path = tile::index_path(n);
        assert_eq!(tile::parse_index_path(&path), Some(n));
        for width in [1, 9, 255, 256] {
            let id = TileId { level: 3, index: n, width };
            assert_eq!(TileId::parse(&id.path()), Some(id));
            assert_eq!(tile::parse_entries_path(&tile::entries_path(n, width)), Some((n, width)));
        }
    }
    assert_eq!(tile::index_path(1_234_067), "x001/x234/067");
}

fn flipped(hash: &Hash, bit: usize) -> Hash {
    let mut hash = *hash;
    hash.0[bit / 8 % 32] ^= 1 << (bit % 8);
    hash
}
