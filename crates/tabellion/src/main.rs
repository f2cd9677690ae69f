//! The notary for AI systems. See README.md for what it does and ARCHITECTURE.md for where things are.

mod access;
mod anchor;
mod api;
mod chains;
mod cli;
mod commands;
mod config;
mod custody;
mod depth;
mod external;
mod failure;
mod indexer;
mod keys;
mod metrics;
mod mirror;
mod model;
mod notary;
mod originals;
mod pipeline;
mod policy;
mod presidio;
mod remote;
mod retention;
mod secrets;
mod serve;
mod ui;
mod witness;
mod witnesses;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use failure::{Failure, Fault};

/// A tenth less processor time for an exchange than with glibc's allocator (`bench/gateway`), and no worse elsewhere.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What a panic says may quote what it was about, such as the text that was sliced in the wrong place. Where it
    // happened is enough.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        ui::note(format!("error: a defect of ours{place}; please report it"));
    }));
    let cli = cli::Cli::parse();
    // Fields of events are ids, counts, durations and names of rules: see `pipeline` and `serve`. Libraries below may
    // speak of addresses at `debug`, so the filter names only our own crates.
    let filter = EnvFilter::try_from_env("TABELLION_LOG").unwrap_or_else(|_| EnvFilter::new("off,tabellion=info"));
    // A log that cannot be written, on a full disk perhaps, is no reason for anything else to fail.
    tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let ended = std::panic::catch_unwind(|| commands::run(cli.command));
    match ended {
        // The hook has said where.
        Err(_) => ExitCode::from(Fault::Internal as u8),
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            ui::note(format!("error: {failure}"));
            ExitCode::from(failure.fault as u8)
        }
    }
}

/// What commands return when the answer is no, without an error to report.
pub(crate) fn said_no() -> ExitCode {
    ExitCode::from(Fault::Evidence as u8)
}

/// Commands end in an exit code, or in a failure that says who must act.
pub(crate) type Ended = Result<ExitCode, Failure>;
