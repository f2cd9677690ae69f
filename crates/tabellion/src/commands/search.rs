//! `tabellion search`

use std::process::ExitCode;

use tabellion_search::{Hit, Index, Query};

use super::Log;
use crate::cli::SearchArgs;
use crate::failure::Failure;
use crate::indexer::{self, LogSource};
use crate::policy;
use crate::secrets::Secrets;
use crate::{Ended, said_no, ui};

pub(crate) fn run(args: &SearchArgs) -> Ended {
    let log = Log::open(&args.log)?;
    let query = query(args, &log)?;
    let hits = match query {
        Some(query) => find(&log, &query)?,
        None => Vec::new(),
    };
    for hit in &hits {
        if args.json { ui::json(hit)? } else { print(hit)? }
    }
    if hits.is_empty() {
        ui::note("nothing found");
        return Ok(said_no());
    }
    Ok(ExitCode::SUCCESS)
}

/// Searches everything that is published.
pub(crate) fn find(log: &Log, query: &Query) -> Result<Vec<Hit>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::environment(format!("the search index cannot be used: {error}"))
            .hint("search/ can be deleted: it is made again from the log")
    };
    let mut index = Index::open(&indexer::path(&log.config.data)).map_err(|error| failed(&error))?;
    let source = LogSource::new(log.reader.clone(), log.catalog()?);
    index.catch_up(&source).map_err(|error| Failure::environment("the search index is behind").because(error))?;
    index.search(query).map_err(|error| failed(&error))
}

/// A text as the log has it.
pub(crate) fn redacted(log: &Log, text: &str) -> Result<String, Failure> {
    Ok(match Secrets::existing(&log.config.keys())? {
        Some(secrets) => policy::redactor(&log.config.redaction.policy, None, &secrets)?.text(text).text,
        None => text.to_owned(),
    })
}

/// What the arguments ask for; `None` when nothing can match. What the log holds redacted is redacted here too.
fn query(args: &SearchArgs, log: &Log) -> Result<Option<Query>, Failure> {
    let secrets = Secrets::existing(&log.config.keys())?;
    let redactor = secrets.map(|secrets| policy::redactor(&log.config.redaction.policy, None, &secrets)).transpose()?;
    let redacted = |text: &Option<String>| {
        text.as_ref().map(|text| match &redactor {
            Some(redactor) => redactor.text(text).text,
            None => text.clone(),
        })
    };
    let mut tokens = Vec::new();
    if let Some(subject) = &args.subject {
        let redactor = redactor.as_ref().ok_or_else(|| {
            Failure::environment("the token key is not here").hint("--subject needs token.key from the keys directory")
        })?;
        tokens = redactor.subject_tokens(subject);
        if tokens.is_empty() {
            ui::note("note: no recognizer takes this value for personal data, so it has no token");
            return Ok(None);
        }
    }
    Ok(Some(Query {
        text: redacted(&args.query),
        case: redacted(&args.case),
        tokens,
        entity: args.entity.clone(),
        model: args.model.clone(),
        actor: redacted(&args.actor),
        since: args.since.as_deref().map(|time| utc("--since", time)).transpose()?,
        until: args.until.as_deref().map(|time| utc("--until", time)).transpose()?,
        limit: args.limit,
    }))
}

/// A time as entries have it, or the beginning of one.
pub(super) fn utc(option: &str, time: &str) -> Result<String, Failure> {
    if let Ok(timestamp) = time.parse::<jiff::Timestamp>() {
        return Ok(format!("{timestamp:.6}"));
    }
    if time.parse::<jiff::civil::Date>().is_ok() {
        return Ok(time.to_owned());
    }
    Err(Failure::usage(format!("{option} is neither a date nor a time such as 2026-11-23T10:00:00Z")))
}

fn print(hit: &Hit) -> Result<(), Failure> {
    let or_none = |text: &Option<String>| ui::plain(text.as_deref().unwrap_or("-"));
    ui::result(format!(
        "{}  {}  case {}  {}  {}",
        hit.exchange,
        ui::plain(&hit.time),
        or_none(&hit.case),
        or_none(&hit.model),
        or_none(&hit.outcome),
    ))?;
    ui::result(format!("    {}", ui::plain(&hit.snippet)))
}
