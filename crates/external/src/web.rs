//! The HTTP client: connections that are kept, no redirects, answers up to a bound.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::ExternalError;

/// No answer about one document is larger.
const ANSWER_BYTES_MAX: usize = 8 << 20;

pub(crate) struct Web(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Web {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        Self(client)
    }

    /// Posts a body; the answer's body, if its status is 200.
    pub(crate) async fn post(&self, uri: &Uri, headers: HeaderMap, body: Vec<u8>) -> Result<Bytes, ExternalError> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("tabellion"));
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.0.request(request).await.map_err(|_| ExternalError::Unreachable)?;
        if answer.status() != http::StatusCode::OK {
            return Err(ExternalError::Refused(answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|error| {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            if too_large { ExternalError::TooLarge } else { ExternalError::Unreachable }
        })?;
        Ok(body.to_bytes())
    }
}

/// An `http` or `https` URL without a query, as a base that paths are put behind.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

impl Base {
    /// `None` when it is no such URL, or has a credential in it.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'))?;
        let path = parts.path_and_query.filter(|path| path.query().is_none())?;
        Some(Self { scheme, authority, path: path.path().trim_end_matches('/').to_owned() })
    }

    /// The same, but `http` only to this machine: what is sent there has a credential with it.
    pub(crate) fn parse_protected(url: &str) -> Option<Self> {
        Self::parse(url).filter(|base| {
            let host = base.authority.host().trim_start_matches('[').trim_end_matches(']');
            let here =
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
            base.scheme == Scheme::HTTPS || here
        })
    }

    /// With a path, and perhaps a query, behind it.
    pub(crate) fn with(&self, path: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.path))
            .build()
            .ok()
    }
}

/// The headers of a JSON body.
pub(crate) fn json_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_urls_that_a_credential_may_go_to() {
        let base = Base::parse("http://presidio:3000/x/").unwrap();
        assert_eq!(base.with("/analyze").unwrap().to_string(), "http://presidio:3000/x/analyze");
        for url in ["", "presidio", "ftp://x", "/x", "http://u:p@x", "http://x?q"] {
            assert!(Base::parse(url).is_none(), "{url}");
        }
        for url in ["https://x", "http://127.0.0.1:1", "http://localhost", "http://[::1]:2"] {
            assert!(Base::parse_protected(url).is_some(), "{url}");
        }
        assert!(Base::parse_protected("http://dlp.googleapis.com").is_none());
    }
}
