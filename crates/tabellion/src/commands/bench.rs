//! `tabellion bench`

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use tabellion_gateway::dialect::Kind as Dialect;
use tabellion_gateway::{Upstream, Upstreams, read_body};
use tabellion_ledger::{Append, Ledger, Options};

use super::bench_verify;
use super::serve::runtime;
use crate::cli::{Bench, BenchArgs};
use crate::failure::Failure;
use crate::{Ended, serve, ui};

/// The size of the entries that are appended.
const ENTRY_BYTES: usize = 1024;
const CALLERS: [usize; 4] = [1, 16, 256, 2000];
/// As many call over HTTP.
const HTTP_CALLERS: [usize; 2] = [16, 256];
/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);
/// An answer to `/log/add` is a number.
const ANSWER_BYTES_MAX: usize = 64;
/// A log is filled by so many callers with entries of this size.
const FILLERS: usize = 4000;
const SMALL_ENTRY_BYTES: usize = 64;
/// How many proofs are waited for.
const PROOFS: usize = 100;

#[derive(Serialize)]
struct Report {
    bare_fdatasync_per_second: f64,
    bare_fdatasync_p50_ms: f64,
    appends: Vec<Measured>,
    /// By `POST /log/add`, to a server of its own; the memory is the server's.
    http: Vec<Measured>,
    /// From an acknowledgement until a proof can be had.
    proof_p50_ms: f64,
    proof_max_ms: f64,
    sizes: Vec<AtSize>,
}

#[derive(Serialize)]
struct AtSize {
    entries: u64,
    #[serde(flatten)]
    measured: Measured,
}

#[derive(Serialize)]
struct Measured {
    callers: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// The memory of the process that writes; in process, callers included.
    resident_mb: f64,
}

pub(crate) fn run(args: &BenchArgs) -> Ended {
    match &args.what {
        Bench::Ledger { data, seconds, sizes, json } => {
            let report = in_scratch(data.as_deref(), |scratch| measure(scratch, Duration::from_secs(*seconds), sizes))?;
            if *json {
                ui::json(&report)?;
            } else {
                print(&report)?;
            }
        }
        Bench::Verify { data, entries, entry_bytes, json } => {
            let report = in_scratch(data.as_deref(), |scratch| bench_verify::measure(scratch, *entries, *entry_bytes))?;
            if *json {
                ui::json(&report)?;
            } else {
                bench_verify::print(&report)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// In a directory of its own, which is removed in the end.
fn in_scratch<T>(data: Option<&Path>, measure: impl FnOnce(&Path) -> Result<T, Failure>) -> Result<T, Failure> {
    let scratch = data.unwrap_or(Path::new(".")).join(format!("tabellion-bench-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(failed)?;
    let measured = measure(&scratch);
    let _ = std::fs::remove_dir_all(&scratch);
    measured
}

fn measure(scratch: &Path, time: Duration, sizes: &[u64]) -> Result<Report, Failure> {
    let (bare_per_second, bare_p50) = bare(scratch, time)?;
    let mut appends = Vec::new();
    for callers in CALLERS {
        let ledger = open(scratch, &format!("{callers}-callers"))?;
        appends.push(append(&ledger, callers, ENTRY_BYTES, Until::Time(time))?);
        ledger.close();
    }
    let http = runtime()?.block_on(over_http(scratch, time))?;
    let (proof_p50, proof_max) = proofs(scratch)?;
    let mut at_sizes = Vec::new();
    if !sizes.is_empty() {
        let ledger = open(scratch, "sizes")?;
        for &entries in sizes {
            let have = *ledger.published().borrow();
            if entries > have {
                append(&ledger, FILLERS, SMALL_ENTRY_BYTES, Until::Count(entries - have))?;
            }
            let measured = append(&ledger, 256, ENTRY_BYTES, Until::Time(time))?;
            at_sizes.push(AtSize { entries, measured });
        }
        ledger.close();
    }
    Ok(Report {
        bare_fdatasync_per_second: bare_per_second,
        bare_fdatasync_p50_ms: ms(bare_p50),
        appends,
        http,
        proof_p50_ms: ms(proof_p50),
        proof_max_ms: ms(proof_max),
        sizes: at_sizes,
    })
}

fn open(scratch: &Path, name: &str) -> Result<Arc<Ledger>, Failure> {
    let (data, keys) = (scratch.join(name), scratch.join(format!("{name}.keys")));
    Ok(Arc::new(Ledger::open(&data, &keys, Options::default())?))
}

/// How long a log takes to have a proof of an entry that it acknowledged: of entries that come at any moment of a
/// publication's round, while others are appended.
fn proofs(scratch: &Path) -> Result<(Duration, Duration), Failure> {
    let ledger = open(scratch, "proofs")?;
    let entry = |n: usize| Append { entry: format!("proof {n}").into_bytes(), ..Append::default() };
    let refused = |error| Failure::environment("an append was refused").because(error);
    let mut times = runtime()?.block_on(async {
        let background = {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let append = Append { entry: format!("other {n}").into_bytes(), ..Append::default() };
                    if ledger.append(append).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        };
        let mut times = Vec::new();
        for n in 0..PROOFS {
            // A prime number of milliseconds drifts through the rounds.
            tokio::time::sleep(Duration::from_millis(37)).await;
            let index = ledger.append(entry(n)).await.map_err(refused)?;
            let acknowledged = Instant::now();
            let mut published = ledger.published();
            let _ = published.wait_for(|&size| size > index).await;
            ledger.reader().prove(index)?;
            times.push(acknowledged.elapsed());
        }
        background.abort();
        Ok::<_, Failure>(times)
    })?;
    ledger.close();
    Ok((quantile(&mut times, 0.5), quantile(&mut times, 1.0)))
}

/// Appends over HTTP to a server on this machine, which shares the processors with the callers.
async fn over_http(scratch: &Path, time: Duration) -> Result<Vec<Measured>, Failure> {
    let data = scratch.join("http");
    let mut server = Server::start(&data)?;
    let url = server.url(&data).await?;
    let mut measured = Vec::new();
    for callers in HTTP_CALLERS {
        let upstream = Upstream::new("log", Dialect::Generic, &url);
        let upstreams = Arc::new(Upstreams::new(
            vec![upstream.ok_or_else(|| Failure::internal("the server has no address"))?],
            None,
        ));
        let started = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let upstreams = upstreams.clone();
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while started.elapsed() < time {
                        let mut entry = format!("{caller} {} ", times.len()).into_bytes();
                        entry.resize(ENTRY_BYTES, b'x');
                        let before = Instant::now();
                        add(&upstreams, entry.into()).await?;
                        times.push(before.elapsed());
                    }
                    Ok::<_, Failure>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.map_err(|error| Failure::internal("a caller failed").because(error))??);
        }
        let per_second = times.len() as f64 / started.elapsed().as_secs_f64();
        let resident_mb = memory(server.0.id(), "VmRSS:");
        let (p50_ms, p99_ms) = (ms(quantile(&mut times, 0.5)), ms(quantile(&mut times, 0.99)));
        measured.push(Measured { callers, per_second, p50_ms, p99_ms, resident_mb });
    }
    Ok(measured)
}

async fn add(upstreams: &Upstreams, entry: Bytes) -> Result<(), Failure> {
    let target = upstreams.route("/log/log/add").ok_or_else(|| Failure::internal("no such path"))?;
    let answer = upstreams.send(&target, Method::POST, &HeaderMap::new(), entry).await;
    let answer = answer.map_err(|error| Failure::environment("the server does not answer").because(error))?;
    let status = answer.status();
    let body = read_body(answer.into_body(), ANSWER_BYTES_MAX, START_MAX).await;
    match body {
        Ok(_) if status == StatusCode::OK => Ok(()),
        _ => Err(Failure::environment(format!("an append was refused: {status}"))),
    }
}

/// `tabellion serve`, until it is dropped.
struct Server(Child);

impl Server {
    fn start(data: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(data);
        command.env("TABELLION_LOG_ADD", "true");
        command.env("TABELLION_GATEWAY_LISTEN", "127.0.0.1:0").env("TABELLION_CONSOLE_LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(failed)
    }

    async fn url(&mut self, data: &Path) -> Result<String, Failure> {
        let started = Instant::now();
        while started.elapsed() < START_MAX && self.0.try_wait().map_err(failed)?.is_none() {
            if let Ok(Some(url)) = serve::console_of(data) {
                return Ok(url);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::environment("the server does not start"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it has written is removed next.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the machine itself does: append so many bytes to a file, `fdatasync`, again.
fn bare(scratch: &Path, time: Duration) -> Result<(f64, Duration), Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(scratch.join("bare")).map_err(failed)?;
    let (bytes, started, mut times) = ([b'x'; ENTRY_BYTES], Instant::now(), Vec::new());
    while started.elapsed() < time {
        let before = Instant::now();
        file.write_all_at(&bytes, (times.len() * ENTRY_BYTES) as u64).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        times.push(before.elapsed());
    }
    let per_second = times.len() as f64 / started.elapsed().as_secs_f64();
    Ok((per_second, quantile(&mut times, 0.5)))
}

/// When callers stop.
#[derive(Clone, Copy)]
enum Until {
    Time(Duration),
    /// So many of them all together.
    Count(u64),
}

fn append(ledger: &Arc<Ledger>, callers: usize, entry_bytes: usize, until: Until) -> Result<Measured, Failure> {
    let started = Instant::now();
    let appended = Arc::new(AtomicU64::new(0));
    let times = runtime()?.block_on(async {
        let mut tasks = Vec::new();
        for caller in 0..callers {
            let (ledger, appended) = (ledger.clone(), appended.clone());
            tasks.push(tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let more = match until {
                        Until::Time(time) => started.elapsed() < time,
                        Until::Count(count) => appended.fetch_add(1, Ordering::Relaxed) < count,
                    };
                    if !more {
                        return Ok(times);
                    }
                    let mut entry = format!("{caller} {} ", times.len()).into_bytes();
                    entry.resize(entry_bytes, b'x');
                    let before = Instant::now();
                    ledger.append(Append { entry, ..Append::default() }).await?;
                    times.push(before.elapsed().as_nanos() as u64);
                }
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            let times: Result<Vec<u64>, tabellion_ledger::AppendError> =
                task.await.map_err(|error| Failure::internal("a caller failed").because(error))?;
            all.extend(times.map_err(|error| Failure::environment("an append was refused").because(error))?);
        }
        Ok::<_, Failure>(all)
    })?;
    let elapsed = started.elapsed().as_secs_f64();
    let count = times.len();
    let resident_mb = memory(std::process::id(), "VmRSS:");
    let mut times: Vec<Duration> = times.into_iter().map(Duration::from_nanos).collect();
    let (p50_ms, p99_ms) = (ms(quantile(&mut times, 0.5)), ms(quantile(&mut times, 0.99)));
    Ok(Measured { callers, per_second: count as f64 / elapsed, p50_ms, p99_ms, resident_mb })
}

/// A process's memory as Linux counts it, in megabytes; 0 elsewhere, and of one that has ended.
pub(super) fn memory(process: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e6
}

fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort_unstable();
    times.get(((times.len() as f64 - 1.0) * q) as usize).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn print(report: &Report) -> Result<(), Failure> {
    let bare = report.bare_fdatasync_per_second;
    ui::result(format!("entries of {ENTRY_BYTES} bytes, acknowledged when durable\n"))?;
    ui::result(format!("{:<26}{:>12}{:>10}{:>10}{:>10}{:>10}", "", "per second", "p50 ms", "p99 ms", "ratio", "MB"))?;
    let p50 = report.bare_fdatasync_p50_ms;
    ui::result(format!("{:<26}{bare:>12.0}{p50:>10.3}{:>10}{:>10}", "bare write+fdatasync", "", "1.0"))?;
    let line = |name: String, m: &Measured| {
        let ratio = m.per_second / bare;
        ui::result(format!(
            "{name:<26}{:>12.0}{:>10.3}{:>10.3}{ratio:>10.1}{:>10.0}",
            m.per_second, m.p50_ms, m.p99_ms, m.resident_mb
        ))
    };
    for m in &report.appends {
        line(format!("{} callers", m.callers), m)?;
    }
    for m in &report.http {
        line(format!("{} callers, /log/add", m.callers), m)?;
    }
    for at in &report.sizes {
        line(format!("256, {} entries there", at.entries), &at.measured)?;
    }
    ui::result(format!(
        "\na proof {:.0} ms after the acknowledgement (p50), {:.0} ms at most",
        report.proof_p50_ms, report.proof_max_ms
    ))
}

pub(super) fn failed(error: std::io::Error) -> Failure {
    Failure::environment("cannot write where it is to be measured").because(error)
}
