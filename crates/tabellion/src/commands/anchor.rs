//! `tabellion anchor`

use std::process::ExitCode;

use serde::Serialize;

use super::Log;
use super::serve::runtime;
use crate::anchor::{Authority, Kept};
use crate::cli::AnchorArgs;
use crate::failure::Failure;
use crate::{Ended, ui};

#[derive(Serialize)]
struct Line {
    anchor: String,
    file: String,
    size: u64,
    /// When, by the authority; a calendar has only promised.
    time: Option<String>,
    authority: Option<String>,
}

pub(crate) fn run(args: &AnchorArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let chosen = log.config.anchor.iter().filter(|one| args.name.as_ref().is_none_or(|name| *name == one.name));
    let authorities: Vec<Authority> = chosen.map(|one| one.authority()).collect::<Result<_, _>>()?;
    if authorities.is_empty() {
        return Err(match &args.name {
            Some(_) => Failure::usage("the configuration has no such anchor"),
            None => Failure::usage("the configuration has no anchor").hint("add one as a table [[anchor]]"),
        });
    }
    let mut failed = None;
    runtime()?.block_on(async {
        for authority in &authorities {
            let mut kept = Vec::new();
            match authority.upgrade(&log.reader, &log.config.data).await {
                Ok(upgraded) => kept.extend(upgraded),
                Err(error) => failed = Some(Failure::from(error)),
            }
            match authority.stamp(&log.reader, &log.config.data).await {
                Ok(stamped) => kept.push(stamped),
                Err(error) => failed = Some(Failure::from(error)),
            }
            for kept in &kept {
                print(authority, kept, args.json)?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure),
    }
}

fn print(authority: &Authority, kept: &Kept, json: bool) -> Result<(), Failure> {
    let line = Line {
        anchor: authority.name.clone(),
        file: kept.name.path(),
        size: kept.name.size,
        time: kept.timestamp.as_ref().map(|timestamp| timestamp.time.to_string()),
        authority: kept.timestamp.as_ref().map(|timestamp| timestamp.authority.clone()),
    };
    if json {
        return ui::json(&line);
    }
    let said = match (&line.time, &line.authority) {
        (Some(time), Some(authority)) => format!("no later than {time}, by {authority}"),
        _ if kept.name.kind == tabellion_evidence::anchor::Kind::Pending => {
            "promised by a calendar; ask again in some hours".to_owned()
        }
        _ => "in a Bitcoin block, which `verify` checks with the block's header".to_owned(),
    };
    ui::result(format!("{}  the first {} entries: {}", line.file, line.size, ui::plain(&said)))
}
