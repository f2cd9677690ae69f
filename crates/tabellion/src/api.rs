//! What is served beside the gateway: the log itself, for other people's tools, and what operators need.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tabellion_evidence::custody::{Right, Said};
use tabellion_evidence::entry::{Entry, Kind};
use tabellion_evidence::tile::{ENTRY_BYTES_MAX, TileId, parse_entries_path};
use tabellion_ledger::{Append, AppendError};

use crate::access::Refused;
use crate::chains;
use crate::config::Config;
use crate::custody::{self, Door};
use crate::notary::Notary;

/// Who may ask for a path.
enum Asks {
    /// Anybody.
    Anybody,
    /// Whoever has this right; without a key nobody, or where keys are optional anybody.
    Has { right: Right, always: bool },
    /// The path itself knows.
    Itself,
}

/// What a path takes. Below `/api/`, one that is not known here is nobody's business without a key.
fn asks(path: &str) -> Asks {
    let has = |right, always| Asks::Has { right, always };
    match path {
        "/" | "/healthz" | "/readyz" => Asks::Anybody,
        custody::PATH => Asks::Itself,
        "/metrics" => has(Right::Metrics, false),
        "/log/add" => has(Right::Append, false),
        path if path.starts_with("/log/") => has(Right::Log, false),
        path if path.starts_with("/presidio") => has(Right::Detect, false),
        path if path.starts_with("/api/v1/exchanges") => has(Right::Content, true),
        path if path.starts_with("/api/v1/search") => has(Right::Content, true),
        path if path.starts_with("/api/") => has(Right::Custody, true),
        _ => Asks::Anybody,
    }
}

/// Lets in who may ask for what they ask.
async fn guard(
    State((door, required)): State<(Door, bool)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if let Asks::Has { right, always } = asks(request.uri().path()) {
        let required = required || always;
        let headers = request.headers();
        if !(required && door.is_owner(headers))
            && let Err(refused) = door.desk.access.admit(headers, peer.ip(), right, required).await
        {
            return refuse(refused);
        }
    }
    next.run(request).await
}

/// The answer to somebody who is not let in.
pub(crate) fn refuse(refused: Refused) -> Response {
    let (code, message) = refused.says();
    let mut answer = (refused.status(), Json(json!({"code": code, "message": message}))).into_response();
    if refused == Refused::LockedOut {
        answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("60"));
    }
    answer
}

/// Answers a request that a connection brought.
pub(crate) async fn answer(
    mut routes: Router,
    request: http::Request<hyper::body::Incoming>,
    peer: SocketAddr,
) -> Response {
    let mut request = request.map(axum::body::Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    match tower_service::Service::call(&mut routes, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Everything that the console's listener serves. `keys`: to nobody without a key.
pub(crate) fn router(notary: &Arc<Notary>, door: Door, keys: bool, presidio: Router, config: &Config) -> Router {
    routes(notary.clone(), config.log.add)
        .nest("/presidio", presidio)
        .merge(custody::router(door.clone()))
        .merge(chains::router(door.desk.clone(), config))
        .layer(axum::middleware::from_fn_with_state((door, keys), guard))
}

fn routes(notary: Arc<Notary>, add: bool) -> Router {
    let mut router = Router::new();
    if add {
        // One byte more than there may be, so that it is the ledger that refuses.
        let limit = DefaultBodyLimit::max(ENTRY_BYTES_MAX + 1);
        router = router.route("/log/add", post(append).layer(limit));
    }
    router
        .route("/", get(|| async { "tabellion: /log/checkpoint, /presidio, /metrics, /healthz, /readyz\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log/{*path}", get(log))
        .with_state(notary)
}

async fn ready(State(notary): State<Arc<Notary>>) -> Response {
    if notary.ledger().healthy() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the log cannot be written\n").into_response()
    }
}

async fn metrics(State(notary): State<Arc<Notary>>) -> Response {
    let published = *notary.ledger().published().borrow();
    let age = notary.ledger().checkpoint_age().unwrap_or(Duration::ZERO);
    let text = notary.metrics.expose(published, age);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

/// Whether an entry would be an act of custody, or name a key: only what was judged may be one, because the next start
/// believes it; or whether it would speak of an exchange, which might be another's.
fn is_act(entry: &[u8]) -> bool {
    Entry::parse(entry)
        .is_ok_and(|entry| matches!(entry.kind, Kind::Request | Kind::Response) || Said::of(&entry).is_some())
}

/// Appends the body as an entry, as it is; answers with its index once it is durable.
async fn append(State(notary): State<Arc<Notary>>, entry: Bytes) -> Response {
    if is_act(&entry) {
        return (StatusCode::FORBIDDEN, "an act of custody is not added as it is\n").into_response();
    }
    let appended = notary.ledger().append(Append { entry: entry.into(), ..Append::default() }).await;
    let (status, wait) = match appended {
        Ok(index) => {
            return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], index.to_string()).into_response();
        }
        Err(AppendError::TooLong) => return (StatusCode::PAYLOAD_TOO_LARGE, "too long for an entry\n").into_response(),
        Err(AppendError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "1"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "5"),
    };
    (status, [(header::RETRY_AFTER, wait)], "the log takes no entries now\n").into_response()
}

/// C2SP tlog-tiles, "Paths and content types". Only names that the specification has are looked up, so nothing else in
/// the data directory can be asked for. A partial tile is there from the publication of its size until the full one is;
/// from then on it is absent, and clients take the full one.
async fn log(State(notary): State<Arc<Notary>>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    let bundle = parse_entries_path(&path).is_some();
    let (content_type, cache) = if path == "checkpoint" {
        ("text/plain; charset=utf-8", "max-age=1")
    } else if bundle || TileId::parse(&path).is_some() {
        ("application/octet-stream", "max-age=31536000, immutable")
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Hashes cannot be compressed; entries can, to a tenth.
    let gzip = bundle && accepts_gzip(&headers);
    let reader = notary.ledger().reader().clone();
    let object = tokio::task::spawn_blocking(move || {
        let object = reader.store().read(&format!("log/{path}"))?;
        Ok::<_, tabellion_store::StoreError>(if gzip { object.map(|bytes| compress(&bytes)) } else { object })
    });
    match object.await {
        Ok(Ok(Some(bytes))) => {
            let mut response =
                ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], bytes).into_response();
            let headers = response.headers_mut();
            if bundle {
                headers.insert(header::VARY, header::HeaderValue::from_static("accept-encoding"));
            }
            if gzip {
                headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
            }
            response
        }
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Whether a client takes gzip (RFC 9110, section 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
