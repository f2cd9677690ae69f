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
use tabellion_evidence::entry::{Entry, Erase, Export, Kind, Reveal};
use tabellion_evidence::tree::Hash;
use tabellion_gateway::dialect::Kind as Dialect;
use tabellion_gateway::{Unreachable, Upstream, Upstreams, read_body};
use tabellion_ledger::{LedgerError, Reader};
use tabellion_vault::Erased;

use crate::commands::serve::runtime;
use crate::config::Config;
use crate::failure::{Failure, Fault};
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
    Export { manifest: Hash, selection: BTreeMap<String, String>, exchanges: u64 },
    /// Show an original, or give its salt out.
    Reveal(Reveal),
    /// Destroy what opens originals.
    Erase(Erase),
}

/// What came of an act.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The entry that says it.
    pub(crate) entry: u64,
    /// What an erasure destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) erased: Option<ErasedSummary>,
}

/// What an erasure came to, for whoever asked for it.
#[derive(Serialize, Deserialize)]
pub(crate) struct ErasedSummary {
    /// Entries whose salts are gone.
    pub(crate) entries: u64,
    /// Sealed pieces whose keys are gone.
    pub(crate) pieces: u64,
    /// Sealed pieces that can still be opened, each with the id of an entry that names it too.
    pub(crate) remaining: Vec<(Hash, String)>,
}

impl From<Erased> for ErasedSummary {
    fn from(erased: Erased) -> Self {
        let remaining = erased.remaining.into_iter().map(|piece| (piece.name, piece.because)).collect();
        Self { entries: erased.entries, pieces: erased.pieces, remaining }
    }
}

/// Whether an act may be done, asked of whoever records it and before anything is recorded. The one place for that: what
/// forbids an erasure, or asks for a second person's approval, belongs here.
fn permit(notary: &Notary, what: &What) -> Result<(), Failure> {
    let named: Vec<u64> = match what {
        What::Export { .. } => return Ok(()),
        What::Reveal(reveal) => vec![reveal.entry],
        What::Erase(erase) => erase.entries.iter().flat_map(|&(first, last)| [first, last]).collect(),
    };
    let size = notary.ledger().catalog().position()?.map_or(0, |(size, _)| size);
    if named.iter().any(|&entry| entry >= size) {
        return Err(Failure::usage("the published log has no such entry"));
    }
    if let What::Reveal(reveal) = what {
        // It may have been erased since whoever asks has opened it.
        let entry = Entry::parse(&notary.ledger().reader().entry(reveal.entry, size)?);
        if entry.is_ok_and(|entry| notary.originals().is_erased(&entry.id)) {
            return Err(Failure::usage("the original was erased"));
        }
    }
    if let What::Erase(erase) = what {
        // Custody entries have nothing to erase, and a range over them would say that they had.
        for &(first, last) in &erase.entries {
            for index in first..=last {
                let entry = Entry::parse(&notary.ledger().reader().entry(index, size)?);
                if !entry.is_ok_and(|entry| matches!(entry.kind, Kind::Request | Kind::Response)) {
                    return Err(Failure::usage(format!("entry {index} is no request and no response")));
                }
            }
        }
    }
    Ok(())
}

impl Act {
    fn draft(&self, notary: &Notary) -> Draft {
        let kind = match &self.what {
            What::Export { .. } => Kind::Export,
            What::Reveal(_) => Kind::Reveal,
            What::Erase(_) => Kind::Erase,
        };
        let mut draft = Draft::new(kind, None);
        draft.entry.actor = Some(draft.label(notary, &self.actor));
        if let Some(why) = &self.why {
            draft.why(notary, why);
        }
        let redacted = |draft: &mut Draft, selection: &BTreeMap<String, String>| {
            selection.iter().map(|(name, value)| (name.clone(), draft.label(notary, value))).collect()
        };
        match &self.what {
            What::Export { manifest, selection, exchanges } => {
                let selection = redacted(&mut draft, selection);
                draft.entry.export = Some(Export { manifest: *manifest, selection, exchanges: *exchanges });
            }
            What::Reveal(reveal) => draft.entry.reveal = Some(reveal.clone()),
            What::Erase(Erase { entries, selection, basis }) => {
                let selection = redacted(&mut draft, selection);
                let basis = basis.as_ref().map(|basis| draft.label(notary, basis));
                draft.entry.erase = Some(Erase { entries: entries.clone(), selection, basis });
            }
        }
        draft
    }

    /// Appends the act, and does what only the process that has the log can do. Returns once the act is durable, and the
    /// erasure carried out.
    ///
    /// 1. The act is permitted. 2. It is appended. A crash before: nothing happened. 3. What it says is erased is destroyed.
    ///    A crash before that is done: the next start does it (`originals`).
    pub(crate) async fn append(&self, notary: &Notary) -> Result<Recorded, Failure> {
        permit(notary, &self.what)?;
        let entry = serve::append_custody(notary, self.draft(notary)).await?;
        let erased = match &self.what {
            What::Erase(erase) => Some(notary.originals().erase(notary.ledger(), erase).await?.into()),
            _ => None,
        };
        Ok(Recorded { entry, erased })
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

/// Records an act, and waits until it is published.
pub(crate) fn record(config: &Config, reader: &Reader, act: Act) -> Result<Recorded, Failure> {
    let runtime = runtime()?;
    let deadline = Instant::now() + TIMEOUT;
    let recorded = runtime.block_on(async {
        loop {
            // Only while another process has the log is an address in its directory anybody's whom to tell the key.
            if let Some(recorded) = serve::record_alone(config, &act).await? {
                return Ok(recorded);
            }
            if let Some(console) = serve::console_of(&config.data)?
                && let Some(recorded) = ask(config, &console, &act).await?
            {
                return Ok(recorded);
            }
            // A server that starts or stops, or another command.
            if Instant::now() > deadline {
                return Err(Failure::from(LedgerError::InUse));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })?;
    let deadline = Instant::now() + TIMEOUT;
    while reader.checkpoint()?.size <= recorded.entry {
        if Instant::now() > deadline {
            return Err(Failure::environment("the act is recorded, but the log is not published")
                .hint("is the disk full, or does the checkpoint wait for witnesses? acts may be recorded twice"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(recorded)
}

/// Asks the running server; `None` when there is none.
async fn ask(config: &Config, console: &str, act: &Act) -> Result<Option<Recorded>, Failure> {
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
    if status == StatusCode::CONFLICT {
        return Err(Failure::usage(String::from_utf8_lossy(&body).trim_end().to_owned()));
    }
    if status != StatusCode::OK {
        return Err(Failure::environment(format!("the running server did not record the act: it answered {status}")));
    }
    let recorded = serde_json::from_slice(&body)
        .map_err(|error| Failure::environment("the running server's answer cannot be read").because(error))?;
    Ok(Some(recorded))
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
        Ok(recorded) => Json(recorded).into_response(),
        Err(failure) if failure.fault == Fault::Usage => (StatusCode::CONFLICT, format!("{failure}\n")).into_response(),
        Err(failure) if matches!(act.what, What::Erase(_)) => {
            tracing::error!(%failure, "an erasure was not carried out");
            (StatusCode::SERVICE_UNAVAILABLE, "the erasure was not carried out\n").into_response()
        }
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
