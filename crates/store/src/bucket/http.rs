//! How requests travel: the HTTP stack that the rest of Tabellion uses, with limits.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};

/// No object of ours is longer: a pack is one group of appends, of which no more than some hundred mebibytes can wait.
pub(super) const OBJECT_BYTES_MAX: usize = 1 << 30;

/// Gives `object_store`, its credential chains included, our way to speak HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connector {
    pub(super) timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.client())
    }
}

impl Connector {
    pub(super) fn client(self) -> HttpClient {
        let https = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        HttpClient::new(Service { client: Client::builder(TokioExecutor::new()).build(https), timeout: self.timeout })
    }
}

#[derive(Debug)]
struct Service {
    client: Client<HttpsConnector<Tcp>, HttpRequestBody>,
    timeout: Duration,
}

#[async_trait]
impl HttpService for Service {
    /// The whole answer, within the time and the size that one may have.
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = async {
            let answer = self.client.request(request).await.map_err(|error| {
                let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
                HttpError::new(kind, error)
            })?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, OBJECT_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(error)))?;
            Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body.to_bytes())))
        };
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer,
            Err(error) => Err(HttpError::new(HttpErrorKind::Timeout, error)),
        }
    }
}
