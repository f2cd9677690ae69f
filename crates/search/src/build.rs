//! From entries to rows.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tabellion_evidence::entry::{Content, Entry, Kind, Manifest, Part};
use tabellion_evidence::tile;
use tabellion_evidence::tree::{Hash, empty_root};

use crate::{CatchUpError, Index, Source, position, reset, text};

/// How many bundles are taken into one transaction.
const BUNDLES_PER_COMMIT: u64 = 64;

/// A transaction that has so much to write takes no further entry.
const BYTES_PER_COMMIT: usize = 32 << 20;

/// The most text of one part.
const PART_BYTES_MAX: usize = 1 << 20;

/// The most text of one entry. Parts that find no room are taken with the next entry that names them.
const ENTRY_TEXT_BYTES_MAX: usize = 4 << 20;

/// A longer list of parts is not ours: of 65,536 parts it would have 256 bytes for each.
const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// What is read of the part whose beginning becomes the exchange's line.
const USER: &str = "user";

/// How many bytes of a part's hash are kept.
const SEEN_BYTES: usize = 16;

impl Index {
    /// Takes in what the log has published since, and gives the size that was reached. Any process may do it, also
    /// while another does.
    pub fn catch_up<S: Source>(&mut self, source: &S) -> Result<u64, CatchUpError<S::Error>> {
        // The usual case needs no lock. The index is asked before the log: a log that grows and an index that follows
        // would look like a log rolled back the other way round.
        let known = position(&self.db)?;
        let size = source.size().map_err(CatchUpError::Source)?;
        if let Some((at, root)) = known
            && at == size
            && root_of(source, at)? == root
        {
            return Ok(size);
        }
        loop {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have gone on meanwhile.
            let known = position(&transaction)?;
            let published = source.size().map_err(CatchUpError::Source)?;
            let from = match known {
                Some((at, root)) if at <= published && root_of(source, at)? == root => at,
                // An index of another log, or of one that was rolled back, is of no use.
                Some(_) => {
                    reset(&transaction)?;
                    0
                }
                None => 0,
            };
            let (until, expired) = if from < size { take(&transaction, source, from, size)? } else { (from, false) };
            transaction.prepare_cached("DELETE FROM position")?.execute([])?;
            transaction
                .prepare_cached("INSERT INTO position(size, root) VALUES (?, ?)")?
                .execute(params![until as i64, root_of(source, until)?.0])?;
            transaction.commit()?;
            self.cut |= expired;
            if self.cut {
                // Where somebody reads, it is tried again with the next.
                let busy: i64 = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                self.cut = busy != 0;
            }
            if until >= size {
                return Ok(until);
            }
        }
    }
}

fn root_of<S: Source>(source: &S, size: u64) -> Result<Hash, CatchUpError<S::Error>> {
    if size == 0 { Ok(empty_root()) } else { source.root(size).map_err(CatchUpError::Source) }
}

/// Takes in entries of a log of `size` from `from` on, as many as one transaction should have, and says until where, and
/// whether any text was dropped.
fn take<S: Source>(
    transaction: &Transaction<'_>,
    source: &S,
    from: u64,
    size: u64,
) -> Result<(u64, bool), CatchUpError<S::Error>> {
    let first = from / tile::WIDTH;
    let until = ((first + BUNDLES_PER_COMMIT) * tile::WIDTH).min(size);
    let mut batch =
        Batch { db: transaction, source, rows: BTreeMap::new(), requests: HashMap::new(), bytes: 0, expired: false };
    let mut next = from;
    'bundles: for bundle in first..until.div_ceil(tile::WIDTH) {
        let entries = source.entries(bundle, size).map_err(CatchUpError::Source)?;
        for (index, entry) in (bundle * tile::WIDTH..until).zip(&entries) {
            if index < next {
                continue;
            }
            batch.note_entry(index, entry)?;
            next = index + 1;
            if batch.bytes >= BYTES_PER_COMMIT {
                break 'bundles;
            }
        }
        if next < ((bundle + 1) * tile::WIDTH).min(until) {
            return Err(CatchUpError::Short { bundle });
        }
    }
    let expired = batch.expired;
    batch.write()?;
    Ok((next, expired))
}

/// What one transaction takes in.
struct Batch<'a, S> {
    db: &'a Connection,
    source: &'a S,
    /// What is to be written of each exchange, by the entry of its request, which is the order of the tables: FTS5 writes
    /// down what it gathered whenever it goes back. Request and response mostly come together, and make one row.
    rows: BTreeMap<u64, Row>,
    /// The exchanges that begin in this transaction.
    requests: HashMap<String, u64>,
    /// The length of everything that was read and is kept until it is written.
    bytes: usize,
    /// Whether text was dropped.
    expired: bool,
}

/// What an exchange's request, its response or both say.
#[derive(Default)]
struct Row {
    /// The request; `None` when the row is in the database.
    request: Option<Request>,
    outcome: Option<&'static str>,
    /// The model that the response names.
    model: Option<String>,
    opening: String,
    findings: BTreeMap<String, u32>,
    tokens: Vec<String>,
    text: String,
}

struct Request {
    id: String,
    time: String,
    case: Option<String>,
    actor: Option<String>,
    model: Option<String>,
}

impl Row {
    fn note_redaction(&mut self, entry: &mut Entry) {
        let Some(redaction) = &mut entry.redaction else { return };
        self.tokens.append(&mut redaction.tokens);
        add_findings(&mut self.findings, std::mem::take(&mut redaction.findings));
    }
}

impl<S: Source> Batch<'_, S> {
    fn note_entry(&mut self, index: u64, entry: &[u8]) -> Result<(), CatchUpError<S::Error>> {
        // Entries that are no exchanges, or not even ours, are none of the index's business.
        self.bytes += entry.len();
        let Ok(entry) = Entry::parse(entry) else { return Ok(()) };
        match entry.kind {
            Kind::Request => self.note_request(index, entry),
            Kind::Response => self.note_response(entry),
            Kind::Expire => Ok(self.note_expiry(&entry)?),
            _ => Ok(()),
        }
    }

    fn note_request(&mut self, index: u64, mut entry: Entry) -> Result<(), CatchUpError<S::Error>> {
        // The first of an exchange counts; there cannot be a second.
        if self.requests.contains_key(&entry.id) || self.request_of(&entry.id)?.is_some() {
            return Ok(());
        }
        let mut row = Row::default();
        row.note_redaction(&mut entry);
        if let Some(opening) = self.note_content(&mut row, entry.content.as_ref(), false)? {
            row.opening = opening;
        }
        self.requests.insert(entry.id.clone(), index);
        let Entry { id, time, case, actor, model, .. } = entry;
        row.request = Some(Request { id, time, case, actor, model });
        self.rows.insert(index, row);
        Ok(())
    }

    fn note_response(&mut self, mut entry: Entry) -> Result<(), CatchUpError<S::Error>> {
        let Some(exchange) = &entry.exchange else { return Ok(()) };
        // A response without a request belongs to nothing that could be found.
        let request = match self.requests.get(exchange) {
            Some(request) => *request,
            None => match self.request_of(exchange)? {
                Some((request, None)) => request,
                _ => return Ok(()),
            },
        };
        let mut row = self.rows.remove(&request).unwrap_or_default();
        // As above.
        if row.outcome.is_none() {
            row.outcome = entry.outcome.map(|outcome| outcome.as_str());
            row.model = entry.model.take();
            row.note_redaction(&mut entry);
            self.note_content(&mut row, entry.content.as_ref(), true)?;
        }
        self.rows.insert(request, row);
        Ok(())
    }

    /// Drops the text of exchanges whose content is removed from the log; what their entries say stays. It is overwritten,
    /// like what the log removes it is gone for good.
    fn note_expiry(&mut self, entry: &Entry) -> rusqlite::Result<()> {
        let secure =
            |on: i64| self.db.execute("INSERT INTO words(words, rank) VALUES('secure-delete', ?)", params![on]);
        self.expired = true;
        secure(1)?;
        for &(first, last) in entry.erase.iter().flat_map(|erase| &erase.entries) {
            for (_, row) in self.rows.range_mut(first..=last) {
                row.text.clear();
                row.opening.clear();
            }
            let range = params![first as i64, last as i64];
            self.db.prepare_cached("DELETE FROM words WHERE rowid BETWEEN ? AND ?")?.execute(range)?;
            self.db.prepare_cached("UPDATE exchange SET opening = '' WHERE entry BETWEEN ? AND ?")?.execute(range)?;
        }
        secure(0)?;
        Ok(())
    }

    /// The entry of an exchange's request, and the outcome, as the database has them.
    fn request_of(&self, exchange: &str) -> rusqlite::Result<Option<(u64, Option<String>)>> {
        self.db
            .prepare_cached("SELECT entry, outcome FROM exchange WHERE id = ?")?
            .query_row(params![exchange], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
            .optional()
    }

    /// Adds what is said in this exchange: the parts that no entry before has named, the user's last message and the
    /// answer. What a chat repeats of its history is not indexed again. Gives a line of the user's last message.
    fn note_content(
        &mut self,
        row: &mut Row,
        content: Option<&Content>,
        is_answer: bool,
    ) -> Result<Option<String>, CatchUpError<S::Error>> {
        let Some(content) = content else { return Ok(None) };
        let manifest;
        let parts = match &content.manifest {
            None => &content.parts,
            Some(hash) => match self.manifest(hash)? {
                Some(mut read) => {
                    row.tokens.append(&mut read.tokens);
                    manifest = read;
                    &manifest.content
                }
                None => return Ok(None),
            },
        };
        // The frame has settings; all the text is in the parts after it, if there are any.
        let parts: &[Part] = if parts.len() > 1 { &parts[1..] } else { parts };
        let users = parts.iter().rposition(|part| part.role == USER);
        let mut opening = None;
        let mut text = String::new();
        for (nth, part) in parts.iter().enumerate() {
            let start = text.len();
            if start + PART_BYTES_MAX > ENTRY_TEXT_BYTES_MAX {
                break;
            }
            let is_new = !self.is_seen(&part.sha256)?;
            if !is_new && !is_answer && users != Some(nth) {
                continue;
            }
            let Some(bytes) = self.source.part(&part.sha256).map_err(CatchUpError::Source)? else { continue };
            text::push_part(&mut text, &bytes, PART_BYTES_MAX);
            if is_new {
                self.db
                    .prepare_cached("INSERT INTO seen(part) VALUES (?)")?
                    .execute(params![&part.sha256.0[..SEEN_BYTES]])?;
            }
            if users == Some(nth) {
                opening = Some(text::beginning(&text[start..]));
            }
        }
        // Where no user is said to have spoken, the text as such.
        let opening = opening.unwrap_or_else(|| text::beginning(&text));
        self.bytes += text.len();
        row.text.push_str(&text);
        Ok(Some(opening))
    }

    fn manifest(&mut self, hash: &Hash) -> Result<Option<Manifest>, CatchUpError<S::Error>> {
        let bytes = self.source.part(hash).map_err(CatchUpError::Source)?;
        let bytes = bytes.filter(|bytes| bytes.len() <= MANIFEST_BYTES_MAX);
        self.bytes += bytes.as_ref().map_or(0, Vec::len);
        Ok(bytes.and_then(|bytes| Manifest::parse(&bytes).ok()))
    }

    fn is_seen(&self, part: &Hash) -> rusqlite::Result<bool> {
        self.db.prepare_cached("SELECT 1 FROM seen WHERE part = ?")?.exists(params![&part.0[..SEEN_BYTES]])
    }

    fn write(self) -> rusqlite::Result<()> {
        let db = self.db;
        for (entry, row) in self.rows {
            let Row { request, outcome, model, opening, mut findings, tokens, mut text } = row;
            let entry = entry as i64;
            for token in tokens {
                db.prepare_cached("INSERT OR IGNORE INTO token(token, entry) VALUES (?, ?)")?
                    .execute(params![token, entry])?;
            }
            for entity in findings.keys() {
                db.prepare_cached("INSERT OR IGNORE INTO finding(entity, entry) VALUES (?, ?)")?
                    .execute(params![entity, entry])?;
            }
            let json = |findings| serde_json::to_string(findings).expect("a map from strings to numbers is JSON");
            let Some(request) = request else {
                let before = db
                    .prepare_cached("SELECT findings FROM exchange WHERE entry = ?")?
                    .query_row(params![entry], |row| Ok(findings_of(row.get_ref(0)?.as_str()?)))?;
                add_findings(&mut findings, before);
                db.prepare_cached(
                    "UPDATE exchange SET outcome = ?, model = coalesce(model, ?), findings = ? WHERE entry = ?",
                )?
                .execute(params![outcome, model, json(&findings), entry])?;
                if !text.is_empty() {
                    let before: Option<String> = db
                        .prepare_cached("SELECT body FROM words WHERE rowid = ?")?
                        .query_row(params![entry], |row| row.get(0))
                        .optional()?;
                    text.insert_str(0, &before.unwrap_or_default());
                    db.prepare_cached("INSERT OR REPLACE INTO words(rowid, body) VALUES (?, ?)")?
                        .execute(params![entry, text])?;
                }
                continue;
            };
            db.prepare_cached(
                "INSERT INTO exchange(entry, id, time, case_id, actor, model, outcome, findings, opening)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                entry,
                request.id,
                request.time,
                request.case,
                request.actor,
                request.model.or(model),
                outcome,
                json(&findings),
                opening
            ])?;
            if !text.is_empty() {
                db.prepare_cached("INSERT INTO words(rowid, body) VALUES (?, ?)")?.execute(params![entry, text])?;
            }
        }
        Ok(())
    }
}

fn add_findings(sum: &mut BTreeMap<String, u32>, findings: BTreeMap<String, u32>) {
    for (entity, count) in findings.into_iter().filter(|(_, count)| *count > 0) {
        let sum = sum.entry(entity).or_default();
        *sum = sum.saturating_add(count);
    }
}

/// Findings as the database has them. Whoever changed them there has none.
pub(crate) fn findings_of(json: &str) -> BTreeMap<String, u32> {
    serde_json::from_str(json).unwrap_or_default()
}
