//! What external detectors, and the user's own model, have to say of a body before it is redacted.
//!
//! The external ones are asked about every exchange, the model about those whose depth asks for it. They are asked about all texts of a body that they were not asked about before, all of them at once. What they find is
//! taken out together with what our own engine finds. What a detector's failure means is its operator's choice: the
//! exchange stops, or goes on and the entry says who did not answer.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest, Sha256};
use tabellion_detect::{Finding, Further};
use tabellion_external::Detector;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{Config, OnFailure};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::model::Model;

/// What stands before a detector's name where a rule's name would stand.
pub(crate) const RECOGNIZER: &str = "external/";

/// Short texts come again and again: roles, models, labels. What was found in so many is remembered.
const KNOWN_TEXTS_MAX: NonZeroUsize = NonZeroUsize::new(1 << 15).expect("not zero");
const KNOWN_BYTES_MAX: usize = 1024;

/// So many asks wait for the model's threads at once, each on a thread of its own; more wait for these.
const MODEL_ASKS_MAX: usize = 32;

struct Configured {
    name: String,
    asked: Asked,
    on_failure: OnFailure,
}

/// Whom to ask.
#[derive(Clone)]
enum Asked {
    Detector(Detector, Arc<str>),
    Model(Model, Duration, Arc<Semaphore>),
}

impl Asked {
    /// What it finds in texts, within its time. An error is a fixed word.
    async fn find_all(&self, texts: Arc<[String]>) -> Result<Vec<Vec<Finding>>, &'static str> {
        fn borrowed(texts: &[String]) -> Vec<&str> {
            texts.iter().map(String::as_str).collect()
        }
        match self {
            Self::Detector(detector, recognizer) => {
                let found = detector.find_all(&borrowed(&texts)).await.map_err(|error| error.as_str())?;
                let finding = |found: &tabellion_external::Found| {
                    Finding::of_other(&found.entity, recognizer, found.start..found.end, found.score)
                };
                Ok(found.iter().map(|found| found.iter().map(finding).collect()).collect())
            }
            Self::Model(model, timeout, turns) => {
                let (model, turns) = (model.clone(), turns.clone());
                let asking = async move {
                    let turn = turns.acquire_owned().await.map_err(|_| "failed")?;
                    let asked = tokio::task::spawn_blocking(move || {
                        let _turn = turn;
                        model.find_all(&borrowed(&texts))
                    });
                    asked.await.unwrap_or(Err("failed"))
                };
                tokio::time::timeout(*timeout, asking).await.unwrap_or(Err("timed_out"))
            }
        }
    }
}

/// The external detectors and the model, if there are any.
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
    /// Those of a configuration, and its model, which was loaded.
    pub(crate) fn new(config: &Config, model: Option<Model>, metrics: &Metrics) -> Result<Self, Failure> {
        let mut known_key = [0; 32];
        // Without randomness nothing is remembered that an outsider could guess at: hashes are only ever in memory.
        let _ = getrandom::fill(&mut known_key);
        let mut list = Vec::with_capacity(config.external.len() + 1);
        for external in &config.external {
            let recognizer = format!("{RECOGNIZER}{}", external.name).into();
            let asked = Asked::Detector(external.detector()?, recognizer);
            list.push(Configured { name: external.name.clone(), asked, on_failure: external.on_failure });
        }
        if let Some(model) = model {
            let settings = &config.model;
            let asked = Asked::Model(model, settings.timeout(), Arc::new(Semaphore::new(MODEL_ASKS_MAX)));
            list.push(Configured { name: settings.name.clone(), asked, on_failure: settings.on_failure });
        }
        for configured in &list {
            metrics.external(&configured.name);
        }
        let known = Mutex::new(LruCache::new(KNOWN_TEXTS_MAX));
        Ok(Self { list, known, known_key })
    }

    /// Those that are to be asked, with the model or without.
    fn asked(&self, model: bool) -> impl Iterator<Item = (usize, &Configured)> {
        let wanted = move |configured: &&Configured| model || !matches!(configured.asked, Asked::Model(..));
        self.list.iter().enumerate().filter(move |(_, configured)| wanted(configured))
    }

    /// Whether there is nobody to ask.
    pub(crate) fn is_empty(&self, model: bool) -> bool {
        self.asked(model).next().is_none()
    }

    /// Asks every detector about every text, and the model if it is to be asked. Also on an error, what is known of
    /// failures is in `checked`.
    pub(crate) async fn check(
        &self,
        texts: Vec<String>,
        model: bool,
        metrics: &Metrics,
        checked: &mut Checked,
    ) -> Result<(), Unchecked> {
        if self.is_empty(model) {
            return Ok(());
        }
        let started = Instant::now();
        let mut seen = HashSet::new();
        let mut unknown: Vec<String> = Vec::new();
        for text in texts {
            if !text.contains(char::is_alphanumeric) || !seen.insert(text.clone()) {
                continue;
            }
            match self.known(&text, model) {
                Some(findings) => checked.further.add(&text, findings.iter().cloned()),
                None => unknown.push(text),
            }
        }
        let unknown: Arc<[String]> = unknown.into();
        let mut asks = JoinSet::new();
        for (number, configured) in self.asked(model) {
            let (asked, texts) = (configured.asked.clone(), unknown.clone());
            asks.spawn(async move { (number, asked.find_all(texts).await) });
        }
        let mut findings: Vec<Vec<Finding>> = vec![Vec::new(); unknown.len()];
        while let Some(joined) = asks.join_next().await {
            // A defect of ours in there must not pass for an answer.
            let Ok((number, found)) = joined else { return Err(Unchecked) };
            let configured = &self.list[number];
            match found {
                Ok(found) => {
                    for (findings, found) in findings.iter_mut().zip(found) {
                        findings.extend(found);
                    }
                    checked.answered.push(configured.name.clone());
                }
                Err(error) => {
                    metrics.external_failed(&configured.name);
                    tracing::warn!(detector = configured.name, error, "a detector did not answer");
                    checked.failures.insert(configured.name.clone(), error.to_owned());
                    if configured.on_failure == OnFailure::Refuse {
                        return Err(Unchecked);
                    }
                }
            }
        }
        for (text, findings) in unknown.iter().zip(findings) {
            if checked.failures.is_empty() {
                self.remember(text, model, &findings);
            }
            checked.further.add(text, findings);
        }
        metrics.external_seconds(started.elapsed());
        Ok(())
    }

    fn key(&self, text: &str, model: bool) -> [u8; 32] {
        Sha256::new().chain_update(self.known_key).chain_update([u8::from(model)]).chain_update(text).finalize().into()
    }

    fn known(&self, text: &str, model: bool) -> Option<Arc<[Finding]>> {
        if text.len() > KNOWN_BYTES_MAX {
            return None;
        }
        let key = self.key(text, model);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn remember(&self, text: &str, model: bool, findings: &[Finding]) {
        if text.len() <= KNOWN_BYTES_MAX {
            let key = self.key(text, model);
            self.known.lock().unwrap_or_else(PoisonError::into_inner).put(key, findings.into());
        }
    }
}
