//! Where the evidence comes from.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use tabellion_store::Store;

/// The evidence could not be read: the disk, the network or a permission, and
/// not the evidence, is at fault.
#[derive(Debug, thiserror::Error)]
#[error("read {name}")]
pub struct SourceError {
    name: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl SourceError {
    /// A failure to read or list something.
    pub fn new(name: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { name: name.into(), source: source.into() }
    }
}

/// A log to verify. Names are as in a data directory: `log.vkey`,
/// `log/checkpoint`, `log/tile/…`, `content/…`.
pub trait Source: Sync {
    /// The whole object; `None` when there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError>;

    /// [`Source::read`] into a buffer that serves again, whose bytes are replaced; false when there is no such object.
    fn read_into(&self, name: &str, bytes: &mut Vec<u8>) -> Result<bool, SourceError> {
        bytes.clear();
        let found = self.read(name)?;
        Ok(found.map(|found| *bytes = found).is_some())
    }

    /// `length` bytes of the object from `offset`; `None` when there is no
    /// such object or it is shorter.
    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let range = usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(length)?));
        Ok(range.map(<[u8]>::to_vec))
    }

    /// The names directly below a directory, those of directories with a `/`
    /// at the end; none when it does not exist. `None`: this source cannot
    /// list, as HTTP cannot.
    fn list(&self, directory: &str) -> Result<Option<Vec<String>>, SourceError>;

    /// Whether `content/` can be had.
    fn has_content(&self) -> bool;
}

/// A log in a store. (A store does not show what its own writes left
/// unfinished.)
#[derive(Clone)]
pub struct StoreSource(pub Arc<dyn Store>);

impl Source for StoreSource {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.read(name).map_err(|error| SourceError::new(name, error))
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.read_range(name, offset, length).map_err(|error| SourceError::new(name, error))
    }

    fn list(&self, directory: &str) -> Result<Option<Vec<String>>, SourceError> {
        self.0.list(directory).map(Some).map_err(|error| SourceError::new(directory, error))
    }

    fn has_content(&self) -> bool {
        true
    }
}

/// A log in a directory that may be read-only, such as an archive that nobody
/// can write to: nothing is opened for writing.
#[derive(Debug, Clone)]
pub struct DirectorySource(pub PathBuf);

/// No object under `log/` is longer: a bundle of 256 entries of 65,535 bytes,
/// each with its length. Of a longer file, one byte more is read.
const LOG_FILE_BYTES_MAX: u64 = 256 * (2 + 65_535);

impl DirectorySource {
    /// `None` where there is no file of this name, be it that a directory has
    /// its place.
    fn open(&self, name: &str) -> io::Result<Option<File>> {
        let gone = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
            )
        };
        // Asked before it is opened: opening a named pipe would wait forever.
        let path = self.0.join(name);
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => return Ok(None),
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Source for DirectorySource {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let mut bytes = Vec::new();
        Ok(self.read_into(name, &mut bytes)?.then_some(bytes))
    }

    fn read_into(&self, name: &str, bytes: &mut Vec<u8>) -> Result<bool, SourceError> {
        let failed = |error| SourceError::new(name, error);
        bytes.clear();
        let Some(file) = self.open(name).map_err(failed)? else { return Ok(false) };
        let limit = if name.starts_with("content/") { u64::MAX } else { LOG_FILE_BYTES_MAX + 1 };
        bytes.reserve(file.metadata().map_err(failed)?.len().min(limit) as usize);
        file.take(limit).read_to_end(bytes).map_err(failed)?;
        Ok(true)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let failed = |error| SourceError::new(name, error);
        let Some(file) = self.open(name).map_err(failed)? else { return Ok(None) };
        let mut bytes = vec![0; length];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn list(&self, directory: &str) -> Result<Option<Vec<String>>, SourceError> {
        let failed = |error| SourceError::new(directory, error);
        let entries = match fs::read_dir(self.0.join(directory)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().map_err(failed)?.is_dir() {
                name.push('/');
            }
            names.push(name);
        }
        Ok(Some(names))
    }

    fn has_content(&self) -> bool {
        true
    }
}
