//! `tabellion doctor`: whether this machine and this configuration can do what is asked of them, found out by trying.

use std::net::{TcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tabellion_ledger::{LedgerError, Reader};
use tabellion_store::{DiskStore, RealDisk, Verdict};

use crate::cli::DoctorArgs;
use crate::config::{Config, Protect};
use crate::failure::{Failure, Fault};
use crate::mirror::Target;
use crate::model::Model;
use crate::{Ended, policy, ui};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Line {
    check: String,
    state: State,
    said: String,
}

/// Less room than this is worth a word: it is what acknowledged entries may take before they are published, several times.
const ROOM_BYTES_MIN: u64 = 1 << 30;

pub(crate) fn run(args: &DoctorArgs) -> Ended {
    let config = Config::load(args.log.config.as_deref(), args.log.data.as_deref())?;
    let mut lines = vec![line("configuration", State::Ok, "it can be read, and nothing in it is unknown")];
    lines.push(match policy::engine(&config.redaction.policy, None) {
        Ok(_) => line("redaction.policy", State::Ok, format!("{} can be used", config.redaction.policy)),
        Err(failure) => line("redaction.policy", State::Failed, failure.to_string().replace('\n', "; ")),
    });
    if config.model.is_configured() {
        lines.push(match Model::load(&config.model) {
            Ok(_) => line("model.path", State::Ok, "there is a model, and it answers"),
            Err(failure) => line("model.path", State::Failed, failure.to_string().replace('\n', "; ")),
        });
    }
    lines.extend(data(&config));
    lines.extend(keys(&config));
    lines.push(log(&config));
    lines.push(clock(&config));
    lines.extend(listeners(&config));
    lines.extend(doors(&config));
    lines.extend(upstreams(&config));
    lines.extend(mirror(&config));
    if args.json {
        ui::json(&lines)?;
    } else {
        for line in &lines {
            let state = match line.state {
                State::Ok => "ok     ",
                State::Warning => "warning",
                State::Failed => "FAILED ",
            };
            ui::result(format!("{state}  {:<24}  {}", line.check, line.said))?;
        }
    }
    let failed = lines.iter().any(|line| line.state == State::Failed);
    Ok(if failed { ExitCode::from(Fault::Environment as u8) } else { ExitCode::SUCCESS })
}

fn line(check: impl Into<String>, state: State, said: impl Into<String>) -> Line {
    Line { check: check.into(), state, said: said.into() }
}

/// Where it lies, or where it would be made.
fn existing(path: &Path) -> &Path {
    let mut path = path;
    while !path.exists() {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => path = parent,
            _ => return Path::new("."),
        }
    }
    path
}

fn data(config: &Config) -> Vec<Line> {
    let there = existing(&config.data);
    let probe = there.join(".tabellion-doctor");
    let written = (|| {
        let started = Instant::now();
        let file = std::fs::File::create(&probe)?;
        std::io::Write::write_all(&mut &file, b"tabellion")?;
        file.sync_all()?;
        let took = started.elapsed();
        std::fs::remove_file(&probe)?;
        Ok::<_, std::io::Error>(took)
    })();
    let mut lines = vec![match written {
        Ok(took) => line(
            "data_directory",
            State::Ok,
            format!("{} can be written; a file was on the disk in {:.1} ms", there.display(), took.as_secs_f64() * 1e3),
        ),
        Err(error) => line("data_directory", State::Failed, format!("{} cannot be written: {error}", there.display())),
    }];
    if let Ok(room) = rustix::fs::statvfs(there) {
        let bytes = room.f_bavail.saturating_mul(room.f_frsize);
        let state = if bytes < ROOM_BYTES_MIN || room.f_favail == 0 { State::Warning } else { State::Ok };
        lines.push(line("disk_space", state, format!("{} MiB and {} files are free", bytes >> 20, room.f_favail)));
    }
    if config.ledger.protect == Protect::Immutable {
        lines.push(match RealDisk::new(there).can_make_immutable() {
            Ok(true) => line("immutable_files", State::Ok, "a file was made immutable, and could not be removed then"),
            Ok(false) => line(
                "immutable_files",
                State::Warning,
                "files cannot be made immutable here (the file system, or CAP_LINUX_IMMUTABLE); they will be read-only",
            ),
            Err(error) => line("immutable_files", State::Failed, error.to_string()),
        });
    }
    lines
}

fn keys(config: &Config) -> Vec<Line> {
    let keys = config.keys();
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if absolute(&keys).starts_with(absolute(&config.data)) {
        return vec![line("keys", State::Failed, "the keys lie in the data directory, and would be copied with it")];
    }
    if !keys.exists() {
        return vec![line("keys", State::Ok, format!("{} will be made with the log", keys.display()))];
    }
    let mut open = Vec::new();
    let names = ["log.key", "token.key", "keyring.db", "signed"].map(|name| keys.join(name));
    for path in [keys.clone()].into_iter().chain(names) {
        if std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0) {
            open.push(path.display().to_string());
        }
    }
    vec![if open.is_empty() {
        line("keys", State::Ok, format!("{} is its owner's alone", keys.display()))
    } else {
        line("keys", State::Failed, format!("others can read or write {}", open.join(", ")))
    }]
}

fn log(config: &Config) -> Line {
    let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(&config.data))));
    match reader.checkpoint() {
        Ok(checkpoint) => {
            line("log", State::Ok, format!("{} has {} entries, signed by its key", checkpoint.origin, checkpoint.size))
        }
        Err(LedgerError::Missing { .. }) => line("log", State::Ok, "there is none yet"),
        Err(error) => line("log", State::Failed, error.to_string()),
    }
}

/// Entries carry times, and locks end at some. A clock that is behind what it wrote itself is wrong now or was then.
fn clock(config: &Config) -> Line {
    let now = SystemTime::now();
    let written = std::fs::metadata(config.data.join("log/checkpoint")).and_then(|found| found.modified());
    let ahead = written.ok().and_then(|written| written.duration_since(now).ok()).unwrap_or_default();
    // When this version was made, roughly: no clock is right that says less.
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_760_000_000);
    if now < made {
        line("clock", State::Failed, "the clock is years behind")
    } else if ahead > Duration::from_secs(5) {
        line("clock", State::Failed, format!("the newest checkpoint was written {} s from now", ahead.as_secs()))
    } else {
        line("clock", State::Ok, "it is not behind the newest checkpoint")
    }
}

fn listeners(config: &Config) -> Vec<Line> {
    let running = config.data.join("server.json").exists();
    [("gateway", config.gateway.listen), ("console", config.console.listen)]
        .into_iter()
        .map(|(name, address)| match TcpListener::bind(address) {
            Ok(_) => line(format!("{name}.listen"), State::Ok, format!("{address} is free")),
            Err(_) if running => {
                line(format!("{name}.listen"), State::Ok, format!("{address} is taken, and a server runs"))
            }
            Err(error) => line(format!("{name}.listen"), State::Failed, format!("{address}: {error}")),
        })
        .collect()
}

/// Whether those who connect are shown a certificate, and asked for keys.
fn doors(config: &Config) -> Vec<Line> {
    [("gateway", config.gateway_door()), ("console", config.console_door())]
        .into_iter()
        .filter_map(|(name, door)| match door {
            Ok((_, None)) => None,
            Ok((keys, Some(_))) => {
                let asks = if keys { "everybody needs a key" } else { "keys are optional" };
                Some(line(format!("{name}.tls"), State::Ok, format!("the certificate can be used; {asks}")))
            }
            Err(error) => Some(line(format!("{name}.tls"), State::Failed, Failure::from(error).to_string())),
        })
        .collect()
}

fn upstreams(config: &Config) -> Vec<Line> {
    config
        .upstream
        .iter()
        .map(|upstream| {
            let check = format!("upstream.{}", upstream.name);
            let host = upstream.url.parse::<http::Uri>().ok().and_then(|url| {
                let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
                Some((url.host()?.trim_matches(['[', ']']).to_owned(), port))
            });
            if let Err(error) = upstream.target() {
                return line(check, State::Failed, error.to_string());
            }
            match host.and_then(|host| host.to_socket_addrs().ok()?.next()) {
                Some(_) => line(check, State::Ok, "its name is known"),
                None => line(check, State::Warning, "its name cannot be resolved here, now"),
            }
        })
        .collect()
}

fn mirror(config: &Config) -> Vec<Line> {
    if config.mirror.to.is_empty() {
        return vec![line("mirror", State::Warning, "there is no second copy: [mirror] says where one goes")];
    }
    let target = match Target::open(config, &config.mirror.to) {
        Ok(target) => target,
        Err(failure) => return vec![line("mirror", State::Failed, failure.to_string().replace('\n', "; "))],
    };
    let bucket = match &target {
        Target::Directory(directory) => {
            use std::os::unix::fs::MetadataExt;
            let device = |path: &Path| std::fs::metadata(existing(path)).map(|found| found.dev()).ok();
            return vec![if device(directory) == device(&config.data) {
                line("mirror", State::Warning, "the copy is on the same file system as the log")
            } else {
                line("mirror", State::Ok, "the copy is on another file system than the log")
            }];
        }
        Target::Bucket(bucket) => bucket,
    };
    let findings = bucket.probe();
    let needed = |check| {
        use tabellion_store::Check as C;
        matches!(check, C::Reachable | C::LockConfigured | C::LockKept | C::DeleteRefused | C::ShortenRefused)
    };
    findings
        .into_iter()
        .map(|finding| {
            let state = match finding.verdict {
                Verdict::Held => State::Ok,
                _ if needed(finding.check) => State::Failed,
                _ => State::Warning,
            };
            line(format!("mirror.{}", finding.check), state, finding.said)
        })
        .collect()
}
