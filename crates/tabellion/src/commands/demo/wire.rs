//! The two ends of the gateway: the application, and the stand-in for the provider. All of it is HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tabellion_evidence::tree::sha256;

use crate::failure::Failure;

/// Everything here happens on this machine within milliseconds. What takes so long does not happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question to the model.
pub(super) struct Ask {
    /// `x-tabellion-case`.
    pub(super) case: Option<&'static str>,
    /// What the stand-in is to do, in words of its own.
    pub(super) manner: &'static str,
    pub(super) body: Bytes,
}

/// What came of it.
pub(super) struct Answer {
    /// `x-tabellion-exchange`.
    pub(super) exchange: String,
    pub(super) received: Bytes,
    /// Of a streamed answer: its text, as it was cut.
    pub(super) pieces: Vec<String>,
}

/// Connections to the gateway and, past it, to the stand-in.
pub(super) struct Wire {
    client: Client<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
    standin: SocketAddr,
    /// The application's key for the provider.
    key: &'static str,
}

impl Wire {
    pub(super) fn new(gateway: SocketAddr, standin: SocketAddr, key: &'static str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), gateway, standin, key }
    }

    /// Asks through the gateway.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let response = self.chat(self.gateway, ask, ask.manner).await?;
        let exchange = exchange_of(&response)?;
        Ok(Answer { exchange, received: whole(response).await?, pieces: Vec::new() })
    }

    /// Asks through the gateway for a stream, and lets the model send each piece only when the one before it is here:
    /// a gateway that gathered pieces would come to a standstill.
    pub(super) async fn stream(
        &self,
        ask: &Ask,
        gate: &str,
        mut each: impl AsyncFnMut(&str) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        self.release(gate).await?;
        let manner = format!("{},gate-{gate}", ask.manner);
        let response = self.chat(self.gateway, ask, &manner).await?;
        let exchange = exchange_of(&response)?;
        let mut body = response.into_body();
        let (mut received, mut read, mut pieces) = (Vec::new(), 0, Vec::new());
        while let Some(frame) = in_time(body.frame()).await? {
            let frame = frame.map_err(|error| Failure::internal("the answer broke off").because(error))?;
            received.extend_from_slice(&frame.into_data().unwrap_or_default());
            while let Some(length) = received[read..].windows(2).position(|two| two == b"\n\n") {
                if let Some(piece) = piece(&received[read..read + length]) {
                    each(&piece).await?;
                    pieces.push(piece);
                }
                read += length + 2;
                self.release(gate).await?;
            }
        }
        Ok(Answer { exchange, received: received.into(), pieces })
    }

    /// Whether the last request that the model got had exactly these bytes.
    pub(super) async fn model_got(&self, body: &[u8]) -> Result<bool, Failure> {
        let request = request(Method::GET, format!("http://{}/standin/requests", self.standin));
        let seen = whole(self.send(request.body(Full::default())).await?).await?;
        let seen: Value = serde_json::from_slice(&seen)
            .map_err(|error| Failure::internal("the stand-in is unwell").because(error))?;
        let last = seen["last"].as_array().and_then(|last| last.last());
        Ok(last.is_some_and(|last| last["sha256"] == sha256(body).to_string()))
    }

    /// What the model answers when nothing is between. (It always answers the same to the same request.)
    pub(super) async fn without_gateway(&self, ask: &Ask) -> Result<Bytes, Failure> {
        whole(self.chat(self.standin, ask, ask.manner).await?).await
    }

    async fn release(&self, gate: &str) -> Result<(), Failure> {
        let request = request(Method::POST, format!("http://{}/standin/release?gate={gate}", self.standin));
        self.send(request.body(Full::default())).await.map(drop)
    }

    async fn chat(&self, to: SocketAddr, ask: &Ask, manner: &str) -> Result<Response<Incoming>, Failure> {
        let mut request = request(Method::POST, format!("http://{to}/v1/chat/completions"))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.key))
            .header("x-standin", manner);
        if let Some(case) = ask.case {
            request = request.header("x-tabellion-case", case);
        }
        self.send(request.body(Full::new(ask.body.clone()))).await
    }

    async fn send(&self, request: http::Result<Request<Full<Bytes>>>) -> Result<Response<Incoming>, Failure> {
        let request = request.map_err(|error| Failure::internal("the request is none").because(error))?;
        let response = in_time(self.client.request(request)).await?;
        let response = response.map_err(|error| Failure::internal("no answer").because(error))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            // What cannot be recorded is refused: the disk is at fault.
            StatusCode::SERVICE_UNAVAILABLE => Err(Failure::environment("the gateway cannot record")),
            status => Err(Failure::internal(format!("an answer of status {status}"))),
        }
    }
}

fn request(method: Method, url: String) -> http::request::Builder {
    Request::builder().method(method).uri(url)
}

async fn in_time<T>(happens: impl Future<Output = T>) -> Result<T, Failure> {
    let waited = tokio::time::timeout(PATIENCE, happens).await;
    waited.map_err(|_| Failure::internal(format!("nothing came for {} seconds", PATIENCE.as_secs())))
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = in_time(response.into_body().collect()).await?;
    body.map(|body| body.to_bytes()).map_err(|error| Failure::internal("the answer broke off").because(error))
}

fn exchange_of(response: &Response<Incoming>) -> Result<String, Failure> {
    let header = response.headers().get("x-tabellion-exchange").and_then(|value| value.to_str().ok());
    header.map(str::to_owned).ok_or_else(|| Failure::internal("the answer does not name its exchange"))
}

/// The text in an event of a chat completion, be it an answer's or a tool call's.
fn piece(event: &[u8]) -> Option<String> {
    let chunk: Value = serde_json::from_slice(event.strip_prefix(b"data: ")?).ok()?;
    let delta = &chunk["choices"][0]["delta"];
    let text = delta["content"].as_str().or_else(|| delta["tool_calls"][0]["function"]["arguments"].as_str())?;
    (!text.is_empty()).then(|| text.to_owned())
}
