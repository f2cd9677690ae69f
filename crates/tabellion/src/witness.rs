//! A witness for other people's logs (C2SP tlog-witness).
//!
//! ```text
//! <data>/witness.key              the two secret keys, Ed25519 and ML-DSA-44, one a line
//! <data>/witness.vkey             the public ones
//! <data>/logs/<origin hash>       the newest checkpoint of each log, with our cosignatures: what is served, and the state
//! <data>/forks/<origin hash>/<n>  what contradicts it, with both notes and the proof
//! ```
//!
//! How a cosignature comes to be, for one log one after the other:
//!
//! 1. Check who signed the submission, and judge it against the newest checkpoint. What contradicts that is kept, durably.
//! 2. Cosign, and replace the log's file. A crash before: nothing happened. After: the log asks again, is told the new
//!    size, and submits it again.
//! 3. Answer. So nobody has a cosignature that this witness could forget.
//!
//! Whom it trusts: its own disk. Restored from an older copy it would cosign a fork, as any witness would.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::{self, SigningKey, VerifierKey};
use tabellion_evidence::tree::sha256;
use tabellion_evidence::witness::{self, Fork, Refusal, SUBMISSION_BYTES_MAX, Signed, Submission};
use tabellion_gateway::{ReadError, RelayBody, read_body};
use tabellion_store::{DiskStore, RealDisk, Store, StoreError};
use zeroize::Zeroizing;

use crate::failure::Failure;

const KEY: &str = "witness.key";
const VKEY: &str = "witness.vkey";
/// For the next bytes of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A cosignature of the same tree is given out again for so long, instead of a new one: so nobody can make this witness
/// sign and write as fast as they can send.
const AGAIN: Duration = Duration::from_secs(1);
/// Of one log, so many pieces of evidence are kept. One is enough to convict it.
const FORKS_MAX: usize = 1_000;

/// A witness and what it remembers.
pub(crate) struct Witness {
    store: DiskStore<RealDisk>,
    keys: [SigningKey; 2],
    logs: BTreeMap<String, Log>,
    _lock: File,
}

struct Log {
    keys: Vec<VerifierKey>,
    /// SHA-256 of the origin, in hexadecimal.
    hash: String,
    /// Held while a submission is judged and the verdict is written.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    newest: Option<Newest>,
    forks: usize,
}

struct Newest {
    head: Checkpoint,
    /// Our signature lines.
    lines: String,
    /// When they were made, by a clock that does not jump.
    at: Option<Instant>,
}

/// Why a submission has no cosignature.
#[derive(Debug, thiserror::Error)]
enum NotCosigned {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Witness {
    /// Opens a witness's directory, or starts one under a name.
    pub(crate) fn open(data: &Path, name: Option<&str>, logs: Vec<VerifierKey>) -> Result<Self, Failure> {
        let failed = |error| Failure::environment(format!("cannot use {}", data.display())).because(error);
        {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
        }
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(data.join("lock")).map_err(failed)?;
        lock.try_lock().map_err(|_| Failure::environment("another process is this witness").hint("stop it first"))?;
        let store = DiskStore::new(RealDisk::new(data));
        store.clean()?;
        let keys = open_keys(&store, name)?;
        let mut known: BTreeMap<String, Log> = BTreeMap::new();
        for key in logs {
            let log = known.entry(key.name().to_owned()).or_insert_with(|| Log {
                keys: Vec::new(),
                hash: hex::encode(sha256(key.name()).0),
                state: Mutex::default(),
            });
            log.keys.push(key);
        }
        for (origin, log) in &mut known {
            let file = log.file();
            let mut state = State { newest: None, forks: store.list(&format!("forks/{}", log.hash))?.len() };
            if let Some(bytes) = store.read(&file)? {
                state.newest = Some(read_state(&bytes, origin, &keys).ok_or_else(|| {
                    Failure::evidence(format!("what this witness knows of a log is damaged: {file}"))
                        .hint("bring back the file; without it the witness would cosign a fork")
                })?);
            }
            log.state = Mutex::new(state);
        }
        Ok(Self { store, keys, logs: known, _lock: lock })
    }

    /// The public keys.
    pub(crate) fn vkeys(&self) -> [&VerifierKey; 2] {
        self.keys.each_ref().map(SigningKey::verifier)
    }

    /// How many logs it knows.
    pub(crate) fn logs(&self) -> usize {
        self.logs.len()
    }

    /// Answers a request.
    pub(crate) async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<RelayBody> {
        let (head, body) = request.into_parts();
        match (&head.method, head.uri.path()) {
            (&Method::POST, "/add-checkpoint") => match read_body(body, SUBMISSION_BYTES_MAX, BODY_TIMEOUT).await {
                Ok(body) => {
                    let added = tokio::task::spawn_blocking(move || self.add_checkpoint(&body)).await;
                    added.unwrap_or_else(|_| answer(StatusCode::INTERNAL_SERVER_ERROR, "a defect of this witness\n"))
                }
                Err(ReadError::TooLarge) => answer(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
                Err(ReadError::TooSlow) => answer(StatusCode::REQUEST_TIMEOUT, "the request did not come in time\n"),
                Err(ReadError::BrokeOff) => answer(StatusCode::BAD_REQUEST, "the request broke off\n"),
            },
            (_, "/add-checkpoint") => answer(StatusCode::METHOD_NOT_ALLOWED, "POST is the method\n"),
            (&Method::GET | &Method::HEAD, "/healthz") => answer(StatusCode::OK, "ok\n"),
            (&Method::GET | &Method::HEAD, "/") => {
                answer(StatusCode::OK, self.vkeys().map(|key| format!("{key}\n")).concat())
            }
            (&Method::GET | &Method::HEAD, path) => {
                let hash = path.strip_prefix('/').and_then(|path| path.strip_suffix("/checkpoint"));
                let file = hash.and_then(|hash| self.logs.values().find(|log| log.hash == hash)).map(Log::file);
                let Some(file) = file else { return answer(StatusCode::NOT_FOUND, "there is no such log here\n") };
                let read = tokio::task::spawn_blocking(move || self.store.read(&file)).await;
                match read {
                    Ok(Ok(Some(note))) => {
                        let mut found = answer(StatusCode::OK, note);
                        found.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=1"));
                        found
                    }
                    Ok(Ok(None)) => answer(StatusCode::NOT_FOUND, "nothing of this log was cosigned yet\n"),
                    _ => answer(StatusCode::INTERNAL_SERVER_ERROR, "the disk failed\n"),
                }
            }
            _ => answer(StatusCode::NOT_FOUND, "there is nothing here\n"),
        }
    }

    fn add_checkpoint(&self, body: &[u8]) -> Response<RelayBody> {
        match self.cosign(body) {
            Ok(lines) => answer(StatusCode::OK, lines),
            Err(NotCosigned::Refused(Refusal::Conflict { size })) => {
                let mut conflict = answer(StatusCode::CONFLICT, format!("{size}\n"));
                conflict.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/x.tlog.size"));
                conflict
            }
            Err(NotCosigned::Refused(refusal)) => {
                let status = StatusCode::from_u16(refusal.status()).expect("a status of the specification");
                answer(status, format!("{refusal}\n"))
            }
            Err(NotCosigned::Store(error)) => {
                tracing::error!(%error, "a cosignature could not be made durable");
                let mut unavailable = answer(StatusCode::SERVICE_UNAVAILABLE, "the disk failed\n");
                unavailable.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                unavailable
            }
        }
    }

    /// The write protocol of the module's first page.
    fn cosign(&self, body: &[u8]) -> Result<String, NotCosigned> {
        let submission = Submission::parse(body)?;
        let keys = |origin: &str| self.logs.get(origin).map_or(&[][..], |log| &log.keys);
        let signed = witness::authenticate(submission, keys)?;
        let log = &self.logs[&signed.checkpoint().origin];
        let mut state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = &state.newest
            && let Some(fork) = witness::fork(&signed, &newest.head)
        {
            self.keep(log, &mut state, &signed, fork)?;
        }
        let last = state.newest.as_ref().map(|newest| &newest.head);
        witness::judge(&signed, last)?;

        let head = signed.checkpoint();
        if let Some(newest) = &state.newest
            && newest.head.size == head.size
            && newest.at.is_some_and(|at| at.elapsed() < AGAIN)
            // An extension line is covered by the cosignature.
            && newest.head == *head
        {
            return Ok(newest.lines.clone());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs().max(1));
        let text = head.to_text();
        let lines = self.keys.each_ref().map(|key| note::cosign(&text, now, key)).concat();
        let note = format!("{}{lines}", signed.note_by(&log.keys));
        self.store.replace(&log.file(), note.as_bytes())?;
        state.newest = Some(Newest { head: head.clone(), lines: lines.clone(), at: Some(Instant::now()) });
        Ok(lines)
    }

    /// Keeps what shows, or may show, that a log has forked.
    fn keep(&self, log: &Log, state: &mut State, signed: &Signed, fork: Fork) -> Result<(), StoreError> {
        let origin = &signed.checkpoint().origin;
        let proved = fork == Fork::Proved;
        tracing::error!(origin, size = signed.checkpoint().size, proved, "a checkpoint contradicts what was cosigned");
        // Only what the log signed, and the proof: whatever else came with it may be anybody's, and of any size.
        let Submission { old, proof, .. } = signed.submission().clone();
        let submitted = Submission { old, proof, checkpoint: signed.note_by(&log.keys) }.to_text();
        let cosigned = self.store.read(&log.file())?.unwrap_or_default();
        let cosigned = String::from_utf8_lossy(&cosigned);
        let what =
            serde_json::json!({ "origin": origin, "proved": proved, "cosigned": cosigned, "submitted": submitted });
        // The same again is the same file.
        let hash = sha256(format!("{cosigned}{submitted}"));
        let name = format!("forks/{}/{}.json", log.hash, hex::encode(&hash.0[..16]));
        if self.store.read(&name)?.is_some() {
            return Ok(());
        }
        // What anybody can make of an honest checkpoint must not take the place of what nobody else can.
        let room = if proved { FORKS_MAX } else { FORKS_MAX / 2 };
        if state.forks < room {
            self.store.create(&[(&*name, format!("{what}\n").as_bytes())])?;
            state.forks += 1;
        }
        Ok(())
    }
}

impl Log {
    fn file(&self) -> String {
        format!("logs/{}", self.hash)
    }
}

/// Reads what was written of a log: believed only with our own signatures.
fn read_state(bytes: &[u8], origin: &str, keys: &[SigningKey; 2]) -> Option<Newest> {
    let public = keys.each_ref().map(|key| key.verifier().clone());
    let found = checkpoint::cosignatures(bytes, &public).ok()?;
    let note = note::Note::parse(bytes).ok()?;
    let head = Checkpoint::parse_text(note.text()).ok()?;
    (found.len() == public.len() && head.origin == origin).then(|| Newest { head, lines: String::new(), at: None })
}

fn open_keys(store: &dyn Store, name: Option<&str>) -> Result<[SigningKey; 2], Failure> {
    let malformed = || Failure::environment(format!("{KEY} is malformed"));
    let keys = match store.read(KEY)? {
        Some(bytes) => {
            let bytes = Zeroizing::new(bytes);
            let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
            let keys: Vec<SigningKey> =
                text.lines().map(SigningKey::parse).collect::<Result<_, _>>().map_err(|_| malformed())?;
            let keys: [SigningKey; 2] = keys.try_into().map_err(|_| malformed())?;
            if name.is_some_and(|name| name != keys[0].verifier().name()) {
                return Err(Failure::usage("this witness has another name").hint("a witness keeps its name"));
            }
            keys
        }
        None => {
            let name = name.ok_or_else(|| {
                Failure::usage("a new witness needs a name")
                    .hint("give it with --name: a URL without its scheme, for one")
            })?;
            let seed = || {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map(|()| seed).map_err(|_| Failure::environment("no random bytes"))
            };
            let wrong = |_| Failure::usage("a witness's name has no spaces and plus signs and at most 255 bytes");
            let keys = [
                SigningKey::cosigner_from_seed(name, seed()?).map_err(wrong)?,
                SigningKey::ml_dsa_from_seed(name, seed()?).map_err(wrong)?,
            ];
            let text = Zeroizing::new(keys.each_ref().map(|key| format!("{}\n", &*key.to_text())).concat());
            store.replace(KEY, text.as_bytes())?;
            keys
        }
    };
    let public = keys.each_ref().map(|key| format!("{}\n", key.verifier())).concat();
    if store.read(VKEY)?.as_deref() != Some(public.as_bytes()) {
        store.replace(VKEY, public.as_bytes())?;
    }
    Ok(keys)
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<RelayBody> {
    let mut answer = Response::new(RelayBody::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
