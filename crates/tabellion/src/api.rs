//! What is served beside the gateway: the log itself, for other people's tools, and what operators need.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tabellion_evidence::tile::{TileId, parse_entries_path};

use crate::notary::Notary;
use crate::presidio;

pub(crate) fn router(notary: Arc<Notary>, request_bytes_max: usize) -> Router {
    Router::new()
        .route("/", get(|| async { "tabellion: /log/checkpoint, /presidio, /metrics, /healthz, /readyz\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log/{*path}", get(log))
        .with_state(notary)
        .nest("/presidio", presidio::router(request_bytes_max))
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

/// C2SP tlog-tiles, "Paths and content types". Only names that the specification has are looked up, so nothing else in
/// the data directory can be asked for.
async fn log(State(notary): State<Arc<Notary>>, Path(path): Path<String>) -> Response {
    let (content_type, cache) = if path == "checkpoint" {
        ("text/plain; charset=utf-8", "max-age=1")
    } else if TileId::parse(&path).is_some() || parse_entries_path(&path).is_some() {
        ("application/octet-stream", "max-age=31536000, immutable")
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let reader = notary.ledger().reader().clone();
    let object = tokio::task::spawn_blocking(move || reader.store().read(&format!("log/{path}"))).await;
    match object {
        Ok(Ok(Some(bytes))) => {
            ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], bytes).into_response()
        }
        Ok(Ok(None)) => StatusCode::NOT_FOUND.into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
