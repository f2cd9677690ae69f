//! `tabellion verify` of a bundle

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tabellion_audit::Options;
use tabellion_evidence::bundle::{self, CHECKPOINT, Checked, Trust, UnpackError, unpack};
use tabellion_evidence::policy::Policy;

use super::anchors;
use super::verify::{sections, verdict};
use crate::cli::VerifyArgs;
use crate::failure::Failure;
use crate::{Ended, said_no, ui};

/// How every zip file with something in it begins.
pub(super) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

pub(super) fn run(path: &Path, bytes: &[u8], options: Options, args: &VerifyArgs) -> Ended {
    let files = unpack(bytes).map_err(|why| Failure::evidence(format!("{} is refused: {why}", path.display())))?;
    let threshold =
        (!options.witnesses.is_empty()).then(|| Policy::threshold(&options.witnesses, options.quorum)).flatten();
    let trust = Trust {
        keys: options.vkey.into_iter().chain(options.vkeys_beside).collect(),
        policy: options.policy.or(threshold),
        tsa_roots: anchors::roots(args)?,
        headers: anchors::headers(args)?,
        work_bits_min: args.bitcoin_work_min,
    };
    let checked = bundle::verify(&files, &trust);
    let verified = checked.problems.is_empty();
    if args.json {
        ui::json(&as_json(&checked))?;
    } else {
        print(&checked)?;
    }
    Ok(if verified { ExitCode::SUCCESS } else { said_no() })
}

/// The tree head that a bundle is of. Says nothing about whether it is true.
pub(super) fn checkpoint_of(bytes: &[u8]) -> Result<Vec<u8>, UnpackError> {
    unpack(bytes)?.remove(CHECKPOINT).ok_or(UnpackError::Damaged)
}

fn as_json(checked: &Checked) -> serde_json::Value {
    let problems: Vec<_> = checked
        .problems
        .iter()
        .map(|problem| json!({"file": problem.file, "code": problem.wrong.code(), "problem": problem.to_string()}))
        .collect();
    json!({
        "verified": checked.problems.is_empty(),
        "origin": checked.checkpoint.as_ref().map(|head| &head.origin),
        "size": checked.checkpoint.as_ref().map(|head| head.size),
        "root": checked.checkpoint.as_ref().map(|head| head.root),
        "selection": checked.selection,
        "exchanges": checked.exchanges,
        "open_exchanges": checked.open_exchanges,
        "custody": checked.custody,
        "parts": checked.parts,
        "exported": checked.export.as_ref().map(|entry| json!({"time": entry.time, "actor": entry.actor, "why": entry.why})),
        "proved": checked.proved,
        "problems": problems,
        "unchecked": checked.unchecked,
    })
}

fn print(checked: &Checked) -> Result<(), Failure> {
    if let Some(head) = &checked.checkpoint {
        ui::result(format!("log       {}", ui::plain(&head.origin)))?;
        ui::result(format!("size      {}", head.size))?;
        ui::result(format!("root      {}", head.root))?;
    }
    for (name, value) in &checked.selection {
        ui::result(format!("selection {} {}", ui::plain(name), ui::plain(value)))?;
    }
    if let Some(entry) = &checked.export {
        let who = entry.actor.as_deref().unwrap_or("somebody");
        let why = entry.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
        ui::result(format!("exported  {} by {}{}", entry.time, ui::plain(who), ui::plain(&why)))?;
    }
    let texts = |said: &[bundle::Statement]| said.iter().map(|one| one.text.clone()).collect();
    let problems = checked.problems.iter().map(|problem| format!("PROBLEM   {problem}")).collect();
    sections(texts(&checked.proved), problems, texts(&checked.unchecked))?;
    ui::result(verdict(checked.problems.is_empty()))
}
