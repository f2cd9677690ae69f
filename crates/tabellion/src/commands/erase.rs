//! `tabellion erase`

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use tabellion_evidence::custody as rules;
use tabellion_evidence::entry::{Entry, Erase, Kind};
use tabellion_search::Query;
use tabellion_vault::Reading;

use super::{Log, reveal, search};
use crate::cli::EraseArgs;
use crate::custody::{self, Act, ErasedSummary, What};
use crate::failure::Failure;
use crate::secrets::Secrets;
use crate::{Ended, policy, ui};

/// An entry has room for so many ranges, whatever their numbers are.
const RANGES_MAX: usize = 1_000;

#[derive(Default, Serialize)]
struct Report {
    exchanges: u64,
    open: u64,
    entries: u64,
    pieces: u64,
    /// Pieces that can still be opened, with the exchange that keeps them.
    remaining: Vec<(String, String)>,
    recorded: Vec<u64>,
    backup: Option<String>,
}

/// Destroys what opens originals.
///
/// 1. What is asked for is looked up; a person only by token.
/// 2. For at most so many at a time: whoever has the log records what is erased, and destroys it (`custody`).
/// 3. The keyring is asked whether it is gone.
pub(crate) fn run(args: &EraseArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let (selection, exchanges) = select(args, &log)?;
    let mut report = Report { exchanges: exchanges.len() as u64, ..Report::default() };
    let mut entries = Vec::new();
    for exchange in &exchanges {
        report.open += u64::from(exchange.response.is_none());
        entries.extend(exchange.request);
        entries.extend(exchange.response);
    }
    let ranges = Erase::ranges(entries.clone());
    if ranges.len() > RANGES_MAX && (args.ask || args.approval.is_some()) {
        return Err(Failure::usage(format!(
            "an approval is of one act, and these are in more than {RANGES_MAX} places"
        ))
        .hint("erase fewer at a time"));
    }
    for ranges in ranges.chunks(RANGES_MAX) {
        let erase = Erase { entries: ranges.to_vec(), selection: selection.clone(), basis: args.basis.clone() };
        let (actor, why) = (custody::operator(), Some(args.reason.clone()));
        if args.ask {
            return custody::ask_approval(&log, actor, why, &Kind::Erase, rules::erase_details(&erase));
        }
        let act = Act { actor, why, approval: args.approval, what: What::Erase(erase) };
        let recorded = custody::record(&log.config, &log.reader, act)?;
        report.recorded.push(recorded.entry);
        let ErasedSummary { entries, pieces, remaining } =
            recorded.erased.ok_or_else(|| Failure::internal("an erasure came to nothing"))?;
        report.entries += entries;
        report.pieces += pieces;
        report.remaining.extend(remaining.into_iter().map(|(name, because)| (name.to_string(), because)));
    }
    let keyring = Reading::open(&log.config.keys())?;
    let size = log.reader.checkpoint()?.size;
    for index in entries {
        let entry = Entry::parse(&log.reader.entry(index, size)?)
            .map_err(|error| Failure::evidence("an entry cannot be read").because(error))?;
        if reveal::leaf(&keyring, &entry)?.is_some() {
            return Err(Failure::internal(format!("the salts of entry {index} can still be derived")));
        }
    }
    report.backup = keyring.backed_up()?;
    if args.json {
        ui::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked for, as it goes on the record, and the exchanges that it is.
type Selected = (BTreeMap<String, String>, Vec<tabellion_ledger::Exchange>);

fn select(args: &EraseArgs, log: &Log) -> Result<Selected, Failure> {
    let query = Query { limit: usize::MAX, ..Query::default() };
    let (name, said, query) = match (&args.case, &args.subject) {
        (Some(case), _) => {
            let case = search::redacted(log, case)?;
            ("case", case.clone(), Query { case: Some(case), ..query })
        }
        (None, Some(subject)) => {
            let secrets = Secrets::existing(&log.config.keys())?.ok_or_else(|| {
                Failure::environment("the token key is not here")
                    .hint("--subject needs token.key from the keys directory")
            })?;
            let tokens = policy::redactor(&log.config.redaction.policy, None, &secrets)?.subject_tokens(subject);
            if tokens.is_empty() {
                return Err(Failure::evidence("no recognizer takes this value for personal data, so it has no token"));
            }
            ("subject", tokens.join(" "), Query { tokens, ..query })
        }
        (None, None) => ("id", args.id.join(" "), query),
    };
    let ids = match args.id.is_empty() {
        true => search::find(log, &query)?.into_iter().map(|hit| hit.exchange).collect(),
        false => args.id.clone(),
    };
    let catalog = log.catalog()?;
    let exchanges: Vec<_> = ids.iter().map(|id| log.exchange(&catalog, id)).collect::<Result<_, _>>()?;
    if exchanges.is_empty() {
        return Err(Failure::evidence("the log has no such exchange"));
    }
    Ok((BTreeMap::from([(name.to_owned(), said)]), exchanges))
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report { exchanges, open, entries, pieces, remaining, recorded, backup } = report;
    ui::result(format!(
        "erased    {exchanges} exchanges: the salts of {entries} entries, the keys of {pieces} sealed pieces"
    ))?;
    let recorded: Vec<String> = recorded.iter().map(u64::to_string).collect();
    ui::result(format!("recorded  entry {}", recorded.join(", ")))?;
    if *open > 0 {
        ui::result(format!("open      {open} of them had no answer yet; it is not erased when it comes"))?;
    }
    for (name, because) in remaining {
        ui::result(format!("remains   piece {name}, because entry {} has it too", ui::plain(because)))?;
    }
    if let Some(time) = backup {
        ui::note(format!(
            "warning: the backup of {} can still open what was erased now, until it is destroyed; make a new one \
             (`tabellion keyring backup`), then destroy it",
            ui::plain(time)
        ));
    }
    Ok(())
}
