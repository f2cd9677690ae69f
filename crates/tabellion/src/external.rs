//! What external detectors have to say of a body, before it is redacted.
//!
//! They are asked about all texts of a body that they were not asked about before, all of them at once. What they find is
//! taken out together with what our own engine finds. What a detector's failure means is its operator's choice: the
//! exchange stops, or goes on and the entry says who did not answer.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use lru::LruCache;
use sha2::{Digest, Sha256};
use tabellion_detect::{Finding, Further};
use tabellion_external::Detector;
use tokio::task::JoinSet;

use crate::config::{ConfigError, External, OnFailure};
use crate::metrics::Metrics;

/// What stands before a detector's name where a rule's name would stand.
pub(crate) const RECOGNIZER: &str = "external/";

/// Short texts come again and again: roles, models, labels. What was found in so many is remembered.
const KNOWN_TEXTS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 15).expect("not zero");
const KNOWN_BYTES_MAX: usize = 1024;

struct Configured {
    name: String,
    recognizer: Arc<str>,
    detector: Detector,
    on_failure: OnFailure,
}

/// The external detectors, if there are any.
pub(crate) struct Externals {
    list: Vec<Configured>,
    /// What all of them said of a text, by a keyed hash of it, in memory only.
    known: Mutex<LruCache<[u8; 32], Arc<[Finding]>>>,
    known_key: [u8; 32],
}

/// What the detectors said.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) further: Further,
    /// Who answered.
    pub(crate) answered: Vec<String>,
    /// Who did not, and a fixed word for why.
    pub(crate) failures: BTreeMap<String, String>,
}

/// A detector that may not be left out did not answer.
pub(crate) struct Unchecked;

impl Externals {
    pub(crate) fn new(configured: &[External], metrics: &Metrics) -> Result<Self, ConfigError> {
        let mut known_key = [0; 32];
        // Without randomness nothing is remembered that an outsider could guess at: hashes are only ever in memory.
        let _ = getrandom::fill(&mut known_key);
        let list = configured.iter().map(|external| {
            metrics.external(&external.name);
            Ok(Configured {
                name: external.name.clone(),
                recognizer: format!("{RECOGNIZER}{}", external.name).into(),
                detector: external.detector()?,
                on_failure: external.on_failure,
            })
        });
        let known = Mutex::new(LruCache::new(KNOWN_TEXTS_MAX));
        Ok(Self { list: list.collect::<Result<_, ConfigError>>()?, known, known_key })
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Asks every detector about every text. Also on an error, what is known of failures is in `checked`.
    pub(crate) async fn check(
        &self,
        texts: Vec<String>,
        metrics: &Metrics,
        checked: &mut Checked,
    ) -> Result<(), Unchecked> {
        if self.list.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut seen = HashSet::new();
        let mut unknown: Vec<String> = Vec::new();
        for text in texts {
            if !text.contains(char::is_alphanumeric) || !seen.insert(text.clone()) {
                continue;
            }
            match self.known(&text) {
                Some(findings) => checked.further.add(&text, findings.iter().cloned()),
                None => unknown.push(text),
            }
        }
        let unknown: Arc<[String]> = unknown.into();
        let mut asks = JoinSet::new();
        for (number, configured) in self.list.iter().enumerate() {
            let (detector, texts) = (configured.detector.clone(), unknown.clone());
            asks.spawn(async move {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                (number, detector.find_all(&texts).await)
            });
        }
        let mut findings: Vec<Vec<Finding>> = vec![Vec::new(); unknown.len()];
        while let Some(joined) = asks.join_next().await {
            // A defect of ours in there must not pass for an answer.
            let Ok((number, found)) = joined else { return Err(Unchecked) };
            let configured = &self.list[number];
            match found {
                Ok(found) => {
                    for (findings, found) in findings.iter_mut().zip(found) {
                        let recognizer = &configured.recognizer;
                        findings.extend(
                            found.iter().map(|f| Finding::of_other(&f.entity, recognizer, f.start..f.end, f.score)),
                        );
                    }
                    checked.answered.push(configured.name.clone());
                }
                Err(error) => {
                    metrics.external_failed(&configured.name);
                    tracing::warn!(detector = configured.name, %error, "an external detector did not answer");
                    checked.failures.insert(configured.name.clone(), error.as_str().to_owned());
                    if configured.on_failure == OnFailure::Refuse {
                        return Err(Unchecked);
                    }
                }
            }
        }
        for (text, findings) in unknown.iter().zip(findings) {
            if checked.failures.is_empty() {
                self.remember(text, &findings);
            }
            checked.further.add(text, findings);
        }
        metrics.external_seconds(started.elapsed());
        Ok(())
    }

    fn key(&self, text: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.known_key).chain_update(text).finalize().into()
    }

    fn known(&self, text: &str) -> Option<Arc<[Finding]>> {
        if text.len() > KNOWN_BYTES_MAX {
            return None;
        }
        let key = self.key(text);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn remember(&self, text: &str, findings: &[Finding]) {
        if text.len() <= KNOWN_BYTES_MAX {
            let key = self.key(text);
            self.known.lock().unwrap_or_else(PoisonError::into_inner).put(key, findings.into());
        }
    }
}
