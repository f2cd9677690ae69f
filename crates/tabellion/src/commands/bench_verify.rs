//! `tabellion bench verify`: a large log is written as a gateway would have, read through once so that it lies in the
//! page cache if it fits, hashed by bare SHA-256, and verified.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tabellion_evidence::audit::{Nodes, subtree_root};
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::note::SigningKey;
use tabellion_evidence::tile::{self, TileId, WIDTH};
use tabellion_evidence::tree::{Hash, leaf_hash};

use super::bench::{failed, memory};
use crate::failure::Failure;
use crate::ui;

#[derive(Serialize)]
pub(super) struct Report {
    entries: u64,
    bytes: u64,
    cores: usize,
    /// Bare SHA-256 of every bundle and tile, each file as a whole, on all cores.
    sha256_seconds: f64,
    sha256_cpu_seconds: f64,
    verify_seconds: f64,
    verify_cpu_seconds: f64,
    /// Of the speed of bare SHA-256: 1 would be as fast.
    ratio: f64,
    /// The same by processor time, for a machine that others use as well.
    cpu_ratio: f64,
    entries_per_second: f64,
    /// The most memory that verifying took.
    peak_mb: f64,
}

pub(super) fn measure(scratch: &Path, entries: u64, entry_bytes: usize) -> Result<Report, Failure> {
    let files = write(scratch, entries, entry_bytes)?;
    let hash = |path: &PathBuf| -> Result<u64, Failure> {
        let bytes = std::fs::read(path).map_err(failed)?;
        std::hint::black_box(Sha256::digest(&bytes));
        Ok(bytes.len() as u64)
    };
    let hash_all = || files.par_iter().map(hash).try_reduce(|| 0, |a, b| Ok(a + b));
    hash_all()?;
    let started = Instant::now();
    let bytes = hash_all()?;
    let sha256_seconds = started.elapsed().as_secs_f64();
    let hash_cpu = cpu("utime");
    hash_all()?;
    let sha256_cpu_seconds = cpu("utime") - hash_cpu;

    // A process of its own, whose memory is nothing but what verifying takes.
    let started = Instant::now();
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg("verify")
        .arg(scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut peak_mb: f64 = 0.0;
    let status = loop {
        peak_mb = peak_mb.max(memory(child.id(), "VmHWM:"));
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        std::thread::sleep(POLL);
    };
    let verify_seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(Failure::internal("the log that was to be verified is wrong"));
    }
    let verify_cpu_seconds = cpu("cutime");
    Ok(Report {
        entries,
        bytes,
        cores: rayon::current_num_threads(),
        sha256_seconds,
        sha256_cpu_seconds,
        verify_seconds,
        verify_cpu_seconds,
        ratio: sha256_seconds / verify_seconds,
        cpu_ratio: sha256_cpu_seconds / verify_cpu_seconds,
        entries_per_second: entries as f64 / verify_seconds,
        peak_mb,
    })
}

/// How often the memory of the process that verifies is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Processor seconds of this process (`utime`) or of those that it waited for (`cutime`), user and system, as Linux
/// counts them: in hundredths. What others do on the machine changes them less than it changes the time that passes.
fn cpu(first: &str) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc_pid_stat(5): the fields after the program's name, which ends with the last parenthesis, begin with the third.
    let at = if first == "utime" { 14 } else { 16 };
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(at - 3).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

pub(super) fn print(report: &Report) -> Result<(), Failure> {
    let megabytes = report.bytes as f64 / 1e6;
    ui::result(format!("{} entries, {megabytes:.0} MB of bundles and tiles, {} cores", report.entries, report.cores))?;
    let (bare, verify) = (report.sha256_seconds, report.verify_seconds);
    ui::result(format!("bare SHA-256  {bare:>8.2} s  {:>8.0} MB/s", megabytes / bare))?;
    ui::result(format!(
        "verify        {verify:>8.2} s  {:>8.0} MB/s  {:.0} entries a second",
        megabytes / verify,
        report.entries_per_second
    ))?;
    ui::result(format!(
        "verify is {:.0} % as fast as bare SHA-256 ({:.0} % by processor time); memory {:.0} MB at most",
        report.ratio * 100.0,
        report.cpu_ratio * 100.0,
        report.peak_mb
    ))
}

/// Writes the log's files, and names its bundles and tiles.
fn write(data: &Path, entries: u64, entry_bytes: usize) -> Result<Vec<PathBuf>, Failure> {
    let key = SigningKey::from_seed("bench.example/log", [7; 32])
        .map_err(|error| Failure::internal("no key").because(error))?;
    let vkey = key.verifier().to_string();
    let bundle = |number: u64| -> Result<(PathBuf, Vec<Hash>), Failure> {
        let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
        for index in number * WIDTH..entries.min((number + 1) * WIDTH) {
            let entry = entry(index, entry_bytes, &vkey);
            leaves.push(leaf_hash(entry.as_bytes()));
            tile::encode_entry(&mut bytes, entry.as_bytes());
        }
        let path = put(data, &format!("log/{}", tile::entries_path(number, leaves.len() as u16)), &bytes)?;
        Ok((path, leaves))
    };
    let bundles: Vec<(PathBuf, Vec<Hash>)> =
        (0..entries.div_ceil(WIDTH)).into_par_iter().map(bundle).collect::<Result<_, _>>()?;
    let above = bundles.par_iter().filter(|(_, leaves)| leaves.len() as u64 == WIDTH);
    let above = above.map(|(_, leaves)| subtree_root(leaves)).collect();
    let (mut files, mut leaves) = (Vec::new(), Vec::new());
    for (path, of) in bundles {
        files.push(path);
        leaves.extend(of);
    }
    let nodes = Nodes::new(leaves, above);
    let ids: Vec<TileId> = tile::tiles_of(entries).collect();
    let tiles = ids.into_par_iter().map(|id| {
        let bytes: Vec<u8> = nodes.tile_at(id.level, id.index).iter().flat_map(|hash| hash.0).collect();
        put(data, &format!("log/{}", id.path()), &bytes)
    });
    files.extend(tiles.collect::<Result<Vec<_>, _>>()?);
    let root = nodes.root(entries).ok_or_else(|| Failure::internal("the tree has no root"))?;
    let head = Checkpoint::new(key.verifier().name(), entries, root);
    put(data, "log/checkpoint", checkpoint::sign(&head, &key).as_bytes())?;
    put(data, "log.vkey", format!("{vkey}\n").as_bytes())?;
    Ok(files)
}

fn put(data: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let path = data.join(name);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(&path, bytes).map_err(failed)?;
    Ok(path)
}

/// An entry as the gateway writes them: a start, then requests and their responses, in one session.
fn entry(index: u64, bytes: usize, vkey: &str) -> String {
    let mut entry = String::with_capacity(bytes + 64);
    let _ = write!(
        entry,
        "{{\"v\":1,\"kind\":\"{}\",\"id\":\"01JDA5{index:020}\"",
        match (index, index % 2) {
            (0, _) => "custody.start",
            (_, 1) => "exchange.request",
            _ => "exchange.response",
        }
    );
    if index > 0 {
        let request = if index % 2 == 1 { index } else { index - 1 };
        let _ = write!(entry, ",\"exchange\":\"01JDA5{request:020}\"");
    }
    let (minute, second) = (index / 60_000_000 % 60, index / 1_000_000 % 60);
    let _ = write!(
        entry,
        ",\"time\":\"2026-11-22T10:{minute:02}:{second:02}.{:06}Z\",\"producer\":\"01JDA5N0000000000000000000\",\
         \"seq\":{index}",
        index % 1_000_000
    );
    entry.push_str(match (index, index % 2) {
        (0, _) => "",
        (_, 1) => {
            ",\"upstream\":\"openai\",\"operation\":\"POST /v1/chat/completions\",\"model\":\"gpt-4o-mini\",\
             \"actor\":\"k_9f2c41ab\""
        }
        _ => ",\"upstream\":\"openai\"",
    });
    let original =
        format!(",\"original\":{{\"bytes\":846,\"commitment\":\"{index:064x}\",\"parts\":[\"{:064x}\"]}}", index + 1);
    let end = match (index, index % 2) {
        (0, _) => format!(",\"key\":\"{vkey}\""),
        (_, 1) => String::new(),
        _ => ",\"outcome\":\"complete\",\"status\":200".to_owned(),
    };
    // Tags make it as long as it is to be.
    let known = entry.len() + ",\"tags\":{\"pad\":\"\"}".len() + original.len() + end.len();
    let rest = bytes.saturating_sub(known);
    if rest > 0 {
        let _ = write!(entry, ",\"tags\":{{\"pad\":\"{}\"}}", "x".repeat(rest));
    }
    entry.push_str(&original);
    entry.push_str(&end);
    entry.push('}');
    entry
}
