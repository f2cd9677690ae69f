//! COSE receipts and statements (RFC 9942, RFC 9943): what `tabellion prove` writes and `tabellion verify` reads of them.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use tabellion_audit::Options;
use tabellion_evidence::Hash;
use tabellion_evidence::checkpoint;
use tabellion_evidence::cose::{self, CoseError, Included};
use tabellion_evidence::entry::Entry;
use tabellion_evidence::note::VerifierKey;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::tree;
use tabellion_ledger::ReceiptSigner;

use super::Log;
use crate::cli::{Cose, VerifyArgs};
use crate::failure::Failure;
use crate::{Ended, said_no, ui};

/// The entry's receipt, or the statement around it.
pub(super) fn of_entry(log: &Log, proof: &Proof, entry: &[u8], what: Cose) -> Result<Vec<u8>, Failure> {
    let read = Entry::parse(entry).map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
    let signer = ReceiptSigner::open(&log.config.keys())?;
    let made = match what {
        Cose::Statement => signer.statement(proof, entry, &read.id),
        Cose::Receipt => signer.inclusion(proof, entry, &read.id),
    };
    let bytes = made.map_err(cannot)?;
    // What is handed out is checked first, as whoever receives it will.
    let key = log.reader.vkey()?;
    let checked = match what {
        Cose::Statement => cose::verify_statement(&bytes, &key).map(drop),
        Cose::Receipt => cose::verify_inclusion(&bytes, entry, &key).map(drop),
    };
    checked.map_err(cannot)?;
    Ok(bytes)
}

/// A receipt that the newest tree extends an older checkpoint's.
pub(super) fn extends(log: &Log, older: &Path) -> Result<Vec<u8>, Failure> {
    let key = log.reader.vkey()?;
    let signed = |bytes: &[u8]| {
        checkpoint::verify(bytes, &key).map_err(|error| Failure::evidence("the checkpoint is refused").because(error))
    };
    let older = signed(&read(older)?)?;
    let newer = signed(&log.reader.checkpoint_note()?)?;
    if older.size > newer.size {
        return Err(Failure::evidence("the log has fewer entries than the older checkpoint"));
    }
    let hashes = tree::consistency_proof(older.size, newer.size, &log.reader.tiles())
        .map_err(|error| Failure::evidence("the tiles cannot be used").because(error))?;
    ReceiptSigner::open(&log.config.keys())?.consistency(&older, &newer, &hashes).map_err(cannot)
}

fn cannot(error: CoseError) -> Failure {
    let failure = Failure::evidence("there is no receipt for this").because(error);
    if error == CoseError::Empty { failure.hint("ask again when the log has more entries") } else { failure }
}

pub(super) fn write(bytes: &[u8], output: Option<&Path>) -> Ended {
    match output {
        None => ui::raw(bytes)?,
        Some(path) => std::fs::write(path, bytes)
            .map_err(|error| Failure::environment(format!("cannot write {}", path.display())).because(error))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))
}

#[derive(Default, Serialize)]
struct Report {
    verified: bool,
    origin: Option<String>,
    size: Option<u64>,
    root: Option<Hash>,
    index: Option<u64>,
    /// Of a receipt that a tree extends another: the size of that.
    extends: Option<u64>,
    problems: Vec<String>,
}

/// Checks a statement, or a receipt with the entry or the older checkpoint that it is about.
pub(super) fn verify(bytes: &[u8], is_statement: bool, options: &Options, args: &VerifyArgs) -> Ended {
    let key = options.vkey.as_ref().ok_or_else(|| Failure::usage("the log's key is needed: give it with --vkey"))?;
    if options.quorum > 0 {
        return Err(Failure::usage("a COSE receipt has no cosignatures").hint("ask for a .tlog-proof"));
    }
    let mut report = Report { origin: Some(key.name().to_owned()), ..Report::default() };
    match outcome(bytes, is_statement, key, options, args)? {
        Ok(found) => {
            report.verified = true;
            report.size = Some(found.included.size);
            report.root = Some(found.included.root);
            report.index = found.extends.is_none().then_some(found.included.index);
            report.extends = found.extends;
        }
        Err(error) => report.problems.push(error),
    }
    if args.json {
        ui::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { said_no() })
}

struct Found {
    included: Included,
    extends: Option<u64>,
}

fn outcome(
    bytes: &[u8],
    is_statement: bool,
    key: &VerifierKey,
    options: &Options,
    args: &VerifyArgs,
) -> Result<Result<Found, String>, Failure> {
    let found = |included| Found { included, extends: None };
    let checked = if is_statement {
        cose::verify_statement(bytes, key).map(|statement| found(statement.included))
    } else if let Some(entry) = &args.entry {
        cose::verify_inclusion(bytes, &read(entry)?, key).map(|included| found(included.into_inner()))
    } else if let [older, ..] = &*options.older {
        let older = match checkpoint::verify(older, key) {
            Ok(older) => older,
            Err(error) => return Ok(Err(format!("the older checkpoint is refused: {error}"))),
        };
        cose::verify_consistency(bytes, &older, key).map(|newer| Found {
            included: Included { size: newer.size, index: 0, root: newer.root },
            extends: Some(older.size),
        })
    } else {
        return Err(Failure::usage("a receipt is about an entry, or about an older checkpoint")
            .hint("give it with --entry, or with --checkpoint"));
    };
    Ok(checked.map_err(|error| error.to_string()))
}

fn print(report: &Report) -> Result<(), Failure> {
    let line = |name: &str, value: Option<String>| match value {
        Some(value) => ui::result(format!("{name:<10}{}", ui::plain(&value))),
        None => Ok(()),
    };
    line("log", report.origin.clone())?;
    line("size", report.size.map(|size| size.to_string()))?;
    line("root", report.root.map(|root| root.to_string()))?;
    line("entry", report.index.map(|index| index.to_string()))?;
    line("extends", report.extends.map(|size| format!("the log of {size} entries")))?;
    for problem in &report.problems {
        line("PROBLEM", Some(problem.clone()))?;
    }
    ui::result(if report.verified { "verified" } else { "NOT VERIFIED" })
}
