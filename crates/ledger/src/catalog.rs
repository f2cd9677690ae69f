//! Where things are: which pack holds a part, which entries an exchange has, which entries are acts of custody.
//!
//! Derived from the log alone, in SQLite so that any process can read it beside the one that writes the log. Delete
//! it and it is made again; whoever changes it can hide things from `show` and `search`, but not from `verify`, and
//! can make the ledger store a part twice or, by naming a part that is not there, not at all, which `verify` finds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use tabellion_evidence::audit::Packed;
use tabellion_evidence::content;
use tabellion_evidence::entry::{Heading, Kind};
use tabellion_evidence::tile;
use tabellion_evidence::tree::Hash;

use crate::{LedgerError, Reader};

/// Where an exchange stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its ULID.
    pub id: String,
    /// The index of its `exchange.request`.
    pub request: Option<u64>,
    /// The index of its `exchange.response`, once there is one.
    pub response: Option<u64>,
}

/// Positions of parts and exchanges.
pub struct Catalog {
    db: Connection,
}

/// Raised whenever the tables change; a catalog of another version is made again.
const VERSION: i64 = 3;
/// News are taken in after so long, not with every publication: parts lie in the order of their hashes, so that in a
/// large table each costs a page of its own, whichever other parts are written with it. Readers in other processes catch
/// up by themselves. Less than the search index waits for, which comes after this one.
const NEWS_WAIT: Duration = Duration::from_millis(if cfg!(test) { 5 } else { 1_000 });
/// At so many parts and exchanges, each of about a hundred bytes, the next publication takes them in first.
const NEWS_MAX: usize = if cfg!(test) { 8 } else { 1 << 16 };
/// How many bundles are taken into one transaction when catching up.
const BUNDLES_PER_COMMIT: u64 = 64;

impl Catalog {
    /// Opens the catalog of a data directory, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(LedgerError::Derived)?;
        }
        let db = Connection::open(path)?;
        // In WAL mode a process that dies or a power cut loses the newest transactions at most.
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Self::prepare(db)
    }

    /// A catalog that is gone with the process.
    pub fn in_memory() -> Result<Self, LedgerError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(db: Connection) -> Result<Self, LedgerError> {
        db.busy_timeout(Duration::from_secs(10))?;
        // 32 MiB, instead of 2: parts lie in the order of their hashes, so that each goes to a page of its own.
        db.pragma_update(None, "cache_size", -(32 << 10))?;
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let catalog = Self { db };
        if version != VERSION {
            catalog.reset()?;
        }
        Ok(catalog)
    }

    fn reset(&self) -> Result<(), LedgerError> {
        self.db.execute_batch(&format!("BEGIN IMMEDIATE; {} COMMIT;", tables()))?;
        Ok(())
    }

    /// Takes in what the log has published since. Any process may do it.
    pub fn catch_up(&mut self, reader: &Reader) -> Result<(), LedgerError> {
        let checkpoint = reader.checkpoint()?;
        let position = self.position()?;
        if let Some((size, _)) = position
            && size > checkpoint.size
            && reader.root(checkpoint.size, size).is_ok_and(|root| root == checkpoint.root)
        {
            // The process that writes the log has gone on, and holds its next checkpoints back for its witnesses, or was
            // about to put one in its place.
            return Ok(());
        }
        self.catch_up_from(position, reader, checkpoint.size)
    }

    /// Takes in what a log that has been integrated up to `size` has. Only the process that writes it knows that.
    pub(crate) fn catch_up_to(&mut self, reader: &Reader, size: u64) -> Result<(), LedgerError> {
        loop {
            let position = self.position()?;
            self.catch_up_from(position, reader, size)?;
            // Somebody else may have been at it.
            if self.position()?.map_or(0, |(at, _)| at) >= size {
                return Ok(());
            }
        }
    }

    /// Brings the catalog from a position to `end`; leaves it to others once they have moved it on.
    fn catch_up_from(&mut self, position: Option<(u64, Hash)>, reader: &Reader, end: u64) -> Result<(), LedgerError> {
        let mut from = position;
        // A catalog of another log, or of one that was rolled back, is of no use.
        if let Some((size, root)) = from
            && (size > end || reader.root(size, end)? != root)
        {
            let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if position_of(&transaction)? != position {
                return Ok(());
            }
            transaction.execute_batch(&tables())?;
            transaction.commit()?;
            from = None;
        }
        let mut from = from.map_or(0, |(size, _)| size);
        let mut packs = Vec::new();
        for packed in [Packed::Content, Packed::Sealed] {
            packs.push((
                packed,
                reader.packs(packed, from, end)?.into_iter().take_while(|&(index, _)| index < end).peekable(),
            ));
        }
        while from < end {
            let until = ((from / tile::WIDTH + BUNDLES_PER_COMMIT) * tile::WIDTH).min(end);
            let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            if position_of(&transaction)?.map_or(0, |(size, _)| size) != from {
                return Ok(());
            }
            let mut noted = Noted::default();
            for number in from / tile::WIDTH..until.div_ceil(tile::WIDTH) {
                let entries = reader.entries(number, end)?;
                for (index, entry) in (number * tile::WIDTH..).zip(&entries) {
                    if (from..until).contains(&index) {
                        noted.take(index, entry);
                    }
                }
            }
            noted.note(&transaction)?;
            for (packed, packs) in &mut packs {
                let mut parts = Parts::of(&transaction, *packed)?;
                while let Some((index, name)) = packs.next_if(|&(index, _)| index < until) {
                    let bytes = reader.store().read(&name)?.ok_or(LedgerError::Missing { name: name.clone() })?;
                    let pack = content::parse_pack(&bytes).map_err(|_| LedgerError::Damaged { name })?;
                    for (hash, bytes, offset) in pack {
                        parts.note(&hash, index, offset, bytes.len())?;
                    }
                }
            }
            note_position(&transaction, until, reader.root(until, end)?)?;
            transaction.commit()?;
            from = until;
        }
        Ok(())
    }

    /// Takes in what the ledger itself has published in the integrated tree of `size` and `root`; of what it has
    /// already, nothing. False when it has not come as far as the news begin.
    pub(crate) fn advance(&mut self, news: &mut News, size: u64, root: Hash) -> Result<bool, LedgerError> {
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if position_of(&transaction)?.map_or(0, |(size, _)| size) != news.first {
            return Ok(false);
        }
        news.noted.note(&transaction)?;
        for (packed, places) in [(Packed::Content, &mut news.parts), (Packed::Sealed, &mut news.sealed)] {
            // In the order of the table, which then is walked once.
            places.sort_unstable();
            let mut parts = Parts::of(&transaction, packed)?;
            for (hash, pack, offset, length) in places {
                parts.note(hash, *pack, *offset, *length)?;
            }
        }
        note_position(&transaction, size, root)?;
        transaction.commit()?;
        Ok(true)
    }

    /// How far the catalog has come, and the log's root there.
    pub fn position(&self) -> Result<Option<(u64, Hash)>, LedgerError> {
        position_of(&self.db)
    }

    /// Which of these parts are stored.
    pub(crate) fn known_parts(&mut self, hashes: &HashSet<Hash>) -> Result<HashSet<Hash>, LedgerError> {
        // One transaction: SQLite locks and looks for news once, not once a part.
        let transaction = self.db.transaction()?;
        let mut known = HashSet::new();
        {
            let mut statement = transaction.prepare_cached("SELECT 1 FROM part WHERE hash = ?")?;
            for hash in hashes {
                if statement.exists(params![hash.0])? {
                    known.insert(*hash);
                }
            }
        }
        transaction.finish()?;
        Ok(known)
    }

    /// The next parts in the order of their hashes; `None` when the catalog does not have all of the first `size` entries.
    pub(crate) fn parts_after(
        &mut self,
        after: Option<Hash>,
        limit: usize,
        size: u64,
    ) -> Result<Option<Vec<Hash>>, LedgerError> {
        let transaction = self.db.transaction()?;
        let has: Option<i64> = transaction.query_row("SELECT size FROM position", [], |row| row.get(0)).optional()?;
        if has.map_or(0, |has| has as u64) < size {
            return Ok(None);
        }
        let after = after.map_or(Vec::new(), |hash| hash.0.to_vec());
        let mut statement = transaction.prepare_cached("SELECT hash FROM part WHERE hash > ? ORDER BY hash LIMIT ?")?;
        let hashes = statement.query_map(params![after, limit as i64], |row| Ok(Hash(row.get(0)?)))?;
        Ok(Some(hashes.collect::<Result<_, _>>()?))
    }

    /// The pack that has a part, by its first entry, and where in it; `None` when no published one has it.
    fn place(&self, packed: Packed, hash: &Hash) -> Result<Option<(u64, u64, usize)>, LedgerError> {
        let mut statement = self.db.prepare_cached(match packed {
            Packed::Content => "SELECT pack, offset, length FROM part WHERE hash = ?",
            Packed::Sealed => "SELECT pack, offset, length FROM sealed WHERE hash = ?",
        })?;
        let place = statement.query_row(params![hash.0], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as usize))
        });
        Ok(place.optional()?)
    }

    /// The bytes of a part; `None` when no published pack has it.
    pub fn part(&self, reader: &Reader, hash: &Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        self.stored(reader, Packed::Content, hash)
    }

    /// The bytes of a sealed piece; `None` when no published pack has it.
    pub fn sealed(&self, reader: &Reader, hash: &Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        self.stored(reader, Packed::Sealed, hash)
    }

    fn stored(&self, reader: &Reader, packed: Packed, hash: &Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        let mut looked = None;
        loop {
            let Some(place @ (pack, offset, length)) = self.place(packed, hash)? else { return Ok(None) };
            let name = packed.file(pack);
            if let Some(bytes) = reader.store().read_range(&name, offset, length)?
                && tabellion_evidence::tree::sha256(&bytes) == *hash
            {
                return Ok(Some(bytes));
            }
            // A pack may have been rewritten since, and the part have another place in it, or none.
            if let Some(pack) = reader.store().read(&name)?
                && let Ok(parts) = content::parse_pack(&pack)
                && let Some((_, bytes, _)) = parts.into_iter().find(|(part, ..)| part == hash)
            {
                return Ok(Some(bytes.to_vec()));
            }
            if looked.replace(place) == Some(place) {
                return match self.is_leaving(packed, hash)? {
                    true => Ok(None),
                    false => Err(LedgerError::Damaged { name }),
                };
            }
        }
    }

    /// The pack that has a part, by its first entry.
    pub(crate) fn pack_of(&self, packed: Packed, hash: &Hash) -> Result<Option<u64>, LedgerError> {
        Ok(self.place(packed, hash)?.map(|(pack, ..)| pack))
    }

    fn is_leaving(&self, packed: Packed, hash: &Hash) -> Result<bool, LedgerError> {
        let mut statement = self.db.prepare_cached("SELECT 1 FROM leaving WHERE hash = ? AND sealed = ?")?;
        Ok(statement.exists(params![hash.0, packed == Packed::Sealed])?)
    }

    /// Notes, durably, what is about to leave which packs.
    pub(crate) fn leave(&mut self, leaving: &[(Packed, u64, Vec<Hash>)]) -> Result<(), LedgerError> {
        self.db.pragma_update(None, "synchronous", "FULL")?;
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut statement =
                transaction.prepare_cached("INSERT INTO leaving(sealed, pack, hash) VALUES (?, ?, ?)")?;
            for (packed, pack, hashes) in leaving {
                for hash in hashes {
                    statement.execute(params![*packed == Packed::Sealed, *pack as i64, hash.0])?;
                }
            }
        }
        transaction.commit()?;
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }

    /// Looks into the packs that something was to leave, and takes in what they have now. Gives the parts of content that
    /// are gone.
    pub(crate) fn settle(&mut self, reader: &Reader) -> Result<Vec<Hash>, LedgerError> {
        // Durable, before anything of it can be stored again.
        self.db.pragma_update(None, "synchronous", "FULL")?;
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut gone = Vec::new();
        {
            let mut statement = transaction.prepare("SELECT sealed, pack, hash FROM leaving ORDER BY sealed, pack")?;
            let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), Hash(row.get(2)?))))?;
            let mut packs: BTreeMap<(bool, i64), Vec<Hash>> = BTreeMap::new();
            for row in rows {
                let (pack, hash) = row?;
                packs.entry(pack).or_default().push(hash);
            }
            for ((sealed, pack), hashes) in packs {
                let (packed, table) = if sealed { (Packed::Sealed, "sealed") } else { (Packed::Content, "part") };
                let name = packed.file(pack as u64);
                let bytes = reader.store().read(&name)?.unwrap_or_default();
                let parts = content::parse_pack(&bytes).map_err(|_| LedgerError::Damaged { name })?;
                let there: HashSet<Hash> = parts.iter().map(|&(hash, ..)| hash).collect();
                let sql = format!("DELETE FROM {table} WHERE hash = ? AND pack = ?");
                for hash in hashes.iter().filter(|hash| !there.contains(hash)) {
                    transaction.prepare_cached(&sql)?.execute(params![hash.0, pack])?;
                    gone.extend((!sealed).then_some(*hash));
                }
                let sql = format!("UPDATE {table} SET offset = ? WHERE hash = ? AND pack = ?");
                for (hash, _, offset) in parts {
                    transaction.prepare_cached(&sql)?.execute(params![offset as i64, hash.0, pack])?;
                }
            }
            transaction.execute("DELETE FROM leaving", [])?;
        }
        transaction.commit()?;
        self.db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(gone)
    }

    /// How many entries were looked through for what expired; all that they say is gone.
    pub(crate) fn pruned(&self) -> Result<u64, LedgerError> {
        let pruned: Option<i64> = self.db.query_row("SELECT size FROM pruned", [], |row| row.get(0)).optional()?;
        Ok(pruned.map_or(0, |size| size as u64))
    }

    pub(crate) fn note_pruned(&mut self, size: u64) -> Result<(), LedgerError> {
        let transaction = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM pruned", [])?;
        transaction.execute("INSERT INTO pruned(size) VALUES (?)", params![size as i64])?;
        transaction.commit()?;
        Ok(())
    }

    /// Where an exchange stands; `None` when no published entry speaks of it.
    pub fn exchange(&self, id: &str) -> Result<Option<Exchange>, LedgerError> {
        let mut statement = self.db.prepare_cached("SELECT id, request, response FROM exchange WHERE id = ?")?;
        Ok(statement.query_row(params![id], exchange_of).optional()?)
    }

    /// The acts of custody, and what was done with cases, in the log's order: their indices and kinds. Heartbeats, which
    /// say that nothing happened, are not among them.
    pub fn custody(&self) -> Result<Vec<(u64, Kind)>, LedgerError> {
        let mut statement = self.db.prepare("SELECT entry, kind FROM custody ORDER BY entry")?;
        let rows =
            statement.query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, Kind::from(row.get_ref(1)?.as_str()?))))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The exchanges that have a request and no response, in the log's order.
    pub fn unfinished(&self) -> Result<Vec<Exchange>, LedgerError> {
        let mut statement =
            self.db.prepare("SELECT id, request, response FROM exchange WHERE response IS NULL ORDER BY request")?;
        let rows = statement.query_map([], exchange_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The parts of a log for somebody who reads it from its beginning to its end.
pub struct PartsInOrder {
    reader: Reader,
    catalog: Catalog,
    /// The pack that was read last, by its first entry.
    pack: Option<u64>,
    parts: HashMap<Hash, Vec<u8>>,
}

impl PartsInOrder {
    /// The catalog must not be behind the log.
    pub fn new(reader: Reader, catalog: Catalog) -> Self {
        Self { reader, catalog, pack: None, parts: HashMap::new() }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// As [`Catalog::part`]. The others of a pack will be asked for next, so it is read as a whole: looking each up and
    /// opening the file each time costs more than all else that an index does with it.
    pub fn part(&mut self, hash: &Hash) -> Result<Option<Vec<u8>>, LedgerError> {
        if let Some(part) = self.parts.get(hash) {
            return Ok(Some(part.clone()));
        }
        match self.catalog.place(Packed::Content, hash)? {
            Some((pack, ..)) if self.pack.is_none_or(|last| pack > last) => {
                self.parts.clear();
                self.pack = Some(pack);
                if let Some(bytes) = self.reader.store().read(&Packed::Content.file(pack))?
                    && let Ok(parts) = content::parse_pack(&bytes)
                {
                    self.parts = parts.into_iter().map(|(hash, bytes, _)| (hash, bytes.to_vec())).collect();
                }
                // A damaged one may have this part whole.
                match self.parts.get(hash) {
                    Some(part) => Ok(Some(part.clone())),
                    None => self.catalog.part(&self.reader, hash),
                }
            }
            Some(_) => self.catalog.part(&self.reader, hash),
            None => Ok(None),
        }
    }

    /// Forgets the pack that was read last.
    pub fn rest(&mut self) {
        self.parts = HashMap::new();
    }
}

/// What was published and the catalog does not have yet.
pub(crate) struct News {
    /// The index of the first entry of it.
    first: u64,
    /// When that came.
    since: Instant,
    noted: Noted,
    /// Hash, pack, offset and length of parts of content.
    parts: Vec<(Hash, u64, usize, usize)>,
    /// The same of sealed pieces.
    sealed: Vec<(Hash, u64, usize, usize)>,
}

/// Hash, offset and length in a pack.
pub(crate) type Place = (Hash, usize, usize);

impl News {
    /// Nothing yet, of entries from this one on.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, since: Instant::now(), noted: Noted::default(), parts: Vec::new(), sealed: Vec::new() }
    }

    /// Takes in a publication: its entries, and where in their packs the parts and sealed pieces are that it brought.
    pub(crate) fn add(&mut self, first: u64, entries: &[&[u8]], parts: &[Place], sealed: &[Place]) {
        for (index, entry) in (first..).zip(entries) {
            self.noted.take(index, entry);
        }
        let placed = |&(hash, offset, length): &Place| (hash, first, offset, length);
        self.parts.extend(parts.iter().map(placed));
        self.sealed.extend(sealed.iter().map(placed));
    }

    /// How much longer they can wait.
    pub(crate) fn due_in(&self) -> Duration {
        NEWS_WAIT.saturating_sub(self.since.elapsed())
    }

    /// Whether there must not be more of them.
    pub(crate) fn is_full(&self) -> bool {
        self.parts.len() + self.sealed.len() + self.noted.exchanges.len() + self.noted.custody.len() >= NEWS_MAX
    }

    /// The index of the first entry of them.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }
}

/// Makes the tables, empty.
fn tables() -> String {
    format!(
        "DROP TABLE IF EXISTS part; DROP TABLE IF EXISTS sealed; DROP TABLE IF EXISTS exchange;
         DROP TABLE IF EXISTS custody; DROP TABLE IF EXISTS position;
         DROP TABLE IF EXISTS leaving; DROP TABLE IF EXISTS pruned;
         CREATE TABLE part(hash BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
             length INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE sealed(hash BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
             length INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE exchange(id TEXT PRIMARY KEY, request INTEGER, response INTEGER) WITHOUT ROWID;
         CREATE INDEX open_exchange ON exchange(request) WHERE response IS NULL;
         CREATE TABLE custody(entry INTEGER PRIMARY KEY, kind TEXT NOT NULL);
         CREATE TABLE position(size INTEGER NOT NULL, root BLOB NOT NULL);
         CREATE TABLE leaving(sealed INTEGER NOT NULL, pack INTEGER NOT NULL, hash BLOB NOT NULL);
         CREATE TABLE pruned(size INTEGER NOT NULL);
         PRAGMA user_version = {VERSION};"
    )
}

fn exchange_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Exchange> {
    let index = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(|index| index as u64));
    Ok(Exchange { id: row.get(0)?, request: index(1)?, response: index(2)? })
}

/// What a transaction is to note of exchanges, in the order of their table, and of custody. Request and response mostly
/// come together.
#[derive(Default)]
struct Noted {
    exchanges: BTreeMap<String, (Option<u64>, Option<u64>)>,
    custody: Vec<(u64, Kind)>,
}

impl Noted {
    fn take(&mut self, index: u64, entry: &[u8]) {
        // Entries that are neither, or not even ours, are none of the catalog's business.
        let Ok(Heading { kind, exchange }) = Heading::parse(entry) else { return };
        match (&kind, exchange) {
            (Kind::Request, Some(exchange)) => {
                self.exchanges.entry(exchange).or_default().0.get_or_insert(index);
            }
            (Kind::Response, Some(exchange)) => {
                self.exchanges.entry(exchange).or_default().1.get_or_insert(index);
            }
            (Kind::Heartbeat, _) => {}
            _ if kind.is_custody() => {
                self.custody.push((index, kind));
            }
            _ => {}
        }
    }

    fn note(&self, db: &Connection) -> Result<(), LedgerError> {
        let mut statement = db.prepare_cached(
            "INSERT INTO exchange(id, request, response) VALUES (?1, ?2, ?3)
             ON CONFLICT(id) DO UPDATE SET
                 request = coalesce(request, excluded.request), response = coalesce(response, excluded.response)",
        )?;
        for (id, (request, response)) in &self.exchanges {
            let index = |index: &Option<u64>| index.map(|index| index as i64);
            statement.execute(params![id, index(request), index(response)])?;
        }
        let mut statement = db.prepare_cached("INSERT OR IGNORE INTO custody(entry, kind) VALUES (?, ?)")?;
        for (index, kind) in &self.custody {
            statement.execute(params![*index as i64, kind.as_str()])?;
        }
        Ok(())
    }
}

/// The table of parts, or of sealed pieces, open for inserts.
struct Parts<'db>(CachedStatement<'db>);

impl<'db> Parts<'db> {
    fn of(db: &'db Connection, packed: Packed) -> Result<Self, LedgerError> {
        Ok(Self(db.prepare_cached(match packed {
            Packed::Content => "INSERT OR IGNORE INTO part(hash, pack, offset, length) VALUES (?, ?, ?, ?)",
            Packed::Sealed => "INSERT OR IGNORE INTO sealed(hash, pack, offset, length) VALUES (?, ?, ?, ?)",
        })?))
    }

    fn note(&mut self, hash: &Hash, pack: u64, offset: usize, length: usize) -> Result<(), LedgerError> {
        self.0.execute(params![hash.0, pack as i64, offset as i64, length as i64])?;
        Ok(())
    }
}

fn position_of(db: &Connection) -> Result<Option<(u64, Hash)>, LedgerError> {
    let mut statement = db.prepare_cached("SELECT size, root FROM position")?;
    Ok(statement.query_row([], |row| Ok((row.get::<_, i64>(0)? as u64, Hash(row.get(1)?)))).optional()?)
}

fn note_position(db: &Connection, size: u64, root: Hash) -> Result<(), LedgerError> {
    db.prepare_cached("DELETE FROM position")?.execute([])?;
    db.prepare_cached("INSERT INTO position(size, root) VALUES (?, ?)")?.execute(params![size as i64, root.0])?;
    Ok(())
}
