//! How fast a log is verified, and how fast the same bytes are hashed by bare
//! SHA-256 on one core in the same run.
//!
//! `cargo run --release -p tabellion-audit --example measure [conversations]`

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tabellion_audit::{DirectorySource, Options, Source, verify};
use tabellion_evidence::content;
use tabellion_evidence::entry::{Content, Entry, Kind, Original, Outcome, Part};
use tabellion_evidence::tile;
use tabellion_evidence::tree::sha256;
use tabellion_ledger::{Append, Ledger};

const TURNS: u64 = 5;
const TEXT: usize = 600;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let conversations: u64 = std::env::args().nth(1).map_or(Ok(2_000), |number| number.parse())?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let options = tabellion_ledger::Options { publish_every: Duration::from_secs(1), ..Default::default() };
    let ledger = Ledger::open(&data, &directory.path().join("keys"), options)?;
    std::thread::scope(|scope| {
        for worker in 0..64 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (worker..conversations).step_by(64) {
                    for append in conversation(number) {
                        ledger.append_blocking(append).expect("the disk takes it");
                    }
                }
            });
        }
    });
    ledger.close();

    let source = DirectorySource(data);
    // Read once, so that both find the same in the page cache.
    let (entries, packs) = bytes_of(&source)?;
    let started = Instant::now();
    for bytes in entries.iter().chain(&packs) {
        std::hint::black_box(Sha256::digest(bytes));
    }
    let bare = started.elapsed().as_secs_f64();
    drop((entries, packs));

    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut out = std::io::stdout().lock();
    let all = rayon::current_num_threads();
    let mut line = |name: &str, seconds: f64, report: &tabellion_audit::Report| {
        let checked = &report.checked;
        let megabytes = (checked.entry_bytes + checked.content_bytes) as f64 / 1e6;
        writeln!(
            out,
            "{name}: {:.0} entries/s, {:.0} MB/s of entries and content, {:.2} of bare SHA-256 on one core \
             (with bodies: {:.0} MB/s hashed, {:.2})",
            checked.entries as f64 / seconds,
            megabytes / seconds,
            bare / seconds,
            (megabytes + checked.body_bytes as f64 / 1e6) / seconds,
            (megabytes + checked.body_bytes as f64 / 1e6) / seconds / (megabytes / bare),
        )
    };
    let run = || {
        let started = Instant::now();
        let report = verify(&source, &Options::default(), &|_| {}).expect("the disk gives it");
        assert!(report.verified, "{:#?}", report.problems);
        (started.elapsed().as_secs_f64(), report)
    };
    let (seconds, report) = one.install(run);
    line("one core", seconds, &report)?;
    let (seconds, report) = run();
    line(&format!("{all} cores"), seconds, &report)?;
    let megabytes = (report.checked.entry_bytes + report.checked.content_bytes) as f64 / 1e6;
    writeln!(
        out,
        "{} entries, {megabytes:.1} MB and {:.1} MB of bodies; bare SHA-256 on one core: {:.0} MB/s",
        report.checked.entries,
        report.checked.body_bytes as f64 / 1e6,
        megabytes / bare,
    )?;
    Ok(())
}

type Bytes = Vec<Vec<u8>>;

fn bytes_of(source: &DirectorySource) -> Result<(Bytes, Bytes), Box<dyn std::error::Error>> {
    let (mut bundles, mut packs) = (Vec::new(), Vec::new());
    let mut directories = vec!["log/tile/entries".to_owned(), "content".to_owned()];
    while let Some(directory) = directories.pop() {
        for name in source.list(&directory)?.unwrap_or_default() {
            let path = format!("{directory}/{name}");
            if let Some(below) = path.strip_suffix('/') {
                directories.push(below.to_owned());
            } else if path.starts_with("content/") {
                packs.extend(source.read(&path)?);
            } else if let Some((_, width)) = path.strip_prefix("log/").and_then(tile::parse_entries_path) {
                let bytes = source.read(&path)?.unwrap_or_default();
                if u64::from(width) == tile::WIDTH {
                    bundles.extend(tile::parse_bundle(&bytes, width)?.into_iter().map(<[u8]>::to_vec));
                }
            }
        }
    }
    Ok((bundles, packs))
}

fn conversation(number: u64) -> Vec<Append> {
    let time = "2026-11-22T10:00:00.000000Z";
    let mut said: Vec<String> = Vec::new();
    let mut appends = Vec::new();
    for turn in 0..TURNS {
        let id = |side: u64| format!("01JD{:022}", (number * TURNS + turn) * 2 + side);
        said.push(format!("{{\"role\":\"user\",\"content\":\"{number} {turn} {}\"}}", "a".repeat(TEXT)));
        let mut request = Entry::new(Kind::Request, id(0), time);
        let parts = body(&mut request, &said);
        appends.push(Append {
            entry: request.to_bytes().expect("it is short"),
            parts: parts.into_iter().map(|part| tabellion_ledger::Part::new(part.to_vec())).collect(),
            ..Append::default()
        });
        said.push(format!("{{\"role\":\"assistant\",\"content\":\"{number} {turn} {}\"}}", "b".repeat(TEXT)));
        let mut response = Entry::new(Kind::Response, id(1), time);
        response.exchange = Some(id(0));
        response.outcome = Some(Outcome::Complete);
        let parts = body(&mut response, &said[said.len() - 1..]);
        appends.push(Append {
            entry: response.to_bytes().expect("it is short"),
            parts: parts.into_iter().map(|part| tabellion_ledger::Part::new(part.to_vec())).collect(),
            ..Append::default()
        });
    }
    appends
}

fn body(entry: &mut Entry, messages: &[String]) -> Vec<Arc<[u8]>> {
    let frame =
        [&b"{\"model\":\"m\",\"messages\":["[..], &vec![&b"\0"[..]; messages.len()].join(&b","[..]), b"]}"].concat();
    let pieces: Vec<&[u8]> = messages.iter().map(String::as_bytes).collect();
    let body = content::assemble(&frame, &pieces).expect("as many places as pieces");
    let all: Vec<&[u8]> = std::iter::once(&frame[..]).chain(pieces.iter().copied()).collect();
    let part = |(n, bytes): (usize, &&[u8])| Part {
        role: if n == 0 { "frame" } else { "user" }.to_owned(),
        sha256: sha256(bytes),
        bytes: bytes.len() as u64,
        findings: BTreeMap::new(),
    };
    entry.upstream = Some("openai".to_owned());
    entry.operation = Some("POST /v1/chat/completions".to_owned());
    entry.model = Some("gpt-4o-mini".to_owned());
    entry.original = Some(Original {
        bytes: body.len() as u64,
        commitment: sha256(&body),
        parts: pieces.iter().map(sha256).collect(),
        sealed: Vec::new(),
    });
    entry.content = Some(Content {
        sha256: Some(sha256(&body)),
        bytes: Some(body.len() as u64),
        parts: all.iter().enumerate().map(part).collect(),
        ..Content::default()
    });
    all.into_iter().map(Arc::from).collect()
}
