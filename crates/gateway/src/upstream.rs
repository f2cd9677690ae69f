//! Where requests go.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::dialect::Kind;

/// A provider that requests can go to.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name, which is the first segment of the paths that lead to it.
    pub name: String,
    /// Whose API it speaks.
    pub kind: Kind,
    scheme: Scheme,
    authority: Authority,
    /// What comes before the request's path, without a slash at the end.
    base: String,
    /// The operator's own credential.
    key: Option<HeaderValue>,
}

impl Upstream {
    /// An upstream at an `http` or `https` URL; `None` when it is not one.
    pub fn new(name: &str, kind: Kind, url: &str) -> Option<Self> {
        let parts = url.parse::<Uri>().ok()?.into_parts();
        let scheme = parts.scheme.filter(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let base = parts.path_and_query.as_ref().map_or("", |path| path.path()).trim_end_matches('/').to_owned();
        Some(Self { name: name.to_owned(), kind, scheme, authority: parts.authority?, base, key: None })
    }

    /// With a credential of the operator's own, for clients that bring none; `None` when it cannot stand in a header.
    pub fn with_key(mut self, key: &str) -> Option<Self> {
        let value = match self.kind {
            Kind::Anthropic => key.to_owned(),
            _ => format!("Bearer {key}"),
        };
        let mut value = HeaderValue::try_from(value).ok()?;
        value.set_sensitive(true);
        self.key = Some(value);
        Some(self)
    }

    /// Puts the operator's own credential where the provider looks for it, unless the client has brought one.
    pub fn authorize(&self, headers: &mut HeaderMap) {
        let mut own = CREDENTIALS.into_iter().filter_map(|name| headers.get(name));
        let Some(key) = self.key.clone().filter(|_| own.all(is_ours)) else { return };
        for name in &CREDENTIALS {
            headers.remove(name);
        }
        let name = if self.kind == Kind::Anthropic { CREDENTIALS[1].clone() } else { header::AUTHORIZATION };
        headers.insert(name, key);
    }
}

/// Where a path leads.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The upstream.
    pub upstream: &'a Upstream,
    /// The path that the upstream sees, without its base; with the query.
    pub path: &'a str,
}

/// Why a request did not get an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// No connection could be made.
    #[error("no connection to the provider")]
    Connect,
    /// The connection broke before the answer began.
    #[error("the provider broke off before it answered")]
    BrokeOff,
}

/// All upstreams, and the connections to them.
#[derive(Debug)]
pub struct Upstreams {
    list: Vec<Upstream>,
    default: Option<usize>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Upstreams {
    /// `default` also serves the paths that begin with `/v1/`.
    pub fn new(list: Vec<Upstream>, default: Option<&str>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(Duration::from_secs(10)));
        connector.set_keepalive(Some(Duration::from_secs(60)));
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector);
        let default = list.iter().position(|upstream| Some(&*upstream.name) == default);
        Self { list, default, client }
    }

    /// The upstreams.
    pub fn list(&self) -> &[Upstream] {
        &self.list
    }

    /// Where a request's path and query lead; `None` when nowhere.
    pub fn route<'a>(&'a self, path: &'a str) -> Option<Target<'a>> {
        let first = path.strip_prefix('/')?;
        let (name, rest) = first.find('/').map_or((first, ""), |end| (&first[..end], &first[end..]));
        if let Some(upstream) = self.list.iter().find(|upstream| upstream.name == name) {
            return Some(Target { upstream, path: rest });
        }
        (name == "v1" && !rest.is_empty())
            .then(|| self.default.map(|default| Target { upstream: &self.list[default], path }))
            .flatten()
    }

    /// Sends a request on; returns when the answer's head is there.
    pub async fn send(
        &self,
        target: &Target<'_>,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Unreachable> {
        let upstream = target.upstream;
        let path = format!("{}{}", upstream.base, target.path);
        let path = if path.is_empty() { Ok(PathAndQuery::from_static("/")) } else { path.parse() };
        let uri = Uri::builder()
            .scheme(upstream.scheme.clone())
            .authority(upstream.authority.clone())
            .path_and_query(path.map_err(|_| Unreachable::Connect)?)
            .build()
            .map_err(|_| Unreachable::Connect)?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = request_headers(headers);
        self.client
            .request(request)
            .await
            .map_err(|error| if error.is_connect() { Unreachable::Connect } else { Unreachable::BrokeOff })
    }
}

/// The headers in which clients send what a provider, or Tabellion, is to know them by.
pub const CREDENTIALS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// What a key begins with that Tabellion issued.
pub const KEY_PREFIX: &str = "tbl_";

/// The credential in a header's value: what follows `Bearer`, if that is there.
pub fn credential_of(value: &HeaderValue) -> &[u8] {
    let value = value.as_bytes();
    match value.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
        _ => value,
    }
}

/// Whether Tabellion issued it.
fn is_ours(value: &HeaderValue) -> bool {
    credential_of(value).starts_with(KEY_PREFIX.as_bytes())
}

/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

fn without_hop_by_hop(mut headers: HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
    headers
}

/// What a provider gets of a client's headers: not what is meant for Tabellion.
fn request_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = without_hop_by_hop(headers.clone());
    let ours: Vec<HeaderName> = kept.keys().filter(|name| name.as_str().starts_with("x-tabellion-")).cloned().collect();
    for name in ours {
        kept.remove(name);
    }
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        kept.remove(name);
    }
    // A credential that Tabellion issued is none of the provider's business.
    for name in &CREDENTIALS {
        if kept.get_all(name).iter().any(is_ours) {
            kept.remove(name);
        }
    }
    kept.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    kept
}

/// What a client gets of a provider's headers.
pub fn response_headers(headers: HeaderMap) -> HeaderMap {
    without_hop_by_hop(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams() -> Upstreams {
        let upstream = |name, kind, url| Upstream::new(name, kind, url).unwrap();
        Upstreams::new(
            vec![
                upstream("openai", Kind::OpenAi, "http://127.0.0.1:1"),
                upstream("anthropic", Kind::Anthropic, "http://127.0.0.1:1/base/"),
            ],
            Some("openai"),
        )
    }

    #[test]
    fn a_path_leads_to_the_upstream_that_it_names() {
        let upstreams = upstreams();
        let to = |path| upstreams.route(path).map(|target| (target.upstream.name.clone(), target.path.to_owned()));
        let found = |name: &str, path: &str| Some((name.to_owned(), path.to_owned()));
        assert_eq!(to("/v1/models?x=1"), found("openai", "/v1/models?x=1"));
        assert_eq!(to("/anthropic/v1/messages"), found("anthropic", "/v1/messages"));
        assert_eq!(to("/openai/v1/models"), found("openai", "/v1/models"));
        assert_eq!(to("/openai"), found("openai", ""));
        for nowhere in ["/", "/v1", "/v2/x", "/favicon.ico", "//v1/x", ""] {
            assert_eq!(to(nowhere), None, "{nowhere}");
        }
        assert!(Upstreams::new(Vec::new(), None).route("/v1/models").is_none());
    }

    #[test]
    fn only_http_urls_are_upstreams() {
        for url in ["ftp://x", "x", "http://", "https:/x", "/v1", ""] {
            assert!(Upstream::new("u", Kind::Generic, url).is_none(), "{url}");
        }
    }

    #[test]
    fn what_is_meant_for_tabellion_or_one_connection_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer sk-x"),
            ("x-tabellion-case", "C-1"),
            ("x-tabellion-key", "tbl_x"),
            ("connection", "keep-alive, x-once"),
            ("x-once", "1"),
            ("te", "trailers"),
            ("accept-encoding", "gzip"),
            ("host", "localhost"),
            ("openai-organization", "org"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut names: Vec<_> = request_headers(&headers).keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["accept-encoding", "authorization", "openai-organization"]);
        for name in CREDENTIALS {
            for ours in ["Bearer tbl_x", "bearer  tbl_x", "BEARER tbl_x", "tbl_x"] {
                headers.insert(name.clone(), HeaderValue::from_static(ours));
                assert!(!request_headers(&headers).contains_key(&name), "{name}: {ours}");
            }
        }
    }

    #[test]
    fn the_operators_credential_is_for_clients_that_bring_none() {
        let upstream = |kind| Upstream::new("x", kind, "http://x").unwrap();
        for (kind, name, value) in
            [(Kind::OpenAi, "authorization", "Bearer sk-own"), (Kind::Anthropic, "x-api-key", "sk-own")]
        {
            let with = upstream(kind).with_key("sk-own").unwrap();
            for ours in CREDENTIALS {
                let mut headers = HeaderMap::from_iter([(ours, HeaderValue::from_static("Bearer tbl_x"))]);
                with.authorize(&mut headers);
                assert_eq!(headers.get(name).unwrap(), value);
                assert_eq!(request_headers(&headers).get(name).unwrap(), value);
                assert_eq!(headers.len(), 1);
            }
            let mut headers = HeaderMap::new();
            with.authorize(&mut headers);
            assert_eq!(headers.get(name).unwrap(), value);
            let brought = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer sk-client"))]);
            let mut headers = brought.clone();
            with.authorize(&mut headers);
            assert_eq!(headers, brought);
            upstream(kind).authorize(&mut headers);
            assert_eq!(headers, brought);
        }
        assert!(upstream(Kind::OpenAi).with_key("two\nlines").is_none());
    }
}
