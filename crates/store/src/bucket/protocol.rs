//! The write protocol, step by step as the module's page tells it.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use object_store::client::HttpRequest;
use sha2::{Digest, Sha256};

use super::Bucket;
use super::cloud::{Facts, Mode, oldest_first};

/// How often something is tried whose outcome is unknown, and how long the first pause is; each next is twice as long.
const TRIES: u32 = 5;
const PAUSE: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_millis(250) };
/// A lock that ends so much earlier than wanted is as good: an object that is written again keeps its first one, and
/// clocks differ.
const LOCK_SLACK: SignedDuration = SignedDuration::from_hours(25);

/// An answer, read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What came of a write.
enum Written {
    Stored(Option<String>),
    Exists,
}

/// The store answered, and not as hoped.
#[derive(Debug)]
struct Refused(StatusCode);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store answered {}", self.0)
    }
}

impl std::error::Error for Refused {}

/// The store did not do what it said.
#[derive(Debug)]
struct Unkept(&'static str);

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unkept {}

pub(super) fn refused(status: StatusCode) -> io::Error {
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => io::ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND => io::ErrorKind::NotFound,
        StatusCode::INSUFFICIENT_STORAGE => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, Refused(status))
}

fn unkept(what: &'static str) -> io::Error {
    io::Error::other(Unkept(what))
}

/// Whether trying again can help. An error without an answer leaves the outcome unknown.
fn passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

impl Bucket {
    /// Sends one request once.
    pub(super) async fn send(&self, mut request: HttpRequest) -> io::Result<Answer> {
        self.cloud.authorize(&mut request).await.map_err(io::Error::other)?;
        let answer = self.http.execute(request).await.map_err(io::Error::other)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request that may be repeated until there is an answer that is one.
    async fn ask(&self, request: HttpRequest) -> io::Result<Answer> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match self.send(request.clone()).await {
                Ok(answer) if !passing(answer.status) || attempt == TRIES => return Ok(answer),
                Err(error) if attempt == TRIES => return Err(error),
                _ => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// What the store says of an object; `None` when there is none.
    pub(super) async fn facts(&self, at: &str, version: Option<&str>) -> io::Result<Option<Facts>> {
        let answer = self.ask(self.cloud.ask(at, version)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => match self.cloud.facts(&answer.headers, &answer.body) {
                Some(facts) => Ok(Some(facts)),
                None => Err(unkept("the store's answer makes no sense")),
            },
            status => Err(refused(status)),
        }
    }

    /// Until when an object written now is to be locked.
    pub(super) fn until(&self) -> io::Result<Option<Timestamp>> {
        let Some(retention) = self.retention else { return Ok(None) };
        let until = SignedDuration::try_from(retention).ok().and_then(|time| Timestamp::now().checked_add(time).ok());
        until.map(Some).ok_or_else(|| unkept("the retention ends beyond all time"))
    }

    /// See the module's page.
    pub(super) async fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (at, until) = (self.at(name), self.until()?);
        let bytes = Bytes::copy_from_slice(bytes);
        let conditional = self.conditional.load(Ordering::Relaxed);
        if !conditional && let Some(facts) = self.facts(&at, None).await? {
            return self.confirm(&at, &bytes, facts, until).await;
        }
        let written = self.put(&at, &bytes, until, true).await?;
        let version = match written {
            Written::Stored(version) => version,
            Written::Exists => None,
        };
        let version = if conditional { version } else { self.oldest(&at).await?.or(version) };
        let Some(facts) = self.facts(&at, version.as_deref()).await? else {
            return Err(unkept("the store confirmed a write that it did not do"));
        };
        self.confirm(&at, &bytes, facts, until).await
    }

    pub(super) async fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (at, until) = (self.at(name), self.until()?);
        let bytes = Bytes::copy_from_slice(bytes);
        let version = match self.put(&at, &bytes, until, false).await? {
            Written::Stored(version) => version,
            Written::Exists => None,
        };
        let Some(facts) = self.facts(&at, version.as_deref()).await? else {
            return Err(unkept("the store confirmed a write that it did not do"));
        };
        self.confirm(&at, &bytes, facts, until).await
    }

    /// Steps 1 and 2.
    async fn put(&self, at: &str, bytes: &Bytes, until: Option<Timestamp>, create: bool) -> io::Result<Written> {
        let answer = self.ask(self.cloud.put(at, bytes, until, create)).await?;
        match answer.status {
            status if status.is_success() => {
                let facts = self.cloud.facts(&answer.headers, &answer.body);
                Ok(Written::Stored(facts.and_then(|facts| facts.version)))
            }
            // 412: the condition did not hold. 409: another write of the same name was under way, or (Azure) it exists.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT if create => Ok(Written::Exists),
            status => Err(refused(status)),
        }
    }

    /// Step 4: the object is there, with these bytes, locked for as long as it should be. Of a lock that ends too
    /// early, which is what an object written long ago has, the end is moved.
    async fn confirm(&self, at: &str, bytes: &Bytes, facts: Facts, until: Option<Timestamp>) -> io::Result<()> {
        let differs = || io::Error::new(io::ErrorKind::AlreadyExists, Unkept("the store has other bytes of this name"));
        if facts.length != bytes.len() as u64 {
            return Err(differs());
        }
        let same = match facts.sha256 {
            Some(sha256) => sha256[..] == Sha256::digest(bytes)[..],
            None => self.bytes(at, facts.version.as_deref()).await? == *bytes,
        };
        if !same {
            return Err(differs());
        }
        let Some(until) = until else { return Ok(()) };
        let version = facts.version.as_deref();
        if !locked(&facts, until) {
            let answer = self.ask(self.cloud.retain(at, version, Mode::Compliance, until)).await?;
            if !answer.status.is_success() {
                return Err(refused(answer.status));
            }
            let facts = self.facts(at, version).await?.unwrap_or_default();
            if !locked(&facts, until) {
                return Err(unkept("the store does not lock the object"));
            }
        }
        Ok(())
    }

    /// The bytes of an object.
    async fn bytes(&self, at: &str, version: Option<&str>) -> io::Result<Bytes> {
        let answer = self.ask(self.cloud.read(at, version)).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(refused(answer.status)) }
    }

    /// See the module's page.
    pub(super) async fn rewrite(&self, name: &str, bytes: Option<&[u8]>) -> io::Result<()> {
        let at = self.at(name);
        let Some(newest) = self.facts(&at, None).await? else { return Ok(()) };
        let mut versions = self.versions(&at).await?;
        versions.extend(newest.version.clone().filter(|newest| !versions.contains(newest)));
        let now = Timestamp::now();
        let keeps = |facts: &Facts| facts.hold || facts.locked.is_some_and(|(_, until)| until > now);
        let mut kept = keeps(&newest);
        for version in &versions {
            kept |= self.facts(&at, Some(version)).await?.is_some_and(|facts| keeps(&facts));
        }
        if kept {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, Unkept("a lock or a hold keeps the object")));
        }
        match bytes {
            // It was written before, and older ones could not be deleted.
            Some(bytes) if self.read(name).await?.as_deref() == Some(bytes) => {
                versions.retain(|version| Some(version) != newest.version.as_ref());
            }
            Some(bytes) => self.replace(name, bytes).await?,
            None if versions.is_empty() => return self.delete(&at, None).await,
            None => {}
        }
        for version in &versions {
            self.delete(&at, Some(version)).await?;
        }
        Ok(())
    }

    /// The versions of an object, oldest first; none where there are no versions, or where a store tells the newest only.
    async fn versions(&self, at: &str) -> io::Result<Vec<String>> {
        let Some(request) = self.cloud.versions(at) else { return Ok(Vec::new()) };
        let answer = self.ask(request).await?;
        if matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            // It knows no versions, so the newest is the only one.
            return Ok(Vec::new());
        }
        if !answer.status.is_success() {
            return Err(refused(answer.status));
        }
        let versions = oldest_first(at, &answer.body).ok_or_else(|| unkept("the store's answer makes no sense"))?;
        Ok(versions.into_iter().filter(|version| version != "null").collect())
    }

    /// The first version of an object, where conditions are ignored and there may be several.
    async fn oldest(&self, at: &str) -> io::Result<Option<String>> {
        Ok(self.versions(at).await?.into_iter().next())
    }

    /// Deletes an object's name, or one version for good; not an error when there is none.
    pub(super) async fn delete(&self, at: &str, version: Option<&str>) -> io::Result<()> {
        let answer = self.ask(self.cloud.delete(at, version)).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(refused(status)),
        }
    }

    pub(super) async fn hold(&self, at: &str, on: bool) -> io::Result<()> {
        let facts = self.facts(at, None).await?.ok_or(io::ErrorKind::NotFound)?;
        let version = facts.version.as_deref();
        let answer = self.ask(self.cloud.hold(at, version, on)).await?;
        if !answer.status.is_success() {
            return Err(refused(answer.status));
        }
        match self.facts(at, version).await? {
            Some(facts) if facts.hold == on => Ok(()),
            _ => Err(unkept("the store did not change the hold")),
        }
    }
}

/// Whether an object is locked as strictly and as long as it should be.
fn locked(facts: &Facts, until: Timestamp) -> bool {
    facts.locked.is_some_and(|(mode, found)| {
        mode == Mode::Compliance && found.checked_add(LOCK_SLACK).is_ok_and(|found| found >= until)
    })
}
