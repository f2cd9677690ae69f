//! The way from this log to its witnesses (C2SP tlog-witness, from the log's side).
//!
//! Each witness is asked by a task of its own, one checkpoint at a time, so a slow one delays nobody: the publisher waits
//! for those that were in time when they were last asked, and no longer than it is told to. What comes later counts if
//! the checkpoint is still the newest.
//!
//! What is remembered of a witness (its size) is only a guess that saves a round trip. A wrong one costs a 409.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tabellion_evidence::checkpoint::Checkpoint;
use tabellion_evidence::note::{Note, VerifierKey};
use tabellion_evidence::tree::{self, Hash};
use tabellion_evidence::witness::{Submission, take_cosignatures};
use tabellion_gateway::dialect::Kind;
use tabellion_gateway::{Upstream, Upstreams, read_body};
use tabellion_ledger::{Answers, Reader, Witnesses};
use tokio::runtime::Handle;

use crate::config::Witness as Configured;
use crate::metrics::Metrics;

/// For one whole conversation about one checkpoint.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Room for 16 signatures of post-quantum size.
const ANSWER_BYTES_MAX: usize = 128 << 10;
/// A witness that fails is left alone for so long, twice as long each time …
const BACKOFF: Duration = Duration::from_millis(250);
/// … up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// One to learn the size by, one that should do, and one more in case somebody else submitted meanwhile.
const ATTEMPTS: usize = 3;

/// All witnesses of this log.
pub(crate) struct Clients {
    list: Vec<Arc<Client>>,
    runtime: Handle,
    /// The size of the largest checkpoint that was submitted.
    newest: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

struct Client {
    name: String,
    keys: Vec<VerifierKey>,
    http: Upstreams,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The size of the newest checkpoint that it is thought to have.
    size: u64,
    asking: bool,
    /// Not in time when it was last asked.
    late: bool,
    /// What it said of a checkpoint.
    said: Option<(String, Said)>,
    failures: u32,
    not_before: Option<Instant>,
}

/// What a witness said that means something.
#[derive(Clone)]
enum Said {
    Cosigned(String),
    Ahead(u64),
    Contradicted,
}

/// Why a witness said nothing that means anything.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it took too long")]
    TimedOut,
    #[error("it answered with the status {0}")]
    Status(u16),
    #[error("its answer is malformed")]
    Malformed,
    #[error("its cosignatures do not verify, or are by other keys")]
    Cosignature,
    #[error("others submit checkpoints faster")]
    Overtaken,
    #[error("the proof for it cannot be made")]
    Proof,
}

impl Clients {
    /// For the runtime that this is called on.
    pub(crate) fn new(configured: &[Configured], metrics: Arc<Metrics>) -> Self {
        let client = |witness: &Configured| {
            let upstream = Upstream::new(&witness.name, Kind::Generic, &witness.url).expect("the URL was checked");
            Arc::new(Client {
                name: witness.name.clone(),
                keys: witness.keys().expect("the keys were checked"),
                http: Upstreams::new(vec![upstream], None),
                state: Mutex::default(),
            })
        };
        let list = configured.iter().map(client).collect();
        Self { list, runtime: Handle::current(), newest: Arc::default(), metrics }
    }
}

impl Witnesses for Clients {
    fn submit(&self, checkpoint: &str, reader: &Reader, wait: Duration) -> Answers {
        let note = Note::parse(checkpoint.as_bytes()).expect("our own note");
        let head = Checkpoint::parse_text(note.text()).expect("our own checkpoint");
        self.newest.fetch_max(head.size, Ordering::Relaxed);
        let started = Instant::now();
        let (sender, receiver) = mpsc::channel();
        let mut waiting = 0;
        for client in &self.list {
            let Some(prompt) = client.begin(checkpoint) else { continue };
            waiting += usize::from(prompt);
            let (client, sender, newest) = (client.clone(), sender.clone(), self.newest.clone());
            let (checkpoint, head, reader) = (checkpoint.to_owned(), head.clone(), reader.clone());
            self.runtime.spawn(async move {
                let asked = tokio::time::timeout(TIMEOUT, client.ask(&checkpoint, &head, &reader, &newest)).await;
                client.end(checkpoint, asked.unwrap_or(Err(Failed::TimedOut)), started.elapsed() > wait);
                // Nobody waits any more for one that is late.
                let _ = sender.send(prompt);
            });
        }
        drop(sender);
        while waiting > 0 {
            match receiver.recv_timeout(wait.saturating_sub(started.elapsed())) {
                Ok(prompt) => waiting -= usize::from(prompt),
                Err(_) => break,
            }
        }
        let mut answers = Answers::default();
        for client in &self.list {
            let state = client.lock();
            match state.said.as_ref().filter(|(about, _)| about == checkpoint).map(|(_, said)| said) {
                Some(Said::Cosigned(lines)) => {
                    answers.cosigned += 1;
                    answers.lines.push_str(lines);
                }
                Some(Said::Ahead(size)) => answers.ahead.push((client.name.clone(), *size)),
                Some(Said::Contradicted) => answers.contradicted.push(client.name.clone()),
                None => answers.silent += 1,
            }
        }
        answers
    }

    fn published(&self, cosigned: usize) {
        self.metrics.cosignatures(cosigned);
    }
}

impl Client {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be asked about a checkpoint now; if so, whether the answer is worth waiting for.
    fn begin(&self, checkpoint: &str) -> Option<bool> {
        let mut state = self.lock();
        let said = state.said.as_ref().is_some_and(|(about, _)| about == checkpoint);
        if said || state.asking || state.not_before.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        state.asking = true;
        Some(!state.late)
    }

    /// Takes note of what came of asking it, and says what an operator should know.
    fn end(&self, checkpoint: String, asked: Result<Said, Failed>, late: bool) {
        let mut state = self.lock();
        state.asking = false;
        state.late = late;
        let witness = &self.name;
        match asked {
            Ok(said) => {
                match said {
                    Said::Ahead(size) => tracing::error!(witness, size, "a witness has cosigned more of this log"),
                    Said::Contradicted => tracing::error!(witness, "a witness has cosigned another tree of this log"),
                    Said::Cosigned(_) if state.failures > 0 => tracing::info!(witness, "a witness cosigns again"),
                    Said::Cosigned(_) => {}
                }
                state.failures = 0;
                state.not_before = None;
                state.said = Some((checkpoint, said));
            }
            Err(why) => {
                if state.failures == 0 {
                    tracing::warn!(witness, %why, "a witness did not cosign");
                }
                let wait = BACKOFF.saturating_mul(1 << state.failures.min(16)).min(BACKOFF_MAX);
                state.failures += 1;
                state.not_before = Some(Instant::now() + wait);
            }
        }
    }

    /// Submits a checkpoint, and takes back what the witness says of it.
    async fn ask(
        &self,
        checkpoint: &str,
        head: &Checkpoint,
        reader: &Reader,
        newest: &AtomicU64,
    ) -> Result<Said, Failed> {
        let mut old = self.lock().size;
        if old > head.size {
            // It knows a larger one than this, which is a start's business to find out.
            old = 0;
        }
        for _ in 0..ATTEMPTS {
            let submission =
                Submission { old, proof: proof(old, head.size, reader).await?, checkpoint: checkpoint.into() };
            let (status, answer) = self.post(submission.to_text().into()).await?;
            match status {
                StatusCode::OK => {
                    let taken = take_cosignatures(checkpoint, &answer, &self.keys).map_err(|_| Failed::Cosignature)?;
                    if taken.is_empty() {
                        return Err(Failed::Cosignature);
                    }
                    self.lock().size = head.size;
                    return Ok(Said::Cosigned(taken.into_iter().map(|(_, line)| line).collect()));
                }
                StatusCode::CONFLICT => {
                    let size = std::str::from_utf8(&answer).ok().and_then(|text| text.strip_suffix('\n'));
                    let size: u64 = size.and_then(|size| size.parse().ok()).ok_or(Failed::Malformed)?;
                    if size == old {
                        return Err(Failed::Malformed);
                    }
                    self.lock().size = size;
                    if size > head.size {
                        // Unless it is a later one of ours, which somebody else has submitted.
                        let ours = size <= newest.load(Ordering::Relaxed);
                        return if ours { Err(Failed::Overtaken) } else { Ok(Said::Ahead(size)) };
                    }
                    old = size;
                }
                StatusCode::UNPROCESSABLE_ENTITY => return Ok(Said::Contradicted),
                status => return Err(Failed::Status(status.as_u16())),
            }
        }
        Err(Failed::Overtaken)
    }

    async fn post(&self, body: Bytes) -> Result<(StatusCode, Bytes), Failed> {
        let path = format!("/{}/add-checkpoint", self.name);
        let target = self.http.route(&path).expect("the witness has this name");
        let answer = self.http.send(&target, Method::POST, &HeaderMap::new(), body).await;
        let answer = answer.map_err(|_| Failed::Unreachable)?;
        let status = answer.status();
        let body = read_body(answer.into_body(), ANSWER_BYTES_MAX, TIMEOUT).await.map_err(|_| Failed::Malformed)?;
        Ok((status, body))
    }
}

/// The proof that the log of `new` entries extends that of `old`. It reads tiles, so a thread that may block does it.
async fn proof(old: u64, new: u64, reader: &Reader) -> Result<Vec<Hash>, Failed> {
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let reader = reader.clone();
    let made = tokio::task::spawn_blocking(move || tree::consistency_proof(old, new, &reader.tiles()).ok()).await;
    made.ok().flatten().ok_or(Failed::Proof)
}
