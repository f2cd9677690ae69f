//! The one place where a deletion destroys something.
//!
//! SQLite, so that commands read beside the process that writes; with
//! `secure_delete`, which overwrites what is deleted with zeros; one thread
//! that writes, all who wait in one transaction, because many exchanges seal at
//! once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aho_corasick::AhoCorasick;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tabellion_evidence::salt::{Node, Path};
use tabellion_evidence::tree::Hash;
use tokio::sync::oneshot;

use crate::salts::{self, Salts};
use crate::{Recipients, VaultError};

/// The keyring's name in the keys directory.
pub const FILE: &str = "keyring.db";

/// Raised whenever the tables change.
const VERSION: i64 = 1;
const BUSY: Duration = Duration::from_secs(10);
/// At most so many wait in one transaction.
const GROUP_MAX: usize = 512;
/// What was destroyed is looked for in pieces of so many bytes, because SQLite may have cut it in two.
const NEEDLE: usize = 24;
/// Of what expires, so many pieces are looked for.
const NEEDLES_MAX: usize = 32;
/// Files are searched in stretches of so many bytes.
const STRETCH: usize = 1 << 20;

/// What an entry is about to name.
pub enum Piece {
    /// A piece that was just sealed, by its name, with its header.
    New(Hash, Vec<u8>),
    /// One that an earlier entry names.
    Known(Hash),
}

/// What an erasure came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Entries whose salts nobody can derive any more, now or since before.
    pub entries: u64,
    /// Pieces whose keys were destroyed.
    pub pieces: u64,
    /// Pieces whose keys remain, because other entries name them too.
    pub remaining: Vec<Remaining>,
}

/// A piece that an erased entry named, and that can still be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// The piece.
    pub name: Hash,
    /// The id of one of the entries that name it.
    pub because: String,
}

/// From where on a start has to look at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled {
    /// Erasures in entries before this one are carried out, and what they name is known to be named.
    pub size: u64,
    row: i64,
}

enum Request {
    Keep(String, Vec<Piece>, oneshot::Sender<Result<(), VaultError>>),
    /// Prefixes below which all is erased too, of what expires. Whether everything is to be written anew, because what was destroyed before is
    /// not known any more.
    Erase(Vec<String>, Option<Vec<Vec<u8>>>, bool, oneshot::Sender<Result<Erased, VaultError>>),
    /// The entry will not be appended.
    Release(String, oneshot::Sender<Result<(), VaultError>>),
    Settle(u64, oneshot::Sender<Result<(), VaultError>>),
    Stop,
}

/// The keyring, open for writing. The log's lock keeps a second process from doing the same.
pub struct Keyring {
    salts: Arc<Mutex<Salts>>,
    requests: mpsc::Sender<Request>,
    thread: Mutex<Option<JoinHandle<()>>>,
    unsettled: Unsettled,
    under_way: UnderWay,
}

/// Entries whose pieces are kept, or about to be, and that the log may or may not get.
type UnderWay = Arc<Mutex<BTreeSet<String>>>;

fn lock_set(under_way: &UnderWay) -> MutexGuard<'_, BTreeSet<String>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyring {
    /// Opens the keyring in a keys directory; makes one if `fresh` says that there may be none yet.
    pub fn open(keys: &FilePath, fresh: bool) -> Result<Self, VaultError> {
        let path = keys.join(FILE);
        if !path.exists() {
            if !fresh {
                return Err(VaultError::Missing);
            }
            make(keys)?;
        }
        let db = writable(&path)?;
        let unsettled = db.query_row("SELECT size, row FROM settled", [], |row| {
            Ok(Unsettled { size: row.get::<_, i64>(0)? as u64, row: row.get(1)? })
        })?;
        let salts = Arc::new(Mutex::new(Salts::new(readable(&path)?)));
        let (requests, taken) = mpsc::channel();
        let under_way = UnderWay::default();
        let writer =
            Writer { db, path, salts: salts.clone(), failed: false, owes: false, under_way: under_way.clone() };
        let thread = std::thread::Builder::new()
            .name("keyring".to_owned())
            .spawn(move || writer.run(&taken))
            .map_err(VaultError::Disk)?;
        Ok(Self { salts, requests, thread: Mutex::new(Some(thread)), unsettled, under_way })
    }

    /// The key that a new entry's salts follow from; `None` if the entry was erased.
    pub fn leaf(&self, id: &Path) -> Result<Option<Node>, VaultError> {
        leaf(&self.salts, id)
    }

    /// From where on a start has to look at the log.
    pub fn unsettled(&self) -> Unsettled {
        self.unsettled
    }

    /// Makes it durable that an entry names pieces, with the headers of the new ones. Before the entry is appended, which
    /// [`Keyring::appended`] says, or [`Keyring::release`] that it will not be.
    ///
    /// # Errors
    ///
    /// [`VaultError::Gone`] when a known piece was erased since: seal it anew.
    pub async fn keep(&self, entry: &str, pieces: Vec<Piece>) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        lock_set(&self.under_way).insert(entry.to_owned());
        self.send(Request::Keep(entry.to_owned(), pieces, reply))?;
        let kept = answer.await.unwrap_or(Err(VaultError::Stopped));
        if matches!(kept, Err(VaultError::Full)) {
            // Nothing of it was committed, and a disk stays full for long.
            self.appended(entry);
        }
        kept
    }

    /// Destroys what opens the originals of entries, by their ids. Doing it again is harmless.
    ///
    /// # Errors
    ///
    /// Whatever it is, the erasure has to be tried again: some of it may be done.
    pub async fn erase(&self, entries: Vec<String>) -> Result<Erased, VaultError> {
        self.destroy(entries, None, false).await
    }

    /// [`Keyring::erase`] of many entries, most of which may lie close together. `kept` are the ids of all entries that lie
    /// among them and are not erased, and nothing that could still come is older than `from`. What has neither below
    /// it is cleared as one: a row less, in place of a dozen more for each entry.
    ///
    /// # Errors
    ///
    /// As [`Keyring::erase`].
    pub async fn expire(&self, entries: Vec<String>, kept: &[Path], from: &Path) -> Result<Erased, VaultError> {
        let sorted = |mut paths: Vec<Path>| {
            paths.sort_unstable();
            paths
        };
        let expired = sorted(entries.iter().filter_map(|id| Path::of(id)).collect());
        let whole = salts::cover(&expired, &sorted(kept.to_vec()), from);
        self.destroy(entries, Some(whole), false).await
    }

    /// [`Keyring::erase`] of what may have been erased half: a process that died after the keys were deleted, and before
    /// their places were cleared, cannot be asked what they were. So everything that is left is written anew.
    ///
    /// # Errors
    ///
    /// As [`Keyring::erase`].
    pub async fn erase_again(&self, entries: Vec<String>) -> Result<Erased, VaultError> {
        self.destroy(entries, None, true).await
    }

    async fn destroy(
        &self,
        entries: Vec<String>,
        whole: Option<Vec<Vec<u8>>>,
        anew: bool,
    ) -> Result<Erased, VaultError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Erase(entries, whole, anew, reply))?;
        answer.await.unwrap_or(Err(VaultError::Stopped))
    }

    /// Whether there is anything left that opens a piece.
    ///
    /// # Errors
    ///
    /// The keyring cannot be read.
    pub fn opens(&self, name: &Hash) -> Result<bool, VaultError> {
        lock(&self.salts).opens(name)
    }

    /// Notes that the log has an entry whose pieces were kept.
    pub fn appended(&self, entry: &str) {
        lock_set(&self.under_way).remove(entry);
    }

    /// Forgets what was kept for an entry that the log will not have.
    pub async fn release(&self, entry: &str) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Release(entry.to_owned(), reply))?;
        let released = answer.await.unwrap_or(Err(VaultError::Stopped));
        if released.is_ok() {
            self.appended(entry);
        }
        released
    }

    /// Notes that the erasures in the first `size` entries of the log are carried out, unless one failed. What was kept
    /// counts as named from now on, but for what is still under way.
    pub async fn settle(&self, size: u64) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Settle(size, reply))?;
        answer.await.unwrap_or(Err(VaultError::Stopped))
    }

    fn send(&self, request: Request) -> Result<(), VaultError> {
        self.requests.send(request).map_err(|_| VaultError::Stopped)
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = self.requests.send(Request::Stop);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The keyring for a command, which reads beside whoever writes.
pub struct Reading {
    db: Connection,
    salts: Arc<Mutex<Salts>>,
}

impl Reading {
    /// Opens the keyring in a keys directory.
    pub fn open(keys: &FilePath) -> Result<Self, VaultError> {
        let path = keys.join(FILE);
        if !path.exists() {
            return Err(VaultError::Missing);
        }
        Ok(Self { db: readable(&path)?, salts: Arc::new(Mutex::new(Salts::new(readable(&path)?))) })
    }

    /// The key that an entry's salts follow from; `None` if it was erased.
    pub fn leaf(&self, id: &Path) -> Result<Option<Node>, VaultError> {
        leaf(&self.salts, id)
    }

    /// The header of a piece; `None` if it was erased.
    pub fn header(&self, name: &Hash) -> Result<Option<Vec<u8>>, VaultError> {
        let mut statement = self.db.prepare_cached("SELECT header FROM piece WHERE name = ?")?;
        Ok(statement.query_row(params![name.0], |row| row.get(0)).optional()?)
    }

    /// The whole keyring as an age file, and notes that there is such a copy.
    pub fn backup(&self, recipients: &Recipients, time: &str) -> Result<Vec<u8>, VaultError> {
        self.db.execute("INSERT INTO backup(time) VALUES (?)", params![time])?;
        let bytes = self.db.serialize("main")?;
        recipients.file(&bytes)
    }

    /// When the newest backup was made. Whatever is erased later can be opened with it.
    pub fn backed_up(&self) -> Result<Option<String>, VaultError> {
        Ok(self.db.query_row("SELECT max(time) FROM backup", [], |row| row.get(0))?)
    }
}

fn leaf(salts: &Mutex<Salts>, id: &Path) -> Result<Option<Node>, VaultError> {
    let above = lock(salts).above(id)?;
    // What is left is this entry's alone, so nobody has to wait for it.
    Ok(above.map(|(node, depth)| node.descend(&id.symbols()[depth..])))
}

fn lock(salts: &Mutex<Salts>) -> MutexGuard<'_, Salts> {
    salts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a keyring, durably, before anything is made with its keys.
fn make(keys: &FilePath) -> Result<(), VaultError> {
    // Whole or not at all: a crash leaves a file of another name, which the next start replaces.
    let path = keys.join("keyring.new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(keys.join(format!("keyring.new{suffix}")));
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(VaultError::Disk)?;
    let db = Connection::open(&path)?;
    db.pragma_update(None, "journal_mode", "DELETE")?;
    db.execute_batch(&format!(
        "PRAGMA synchronous = EXTRA;
         BEGIN;
         CREATE TABLE opened(prefix BLOB PRIMARY KEY, keys BLOB NOT NULL);
         CREATE TABLE piece(name BLOB PRIMARY KEY, header BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE named(row INTEGER PRIMARY KEY, entry TEXT NOT NULL, name BLOB NOT NULL);
         CREATE INDEX named_entry ON named(entry);
         CREATE INDEX named_name ON named(name);
         CREATE TABLE settled(size INTEGER NOT NULL, row INTEGER NOT NULL);
         INSERT INTO settled VALUES (0, 0);
         CREATE TABLE backup(time TEXT NOT NULL);
         PRAGMA user_version = {VERSION};"
    ))?;
    salts::plant(&db)?;
    db.execute_batch("COMMIT")?;
    db.close().map_err(|(_, error)| error)?;
    std::fs::rename(&path, keys.join(FILE)).map_err(VaultError::Disk)?;
    File::open(keys).and_then(|directory| directory.sync_all()).map_err(VaultError::Disk)
}

fn writable(path: &FilePath) -> Result<Connection, VaultError> {
    let db = readable(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    Ok(db)
}

fn readable(path: &FilePath) -> Result<Connection, VaultError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "secure_delete", "ON")?;
    // VACUUM would otherwise write all keys to a file elsewhere.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        return Err(VaultError::Malformed);
    }
    Ok(db)
}

/// The thread that writes.
struct Writer {
    db: Connection,
    path: PathBuf,
    salts: Arc<Mutex<Salts>>,
    /// A commit failed, so nobody knows what the disk holds.
    failed: bool,
    /// An erasure is on the record that was not carried out: the next start has to find it.
    owes: bool,
    under_way: UnderWay,
}

type Reply = oneshot::Sender<Result<(), VaultError>>;
/// What one entry is about to name.
type Kept = (String, Vec<Piece>, Reply);

impl Writer {
    fn run(mut self, requests: &mpsc::Receiver<Request>) {
        let mut next = requests.recv().ok();
        while let Some(request) = next.take() {
            match request {
                Request::Keep(entry, pieces, reply) => {
                    let mut group = vec![(entry, pieces, reply)];
                    while group.len() < GROUP_MAX && next.is_none() {
                        match requests.try_recv() {
                            Ok(Request::Keep(entry, pieces, reply)) => group.push((entry, pieces, reply)),
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.keep(group);
                }
                // Whoever asked may be gone; it is done all the same.
                Request::Erase(entries, whole, anew, reply) => {
                    let erased = self.erase(&entries, whole.as_deref(), anew);
                    self.owes |= erased.is_err();
                    drop(reply.send(erased));
                }
                Request::Release(entry, reply) => drop(reply.send(self.release(&entry))),
                Request::Settle(size, reply) => drop(reply.send(self.settle(size))),
                Request::Stop => return,
            }
            next = next.or_else(|| requests.recv().ok());
        }
    }

    fn keep(&mut self, group: Vec<Kept>) {
        let mut waiting: Vec<(Result<(), VaultError>, Reply)> = Vec::with_capacity(group.len());
        let committed = self.transact(|db| {
            for (entry, pieces, reply) in group {
                let kept = keep(db, &entry, &pieces);
                match kept {
                    Ok(()) | Err(VaultError::Gone) => waiting.push((kept, reply)),
                    Err(error) => {
                        drop(reply.send(Err(VaultError::Stopped)));
                        return Err(error);
                    }
                }
            }
            Ok(())
        });
        for (kept, reply) in waiting {
            let outcome = match &committed {
                Ok(()) => kept,
                Err(VaultError::Full) => Err(VaultError::Full),
                Err(_) => Err(VaultError::Stopped),
            };
            // Nobody may be waiting any more: then it is a header that nothing names.
            let _ = reply.send(outcome);
        }
    }

    /// One transaction. A failure to commit other than a full disk is the end.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, VaultError>) -> Result<T, VaultError> {
        if self.failed {
            return Err(VaultError::Stopped);
        }
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(full)?;
        let done = work(&transaction).map_err(|error| match error {
            VaultError::Database(error) => full(error),
            error => error,
        })?;
        transaction.commit().map_err(full).inspect_err(|error| self.failed = !matches!(error, VaultError::Full))?;
        Ok(done)
    }

    fn erase(&mut self, entries: &[String], whole: Option<&[Vec<u8>]>, anew: bool) -> Result<Erased, VaultError> {
        let mut needles: Vec<Vec<u8>> = Vec::new();
        let erased = {
            // Until the new keys are in place, nobody derives from the old ones.
            let salts = self.salts.clone();
            let mut salts = lock(&salts);
            let erased = self.transact(|db| erase(db, entries, whole.unwrap_or_default(), &mut needles));
            salts.forget();
            erased?
        };
        if whole.is_some() && needles.len() > NEEDLES_MAX {
            // To look for all of thousands in a large file takes longer than everything else together. If the database left
            // anything behind, it left it of some of these.
            let step = needles.len().div_ceil(NEEDLES_MAX);
            needles = needles.into_iter().step_by(step).collect();
        }
        self.truncate()?;
        if anew || self.holds(&needles)? {
            // In a page that was split, bytes can stay behind in the space between.
            self.db.execute_batch("VACUUM")?;
            self.truncate()?;
            if self.holds(&needles)? {
                return Err(VaultError::StillThere);
            }
        }
        Ok(erased)
    }

    /// Moves everything from the database's own log into the database, and cuts the log off.
    fn truncate(&self) -> Result<(), VaultError> {
        let deadline = Instant::now() + BUSY;
        loop {
            let busy: i64 = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy == 0 {
                return Ok(());
            }
            // A command is reading.
            if Instant::now() > deadline {
                return Err(VaultError::StillThere);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether any of these is in the keyring's files.
    fn holds(&self, needles: &[Vec<u8>]) -> Result<bool, VaultError> {
        if needles.is_empty() {
            return Ok(false);
        }
        let search = AhoCorasick::new(needles).map_err(|_| VaultError::Malformed)?;
        for suffix in ["", "-wal"] {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            let mut file = match File::open(&name) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(VaultError::Disk(error)),
            };
            if contains(&mut file, &search).map_err(VaultError::Disk)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets what an entry was about to name that is not appended: it must not keep a piece from being erased.
    fn release(&mut self, entry: &str) -> Result<(), VaultError> {
        self.transact(|db| {
            let sql = "SELECT name FROM named WHERE entry = ?";
            let names: Vec<Vec<u8>> =
                db.prepare_cached(sql)?.query_map(params![entry], |row| row.get(0))?.collect::<Result<_, _>>()?;
            db.prepare_cached("DELETE FROM named WHERE entry = ?")?.execute(params![entry])?;
            let sql = "DELETE FROM piece WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM named WHERE name = ?1)";
            for name in names {
                db.prepare_cached(sql)?.execute(params![name])?;
            }
            Ok(())
        })
    }

    /// Entries that are under way may still not be appended, so what they name is not settled.
    fn settle(&mut self, size: u64) -> Result<(), VaultError> {
        if self.owes {
            return Ok(());
        }
        let under_way = lock_set(&self.under_way).clone();
        self.transact(|db| {
            let newest = "SELECT coalesce(max(row), 0) FROM named";
            let mut row: i64 = db.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
            for entry in &under_way {
                let first = "SELECT min(row) FROM named WHERE entry = ?";
                let first: Option<i64> = db.prepare_cached(first)?.query_row(params![entry], |row| row.get(0))?;
                row = first.map_or(row, |first| row.min(first - 1));
            }
            let sql = "UPDATE settled SET size = max(size, ?), row = max(row, ?)";
            db.prepare_cached(sql)?.execute(params![size as i64, row])?;
            Ok(())
        })
    }
}

fn full(error: rusqlite::Error) -> VaultError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => VaultError::Full,
        _ => VaultError::Database(error),
    }
}

/// Whether any of the patterns is in a file, also across two stretches.
fn contains(file: &mut impl std::io::Read, search: &AhoCorasick) -> std::io::Result<bool> {
    let mut buffer = vec![0; STRETCH + NEEDLE];
    let mut have = 0;
    loop {
        let read = file.read(&mut buffer[have..])?;
        if read == 0 {
            return Ok(false);
        }
        have += read;
        if search.is_match(&buffer[..have]) {
            return Ok(true);
        }
        let keep = have.min(NEEDLE - 1);
        buffer.copy_within(have - keep..have, 0);
        have = keep;
    }
}

fn keep(db: &Connection, entry: &str, pieces: &[Piece]) -> Result<(), VaultError> {
    for piece in pieces {
        if let Piece::Known(name) = piece
            && !db.prepare_cached("SELECT 1 FROM piece WHERE name = ?")?.exists(params![name.0])?
        {
            return Err(VaultError::Gone);
        }
    }
    let mut named = db.prepare_cached("INSERT INTO named(entry, name) VALUES (?, ?)")?;
    for piece in pieces {
        let name = match piece {
            Piece::New(name, header) => {
                db.prepare_cached("INSERT INTO piece(name, header) VALUES (?, ?)")?.execute(params![name.0, header])?;
                name
            }
            Piece::Known(name) => name,
        };
        named.execute(params![entry, name.0])?;
    }
    Ok(())
}

fn erase(
    db: &Connection,
    entries: &[String],
    whole: &[Vec<u8>],
    needles: &mut Vec<Vec<u8>>,
) -> Result<Erased, VaultError> {
    let mut erased = Erased::default();
    for prefix in whole {
        needles.extend(salts::puncture(db, prefix)?.iter().flat_map(|destroyed| cut(destroyed.expose())));
    }
    let mut names = BTreeSet::new();
    for entry in entries {
        let mut statement = db.prepare_cached("SELECT name FROM named WHERE entry = ?")?;
        for name in statement.query_map(params![entry], |row| row.get::<_, [u8; 32]>(0))? {
            names.insert(name?);
        }
        db.prepare_cached("DELETE FROM named WHERE entry = ?")?.execute(params![entry])?;
        // An id that is no ULID has no salts.
        let Some(path) = Path::of(entry) else { continue };
        erased.entries += 1;
        needles.extend(salts::puncture(db, path.symbols())?.iter().flat_map(|destroyed| cut(destroyed.expose())));
    }
    for name in names {
        let mut statement = db.prepare_cached("SELECT entry FROM named WHERE name = ? LIMIT 1")?;
        match statement.query_row(params![name], |row| row.get(0)).optional()? {
            Some(because) => erased.remaining.push(Remaining { name: Hash(name), because }),
            None => {
                let header = drop_piece(db, &name)?;
                erased.pieces += u64::from(header.is_some());
                needles.extend(header.iter().flat_map(|header| cut(secret_of(header))));
            }
        }
    }
    Ok(erased)
}

fn drop_piece(db: &Connection, name: &[u8; 32]) -> Result<Option<Vec<u8>>, VaultError> {
    let mut statement = db.prepare_cached("DELETE FROM piece WHERE name = ? RETURNING header")?;
    Ok(statement.query_row(params![name], |row| row.get(0)).optional()?)
}

/// What is a header's own: all but its first line.
fn secret_of(header: &[u8]) -> &[u8] {
    let line = header.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    &header[line..]
}

fn cut(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bytes.chunks_exact(NEEDLE).map(<[u8]>::to_vec)
}

impl Keyring {
    /// Drops what was kept for entries that were then not appended. `appended` are the ids of the entries from
    /// [`Unsettled::size`] on. Only at a start, before anything is kept. Returns how many entries that concerned.
    pub fn drop_orphans(keys: &FilePath, unsettled: Unsettled, appended: &HashSet<String>) -> Result<u64, VaultError> {
        let mut db = writable(&keys.join(FILE))?;
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut orphans: BTreeMap<String, Vec<[u8; 32]>> = BTreeMap::new();
        {
            let mut statement = transaction.prepare("SELECT entry, name FROM named WHERE row > ?")?;
            let mut rows = statement.query(params![unsettled.row])?;
            while let Some(row) = rows.next()? {
                let entry: String = row.get(0)?;
                if !appended.contains(&entry) {
                    orphans.entry(entry).or_default().push(row.get(1)?);
                }
            }
        }
        for (entry, names) in &orphans {
            transaction.execute("DELETE FROM named WHERE entry = ?", params![entry])?;
            for name in names {
                if !transaction.prepare_cached("SELECT 1 FROM named WHERE name = ?")?.exists(params![name])? {
                    drop_piece(&transaction, name)?;
                }
            }
        }
        transaction.commit()?;
        Ok(orphans.len() as u64)
    }
}
