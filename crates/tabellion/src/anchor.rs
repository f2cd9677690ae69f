//! Anchors: asks others to say when the log had a root, and keeps what they say.
//!
//! How a token of an authority (RFC 3161) becomes evidence:
//!
//! 1. The newest checkpoint is read, and the authority asked about its text, with a new nonce.
//! 2. What comes back is verified as anybody would later, and held against our own clock and the newest entry's time: a
//!    back-dated token has a good signature. A crash here: nothing was kept, and nothing is missing.
//! 3. It is written, as it was received, to `anchors/<size>.tsr`, which nobody changes afterwards.
//! 4. A running server says so in the log (`custody.anchor`, with the file's hash). Nobody could know that hash before
//!    the token was signed, so what comes after that entry was recorded after the token. A crash before it: the token
//!    stands, and only this is not said.
//!
//! An OpenTimestamps proof is first what its calendars promise (`anchors/<size>.pending.ots`), which proves nothing, and
//! hours later, when they have kept their promise, a second file (`anchors/<size>.ots`). Neither is ever changed, so
//! both can lie on storage that does not allow it.
//!
//! Nothing here is in the way of an exchange: what fails is logged, counted in the age of the newest anchor, and tried
//! again. Nobody else's answer is believed further than it can be verified, and calendars are asked only where the
//! configuration says, whatever addresses their answers have in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use tabellion_evidence::anchor::{self, Bounds, Kind, Name, TimeError};
use tabellion_evidence::checkpoint::Checkpoint;
use tabellion_evidence::entry::{self, Entry};
use tabellion_evidence::ots::{Attestation, Op, OtsError, OtsProof, Timestamp};
use tabellion_evidence::time::Time;
use tabellion_evidence::timestamp::{self, Expected, Policy, Request, Roots, TimestampError, Token};
use tabellion_evidence::tree::sha256;
use tabellion_evidence::{Verified, ots, tile};
use tabellion_gateway::dialect::Kind as Dialect;
use tabellion_gateway::{ReadError, Target, Upstream, Upstreams, read_body};
use tabellion_ledger::{LedgerError, Reader};
use tabellion_store::StoreError;
use tokio::task::JoinHandle;

use crate::config::ConfigError;
use crate::failure::Failure;
use crate::notary::{Draft, Notary};
use crate::serve;

/// A `[[anchor]]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: String,
    kind: Service,
    url: String,
    roots: Option<PathBuf>,
    policy: Option<String>,
    #[serde(default)]
    calendars: Vec<String>,
    every_s: Option<u64>,
    timeout_s: Option<u64>,
    tolerance_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Service {
    #[serde(rename = "rfc3161")]
    Rfc3161,
    #[serde(rename = "opentimestamps")]
    OpenTimestamps,
}

impl Settings {
    /// The file of the root certificates that an authority's own must lead to.
    pub(crate) fn roots(&self) -> Option<&std::path::Path> {
        self.roots.as_deref()
    }
}

/// The members of a `[[anchor]]`.
pub(crate) const KEYS: [&str; 9] =
    ["name", "kind", "url", "roots", "policy", "calendars", "every_s", "timeout_s", "tolerance_s"];

const EVERY_S: u64 = 3_600;
const TIMEOUT_S: u64 = 10;

impl Settings {
    /// What can be said without reading files.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if self.name.is_empty() || self.name.len() > 64 || !plain(&self.name) {
            let expected = "at most 64 letters, digits, `-` and `_`";
            return Err(ConfigError::Value { key: "anchor.name".into(), expected });
        }
        if self.every_s == Some(0) || self.timeout_s == Some(0) {
            return Err(self.wrong("every_s", "at least 1, and so must timeout_s"));
        }
        if self.tolerance_s.is_some_and(|tolerance| tolerance > anchor::TOLERANCE.as_secs()) {
            return Err(self.wrong("tolerance_s", "at most 60, which is what `verify` allows"));
        }
        let urls = std::iter::once(("url", &self.url)).chain(self.calendars.iter().map(|url| ("calendars", url)));
        for (key, url) in urls {
            if Upstream::new("anchor", Dialect::Generic, url).is_none() {
                return Err(self.wrong(key, "an http or https URL"));
            }
        }
        match self.kind {
            Service::Rfc3161 if self.roots.is_none() => Err(self.wrong("roots", "set for this kind")),
            Service::Rfc3161 if !self.calendars.is_empty() => Err(self.wrong("calendars", "left out for this kind")),
            Service::OpenTimestamps if self.roots.is_some() => Err(self.wrong("roots", "left out for this kind")),
            Service::OpenTimestamps if self.policy.is_some() => Err(self.wrong("policy", "left out for this kind")),
            _ => self.policy().map(drop),
        }
    }

    fn wrong(&self, key: &str, expected: &'static str) -> ConfigError {
        ConfigError::Value { key: format!("anchor.{key} of {}", self.name), expected }
    }

    fn policy(&self) -> Result<Option<Policy>, ConfigError> {
        let parse = |text: &String| Policy::parse(text).ok_or_else(|| self.wrong("policy", "an object identifier"));
        self.policy.as_ref().map(parse).transpose()
    }

    /// Ready to be asked.
    pub(crate) fn authority(&self) -> Result<Authority, ConfigError> {
        let kind = match (self.kind, &self.roots) {
            (Service::Rfc3161, Some(path)) => {
                let wrong = || self.wrong("roots", "a file of certificates in PEM");
                let roots = std::fs::read(path).ok().and_then(|bytes| Roots::parse(&bytes).ok()).ok_or_else(wrong)?;
                let tolerance = self.tolerance_s.map_or(anchor::TOLERANCE, Duration::from_secs);
                How::Rfc3161 { roots, policy: self.policy()?, tolerance }
            }
            (Service::Rfc3161, None) => return Err(self.wrong("roots", "set for this kind")),
            (Service::OpenTimestamps, _) => How::OpenTimestamps {
                calendars: std::iter::once(&self.url).chain(&self.calendars).map(|url| plain_url(url).into()).collect(),
            },
        };
        let timeout = Duration::from_secs(self.timeout_s.unwrap_or(TIMEOUT_S));
        let every = Duration::from_secs(self.every_s.unwrap_or(EVERY_S));
        Ok(Authority { name: self.name.clone(), url: self.url.clone(), how: kind, every, timeout })
    }
}

fn plain_url(url: &str) -> &str {
    url.trim_end_matches('/')
}

/// Somebody who can be asked.
pub(crate) struct Authority {
    pub(crate) name: String,
    url: String,
    how: How,
    every: Duration,
    timeout: Duration,
}

enum How {
    Rfc3161 { roots: Roots, policy: Option<Policy>, tolerance: Duration },
    OpenTimestamps { calendars: Vec<String> },
}

/// Why there is no anchor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnchorError {
    #[error("there is no answer")]
    Unreachable,
    #[error("there was no answer in time")]
    TimedOut,
    #[error("the answer is status {0}")]
    Status(u16),
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer is refused")]
    Token(#[from] TimestampError),
    #[error("the answer is refused")]
    Time(#[from] TimeError),
    #[error("the answer is refused")]
    Ots(#[from] OtsError),
    #[error("the log has no entry yet")]
    Empty,
    #[error("there is no randomness")]
    Random,
    #[error("the log cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("the anchor cannot be written")]
    Store(#[from] StoreError),
    #[error("the anchor cannot be written")]
    Lock(#[source] std::io::Error),
}

impl From<AnchorError> for Failure {
    fn from(error: AnchorError) -> Self {
        let refused = matches!(error, AnchorError::Token(_) | AnchorError::Time(_) | AnchorError::Ots(_));
        let failure = if refused {
            Self::evidence("the newest checkpoint is not anchored")
        } else {
            Self::environment("the newest checkpoint is not anchored")
        };
        failure.because(error)
    }
}

/// An anchor that was kept.
pub(crate) struct Kept {
    pub(crate) name: Name,
    /// What an authority said; a calendar has only promised.
    pub(crate) timestamp: Option<Verified<timestamp::Timestamp>>,
}

/// What an anchor is about.
struct Subject {
    checkpoint: Checkpoint,
    message: String,
    newest_entry: Option<Time>,
}

impl Subject {
    fn read(log: &Reader) -> Result<Self, AnchorError> {
        let checkpoint = log.checkpoint()?;
        let last = checkpoint.size.checked_sub(1).ok_or(AnchorError::Empty)?;
        // Entries are in the order in which they became durable, which is nearly that of their times; the last of the
        // newest ones is the newest.
        let newest = log.entries(last / tile::WIDTH, checkpoint.size)?;
        let times = newest.iter().filter_map(|bytes| Time::parse_rfc3339(&Entry::parse(bytes).ok()?.time));
        Ok(Self { message: anchor::message(&checkpoint), newest_entry: times.max(), checkpoint })
    }
}

impl Authority {
    /// Asks about the newest checkpoint, verifies what comes, and keeps it.
    pub(crate) async fn stamp(&self, log: &Reader, data: &Path) -> Result<Kept, AnchorError> {
        let reader = log.clone();
        let subject = blocking(move || Subject::read(&reader)).await?;
        let size = subject.checkpoint.size;
        let (kind, bytes, timestamp) = match &self.how {
            How::Rfc3161 { roots, policy, tolerance } => {
                let (bytes, timestamp) = self.token(&subject, roots, *policy, *tolerance).await?;
                (Kind::Rfc3161, bytes, Some(timestamp))
            }
            How::OpenTimestamps { .. } => (Kind::Pending, self.promise(&subject).await?.to_bytes().into(), None),
        };
        let (reader, data) = (log.clone(), data.to_owned());
        let name = blocking(move || keep(&reader, &data, size, kind, &bytes)).await?;
        Ok(Kept { name, timestamp })
    }

    /// RFC 3161, section 3.4: over HTTP.
    async fn token(
        &self,
        subject: &Subject,
        roots: &Roots,
        policy: Option<Policy>,
        tolerance: Duration,
    ) -> Result<(Bytes, Verified<timestamp::Timestamp>), AnchorError> {
        // A positive number, whose DER is not longer than it need be.
        let nonce = getrandom::u64().map_err(|_| AnchorError::Random)? >> 1;
        let request = Request::new(subject.message.as_bytes(), nonce, policy);
        let asked = now();
        let types = ("application/timestamp-query", "application/timestamp-reply");
        let answer = self.ask(&self.url, types, Some(request.to_der()), timestamp::TOKEN_BYTES_MAX).await?;
        let bounds = Bounds { asked: Some((asked, now())), newest_entry: subject.newest_entry, tolerance };
        let expected = Expected { nonce: Some(nonce), policy };
        let verified = Token::parse(&answer)?.verify(subject.message.as_bytes(), roots, &expected)?;
        bounds.check(verified.time, verified.accuracy)?;
        Ok((answer, verified))
    }

    /// What the calendar promises. It sees a hash that tells it nothing, not even that somebody else asked about the
    /// same checkpoint.
    async fn promise(&self, subject: &Subject) -> Result<OtsProof, AnchorError> {
        let digest = sha256(&subject.message);
        let mut blind = [0; 16];
        getrandom::fill(&mut blind).map_err(|_| AnchorError::Random)?;
        let blinded = sha256([&digest.0[..], &blind].concat());
        let answer = self.calendar(&self.url, "/digest", Some(blinded.0.to_vec())).await?;
        let steps = Timestamp::after(Op::Append(blind.to_vec()), Timestamp::after(Op::Sha256, answer));
        let proof = OtsProof::parse(&OtsProof::new(digest, steps).to_bytes())?;
        let attested = proof.attestations(subject.message.as_bytes())?;
        // Without either, nothing would ever come of it.
        let of_use = |attestation: &Attestation| !matches!(attestation, Attestation::Unknown { .. });
        if attested.iter().any(|one| of_use(&one.attestation)) { Ok(proof) } else { Err(OtsError::Malformed.into()) }
    }

    /// Asks the calendars whether they have kept their promises; gives what is complete now.
    pub(crate) async fn upgrade(&self, log: &Reader, data: &Path) -> Result<Vec<Kept>, AnchorError> {
        let How::OpenTimestamps { calendars } = &self.how else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        let names = names(log)?;
        for pending in names.iter().filter(|name| name.kind == Kind::Pending) {
            let complete = Name { kind: Kind::OpenTimestamps, ..*pending };
            if names.contains(&complete) {
                continue;
            }
            let Some(bytes) = log.store().read(&pending.path())? else { continue };
            let mut proof = OtsProof::parse(&bytes)?;
            let (reader, size) = (log.clone(), pending.size);
            let message = blocking(move || message_of(&reader, size)).await?;
            for attested in proof.attestations(message.as_bytes())? {
                let Attestation::Pending { uri } = &attested.attestation else { continue };
                // Whoever answers a calendar's question could send us anywhere.
                if !calendars.iter().any(|calendar| calendar == plain_url(uri)) {
                    continue;
                }
                let path = format!("/timestamp/{}", hex::encode(&attested.message));
                match self.calendar(uri, &path, None).await {
                    Ok(timestamp) => drop(proof.upgrade(&attested.message, &timestamp)?),
                    // Not yet.
                    Err(AnchorError::Status(404)) => {}
                    Err(error) => return Err(error),
                }
            }
            if proof.is_complete() {
                let (reader, data, bytes) = (log.clone(), data.to_owned(), proof.to_bytes());
                blocking(move || {
                    let _lock = lock(&data)?;
                    Ok(reader.store().create(&[(&complete.path(), &bytes)])?)
                })
                .await?;
                kept.push(Kept { name: complete, timestamp: None });
            }
        }
        Ok(kept)
    }

    /// The calendar protocol of OpenTimestamps.
    async fn calendar(&self, url: &str, path: &str, body: Option<Vec<u8>>) -> Result<Timestamp, AnchorError> {
        let types = ("application/x-www-form-urlencoded", "application/vnd.opentimestamps.v1");
        let answer = self.ask(&format!("{}{path}", plain_url(url)), types, body, ots::PROOF_BYTES_MAX).await?;
        Ok(Timestamp::parse(&answer)?)
    }

    async fn ask(
        &self,
        url: &str,
        (sent, wanted): (&'static str, &'static str),
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Bytes, AnchorError> {
        // The path exactly as it is, with a slash at its end or a query.
        let url: Uri = url.parse().map_err(|_| AnchorError::Unreachable)?;
        let (scheme, authority) =
            (url.scheme_str().unwrap_or_default(), url.authority().map_or("", |host| host.as_str()));
        let upstream = Upstream::new("anchor", Dialect::Generic, &format!("{scheme}://{authority}"));
        let upstreams = Upstreams::new(vec![upstream.ok_or(AnchorError::Unreachable)?], None);
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let target = Target { upstream: &upstreams.list()[0], path };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(wanted));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("tabellion"));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sent));
        }
        let exchange = async {
            let body = Bytes::from(body.unwrap_or_default());
            let answer = upstreams.send(&target, method, &headers, body).await.map_err(|_| AnchorError::Unreachable)?;
            if answer.status() != StatusCode::OK {
                return Err(AnchorError::Status(answer.status().as_u16()));
            }
            read_body(answer.into_body(), limit, self.timeout).await.map_err(|error| match error {
                ReadError::TooLarge => AnchorError::TooLarge,
                ReadError::TooSlow => AnchorError::TimedOut,
                ReadError::BrokeOff => AnchorError::Unreachable,
            })
        };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| AnchorError::TimedOut)?
    }
}

fn now() -> Time {
    Time::from_unix(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AnchorError> + Send + 'static,
) -> Result<T, AnchorError> {
    tokio::task::spawn_blocking(work).await.expect("reading and writing does not panic")
}

/// The text that an anchor of an earlier size is about.
fn message_of(log: &Reader, size: u64) -> Result<String, AnchorError> {
    let newest = log.checkpoint()?;
    Ok(anchor::message(&Checkpoint::new(newest.origin, size, log.root(size, newest.size)?)))
}

/// The anchors that there are.
fn names(log: &Reader) -> Result<BTreeSet<Name>, AnchorError> {
    Ok(log.store().list(anchor::DIRECTORY)?.iter().filter_map(|name| Name::parse(name)).collect())
}

/// Writes an anchor under the first name that is free.
fn keep(log: &Reader, data: &Path, size: u64, kind: Kind, bytes: &[u8]) -> Result<Name, AnchorError> {
    let _lock = lock(data)?;
    let names = names(log)?;
    let free = (1..).map(|number| Name { size, number, kind }).find(|name| !names.contains(name));
    let name = free.expect("there are more numbers than files");
    log.store().create(&[(&name.path(), bytes)])?;
    Ok(name)
}

/// The server and the command both write anchors: one after the other.
fn lock(data: &Path) -> Result<std::fs::File, AnchorError> {
    let file = std::fs::File::create(data.join("anchor.lock")).map_err(AnchorError::Lock)?;
    file.lock().map_err(AnchorError::Lock)?;
    Ok(file)
}

/// How often is looked for what is due, for new anchors, and for promises that were kept.
const LOOK: Duration = Duration::from_secs(5);
/// Promises are asked after less often: a block takes ten minutes.
const UPGRADE_EVERY: Duration = Duration::from_secs(300);
/// After a failure, the next try comes after so long, then after twice that …
const RETRY_MIN: Duration = Duration::from_secs(5);
/// … but no later than this.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// Follows the log until it is aborted.
pub(crate) fn spawn(notary: Arc<Notary>, data: PathBuf, authorities: Vec<Authority>) -> Option<JoinHandle<()>> {
    if authorities.is_empty() {
        return None;
    }
    for authority in &authorities {
        notary.metrics.anchored(&authority.name);
    }
    Some(tokio::spawn(async move {
        let authorities: Vec<Arc<Authority>> = authorities.into_iter().map(Arc::new).collect();
        let schedules = authorities.iter().map(|authority| follow(notary.clone(), data.clone(), authority.clone()));
        // An authority that hangs must not keep others waiting.
        let mut tasks: tokio::task::JoinSet<()> = schedules.collect();
        tasks.spawn(declare(notary.clone()));
        while tasks.join_next().await.is_some() {}
    }))
}

/// One authority's schedule.
async fn follow(notary: Arc<Notary>, data: PathBuf, authority: Arc<Authority>) {
    let log = notary.ledger().reader().clone();
    let mut anchored = None;
    let mut retry = RETRY_MIN;
    let mut upgrade = Instant::now() + UPGRADE_EVERY.min(authority.every);
    loop {
        let wait = if anchored.is_some_and(|size| !has_news(&log, size)) {
            // What there is, is anchored; a log that stands still needs no more.
            notary.metrics.anchored(&authority.name);
            LOOK
        } else {
            match authority.stamp(&log, &data).await {
                Ok(kept) => {
                    anchored = Some(kept.name.size);
                    retry = RETRY_MIN;
                    notary.metrics.anchored(&authority.name);
                    tracing::info!(anchor = authority.name, size = kept.name.size, "the checkpoint is anchored");
                    authority.every
                }
                Err(error) => {
                    log_failure(&authority, &error);
                    let wait = retry.min(authority.every);
                    retry = (retry * 2).min(RETRY_MAX);
                    wait
                }
            }
        };
        let due = Instant::now() + wait;
        while Instant::now() < due {
            tokio::time::sleep(due.saturating_duration_since(Instant::now()).min(LOOK)).await;
            if Instant::now() >= upgrade {
                match authority.upgrade(&log, &data).await {
                    Ok(kept) => {
                        for kept in kept {
                            tracing::info!(anchor = authority.name, size = kept.name.size, "an anchor is complete");
                        }
                    }
                    Err(error) => log_failure(&authority, &error),
                }
                upgrade = Instant::now() + UPGRADE_EVERY.min(authority.every);
            }
        }
    }
}

fn log_failure(authority: &Authority, error: &AnchorError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    tracing::warn!(anchor = authority.name, %error, cause, "the checkpoint is not anchored; it is tried again");
}

/// Whether the log has entries that no anchor of `size` is about, but for those that speak of anchors.
fn has_news(log: &Reader, size: u64) -> bool {
    let news = || -> Result<bool, LedgerError> {
        let newest = log.checkpoint()?.size;
        let bundles = size / tile::WIDTH..newest.div_ceil(tile::WIDTH);
        if newest <= size || bundles.end - bundles.start > 2 {
            return Ok(newest > size);
        }
        for bundle in bundles {
            let skip = size.saturating_sub(bundle * tile::WIDTH) as usize;
            let entries = log.entries(bundle, newest)?;
            let ours =
                |bytes: &Vec<u8>| Entry::parse(bytes).is_ok_and(|entry| entry.kind.as_str() == anchor::ENTRY_KIND);
            if !entries.iter().skip(skip).all(ours) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    news().unwrap_or(true)
}

/// Says in the log which anchors have come, whoever brought them.
async fn declare(notary: Arc<Notary>) {
    let log = notary.ledger().reader().clone();
    // What was there at the start was declared then, or not: nothing is lost but a later lower bound.
    let mut known = names(&log).unwrap_or_default();
    loop {
        tokio::time::sleep(LOOK / 5).await;
        let Ok(found) = names(&log) else { continue };
        for name in found.difference(&known.clone()).filter(|name| name.kind != Kind::Pending) {
            let Ok(Some(bytes)) = log.store().read(&name.path()) else { continue };
            let tags = BTreeMap::from([
                (anchor::ENTRY_FILE.to_owned(), name.path()),
                (anchor::ENTRY_SHA256.to_owned(), hex::encode(sha256(&bytes).0)),
            ]);
            let mut draft = Draft::new(entry::Kind::from(anchor::ENTRY_KIND), None);
            draft.entry.tags = tags;
            match serve::append_custody(&notary, draft).await {
                Ok(_) => drop(known.insert(*name)),
                Err(error) => tracing::warn!(%error, "an anchor could not be declared in the log; it is tried again"),
            }
        }
    }
}
