//! Entry bundles, and the paths of tiles.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::tile::{self, TileId};

fuzz_target!(|data: &[u8]| {
    if let Some((width, bytes)) = data.split_first() {
        let width = u16::from(*width) + 1;
        if let Ok(entries) = tile::parse_bundle(bytes, width) {
            assert_eq!(entries.len(), usize::from(width));
            let mut again = Vec::new();
            entries.iter().for_each(|entry| tile::encode_entry(&mut again, entry));
            assert_eq!(again, bytes);
        }
    }
    if let Ok(path) = std::str::from_utf8(data) {
        if let Some(id) = TileId::parse(path) {
            assert_eq!(id.path(), path);
        }
        if let Some((index, width)) = tile::parse_entries_path(path) {
            assert_eq!(tile::entries_path(index, width), path);
        }
        if let Some(index) = tile::parse_index_path(path) {
            assert_eq!(tile::index_path(index), path);
        }
    }
});
