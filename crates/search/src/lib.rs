//! Finding exchanges: a full-text index over the log, in SQLite's FTS5.
//!
//! One row per exchange, its request and its response together, made from the log alone. It is no part of the
//! evidence: delete it, and [`Index::catch_up`] makes it again. It does so by itself when the index belongs to
//! another log, to one that was rolled back, or to another version of this crate.
//!
//! # What is searched
//!
//! The redacted text; nothing else ever reaches this crate. Chat APIs send the whole history again with every turn,
//! so a part's text belongs to the exchange whose entry is the first to name it, and the index grows with the new
//! text only. The words are SQLite's `unicode61`: runs of letters and digits, without case and without diacritics. All
//! else stands between words, the underscore too (Markdown emphasizes with it), so `[EMAIL_ADDRESS:k7f3q2ab]` is a
//! phrase of three words, and is found by the whole of it or by any of them. Of scripts that put no spaces between
//! words, each character is a word.
//!
//! # How it catches up
//!
//! In transactions, each of which takes the write lock, reads how far the index has come, goes on from there for a
//! bounded number of entries and bytes, and writes how far it has come now. A crash anywhere before the commit: it
//! never happened. So it does not matter which process catches up, nor whether two try at once; and any number of
//! processes search meanwhile (WAL mode).
//!
//! # Whom it trusts
//!
//! Whoever can change the index can hide things from `search`, or show what never was, but not from `verify`. What is
//! in the log is foreign to it: an entry that cannot be read is left out, a part that is not there has no text.

mod build;
mod query;
mod text;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use serde::Serialize;
use tabellion_evidence::tree::Hash;

/// What the index is built from: a published log.
pub trait Source {
    /// Why the log could not be read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// How many entries are published. It may grow at any time.
    fn size(&self) -> Result<u64, Self::Error>;

    /// The tree's root when it had `size` entries, which is at least 1 and not more than are published.
    fn root(&self, size: u64) -> Result<Hash, Self::Error>;

    /// The entries of a bundle of 256 of the tree of `size` entries, all that it has.
    fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Self::Error>;

    /// A part's bytes; `None` when it is missing or damaged, which leaves its text out until another entry names it.
    /// Whatever the entries below [`Source::size`] name must be found by then. An error ends the catching up.
    fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// Why the index cannot be used. Nothing is lost: it can be deleted, and is made again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The directory cannot be made.
    #[error("the directory of the search index cannot be made")]
    Directory(#[source] io::Error),
    /// SQLite failed.
    #[error("the search index failed; it can be deleted and is made again")]
    Database(#[from] rusqlite::Error),
}

/// Why the index did not catch up. It is as far as it came, and the next call goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError<E: std::error::Error + 'static> {
    /// The log could not be read.
    #[error("the log cannot be read")]
    Source(#[source] E),
    /// A bundle has fewer entries than a log of this size has there.
    #[error("entry bundle {bundle} is too short")]
    Short {
        /// The bundle.
        bundle: u64,
    },
    /// The index failed.
    #[error(transparent)]
    Index(#[from] SearchError),
}

impl<E: std::error::Error + 'static> From<rusqlite::Error> for CatchUpError<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Index(error.into())
    }
}

/// What to find. All that is set must hold; what is not set excludes nothing.
///
/// It cannot be printed: somebody looking for a person's data may have typed it.
#[derive(Clone, Default)]
pub struct Query {
    /// Words, all of which must occur; `"quoted phrases"`; `-word` must not occur; `word*` may go on. Any text is a
    /// query. One without a word to be found finds nothing.
    pub text: Option<String>,
    /// Exactly this case.
    pub case: Option<String>,
    /// Any of these, `ENTITY:token`: the tokens that a subject may have. Empty: anybody.
    pub tokens: Vec<String>,
    /// Something of this entity was found.
    pub entity: Option<String>,
    /// This model, or one whose name goes on after it with `-`, `:`, `@` or `/`.
    pub model: Option<String>,
    /// Exactly this actor.
    pub actor: Option<String>,
    /// Not before this time: RFC 3339 in UTC, or the beginning of one, such as `2026-11-22T10`.
    pub since: Option<String>,
    /// Before this time, and not at it; written likewise. (So `2026-11-22` excludes that day.)
    pub until: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// An exchange that was found. All but the snippet is as it stands in the log, where it may be anything: escape it
/// before it reaches a terminal or a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The exchange's ULID.
    pub exchange: String,
    /// The index of its request in the log.
    pub entry: u64,
    /// When the request was received.
    pub time: String,
    /// The caller's case.
    pub case: Option<String>,
    /// Who called.
    pub actor: Option<String>,
    /// The model: as the request named it, or else as the response did.
    pub model: Option<String>,
    /// How it ended; `None` while it has not.
    pub outcome: Option<String>,
    /// How many of each entity were found, in request and response.
    pub findings: BTreeMap<String, u32>,
    /// A line of the redacted text: around the first place that was searched for, or else how the last message of the
    /// user begins. It has no control characters and none that change the direction of writing.
    pub snippet: String,
}

/// The index.
pub struct Index {
    db: Connection,
    /// Text was dropped that still stands in the database's own log.
    cut: bool,
}

/// Raised whenever the tables, or what is put into them, change; an index of another version is made again.
const VERSION: i64 = 2;

/// How long one process waits for another's transaction.
const BUSY: Duration = Duration::from_secs(30);

/// FTS5 gathers so much in memory before it writes it down, instead of 1 MiB. It never gathers beyond a transaction.
const GATHER_BYTES: u32 = 16 << 20;

impl Index {
    /// Opens an index, or makes an empty one.
    pub fn open(path: &Path) -> Result<Self, SearchError> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(SearchError::Directory)?;
        }
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        // In WAL mode a process that dies or a power cut loses the newest transactions at most.
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        // What is dropped, or moved when FTS5 merges, must not stay in the file: some of it expires.
        db.pragma_update(None, "secure_delete", "ON")?;
        Self::prepare(db)
    }

    /// An index that is gone with the process.
    pub fn in_memory() -> Result<Self, SearchError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut db: Connection) -> Result<Self, SearchError> {
        // 32 MiB, instead of 2.
        db.pragma_update(None, "cache_size", -(32 << 10))?;
        let version = |db: &Connection| db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        if version(&db)? != VERSION {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster, and gone on since.
            if version(&transaction)? != VERSION {
                reset(&transaction)?;
            }
            transaction.commit()?;
        }
        Ok(Self { db, cut: false })
    }

    /// How many of the log's entries are taken in.
    pub fn size(&self) -> Result<u64, SearchError> {
        Ok(position(&self.db)?.map_or(0, |(size, _)| size))
    }

    /// Finds exchanges: the best first where there is a text (BM25), and the newest first otherwise and among equals.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, SearchError> {
        let expression = match &query.text {
            None => None,
            Some(text) => match query::expression(text) {
                Some(expression) => Some(expression),
                None => return Ok(Vec::new()),
            },
        };
        // All reads are of the same state. The transaction is dropped: there is nothing to commit.
        let db = self.db.unchecked_transaction()?;
        let entries = find(&db, query, expression.as_ref())?;
        let mut snippets = match &expression {
            Some(expression) => snippets(&db, expression, &entries)?,
            None => BTreeMap::new(),
        };
        entries.into_iter().map(|entry| hit(&db, entry, snippets.remove(&entry))).collect()
    }
}

/// Empties the index, or makes one: inside of a transaction.
fn reset(db: &Connection) -> rusqlite::Result<()> {
    // `entry` is the index of the request. `seen` has the parts whose text is taken, by 16 bytes of their hash: nobody
    // finds two parts that have these in common, and if somebody did, the second would not be found by its words.
    db.execute_batch(&format!(
        "DROP TABLE IF EXISTS position; DROP TABLE IF EXISTS exchange; DROP TABLE IF EXISTS token;
         DROP TABLE IF EXISTS finding; DROP TABLE IF EXISTS seen; DROP TABLE IF EXISTS words;
         CREATE TABLE position(size INTEGER NOT NULL, root BLOB NOT NULL);
         CREATE TABLE exchange(entry INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, case_id TEXT,
             actor TEXT, model TEXT, outcome TEXT, findings TEXT NOT NULL, opening TEXT NOT NULL);
         CREATE INDEX exchange_time ON exchange(time);
         CREATE INDEX exchange_case ON exchange(case_id) WHERE case_id IS NOT NULL;
         CREATE INDEX exchange_actor ON exchange(actor) WHERE actor IS NOT NULL;
         CREATE TABLE token(token TEXT, entry INTEGER, PRIMARY KEY(token, entry)) WITHOUT ROWID;
         CREATE TABLE finding(entity TEXT, entry INTEGER, PRIMARY KEY(entity, entry)) WITHOUT ROWID;
         CREATE TABLE seen(part BLOB PRIMARY KEY) WITHOUT ROWID;
         CREATE VIRTUAL TABLE words USING fts5(body, tokenize = 'unicode61 remove_diacritics 2');
         INSERT INTO words(words, rank) VALUES('hashsize', {GATHER_BYTES});
         PRAGMA user_version = {VERSION};"
    ))
}

/// How far the index has come, and the log's root there.
fn position(db: &Connection) -> rusqlite::Result<Option<(u64, Hash)>> {
    let mut statement = db.prepare_cached("SELECT size, root FROM position")?;
    statement.query_row([], |row| Ok((row.get::<_, i64>(0)? as u64, Hash(row.get(1)?)))).optional()
}

/// The entries of the exchanges to be shown, in order.
fn find(db: &Connection, query: &Query, expression: Option<&query::Expression>) -> rusqlite::Result<Vec<i64>> {
    let mut conditions = vec!["1"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut when = |condition, value: &mut dyn Iterator<Item = String>| {
        conditions.push(condition);
        values.extend(value.map(|value| Box::new(value) as Box<dyn ToSql>));
    };
    let mut one = |condition, value: &Option<String>| {
        if let Some(value) = value {
            when(condition, &mut std::iter::once(value.clone()));
        }
    };
    one("words MATCH ?", &expression.map(|expression| expression.fts5.clone()));
    one("case_id = ?", &query.case);
    one("actor = ?", &query.actor);
    one("entry IN (SELECT entry FROM finding WHERE entity = ?)", &query.entity);
    // Times are compared as text; with their `Z`, `10:00:00Z` would come after `10:00:00.5Z`.
    let bound = |time: &Option<String>| time.as_ref().map(|time| time.trim_end_matches(['Z', 'z']).to_owned());
    one("time >= ?", &bound(&query.since));
    one("time < ?", &bound(&query.until));
    if let Some(model) = &query.model {
        let marks = ["", "-", ":", "@", "/"];
        // The name itself, or it and one of the marks at the beginning of a longer one.
        when(
            "(model = ? OR substr(model, 1, length(?) + 1) IN (? || '-', ? || ':', ? || '@', ? || '/'))",
            &mut std::iter::repeat_n(model.clone(), marks.len() + 1),
        );
    }
    if !query.tokens.is_empty() {
        let tokens = serde_json::to_string(&query.tokens).expect("strings are JSON");
        when(
            "entry IN (SELECT entry FROM token WHERE token IN (SELECT value FROM json_each(?)))",
            &mut std::iter::once(tokens),
        );
    }
    values.push(Box::new(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let (tables, order) = match expression {
        Some(_) => ("words JOIN exchange ON entry = words.rowid", "rank, entry DESC"),
        None => ("exchange", "entry DESC"),
    };
    let sql = format!("SELECT entry FROM {tables} WHERE {} ORDER BY {order} LIMIT ?", conditions.join(" AND "));
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
    rows.collect()
}

/// What stands around the matches in these exchanges.
fn snippets(
    db: &Connection,
    expression: &query::Expression,
    entries: &[i64],
) -> rusqlite::Result<BTreeMap<i64, String>> {
    // 64 words are the most that FTS5 gives.
    let [open, close] = text::MATCH.map(u32::from);
    let marked = format!("snippet(words, 0, char({open}), char({close}), '…', 64)");
    let mut snippets = BTreeMap::new();
    let mut take = |row: &rusqlite::Row<'_>| -> rusqlite::Result<()> {
        snippets.insert(row.get(0)?, text::snippet(row.get_ref(1)?.as_str()?));
        Ok(())
    };
    if expression.prefix {
        // FTS5 merges the lists of all words with the prefix anew for each query, so one goes through all matches.
        let wanted = serde_json::to_string(entries).expect("numbers are JSON");
        let mut statement = db.prepare_cached(&format!(
            "SELECT rowid, {marked} FROM words WHERE words MATCH ?1 AND +rowid IN (SELECT value FROM json_each(?2))"
        ))?;
        let mut rows = statement.query(params![expression.fts5, wanted])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
    } else {
        let mut statement =
            db.prepare_cached(&format!("SELECT rowid, {marked} FROM words WHERE words MATCH ?1 AND rowid = ?2"))?;
        for entry in entries {
            statement.query_row(params![expression.fts5, entry], &mut take)?;
        }
    }
    Ok(snippets)
}

fn hit(db: &Connection, entry: i64, snippet: Option<String>) -> Result<Hit, SearchError> {
    let mut statement = db.prepare_cached(
        "SELECT id, time, case_id, actor, model, outcome, findings, opening FROM exchange WHERE entry = ?",
    )?;
    let (mut hit, opening) = statement.query_row(params![entry], |row| {
        let hit = Hit {
            exchange: row.get(0)?,
            entry: entry as u64,
            time: row.get(1)?,
            case: row.get(2)?,
            actor: row.get(3)?,
            model: row.get(4)?,
            outcome: row.get(5)?,
            findings: build::findings_of(row.get_ref(6)?.as_str()?),
            snippet: String::new(),
        };
        Ok((hit, row.get::<_, String>(7)?))
    })?;
    hit.snippet = snippet.unwrap_or(opening);
    Ok(hit)
}
