//! What there is, by name.

use std::collections::BTreeMap;

use tabellion_evidence::audit::{Packed, Problem};
use tabellion_evidence::tile::{self, TileId};

use crate::report::Problems;
use crate::{CHECKPOINT, Source, SourceError};

/// The files under `log/`, `content/` and `sealed/`.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) tiles: Vec<TileId>,
    /// The widths in which each entry bundle is there.
    pub(crate) bundles: BTreeMap<u64, Vec<u16>>,
    /// The first entries of the content packs, ascending.
    pub(crate) packs: Vec<u64>,
    /// Those of the packs of sealed pieces, ascending.
    pub(crate) sealed: Vec<u64>,
    /// Files that a crash left unfinished.
    pub(crate) unfinished: u64,
    /// Files that are none of ours.
    pub(crate) problems: Problems,
}

/// Directories are not followed deeper: `content/`, `sealed/` and `log/tile/<level>/`
/// have at most seven groups of digits below them, and `.p/` one more.
const DEPTH_MAX: usize = 11;

/// What a writer calls a file that is not finished.
const TEMPORARY: &str = ".tmp";

impl Files {
    /// Lists them. `None` when the source cannot.
    ///
    /// Tiles come before bundles, and packs before both: what a running writer
    /// adds meanwhile is then seen with what it stands on.
    pub(crate) fn list(source: &dyn Source) -> Result<Option<Self>, SourceError> {
        let mut files = Self::default();
        for packed in [Packed::Content, Packed::Sealed] {
            if source.has_content() && !files.walk(source, packed.directory(), 0)? {
                return Ok(None);
            }
        }
        if !files.walk(source, "log", 0)? {
            return Ok(None);
        }
        files.packs.sort_unstable();
        files.sealed.sort_unstable();
        files.bundles.values_mut().for_each(|widths| widths.sort_unstable());
        Ok(Some(files))
    }

    fn walk(&mut self, source: &dyn Source, directory: &str, depth: usize) -> Result<bool, SourceError> {
        let Some(mut names) = source.list(directory)? else { return Ok(false) };
        names.sort_unstable();
        for name in names {
            let path = format!("{directory}/{name}");
            match path.strip_suffix('/') {
                Some(_) if depth == DEPTH_MAX => self.problems.push(Problem::Unexpected { file: path }),
                Some(below) => {
                    self.walk(source, below, depth + 1)?;
                }
                None => self.file(path),
            }
        }
        Ok(true)
    }

    fn file(&mut self, path: String) {
        if self.known(&path, true) {
            return;
        }
        if path.strip_suffix(TEMPORARY).is_some_and(|path| self.known(path, false)) {
            self.unfinished += 1;
        } else {
            self.problems.push(Problem::Unexpected { file: path });
        }
    }

    /// Whether a file may have this name; if so, notes it.
    fn known(&mut self, path: &str, note: bool) -> bool {
        if path == CHECKPOINT {
            return true;
        }
        for (directory, packs) in [("content/", &mut self.packs), ("sealed/", &mut self.sealed)] {
            if let Some(pack) = path.strip_prefix(directory).and_then(tile::parse_index_path) {
                if note {
                    packs.push(pack);
                }
                return true;
            }
        }
        let Some(path) = path.strip_prefix("log/") else { return false };
        if let Some(id) = TileId::parse(path) {
            if note {
                self.tiles.push(id);
            }
            return true;
        }
        let Some((index, width)) = tile::parse_entries_path(path) else { return false };
        if note {
            self.bundles.entry(index).or_default().push(width);
        }
        true
    }
}

/// The name of a tile.
pub(crate) fn tile_file(id: TileId) -> String {
    format!("log/{}", id.path())
}

/// The name of an entry bundle.
pub(crate) fn bundle_file(index: u64, width: u16) -> String {
    format!("log/{}", tile::entries_path(index, width))
}
