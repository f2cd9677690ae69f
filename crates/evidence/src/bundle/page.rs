//! The page in a bundle, `index.html`: a program that is the same in every bundle of one version, and between its two
//! halves a copy of the payload and of the export's record, a zip file in base64.
//!
//! The export's record names the program, by the hash of the page without the copy. So a page that was made to show
//! something else is found out from outside: by its copy, which must be the bundle's files, or by its program.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Check, Files, MANIFEST, PAGE, Wrong, is_payload, unpack};
use crate::tree::{Hash, sha256};

/// What stands before the copy.
pub const OPEN: &str = "<script type=\"application/zip\" id=\"bundle\">";
/// What stands behind it.
pub const CLOSE: &str = "</script>";

/// Whether the page has a copy of this file.
pub fn is_copied(path: &str) -> bool {
    is_payload(path) || path.starts_with("export/") || path == MANIFEST || path == "bagit.txt"
}

/// The program of a page, with the zip file of the copy in it; without one, where it would be too large, only the program.
///
/// `None` when the program does not have the one place for it.
pub fn with_copy(program: &str, zip: Option<&[u8]>) -> Option<String> {
    let (before, copy, after) = split(program)?;
    let encoded = zip.map(|zip| STANDARD.encode(zip)).unwrap_or_default();
    copy.is_empty().then(|| format!("{before}{encoded}{after}"))
}

/// What stands before the copy, the copy, and what stands behind it.
fn split(page: &str) -> Option<(&str, &str, &str)> {
    let at = page.find(OPEN)? + OPEN.len();
    let (before, rest) = page.split_at(at);
    let (copy, after) = rest.split_at(rest.find(CLOSE)?);
    (!after.contains(OPEN)).then_some((before, copy, after))
}

impl Check<'_> {
    /// The page is the one that the export's record names, and its copy is of this bundle.
    pub(super) fn page(&mut self, named: Option<Hash>) {
        let since = self.wrongs;
        let bytes = match (named, self.files.get(PAGE)) {
            (None, None) => return,
            (None, Some(_)) => return self.wrong(PAGE, Wrong::PageOfAnother),
            (Some(_), None) => return self.wrong(PAGE, Wrong::Missing),
            (Some(_), Some(bytes)) => bytes,
        };
        let Some((before, copy, after)) = std::str::from_utf8(bytes).ok().and_then(split) else {
            return self.wrong(PAGE, Wrong::Malformed);
        };
        if Some(sha256(format!("{before}{after}"))) != named {
            return self.wrong(PAGE, Wrong::PageOfAnother);
        }
        if copy.is_empty() {
            return self.unchecked("page", "the bundle is too large for its page, which has no copy of it");
        }
        let Some(copied) = STANDARD.decode(copy).ok().and_then(|zip| unpack(&zip).ok()) else {
            return self.wrong(PAGE, Wrong::Malformed);
        };
        let files = self.files;
        let own: Files = files
            .iter()
            .filter(|(path, _)| is_copied(path))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect();
        if copied != own {
            return self.wrong(PAGE, Wrong::PageCopy);
        }
        self.proved(
            since,
            "page",
            "index.html is the page that the record of the export names, and shows this payload",
        );
    }
}
