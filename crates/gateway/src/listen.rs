//! Taking connections and reading bodies, with a limit on everything.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Tls;

/// What clients may take up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue.
    pub connections_max: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long requests that are under way may take once the server is told to stop.
    pub grace: Duration,
}

/// Serves connections until `stop` is done, then lets requests end, at most for the grace period. The handler is told
/// from where a request comes. With `tls`, nothing else is spoken.
pub async fn listen<H, F, B>(
    listener: TcpListener,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
    handler: H,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(128 << 10);
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close theirs.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Without this a streamed event may wait for the acknowledgement of the one before it.
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request, peer);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        // Clients break connections off for their own reasons; the exchange itself is recorded elsewhere.
        match &tls {
            None => {
                let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(place);
                });
            }
            Some(tls) => {
                let (tls, http, watcher) = (tls.clone(), http.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(limits.header_timeout, tls.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
                    }
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(limits.grace, graceful.shutdown()).await;
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is longer than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// Nothing came for too long.
    #[error("the body did not come in time")]
    TooSlow,
    /// The connection broke, or the body's framing did.
    #[error("the body broke off")]
    BrokeOff,
}

/// Reads a body of at most `limit` bytes, whose next bytes may take `timeout`, and which may take as many such times
/// as it has megabytes, and ten more.
pub async fn read_body(mut body: Incoming, limit: usize, timeout: Duration) -> Result<Bytes, ReadError> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(ReadError::TooLarge);
    }
    let mut read = BytesMut::new();
    let mut first: Option<Bytes> = None;
    let deadline = tokio::time::Instant::now() + timeout * (10 + (limit >> 20) as u32);
    loop {
        let next = tokio::time::timeout_at(deadline.min(tokio::time::Instant::now() + timeout), body.frame());
        let frame = match next.await {
            Err(_) => return Err(ReadError::TooSlow),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(ReadError::BrokeOff),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + read.len() + data.len() > limit {
            return Err(ReadError::TooLarge);
        }
        // Most bodies are one frame, and need no copy.
        match (&first, read.is_empty()) {
            (None, true) => first = Some(data),
            (Some(one), _) => {
                read.reserve(one.len() + data.len());
                read.extend_from_slice(one);
                read.extend_from_slice(&data);
                first = None;
            }
            (None, false) => read.extend_from_slice(&data),
        }
    }
    Ok(first.unwrap_or_else(|| read.freeze()))
}
