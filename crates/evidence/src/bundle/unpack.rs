//! The files of a bundle, from the zip file that it comes as.

use std::io::{Cursor, Read as _};

use zip::ZipArchive;

use super::Files;

/// What is unpacked at most, in memory: twice what a bundle's payload may have.
const FILES_BYTES_MAX: u64 = 2 << 30;
const FILES_MAX: usize = 1_000_000;

/// Why a zip file is no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It is no zip file.
    #[error("it is no zip file")]
    NoZip,
    /// It has more files, or more bytes, than a bundle may.
    #[error("it is larger than a bundle may be")]
    TooLarge,
    /// A file in it, or the name of one, cannot be read.
    #[error("a file in it is damaged")]
    Damaged,
    /// A file stands outside of the bundle's one directory.
    #[error("it has a file outside of its directory")]
    Outside,
    /// Two files have one name.
    #[error("it has a file twice")]
    Twice,
}

/// The files of a bundle, by their paths below its one directory.
pub fn unpack(bytes: &[u8]) -> Result<Files, UnpackError> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| UnpackError::NoZip)?;
    if zip.len() > FILES_MAX {
        return Err(UnpackError::TooLarge);
    }
    let mut files = Files::new();
    let mut top: Option<String> = None;
    let mut left = FILES_BYTES_MAX;
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).map_err(|_| UnpackError::Damaged)?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map_err(|_| UnpackError::Damaged)?.into_owned();
        // Paths are only ever compared, never written to; what is no plain one is refused all the same.
        let plain = name.split('/').all(|step| !step.is_empty() && step != "." && step != "..");
        let (directory, path) = name.split_once('/').filter(|_| plain).ok_or(UnpackError::Outside)?;
        if top.get_or_insert_with(|| directory.to_owned()) != directory {
            return Err(UnpackError::Outside);
        }
        let mut content = Vec::new();
        file.by_ref().take(left + 1).read_to_end(&mut content).map_err(|_| UnpackError::Damaged)?;
        left = left.checked_sub(content.len() as u64).ok_or(UnpackError::TooLarge)?;
        if files.insert(path.to_owned(), content).is_some() {
            return Err(UnpackError::Twice);
        }
    }
    Ok(files)
}
