//! `tabellion hold`

use std::collections::BTreeMap;
use std::process::ExitCode;

use tabellion_evidence::entry::Kind;
use tabellion_search::Query;

use super::{Log, search};
use crate::cli::{HoldArgs, HoldCommand, HoldLiftArgs, HoldPlaceArgs};
use crate::custody::{self, Act, HELD_MAX, What};
use crate::failure::Failure;
use crate::{Ended, chains, ui};

pub(crate) fn run(args: &HoldArgs) -> Ended {
    match &args.command {
        HoldCommand::Place(args) => place(args),
        HoldCommand::Lift(args) => lift(args),
        HoldCommand::List { json, log } => {
            let log = Log::open(log)?;
            for line in chains::holds(&chains::state(&log, &log.catalog()?)?) {
                if *json {
                    ui::json(&line)?;
                    continue;
                }
                let mut about: Vec<String> = line.case.map(|case| format!("case {case}")).into_iter().collect();
                about.extend(line.tokens.iter().map(|token| format!("subject {token}")));
                about.extend(line.query.map(|query| format!("what was found by \"{query}\"")));
                if !line.exchanges.is_empty() {
                    about.push(format!("{} exchanges", line.exchanges.len()));
                }
                ui::result(format!("{}  entry {}  {}", line.hold, line.entry, ui::plain(&about.join(", "))))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn place(args: &HoldPlaceArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let exchanges = match &args.query {
        Some(query) => {
            let text = Some(search::redacted(&log, query)?);
            let found = search::find(&log, &Query { text, limit: HELD_MAX + 1, ..Query::default() })?;
            if found.is_empty() {
                return Err(Failure::evidence("nothing is found by these words, so there is nothing to hold"));
            }
            found.into_iter().map(|hit| hit.exchange).collect()
        }
        None => {
            let catalog = log.catalog()?;
            let ids = args.id.iter().map(|id| Ok(log.exchange(&catalog, id)?.id));
            ids.collect::<Result<Vec<_>, Failure>>()?
        }
    };
    if exchanges.len() > HELD_MAX {
        return Err(Failure::usage(format!("a hold names at most {HELD_MAX} exchanges, and there are more"))
            .hint("hold the case or the subject instead, which also covers what is recorded later"));
    }
    let count = exchanges.len();
    let what = What::HoldPlace {
        case: args.case.clone(),
        exchanges,
        subject: args.subject.clone(),
        query: args.query.clone(),
    };
    let act = Act { actor: custody::operator(), why: Some(args.reason.clone()), approval: None, what };
    let entry = custody::record(&log.config, &log.reader, act)?.entry;
    let state = chains::state(&log, &log.catalog()?)?;
    let placed = state.holds().iter().find(|(_, hold)| hold.placed == entry);
    let (id, _) = placed.ok_or_else(|| Failure::internal("the hold is not in the log"))?;
    if args.query.is_some() {
        ui::note(format!(
            "it holds the {count} exchanges that these words find today, and none that are recorded later"
        ));
    }
    ui::note(format!("the hold is in force; entry {entry} says so"));
    ui::result(id)?;
    Ok(ExitCode::SUCCESS)
}

fn lift(args: &HoldLiftArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let hold = args.hold.to_ascii_uppercase();
    let (why, actor) = (Some(args.reason.clone()), custody::operator());
    if args.ask {
        if !chains::state(&log, &log.catalog()?)?.holds().contains_key(&hold) {
            return Err(Failure::evidence("there is no such hold in force").hint("see `tabellion hold list`"));
        }
        return custody::ask_approval(&log, actor, why, &Kind::HoldLift, BTreeMap::from([("hold".to_owned(), hold)]));
    }
    let act = Act { actor, why, approval: args.approval, what: What::HoldLift { hold } };
    let entry = custody::record(&log.config, &log.reader, act)?.entry;
    ui::note(format!("the hold is lifted; entry {entry} says so"));
    Ok(ExitCode::SUCCESS)
}
