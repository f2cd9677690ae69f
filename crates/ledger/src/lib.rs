//! The log: entries become durable, then acknowledged, then part of a signed tree.
//!
//! # How an append becomes evidence
//!
//! 1. [`Ledger::append`] queues an entry. A crash here: it never happened.
//! 2. The sequencer, one thread, takes everything that queued up meanwhile, gives out positions, writes all of it to
//!    the write-ahead log in one write and one `fdatasync`, and only then acknowledges (group commit). A crash
//!    before the sync returns: the entries may or may not be found again, and nobody was told. After it: they are.
//! 3. The publisher, another thread, takes what was sequenced, at most [`Options::publish_every`] later, and writes
//!    the content pack, the pack of sealed pieces, the entry bundles and the tiles. A crash here leaves objects beyond the signed size;
//!    recovery removes such packs and writes the rest again.
//! 4. The signer checks that the new tree extends the last one that it signed, remembers the new one, apart from the
//!    data, and signs. This is the commit point of a publication. A crash after it: recovery publishes what was
//!    signed.
//! 5. Witnesses, if there are any, are shown the checkpoint, for a limited time; `log/checkpoint` is replaced. Readers see
//!    the entries from now on. Where checkpoints are held back until a quorum has cosigned them, the next ones are signed
//!    meanwhile, and the newest is published when there is one. A crash before: recovery takes it up from here.
//! 6. The catalog and other derived stores follow, partial tiles that a full one replaced are removed, and so are
//!    segments of the write-ahead log of which nothing is needed any more.
//!
//! [`Ledger::open`] is the recovery: it runs 3 to 6 on what the write-ahead log holds.
//!
//! What is stored of an entry outside the tree may be removed again, once the log says that it expired: see `prune`.
//!
//! # Whom it trusts
//!
//! The write-ahead log, for at most as long as a publication takes; the keys directory, see `signer`. The rest of
//! the data directory it does not trust: a tree that does not have the signed root is refused at the start.

mod catalog;
mod edge;
#[cfg(test)]
mod faults;
mod filter;
mod mirror;
mod prune;
mod publish;
mod read;
mod receipt;
mod sequence;
mod signer;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod tests;
mod wal;
mod witnessing;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tabellion_evidence::tile::ENTRY_BYTES_MAX;
use tabellion_evidence::tree::{self, Hash};
use tabellion_store::{Disk, DiskStore, Protection, RealDisk, Store, StoreError};
use tokio::sync::{oneshot, watch};

pub use catalog::{Catalog, Exchange, PartsInOrder};
pub use mirror::{Mirror, MirrorError, Removed, Round};
pub use prune::{Pruned, expired};
pub use read::{Reader, StoreTiles};
pub use receipt::ReceiptSigner;
pub use witnessing::{Answers, Witnesses, Witnessing};

use prune::SharedPruning;
use publish::Publisher;
use sequence::{Queued, Sequencer};
use signer::Signer;
use wal::{Failure, Record, Wal, WalError};

/// Why the ledger cannot be opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Another process writes this log. Stop it, or go through it.
    #[error("another process is writing this log")]
    InUse,
    /// The signing key is not one of ours.
    #[error("the signing key is malformed")]
    Key,
    /// There is a log, and the key that signed it is gone. Bring the keys directory back; a new key would be
    /// another log's.
    #[error("the log exists, but its signing key is missing")]
    KeyMissing,
    /// The configured origin cannot be a key's name.
    #[error("the origin must be a name without spaces and plus signs")]
    Origin,
    /// The configured origin is not the log's. A log keeps its name.
    #[error("the configured origin is not the one that this log was started with")]
    OriginChanged,
    /// What the signer remembers is malformed.
    #[error("the record of the last signed tree head is malformed")]
    SignerState,
    /// There is a log, and what the signer remembers is gone.
    #[error("the log exists, but the record of the last signed tree head is missing")]
    SignerStateMissing,
    /// The data is not an extension of what was last signed: rolled back, restored from an older copy, or changed.
    /// Nothing is signed.
    #[error("the log is not an extension of the last tree head that was signed")]
    Diverged,
    /// A witness has cosigned more of this log than there is here: this is an older copy of it, restored or rolled back.
    /// Nothing is signed.
    #[error("the witness {witness} has cosigned {size} entries of this log, and there are only {ours} here")]
    Behind {
        /// What the configuration calls the witness.
        witness: String,
        /// The size of the tree that it cosigned.
        size: u64,
        /// The size of the last tree that was signed here.
        ours: u64,
    },
    /// A witness has cosigned another log under this one's name and key. Nothing is signed.
    #[error("the witness {witness} has cosigned a tree of this log that is not the one here")]
    Contradicted {
        /// What the configuration calls the witness.
        witness: String,
    },
    /// Too few witnesses answered to know whether this is the newest state of the log, and that is configured to be
    /// needed.
    #[error("too few witnesses answered to know whether this is the newest state of the log")]
    WitnessesSilent,
    /// The checkpoint cannot be one of this log's.
    #[error("the checkpoint is malformed or its signature does not verify")]
    Checkpoint,
    /// Part of the log is absent.
    #[error("{name} is missing")]
    Missing {
        /// The object.
        name: String,
    },
    /// Part of the log is not what it must be.
    #[error("{name} is damaged")]
    Damaged {
        /// The object.
        name: String,
    },
    /// What was acknowledged does not get published, so that nobody can wait for it any longer.
    #[error("the newest entries are not published")]
    Unpublished,
    /// A sync failed while packs were rewritten: only a restart tells what they are.
    #[error("a sync failed, so nothing more is removed until a restart")]
    NeedsRestart,
    /// There is no such entry yet.
    #[error("the log has no entry {index}")]
    Beyond {
        /// The index that was asked for.
        index: u64,
    },
    /// The write-ahead log lost entries that had been acknowledged.
    #[error("wal/{segment:020} is damaged at byte {offset}, in entries that had been acknowledged")]
    Wal {
        /// The segment's first index.
        segment: u64,
        /// Where reading it ends.
        offset: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed.
    #[error("the disk failed")]
    Disk(#[source] io::Error),
    /// A derived store failed. It can be deleted.
    #[error("the catalog in index/ failed")]
    Derived(#[source] io::Error),
    /// The catalog failed. It can be deleted.
    #[error("the catalog in index/ failed")]
    Catalog(#[from] rusqlite::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random,
}

impl From<WalError> for LedgerError {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Damaged { segment, offset } => Self::Wal { segment, offset },
            WalError::Disk(error) => Self::Disk(error),
        }
    }
}

/// Why an append was not acknowledged. Nothing of it needs to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The entry is longer than a leaf may be.
    #[error("the entry is longer than 65,535 bytes")]
    TooLong,
    /// More is waiting than the ledger takes on. Try again later.
    #[error("too much is waiting to be written")]
    Busy,
    /// The disk is full. Appends work again when there is room.
    #[error("the disk is full")]
    Full,
    /// The disk refused this write. Later ones may work.
    #[error("the disk failed")]
    Disk,
    /// A sync failed, so that nobody knows what the disk holds. Restart, and the log recovers what there is.
    #[error("the disk failed in a way that needs a restart")]
    Stopped,
    /// The ledger is being closed.
    #[error("the ledger is closed")]
    Closed,
}

/// How a ledger is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The log's name; of a new log without one, a random one.
    pub origin: Option<String>,
    /// At most how long an acknowledged entry waits for the next checkpoint, apart from the time that publishing
    /// itself takes.
    pub publish_every: Duration,
    /// How many bytes may wait to be written, before appends are refused as [`AppendError::Busy`].
    pub waiting_bytes_max: usize,
    /// How many bytes may be acknowledged and not published, before further appends have to wait.
    pub unpublished_bytes_max: usize,
    /// Where the catalog is; in memory when `None`.
    pub catalog: Option<PathBuf>,
    /// Who cosigns the checkpoints.
    pub witnessing: Option<Witnessing>,
    /// What is done to the files of full tiles, full bundles and packs once they are published.
    pub protection: Protection,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: None,
            publish_every: Duration::from_millis(200),
            waiting_bytes_max: 256 << 20,
            unpublished_bytes_max: 24 << 20,
            catalog: None,
            witnessing: None,
            protection: Protection::Off,
        }
    }
}

/// What is appended: an entry, the parts of its content, each of which is stored unless the log has it, and pieces of its
/// sealed original.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// The leaf's bytes.
    pub entry: Vec<u8>,
    /// The redacted parts that the entry names.
    pub parts: Vec<Part>,
    /// The sealed pieces that the entry is the first to name. Each was sealed with a key of its own, so the log cannot
    /// have one already.
    pub sealed: Vec<Part>,
    /// Further parts that the entry names, which the log is known to have. They are not stored, unless they expired since.
    pub known: Vec<Part>,
}

/// Part of a redacted body, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    hash: Hash,
    /// Not a slice: that would copy what redaction has just written.
    bytes: Arc<Vec<u8>>,
}

impl Part {
    /// Hashes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { hash: tree::sha256(&bytes), bytes: Arc::new(bytes) }
    }

    /// The SHA-256 of the bytes, which is the part's name.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Append {
    fn bytes(&self) -> usize {
        // What is counted per entry beside its bytes keeps a flood of empty ones bounded too.
        let stored = self.parts.iter().chain(&self.sealed);
        64 + self.entry.len() + stored.map(|part| 64 + part.bytes.len()).sum::<usize>()
    }
}

/// The digits of the largest number.
const NUMBER_DIGITS_MAX: usize = 20;

type Reply = oneshot::Sender<Result<u64, AppendError>>;

#[derive(Default)]
struct Queue {
    waiting: Vec<(Queued, Reply)>,
    waiting_bytes: usize,
    /// Sequenced, not yet published. Owned by the publisher once taken.
    sequenced: Vec<Record>,
    /// The bytes of `sequenced` and of what the publisher has taken.
    sequenced_bytes: usize,
    /// Nothing more is taken in.
    closed: bool,
    /// What is published is to be removed from the write-ahead log.
    renew: bool,
    /// A sync failed, see [`AppendError::Stopped`].
    failed: bool,
    /// The sequencer has ended, so nothing more will be sequenced.
    sequencer_ended: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    sequencer_wakes: Condvar,
    publisher_wakes: Condvar,
    /// How many entries are published.
    published: watch::Sender<u64>,
    /// How many of them are in the catalog.
    cataloged: AtomicU64,
    /// When the newest checkpoint was published, if it was by this process.
    published_at: Mutex<Option<Instant>>,
    /// Set by a publication that failed, for readiness.
    failing: AtomicBool,
    /// What the sequencer must know of a pruning.
    pruning: SharedPruning,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is changed in ways that a panic cannot leave half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log, open for appending. One process at a time has it.
pub struct Ledger {
    shared: Arc<Shared>,
    reader: Reader,
    catalog: Arc<Mutex<Catalog>>,
    waiting_bytes_max: usize,
    /// Held by whoever prunes.
    pruner: Mutex<prune::Left>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _locks: Vec<File>,
}

impl Ledger {
    /// Opens the log in a directory, or starts one, with its keys and the signer's memory in another.
    pub fn open(data: &Path, keys: &Path, mut options: Options) -> Result<Self, LedgerError> {
        make_private_directory(data)?;
        make_private_directory(keys)?;
        let locks = vec![lock(&data.join("lock"))?, lock(&keys.join("lock"))?];
        options.catalog.get_or_insert_with(|| catalog_path(data));
        let mut ledger = Self::open_on(RealDisk::new(data), DiskStore::new(RealDisk::new(keys)), options)?;
        ledger._locks = locks;
        Ok(ledger)
    }

    /// Opens the log on any disk. Nothing keeps a second process from doing the same.
    pub fn open_on<D: Disk + Clone + 'static>(
        data: D,
        keys: impl Store + 'static,
        options: Options,
    ) -> Result<Self, LedgerError> {
        let Recovered { sequencer, publisher } = recover(data, keys, &options)?;
        let reader = publisher.reader();
        let catalog = sequencer.catalog();
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            sequencer_wakes: Condvar::new(),
            publisher_wakes: Condvar::new(),
            published: watch::Sender::new(publisher.size()),
            cataloged: AtomicU64::new(publisher.size()),
            published_at: Mutex::new(None),
            failing: AtomicBool::new(false),
            pruning: sequencer.pruning(),
        });
        let threads = vec![
            spawn("sequencer", {
                let shared = shared.clone();
                move || run_sequencer(&shared, sequencer, options.unpublished_bytes_max)
            })?,
            spawn("publisher", {
                let shared = shared.clone();
                move || run_publisher(&shared, publisher, options.publish_every, options.unpublished_bytes_max)
            })?,
        ];
        Ok(Self {
            shared,
            reader,
            catalog,
            waiting_bytes_max: options.waiting_bytes_max,
            pruner: Mutex::default(),
            threads: Mutex::new(threads),
            _locks: Vec::new(),
        })
    }

    /// Appends an entry; returns its index once it is durable.
    ///
    /// Entries of one caller that waits for each get ascending indexes. Dropping the future does not undo anything.
    pub async fn append(&self, append: Append) -> Result<u64, AppendError> {
        self.enqueue(append.into())?.await.unwrap_or(Err(AppendError::Closed))
    }

    /// [`Ledger::append`] of an entry that gets a number: how many numbered entries this process has appended before
    /// it, in decimal, in place of the one digit at `number_at`. Numbers are given together with positions, in the same
    /// write, so that they are in the log's order and none is left out.
    ///
    /// # Panics
    ///
    /// When there is no digit.
    pub async fn append_numbered(&self, append: Append, number_at: usize) -> Result<u64, AppendError> {
        assert!(append.entry.get(number_at).is_some_and(u8::is_ascii_digit), "a number takes the place of a digit");
        self.enqueue(Queued { append, number_at: Some(number_at) })?.await.unwrap_or(Err(AppendError::Closed))
    }

    /// [`Ledger::append`], for threads that are not asynchronous.
    pub fn append_blocking(&self, append: Append) -> Result<u64, AppendError> {
        self.enqueue(append.into())?.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }

    fn enqueue(&self, queued: Queued) -> Result<oneshot::Receiver<Result<u64, AppendError>>, AppendError> {
        let append = &queued.append;
        let digits = if queued.number_at.is_some() { NUMBER_DIGITS_MAX } else { 0 };
        if append.entry.len() + digits > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLong);
        }
        let (reply, receiver) = oneshot::channel();
        let mut queue = self.shared.lock();
        if queue.failed {
            return Err(AppendError::Stopped);
        }
        if queue.closed {
            return Err(AppendError::Closed);
        }
        if queue.waiting_bytes > self.waiting_bytes_max {
            return Err(AppendError::Busy);
        }
        queue.waiting_bytes += append.bytes();
        let wake = queue.waiting.is_empty();
        queue.waiting.push((queued, reply));
        drop(queue);
        if wake {
            self.shared.sequencer_wakes.notify_one();
        }
        Ok(receiver)
    }

    /// The log as readers see it.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The catalog. Once the log is open it has everything; later it follows [`Ledger::published`] within two seconds.
    pub fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries are in the signed tree, as it changes. The published checkpoint has as many, unless it is held
    /// back until witnesses have cosigned it.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.shared.published.subscribe()
    }

    /// How long ago the newest checkpoint was published; `None` before this process has published one.
    pub fn checkpoint_age(&self) -> Option<Duration> {
        let at = *self.shared.published_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.elapsed())
    }

    /// Whether appends can be expected to work.
    pub fn healthy(&self) -> bool {
        !self.shared.lock().failed && !self.shared.failing.load(Ordering::Relaxed)
    }

    /// Refuses further appends, and returns when everything that was acknowledged is published, or at least durable
    /// in the write-ahead log if publishing fails.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.sequencer_wakes.notify_one();
        self.shared.publisher_wakes.notify_one();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has already said so; there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

/// For `fuzz/`: reads a segment of the write-ahead log.
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub fn fuzz_wal(data: &[u8]) {
    wal::fuzz(data);
}

/// Where the catalog of a data directory lies.
pub fn catalog_path(data: &Path) -> PathBuf {
    data.join("index/catalog.db")
}

fn make_private_directory(path: &Path) -> Result<(), LedgerError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(LedgerError::Disk)
}

fn lock(path: &Path) -> Result<File, LedgerError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(LedgerError::Disk)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::InUse),
        Err(std::fs::TryLockError::Error(error)) => Err(LedgerError::Disk(error)),
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LedgerError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(LedgerError::Disk)
}

struct Recovered<D> {
    sequencer: Sequencer<D>,
    publisher: Publisher,
}

/// Brings a log to where every acknowledged entry is published, whatever happened before.
fn recover<D: Disk + Clone + 'static>(
    data: D,
    keys: impl Store + 'static,
    options: &Options,
) -> Result<Recovered<D>, LedgerError> {
    let store = DiskStore::new(data.clone()).with_protection(options.protection);
    store.clean()?;
    let store: Arc<dyn Store> = Arc::new(store);
    let reader = Reader::new(store.clone());
    let fresh = store.read("log/checkpoint")?.is_none() && store.read("log.vkey")?.is_none();
    let signer = Signer::open(Box::new(keys), options.origin.as_deref(), fresh)?;
    if signer.last().is_none() && store.read("log/checkpoint")?.is_some() {
        return Err(LedgerError::SignerStateMissing);
    }
    let vkeys = signer.vkeys();
    let known = store.read("log.vkey")?;
    if known.is_none() {
        store.replace("log.vkey", vkeys.as_bytes())?;
    }
    let (catalog, shared_catalog) = match &options.catalog {
        Some(path) => (Arc::new(Mutex::new(Catalog::open(path)?)), Arc::new(Mutex::new(Catalog::open(path)?))),
        None => {
            let catalog = Arc::new(Mutex::new(Catalog::in_memory()?));
            (catalog.clone(), catalog)
        }
    };
    // Before it catches up with packs that have what left others. Nobody holds anything for stored yet.
    catalog.lock().unwrap_or_else(PoisonError::into_inner).settle(&reader)?;
    let mut publisher = Publisher::open(reader, signer, catalog, options.witnessing.clone())?;
    if known.is_some_and(|known| known != vkeys.as_bytes()) {
        // A key that was added; by now the checkpoint is signed with it, so that at no moment one is named that is not.
        store.replace("log.vkey", vkeys.as_bytes())?;
    }
    let (wal, records) = Wal::open(data, publisher.size())?;
    let mut sequencer = Sequencer::new(wal, shared_catalog, publisher.size());
    if !records.is_empty() {
        publisher.publish(&records)?;
        publisher.catch_up_catalog()?;
        sequencer.skip(records.len() as u64);
    }
    sequencer.published(publisher.size());
    sequencer.read_catalog();
    Ok(Recovered { sequencer, publisher })
}

/// At most this many bytes are written in one go, so that one slow write does not hold up everybody for long.
const GROUP_BYTES: usize = 8 << 20;

fn run_sequencer<D: Disk>(shared: &Shared, mut sequencer: Sequencer<D>, unpublished_bytes_max: usize) {
    let mut crowded = false;
    loop {
        let mut queue = shared.lock();
        while (queue.waiting.is_empty() || queue.sequenced_bytes > unpublished_bytes_max)
            && !queue.closed
            && !queue.renew
        {
            queue = shared.sequencer_wakes.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if std::mem::take(&mut queue.renew) {
            drop(queue);
            sequencer.published(shared.cataloged.load(Ordering::Acquire));
            // What could not be removed is, when there is something else to remove.
            if let Err(Failure::Unknown) = sequencer.renew() {
                let mut queue = shared.lock();
                (queue.failed, queue.closed) = (true, true);
                for (_, reply) in std::mem::take(&mut queue.waiting) {
                    let _ = reply.send(Err(AppendError::Stopped));
                }
            }
            continue;
        }
        if crowded {
            // Many append at once: whoever can run now adds to this group, which makes groups larger and syncs fewer.
            // A lone caller never waits for this.
            drop(queue);
            std::thread::yield_now();
            queue = shared.lock();
        }
        if queue.waiting.is_empty() {
            // Closed, and everything that had been taken in is sequenced: the publisher may finish too.
            queue.sequencer_ended = true;
            shared.publisher_wakes.notify_one();
            return;
        }
        let group = take_group(&mut queue.waiting);
        drop(queue);
        crowded = group.len() > 1;

        let bytes: usize = group.iter().map(|(queued, _)| queued.append.bytes()).sum();
        let (appends, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        sequencer.published(shared.cataloged.load(Ordering::Acquire));
        let outcome = sequencer.sequence(appends);
        let mut queue = shared.lock();
        queue.waiting_bytes -= bytes;
        match outcome {
            Ok((first, records)) => {
                queue.sequenced_bytes += records.iter().map(Record::bytes).sum::<usize>();
                let wake = queue.sequenced.is_empty() || queue.sequenced_bytes > unpublished_bytes_max / 2;
                queue.sequenced.extend(records);
                drop(queue);
                if wake {
                    shared.publisher_wakes.notify_one();
                }
                for (index, reply) in (first..).zip(replies) {
                    // Nobody may be waiting any more; the entry is in the log all the same.
                    let _ = reply.send(Ok(index));
                }
            }
            Err(failure) => {
                let error = match failure {
                    Failure::Refused(error) if error.kind() == io::ErrorKind::StorageFull => AppendError::Full,
                    Failure::Refused(_) => AppendError::Disk,
                    Failure::Unknown => {
                        queue.failed = true;
                        queue.closed = true;
                        AppendError::Stopped
                    }
                };
                let rest = if queue.failed { std::mem::take(&mut queue.waiting) } else { Vec::new() };
                drop(queue);
                for reply in replies.into_iter().chain(rest.into_iter().map(|(_, reply)| reply)) {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }
}

fn take_group(waiting: &mut Vec<(Queued, Reply)>) -> Vec<(Queued, Reply)> {
    let mut bytes = 0;
    let end = waiting
        .iter()
        .position(|(queued, _)| {
            bytes += queued.append.bytes();
            bytes > GROUP_BYTES
        })
        .map_or(waiting.len(), |position| position.max(1));
    if end == waiting.len() { std::mem::take(waiting) } else { waiting.drain(..end).collect() }
}

/// How often witnesses that have not cosigned the newest checkpoint are looked for, while nothing else happens.
const COSIGNATURES_EVERY: Duration = Duration::from_secs(1);

fn run_publisher(shared: &Shared, mut publisher: Publisher, every: Duration, unpublished_bytes_max: usize) {
    let mut taken: Vec<Record> = Vec::new();
    let mut last: Option<Instant> = None;
    loop {
        let mut queue = shared.lock();
        while queue.sequenced.is_empty() && taken.is_empty() && !publisher.pending() && !queue.sequencer_ended {
            let cosignatures = publisher.lacks_cosignatures().then_some(COSIGNATURES_EVERY);
            if let Some(wait) = cosignatures.into_iter().chain(publisher.catalog_due_in()).min() {
                let wait = shared.publisher_wakes.wait_timeout(queue, wait);
                let (woken, waited) = wait.unwrap_or_else(PoisonError::into_inner);
                queue = woken;
                if waited.timed_out() {
                    break;
                }
            } else {
                queue = shared.publisher_wakes.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
        // Publishing costs a few syncs however little there is, so it waits for more, unless nobody comes any more.
        let next = last.map_or_else(Instant::now, |last| last + every);
        while !queue.closed {
            let Some(wait) = next.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) else { break };
            // Half of what may wait is there already.
            if queue.sequenced_bytes > unpublished_bytes_max / 2 {
                break;
            }
            queue = shared.publisher_wakes.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let last_round = queue.sequencer_ended;
        taken.append(&mut queue.sequenced);
        drop(queue);
        last = Some(Instant::now());

        match publisher.publish(&taken) {
            Ok(()) => {
                let bytes: usize = taken.iter().map(Record::bytes).sum();
                taken.clear();
                shared.lock().sequenced_bytes -= bytes;
                shared.failing.store(false, Ordering::Relaxed);
                shared.published.send_replace(publisher.size());
                if publisher.take_placed() {
                    *shared.published_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                }
                if last_round || publisher.catalog_due_in().is_some_and(|due| due.is_zero()) {
                    // Derived, so nothing is lost; it is tried again.
                    shared.failing.store(publisher.catch_up_catalog().is_err(), Ordering::Relaxed);
                }
                shared.cataloged.store(publisher.cataloged(), Ordering::Release);
                shared.sequencer_wakes.notify_one();
            }
            // Everything stays durable in the write-ahead log, and is tried again. Appends are refused once too much
            // waits; or at once when a sync failed, which is not tried again.
            Err(error) => {
                shared.failing.store(true, Ordering::Relaxed);
                if matches!(&error, LedgerError::Store(error) if error.needs_restart()) {
                    let mut queue = shared.lock();
                    queue.failed = true;
                    queue.closed = true;
                    shared.sequencer_wakes.notify_one();
                }
            }
        }
        if last_round && (taken.is_empty() || shared.failing.load(Ordering::Relaxed)) {
            return;
        }
    }
}
