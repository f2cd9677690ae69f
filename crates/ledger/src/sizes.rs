//! What a log serves at each size, held against the definitions of C2SP tlog-tiles.

use std::collections::BTreeMap;
use std::sync::Arc;

use tabellion_evidence::tile::{self, TileId, WIDTH};
use tabellion_evidence::tree::{Hash, leaf_hash, node_hash};
use tabellion_store::{DiskStore, SimDisk};

use crate::Reader;
use crate::edge::{Edge, Objects};

/// RFC 6962, section 2.1, of leaf hashes.
fn tree_hash(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&tree_hash(&leaves[..split]), &tree_hash(&leaves[split..]))
        }
    }
}

/// Publishes size after size, and checks at each that it has exactly the tiles and bundles that it must have, with the
/// right bytes; those of earlier sizes stay until the full one is there.
fn publish(sizes: impl IntoIterator<Item = u64>) {
    let reader = Reader::new(Arc::new(DiskStore::new(SimDisk::new())));
    let mut edge = Edge::load(&reader, 0).unwrap();
    let mut store: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut entries, mut leaves): (Vec<Vec<u8>>, Vec<Hash>) = Default::default();
    // The hashes at every eighth level of the tree, by the definition.
    let mut rows: Vec<Vec<Hash>> = vec![Vec::new()];
    let mut objects = Objects::default();
    for size in sizes {
        let from = entries.len();
        entries.extend((from as u64..size).map(|n| format!("entry {n}").into_bytes()));
        let fresh: Vec<&[u8]> = entries[from..].iter().map(Vec::as_slice).collect();
        objects.clear();
        let replaced = edge.append(&fresh, &mut objects);
        store.extend(objects.iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())));

        leaves.extend(fresh.iter().map(|entry| leaf_hash(entry)));
        rows[0] = leaves.clone();
        for level in 0.. {
            let full = rows[level].len() / 256;
            if full == 0 {
                break;
            }
            if rows.len() == level + 1 {
                rows.push(Vec::new());
            }
            for n in rows[level + 1].len()..full {
                let hash = tree_hash(&rows[level][256 * n..256 * (n + 1)]);
                rows[level + 1].push(hash);
            }
        }
        assert_eq!(edge.root(), tree_hash(&leaves), "size {size}");

        let expected: Vec<TileId> = tile::tiles_of(size).collect();
        let count: usize = rows.iter().map(|row| row.len().div_ceil(256)).sum();
        assert_eq!(expected.len(), count, "size {size}");
        for id in expected {
            let first = id.index as usize * 256;
            let hashes = &rows[usize::from(id.level)][first..first + usize::from(id.width)];
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            assert_eq!(store.get(&format!("log/{}", id.path())), Some(&bytes), "size {size}: {}", id.path());
        }
        for number in (from as u64 / WIDTH)..size.div_ceil(WIDTH) {
            let width = (size - number * WIDTH).min(WIDTH) as u16;
            let bundle = &store[&format!("log/{}", tile::entries_path(number, width))];
            let first = (number * WIDTH) as usize;
            assert_eq!(tile::parse_bundle(bundle, width).unwrap(), entries[first..first + usize::from(width)]);
        }
        for directory in replaced {
            // Nothing is removed before the full one is there.
            assert!(store.contains_key(directory.strip_suffix(".p").unwrap()), "{directory}");
            store.retain(|name, _| !name.starts_with(&format!("{directory}/")));
        }
    }
    // Of every size since the last full tile, the partial tile is still there.
    let widths = |prefix: &str| store.keys().filter(|name| name.starts_with(prefix)).count();
    if entries.len() == 520 {
        assert_eq!((widths("log/tile/0/002.p/"), widths("log/tile/entries/002.p/")), (8, 8));
        assert_eq!((widths("log/tile/0/001.p/"), widths("log/tile/1/000.p/")), (0, 2));
    }
}

#[test]
fn every_size_has_its_tiles() {
    publish(1..=520);
}

#[test]
fn large_sizes_have_their_tiles_too() {
    publish([1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000]);
    publish([70_000]);
}
