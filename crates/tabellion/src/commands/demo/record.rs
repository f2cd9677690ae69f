//! What the log holds of what was played, read as any command reads it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tabellion_evidence::entry::Entry;
use tabellion_evidence::tree::Hash;
use tabellion_ledger::Catalog;

use super::super::Log;
use crate::failure::Failure;

/// An exchange of which both sides are in the published log.
pub(super) struct Recorded {
    pub(super) request: Side,
    pub(super) response: Side,
}

pub(super) struct Side {
    pub(super) index: u64,
    pub(super) entry: Entry,
    pub(super) parts: Vec<Part>,
}

pub(super) struct Part {
    pub(super) role: String,
    pub(super) sha256: Hash,
    pub(super) bytes: u64,
    /// As JSON, redacted.
    pub(super) json: String,
}

impl Side {
    /// What the last part of a role says.
    pub(super) fn said(&self, role: &str) -> String {
        self.parts.iter().rfind(|part| part.role == role).map(|part| said(&part.json)).unwrap_or_default()
    }

    /// The arguments of the tool call in the last part.
    pub(super) fn called(&self) -> String {
        self.parts.last().map(|part| called(&part.json)).unwrap_or_default()
    }

    /// The token that stands for what was found of an entity in this entry.
    pub(super) fn tokens(&self, entity: &str) -> Vec<&str> {
        let tokens = self.entry.redaction.iter().flat_map(|redaction| &redaction.tokens);
        tokens.map(String::as_str).filter(|token| token.split(':').next() == Some(entity)).collect()
    }
}

/// What a message says.
pub(super) fn said(message: &str) -> String {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    message["content"].as_str().unwrap_or_default().to_owned()
}

/// The arguments of a message's first tool call.
pub(super) fn called(message: &str) -> String {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    message["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default().to_owned()
}

/// Waits until an exchange is published, which takes as long as the next checkpoint, and reads it.
pub(super) async fn recorded(log: &Log, exchange: &str) -> Result<Recorded, Failure> {
    const EVERY: Duration = Duration::from_millis(25);
    const TIMES: usize = 400;
    let mut catalog = log.catalog()?;
    for _ in 0..TIMES {
        if let Some(found) = catalog.exchange(exchange)?
            && let (Some(request), Some(response)) = (found.request, found.response)
        {
            return Ok(Recorded { request: side(log, &catalog, request)?, response: side(log, &catalog, response)? });
        }
        tokio::time::sleep(EVERY).await;
        catalog.catch_up(&log.reader)?;
    }
    Err(Failure::internal("the exchange was not published within ten seconds"))
}

fn side(log: &Log, catalog: &Catalog, index: u64) -> Result<Side, Failure> {
    let leaf = log.reader.entry(index, log.reader.checkpoint()?.size)?;
    let entry = Entry::parse(&leaf).map_err(|error| Failure::internal("an entry cannot be read").because(error))?;
    let mut parts = Vec::new();
    for part in entry.content.iter().flat_map(|content| &content.parts) {
        let bytes = catalog.part(&log.reader, &part.sha256)?;
        let bytes = bytes.ok_or_else(|| Failure::internal("a part is missing"))?;
        let json = String::from_utf8_lossy(&bytes).into_owned();
        parts.push(Part { role: part.role.clone(), sha256: part.sha256, bytes: part.bytes, json });
    }
    Ok(Side { index, entry, parts })
}

/// All files below a directory.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::environment(format!("cannot list {}", directory.display())).because(error);
    let mut files = Vec::new();
    for found in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = found.map_err(unreadable)?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    files.sort();
    Ok(files)
}

/// A file's bytes; none if it is gone by now, as temporary ones of a running server are.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error)),
    }
}

/// Without the zeros at its end, of which a file that has room for more is full.
pub(super) fn used(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    bytes
}

/// Whether `bytes` hold `text`, and where.
pub(super) fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}
