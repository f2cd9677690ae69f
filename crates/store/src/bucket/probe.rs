//! What a bucket really does, by trying. An answer is never taken for the deed: what was refused must still be there,
//! what was written is read back.

use std::fmt;
use std::io;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::Bucket;
use super::cloud::Mode;
use super::protocol::refused;

/// A capability that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// An object can be written and read back.
    Reachable,
    /// This machine's clock and the store's agree: locks end by the store's.
    Clock,
    /// Writing a second time under the same name is refused, and changes nothing.
    Conditional,
    /// Of several that write the same name at the same time, one succeeds.
    Race,
    /// The bucket says that it can lock.
    LockConfigured,
    /// An object written with a lock is locked, by the store's own word afterwards.
    LockKept,
    /// A locked object is not deleted, and one without a lock is, so that it is the lock that refuses.
    DeleteRefused,
    /// A lock is neither shortened nor weakened.
    ShortenRefused,
    /// A legal hold can be placed and lifted, and keeps an object while it is there.
    Hold,
}

impl Check {
    /// A fixed name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Clock => "clock",
            Self::Conditional => "conditional_create",
            Self::Race => "concurrent_create",
            Self::LockConfigured => "lock_configured",
            Self::LockKept => "lock_kept",
            Self::DeleteRefused => "delete_refused",
            Self::ShortenRefused => "shorten_refused",
            Self::Hold => "legal_hold",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a try showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The store does it.
    Held,
    /// It does not.
    Lacking,
    /// It could not be tried.
    Unknown,
}

/// The result of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub check: Check,
    /// What it showed.
    pub verdict: Verdict,
    /// What happened, in words.
    pub said: String,
}

/// How long what the probe locks stays locked.
const LOCK: SignedDuration = SignedDuration::from_secs(120);
/// Requests are refused from some minutes on.
const CLOCKS_APART_SECS: i64 = 60;
/// So many write the same name at once, and so many names.
const RACERS: usize = 8;
const RACES: usize = 4;
/// So many earlier probes are cleaned up behind.
const SWEPT: usize = 8;

/// Runs all tries. Those about locks only if objects are to be locked.
pub(super) async fn probe(bucket: &Bucket) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        return vec![finding(Check::Reachable, Verdict::Unknown, "the operating system gave no random bytes")];
    }
    let base = bucket.at(&format!("probe/{}", random.map(|byte| format!("{byte:02x}")).concat()));
    sweep(bucket).await;
    match reachable(bucket, &format!("{base}/plain")).await {
        Ok(found) => findings.extend(found),
        Err(error) => {
            findings.push(finding(Check::Reachable, Verdict::Lacking, error.to_string()));
            return findings;
        }
    }
    let unknown = |check| move |error: io::Error| finding(check, Verdict::Unknown, error.to_string());
    findings.push(conditional(bucket, &base).await.unwrap_or_else(unknown(Check::Conditional)));
    findings.push(race(bucket, &base).await.unwrap_or_else(unknown(Check::Race)));
    if bucket.retention.is_some() {
        findings.push(lock_configured(bucket).await.unwrap_or_else(unknown(Check::LockConfigured)));
        findings.extend(lock(bucket, &base).await.unwrap_or_else(|error| vec![unknown(Check::LockKept)(error)]));
        findings.push(hold(bucket, &format!("{base}/held")).await.unwrap_or_else(unknown(Check::Hold)));
    }
    findings
}

/// Removes what earlier probes left, as far as its locks have ended and these credentials may.
async fn sweep(bucket: &Bucket) {
    let Ok(probes) = bucket.list("probe").await else { return };
    for probe in probes.iter().filter_map(|name| name.strip_suffix('/')).take(SWEPT) {
        for name in bucket.list(&format!("probe/{probe}")).await.unwrap_or_default() {
            let _ = delete(bucket, &bucket.at(&format!("probe/{probe}/{name}"))).await;
        }
    }
}

fn finding(check: Check, verdict: Verdict, said: impl Into<String>) -> Finding {
    Finding { check, verdict, said: said.into() }
}

async fn put(bucket: &Bucket, at: &str, text: &str, until: Option<Timestamp>, create: bool) -> io::Result<bool> {
    let answer = bucket.send(bucket.cloud.put(at, &Bytes::from(text.to_owned()), until, create)).await?;
    Ok(answer.status.is_success())
}

async fn read(bucket: &Bucket, at: &str) -> io::Result<Option<Bytes>> {
    let answer = bucket.send(bucket.cloud.read(at, None)).await?;
    match answer.status.as_u16() {
        404 => Ok(None),
        200..300 => Ok(Some(answer.body)),
        _ => Err(refused(answer.status)),
    }
}

/// Deletes an object, its newest version for good; true when it is really gone.
async fn delete(bucket: &Bucket, at: &str) -> io::Result<(bool, u16)> {
    let version = bucket.facts(at, None).await?.and_then(|facts| facts.version);
    let answer = bucket.send(bucket.cloud.delete(at, version.as_deref())).await?;
    // A store that lets itself be asked without versions may have hidden it only.
    Ok((bucket.facts(at, version.as_deref()).await?.is_none(), answer.status.as_u16()))
}

async fn reachable(bucket: &Bucket, at: &str) -> io::Result<Vec<Finding>> {
    let answer = bucket.send(bucket.cloud.put(at, &Bytes::from_static(b"plain"), None, false)).await?;
    if !answer.status.is_success() {
        return Err(refused(answer.status));
    }
    let found = read(bucket, at).await?.is_some_and(|bytes| bytes == "plain");
    let _ = delete(bucket, at).await;
    let (verdict, said) = if found {
        (Verdict::Held, "an object was written and read back")
    } else {
        (Verdict::Lacking, "what was written was not read back")
    };
    Ok(vec![finding(Check::Reachable, verdict, said), clock(answer.headers.get("date"))])
}

fn clock(date: Option<&::http::HeaderValue>) -> Finding {
    let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok()).map(|time| time.timestamp());
    match theirs {
        Some(theirs) => {
            let apart = Timestamp::now().duration_since(theirs).as_secs().abs();
            let verdict = if apart <= CLOCKS_APART_SECS { Verdict::Held } else { Verdict::Lacking };
            finding(Check::Clock, verdict, format!("the store's clock and this machine's are {apart} s apart"))
        }
        None => finding(Check::Clock, Verdict::Unknown, "the store does not say what time it is"),
    }
}

async fn conditional(bucket: &Bucket, base: &str) -> io::Result<Finding> {
    let at = format!("{base}/once");
    let until = bucket.retention.and_then(|_| Timestamp::now().checked_add(LOCK).ok());
    if !put(bucket, &at, "first", until, true).await? {
        return Ok(finding(Check::Conditional, Verdict::Unknown, "a conditional write of a new object was refused"));
    }
    let again = bucket.send(bucket.cloud.put(&at, &Bytes::from_static(b"second"), until, true)).await?;
    let kept = read(bucket, &at).await?.is_some_and(|bytes| bytes == "first");
    let status = again.status.as_u16();
    Ok(if again.status.is_success() || !kept {
        finding(Check::Conditional, Verdict::Lacking, format!("a second write of the same name was answered {status}"))
    } else {
        finding(Check::Conditional, Verdict::Held, format!("a second write of the same name was refused ({status})"))
    })
}

async fn race(bucket: &Bucket, base: &str) -> io::Result<Finding> {
    let mut several = 0;
    for number in 0..RACES {
        let at = format!("{base}/race-{number}");
        let writes = (0..RACERS).map(|racer| {
            let at = &at;
            async move { put(bucket, at, &format!("racer {racer}"), None, true).await }
        });
        // A write without an answer may have won, so only those with one count.
        let won =
            futures_util::future::join_all(writes).await.into_iter().filter(|won| matches!(won, Ok(true))).count();
        several += usize::from(won > 1);
        let _ = delete(bucket, &at).await;
    }
    Ok(if several > 0 {
        finding(
            Check::Race,
            Verdict::Lacking,
            format!("{RACERS} wrote at once, and in {several} of {RACES} tries several succeeded"),
        )
    } else {
        finding(Check::Race, Verdict::Held, format!("{RACERS} wrote at once, and never more than one succeeded"))
    })
}

async fn lock_configured(bucket: &Bucket) -> io::Result<Finding> {
    let answer = bucket.send(bucket.cloud.ask_bucket()).await?;
    if matches!(answer.status.as_u16(), 401 | 403) {
        return Err(refused(answer.status));
    }
    Ok(if bucket.cloud.bucket_locks(answer.status, &answer.headers, &answer.body) {
        finding(Check::LockConfigured, Verdict::Held, "the bucket says that it locks objects")
    } else {
        let status = answer.status.as_u16();
        finding(
            Check::LockConfigured,
            Verdict::Lacking,
            format!("the bucket does not say that it locks objects ({status})"),
        )
    })
}

async fn lock(bucket: &Bucket, base: &str) -> io::Result<Vec<Finding>> {
    let at = format!("{base}/locked");
    let until = Timestamp::now().checked_add(LOCK).map_err(io::Error::other)?;
    let answer = bucket.send(bucket.cloud.put(&at, &Bytes::from_static(b"locked"), Some(until), false)).await?;
    if !answer.status.is_success() {
        let status = answer.status.as_u16();
        return Ok(vec![finding(Check::LockKept, Verdict::Lacking, format!("a locked write was answered {status}"))]);
    }
    let Some(facts) = bucket.facts(&at, None).await? else {
        return Ok(vec![finding(Check::LockKept, Verdict::Lacking, "a locked object was not there afterwards")]);
    };
    let kept =
        facts.locked.is_some_and(|(mode, found)| mode == Mode::Compliance && found.as_second() >= until.as_second());
    let mut findings = vec![if kept {
        finding(Check::LockKept, Verdict::Held, "the store says of a locked object until when it is locked")
    } else {
        finding(Check::LockKept, Verdict::Lacking, "the store says nothing of the lock that an object was written with")
    }];
    let version = facts.version.clone();

    // First the changes of the lock, because a store that accepts one may delete the object then.
    let mut accepted = Vec::new();
    for (words, mode, to) in [
        ("shortened", Mode::Compliance, until.checked_sub(SignedDuration::from_secs(60)).map_err(io::Error::other)?),
        ("weakened to governance", Mode::Governance, until),
    ] {
        let answer = bucket.send(bucket.cloud.retain(&at, version.as_deref(), mode, to)).await?;
        let now = bucket.facts(&at, version.as_deref()).await?.and_then(|facts| facts.locked);
        if answer.status.is_success() || now != facts.locked {
            accepted.push(words);
        }
    }
    findings.push(if accepted.is_empty() && kept {
        finding(Check::ShortenRefused, Verdict::Held, "a lock was neither shortened nor weakened")
    } else if kept {
        finding(Check::ShortenRefused, Verdict::Lacking, format!("a lock was {}", accepted.join(" and ")))
    } else {
        finding(Check::ShortenRefused, Verdict::Lacking, "there is no lock to shorten")
    });

    let (gone, status) = delete(bucket, &at).await?;
    let loose = format!("{base}/loose");
    put(bucket, &loose, "loose", None, false).await?;
    let (loose_gone, loose_status) = delete(bucket, &loose).await?;
    findings.push(match (gone, loose_gone) {
        (true, _) => finding(Check::DeleteRefused, Verdict::Lacking, format!("a locked object was deleted ({status})")),
        (false, true) => {
            finding(Check::DeleteRefused, Verdict::Held, format!("deleting a locked object was refused ({status})"))
        }
        // These credentials may not delete at all, as it should be; or the bucket locks by itself. Then the store's
        // word for the lock is what there is.
        (false, false) if kept => finding(
            Check::DeleteRefused,
            Verdict::Held,
            format!(
                "deleting a locked object was refused ({status}), and so was deleting one without a lock \
                 ({loose_status}): these credentials may not delete, or the bucket locks by itself"
            ),
        ),
        (false, false) => finding(
            Check::DeleteRefused,
            Verdict::Unknown,
            format!("deleting was refused ({status}), with a lock and without: this shows nothing of locks"),
        ),
    });
    Ok(findings)
}

async fn hold(bucket: &Bucket, at: &str) -> io::Result<Finding> {
    put(bucket, at, "held", None, false).await?;
    if let Err(error) = bucket.hold(at, true).await {
        return Ok(finding(Check::Hold, Verdict::Lacking, format!("a legal hold was not placed: {error}")));
    }
    let (gone, status) = delete(bucket, at).await?;
    if gone {
        return Ok(finding(Check::Hold, Verdict::Lacking, format!("an object on legal hold was deleted ({status})")));
    }
    if let Err(error) = bucket.hold(at, false).await {
        return Ok(finding(Check::Hold, Verdict::Lacking, format!("a legal hold was not lifted: {error}")));
    }
    let _ = delete(bucket, at).await;
    Ok(finding(Check::Hold, Verdict::Held, format!("deleting an object on legal hold was refused ({status})")))
}
