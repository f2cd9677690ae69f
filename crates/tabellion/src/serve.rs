//! The server: opens the log, recovers, listens, stops in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tabellion_evidence::entry::{Kind, Outcome};
use tabellion_gateway::{Limits, Upstream, Upstreams, listen};
use tabellion_ledger::{Ledger, Options};
use tabellion_store::{DiskStore, Protection, RealDisk, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api;
use crate::config::{Config, Protect};
use crate::external::Externals;
use crate::failure::Failure;
use crate::indexer;
use crate::metrics::Metrics;
use crate::mirror;
use crate::notary::{Draft, Notary};
use crate::pipeline::{Bounds, Pipeline};
use crate::policy;
use crate::secrets::Secrets;

/// Where the addresses of a running server stand, for whoever wants to reach it.
const ADDRESSES: &str = "server.json";

/// A running server.
pub(crate) struct Server {
    pub(crate) gateway: SocketAddr,
    pub(crate) console: SocketAddr,
    pub(crate) log: LogFacts,
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<()>,
    notary: Arc<Notary>,
    data: PathBuf,
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
        let metrics = Arc::new(Metrics::new());
        let mirror = mirror::continuous(config).await?;
        let notary = open(config, metrics.clone())?;
        let interrupted = recover(&notary).await?;

        let upstreams =
            config.upstream.iter().filter_map(|upstream| Upstream::new(&upstream.name, upstream.kind, &upstream.url));
        let default = config.upstream.iter().find(|upstream| upstream.default).map(|upstream| &*upstream.name);
        let bounds = Bounds {
            request_bytes_max: config.gateway.request_bytes_max,
            response_bytes_max: config.gateway.response_bytes_max,
            request_timeout: Duration::from_secs(config.gateway.request_timeout_s),
            answer_timeout: Duration::from_secs(config.gateway.answer_timeout_s),
        };
        let pipeline = Arc::new(Pipeline::new(notary.clone(), Upstreams::new(upstreams.collect(), default), bounds));

        let gateway = bind(config.gateway.listen, "gateway.listen").await?;
        let console = bind(config.console.listen, "console.listen").await?;
        let addresses = (address(&gateway)?, address(&console)?);
        let (stop, stopped) = watch::channel(false);
        let reader = notary.ledger().reader();
        let log = LogFacts { origin: reader.vkey()?.name().to_owned(), size: reader.checkpoint()?.size, interrupted };

        let limits = Limits {
            connections_max: config.gateway.connections_max,
            header_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(config.gateway.grace_s),
        };
        let gateway_done = {
            let (pipeline, stop) = (pipeline.clone(), until_true(stopped.clone()));
            tokio::spawn(listen(gateway, limits, stop, move |request| pipeline.clone().handle(request)))
        };
        let console_done = {
            let router = api::router(notary.clone(), config.gateway.request_bytes_max);
            let serve = axum::serve(console, router).with_graceful_shutdown(until_true(stopped));
            tokio::spawn(async move { serve.await })
        };
        let indexer = indexer::spawn(notary.ledger().clone(), config.data.clone());
        let mirror = mirror.map(|mirror| mirror.spawn(notary.ledger(), notary.metrics.clone())).transpose()?;
        let running = tokio::spawn(async move {
            let _ = gateway_done.await;
            // Exchanges may go on for a moment after their connections have ended: to be recorded.
            let deadline = Instant::now() + limits.grace;
            while pipeline.under_way() > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            console_done.abort();
            indexer.abort();
            if let Some(mirror) = mirror {
                mirror.stop(limits.grace).await;
            }
        });
        let data = config.data.clone();
        let server = Self { gateway: addresses.0, console: addresses.1, log, stop, running, notary, data };
        server.announce()?;
        Ok(server)
    }

    fn announce(&self) -> Result<(), Failure> {
        let text = serde_json::json!({
            "gateway": format!("http://{}", self.gateway),
            "console": format!("http://{}", self.console),
            "pid": std::process::id(),
        });
        Ok(DiskStore::new(RealDisk::new(&self.data)).replace(ADDRESSES, format!("{text}\n").as_bytes())?)
    }

    /// Stops in order: no new connections, exchanges end, the log is closed.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        let _ = self.running.await;
        let _ = DiskStore::new(RealDisk::new(&self.data)).remove(ADDRESSES);
        let stopped = append_custody(&self.notary, Kind::Stop, BTreeMap::new()).await;
        let ledger = self.notary.ledger().clone();
        let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
        stopped
    }
}

/// Opens the log for writing.
fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Arc<Notary>, Failure> {
    let keys = config.keys();
    let options = Options {
        origin: config.origin(),
        publish_every: Duration::from_millis(config.ledger.publish_ms),
        protection: match config.ledger.protect {
            Protect::Off => Protection::Off,
            Protect::ReadOnly => Protection::ReadOnly,
            Protect::Immutable => Protection::Immutable,
        },
        ..Options::default()
    };
    let ledger = Ledger::open(&config.data, &keys, options)?;
    let secrets = Secrets::open(&keys)?;
    let redactor = policy::redactor(&config.redaction.policy, &secrets)?;
    let externals = Externals::new(&config.external, &metrics)?;
    Ok(Arc::new(Notary::new(Arc::new(ledger), redactor, externals, &secrets, metrics)))
}

/// Says in the log that recording starts, and closes what was under way when it last ended. Returns how many exchanges
/// that were.
async fn recover(notary: &Notary) -> Result<usize, Failure> {
    let unfinished = notary.ledger().catalog().unfinished()?;
    for exchange in &unfinished {
        let mut draft = Draft::new(Kind::Response, Some(&exchange.id));
        draft.entry.outcome = Some(Outcome::Interrupted);
        draft.entry.reason = Some("recorder_stopped".into());
        append(notary, draft).await?;
    }
    if !unfinished.is_empty() {
        let interrupted = BTreeMap::from([("interrupted".to_owned(), unfinished.len().to_string())]);
        append_custody(notary, Kind::Recover, interrupted).await?;
    }
    let version = BTreeMap::from([("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    append_custody(notary, Kind::Start, version).await?;
    // So that there is a log to verify before the first request.
    let mut published = notary.ledger().published();
    let waited = tokio::time::timeout(Duration::from_secs(10), published.wait_for(|&size| size > 0)).await;
    if !matches!(waited, Ok(Ok(_))) {
        return Err(Failure::environment("the first checkpoint could not be published").hint("is the disk full?"));
    }
    Ok(unfinished.len())
}

async fn append_custody(notary: &Notary, kind: Kind, tags: BTreeMap<String, String>) -> Result<(), Failure> {
    notary.metrics.custody(kind.as_str().trim_start_matches("custody."));
    let mut draft = Draft::new(kind, None);
    draft.entry.tags = tags;
    draft.state_policy();
    append(notary, draft).await
}

async fn append(notary: &Notary, draft: Draft) -> Result<(), Failure> {
    let appended = notary.append(draft).await;
    appended.map(drop).map_err(|error| Failure::environment("cannot write to the log").because(error))
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
