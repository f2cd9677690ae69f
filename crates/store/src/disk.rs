//! What is asked of a disk, and the real one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// An open file. Offsets and lengths are in bytes.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, extending the file if need be. Not durable until [`DiskFile::sync`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads exactly `length` bytes from `offset`; fewer are an `UnexpectedEof`.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// The file's length.
    fn length(&self) -> io::Result<u64>;
    /// Reserves room up to `length`; what lies beyond what was written reads as zeros. A disk that cannot reserve
    /// may do nothing.
    fn reserve(&self, length: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable (`fdatasync`). Its *name* is durable only after
    /// [`Disk::sync_directory`].
    fn sync(&self) -> io::Result<()>;
}

/// A tree of files, named by relative paths with `/`; the root is the empty path.
pub trait Disk: Send + Sync {
    /// Opens a file for reading, and for writing where that is allowed; `None` when there is none.
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn DiskFile>>>;
    /// Creates an empty file, or empties the one that is there.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates one directory whose parent exists; true when it was not there before.
    fn create_directory(&self, path: &str) -> io::Result<bool>;
    /// Gives a file another name, in place of a file that had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; not an error when there is none.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes an empty directory; not an error when there is none or it is not empty.
    fn remove_directory(&self, path: &str) -> io::Result<()>;
    /// The names in a directory, sorted, directories with a `/` at the end; none when it does not exist.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &str) -> io::Result<()>;
    /// Keeps a file from being changed by accident, as far as the disk can: see [`Protection`]. Not part of any promise.
    fn protect(&self, _path: &str, _protection: Protection) -> io::Result<()> {
        Ok(())
    }
    /// Undoes [`Disk::protect`]; not an error when there is no such file.
    fn unprotect(&self, _path: &str) -> io::Result<()> {
        Ok(())
    }
}

/// What is done to the files of objects that nobody changes any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    #[default]
    Off,
    /// They are made readable only. Their owner can undo that; slips of the hand it stops.
    ReadOnly,
    /// Also the file system's immutable attribute (`chattr +i`), where the file system has it and the process may set
    /// it (`CAP_LINUX_IMMUTABLE`); otherwise only readable. Root can undo that too, but has to mean it.
    Immutable,
}

/// A directory of the operating system's file system.
///
/// Files are created readable and writable by their owner alone.
#[derive(Debug, Clone)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The disk below an existing directory.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn reserve(&self, length: u64) -> io::Result<()> {
        // Reserved blocks keep `fdatasync` from having to write the file's length each time: 0.10 ms in place of
        // 0.15 ms on ext4. File systems that cannot do it lose only this.
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        match OpenOptions::new().read(true).write(true).open(self.at(path)) {
            Ok(file) => Ok(Some(Box::new(RealFile(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // An archive that nobody can write to can still be read.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                Ok(Some(Box::new(RealFile(File::open(self.at(path))?))))
            }
            Err(error) => Err(error),
        }
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(self.at(path))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create_directory(&self, path: &str) -> io::Result<bool> {
        match fs::create_dir(self.at(path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.at(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        match fs::remove_dir(self.at(path)) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.at(path)) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                name.push('/');
            }
            names.push(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        File::open(self.at(path))?.sync_all()
    }

    fn protect(&self, path: &str, protection: Protection) -> io::Result<()> {
        if protection == Protection::Off {
            return Ok(());
        }
        let file = File::open(self.at(path))?;
        file.set_permissions(fs::Permissions::from_mode(0o400))?;
        if protection == Protection::Immutable {
            match set_immutable(&file, true) {
                // What `Protection::Immutable` says of it.
                Err(error)
                    if matches!(
                        rustix::io::Errno::from_io_error(&error),
                        Some(
                            rustix::io::Errno::PERM
                                | rustix::io::Errno::ACCESS
                                | rustix::io::Errno::NOTTY
                                | rustix::io::Errno::OPNOTSUPP
                                | rustix::io::Errno::NOSYS
                                | rustix::io::Errno::INVAL
                        )
                    ) => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn unprotect(&self, path: &str) -> io::Result<()> {
        let file = match File::open(self.at(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        // A file system without attributes has nothing to undo; a file that is only readable can be renamed over.
        match rustix::fs::ioctl_getflags(&file) {
            Ok(flags) if flags.contains(rustix::fs::IFlags::IMMUTABLE) => set_immutable(&file, false),
            _ => Ok(()),
        }
    }
}

fn set_immutable(file: &File, on: bool) -> io::Result<()> {
    let mut flags = rustix::fs::ioctl_getflags(file)?;
    flags.set(rustix::fs::IFlags::IMMUTABLE, on);
    Ok(rustix::fs::ioctl_setflags(file, flags)?)
}

impl RealDisk {
    /// Whether files here can be made immutable, found out by doing it to one that is removed again.
    ///
    /// # Errors
    ///
    /// No file can be made here at all.
    pub fn can_make_immutable(&self) -> io::Result<bool> {
        let path = self.root.join(".immutable-probe");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let could = set_immutable(&file, true).is_ok();
        let held = could && fs::remove_file(&path).is_err();
        if could {
            set_immutable(&file, false)?;
        }
        if held || !could {
            fs::remove_file(&path)?;
        }
        Ok(held)
    }
}
