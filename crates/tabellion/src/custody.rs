//! Custody acts of commands. (DESIGN: every look is on the record.)
//!
//! An act is recorded before it takes effect: by the command, which opens the log for as long as that takes, or while a
//! server has the log, by that one, which is asked over its own listener with the key that only the log's owner can read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, header};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tabellion_evidence::entry::{Export, Kind};
use tabellion_evidence::tree::Hash;
use tabellion_gateway::dialect::Kind as Dialect;
use tabellion_gateway::{Unreachable, Upstream, Upstreams, read_body};
use tabellion_ledger::{LedgerError, Reader};

use crate::commands::serve::runtime;
use crate::config::Config;
use crate::failure::Failure;
use crate::notary::{Draft, Notary};
use crate::secrets::Secrets;
use crate::serve;

/// Where the running server takes acts.
const PATH: &str = "/api/v1/custody";
const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What somebody is about to do. It cannot be printed: it is not redacted yet.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// Who, as the operating system says.
    pub(crate) actor: String,
    /// Why, in their own words.
    pub(crate) why: Option<String>,
    /// What.
    pub(crate) what: What,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// Hand out a bundle.
    Export { manifest: Hash, selection: BTreeMap<String, String>, exchanges: u64, page: Hash },
    /// Make a report. `manifest` is of the list of its files.
    Report { manifest: Hash, selection: BTreeMap<String, String>, exchanges: u64 },
}

#[derive(Serialize, Deserialize)]
struct Recorded {
    entry: u64,
}

impl Act {
    fn draft(&self, notary: &Notary) -> Draft {
        let (kind, manifest, selection, exchanges, page) = match &self.what {
            What::Export { manifest, selection, exchanges, page } => {
                (Kind::Export, manifest, selection, exchanges, Some(*page))
            }
            What::Report { manifest, selection, exchanges } => (Kind::Report, manifest, selection, exchanges, None),
        };
        let mut draft = Draft::new(kind, None);
        draft.entry.actor = Some(draft.label(notary, &self.actor));
        if let Some(why) = &self.why {
            draft.why(notary, why);
        }
        let selection = selection.iter().map(|(name, value)| (name.clone(), draft.label(notary, value))).collect();
        draft.entry.export = Some(Export { manifest: *manifest, selection, exchanges: *exchanges, page });
        draft
    }

    /// Appends the act; returns its index once it is durable.
    pub(crate) async fn append(&self, notary: &Notary) -> Result<u64, Failure> {
        let draft = self.draft(notary);
        serve::append_custody(notary, draft).await
    }
}

/// Whoever runs the command.
pub(crate) fn operator() -> String {
    let id = rustix::process::getuid().as_raw();
    match std::env::var("USER") {
        Ok(name) if !name.is_empty() => format!("{name} (uid {id})"),
        _ => format!("uid {id}"),
    }
}

/// Records an act, and waits until it is published. Returns its index.
pub(crate) fn record(config: &Config, reader: &Reader, act: Act) -> Result<u64, Failure> {
    let runtime = runtime()?;
    let deadline = Instant::now() + TIMEOUT;
    let index = runtime.block_on(async {
        loop {
            // Only while another process has the log is an address in its directory anybody's whom to tell the key.
            if let Some(index) = serve::record_alone(config, &act).await? {
                return Ok(index);
            }
            if let Some(console) = serve::console_of(&config.data)?
                && let Some(index) = ask(config, &console, &act).await?
            {
                return Ok(index);
            }
            // A server that starts or stops, or another command.
            if Instant::now() > deadline {
                return Err(Failure::from(LedgerError::InUse));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })?;
    let deadline = Instant::now() + TIMEOUT;
    while reader.checkpoint()?.size <= index {
        if Instant::now() > deadline {
            return Err(Failure::environment("the act is recorded, but the log is not published")
                .hint("is the disk full, or does the checkpoint wait for witnesses? acts may be recorded twice"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(index)
}

/// Asks the running server; `None` when there is none.
async fn ask(config: &Config, console: &str, act: &Act) -> Result<Option<u64>, Failure> {
    let secrets = Secrets::existing(&config.keys())?.ok_or_else(|| {
        Failure::environment("the keys of the log are not here").hint("name their directory with `keys`")
    })?;
    let upstream = Upstream::new("console", Dialect::Generic, console)
        .ok_or_else(|| Failure::environment("the server's address is malformed"))?;
    let upstreams = Upstreams::new(vec![upstream], None);
    let path = format!("/console{PATH}");
    let target = upstreams.route(&path).ok_or_else(|| Failure::internal("no such path"))?;
    let mut headers = HeaderMap::new();
    let bearer = format!("Bearer {}", hex::encode(*secrets.local));
    headers.insert(header::AUTHORIZATION, bearer.parse().expect("hexadecimal is a header's value"));
    headers.insert(header::CONTENT_TYPE, "application/json".parse().expect("a header's value"));
    let body = serde_json::to_vec(act).map_err(|error| Failure::internal("cannot write the act").because(error))?;
    let answer = match upstreams.send(&target, Method::POST, &headers, Bytes::from(body)).await {
        Ok(answer) => answer,
        Err(Unreachable::Connect) => return Ok(None),
        Err(error) => return Err(Failure::environment("the running server did not answer").because(error)),
    };
    let status = answer.status();
    let body = read_body(answer.into_body(), ANSWER_BYTES_MAX, TIMEOUT)
        .await
        .map_err(|error| Failure::environment("the server did not answer").because(error))?;
    if status != StatusCode::OK {
        return Err(Failure::environment(format!("the running server did not record the act: it answered {status}")));
    }
    let Recorded { entry } = serde_json::from_slice(&body)
        .map_err(|error| Failure::environment("the running server's answer cannot be read").because(error))?;
    Ok(Some(entry))
}

/// What the server needs to take acts.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) notary: Arc<Notary>,
    /// The key of the log's owner.
    pub(crate) local: Arc<zeroize::Zeroizing<[u8; 32]>>,
}

/// Takes an act from the log's owner.
async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if !is_owner(&desk, &headers) {
        return (StatusCode::UNAUTHORIZED, "this needs the key of the log's owner\n").into_response();
    }
    let Ok(act) = serde_json::from_slice::<Act>(&body) else {
        return (StatusCode::BAD_REQUEST, "this is no custody act\n").into_response();
    };
    match act.append(&desk.notary).await {
        Ok(entry) => Json(Recorded { entry }).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written\n").into_response(),
    }
}

fn is_owner(desk: &Desk, headers: &HeaderMap) -> bool {
    let mut given = zeroize::Zeroizing::new([0; 32]);
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.is_some_and(|bearer| hex::decode_to_slice(bearer, &mut *given).is_ok())
        && bool::from(given.ct_eq(&**desk.local))
}

/// The route.
pub(crate) fn router(desk: Desk) -> axum::Router {
    axum::Router::new().route(PATH, axum::routing::post(take)).with_state(desk)
}
