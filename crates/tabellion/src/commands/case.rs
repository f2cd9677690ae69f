//! `tabellion case`

use std::process::ExitCode;

use super::{Log, report, search};
use crate::chains::{self, Link};
use crate::cli::{CaseArgs, CaseCommand, LogArgs};
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::{Ended, said_no, ui};

pub(crate) fn run(args: &CaseArgs) -> Ended {
    match &args.command {
        CaseCommand::Open { case, reason, log } => {
            record(log, reason.as_ref(), What::CaseOpen { case: case.clone() }, "open")
        }
        CaseCommand::Close { case, reason, log } => {
            record(log, reason.as_ref(), What::CaseClose { case: case.clone() }, "closed")
        }
        CaseCommand::List { json, log } => {
            let log = Log::open(log)?;
            for line in chains::cases(&chains::state(&log, &log.catalog()?)?) {
                if *json {
                    ui::json(&line)?;
                    continue;
                }
                let closed = line.closed.map(|entry| format!(", closed by entry {entry}")).unwrap_or_default();
                ui::result(format!("{}  opened by entry {}{closed}", ui::plain(&line.case), line.opened))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        CaseCommand::Report(args) => report::run(args),
        CaseCommand::Custody { case, json, log } => {
            let log = Log::open(log)?;
            let links = chains::chain(&log, &search::redacted(&log, case)?)?;
            for link in &links {
                if *json { ui::json(link)? } else { print(link)? }
            }
            if links.is_empty() {
                ui::note("nothing of this case is in the log");
                return Ok(said_no());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn record(log: &LogArgs, reason: Option<&String>, what: What, state: &str) -> Ended {
    let log = Log::open(log)?;
    let act = Act { actor: custody::operator(), why: reason.cloned(), approval: None, what };
    let entry = custody::record(&log.config, &log.reader, act)?.entry;
    ui::note(format!("the case is {state}; entry {entry} says so"));
    Ok(ExitCode::SUCCESS)
}

fn print(link: &Link) -> Result<(), Failure> {
    let who = link.actor.as_deref().unwrap_or("-");
    ui::result(ui::plain(&format!("{:>8}  {}  {:<20}{who}", link.entry, link.time, link.kind)))?;
    let approved = link.approved.as_ref().map(|approved| {
        let by = approved.by.as_deref().unwrap_or("an officer");
        let key = approved.key.as_deref().unwrap_or("-");
        format!("{by}, with {key}, by entry {}", approved.entry)
    });
    let leaf = Some(link.leaf.to_string());
    let facts =
        [("why", &link.why), ("key", &link.key), ("from", &link.from), ("approved", &approved), ("leaf hash", &leaf)];
    for (name, value) in facts {
        if let Some(value) = value {
            ui::result(ui::plain(&format!("          {name:<10}{value}")))?;
        }
    }
    for (name, value) in &link.what {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        ui::result(ui::plain(&format!("          {name:<10}{value}")))?;
    }
    Ok(())
}
