//! Who is let in: the keys that the log has issued, held against what a request brings.
//!
//! What is known of keys is a fold over the log ([`State`]): made at the start from the acts of custody that the catalog
//! names, and from then on from each that is appended. The two are one step, under the lock: a key that is revoked
//! is not used by any entry after the one that says so, and whatever is written has been judged as a verifier will.
//!
//! A request without a key costs a look at its headers, and no lock.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use lru::LruCache;
use subtle::ConstantTimeEq as _;
use tabellion_evidence::custody::{Fault, Right, Role, Said, State, key_id};
use tabellion_evidence::entry::Entry;
use tabellion_evidence::tile::WIDTH;
use tabellion_evidence::tree::Hash;
use tabellion_ledger::{Catalog, LedgerError, Reader};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::keys;
use crate::metrics::Metrics;

/// So many failures …
const FAILURES_MAX: u32 = 10;
/// … within this time lock out for as long again.
const FAILURES_WITHIN: Duration = Duration::from_secs(60);
/// Of so many addresses and keys failures are remembered.
const FAILING_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");

/// The custody of a log that is written.
pub(crate) struct Access {
    /// Read while an entry is appended that names a key; written while an act of custody is.
    pub(crate) state: RwLock<State>,
    failures: Failures,
    /// Failures are counted by address. Behind a proxy everybody has the same.
    by_address: bool,
    metrics: Arc<Metrics>,
}

/// Whoever a key belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key's ID.
    pub(crate) key: String,
    pub(crate) role: Role,
    upstreams: BTreeSet<String>,
    /// Redacted, as it stands in the log.
    pub(crate) holder: String,
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no key, and there has to be one.
    Missing,
    /// It is no key of this log, or not in force.
    Key,
    /// The role may not.
    Role,
    /// It is not for this upstream.
    Upstream,
    /// It stands in the URL.
    Url,
    /// Too many failures.
    LockedOut,
}

impl Refused {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Key | Self::Url => StatusCode::UNAUTHORIZED,
            Self::Role | Self::Upstream => StatusCode::FORBIDDEN,
            Self::LockedOut => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// A fixed word, and a sentence for the client. A key that expired or was revoked is told from none by whoever reads
    /// the log, not by whoever tries.
    pub(crate) fn says(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => (
                "key_missing",
                "This needs a key that Tabellion issued, in the header x-tabellion-key or as the API key.",
            ),
            Self::Key => ("key_refused", "This is no key of this log, or it is not in force."),
            Self::Role => ("key_role", "This key may not do this: it has another role."),
            Self::Upstream => ("key_upstream", "This key is not for this upstream."),
            Self::Url => ("key_in_url", "A key goes into a header. In a URL others keep it: have this one revoked."),
            Self::LockedOut => ("key_locked_out", "There were too many failures; try again in a minute."),
        }
    }
}

impl Access {
    /// What the log says, of which a catalog says where.
    pub(crate) fn load(
        reader: &Reader,
        catalog: &Catalog,
        origin: &str,
        by_address: bool,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LedgerError> {
        let state = RwLock::new(fold(reader, catalog, origin)?);
        Ok(Self { state, failures: Failures::new(), by_address, metrics })
    }

    /// Who brings a key, if somebody does, or has to.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        right: Right,
        required: bool,
    ) -> Result<Option<Caller>, Refused> {
        let admitted = match keys::of(headers) {
            None if required => Err(Refused::Missing),
            None => return Ok(None),
            Some(key) => match self.find(key, peer).await {
                Ok(caller) if caller.role.may(right) => return Ok(Some(caller)),
                Ok(_) => Err(Refused::Role),
                Err(refused) => Err(refused),
            },
        };
        admitted.inspect_err(|refused: &Refused| self.metrics.key_refused(refused.says().0))
    }

    /// Who brings a key to an upstream.
    pub(crate) async fn admit_to(
        &self,
        upstream: &str,
        url: &str,
        headers: &HeaderMap,
        peer: IpAddr,
        required: bool,
    ) -> Result<Option<Caller>, Refused> {
        if keys::is_in_url(url) {
            self.metrics.key_refused(Refused::Url.says().0);
            return Err(Refused::Url);
        }
        let caller = self.admit(headers, peer, Right::Record, required).await?;
        if caller.as_ref().is_some_and(|caller| !caller.upstreams.is_empty() && !caller.upstreams.contains(upstream)) {
            self.metrics.key_refused(Refused::Upstream.says().0);
            return Err(Refused::Upstream);
        }
        Ok(caller)
    }

    /// Whose key it is, whatever the role.
    pub(crate) async fn find(&self, key: &[u8], peer: IpAddr) -> Result<Caller, Refused> {
        let hash = keys::hash(key);
        let id = hash.as_ref().map(key_id);
        let failing = [self.by_address.then_some(Failing::Address(peer)), hash.map(Failing::Key)];
        if self.failures.locked_out(&failing) {
            return Err(Refused::LockedOut);
        }
        let now = Some(jiff::Timestamp::now().as_microsecond());
        let state = self.state.read().await;
        let found = id.and_then(|id| {
            let known = state.keys().get(&id)?;
            let same = bool::from(known.sha256?.0.ct_eq(&hash?.0));
            (same && known.refused(now).is_none()).then(|| Caller {
                key: id.clone(),
                role: known.role,
                upstreams: known.upstreams.clone(),
                holder: known.holder.clone(),
            })
        });
        drop(state);
        found.ok_or_else(|| {
            self.failures.note(&failing);
            Refused::Key
        })
    }

    /// Judges an entry that names a key, and holds everything back that could change the verdict until it is appended.
    pub(crate) async fn judge(&self, entry: &Entry) -> Result<RwLockReadGuard<'_, State>, Refused> {
        let state = self.state.read().await;
        let faults = Said::of(entry).map(|said| state.judge(&said)).unwrap_or_default();
        match faults.first() {
            None => Ok(state),
            Some(Fault::Role) => Err(Refused::Role),
            Some(Fault::Upstream) => Err(Refused::Upstream),
            Some(_) => Err(Refused::Key),
        }
    }
}

/// What a log says of custody. Only the bundles that have an act are read.
pub(crate) fn fold(reader: &Reader, catalog: &Catalog, origin: &str) -> Result<State, LedgerError> {
    let mut state = State::new(origin);
    let indices = catalog.custody()?.into_iter().filter(|(_, kind)| Right::of(kind.as_str()).is_some());
    let indices: Vec<u64> = indices.map(|(index, _)| index).collect();
    read(reader, catalog, &indices, |index, bytes| {
        // What cannot be read, `verify` reports.
        if let Ok(entry) = Entry::parse(bytes)
            && let Some(said) = Said::of(&entry)
        {
            state.take(index, &said, &mut |_| {});
        }
    })?;
    Ok(state)
}

/// Reads entries, in ascending order, each bundle once.
pub(crate) fn read(
    reader: &Reader,
    catalog: &Catalog,
    indices: &[u64],
    mut take: impl FnMut(u64, &[u8]),
) -> Result<(), LedgerError> {
    let size = catalog.position()?.map_or(0, |(size, _)| size);
    for bundle in indices.chunk_by(|a, b| a / WIDTH == b / WIDTH) {
        let entries = reader.entries(bundle[0] / WIDTH, size)?;
        for &index in bundle {
            if let Some(entry) = entries.get((index % WIDTH) as usize) {
                take(index, entry);
            }
        }
    }
    Ok(())
}

/// Where failures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Failing {
    Address(IpAddr),
    Key(Hash),
}

impl Failing {
    /// A whole network of IPv6 is one address: nobody who has one has only one.
    fn counted(self) -> Self {
        match self {
            Self::Address(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(v4) => Self::Address(IpAddr::V4(v4)),
                None => Self::Address(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
            },
            other => other,
        }
    }

    /// Everybody on this machine has this address, and nobody is to lock others out.
    fn is_shared(self) -> bool {
        matches!(self.counted(), Self::Address(address) if address.is_loopback())
            || self == Self::Address(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST))
    }
}

/// Failures that are not forgotten yet.
struct Failures(Mutex<LruCache<Failing, Count>>);

#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    since: Instant,
}

impl Failures {
    fn new() -> Self {
        Self(Mutex::new(LruCache::new(FAILING_MAX)))
    }

    fn locked_out(&self, failing: &[Option<Failing>]) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failing.iter().flatten().any(|failing| {
            let count = failures.peek(&failing.counted());
            count.is_some_and(|count| count.failures >= FAILURES_MAX && count.since.elapsed() < FAILURES_WITHIN)
        })
    }

    fn note(&self, failing: &[Option<Failing>]) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for failing in failing.iter().flatten().filter(|failing| !failing.is_shared()) {
            let count = failures.get_or_insert_mut(failing.counted(), || Count { failures: 0, since: Instant::now() });
            if count.since.elapsed() >= FAILURES_WITHIN {
                *count = Count { failures: 0, since: Instant::now() };
            }
            count.failures += 1;
            if count.failures == FAILURES_MAX {
                count.since = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_lock_an_address_out_and_not_its_neighbours() {
        let address = |text: &str| Failing::Address(text.parse().unwrap());
        let failures = Failures::new();
        for failing in [address("192.0.2.1"), address("2001:db8::1"), Failing::Key(Hash([1; 32]))] {
            for count in 0..FAILURES_MAX {
                assert!(!failures.locked_out(&[Some(failing)]), "after {count}");
                failures.note(&[Some(failing)]);
            }
            assert!(failures.locked_out(&[None, Some(failing)]));
        }
        assert!(failures.locked_out(&[Some(address("2001:db8::2"))]), "the same network");
        assert!(failures.locked_out(&[Some(address("::ffff:192.0.2.1"))]), "the same address");
        for other in [address("192.0.2.2"), address("2001:db8:0:1::1"), Failing::Key(Hash([2; 32]))] {
            assert!(!failures.locked_out(&[Some(other)]));
        }
        for shared in [address("127.0.0.1"), address("::1")] {
            (0..=FAILURES_MAX).for_each(|_| failures.note(&[Some(shared)]));
            assert!(!failures.locked_out(&[Some(shared)]));
        }
    }

    #[test]
    fn what_is_remembered_of_failures_is_bounded() {
        let failures = Failures::new();
        for n in 0..FAILING_MAX.get() as u32 + 10 {
            failures.note(&[Some(Failing::Address(IpAddr::V4(n.wrapping_add(1 << 28).into())))]);
        }
        assert_eq!(failures.0.lock().unwrap().len(), FAILING_MAX.get());
    }
}
