//! What was asked, for tests that compare it byte by byte.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::script::Tally;

/// How many requests are kept whole.
const KEPT: usize = 64;
/// Paths that are counted apart; the rest count as one.
const PATHS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Record(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    counts: BTreeMap<String, u64>,
    last: VecDeque<Kept>,
}

struct Kept {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Record {
    pub(crate) fn add(&self, parts: &Parts, body: Bytes) {
        let kept = Kept { method: parts.method.clone(), uri: parts.uri.clone(), headers: parts.headers.clone(), body };
        let path = parts.uri.path();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inner.counts.get_mut(path) {
            *count += 1;
        } else {
            let path = if inner.counts.len() < PATHS_MAX { path } else { "other" };
            *inner.counts.entry(path.to_owned()).or_default() += 1;
        }
        if inner.last.len() == KEPT {
            inner.last.pop_front();
        }
        inner.last.push_back(kept);
    }

    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Inner::default();
    }

    /// Oldest first. The hash is made here, so that no request pays for it.
    pub(crate) fn show(&self, tally: &Tally) -> Value {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<Value> = inner.last.iter().map(Kept::show).collect();
        json!({
            "counts": inner.counts,
            "scripted": {
                "begun": tally.begun.load(Ordering::Relaxed),
                "ended": tally.ended.load(Ordering::Relaxed),
                "abandoned": tally.abandoned.load(Ordering::Relaxed),
            },
            "last": last,
        })
    }
}

impl Kept {
    fn show(&self) -> Value {
        let headers: Vec<[String; 2]> = self
            .headers
            .iter()
            .map(|(name, value)| [name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()])
            .collect();
        json!({
            "method": self.method.as_str(),
            "path": self.uri.path(),
            "query": self.uri.query(),
            "headers": headers,
            "bytes": self.body.len(),
            "sha256": hex::encode(Sha256::digest(&self.body)),
            "body": STANDARD.encode(&self.body),
        })
    }
}
