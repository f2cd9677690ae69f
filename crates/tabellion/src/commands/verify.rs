//! `tabellion verify`

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tabellion_audit::{DirectorySource, Options, Phase, ProofReport, Report, Source, SourceError, verify_proof};
use tabellion_evidence::note::VerifierKey;
use tabellion_gateway::dialect::Kind;
use tabellion_gateway::{Upstream, Upstreams, read_body};
use tabellion_store::BucketSettings;

use super::serve::runtime;
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::mirror;
use crate::{Ended, said_no, ui};

/// How every tlog-proof begins.
const PROOF_MAGIC: &[u8] = b"c2sp.org/tlog-proof@";

pub(crate) fn run(args: &VerifyArgs) -> Ended {
    let config = Config::load(args.log.config.as_deref(), args.log.data.as_deref())?;
    let options = Options {
        vkey: args.vkey.as_deref().map(key).transpose()?,
        witnesses: args.witness.iter().map(|text| key(text)).collect::<Result<_, _>>()?,
        quorum: args.quorum,
        older: args.checkpoint.as_deref().map(read).transpose()?,
        range: args.range.as_deref().map(range).transpose()?,
    };
    if options.quorum > options.witnesses.len() {
        return Err(Failure::usage("--quorum asks for more witnesses than --witness names"));
    }
    let report = match &args.target {
        Some(url) if BucketSettings::is_bucket(url) => check(&mirror::bucket_source(&config, url)?, &options)?,
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => remote(url, &options)?,
        Some(file) if Path::new(file).is_file() => return proof(Path::new(file), options, &config, args.json),
        Some(directory) => directory_report(Path::new(directory), &options)?,
        None => directory_report(&config.data, &options)?,
    };
    if args.json {
        ui::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { said_no() })
}

/// Verifies a data directory.
pub(crate) fn directory_report(directory: &Path, options: &Options) -> Result<Report, Failure> {
    if !directory.is_dir() {
        return Err(Failure::environment(format!("there is nothing at {}", directory.display())));
    }
    check(&DirectorySource(directory.to_owned()), options)
}

fn check(source: &dyn Source, options: &Options) -> Result<Report, Failure> {
    let bar = ui::progress(0, "");
    let report = tabellion_audit::verify(source, options, &|progress| {
        bar.set_message(match progress.phase {
            Phase::Packs => "content",
            Phase::Bundles => "entries",
            _ => "tiles  ",
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    report.map_err(|error| Failure::environment("the evidence cannot be read").because(error))
}

fn remote(url: &str, options: &Options) -> Result<Report, Failure> {
    if options.vkey.is_none() {
        return Err(Failure::usage("a log's URL needs the log's key: give it with --vkey"));
    }
    let upstream = Upstream::new("log", Kind::Generic, url).ok_or_else(|| Failure::usage("this is no URL"))?;
    let runtime = runtime()?;
    let source = Remote { upstreams: Upstreams::new(vec![upstream], None), runtime: runtime.handle().clone() };
    check(&source, options)
}

/// A log behind a URL: what is below `log/`, and nothing else.
struct Remote {
    upstreams: Upstreams,
    runtime: tokio::runtime::Handle,
}

/// No object of a log is longer: 256 entries of 65,535 bytes, each with its length.
const OBJECT_BYTES_MAX: usize = 256 * (2 + 65_535);
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

impl Source for Remote {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(path) = name.strip_prefix("log/") else { return Ok(None) };
        let path = format!("/log/{path}");
        let target = self.upstreams.route(&path).ok_or_else(|| SourceError::new(name, "no such path"))?;
        self.runtime.block_on(async {
            let headers = HeaderMap::new();
            let answer =
                tokio::time::timeout(TIMEOUT, self.upstreams.send(&target, Method::GET, &headers, Bytes::new()))
                    .await
                    .map_err(|error| SourceError::new(name, error))?
                    .map_err(|error| SourceError::new(name, error))?;
            match answer.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
                status => return Err(SourceError::new(name, format!("the server answered {status}"))),
            }
            let body = read_body(answer.into_body(), OBJECT_BYTES_MAX, TIMEOUT).await;
            body.map(|bytes| Some(bytes.to_vec())).map_err(|error| SourceError::new(name, error))
        })
    }

    fn list(&self, _directory: &str) -> Result<Option<Vec<String>>, SourceError> {
        Ok(None)
    }

    fn has_content(&self) -> bool {
        false
    }
}

fn proof(path: &Path, mut options: Options, config: &Config, json: bool) -> Ended {
    let bytes = read(path)?;
    if !bytes.starts_with(PROOF_MAGIC) {
        return Err(Failure::usage(format!("{} is not a proof", path.display()))
            .hint("verify takes a data directory, a log's URL or a .tlog-proof"));
    }
    let beside = config.data.join("log.vkey");
    if options.vkey.is_none() && beside.is_file() {
        ui::note(format!("note: the key is the one in {}; give one from elsewhere with --vkey", beside.display()));
        options.vkey = Some(key(&beside.display().to_string())?);
    }
    let report = verify_proof(&bytes, options.vkey.as_ref(), &options.witnesses, options.quorum);
    if json {
        ui::json(&report)?;
    } else {
        print_proof(&report)?;
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { said_no() })
}

/// A verifier key, or the file that holds one.
fn key(text: &str) -> Result<VerifierKey, Failure> {
    let bytes = if Path::new(text).is_file() { read(Path::new(text))? } else { text.as_bytes().to_vec() };
    std::str::from_utf8(&bytes).ok().and_then(|text| VerifierKey::parse(text.trim()).ok()).ok_or_else(|| {
        Failure::usage("this is no verifier key").hint("a key looks like name+1234abcd+base64, as in log.vkey")
    })
}

fn range(text: &str) -> Result<Range<u64>, Failure> {
    text.split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?))
        .filter(|range: &Range<u64>| range.start < range.end)
        .ok_or_else(|| Failure::usage("--range must be A..B, with A less than B"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))
}

pub(crate) fn print(report: &Report) -> Result<(), Failure> {
    let checked = &report.checked;
    if let (Some(origin), Some(size), Some(root)) = (&report.origin, report.size, &report.root) {
        ui::result(format!("log       {}", ui::plain(origin)))?;
        ui::result(format!("size      {size}"))?;
        ui::result(format!("root      {root}"))?;
    }
    if let Some((start, end)) = report.range {
        ui::result(format!("range     entries {start} to {end}"))?;
    }
    ui::result(format!(
        "checked   {} entries, {} tiles, {} content parts ({} bytes), {} bodies",
        checked.entries, checked.tiles, checked.parts, checked.content_bytes, checked.bodies
    ))?;
    ui::result(format!("exchanges {}, {} of them open", checked.exchanges, checked.open_exchanges))?;
    for witness in &report.cosignatures {
        ui::result(format!("witness   {} at {}", ui::plain(&witness.witness), witness.time))?;
    }
    for problem in &report.problems {
        ui::result(format!("PROBLEM   {}", ui::plain(&problem.to_string())))?;
    }
    if report.problems_more > 0 {
        ui::result(format!("PROBLEM   and {} more", report.problems_more))?;
    }
    for note in &report.notes {
        ui::result(format!("note      {}", ui::plain(note)))?;
    }
    ui::result(verdict(report.verified))
}

fn print_proof(report: &ProofReport) -> Result<(), Failure> {
    let text = |name: &str, value: Option<String>| match value {
        Some(value) => ui::result(format!("{name:<10}{}", ui::plain(&value))),
        None => Ok(()),
    };
    text("log", report.origin.clone())?;
    text("size", report.size.map(|size| size.to_string()))?;
    text("root", report.root.map(|root| root.to_string()))?;
    text("entry", report.index.map(|index| index.to_string()))?;
    text("kind", report.kind.clone())?;
    text("exchange", report.exchange.clone())?;
    text("time", report.time.clone())?;
    for problem in &report.problems {
        ui::result(format!("PROBLEM   {}", ui::plain(&problem.to_string())))?;
    }
    for note in &report.notes {
        ui::result(format!("note      {}", ui::plain(note)))?;
    }
    ui::result(verdict(report.verified))
}

fn verdict(verified: bool) -> &'static str {
    if verified { "verified" } else { "NOT VERIFIED" }
}
