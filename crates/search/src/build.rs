//! From entries to rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tabellion_evidence::entry::{Content, Entry, Kind, Manifest, Part};
use tabellion_evidence::tile;
use tabellion_evidence::tree::{Hash, empty_root};

use crate::{CatchUpError, Index, Source, position, reset, text};

/// How many bundles are taken into one transaction.
const BUNDLES_PER_COMMIT: u64 = 64;

/// A transaction that has so much text takes no further entry.
const TEXT_BYTES_PER_COMMIT: usize = 32 << 20;

/// The most text of one part.
const PART_BYTES_MAX: usize = 1 << 20;

/// The most text of one entry. Parts that find no room are taken with the next entry that names them.
const ENTRY_TEXT_BYTES_MAX: usize = 4 << 20;

/// A longer list of parts is not ours: of 65,536 parts it would have 256 bytes for each.
const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// How much of the user's last message is read for a line of it.
const OPENING_BYTES: usize = 2048;

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
            let until = if from < size { take(&transaction, source, from, size)? } else { from };
            transaction.prepare_cached("DELETE FROM position")?.execute([])?;
            transaction
                .prepare_cached("INSERT INTO position(size, root) VALUES (?, ?)")?
                .execute(params![until as i64, root_of(source, until)?.0])?;
            transaction.commit()?;
            if until >= size {
                return Ok(until);
            }
        }
    }
}

fn root_of<S: Source>(source: &S, size: u64) -> Result<Hash, CatchUpError<S::Error>> {
    if size == 0 { Ok(empty_root()) } else { source.root(size).map_err(CatchUpError::Source) }
}

/// Takes in entries of a log of `size` from `from` on, as many as one transaction should have, and says until where.
fn take<S: Source>(
    transaction: &Transaction<'_>,
    source: &S,
    from: u64,
    size: u64,
) -> Result<u64, CatchUpError<S::Error>> {
    let first = from / tile::WIDTH;
    let until = ((first + BUNDLES_PER_COMMIT) * tile::WIDTH).min(size);
    let mut batch = Batch { db: transaction, source, from, texts: BTreeMap::new(), bytes: 0 };
    let mut next = from;
    'bundles: for bundle in first..until.div_ceil(tile::WIDTH) {
        let entries = source.entries(bundle, size).map_err(CatchUpError::Source)?;
        for (index, entry) in (bundle * tile::WIDTH..until).zip(&entries) {
            if index < next {
                continue;
            }
            batch.note_entry(index, entry)?;
            next = index + 1;
            if batch.bytes >= TEXT_BYTES_PER_COMMIT {
                break 'bundles;
            }
        }
        if next < ((bundle + 1) * tile::WIDTH).min(until) {
            return Err(CatchUpError::Short { bundle });
        }
    }
    batch.write_texts()?;
    Ok(next)
}

/// What one transaction takes in.
struct Batch<'a, S> {
    db: &'a Connection,
    source: &'a S,
    /// The first entry of the transaction: what is before has its text in the database.
    from: u64,
    /// Text to be added, by the entry of the exchange's request.
    texts: BTreeMap<u64, String>,
    /// The length of all of it.
    bytes: usize,
}

impl<S: Source> Batch<'_, S> {
    fn note_entry(&mut self, index: u64, entry: &[u8]) -> Result<(), CatchUpError<S::Error>> {
        // Entries that are no exchanges, or not even ours, are none of the index's business.
        let Ok(entry) = Entry::parse(entry) else { return Ok(()) };
        match entry.kind {
            Kind::Request => self.note_request(index, &entry),
            Kind::Response => self.note_response(&entry),
            _ => Ok(()),
        }
    }

    fn note_request(&mut self, index: u64, entry: &Entry) -> Result<(), CatchUpError<S::Error>> {
        let added = self
            .db
            .prepare_cached(
                "INSERT OR IGNORE INTO exchange(entry, id, time, case_id, actor, model, findings, opening)
                 VALUES (?, ?, ?, ?, ?, ?, '{}', '')",
            )?
            .execute(params![index as i64, entry.id, entry.time, entry.case, entry.actor, entry.model])?;
        // The first of an exchange counts; there cannot be a second.
        if added == 0 {
            return Ok(());
        }
        self.note_redaction(index, entry)?;
        if let Some(opening) = self.note_content(index, entry.content.as_ref(), false)? {
            self.db
                .prepare_cached("UPDATE exchange SET opening = ? WHERE entry = ?")?
                .execute(params![opening, index as i64])?;
        }
        Ok(())
    }

    fn note_response(&mut self, entry: &Entry) -> Result<(), CatchUpError<S::Error>> {
        // As above; and a response without a request belongs to nothing that could be found.
        let request: Option<i64> = self
            .db
            .prepare_cached(
                "UPDATE exchange SET outcome = ?, model = coalesce(model, ?) WHERE id = ? AND outcome IS NULL
                 RETURNING entry",
            )?
            .query_row(params![entry.outcome.map(|outcome| outcome.as_str()), entry.model, entry.exchange], |row| {
                row.get(0)
            })
            .optional()?;
        let Some(request) = request else { return Ok(()) };
        self.note_redaction(request as u64, entry)?;
        self.note_content(request as u64, entry.content.as_ref(), true)?;
        Ok(())
    }

    fn note_redaction(&self, request: u64, entry: &Entry) -> rusqlite::Result<()> {
        let Some(redaction) = &entry.redaction else { return Ok(()) };
        let row = request as i64;
        self.note_tokens(request, &redaction.tokens)?;
        if redaction.findings.is_empty() {
            return Ok(());
        }
        let mut findings = self
            .db
            .prepare_cached("SELECT findings FROM exchange WHERE entry = ?")?
            .query_row(params![row], |row| Ok(findings_of(row.get_ref(0)?.as_str()?)))?;
        for (entity, &count) in redaction.findings.iter().filter(|(_, count)| **count > 0) {
            let sum = findings.entry(entity.clone()).or_default();
            *sum = sum.saturating_add(count);
            self.db
                .prepare_cached("INSERT OR IGNORE INTO finding(entity, entry) VALUES (?, ?)")?
                .execute(params![entity, row])?;
        }
        let findings = serde_json::to_string(&findings).expect("a map from strings to numbers is JSON");
        self.db.prepare_cached("UPDATE exchange SET findings = ? WHERE entry = ?")?.execute(params![findings, row])?;
        Ok(())
    }

    fn note_tokens(&self, request: u64, tokens: &[String]) -> rusqlite::Result<()> {
        let mut insert = self.db.prepare_cached("INSERT OR IGNORE INTO token(token, entry) VALUES (?, ?)")?;
        for token in tokens {
            insert.execute(params![token, request as i64])?;
        }
        Ok(())
    }

    /// Adds what is said in this exchange: the parts that no entry before has named, the user's last message and the
    /// answer. What a chat repeats of its history is not indexed again. Gives a line of the user's last message.
    fn note_content(
        &mut self,
        request: u64,
        content: Option<&Content>,
        is_answer: bool,
    ) -> Result<Option<String>, CatchUpError<S::Error>> {
        let Some(content) = content else { return Ok(None) };
        let manifest;
        let parts = match &content.manifest {
            None => &content.parts,
            Some(hash) => match self.manifest(hash)? {
                Some(read) => {
                    manifest = read;
                    self.note_tokens(request, &manifest.tokens)?;
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
                opening = Some(line(&text[start..]));
            }
        }
        // Where no user is said to have spoken, the text as such.
        let opening = opening.unwrap_or_else(|| line(&text));
        if !text.is_empty() {
            self.bytes += text.len();
            self.texts.entry(request).or_default().push_str(&text);
        }
        Ok(Some(opening))
    }

    fn manifest(&self, hash: &Hash) -> Result<Option<Manifest>, CatchUpError<S::Error>> {
        let bytes = self.source.part(hash).map_err(CatchUpError::Source)?;
        let bytes = bytes.filter(|bytes| bytes.len() <= MANIFEST_BYTES_MAX);
        Ok(bytes.and_then(|bytes| Manifest::parse(&bytes).ok()))
    }

    fn is_seen(&self, part: &Hash) -> rusqlite::Result<bool> {
        self.db.prepare_cached("SELECT 1 FROM seen WHERE part = ?")?.exists(params![&part.0[..SEEN_BYTES]])
    }

    /// Writes the texts, in the order of their rows: FTS5 writes down what it gathered whenever it goes back.
    fn write_texts(self) -> rusqlite::Result<()> {
        for (request, text) in self.texts {
            let row = request as i64;
            let before: Option<String> = if request < self.from {
                self.db
                    .prepare_cached("SELECT body FROM words WHERE rowid = ?")?
                    .query_row(params![row], |row| row.get(0))
                    .optional()?
            } else {
                None
            };
            match before {
                Some(before) => self
                    .db
                    .prepare_cached("UPDATE words SET body = ? WHERE rowid = ?")?
                    .execute(params![before + &text, row])?,
                None => self
                    .db
                    .prepare_cached("INSERT INTO words(rowid, body) VALUES (?, ?)")?
                    .execute(params![row, text])?,
            };
        }
        Ok(())
    }
}

/// How a text begins.
fn line(text: &str) -> String {
    text::snippet(&text[..text.floor_char_boundary(OPENING_BYTES)])
}

/// Findings as the database has them. Whoever changed them there has none.
pub(crate) fn findings_of(json: &str) -> BTreeMap<String, u32> {
    serde_json::from_str(json).unwrap_or_default()
}
