//! `tabellion verify`

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::time::SystemTime;

use tabellion_audit::{
    DirectorySource, Options, Phase, Problem, ProofReport, Report, Source, State, Statement, Witnessed, verify_proof,
};
use tabellion_evidence::cose;
use tabellion_evidence::entry::{self, Entry};
use tabellion_evidence::note::{VerifierKey, parse_keys};
use tabellion_evidence::policy::Policy;
use tabellion_evidence::proof::Proof;
use tabellion_store::BucketSettings;

use super::bundle;
use super::serve::runtime;
use super::{anchors, receipt};
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::mirror;
use crate::remote::Remote;
use crate::{Ended, said_no, ui};

/// A server of a log is asked for so many objects at once.
const REQUESTS_AT_ONCE: usize = 16;

/// How every tlog-proof begins.
const PROOF_MAGIC: &[u8] = b"c2sp.org/tlog-proof@";

pub(crate) fn run(args: &VerifyArgs) -> Ended {
    let config = Config::load(args.log.config.as_deref(), args.log.data.as_deref())?;
    let mut vkeys = args.vkey.as_deref().map(keys).transpose()?.unwrap_or_default();
    let vkey = if vkeys.is_empty() { None } else { Some(vkeys.remove(0)) };
    let mut witnesses = Vec::new();
    for text in &args.witness {
        witnesses.extend(keys(text)?);
    }
    let options = Options {
        vkey,
        vkeys_beside: vkeys,
        policy: args.policy.as_deref().map(policy).transpose()?,
        witnesses,
        quorum: args.quorum,
        older: args.checkpoint.iter().map(|path| kept_checkpoint(path)).collect::<Result<_, _>>()?,
        range: args.range.as_deref().map(range).transpose()?,
        quiet_max: args.max_quiet.map(Duration::from_secs),
        foreign: args.foreign,
        slice: None,
        state: args.state.as_deref().map(kept_state).transpose()?.flatten(),
        keeps_state: args.state.is_some(),
        threads: None,
    };
    if Policy::threshold(&options.witnesses, options.quorum).is_none() {
        return Err(Failure::usage("--quorum asks for more witnesses than --witness names"));
    }
    let state = args.state.as_deref();
    let (mut report, directory) = match &args.target {
        Some(url) if BucketSettings::is_bucket(url) => {
            (check(&mirror::bucket_source(&config, url)?, &options, state)?, None)
        }
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => (remote(url, &options, state)?, None),
        Some(file) if Path::new(file).is_file() => return proof(Path::new(file), options, &config, args),
        Some(directory) => (directory_keeping(Path::new(directory), &options, state)?, Some(Path::new(directory))),
        None => (directory_keeping(&config.data, &options, state)?, Some(&*config.data)),
    };
    let anchors = anchors::check(directory, options.vkey.as_ref(), args)?;
    anchors::enter(&anchors, &mut report);
    if args.json {
        ui::json(&anchors::WithAnchors { report: &report, anchors: &anchors })?;
    } else {
        print(&report)?;
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { said_no() })
}

/// Verifies a data directory.
fn directory_keeping(directory: &Path, options: &Options, state: Option<&Path>) -> Result<Report, Failure> {
    if !directory.is_dir() {
        return Err(Failure::environment(format!("there is nothing at {}", directory.display())));
    }
    let started = SystemTime::now();
    let source = DirectorySource(directory.to_owned());
    let report = check(&source, options, state)?;
    if report.verified || !rewritten_since(directory, started) {
        return Ok(report);
    }
    // Where things expire, what was read may have been of before and after.
    ui::note("note: packs were written meanwhile, so that is looked at again");
    check(&source, options, state)
}

/// Whether anything below the directories of packs has changed.
fn rewritten_since(directory: &Path, since: SystemTime) -> bool {
    let mut open = vec![directory.join("content"), directory.join("sealed")];
    while let Some(path) = open.pop() {
        let changed = std::fs::metadata(&path).and_then(|facts| facts.modified());
        if changed.is_ok_and(|changed| changed >= since) {
            return true;
        }
        let below = std::fs::read_dir(&path).into_iter().flatten().flatten();
        open.extend(below.map(|entry| entry.path()).filter(|path| !path.is_symlink()));
    }
    false
}

fn check(source: &dyn Source, options: &Options, state: Option<&Path>) -> Result<Report, Failure> {
    let bar = ui::progress(0, "");
    let mut not_kept = None;
    let report = tabellion_audit::verify_keeping(
        source,
        options,
        &|progress| {
            bar.set_message(match progress.phase {
                Phase::Packs => "content",
                Phase::Bundles => "entries",
                _ => "tiles  ",
            });
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        },
        &mut |verified| {
            if let Some(path) = state {
                not_kept = keep(path, verified).err();
            }
        },
    );
    bar.finish_and_clear();
    if let Some(failure) = not_kept {
        return Err(failure);
    }
    report.map_err(|error| Failure::environment("the evidence cannot be read").because(error))
}

/// Replaces the file as a whole, so that a run that is ended in the middle leaves the state before.
fn keep(path: &Path, state: &State) -> Result<(), Failure> {
    let failed = |error| Failure::environment(format!("cannot write {}", path.display())).because(error);
    let text = serde_json::to_vec(state).map_err(|error| Failure::internal("cannot write a state").because(error))?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = std::fs::File::create(&new).map_err(failed)?;
    std::io::Write::write_all(&mut file, &text).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&new, path).map_err(failed)
}

/// The state in a file; none if there is no file yet.
fn kept_state(path: &Path) -> Result<Option<State>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_slice(&read(path)?).map(Some).map_err(|_| {
        Failure::usage(format!("{} is not a state of a verification", path.display()))
            .hint("delete it, and everything is verified anew")
    })
}

/// The checkpoint in a file, or that of the proof or the bundle in it.
pub(super) fn kept_checkpoint(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path)?;
    if bytes.starts_with(bundle::ZIP_MAGIC) {
        return bundle::checkpoint_of(&bytes)
            .map_err(|why| Failure::usage(format!("{} has no checkpoint: {why}", path.display())));
    }
    if !bytes.starts_with(PROOF_MAGIC) {
        return Ok(bytes);
    }
    let proof = Proof::parse(&bytes)
        .map_err(|error| Failure::usage(format!("{} is no proof", path.display())).because(error))?;
    Ok(proof.checkpoint.into_bytes())
}

fn remote(url: &str, options: &Options, state: Option<&Path>) -> Result<Report, Failure> {
    if options.vkey.is_none() && options.policy.as_ref().is_none_or(|policy| policy.logs().is_empty()) {
        return Err(Failure::usage("a log's URL needs the log's key: give it with --vkey"));
    }
    let runtime = runtime()?;
    let source = Remote::find(url, runtime.handle().clone())?;
    // What takes time is waiting for answers.
    let options = Options { threads: Some(REQUESTS_AT_ONCE), ..options.clone() };
    check(&source, &options, state)
}

fn proof(path: &Path, mut options: Options, config: &Config, args: &VerifyArgs) -> Ended {
    let bytes = read(path)?;
    if bytes.starts_with(b"{") && args.original.is_some() {
        let mut report = ProofReport { verified: true, ..ProofReport::default() };
        report.leave_unchecked("log", "an entry alone does not show that it is in a log; its proof does");
        exact(&mut report, &bytes, args)?;
        return ended(&report, args);
    }
    if bytes.starts_with(bundle::ZIP_MAGIC) {
        return bundle::run(path, &bytes, options, args);
    }
    let is_statement = cose::is_statement(&bytes);
    if !bytes.starts_with(PROOF_MAGIC) && is_statement.is_none() {
        return Err(Failure::usage(format!("{} is not a proof", path.display()))
            .hint("verify takes a data directory, a log's URL, a bundle, a .tlog-proof or a COSE receipt"));
    }
    let beside = config.data.join("log.vkey");
    let logs = options.policy.as_ref().is_some_and(|policy| !policy.logs().is_empty());
    if options.vkey.is_none() && !logs && beside.is_file() {
        ui::note(format!("note: the key is the one in {}; give one from elsewhere with --vkey", beside.display()));
        let mut vkeys = keys(&beside.display().to_string())?;
        options.vkey = Some(vkeys.remove(0));
        options.vkeys_beside = vkeys;
    }
    if let Some(is_statement) = is_statement {
        return receipt::verify(&bytes, is_statement, &options, args);
    }
    let mut report = verify_proof(&bytes, &options);
    if args.original.is_some() {
        let entry = report.entry.clone().unwrap_or_default();
        exact(&mut report, &entry, args)?;
    }
    ended(&report, args)
}

fn ended(report: &ProofReport, args: &VerifyArgs) -> Ended {
    if args.json {
        ui::json(report)?;
    } else {
        print_proof(report)?;
    }
    Ok(if report.verified { ExitCode::SUCCESS } else { said_no() })
}

/// Holds somebody's copy of an original, or of a part of it, against what the entry commits to.
fn exact(report: &mut ProofReport, entry: &[u8], args: &VerifyArgs) -> Result<(), Failure> {
    let (Some(path), Some(salt)) = (&args.original, &args.salt) else { return Ok(()) };
    let mut bytes = [0; 32];
    hex::decode_to_slice(salt.trim(), &mut bytes).map_err(|_| {
        Failure::usage("--salt takes 64 hexadecimal digits, as `tabellion reveal --salt` gives them out")
    })?;
    let copy = read(path)?;
    let original = Entry::parse(entry).ok().and_then(|entry| entry.original);
    let commitment = original.as_ref().and_then(|original| match args.part {
        None => Some((original.commitment, original.bytes == copy.len() as u64)),
        Some(part) => original.parts.get(part).map(|commitment| (*commitment, true)),
    });
    let Some((commitment, as_long)) = commitment else {
        let text = match args.part {
            Some(part) => format!("the entry has no commitment to a part {part} (a long list is elsewhere in the log)"),
            None => "the entry has no commitment to an original".to_owned(),
        };
        report.contradict(Problem::Outside { code: "exact", text });
        return Ok(());
    };
    if as_long && entry::commitment(&bytes, &copy) == commitment {
        let what = args.part.map_or_else(|| "the whole body".to_owned(), |part| format!("part {part} of the body"));
        report.prove(
            "exact",
            format!("{} has the {} bytes that the entry commits to: {what}", path.display(), copy.len()),
        );
    } else {
        let text = format!("with this salt, {} has not the bytes that the entry commits to", path.display());
        report.contradict(Problem::Outside { code: "exact", text });
    }
    Ok(())
}

/// The verifier keys of one signer, one a line, or the file that holds them.
pub(super) fn keys(text: &str) -> Result<Vec<VerifierKey>, Failure> {
    let bytes = if Path::new(text).is_file() { read(Path::new(text))? } else { text.as_bytes().to_vec() };
    std::str::from_utf8(&bytes).ok().and_then(|text| parse_keys(text.trim()).ok()).ok_or_else(|| {
        Failure::usage("this is no verifier key").hint("a key looks like name+1234abcd+base64, as in log.vkey")
    })
}

fn policy(path: &Path) -> Result<Policy, Failure> {
    Policy::parse(&read(path)?).map_err(|error| {
        Failure::usage(format!("{} is no policy", path.display()))
            .because(error)
            .hint("it is written as c2sp.org/tlog-policy says")
    })
}

fn range(text: &str) -> Result<Range<u64>, Failure> {
    text.split_once("..")
        .and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?))
        .filter(|range: &Range<u64>| range.start < range.end)
        .ok_or_else(|| Failure::usage("--range must be A..B, with A less than B"))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))
}

pub(crate) fn print(report: &Report) -> Result<(), Failure> {
    let checked = &report.checked;
    if let (Some(origin), Some(size), Some(root)) = (&report.origin, report.size, &report.root) {
        ui::result(format!("log       {}", ui::plain(origin)))?;
        ui::result(format!("size      {size}"))?;
        ui::result(format!("root      {root}"))?;
    }
    if let Some((start, end)) = report.range {
        ui::result(format!("range     entries {start} to {end}"))?;
    }
    ui::result(format!(
        "checked   {} entries, {} tiles, {} content parts ({} bytes), {} bodies",
        checked.entries, checked.tiles, checked.parts, checked.content_bytes, checked.bodies
    ))?;
    ui::result(format!("exchanges {}, {} of them open", checked.exchanges, checked.open_exchanges))?;
    print_witnesses(&report.cosignatures, report.quorum)?;
    let completeness = &report.completeness;
    ui::result(format!(
        "sessions  {}, {} of them not ended; {} entries numbered, {} not",
        completeness.sessions,
        completeness.open.len(),
        completeness.numbered,
        completeness.unnumbered
    ))?;
    if let Some(entry) = completeness.quiet_before {
        ui::result(format!("silence   {} s at most, before entry {entry}", completeness.quiet_seconds_max))?;
    }
    let mut problems: Vec<String> = report.contradicted.iter().map(|problem| format!("PROBLEM   {problem}")).collect();
    if report.problems_more > 0 {
        problems.push(format!("PROBLEM   and {} more", report.problems_more));
    }
    sections(texts(&report.proved), problems, texts(&report.unchecked))?;
    ui::result(verdict(report.verified))
}

fn texts(statements: &[Statement]) -> Vec<String> {
    statements.iter().map(|statement| statement.text.clone()).collect()
}

/// What is so, what cannot be so, and what nobody knows.
pub(super) fn sections(proved: Vec<String>, contradicted: Vec<String>, unchecked: Vec<String>) -> Result<(), Failure> {
    let section = |name: &str, lines: Vec<String>| -> Result<(), Failure> {
        ui::result(format!("\n{name}"))?;
        if lines.is_empty() {
            ui::result("  nothing")?;
        }
        lines.iter().try_for_each(|line| ui::result(format!("  {}", ui::plain(line))))
    };
    section("proved", proved)?;
    section("contradicted", contradicted)?;
    section("could not be checked", unchecked)?;
    ui::result("")
}

fn print_proof(report: &ProofReport) -> Result<(), Failure> {
    let text = |name: &str, value: Option<String>| match value {
        Some(value) => ui::result(format!("{name:<10}{}", ui::plain(&value))),
        None => Ok(()),
    };
    text("log", report.origin.clone())?;
    text("size", report.size.map(|size| size.to_string()))?;
    text("root", report.root.map(|root| root.to_string()))?;
    text("entry", report.index.map(|index| index.to_string()))?;
    text("kind", report.kind.clone())?;
    text("exchange", report.exchange.clone())?;
    text("time", report.time.clone())?;
    print_witnesses(&report.cosignatures, report.quorum)?;
    let problems = report.contradicted.iter().map(|problem| format!("PROBLEM   {problem}")).collect();
    sections(texts(&report.proved), problems, texts(&report.unchecked))?;
    ui::result(verdict(report.verified))
}

fn print_witnesses(witnesses: &[Witnessed], quorum: Option<bool>) -> Result<(), Failure> {
    for witness in witnesses {
        let time = i64::try_from(witness.time).ok().and_then(|time| jiff::Timestamp::from_second(time).ok());
        let time = time.map_or_else(|| witness.time.to_string(), |time| time.to_string());
        // Of an ML-DSA-44 key the whole text is a page; name and id say which it is.
        let mut key = witness.witness.splitn(3, '+');
        let (name, id) = (key.next().unwrap_or_default(), key.next().unwrap_or_default());
        let called = if witness.name == name { String::new() } else { format!("{} = ", ui::plain(&witness.name)) };
        ui::result(format!("witness   {called}{}+{id} cosigned at {time}", ui::plain(name)))?;
    }
    match quorum {
        Some(met) => ui::result(format!("quorum    {}", if met { "met" } else { "NOT met" })),
        None => Ok(()),
    }
}

pub(super) fn verdict(verified: bool) -> &'static str {
    if verified { "verified" } else { "NOT VERIFIED" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_that_were_written_meanwhile_are_seen() {
        let place = tempfile::tempdir().unwrap();
        let pack = place.path().join("content/x001/002");
        std::fs::create_dir_all(pack.parent().unwrap()).unwrap();
        std::fs::write(&pack, b"pack").unwrap();
        std::fs::write(place.path().join("wal"), b"no pack").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(1);
        assert!(!rewritten_since(place.path(), later));
        let file = std::fs::File::options().write(true).open(&pack).unwrap();
        file.set_modified(later).unwrap();
        assert!(rewritten_since(place.path(), later));
        assert!(!rewritten_since(place.path(), later + std::time::Duration::from_secs(1)));
    }
}
