//! `tabellion key`

use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use serde_json::json;
use tabellion_evidence::custody::{key_id, public_hash};
use tabellion_evidence::tree::sha256;

use super::Log;
use crate::cli::{KeyArgs, KeyCommand, KeyIssueArgs};
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::{Ended, chains, keys, ui};

pub(crate) fn run(args: &KeyArgs) -> Ended {
    match &args.command {
        KeyCommand::Issue(args) => issue(args),
        KeyCommand::Revoke { key, reason, log } => {
            let log = Log::open(log)?;
            let what = What::KeyRevoke { key: key.clone() };
            let act = Act { actor: custody::operator(), why: Some(reason.clone()), approval: None, what };
            let entry = custody::record(&log.config, &log.reader, act)?.entry;
            ui::note(format!("revoked; entry {entry} says so"));
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::List { json, log } => {
            let log = Log::open(log)?;
            for line in chains::keys(&chains::state(&log, &log.catalog()?)?) {
                if *json {
                    ui::json(&line)?;
                    continue;
                }
                let state = match (line.revoked, line.in_force) {
                    (Some(entry), _) => format!("revoked by entry {entry}"),
                    (None, true) => "in force".to_owned(),
                    (None, false) => "expired".to_owned(),
                };
                let until = line.expires.map(|time| format!(", until {time}")).unwrap_or_default();
                let signs = if line.signs { ", signs approvals" } else { "" };
                let only = line.upstreams.join(", ");
                let only = if only.is_empty() { only } else { format!(", for {only} only") };
                let holder = ui::plain(&line.holder);
                ui::result(format!("{}  {:<8}{holder}: {state}{until}{signs}{only}", line.key, line.role))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Draws a key, or takes in a public one, and records that it is issued.
fn issue(args: &KeyIssueArgs) -> Ended {
    // There may be no log yet: keys are issued before the first start.
    let log = Log::of(&args.log)?;
    let configured = |name: &&String| log.config.upstream.iter().any(|upstream| upstream.name == **name);
    if let Some(unknown) = args.upstream.iter().find(|name| !configured(name)) {
        return Err(Failure::usage(format!("no upstream is called {}", ui::plain(unknown)))
            .hint("name one of the configuration; --config says which that is"));
    }
    let drawn = match args.public_key {
        None => Some(keys::draw()?),
        Some(_) => None,
    };
    let (hash, sha, public) = match (&drawn, &args.public_key) {
        (None, Some(file)) => {
            let public = read_public(file)?.to_bytes();
            (public_hash(&public), None, Some(STANDARD.encode(public)))
        }
        _ => {
            let hash = sha256(drawn.as_ref().map_or(&[][..], |drawn| drawn.as_bytes()));
            (hash, Some(hash), None)
        }
    };
    let key = key_id(&hash);
    let expires = args.expires.as_deref().map(|text| until("--expires", text)).transpose()?;
    let what = What::KeyIssue {
        key: key.clone(),
        role: args.role.into(),
        holder: args.holder.clone(),
        sha256: sha,
        public,
        expires: expires.clone(),
        upstreams: args.upstream.clone(),
    };
    let act = Act { actor: custody::operator(), why: args.reason.clone(), approval: None, what };
    let entry = custody::record(&log.config, &log.reader, act)?.entry;
    let text = drawn.as_ref().map(|drawn| &***drawn);
    if args.json {
        ui::json(&json!({"key": key, "secret": text, "entry": entry, "expires": expires}))?;
    } else {
        ui::note(format!("{key} is issued; entry {entry} says so"));
        match text {
            Some(text) => {
                ui::note("It is shown this once, and stored nowhere:");
                ui::result(text)?;
            }
            None => ui::result(&key)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// An Ed25519 public key in PEM, as `openssl pkey -pubout` writes it.
fn read_public(file: &Path) -> Result<VerifyingKey, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::environment(format!("cannot read {}", file.display())).because(error))?;
    VerifyingKey::from_public_key_pem(&text).map_err(|_| {
        Failure::usage(format!("{} is not an Ed25519 public key in PEM", file.display()))
            .hint("openssl genpkey -algorithm ed25519 -out key.pem && openssl pkey -in key.pem -pubout -out public.pem")
    })
}

/// A time as entries have it: one that is given, or one that is so far from now.
pub(super) fn until(option: &str, text: &str) -> Result<String, Failure> {
    let now = jiff::Timestamp::now();
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let span = text.parse::<jiff::Span>().ok()?;
        Some(now.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span).ok()?.timestamp())
    });
    let time = time.filter(|time| *time > now).ok_or_else(|| {
        Failure::usage(format!("{option} is neither a time to come, such as 2030-01-31T00:00:00Z, nor as long as 90d"))
    })?;
    Ok(format!("{time:.6}"))
}
