//! `tabellion expire`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tabellion_evidence::ranges::Ranges;

use super::{Log, search};
use crate::cli::ExpireArgs;
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::retention::{self, Rules};
use crate::{Ended, chains, ui};

/// What would expire now.
#[derive(Serialize)]
struct Foreseen {
    rules: Vec<Line>,
    held: u64,
}

#[derive(Serialize)]
struct Line {
    rule: BTreeMap<String, String>,
    exchanges: u64,
}

/// Has what is no longer kept expire, or says what would.
pub(crate) fn run(args: &ExpireArgs) -> Ended {
    let log = Log::open(&args.log)?;
    if log.config.retention.is_empty() {
        return Err(Failure::usage("no rule says how long anything is kept, so it is kept for ever").hint(
            "write a [[retention.rule]] into the configuration (docs/retention.md), and name that with --config",
        ));
    }
    if args.dry_run { foresee(args, &log) } else { expire(args, &log) }
}

fn expire(args: &ExpireArgs, log: &Log) -> Ended {
    let act = Act { actor: custody::operator(), why: args.reason.clone(), approval: None, what: What::Expire {} };
    let recorded = custody::record(&log.config, &log.reader, act)?;
    let outcome = recorded.expired.ok_or_else(|| Failure::internal("a round of retention came to nothing"))?;
    if args.json {
        ui::json(&outcome)?;
        return Ok(ExitCode::SUCCESS);
    }
    let retention::Outcome { exchanges, pieces, held, recorded, .. } = &outcome;
    ui::result(format!("expired   {exchanges} exchanges; the keys of {pieces} sealed pieces are destroyed"))?;
    if !recorded.is_empty() {
        let recorded: Vec<String> = recorded.iter().map(u64::to_string).collect();
        ui::result(format!("recorded  entry {}", recorded.join(", ")))?;
        ui::note("what only they name is removed now from content/ and sealed/; by a running server, in a moment");
    }
    print_held(*held)?;
    Ok(ExitCode::SUCCESS)
}

fn foresee(args: &ExpireArgs, log: &Log) -> Ended {
    let catalog = log.catalog()?;
    let rules = Rules::new(&log.config, |text| search::redacted(log, text))?;
    let state = chains::state(log, &catalog)?;
    let found =
        retention::look(&log.reader, &catalog, &state, &rules, (None, &Ranges::default()), &AtomicBool::new(false))?;
    let lines = found.by_rule(&rules).into_iter().map(|(rule, exchanges)| Line { rule, exchanges });
    let foreseen = Foreseen { rules: lines.collect(), held: found.held };
    if args.json {
        ui::json(&foreseen)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Line { rule, exchanges } in &foreseen.rules {
        let of = |name: &&str| Some(format!(" {name} {}", rule.get(*name)?));
        let of: String = retention::KEYS.iter().filter_map(of).collect();
        ui::result(format!("rule {:<4} {exchanges} exchanges would expire;{}", rule["rule"], ui::plain(&of)))?;
    }
    print_held(foreseen.held)?;
    Ok(ExitCode::SUCCESS)
}

fn print_held(held: u64) -> Result<(), Failure> {
    if held > 0 {
        ui::result(format!("held      {held} exchanges are kept only because a legal hold covers them"))?;
    }
    Ok(())
}
