//! `tabellion case report`: one decision of a model, or a population of them, for whoever has to examine it.
//!
//! It reads the log once, from its first entry to the tree head, and hashes what it reads: what a report says of entries is
//! true of the tree that the log signed, or there is no report. Parts of content are hashed too, when they are read. Rows
//! are written as they come, so a population may be larger than memory.
//!
//! 1. Write the files, in a directory that nobody was told of.
//! 2. Record the report, with the hash of the list of its files. A crash from here on: the log says that a report was made
//!    that nobody has.
//! 3. Give the directory its name.

mod completeness;
mod rows;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::entry::{Entry, Kind};
use tabellion_evidence::tile;
use tabellion_evidence::tree::{Frontier, Hash, leaf_hash, sha256};
use tabellion_ledger::PartsInOrder;

use self::completeness::Completeness;
use self::rows::{Row, Writers};
use super::{Log, search};
use crate::cli::ReportArgs;
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::retention::Expired;
use crate::{Ended, ui};

/// So many exchanges are shown whole in the page; of more, only what they come to.
const WHOLE_MAX: usize = 20;
/// So many different models, parameters and the like are listed. Callers choose them.
const LISTED_MAX: usize = 100;

/// The list of the report's files, which the record of the report commits to.
const SUMS: &str = "SHA256SUMS";

pub(crate) fn run(args: &ReportArgs) -> Ended {
    if args.output.exists() {
        return Err(Failure::usage(format!("{} is there already", args.output.display())));
    }
    let log = Log::open(&args.log)?;
    let selection = Selection::of(&log, args)?;
    let note = log.reader.checkpoint_note()?;
    let head = checkpoint::verify(&note, &log.reader.vkey()?)
        .map_err(|error| Failure::evidence("the log's own checkpoint does not verify").because(error))?
        .into_inner();

    let partial = partial_of(&args.output);
    let failed = |error| Failure::environment(format!("cannot write {}", partial.display())).because(error);
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(failed)?;
    }
    std::fs::create_dir_all(&partial).map_err(failed)?;
    let found = read(&log, &selection, &head, &partial)?;
    if found.rows == 0 {
        std::fs::remove_dir_all(&partial).map_err(failed)?;
        return Err(Failure::evidence("the log has no such exchange"));
    }
    std::fs::write(partial.join("report.md"), text::page(&selection, &head, &found)).map_err(failed)?;
    std::fs::write(partial.join("report.json"), text::facts(&selection, &head, &found)).map_err(failed)?;
    std::fs::write(partial.join("checkpoint"), &note).map_err(failed)?;
    let sums = sums(&partial)?;
    std::fs::write(partial.join(SUMS), &sums).map_err(failed)?;

    let what = What::Report { manifest: sha256(&sums), selection: selection.said.clone(), exchanges: found.rows };
    let act = Act { actor: custody::operator(), why: args.reason.clone(), approval: None, what };
    let index = custody::record(&log.config, &log.reader, act)?.entry;
    std::fs::write(partial.join("record.tlog-proof"), log.reader.prove(index)?.to_text()).map_err(failed)?;
    std::fs::rename(&partial, &args.output).map_err(failed)?;
    ui::note(format!("{} exchanges; the report is entry {index}", found.rows));
    ui::note(found.completeness.verdict());
    Ok(ExitCode::SUCCESS)
}

fn partial_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// What `sha256sum` says of the files.
fn sums(directory: &Path) -> Result<String, Failure> {
    let failed = |error| Failure::environment(format!("cannot read {}", directory.display())).because(error);
    let mut names: Vec<String> = Vec::new();
    for file in std::fs::read_dir(directory).map_err(failed)? {
        names.push(file.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let mut text = String::new();
    for name in names {
        let mut hasher = sha2::Sha256::default();
        let mut file = std::fs::File::open(directory.join(&name)).map_err(failed)?;
        std::io::copy(&mut file, &mut HashWriter(&mut hasher)).map_err(failed)?;
        text.push_str(&format!("{}  {name}\n", hex::encode(sha2::Digest::finalize(hasher))));
    }
    Ok(text)
}

struct HashWriter<'a>(&'a mut sha2::Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Which exchanges.
struct Selection {
    /// In words, as it goes on the record.
    said: BTreeMap<String, String>,
    id: Option<String>,
    case: Option<String>,
    upstream: Option<String>,
    operation: Option<String>,
    model: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl Selection {
    fn of(log: &Log, args: &ReportArgs) -> Result<Self, Failure> {
        if args.id.is_none() && args.case.is_none() && args.upstream.is_none() {
            return Err(Failure::usage("say of what: --id, --case or --upstream"));
        }
        let time =
            |option: &str, time: &Option<String>| time.as_deref().map(|time| search::utc(option, time)).transpose();
        let redacted = |text: &Option<String>| text.as_deref().map(|text| search::redacted(log, text)).transpose();
        let selection = Self {
            said: BTreeMap::new(),
            id: args.id.as_deref().map(str::to_ascii_uppercase),
            case: redacted(&args.case)?,
            upstream: args.upstream.clone(),
            operation: redacted(&args.operation)?,
            model: redacted(&args.model)?,
            since: time("--since", &args.since)?,
            until: time("--until", &args.until)?,
        };
        let members = [
            ("id", &selection.id),
            ("case", &selection.case),
            ("upstream", &selection.upstream),
            ("operation", &selection.operation),
            ("model", &selection.model),
            ("since", &selection.since),
            ("until", &selection.until),
        ];
        let said = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
        Ok(Self { said, ..selection })
    }

    /// Whether a time is in the period.
    fn has_time(&self, time: &str) -> bool {
        self.since.as_deref().is_none_or(|since| time >= since)
            && self.until.as_deref().is_none_or(|until| time < until)
    }

    /// Whether it is of the exchange of this request.
    fn has(&self, request: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.id, &request.exchange)
            && is(&self.case, &request.case)
            && is(&self.upstream, &request.upstream)
            && is(&self.operation, &request.operation)
            && is(&self.model, &request.model)
            && self.has_time(&request.time)
    }
}

/// How often something was found, and where first and last.
#[derive(Default, Clone)]
struct Count {
    count: u64,
    first: (u64, String),
    last: (u64, String),
}

/// Counts of what callers choose, the first hundred of it.
#[derive(Default)]
struct Counts(BTreeMap<String, Count>, u64);

impl Counts {
    fn add(&mut self, what: String, index: u64, time: &str) {
        if !self.0.contains_key(&what) && self.0.len() == LISTED_MAX {
            self.1 += 1;
            return;
        }
        let count = self.0.entry(what).or_default();
        if count.count == 0 {
            count.first = (index, time.to_owned());
        }
        count.count += 1;
        count.last = (index, time.to_owned());
    }
}

/// What the log was found to have.
#[derive(Default)]
struct Found {
    rows: u64,
    unanswered: u64,
    /// Whose bodies were removed when their time was over, or may have been.
    removed: u64,
    outcomes: Counts,
    models: Counts,
    parameters: Counts,
    policies: Counts,
    findings: BTreeMap<String, u64>,
    completeness: Completeness,
    /// The first exchanges, for the page.
    whole: Vec<Row>,
}

/// Reads the whole log, writes the rows, and returns what they come to.
fn read(log: &Log, selection: &Selection, head: &Checkpoint, directory: &Path) -> Result<Found, Failure> {
    let mut parts = PartsInOrder::new(log.reader.clone(), log.catalog()?);
    let expired = Expired::read(&log.reader, parts.catalog())?;
    let mut writers = Writers::create(directory)?;
    let mut found = Found { completeness: Completeness::new(&log.reader.vkey()?.to_string()), ..Found::default() };
    let mut tree = Frontier::new();
    // The requests that wait for their answers: as many as were under way at once.
    let mut open: HashMap<String, (u64, Entry)> = HashMap::new();
    for number in 0..head.size.div_ceil(tile::WIDTH) {
        for (index, bytes) in (number * tile::WIDTH..).zip(log.reader.entries(number, head.size)?) {
            tree.push(leaf_hash(&bytes));
            let entry = Entry::parse(&bytes).map_err(|error| {
                Failure::evidence(format!("entry {index} cannot be read")).because(error).hint("run `tabellion verify`")
            })?;
            found.completeness.take(index, &entry, selection.has_time(&entry.time));
            match (&entry.kind, &entry.exchange) {
                (Kind::Request, Some(exchange)) if selection.has(&entry) => {
                    open.insert(exchange.clone(), (index, entry));
                }
                (Kind::Response, Some(exchange)) => {
                    let Some((at, request)) = open.remove(exchange) else { continue };
                    let row = Row::of(&mut parts, &expired, (at, &request), Some((index, &entry)))?;
                    found.add((at, &request), Some(&entry), row, &mut writers)?;
                }
                _ => {}
            }
        }
    }
    if tree.root() != head.root {
        return Err(Failure::evidence("the entries are not those of the tree that the log signed")
            .hint("run `tabellion verify`: the log is damaged"));
    }
    let mut left: Vec<(u64, Entry)> = open.into_values().collect();
    left.sort_unstable_by_key(|(index, _)| *index);
    for (at, request) in left {
        let row = Row::of(&mut parts, &expired, (at, &request), None)?;
        found.add((at, &request), None, row, &mut writers)?;
    }
    found.completeness.finish(selection);
    writers.finish()?;
    Ok(found)
}

impl Found {
    fn add(
        &mut self,
        (index, request): (u64, &Entry),
        response: Option<&Entry>,
        row: Row,
        writers: &mut Writers,
    ) -> Result<(), Failure> {
        self.rows += 1;
        self.unanswered += u64::from(response.is_none());
        self.removed += u64::from(row.number("removed_by").is_some());
        let outcome = response.and_then(|response| response.outcome).map_or("no answer", |outcome| outcome.as_str());
        self.outcomes.add(outcome.to_owned(), index, &request.time);
        let model =
            |entry: Option<&Entry>| entry.and_then(|entry| entry.model.clone()).unwrap_or_else(|| "-".to_owned());
        self.models.add(format!("{} → {}", model(Some(request)), model(response)), index, &request.time);
        self.parameters.add(row.parameters().to_owned(), index, &request.time);
        for redaction in [Some(request), response].into_iter().flatten().filter_map(|entry| entry.redaction.as_ref()) {
            self.policies.add(format!("sha256:{}", redaction.policy), index, &request.time);
            for (entity, count) in &redaction.findings {
                *self.findings.entry(entity.clone()).or_default() += u64::from(*count);
            }
        }
        writers.write(&row)?;
        if self.whole.len() < WHOLE_MAX {
            self.whole.push(row);
        } else {
            // More than can be shown whole: then none is.
            self.whole.iter_mut().for_each(Row::forget);
        }
        Ok(())
    }

    /// Whether all exchanges are shown whole.
    fn is_whole(&self) -> bool {
        self.rows as usize <= self.whole.len()
    }
}

/// A hash that the log names, of bytes that somebody may have changed.
fn checked(bytes: Vec<u8>, hash: &Hash) -> Result<Vec<u8>, Failure> {
    if sha256(&bytes) == *hash {
        return Ok(bytes);
    }
    Err(Failure::evidence(format!("part {hash} is not what the log names")).hint("run `tabellion verify`"))
}
