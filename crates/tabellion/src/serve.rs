//! The server: opens the log, recovers, listens, stops in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tabellion_evidence::custody::{self as rules, Role};
use tabellion_evidence::entry::{Entry, Former, Kind, Outcome};
use tabellion_evidence::tile::WIDTH;
use tabellion_gateway::{Limits, Tls, Upstreams, listen};
use tabellion_ledger::{Ledger, LedgerError, Options, Witnessing};
use tabellion_store::{DiskStore, Protection, RealDisk, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::Access;
use crate::anchor;
use crate::api;
use crate::config::{self, AtStart, Config, Fail, Protect, WitnessMode};
use crate::custody;
use crate::depth::Routes;
use crate::external::Externals;
use crate::failure::Failure;
use crate::indexer;
use crate::metrics::Metrics;
use crate::mirror;
use crate::model::Model;
use crate::notary::{self, Draft, Notary};
use crate::originals::Originals;
use crate::pipeline::{Bounds, Guard, Pipeline};
use crate::presidio;
use crate::retention::Keeper;
use crate::secrets::{self, Secrets};
use crate::witnesses::Clients;

/// Where the addresses of a running server stand, for whoever wants to reach it.
const ADDRESSES: &str = "server.json";

/// A running server.
pub(crate) struct Server {
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) urls: Urls,
    pub(crate) log: LogFacts,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
    /// What keeps the record complete beside the exchanges.
    keepers: Vec<tokio::task::JoinHandle<()>>,
    notary: Arc<Notary>,
    access: Arc<Access>,
    data: PathBuf,
}

/// Where it can be reached.
pub(crate) struct Urls {
    pub(crate) gateway: String,
    pub(crate) console: String,
    /// By the owner's commands, where the console has TLS.
    owner: Option<String>,
}

/// What is said at the start.
pub(crate) struct LogFacts {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) interrupted: usize,
}

impl Server {
    /// Opens the log and starts listening.
    pub(crate) async fn start(config: &Config) -> Result<Self, Failure> {
        let (gateway_keys, gateway_tls) = config.gateway_door()?;
        let (console_keys, console_tls) = config.console_door()?;
        let anchors = config.anchor.iter().map(anchor::Settings::authority).collect::<Result<_, _>>()?;
        let metrics = Arc::new(Metrics::new());
        let mirror = mirror::continuous(config).await?;
        let model = Model::load(&config.model)?;
        let (notary, secrets) = open(config, metrics.clone(), model.clone())?;
        let interrupted = recover(config, &notary).await?;
        let desk = desk(config, &notary)?;
        desk.declare_policy(config).await?;
        let writes = |key: &rules::Key| key.role == Role::Writer && key.revoked.is_none();
        if gateway_keys && !desk.access.state.read().await.keys().values().any(writes) {
            tracing::warn!("the gateway asks for keys, and no writer has one: `tabellion key issue --role writer`");
        }

        let upstreams = config.upstream.iter().map(config::Upstream::target).collect::<Result<_, _>>()?;
        let default = config.upstream.iter().find(|upstream| upstream.default).map(|upstream| &*upstream.name);
        let bounds = Bounds {
            request_bytes_max: config.gateway.request_bytes_max,
            response_bytes_max: config.gateway.response_bytes_max,
            request_timeout: Duration::from_secs(config.gateway.request_timeout_s),
            answer_timeout: Duration::from_secs(config.gateway.answer_timeout_s),
        };
        let fail_open = config.upstream.iter().filter(|upstream| upstream.fail == Fail::Open);
        let fail_open = fail_open.map(|upstream| upstream.name.clone()).collect();
        let upstreams = Upstreams::new(upstreams, default);
        let guard = Guard { access: desk.access.clone(), required: gateway_keys };
        let seals = config.upstream.iter().map(|upstream| (upstream.name.clone(), upstream.seal)).collect();
        let pipeline = Arc::new(Pipeline::new(notary.clone(), upstreams, bounds, fail_open, seals, guard));

        let gateway = bind(config.gateway.listen, "gateway.listen").await?;
        let console = bind(config.console.listen, "console.listen").await?;
        let addresses = (address(&gateway)?, address(&console)?);
        // The owner's commands cannot tell what a certificate is worth, and need no other machine.
        let owner = match console_tls {
            Some(_) => Some(bind(SocketAddr::from(([127, 0, 0, 1], 0)), "console.listen").await?),
            None => None,
        };
        let scheme = |tls: &Option<Arc<Tls>>| if tls.is_some() { "https" } else { "http" };
        let urls = Urls {
            gateway: format!("{}://{}", scheme(&gateway_tls), addresses.0),
            console: format!("{}://{}", scheme(&console_tls), addresses.1),
            owner: owner.as_ref().map(|owner| Ok::<_, Failure>(format!("http://{}", address(owner)?))).transpose()?,
        };
        let (stop, stopped) = watch::channel(false);
        let keeper = Arc::new(Keeper::new(&desk, config)?);
        let retention = tokio::spawn(keeper.clone().run(config.retention.every(), stopped.clone()));
        let reader = notary.ledger().reader();
        let size = match reader.checkpoint() {
            // The first checkpoint waits for its witnesses.
            Err(LedgerError::Missing { .. }) => 0,
            read => read?.size,
        };
        let log = LogFacts { origin: reader.vkey()?.name().to_owned(), size, interrupted };

        let limits = Limits {
            connections_max: config.gateway.connections_max,
            header_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(config.gateway.grace_s),
        };
        let gateway_done = {
            let (pipeline, stop) = (pipeline.clone(), until_true(stopped.clone()));
            let handler = move |request, peer| pipeline.clone().handle(request, peer);
            tokio::spawn(listen(gateway, limits, gateway_tls.clone(), stop, handler))
        };
        let console_done = {
            let door = custody::Door { desk: desk.clone(), keeper, local: Arc::new(secrets.local) };
            let for_owner = custody::router(door.clone());
            let model = model.map(|model| (model, config.model.on_failure));
            let presidio = presidio::router(config.gateway.request_bytes_max, config.presidio.depth, model);
            let routes = api::router(&notary, door, console_keys, presidio, config);
            let serve = move |listener, tls, routes: axum::Router| {
                let handler = move |request, peer| api::answer(routes.clone(), request, peer);
                tokio::spawn(listen(listener, limits, tls, until_true(stopped.clone()), handler))
            };
            let owner = owner.map(|owner| serve(owner, None, for_owner));
            [Some(serve(console, console_tls.clone(), routes)), owner]
        };
        let certificates = tokio::spawn(renew([gateway_tls, console_tls]));
        let indexer = indexer::spawn(notary.ledger().clone(), config.data.clone());
        let anchoring = anchor::spawn(notary.clone(), config.data.clone(), anchors);
        let mirror = mirror.map(|mirror| mirror.spawn(notary.ledger(), notary.metrics.clone())).transpose()?;
        let running = tokio::spawn(async move {
            let _ = gateway_done.await;
            // Exchanges may go on for a moment after their connections have ended: to be recorded.
            let deadline = Instant::now() + limits.grace;
            while pipeline.under_way() > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            console_done.iter().flatten().for_each(tokio::task::JoinHandle::abort);
            certificates.abort();
            indexer.abort();
            anchoring.iter().for_each(tokio::task::JoinHandle::abort);
            // It leaves off where it is, and the next start goes on.
            let _ = retention.await;
            if let Some(mirror) = mirror {
                mirror.stop(limits.grace).await;
            }
        });
        let mut keepers = vec![tokio::spawn(declare_lost(notary.clone())), tokio::spawn(settle(notary.clone()))];
        if config.ledger.heartbeat_s > 0 {
            keepers.push(tokio::spawn(beat(notary.clone(), Duration::from_secs(config.ledger.heartbeat_s))));
        }
        let (data, access) = (config.data.clone(), desk.access);
        let server = Self {
            gateway: addresses.0,
            console: addresses.1,
            urls,
            log,
            stop,
            running,
            keepers,
            notary,
            access,
            data,
        };
        server.announce()?;
        Ok(server)
    }

    fn announce(&self) -> Result<(), Failure> {
        let text = serde_json::json!({
            "gateway": self.urls.gateway,
            "console": self.urls.console,
            "owner": self.urls.owner.as_ref().unwrap_or(&self.urls.console),
            "pid": std::process::id(),
        });
        Ok(DiskStore::new(RealDisk::new(&self.data)).replace(ADDRESSES, format!("{text}\n").as_bytes())?)
    }

    /// Stops in order: no new connections, exchanges end, the log is closed.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        let _ = self.running.await;
        // Acts of custody that were begun are done to their end, whoever asked for them.
        let _acts = self.access.state.write().await;
        let _ = DiskStore::new(RealDisk::new(&self.data)).remove(ADDRESSES);
        for keeper in &self.keepers {
            keeper.abort();
        }
        if let Err(error) = self.notary.declare_lost().await {
            tracing::error!(%error, "exchanges passed unrecorded, and the log cannot say so");
        }
        let stopped = append_custody(&self.notary, Draft::new(Kind::Stop, None)).await;
        if let Err(failure) = self.notary.originals().settle(self.notary.ledger()).await {
            tracing::warn!(%failure, "the next start reads more of the log than it would have to");
        }
        let ledger = self.notary.ledger().clone();
        let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
        stopped.map(drop)
    }
}

/// Opens the log for writing.
fn open(config: &Config, metrics: Arc<Metrics>, model: Option<Model>) -> Result<(Arc<Notary>, Secrets), Failure> {
    notary(config, open_ledger(config, &metrics)?, metrics, model)
}

fn open_ledger(config: &Config, metrics: &Arc<Metrics>) -> Result<Ledger, LedgerError> {
    let options = Options {
        origin: config.origin(),
        publish_every: Duration::from_millis(config.ledger.publish_ms),
        witnessing: witnessing(config, metrics.clone()),
        protection: match config.ledger.protect {
            Protect::Off => Protection::Off,
            Protect::ReadOnly => Protection::ReadOnly,
            Protect::Immutable => Protection::Immutable,
        },
        ..Options::default()
    };
    Ledger::open(&config.data, &config.keys(), options)
}

fn notary(
    config: &Config,
    ledger: Ledger,
    metrics: Arc<Metrics>,
    model: Option<Model>,
) -> Result<(Arc<Notary>, Secrets), Failure> {
    // Looked at first: opening makes a log's keys.
    let no_keyring_yet = secrets::has_no_keyring_yet(&config.keys())?;
    let secrets = Secrets::open(&config.keys())?;
    let originals = Originals::open(config, &config.keys(), no_keyring_yet, notary::known_key(&secrets))?;
    let routes = Routes::new(config, &secrets)?;
    let externals = Externals::new(config, model, &metrics)?;
    Ok((Arc::new(Notary::new(Arc::new(ledger), routes, externals, &secrets, originals, metrics)), secrets))
}

/// Who records acts of custody, and knows those that the log has.
fn desk(config: &Config, notary: &Arc<Notary>) -> Result<custody::Desk, Failure> {
    let reader = notary.ledger().reader();
    let origin = reader.vkey()?.name().to_owned();
    let catalog = notary.ledger().catalog();
    let access = Access::load(reader, &catalog, &origin, config.sees_addresses(), notary.metrics.clone())?;
    Ok(custody::Desk { notary: notary.clone(), access: Arc::new(access), removable: watch::Sender::new(0) })
}

/// How often certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(10);

/// Takes up certificates that were replaced.
async fn renew(listeners: [Option<Arc<Tls>>; 2]) {
    loop {
        tokio::time::sleep(CERTIFICATES_EVERY).await;
        for tls in listeners.iter().flatten() {
            match tls.reload() {
                Ok(true) => tracing::info!("a certificate was replaced"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "a certificate was replaced by what cannot be used"),
            }
        }
    }
}

/// How long a start waits for witnesses.
const WITNESSES_AT_START: Duration = Duration::from_secs(5);

fn witnessing(config: &Config, metrics: Arc<Metrics>) -> Option<Witnessing> {
    if config.witness.is_empty() {
        return None;
    }
    let settings = &config.witnesses;
    Some(Witnessing {
        witnesses: Arc::new(Clients::new(&config.witness, metrics)),
        quorum: settings.quorum,
        hold: settings.mode == WitnessMode::Hold,
        wait: Duration::from_millis(settings.timeout_ms),
        wait_at_start: WITNESSES_AT_START,
        refuse_silence: settings.at_start == AtStart::Refuse,
    })
}

/// Where the server that runs, or ran, over a data directory takes acts from its owner.
pub(crate) fn console_of(data: &Path) -> Result<Option<String>, Failure> {
    #[derive(serde::Deserialize)]
    struct Addresses {
        owner: String,
    }
    let bytes = DiskStore::new(RealDisk::new(data)).read(ADDRESSES)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map(|Addresses { owner }| owner))
}

/// Opens the log for one custody act, in a session of its own. Returns what came of it; `None` when another process has the
/// log.
pub(crate) async fn record_alone(config: &Config, act: &custody::Act) -> Result<Option<custody::Recorded>, Failure> {
    let metrics = Arc::new(Metrics::new());
    let ledger = match open_ledger(config, &metrics) {
        Err(LedgerError::InUse) => return Ok(None),
        opened => opened?,
    };
    // Whoever wrote it is gone, and somebody else may listen there by now.
    DiskStore::new(RealDisk::new(&config.data)).remove(ADDRESSES)?;
    // An act of custody is redacted by rules alone, as it is without external detectors.
    let (notary, _) = notary(config, ledger, metrics, None)?;
    recover(config, &notary).await?;
    let desk = desk(config, &notary)?;
    let keeper = Arc::new(Keeper::new(&desk, config)?);
    let recorded = match desk.declare_policy(config).await {
        Ok(()) => custody::perform(&desk, &keeper, act, &custody::Who::Owner(None)).await.map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    if recorded.as_ref().is_ok_and(|recorded| recorded.erased.is_some() || recorded.expired.is_some()) {
        let pruned = tokio::task::spawn_blocking(move || keeper.prune()).await;
        if let Ok(Err(failure)) = pruned {
            tracing::warn!(%failure, "what is no longer kept is not removed yet; the next start does it");
        }
        // Nobody follows the log now, and words of it are in the index, if there is one.
        let (reader, data) = (notary.ledger().reader().clone(), config.data.clone());
        let indexed = tokio::task::spawn_blocking(move || indexer::follow(reader, &data)).await;
        if let Ok(Err(error)) = indexed {
            tracing::warn!(%error, "the search index is behind, and has words of what is no longer kept");
        }
    }
    let stopped = append_custody(&notary, Draft::new(Kind::Stop, None)).await;
    let ledger = notary.ledger().clone();
    let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
    stopped.and(recorded).map(Some)
}

/// Says in the log that recording starts, and where it last ended; then closes what was under way at that time. Returns
/// how many exchanges that were.
///
/// 0. What the log says was erased is gone for good, and keys that nothing came of are dropped (`originals`).
/// 1. `custody.start` names the last entry of the session before. A crash from here on: the next session names this one.
/// 2. `custody.recover`, if that session was not stopped, or left exchanges open.
/// 3. A response for each exchange that was under way.
async fn recover(config: &Config, notary: &Notary) -> Result<usize, Failure> {
    notary.originals().recover(&config.keys(), notary.ledger()).await?;
    let unfinished = notary.ledger().catalog().unfinished()?;
    let reader = notary.ledger().reader();
    let (former, stopped) = match former_session(notary.ledger())? {
        Some((former, stopped)) => (Some(former), stopped),
        None => (None, true),
    };
    let mut start = Draft::new(Kind::Start, None);
    start.entry.tags = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    start.entry.key = Some(reader.vkey()?.to_string());
    start.entry.former.clone_from(&former);
    start.entry.recipients.clone_from(&notary.originals().recipient_texts);
    append_custody(notary, start).await?;
    if !stopped || !unfinished.is_empty() {
        let mut recover = Draft::new(Kind::Recover, None);
        recover.entry.tags = BTreeMap::from([("interrupted".to_owned(), unfinished.len().to_string())]);
        recover.entry.former = former;
        append_custody(notary, recover).await?;
    }
    for exchange in &unfinished {
        let mut draft = Draft::new(Kind::Response, Some(&exchange.id));
        draft.entry.outcome = Some(Outcome::Interrupted);
        draft.entry.reason = Some("recorder_stopped".into());
        append(notary, draft).await?;
    }
    // So that there is a log to verify before the first request.
    let mut published = notary.ledger().published();
    let waited = tokio::time::timeout(Duration::from_secs(10), published.wait_for(|&size| size > 0)).await;
    if !matches!(waited, Ok(Ok(_))) {
        return Err(Failure::environment("the first checkpoint could not be published").hint("is the disk full?"));
    }
    Ok(unfinished.len())
}

/// So many bundles are looked through, from the end of the log, for the session that wrote last. A gateway's sessions
/// end with entries of their own; only what others append raw can stand after them.
const FORMER_BUNDLES_MAX: u64 = 64;

/// The last entry of the session before this one, and whether it ended it.
fn former_session(ledger: &Ledger) -> Result<Option<(Former, bool)>, Failure> {
    // Not the checkpoint's size: that may wait for witnesses.
    let size = ledger.catalog().position()?.map_or(0, |(size, _)| size);
    let reader = ledger.reader();
    for number in (0..size.div_ceil(WIDTH)).rev().take(FORMER_BUNDLES_MAX as usize) {
        for entry in reader.entries(number, size)?.iter().rev() {
            if let Ok(Entry { producer: Some(producer), seq: Some(seq), kind, .. }) = Entry::parse(entry) {
                return Ok(Some((Former { producer, seq }, kind == Kind::Stop)));
            }
        }
    }
    Ok(None)
}

/// Declares what passed unrecorded, as soon as it can be.
async fn declare_lost(notary: Arc<Notary>) {
    loop {
        notary.lost_wakes().await;
        while notary.declare_lost().await.is_err() {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

/// How often the keyring notes how far the log has come.
const SETTLE_EVERY: Duration = Duration::from_secs(60);

/// Has the keyring note how far the log has come, so that a start after a crash reads little of it.
async fn settle(notary: Arc<Notary>) {
    loop {
        tokio::time::sleep(SETTLE_EVERY).await;
        if notary.quiet() < 2 * SETTLE_EVERY
            && let Err(failure) = notary.originals().settle(notary.ledger()).await
        {
            tracing::warn!(%failure, "the keyring cannot be written");
        }
    }
}

/// Says that recording goes on, whenever nothing else has for so long.
async fn beat(notary: Arc<Notary>, every: Duration) {
    loop {
        let wait = every.saturating_sub(notary.quiet());
        if wait.is_zero() {
            // One that cannot be recorded is no loss; that the log says nothing is what it would have said.
            if append_custody(&notary, Draft::new(Kind::Heartbeat, None)).await.is_err() {
                tokio::time::sleep(every.min(Duration::from_secs(1))).await;
            }
        } else {
            tokio::time::sleep(wait).await;
        }
    }
}

/// Appends a custody entry; returns its index once it is durable.
pub(crate) async fn append_custody(notary: &Notary, mut draft: Draft) -> Result<u64, Failure> {
    notary.metrics.custody(draft.entry.kind.as_str().trim_start_matches("custody."));
    draft.state_policy();
    append(notary, draft).await
}

async fn append(notary: &Notary, draft: Draft) -> Result<u64, Failure> {
    let appended = notary.append(draft).await;
    appended.map_err(|error| Failure::environment("cannot write to the log").because(error))
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::environment(format!("cannot listen on {address}"))
            .because(error)
            .hint(format!("choose another address with {key}"))
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::environment("cannot listen").because(error))
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, and the server with it.
    let _ = flag.wait_for(|&set| set).await;
}
