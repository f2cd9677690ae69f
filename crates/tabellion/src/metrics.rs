//! What operators see in figures. Labels are names of upstreams, outcomes and entities, never anything that a caller
//! or a provider chose.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Exchange {
    upstream: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Entity {
    entity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Detector {
    detector: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Custody {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// All metrics of a process.
pub(crate) struct Metrics {
    registry: Registry,
    exchanges: Family<Exchange, Counter>,
    findings: Family<Entity, Counter>,
    redacted_exchanges: Counter,
    external_failures: Family<Detector, Counter>,
    external: Histogram,
    redact: Histogram,
    append: Histogram,
    overhead: Histogram,
    log_size: Gauge,
    checkpoint_age: Gauge,
    custody: Family<Custody, Counter>,
    gaps: Family<Reason, Counter>,
    key_failures: Family<Reason, Counter>,
    cosignatures: Gauge,
    anchor_age: Gauge,
    anchored: Mutex<BTreeMap<String, Instant>>,
    mirror_size: Gauge,
    mirror_failures: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From 20 µs to 10 s, each bucket twice the one before.
        let seconds = || Histogram::new(exponential_buckets(20e-6, 2.0, 20));
        let mut metrics = Self {
            registry: Registry::with_prefix("tabellion"),
            exchanges: Family::default(),
            findings: Family::default(),
            redacted_exchanges: Counter::default(),
            external_failures: Family::default(),
            external: seconds(),
            redact: seconds(),
            append: seconds(),
            overhead: seconds(),
            log_size: Gauge::default(),
            checkpoint_age: Gauge::default(),
            custody: Family::default(),
            gaps: Family::default(),
            key_failures: Family::default(),
            cosignatures: Gauge::default(),
            anchor_age: Gauge::default(),
            anchored: Mutex::default(),
            mirror_size: Gauge::default(),
            mirror_failures: Counter::default(),
        };
        let r = &mut metrics.registry;
        r.register("exchanges", "Exchanges that ended, by upstream and outcome", metrics.exchanges.clone());
        r.register("findings", "What was found and redacted, by entity", metrics.findings.clone());
        r.register(
            "redacted_exchanges",
            "Exchanges in which something was redacted",
            metrics.redacted_exchanges.clone(),
        );
        r.register(
            "external_failures",
            "Asks that an external detector, or the model, did not answer as it should, by detector",
            metrics.external_failures.clone(),
        );
        r.register(
            "external_seconds",
            "Time until the external detectors and the model had answered",
            metrics.external.clone(),
        );
        r.register("redact_seconds", "Time to redact and commit to a body", metrics.redact.clone());
        r.register("append_seconds", "Time until an entry was durable", metrics.append.clone());
        r.register("overhead_seconds", "Time that Tabellion added to an exchange", metrics.overhead.clone());
        r.register("log_size", "Published entries", metrics.log_size.clone());
        r.register("checkpoint_age_seconds", "Time since the newest checkpoint", metrics.checkpoint_age.clone());
        r.register("custody", "Custody entries, by kind", metrics.custody.clone());
        r.register("gaps", "Exchanges and answers that passed unrecorded, by reason", metrics.gaps.clone());
        r.register("key_failures", "Requests without a key that would do, by reason", metrics.key_failures.clone());
        r.register(
            "witness_cosignatures",
            "Witnesses that have cosigned the newest checkpoint",
            metrics.cosignatures.clone(),
        );
        r.register(
            "anchor_age_seconds",
            "Time since the configured anchor that is longest out of date was up to date",
            metrics.anchor_age.clone(),
        );
        r.register("mirror_size", "Entries in the second copy of the log", metrics.mirror_size.clone());
        r.register("mirror_failures", "Rounds in which the second copy was not made", metrics.mirror_failures.clone());
        metrics
    }

    pub(crate) fn cosignatures(&self, count: usize) {
        self.cosignatures.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn mirrored(&self, size: u64) {
        self.mirror_size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    pub(crate) fn mirror_failed(&self) {
        self.mirror_failures.inc();
    }

    pub(crate) fn exchange_ended(&self, upstream: &str, outcome: &'static str, redacted: bool) {
        self.exchanges.get_or_create(&Exchange { upstream: upstream.to_owned(), outcome }).inc();
        if redacted {
            self.redacted_exchanges.inc();
        }
    }

    pub(crate) fn findings(&self, entity: &str, count: u64) {
        self.findings.get_or_create(&Entity { entity: entity.to_owned() }).inc_by(count);
    }

    /// A detector that never failed is there with 0.
    pub(crate) fn external(&self, detector: &str) {
        drop(self.external_failures.get_or_create(&Detector { detector: detector.to_owned() }));
    }

    pub(crate) fn external_failed(&self, detector: &str) {
        self.external_failures.get_or_create(&Detector { detector: detector.to_owned() }).inc();
    }

    pub(crate) fn external_seconds(&self, time: Duration) {
        self.external.observe(time.as_secs_f64());
    }

    pub(crate) fn redact_seconds(&self, time: Duration) {
        self.redact.observe(time.as_secs_f64());
    }

    pub(crate) fn append_seconds(&self, time: Duration) {
        self.append.observe(time.as_secs_f64());
    }

    pub(crate) fn overhead_seconds(&self, time: Duration) {
        self.overhead.observe(time.as_secs_f64());
    }

    pub(crate) fn custody(&self, kind: &str) {
        self.custody.get_or_create(&Custody { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn gap(&self, reason: &'static str) {
        self.gaps.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn key_refused(&self, reason: &'static str) {
        self.key_failures.get_or_create(&Reason { reason }).inc();
    }

    /// An authority has the newest checkpoint. Also said once at the start, so that one that never answers grows old.
    pub(crate) fn anchored(&self, anchor: &str) {
        let mut anchored = self.anchored.lock().unwrap_or_else(PoisonError::into_inner);
        anchored.insert(anchor.to_owned(), Instant::now());
    }

    fn anchor_age(&self) -> Duration {
        let anchored = self.anchored.lock().unwrap_or_else(PoisonError::into_inner);
        anchored.values().min().map(Instant::elapsed).unwrap_or_default()
    }

    /// The text that Prometheus reads.
    pub(crate) fn expose(&self, log_size: u64, checkpoint_age: Duration) -> String {
        self.log_size.set(i64::try_from(log_size).unwrap_or(i64::MAX));
        self.checkpoint_age.set(i64::try_from(checkpoint_age.as_secs()).unwrap_or(i64::MAX));
        self.anchor_age.set(i64::try_from(self.anchor_age().as_secs()).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
