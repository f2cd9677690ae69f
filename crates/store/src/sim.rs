//! A disk in memory that loses power on demand.
//!
//! It keeps two pictures: what a running process sees, and what is durable. Each change is *pending* until the right
//! sync. [`SimDisk::crash`] makes the disk that one would find after a power cut: of the pending changes, an arbitrary
//! subset happened, in the order of the subset (so writes may be lost, kept and overtaken by later ones), and a write
//! may be torn in half. Stricter than POSIX file systems are in practice: `sync` of a file never makes its name
//! durable, and operations on one directory may overtake each other. A `sync` that fails is as bad as it can be on Linux:
//! what it should have made durable never will be, a later `sync` says that all is well, and reading shows it still.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, DiskFile};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Clone)]
enum Change {
    Write { file: usize, offset: u64, bytes: Vec<u8> },
    Truncate { file: usize },
    Link { path: String, node: Node },
    Unlink { path: String },
    Rename { from: String, to: String, node: Node },
}

#[derive(Clone, Default)]
struct Picture {
    names: BTreeMap<String, Node>,
    files: BTreeMap<usize, Vec<u8>>,
}

impl Picture {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes } => {
                let content = self.files.entry(*file).or_default();
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Change::Truncate { file } => self.files.entry(*file).or_default().clear(),
            Change::Link { path, node } => {
                self.names.insert(path.clone(), *node);
            }
            Change::Unlink { path } => {
                self.names.remove(path);
            }
            Change::Rename { from, to, node } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *node);
            }
        }
    }

    fn has_directory(&self, path: &str) -> bool {
        path.is_empty() || self.names.get(path) == Some(&Node::Directory)
    }
}

#[derive(Default)]
struct State {
    live: Picture,
    durable: Picture,
    pending: Vec<Change>,
    files_made: usize,
    /// How many changing calls were made.
    steps: usize,
    /// At which one the power goes.
    power_off_at: Option<usize>,
    /// At which one the disk fails once, and how.
    fail_at: Option<(usize, io::ErrorKind)>,
    /// From which one on it takes nothing new, and how it says so.
    refuse_from: Option<(usize, io::ErrorKind)>,
}

/// What a call asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// Room, or a change: what a full disk and a read-only one refuse.
    Change,
    /// To make durable what is there.
    Sync,
    /// To free something: what a full disk does, and a read-only one refuses.
    Free,
}

impl State {
    /// Counts a call that changes or syncs. After the power is gone nothing happens any more.
    fn step(&mut self, asks: Asks) -> io::Result<()> {
        let step = self.steps;
        self.steps += 1;
        if self.power_off_at.is_some_and(|at| step >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        match (self.fail_at, self.refuse_from) {
            (Some((at, kind)), _) if at == step => Err(kind.into()),
            (_, Some((from, kind)))
                if step >= from
                    && (asks == Asks::Change || (asks == Asks::Free && kind == io::ErrorKind::ReadOnlyFilesystem)) =>
            {
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    /// A call that makes durable what it covers, or fails to for good.
    fn step_and_sync(&mut self, covers: impl Fn(&Change) -> bool) -> io::Result<()> {
        let done = self.step(Asks::Sync);
        if done.is_ok() {
            self.sync(covers);
        } else if self.power_off_at.is_none_or(|at| self.steps <= at) {
            self.pending.retain(|change| !covers(change));
        }
        done
    }

    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.pending.push(change);
    }

    fn sync(&mut self, covers: impl Fn(&Change) -> bool) {
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let covered = covers(change);
            if covered {
                durable.apply(change);
            }
            !covered
        });
    }
}

/// A disk in memory, for tests: stricter than a real one, and failing on demand. Clones share the disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk with the power on.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many changing calls were made so far.
    pub fn steps(&self) -> usize {
        self.lock().steps
    }

    /// Cuts the power right before the changing call number `step` (counted from 0): it and all later ones fail.
    pub fn power_off_at(&self, step: usize) {
        self.lock().power_off_at = Some(step);
    }

    /// Makes the changing call number `step` fail once: without any effect, or, of a sync, for good.
    pub fn fail_at(&self, step: usize, kind: io::ErrorKind) {
        self.lock().fail_at = Some((step, kind));
    }

    /// From the changing call number `step` on, the disk is full (`StorageFull`) or read-only (`ReadOnlyFilesystem`).
    pub fn refuse_from(&self, step: usize, kind: io::ErrorKind) {
        self.lock().refuse_from = Some((step, kind));
    }

    /// There is room again.
    pub fn relieve(&self) {
        self.lock().refuse_from = None;
    }

    /// Flips a bit of a file, as it is read and as it is on the disk.
    ///
    /// # Panics
    ///
    /// There is no such byte.
    pub fn rot(&self, path: &str, byte: usize) {
        let mut state = self.lock();
        let Some(Node::File(file)) = state.live.names.get(path).copied() else { panic!("there is no {path}") };
        let State { live, durable, .. } = &mut *state;
        live.files.get_mut(&file).expect("every file has bytes")[byte] ^= 1;
        if let Some(byte) = durable.files.get_mut(&file).and_then(|bytes| bytes.get_mut(byte)) {
            *byte ^= 1;
        }
    }

    /// How many changes a power cut could lose now.
    pub fn pending(&self) -> usize {
        self.lock().pending.len()
    }

    /// The disk as found after a power cut, with the power on again. `fate` is asked for each pending change:
    /// 0 loses it, 1 keeps it, 2 keeps the first half of a write (and all of anything else).
    pub fn crash(&self, mut fate: impl FnMut(usize) -> u8) -> SimDisk {
        let state = self.lock();
        let mut found = state.durable.clone();
        for (index, change) in state.pending.iter().enumerate() {
            match (fate(index), change) {
                (0, _) => {}
                (2, Change::Write { file, offset, bytes }) => found.apply(&Change::Write {
                    file: *file,
                    offset: *offset,
                    bytes: bytes[..bytes.len() / 2].to_vec(),
                }),
                (_, change) => found.apply(change),
            }
        }
        // A name below a directory that was lost is lost with it.
        let names = found.names.clone();
        found.names.retain(|path, _| {
            path.match_indices('/').all(|(end, _)| names.get(&path[..end]) == Some(&Node::Directory))
        });
        for node in found.names.values() {
            if let Node::File(file) = node {
                found.files.entry(*file).or_default();
            }
        }
        let files_made = state.files_made;
        SimDisk {
            state: Arc::new(Mutex::new(State { live: found.clone(), durable: found, files_made, ..State::default() })),
        }
    }

    /// Every file with its bytes, as the running process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let file = |node: &Node| match node {
            Node::File(file) => state.live.files.get(file).cloned(),
            Node::Directory => None,
        };
        state.live.names.iter().filter_map(|(path, node)| Some((path.clone(), file(node)?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct SimFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl SimFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        state.step(Asks::Change)?;
        state.change(Change::Write { file: self.file, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let state = self.lock();
        let content = state.live.files.get(&self.file).map_or(&[][..], Vec::as_slice);
        let end = (offset as usize).checked_add(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(content.get(offset as usize..end).ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.lock().live.files.get(&self.file).map_or(0, |content| content.len() as u64))
    }

    fn reserve(&self, _length: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step_and_sync(
            |change| matches!(change, Change::Write { file, .. } | Change::Truncate { file } if *file == self.file),
        )
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let state = self.lock();
        Ok(match state.live.names.get(path) {
            Some(Node::File(file)) => Some(Box::new(SimFile { state: self.state.clone(), file: *file })),
            _ => None,
        })
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.step(Asks::Change)?;
        if !state.live.has_directory(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if let Some(Node::File(file)) = state.live.names.get(path).copied() {
            // The name is not written again, so that no sync makes it durable that did not before.
            state.change(Change::Truncate { file });
            return Ok(Box::new(SimFile { state: self.state.clone(), file }));
        }
        let file = state.files_made;
        state.files_made += 1;
        state.live.files.insert(file, Vec::new());
        state.change(Change::Link { path: path.to_owned(), node: Node::File(file) });
        Ok(Box::new(SimFile { state: self.state.clone(), file }))
    }

    fn create_directory(&self, path: &str) -> io::Result<bool> {
        let mut state = self.lock();
        if state.live.names.contains_key(path) {
            return Ok(false);
        }
        state.step(Asks::Change)?;
        if !state.live.has_directory(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Link { path: path.to_owned(), node: Node::Directory });
        Ok(true)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step(Asks::Free)?;
        let node = *state.live.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        if state.live.names.contains_key(path) {
            state.step(Asks::Free)?;
            state.change(Change::Unlink { path: path.to_owned() });
        }
        Ok(())
    }

    fn remove_directory(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        let below = format!("{path}/");
        if state.live.has_directory(path) && !state.live.names.keys().any(|name| name.starts_with(&below)) {
            state.step(Asks::Free)?;
            state.change(Change::Unlink { path: path.to_owned() });
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let state = self.lock();
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        Ok(state
            .live
            .names
            .iter()
            .filter_map(|(name, node)| {
                let name = name.strip_prefix(&below)?;
                (!name.contains('/')).then(|| match node {
                    Node::Directory => format!("{name}/"),
                    Node::File(_) => name.to_owned(),
                })
            })
            .collect())
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step_and_sync(|change| match change {
            Change::Link { path: name, .. } | Change::Unlink { path: name } => parent(name) == path,
            Change::Rename { from, to, .. } => parent(from) == path || parent(to) == path,
            Change::Write { .. } | Change::Truncate { .. } => false,
        })
    }
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |end| &path[..end])
}
