//! `tabellion bench`

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tabellion_ledger::{Append, Ledger, Options};

use super::serve::runtime;
use crate::cli::{Bench, BenchArgs};
use crate::failure::Failure;
use crate::{Ended, ui};

/// The size of the entries that are appended.
const ENTRY_BYTES: usize = 1024;
const CALLERS: [usize; 4] = [1, 16, 256, 2000];

#[derive(Serialize)]
struct Report {
    bare_fdatasync_per_second: f64,
    bare_fdatasync_p50_ms: f64,
    appends: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    callers: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

pub(crate) fn run(args: &BenchArgs) -> Ended {
    let Bench::Ledger { data, seconds, json } = &args.what;
    let data = data.clone().unwrap_or_else(|| ".".into());
    let scratch = data.join(format!("tabellion-bench-{}", std::process::id()));
    std::fs::create_dir(&scratch).map_err(failed)?;
    let report = measure(&scratch, Duration::from_secs(*seconds));
    let _ = std::fs::remove_dir_all(&scratch);
    let report = report?;
    if *json {
        ui::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(scratch: &Path, time: Duration) -> Result<Report, Failure> {
    let (bare_per_second, bare_p50) = bare(scratch, time)?;
    let mut appends = Vec::new();
    for callers in CALLERS {
        appends.push(append(scratch, callers, time)?);
    }
    Ok(Report { bare_fdatasync_per_second: bare_per_second, bare_fdatasync_p50_ms: ms(bare_p50), appends })
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

fn append(scratch: &Path, callers: usize, time: Duration) -> Result<Measured, Failure> {
    let name = |what: &str| scratch.join(format!("{what}-{callers}"));
    let ledger = Arc::new(Ledger::open(&name("data"), &name("keys"), Options::default())?);
    let started = Instant::now();
    let times = runtime()?.block_on(async {
        let mut tasks = Vec::new();
        for caller in 0..callers {
            let ledger = ledger.clone();
            tasks.push(tokio::spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < time {
                    let mut entry = format!("{caller} {} ", times.len()).into_bytes();
                    entry.resize(ENTRY_BYTES, b'x');
                    let before = Instant::now();
                    ledger.append(Append { entry, parts: Vec::new() }).await?;
                    times.push(before.elapsed());
                }
                Ok(times)
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            let times: Result<Vec<Duration>, tabellion_ledger::AppendError> =
                task.await.map_err(|error| Failure::internal("a caller failed").because(error))?;
            all.extend(times.map_err(|error| Failure::environment("an append was refused").because(error))?);
        }
        Ok::<_, Failure>(all)
    });
    let elapsed = started.elapsed().as_secs_f64();
    ledger.close();
    let mut times = times?;
    let (p50_ms, p99_ms) = (ms(quantile(&mut times, 0.5)), ms(quantile(&mut times, 0.99)));
    Ok(Measured { callers, per_second: times.len() as f64 / elapsed, p50_ms, p99_ms })
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
    ui::result(format!("{:<22}{:>12}{:>10}{:>10}{:>10}", "", "per second", "p50 ms", "p99 ms", "ratio"))?;
    ui::result(format!(
        "{:<22}{bare:>12.0}{:>10.3}{:>10}{:>10}",
        "bare write+fdatasync", report.bare_fdatasync_p50_ms, "", "1.0"
    ))?;
    for m in &report.appends {
        let name = format!("{} callers", m.callers);
        let ratio = m.per_second / bare;
        ui::result(format!("{name:<22}{:>12.0}{:>10.3}{:>10.3}{ratio:>10.1}", m.per_second, m.p50_ms, m.p99_ms))?;
    }
    Ok(())
}

fn failed(error: std::io::Error) -> Failure {
    Failure::environment("cannot write where it is to be measured").because(error)
}
