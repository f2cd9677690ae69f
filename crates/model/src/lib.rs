//! The door: a token-classification model of the user's own, run in process.
//!
//! A [`Model`] is a directory as `transformers` saves one: `config.json`, `model.safetensors`, `tokenizer.json`. It is given
//! texts and says where something was found in them, in bytes, as the external detectors do; but nothing leaves the
//! process. BERT, ELECTRA, RoBERTa, XLM-RoBERTa, CamemBERT, DistilBERT and DeBERTa v2 and v3 are known; nothing else is, and
//! GLiNER, which scores spans against names of entities, is not.
//!
//! Whom it trusts: whoever chose the model decides what is found, and nothing else. Files have bounds, sizes in them are
//! checked before memory is asked for, and what is wrong with one is said by its name. `tokenizers` and `candle` return
//! errors for most that is malformed and panic on some: so every call into them is made where a panic ends the ask and
//! nothing else ([`ModelError::Failed`], [`LoadError`]).
//!
//! Work is done on threads of its own, as many as were asked for. A text is cut into pieces, a few pieces are a job, and an
//! ask has no more jobs in the queue than there are threads: so that a long text does not hold up the short ones that come
//! after it. What is under way when the time is over ends by itself, after a batch of at most [`BATCH_TOKENS`] tokens.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokenizers::Tokenizer;

mod config;
mod encoder;
mod labels;
mod text;

use config::Config;
use encoder::Encoder;
use labels::{Labels, Token};
use text::{Piece, pieces, windows};

/// Tokens in one pass through the network, padding among them. A model of BERT's base size takes some 100 MB for that many.
pub const BATCH_TOKENS: usize = 1024;
/// A model that could look at more together is not asked to: attention costs memory by the square.
const WINDOW_MAX: usize = 512;
/// A window has room for so many tokens of text, or the model is useless.
const WINDOW_LEAST: usize = 8;
/// So many bytes of pieces are a job.
const JOB_BYTES: usize = 4096;
/// More findings in one text are a mistake.
const FINDINGS_MAX: usize = 100_000;
const THREADS_MAX: usize = 256;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
/// How large the files may be.
const CONFIG_BYTES_MAX: u64 = 1 << 20;
const WEIGHTS_BYTES_MAX: u64 = 4 << 30;
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// Where a model found what.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What was found.
    pub entity: String,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset after the last byte.
    pub end: usize,
    /// 0.0 to 1.0: the mean of what the words of it got.
    pub score: f32,
}

/// Which token speaks for a word that has several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The first: most models learned only its label.
    #[default]
    First,
    /// The one that is surest.
    Max,
}

/// How a model is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory with its files.
    pub path: PathBuf,
    /// What the model's labels are called here (`PER` → `PERSON`), over what is known of common ones. An empty name leaves
    /// one out. A label that is in neither keeps its name, in capital letters.
    pub labels: BTreeMap<String, String>,
    /// Which token speaks for a word.
    pub aggregation: Aggregation,
    /// Findings below are left out, 0.0 to 1.0.
    pub min_score: f32,
    /// How long an ask may take.
    pub timeout: Duration,
    /// How many threads run the model; 0: as many as there are cores.
    pub threads: usize,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file of it is not there, or cannot be read.
    #[error("cannot read {file}")]
    Unreadable {
        /// Which.
        file: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than one may be.
    #[error("{file} is larger than {bytes_max} bytes")]
    TooLarge {
        /// Which.
        file: &'static str,
        /// How large it may be.
        bytes_max: u64,
    },
    /// `config.json` is none, is of a network that is not known, or asks for the absurd.
    #[error("config.json: {0}")]
    Config(&'static str),
    /// The weights are malformed, or not those of the configuration.
    #[error("model.safetensors: {0}")]
    Weights(String),
    /// The tokenizer is malformed, or not the model's.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// The labels cannot be used under the names that were given.
    #[error("labels: {0}")]
    Labels(&'static str),
    /// A setting is out of its range.
    #[error("`{key}` must be {expected}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// It was read, and fails on a sentence.
    #[error("the model fails on a sentence")]
    Useless,
    /// No threads.
    #[error("cannot start the model's threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
}

/// Why a model gave no findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Not everything was looked at within the time limit.
    #[error("the model did not answer in time")]
    TimedOut,
    /// It failed on this text, or its weights give no numbers.
    #[error("the model failed")]
    Failed,
    /// It finds something everywhere.
    #[error("the model found more than can be")]
    TooLarge,
}

impl ModelError {
    /// A fixed word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
        }
    }
}

struct Inner {
    encoder: Encoder,
    tokenizer: Tokenizer,
    /// What stands before and after every window.
    before: Vec<u32>,
    after: Vec<u32>,
    pad: u32,
    /// How many tokens of text a window has.
    window: usize,
    labels: Labels,
    aggregation: Aggregation,
    min_score: f32,
}

/// A model, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
    pool: Arc<rayon::ThreadPool>,
    timeout: Duration,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Model")
    }
}

/// A part of what an ask is about: the pieces, with their texts.
type Job = Vec<(Piece, String)>;
type Done = Result<Vec<(usize, Vec<Found>)>, ModelError>;

impl Model {
    /// Reads a model and asks it about a sentence.
    ///
    /// # Errors
    ///
    /// A file or a setting of it cannot be used.
    pub fn load(settings: &Settings) -> Result<Self, LoadError> {
        if !(0.0..=1.0).contains(&settings.min_score) {
            return Err(LoadError::Setting { key: "min_score", expected: "0.0 to 1.0" });
        }
        if settings.timeout.is_zero() {
            return Err(LoadError::Setting { key: "timeout_ms", expected: "more than 0" });
        }
        if settings.threads > THREADS_MAX {
            return Err(LoadError::Setting { key: "threads", expected: "0 to 256" });
        }
        let config = Config::parse(&read(&settings.path, CONFIG, CONFIG_BYTES_MAX)?)?;
        let labels = Labels::new(&config.labels, &settings.labels)?;
        let (tokenizer, before, after) =
            guarded(|| tokenizer(&read(&settings.path, TOKENIZER, TOKENIZER_BYTES_MAX)?, &config))
                .unwrap_or_else(|| Err(LoadError::Tokenizer("cannot be used".into())))?;
        let window = config.window_max().min(WINDOW_MAX).saturating_sub(before.len() + after.len());
        if window < WINDOW_LEAST {
            return Err(LoadError::Config("`max_position_embeddings` leaves no room for text"));
        }
        let weights = read(&settings.path, WEIGHTS, WEIGHTS_BYTES_MAX)?;
        let encoder =
            guarded(|| Encoder::load(&config, weights).map_err(|error| LoadError::Weights(error.to_string())))
                .unwrap_or_else(|| Err(LoadError::Weights("cannot be used".into())))?;
        let threads = match settings.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
            threads => threads,
        };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("model-{number}"))
            .build()
            .map_err(LoadError::Threads)?;
        let (aggregation, min_score) = (settings.aggregation, settings.min_score);
        let pad = config.pad;
        let inner = Inner { encoder, tokenizer, before, after, pad, window, labels, aggregation, min_score };
        let model = Self { inner: Arc::new(inner), pool: Arc::new(pool), timeout: settings.timeout };
        // Also so that the first exchange does not wait for what is made at first use.
        let sentence = "Oluwaseun Adebayo of Gjirokastër wrote on 3 May.";
        let asked = model.ask(&[sentence], None);
        asked.map(|_| model).map_err(|_| LoadError::Useless)
    }

    /// What is found in texts, in their order, each in order. Blocks until it is known, or the time limit has passed.
    ///
    /// # Errors
    ///
    /// The model failed, or was too slow. Then nothing is known of any of the texts.
    pub fn find_all(&self, texts: &[&str]) -> Result<Vec<Vec<Found>>, ModelError> {
        self.ask(texts, Some(Instant::now() + self.timeout))
    }

    /// What the network makes of a text that fits a window: for each of its tokens, those around it among them, the score of
    /// each label. For comparisons with other implementations.
    ///
    /// # Errors
    ///
    /// The text does not fit, or the model fails.
    pub fn logits(&self, text: &str) -> Result<Vec<Vec<f32>>, ModelError> {
        let inner = &self.inner;
        let work = || {
            let ids = inner.tokens(text)?.ids;
            if ids.len() > inner.window {
                return Err(ModelError::TooLarge);
            }
            let row = [&inner.before[..], &ids, &inner.after].concat();
            let length = row.len();
            let mut logits = inner.encoder.logits(&[row], &[length]).map_err(|_| ModelError::Failed)?;
            logits.pop().ok_or(ModelError::Failed)
        };
        self.pool.install(|| guarded(work)).unwrap_or(Err(ModelError::Failed))
    }

    fn ask(&self, texts: &[&str], deadline: Option<Instant>) -> Result<Vec<Vec<Found>>, ModelError> {
        let mut all = vec![Vec::new(); texts.len()];
        let mut jobs = jobs(texts);
        let (sender, receiver) = mpsc::channel::<Done>();
        let mut under_way = 0;
        loop {
            while under_way < self.pool.current_num_threads()
                && let Some(job) = jobs.next()
            {
                let (inner, sender) = (self.inner.clone(), sender.clone());
                under_way += 1;
                self.pool.spawn_fifo(move || {
                    let done = guarded(|| inner.run(&job, deadline)).unwrap_or(Err(ModelError::Failed));
                    // Whoever asked may have gone.
                    let _ = sender.send(done);
                });
            }
            if under_way == 0 {
                break;
            }
            let done = match deadline {
                None => receiver.recv().map_err(|_| ModelError::Failed)?,
                Some(deadline) => receiver
                    .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                    .map_err(|_| ModelError::TimedOut)?,
            };
            under_way -= 1;
            for (text, found) in done? {
                let all: &mut Vec<Found> = &mut all[text];
                all.extend(found);
                if all.len() > FINDINGS_MAX {
                    return Err(ModelError::TooLarge);
                }
            }
        }
        for found in &mut all {
            found.sort_by_key(|found| (found.start, found.end));
            // Where pieces meet, one may end in what the next begins with.
            let mut end = 0;
            found.retain(|found| {
                let apart = found.start >= end;
                end = end.max(found.end);
                apart
            });
        }
        Ok(all)
    }
}

/// The work on texts, a few pieces at a time, cut as it is needed.
fn jobs<'a>(texts: &'a [&'a str]) -> impl Iterator<Item = Job> + 'a {
    let worth = |text: &&str| text.contains(char::is_alphanumeric);
    let mut rest = texts
        .iter()
        .enumerate()
        .filter(move |(_, text)| worth(text))
        .flat_map(|(number, text)| {
            pieces(number, text).into_iter().map(|piece| {
                let own = text[piece.span.clone()].to_owned();
                (piece, own)
            })
        })
        .peekable();
    std::iter::from_fn(move || {
        let mut job = vec![rest.next()?];
        let mut bytes = job[0].1.len();
        while let Some((_, text)) = rest.peek()
            && bytes + text.len() <= JOB_BYTES
        {
            bytes += text.len();
            job.extend(rest.next());
        }
        Some(job)
    })
}

/// `None` if it panics. What is used in there is only read, so that nothing is left half done.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn read(directory: &Path, file: &'static str, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { file, source };
    let opened = std::fs::File::open(directory.join(file)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut limited = std::io::Read::take(opened, bytes_max + 1);
    std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(LoadError::TooLarge { file, bytes_max });
    }
    Ok(bytes)
}

/// The tokenizer, and what it puts before and after a text.
fn tokenizer(bytes: &[u8], config: &Config) -> Result<(Tokenizer, Vec<u32>, Vec<u32>), LoadError> {
    let wrong = |what: &dyn fmt::Display| LoadError::Tokenizer(what.to_string());
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| wrong(&error))?;
    tokenizer.with_truncation(None).map_err(|error| wrong(&error))?;
    tokenizer.with_padding(None);
    // A text that has `[SEP]` in it is a text.
    tokenizer.set_encode_special_tokens(true);
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= config.vocabulary {
        return Err(LoadError::Tokenizer("has tokens that the model does not know".into()));
    }
    let ids = |specials| tokenizer.encode("a", specials).map(|own| own.get_ids().to_vec());
    let plain = ids(false).map_err(|error| wrong(&error))?;
    let full = ids(true).map_err(|error| wrong(&error))?;
    let at = full.windows(plain.len().max(1)).position(|own| own == plain);
    let (before, after) = match at {
        Some(at) => (full[..at].to_vec(), full[at + plain.len()..].to_vec()),
        None => return Err(LoadError::Tokenizer("changes a text when it puts special tokens around it".into())),
    };
    Ok((tokenizer, before, after))
}

/// The tokens of a piece.
struct Tokens {
    ids: Vec<u32>,
    tokens: Vec<Token>,
    logits: Vec<Vec<f32>>,
}

impl Inner {
    fn run(&self, job: &Job, deadline: Option<Instant>) -> Done {
        let in_time = || match deadline {
            Some(deadline) if Instant::now() >= deadline => Err(ModelError::TimedOut),
            _ => Ok(()),
        };
        let mut all = Vec::with_capacity(job.len());
        for (_, text) in job {
            in_time()?;
            all.push(self.tokens(text)?);
        }
        // Windows of about one length stand together, so that there is little padding.
        let mut waiting = Vec::new();
        for (number, tokens) in all.iter().enumerate() {
            waiting.extend(windows(tokens.ids.len(), self.window).into_iter().map(|(seen, own)| (number, seen, own)));
        }
        waiting.sort_by_key(|(_, seen, _)| seen.len());
        let around = self.before.len() + self.after.len();
        while let Some((_, longest, _)) = waiting.last() {
            in_time()?;
            let length = longest.len() + around;
            let batch = waiting.split_off(waiting.len() - (BATCH_TOKENS / length).clamp(1, waiting.len()));
            let (mut rows, mut real) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
            for (number, seen, _) in &batch {
                let mut row = self.before.clone();
                row.extend_from_slice(&all[*number].ids[seen.clone()]);
                row.extend_from_slice(&self.after);
                real.push(row.len());
                row.resize(length, self.pad);
                rows.push(row);
            }
            let logits = self.encoder.logits(&rows, &real).map_err(|_| ModelError::Failed)?;
            for ((number, seen, own), mut row) in batch.into_iter().zip(logits) {
                for at in own {
                    let logits = row.get_mut(self.before.len() + at - seen.start).ok_or(ModelError::Failed)?;
                    // Weights that give no numbers must not pass for a model that finds nothing.
                    if !logits.iter().all(|logit| logit.is_finite()) {
                        return Err(ModelError::Failed);
                    }
                    all[number].logits[at] = std::mem::take(logits);
                }
            }
        }
        let found = job.iter().zip(&all).map(|((piece, text), read)| {
            let mut found = self.labels.spans(text, &read.tokens, &read.logits, self.aggregation, self.min_score);
            for found in &mut found {
                found.start += piece.span.start;
                found.end += piece.span.start;
            }
            found.retain(|found| piece.own.contains(&found.start));
            (piece.text, found)
        });
        Ok(found.collect())
    }

    fn tokens(&self, text: &str) -> Result<Tokens, ModelError> {
        let encoding = self.tokenizer.encode(text, false).map_err(|_| ModelError::Failed)?;
        let ids = encoding.get_ids().to_vec();
        let known = encoding.get_offsets().iter().zip(encoding.get_word_ids());
        // A token of no word is one by itself.
        let mut alone = u32::MAX;
        let tokens = known.map(|(&(start, end), word)| {
            let word = word.unwrap_or_else(|| {
                alone -= 1;
                alone
            });
            Token { span: start..end, word }
        });
        let tokens: Vec<Token> = tokens.collect();
        let logits = vec![Vec::new(); ids.len()];
        Ok(Tokens { ids, tokens, logits })
    }
}
