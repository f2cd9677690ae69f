//! `tabellion verify` of a bundle

use std::io::{Cursor, Read as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tabellion_evidence::bundle::{self, Checked, Files};
use tabellion_evidence::note::VerifierKey;
use zip::ZipArchive;

use super::verify::verdict;
use crate::failure::Failure;
use crate::{Ended, said_no, ui};

/// How every zip file with something in it begins.
pub(super) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// What is unpacked at most, in memory: twice what a bundle's payload may have.
const FILES_BYTES_MAX: u64 = 2 << 30;
const FILES_MAX: usize = 1_000_000;

pub(super) fn run(path: &Path, bytes: &[u8], keys: &[VerifierKey], json: bool) -> Ended {
    let files = unpack(bytes).map_err(|why| Failure::evidence(format!("{} is refused: {why}", path.display())))?;
    let checked = bundle::verify(&files, keys);
    let verified = checked.problems.is_empty();
    if json {
        ui::json(&as_json(&checked, !keys.is_empty()))?;
    } else {
        print(&checked, !keys.is_empty())?;
    }
    Ok(if verified { ExitCode::SUCCESS } else { said_no() })
}

/// The files of a bundle, by their paths below its one directory.
pub(super) fn unpack(bytes: &[u8]) -> Result<Files, String> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|_| "it is no zip file".to_owned())?;
    if zip.len() > FILES_MAX {
        return Err("it has too many files".to_owned());
    }
    let mut files = Files::new();
    let mut top: Option<String> = None;
    let mut left = FILES_BYTES_MAX;
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).map_err(|_| "a file in it cannot be read".to_owned())?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map_err(|_| "a name in it cannot be read".to_owned())?.into_owned();
        // Paths are only ever compared, never written to; what is no plain one is refused all the same.
        let plain = name.split('/').all(|step| !step.is_empty() && step != "." && step != "..");
        let (directory, path) =
            name.split_once('/').filter(|_| plain).ok_or("it has a file outside of its directory")?;
        if top.get_or_insert_with(|| directory.to_owned()) != directory {
            return Err("it has more than one directory".to_owned());
        }
        let mut content = Vec::new();
        file.by_ref().take(left + 1).read_to_end(&mut content).map_err(|_| "a file in it is damaged".to_owned())?;
        left = left.checked_sub(content.len() as u64).ok_or("it is larger than a bundle may be")?;
        if files.insert(path.to_owned(), content).is_some() {
            return Err("it has a file twice".to_owned());
        }
    }
    Ok(files)
}

fn notes(key_given: bool) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if !key_given {
        notes.push(
            "the key is the bundle's own, so all that this says is that the bundle agrees with itself: give --vkey",
        );
    }
    notes.push("whether the log has more that was asked for, a bundle cannot show: ask for the log");
    notes.push("the exact bytes are not in the bundle: whoever has them checks them with their salt");
    notes
}

fn as_json(checked: &Checked, key_given: bool) -> serde_json::Value {
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
        "problems": problems,
        "notes": notes(key_given),
    })
}

fn print(checked: &Checked, key_given: bool) -> Result<(), Failure> {
    if let Some(head) = &checked.checkpoint {
        ui::result(format!("log       {}", ui::plain(&head.origin)))?;
        ui::result(format!("size      {}", head.size))?;
        ui::result(format!("root      {}", head.root))?;
    }
    for (name, value) in &checked.selection {
        ui::result(format!("selection {} {}", ui::plain(name), ui::plain(value)))?;
    }
    ui::result(format!(
        "checked   {} exchanges, {} of them open; {} custody entries; {} parts of content",
        checked.exchanges, checked.open_exchanges, checked.custody, checked.parts
    ))?;
    if let Some(entry) = &checked.export {
        let who = entry.actor.as_deref().unwrap_or("somebody");
        let why = entry.why.as_deref().map_or(String::new(), |why| format!(": {why}"));
        ui::result(format!("exported  {} by {}{}", entry.time, ui::plain(who), ui::plain(&why)))?;
    }
    for problem in &checked.problems {
        ui::result(format!("PROBLEM   {}", ui::plain(&problem.to_string())))?;
    }
    for note in notes(key_given) {
        ui::result(format!("note      {note}"))?;
    }
    ui::result(verdict(checked.problems.is_empty()))
}
