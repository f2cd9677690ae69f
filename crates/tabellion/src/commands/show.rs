//! `tabellion show`

use std::process::ExitCode;

use serde::Serialize;
use tabellion_evidence::entry::{Entry, Manifest, Part};
use tabellion_ledger::Catalog;

use super::Log;
use crate::cli::ShowArgs;
use crate::failure::Failure;
use crate::retention::Expired;
use crate::{Ended, chains, ui};

#[derive(Serialize)]
pub(crate) struct Shown {
    exchange: String,
    /// The legal hold that covers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
    request: Option<Side>,
    response: Option<Side>,
}

#[derive(Serialize)]
struct Side {
    index: u64,
    proven: bool,
    entry: serde_json::Value,
    /// The entry that says that its time was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<u64>,
    parts: Vec<Text>,
}

#[derive(Serialize)]
struct Text {
    role: String,
    text: Option<String>,
}

pub(crate) fn run(args: &ShowArgs) -> Ended {
    let shown = look(&Log::open(&args.log)?, &args.id)?;
    if args.json {
        ui::json(&shown)?;
    } else {
        print(&shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An exchange, with its redacted content.
pub(crate) fn look(log: &Log, id: &str) -> Result<Shown, Failure> {
    let catalog = log.catalog()?;
    let exchange = log.exchange(&catalog, id)?;
    let expired = Expired::read(&log.reader, &catalog)?;
    let side = |index: Option<u64>| index.map(|index| side(log, &catalog, &expired, index)).transpose();
    let held = chains::held_by(&log.reader, &catalog, &chains::state(log, &catalog)?, &exchange)?;
    Ok(Shown { held, request: side(exchange.request)?, response: side(exchange.response)?, exchange: exchange.id })
}

fn side(log: &Log, catalog: &Catalog, expired: &Expired, index: u64) -> Result<Side, Failure> {
    let size = log.reader.checkpoint()?.size;
    let bytes = log.reader.entry(index, size)?;
    let entry = Entry::parse(&bytes).map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
    let proven = log.reader.prove(index)?.verify(&bytes, &log.reader.vkey()?).is_ok();
    let listed: Vec<Part> = match &entry.content {
        None => Vec::new(),
        Some(content) => match content.manifest {
            None => content.parts.clone(),
            Some(manifest) => {
                let bytes = catalog.part(&log.reader, &manifest)?;
                bytes.and_then(|bytes| Manifest::parse(&bytes).ok()).unwrap_or_default().content
            }
        },
    };
    let mut parts = Vec::new();
    for part in listed {
        let bytes = catalog.part(&log.reader, &part.sha256)?;
        parts.push(Text { role: part.role, text: bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) });
    }
    let entry =
        serde_json::from_slice(&bytes).map_err(|error| Failure::evidence("the entry cannot be read").because(error))?;
    Ok(Side { index, proven, entry, expired: expired.by(index), parts })
}

fn print(shown: &Shown) -> Result<(), Failure> {
    ui::result(format!("exchange  {}", shown.exchange))?;
    if let Some(hold) = &shown.held {
        ui::result(format!("held      by {hold}"))?;
    }
    for (name, side) in [("request", &shown.request), ("response", &shown.response)] {
        let Some(side) = side else {
            ui::result(format!("{name:<10}none yet: the exchange is open"))?;
            continue;
        };
        let proof = if side.proven { "in the signed log" } else { "NOT proven: run `tabellion verify`" };
        ui::result(format!("\n{name:<10}entry {}, {proof}", side.index))?;
        for field in
            ["time", "upstream", "operation", "model", "case", "actor", "key", "outcome", "status", "reason", "usage"]
        {
            match side.entry.get(field) {
                None => {}
                Some(serde_json::Value::String(text)) => ui::result(format!("  {field:<10}{}", ui::plain(text)))?,
                Some(other) => ui::result(format!("  {field:<10}{}", ui::plain(&other.to_string())))?,
            }
        }
        if let Some(findings) = side.entry.pointer("/redaction/findings") {
            ui::result(format!("  {:<10}{findings}", "redacted"))?;
        }
        if let Some(commitment) = side.entry.pointer("/original/commitment").and_then(|value| value.as_str()) {
            ui::result(format!("  {:<10}{commitment}", "exact"))?;
        }
        if let Some(sealed) = side.entry.pointer("/original/sealed").and_then(|value| value.as_array()) {
            ui::result(format!(
                "  {:<10}{} pieces; an officer can `tabellion reveal` them, unless erased",
                "sealed",
                sealed.len()
            ))?;
        }
        if let Some(entry) = side.expired {
            ui::result(format!("  {:<10}its time was over, as entry {entry} says; its hashes stay", "expired"))?;
        }
        for part in &side.parts {
            let missing = if side.expired.is_some() { "(removed)" } else { "(missing)" };
            let text = part.text.as_deref().unwrap_or(missing);
            // The zero bytes of a frame stand for the parts below it.
            ui::result(format!("  {:<10}{}", part.role, ui::plain(&text.replace('\0', "…"))))?;
        }
    }
    Ok(())
}
