//! Named objects over a [`Disk`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Disk, DiskFile, Protection};

/// Why an object could not be read or written. Names are of objects, never of people.
#[derive(Debug, thiserror::Error)]
#[error("{action} {name}")]
pub struct StoreError {
    action: &'static str,
    name: String,
    #[source]
    source: io::Error,
}

impl StoreError {
    /// Which kind of failure the disk reported.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether a sync failed, now or before. Nobody knows then what the disk holds, and asking it again would not tell: an
    /// operating system reports such a failure once, forgets it, and calls the next sync a success. Nothing more is
    /// written through this store; what is there is found out by opening it again.
    pub fn needs_restart(&self) -> bool {
        self.source.get_ref().is_some_and(|source| source.is::<SyncFailed>())
    }
}

/// See [`StoreError::needs_restart`].
#[derive(Debug, thiserror::Error)]
#[error("a sync failed, so that nothing more is written until a restart")]
struct SyncFailed(#[source] Option<io::Error>);

/// Named objects; a name is a relative path with `/`.
pub trait Store: Send + Sync {
    /// The whole object; `None` when there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// `length` bytes of the object from `offset`; `None` when there is no such object or it is shorter.
    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes objects that nobody changes afterwards. Each is atomic and durable by itself once the call returns; a
    /// failure or crash may have written any of them. Writing the same name again is allowed only to repeat after a
    /// crash.
    fn create(&self, objects: &[(&str, &[u8])]) -> Result<(), StoreError>;
    /// Writes a small object that is replaced now and then, atomically and durably.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Removes an object, if it is there. Not durable until something else is created in the same directory.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
    /// Removes everything directly below a directory, and then the directory.
    fn remove_all(&self, directory: &str) -> Result<(), StoreError>;
    /// Replaces objects that were final by what is left of them, or removes them where nothing is (`None`). Each is done
    /// atomically and durably once the call returns; a failure or crash may have done any of them. Where a lock keeps one,
    /// the kind of the error is `PermissionDenied`, and that one is as it was.
    fn rewrite(&self, objects: &[(&str, Option<&[u8]>)]) -> Result<(), StoreError>;
    /// Says that these objects are final, so that a store that can protect them better from now on may do so. Not part of any
    /// promise.
    fn seal(&self, _names: &[&str]) -> Result<(), StoreError> {
        Ok(())
    }
    /// The names directly below a directory, sorted; those of directories end in `/`.
    fn list(&self, directory: &str) -> Result<Vec<String>, StoreError>;
}

/// Objects as files.
pub struct DiskStore<D> {
    disk: D,
    /// Directories that are known to exist durably. Only a cache.
    known: Mutex<BTreeSet<String>>,
    protection: Protection,
    /// A sync failed.
    failed: AtomicBool,
}

impl<D: Disk> DiskStore<D> {
    /// The objects on a disk.
    pub fn new(disk: D) -> Self {
        Self { disk, known: Mutex::new(BTreeSet::new()), protection: Protection::Off, failed: AtomicBool::new(false) }
    }

    /// The same, with final objects protected.
    pub fn with_protection(self, protection: Protection) -> Self {
        Self { protection, ..self }
    }

    /// Removes what writes left behind that a crash cut short. Not while anybody else writes.
    pub fn clean(&self) -> Result<(), StoreError> {
        self.remove_all(TEMPORARY)
    }

    /// Passes on the outcome of a sync, and remembers a failed one.
    fn synced(&self, outcome: io::Result<()>) -> io::Result<()> {
        outcome.map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            io::Error::new(error.kind(), SyncFailed(Some(error)))
        })
    }

    /// Creates the directories above a name and makes them durable.
    fn make_parents(&self, name: &str) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (end, _) in name.match_indices('/') {
            let directory = &name[..end];
            if known.contains(directory) {
                continue;
            }
            // Also when it was there already: whoever made it may have died before its name was durable.
            self.disk.create_directory(directory)?;
            self.synced(self.disk.sync_directory(parent(directory)))?;
            known.insert(directory.to_owned());
        }
        Ok(())
    }

    /// 1. Write and sync a temporary file each. A crash here leaves files that nobody reads and the next write of
    ///    the same name overwrites. Many files are synced by several threads at once: a journaling file system
    ///    commits for all who wait, so that a thousand take a fifth of the time that one after the other takes.
    /// 2. Rename each to its name. This is the commit point of each.
    /// 3. Sync the directories, each once. A crash before it: the object may or may not be there. After it: it is.
    ///
    /// A sync that fails, in 1, in 3 or of a new directory, is the last: see [`StoreError::needs_restart`].
    fn write(&self, objects: &[(&str, &[u8])]) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Relaxed) {
            let error = io::Error::other(SyncFailed(None));
            return Err(failed("write", objects.first().map_or("nothing", |(name, _)| name))(error));
        }
        let mut directories = BTreeSet::new();
        for (name, _) in objects {
            self.make_parents(name).map_err(failed("write", name))?;
            self.make_parents(&temporary(name)).map_err(failed("write", name))?;
        }
        let write_all = |objects: &[(&str, &[u8])]| {
            objects.iter().try_for_each(|(name, bytes)| {
                let file = self.disk.create(&temporary(name)).map_err(failed("write", name))?;
                file.write_at(0, bytes).and_then(|()| self.synced(file.sync())).map_err(failed("write", name))
            })
        };
        if objects.len() < 2 * WRITERS {
            write_all(objects)?;
        } else {
            std::thread::scope(|scope| {
                let chunks = objects.chunks(objects.len().div_ceil(WRITERS));
                let writers: Vec<_> = chunks.map(|chunk| scope.spawn(|| write_all(chunk))).collect();
                writers.into_iter().try_for_each(|writer| writer.join().expect("writing does not panic"))
            })?;
        }
        // Of some that came so far, all are durable, so that what is read is what a crash leaves.
        let renamed = objects.iter().try_for_each(|(name, _)| {
            self.disk.rename(&temporary(name), name).map_err(failed("write", name))?;
            directories.insert(parent(name));
            Ok(())
        });
        self.sync_directories(directories)?;
        renamed
    }

    fn sync_directories(&self, directories: BTreeSet<&str>) -> Result<(), StoreError> {
        directories.into_iter().try_for_each(|directory| {
            self.synced(self.disk.sync_directory(directory)).map_err(failed("sync", directory))
        })
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        self.disk.open(name).map_err(failed("open", name))
    }
}

impl<D: Disk> Store for DiskStore<D> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let length = file.length().map_err(failed("read", name))?;
        file.read_at(0, length as usize).map(Some).map_err(failed("read", name))
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        match file.read_at(offset, length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(failed("read", name)(error)),
        }
    }

    fn create(&self, objects: &[(&str, &[u8])]) -> Result<(), StoreError> {
        self.write(objects)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(&[(name, bytes)])
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.disk.remove(name).map_err(failed("remove", name))
    }

    fn remove_all(&self, directory: &str) -> Result<(), StoreError> {
        let names = self.disk.list(directory).map_err(failed("list", directory))?;
        for name in names.iter().filter(|name| !name.ends_with('/')) {
            self.disk.remove(&format!("{directory}/{name}")).map_err(failed("remove", directory))?;
        }
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(directory);
        self.disk.remove_directory(directory).map_err(failed("remove", directory))
    }

    fn rewrite(&self, objects: &[(&str, Option<&[u8]>)]) -> Result<(), StoreError> {
        for (name, _) in objects {
            self.disk.unprotect(name).map_err(failed("replace", name))?;
        }
        let left: Vec<(&str, &[u8])> = objects.iter().filter_map(|&(name, bytes)| Some((name, bytes?))).collect();
        self.write(&left)?;
        let mut directories = BTreeSet::new();
        let removed = objects.iter().filter(|(_, bytes)| bytes.is_none()).try_for_each(|(name, _)| {
            self.remove(name)?;
            directories.insert(parent(name));
            Ok(())
        });
        self.sync_directories(directories)?;
        removed?;
        self.seal(&left.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    }

    fn seal(&self, names: &[&str]) -> Result<(), StoreError> {
        names.iter().try_for_each(|name| self.disk.protect(name, self.protection).map_err(failed("protect", name)))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        self.disk.list(directory).map_err(failed("list", directory))
    }
}

/// How many threads write and sync when there is much to write.
const WRITERS: usize = 16;

/// Where files lie until they are whole, so that no other directory ever holds anything but objects.
const TEMPORARY: &str = "tmp";

fn temporary(name: &str) -> String {
    format!("{TEMPORARY}/{}", name.replace('/', "_"))
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..end])
}

pub(crate) fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { action, name: name.to_owned(), source }
}
