//! The files of a bundle, from the zip file that it comes as.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};
use rawzip::{CompressionMethod, ZipArchive, crc32};

use super::Files;

/// What is unpacked at most, in memory: twice what a bundle's payload may have.
const FILES_BYTES_MAX: usize = (2 << 30) - 1;
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
    const DAMAGED: UnpackError = UnpackError::Damaged;
    let zip = ZipArchive::from_slice(bytes).map_err(|_| UnpackError::NoZip)?;
    let mut entries = zip.entries();
    let mut files = Files::new();
    let mut top: Option<String> = None;
    let mut left = FILES_BYTES_MAX;
    let mut seen = 0;
    while let Some(entry) = entries.next_entry().map_err(|_| DAMAGED)? {
        seen += 1;
        if seen > FILES_MAX {
            return Err(UnpackError::TooLarge);
        }
        if entry.is_dir() {
            continue;
        }
        let path = entry.file_path();
        let name = std::str::from_utf8(path.as_bytes()).map_err(|_| DAMAGED)?;
        // Paths are only ever compared, never written to; what is no plain one is refused all the same.
        let plain = name.split('/').all(|step| !step.is_empty() && step != "." && step != "..");
        let (directory, path) = name.split_once('/').filter(|_| plain).ok_or(UnpackError::Outside)?;
        if top.get_or_insert_with(|| directory.to_owned()) != directory {
            return Err(UnpackError::Outside);
        }
        let packed = zip.get_entry(entry.wayfinder()).map_err(|_| DAMAGED)?.data();
        let content = match entry.compression_method() {
            CompressionMethod::STORE if packed.len() <= left => packed.to_vec(),
            CompressionMethod::STORE => return Err(UnpackError::TooLarge),
            CompressionMethod::DEFLATE => {
                decompress_to_vec_with_limit(packed, left).map_err(|error| match error.status {
                    TINFLStatus::HasMoreOutput => UnpackError::TooLarge,
                    _ => DAMAGED,
                })?
            }
            _ => return Err(DAMAGED),
        };
        if content.len() as u64 != entry.uncompressed_size_hint() || crc32(&content) != entry.crc32() {
            return Err(DAMAGED);
        }
        left -= content.len();
        if files.insert(path.to_owned(), content).is_some() {
            return Err(UnpackError::Twice);
        }
    }
    Ok(files)
}
