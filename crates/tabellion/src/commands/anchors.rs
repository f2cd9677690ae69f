//! What `tabellion verify` says of anchors, and whom it asks about Bitcoin blocks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;
use tabellion_audit::anchors::{self, Anchors, AskNode, Trust, Unchecked};
use tabellion_audit::{DirectorySource, Report};
use tabellion_evidence::audit::Problem;
use tabellion_evidence::note::VerifierKey;
use tabellion_evidence::ots::BlockHeader;
use tabellion_evidence::timestamp::{Policy, Roots};
use tabellion_gateway::dialect::Kind;
use tabellion_gateway::{Target, Upstream, Upstreams, read_body};

use super::serve::runtime;
use crate::cli::VerifyArgs;
use crate::failure::Failure;

/// A report, and what anchors say, as one object.
#[derive(Serialize)]
pub(super) struct WithAnchors<'a> {
    #[serde(flatten)]
    pub(super) report: &'a Report,
    pub(super) anchors: &'a Anchors,
}

/// Checks the anchors in a directory; of a log behind a URL there are none.
pub(super) fn check(
    directory: Option<&Path>,
    key: Option<&VerifierKey>,
    args: &VerifyArgs,
) -> Result<Anchors, Failure> {
    let roots = roots(args)?;
    let headers = headers(args)?;
    let no_policy = || Failure::usage("--tsa-policy must be an object identifier, such as 1.3.6.1.4.1.32473.1");
    let policy = args.tsa_policy.as_deref().map(|text| Policy::parse(text).ok_or_else(no_policy)).transpose()?;
    let node = args.bitcoin_node.as_deref().map(Node::new).transpose()?;
    let ask = |height: u64| node.as_ref().map_or(Err("there is no node".to_owned()), |node| node.header(height));
    let trust = Trust {
        roots,
        policy,
        headers,
        node: node.as_ref().map(|_| &ask as AskNode<'_>),
        work_bits_min: args.bitcoin_work_min,
    };
    let Some(directory) = directory else {
        let why = "anchors cannot be had from a URL: verify a copy of the data directory".to_owned();
        return Ok(Anchors { unchecked: vec![Unchecked { file: "anchors".into(), why }], ..Anchors::default() });
    };
    anchors::check(&DirectorySource(directory.to_owned()), key, &trust)
        .map_err(|error| Failure::environment("the anchors cannot be read").because(error))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))
}

/// The roots of authorities that were given.
pub(super) fn roots(args: &VerifyArgs) -> Result<Option<Roots>, Failure> {
    let parse = |path: &PathBuf| {
        Roots::parse(&read(path)?)
            .map_err(|error| Failure::usage(format!("{} has no roots", path.display())).because(error))
    };
    args.tsa_roots.as_ref().map(parse).transpose()
}

/// The block headers that were given.
pub(super) fn headers(args: &VerifyArgs) -> Result<Vec<BlockHeader>, Failure> {
    let parse = |path: &PathBuf| {
        let bytes = read(path)?;
        let header = std::str::from_utf8(&bytes).ok().and_then(BlockHeader::parse_hex);
        header.ok_or_else(|| {
            Failure::usage(format!("{} is no block header", path.display())).hint("it must be 160 hexadecimal digits")
        })
    };
    args.bitcoin_header.iter().map(parse).collect()
}

/// At most so many statements of each kind, the newest; all of them are in the JSON report.
const LINES_MAX: usize = 10;

/// Adds what the anchors say to the report of the log that they are beside.
pub(super) fn enter(anchors: &Anchors, report: &mut Report) {
    if !anchors.existed.is_empty() {
        report.checked_after_all("time");
    }
    for one in newest(&anchors.existed) {
        let (size, time, by, file) = (one.size, one.no_later_than, &one.by, &one.file);
        let text = format!("the first {size} entries existed no later than {time}, by {by} ({file})");
        report.prove("existed", text);
    }
    for one in newest(&anchors.not_before) {
        let text = format!("entries from {} on were recorded not before {} ({})", one.entry, one.time, one.file);
        report.prove("not-before", text);
    }
    for one in &anchors.contradicted {
        report.contradict(Problem::Outside { code: "anchor", text: one.to_string() });
    }
    for one in newest(&anchors.unchecked) {
        report.leave_unchecked("anchor", one.to_string());
    }
}

fn newest<T>(all: &[T]) -> &[T] {
    &all[all.len().saturating_sub(LINES_MAX)..]
}

/// A Bitcoin node, asked by JSON-RPC.
struct Node {
    upstreams: Upstreams,
    authorization: Option<HeaderValue>,
    runtime: tokio::runtime::Runtime,
}

/// Longer than any answer to what is asked.
const ANSWER_BYTES_MAX: usize = 1 << 16;
const TIMEOUT: Duration = Duration::from_secs(30);

impl Node {
    fn new(url: &str) -> Result<Self, Failure> {
        let wrong = || Failure::usage("--bitcoin-node must be an http or https URL");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (host, credential) = match rest.split_once('@') {
            Some((credential, host)) => (host, Some(credential)),
            None => (rest, None),
        };
        let upstream = Upstream::new("node", Kind::Generic, &format!("{scheme}://{host}")).ok_or_else(wrong)?;
        let authorization = credential.map(|credential| {
            let mut value =
                HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credential))).map_err(|_| wrong())?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        });
        Ok(Self {
            upstreams: Upstreams::new(vec![upstream], None),
            authorization: authorization.transpose()?,
            runtime: runtime()?,
        })
    }

    fn header(&self, height: u64) -> Result<BlockHeader, String> {
        let hash = self.ask("getblockhash", serde_json::json!([height]))?;
        let header = self.ask("getblockheader", serde_json::json!([hash, false]))?;
        let header = BlockHeader::parse_hex(&header).ok_or("its answer is no block header")?;
        // A node that mixes blocks up must not pass for one that contradicts a proof.
        if header.id() == hash { Ok(header) } else { Err("its answer is another block's header".to_owned()) }
    }

    fn ask(&self, method: &str, params: serde_json::Value) -> Result<String, String> {
        let body = serde_json::json!({"jsonrpc": "1.0", "id": "tabellion", "method": method, "params": params});
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let target = Target { upstream: &self.upstreams.list()[0], path: "" };
        let exchange = async {
            let body = Bytes::from(body.to_string());
            let answer = self.upstreams.send(&target, Method::POST, &headers, body).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = read_body(answer.into_body(), ANSWER_BYTES_MAX, TIMEOUT).await;
            let body = body.map_err(|error| error.to_string())?;
            if status != StatusCode::OK {
                return Err(format!("it answered {status}"));
            }
            let answer: serde_json::Value = serde_json::from_slice(&body).map_err(|_| "its answer is no JSON")?;
            answer["result"].as_str().map(str::to_owned).ok_or_else(|| "it does not know".to_owned())
        };
        self.runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, exchange).await })
            .map_err(|_| "it did not answer in time".to_owned())?
    }
}
