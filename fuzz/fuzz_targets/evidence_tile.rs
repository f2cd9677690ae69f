//! Tiles: what is one has as many hashes as its width says, and a tree of these hashes has this tile.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tabellion_evidence::audit::{Nodes, TileState, subtree_root, tile_hashes};
use tabellion_evidence::tile::{TileId, WIDTH};

fuzz_target!(|data: &[u8]| {
    let Some((width, bytes)) = data.split_first() else { return };
    let width = u16::from(*width) + 1;
    let Some(hashes) = tile_hashes(bytes, width) else {
        assert_ne!(bytes.len(), usize::from(width) * 32);
        return;
    };
    assert_eq!(hashes.len(), usize::from(width));
    let above = if u64::from(width) == WIDTH { vec![subtree_root(&hashes)] } else { Vec::new() };
    let nodes = Nodes::new(hashes, above);
    let id = TileId { level: 0, index: 0, width };
    assert_eq!(nodes.compare(id, bytes), TileState::Same);
    assert_eq!(nodes.compare(id, &bytes[1..]), TileState::Length);
});
