//! `tabellion export`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tabellion_evidence::Verified;
use tabellion_evidence::anchor::{self, Name};
use tabellion_evidence::bundle::completeness::{Completeness, Session};
use tabellion_evidence::bundle::{self, Contents, Files, TreeProof, Trust, graph};
use tabellion_evidence::checkpoint::{self, Checkpoint};
use tabellion_evidence::entry::{Entry, Kind, Manifest, Reveal};
use tabellion_evidence::policy::Policy;
use tabellion_evidence::proof::Proof;
use tabellion_evidence::sessions::{DeclaredGap, Rules, Said, Sessions};
use tabellion_evidence::tile;
use tabellion_evidence::tree::{self, Hash, sha256};
use tabellion_ledger::{Catalog, ReceiptSigner};
use tabellion_search::Query;
use tabellion_vault::Reading;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::reveal::{self, Officer, Opened as Original};
use super::verify::kept_checkpoint;
use super::{Log, page, search};
use crate::cli::ExportArgs;
use crate::custody::{self, Act, What};
use crate::failure::Failure;
use crate::retention::Expired;
use crate::{Ended, ui};

/// More is not put together in memory; a selection that has more is several bundles.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// The reference verifier, as every bundle carries it.
const VERIFIER: &str = include_str!("../../../../verify/tabellion_verify.py");
const VERIFY: &str = include_str!("../../../../defaults/bundle/VERIFY.md");
/// What somebody has to complete and sign. They name the hash of the payload, so they are no part of it.
const DRAFTS: [(&str, &str); 4] = [
    ("letter.md", include_str!("../../../../defaults/bundle/letter.md")),
    ("certificate-fre-902-13.md", include_str!("../../../../defaults/bundle/certificate-fre-902-13.md")),
    ("certificate-fre-902-14.md", include_str!("../../../../defaults/bundle/certificate-fre-902-14.md")),
    ("certificate-bsa-63.md", include_str!("../../../../defaults/bundle/certificate-bsa-63.md")),
];

pub(crate) fn run(args: &ExportArgs) -> Ended {
    let exported = export(&Log::open(&args.log)?, args)?;
    ui::note(format!(
        "{} exchanges, {} parts of content, {} custody entries; the export is entry {}",
        exported.exchanges, exported.parts, exported.custody, exported.entry
    ));
    ui::note(format!("check it with: tabellion verify {}", args.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// What was written.
pub(super) struct Exported {
    pub(super) exchanges: u64,
    pub(super) parts: u64,
    pub(super) custody: u64,
    /// The record of the export.
    pub(super) entry: u64,
}

/// Writes a bundle.
///
/// 0. Open the originals that are asked for, and record each look, before anybody has one (`reveal`).
/// 1. Put the payload together. Nobody has it yet.
/// 2. Record the export, with the hash of the payload's manifest. A crash from here on: the log says that a bundle was
///    handed out that nobody has, which is the right way to be wrong.
/// 3. Add the record's own proof, and write the file.
pub(super) fn export(log: &Log, args: &ExportArgs) -> Result<Exported, Failure> {
    let catalog = log.catalog()?;
    let (mut selection, exchanges) = select(args, log, &catalog)?;
    if args.sealed {
        // Whoever has the file and an officer's identity opens it without a further record.
        selection.insert("sealed".to_owned(), "yes".to_owned());
    }
    let opened = open_originals(args, log, &catalog, &exchanges)?;
    // The looks that were recorded just now are in it.
    let head = Head::of(log, args.checkpoint.as_deref())?;
    let older = older(log, &head, &args.older)?;
    let originals = Originals { sealed: args.sealed, opened };
    let (mut files, contents) = payload(log, &catalog, &head, selection.clone(), exchanges, older, originals)?;
    let manifest = bundle::manifest(files.iter().filter(|(path, _)| bundle::is_payload(path)));
    let manifest_hash = sha256(&manifest);
    let count = contents.exchanges.len() as u64;
    files.insert(bundle::MANIFEST.to_owned(), manifest.into_bytes());

    let program = page::program();
    let what = What::Export { manifest: manifest_hash, selection, exchanges: count, page: sha256(&program) };
    let act = Act { actor: custody::operator(), why: args.reason.clone(), approval: None, what };
    let index = custody::record(&log.config, &log.reader, act)?.entry;

    let proof = log.reader.prove(index)?;
    files.insert(bundle::EXPORT_ENTRY.to_owned(), proof.extra.clone().unwrap_or_default());
    let later = checkpoint::verify(proof.checkpoint.as_bytes(), &log.reader.vkey()?)
        .map_err(|error| Failure::evidence("the log's own checkpoint does not verify").because(error))?;
    let hashes = tree::consistency_proof(head.checkpoint.size, later.size, &log.reader.tiles())
        .map_err(|error| Failure::evidence("the log does not extend the checkpoint").because(error))?;
    let hashes: String = hashes.iter().map(|hash| hash.to_base64() + "\n").collect();
    files.insert(bundle::EXPORT_CONSISTENCY.to_owned(), hashes.into_bytes());
    files.insert(bundle::EXPORT_PROOF.to_owned(), proof.to_text().into_bytes());
    add_tags(&mut files, &head, &contents, &program)?;

    // What is handed out is checked first, as whoever receives it will.
    let checked = bundle::verify(&files, &Trust { keys: log.reader.vkeys()?, ..Trust::default() });
    if let Some(problem) = checked.problems.first() {
        return Err(Failure::evidence(format!("the bundle would not verify: {problem}"))
            .hint("run `tabellion verify`: the log may be damaged"));
    }
    write_zip(&args.output, &files)?;
    Ok(Exported { exchanges: count, parts: checked.parts, custody: checked.custody, entry: index })
}

/// The tree head that the proofs lead to.
struct Head {
    note: Vec<u8>,
    checkpoint: Verified<Checkpoint>,
}

impl Head {
    fn of(log: &Log, older: Option<&Path>) -> Result<Self, Failure> {
        let note = match older {
            None => log.reader.checkpoint_note()?,
            Some(path) => std::fs::read(path)
                .map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))?,
        };
        Self::parse(log, note)
    }

    fn parse(log: &Log, note: Vec<u8>) -> Result<Self, Failure> {
        let checkpoint = checkpoint::verify(&note, &log.reader.vkey()?)
            .map_err(|error| Failure::evidence("the checkpoint is not one of this log's").because(error))?;
        Ok(Self { note, checkpoint })
    }
}

/// The older tree heads that somebody kept: checkpoints, and those of proofs and of earlier bundles. By their sizes.
fn older(log: &Log, head: &Head, paths: &[PathBuf]) -> Result<BTreeMap<u64, Head>, Failure> {
    let mut found = BTreeMap::new();
    for path in paths {
        let older = Head::parse(log, kept_checkpoint(path)?)?;
        if older.checkpoint.size > head.checkpoint.size {
            return Err(Failure::usage(format!("{} is newer than what the bundle is of", path.display())));
        }
        found.insert(older.checkpoint.size, older);
    }
    Ok(found)
}

/// What is asked for, as it goes on the record, and the exchanges that it is.
type Selected = (BTreeMap<String, String>, Vec<bundle::Exchange>);

fn select(args: &ExportArgs, log: &Log, catalog: &Catalog) -> Result<Selected, Failure> {
    let (name, said, ids) = if !args.id.is_empty() {
        ("id", args.id.join(" "), args.id.clone())
    } else {
        let query = Query { limit: usize::MAX, ..Query::default() };
        let (name, text, query) = match (&args.case, &args.query) {
            (Some(case), _) => {
                let case = search::redacted(log, case)?;
                ("case", case.clone(), Query { case: Some(case), ..query })
            }
            (None, Some(text)) => {
                let text = search::redacted(log, text)?;
                ("query", text.clone(), Query { text: Some(text), ..query })
            }
            (None, None) => return Err(Failure::usage("say what: --case, --id or words")),
        };
        (name, text, search::find(log, &query)?.into_iter().map(|hit| hit.exchange).collect())
    };
    if ids.is_empty() {
        return Err(Failure::evidence("the log has no such exchange"));
    }
    let mut exchanges = Vec::new();
    for id in ids {
        let found = log.exchange(catalog, &id)?;
        // A response without its request is damage, which `verify` reports.
        let request =
            found.request.ok_or_else(|| Failure::evidence(format!("the request of {id} is not in the log")))?;
        exchanges.push(bundle::Exchange { exchange: found.id, request, response: found.response });
    }
    exchanges.sort_unstable_by_key(|exchange| exchange.request);
    exchanges.dedup();
    Ok((BTreeMap::from([(name.to_owned(), said)]), exchanges))
}

/// What of the exact bytes goes into the payload.
struct Originals {
    /// The sealed pieces, as age files.
    sealed: bool,
    /// What was opened, by the index of its entry, with the salt of its commitment.
    opened: BTreeMap<u64, Original>,
}

/// Opens the originals of exchanges, if an identity is given, and records that. Those that were never sealed are left out.
fn open_originals(
    args: &ExportArgs,
    log: &Log,
    catalog: &Catalog,
    exchanges: &[bundle::Exchange],
) -> Result<BTreeMap<u64, Original>, Failure> {
    let Some(identity) = &args.identity else { return Ok(BTreeMap::new()) };
    let reason = args.reason.as_deref().ok_or_else(|| Failure::usage("originals are opened with a --reason"))?;
    let officer = Officer::new(log, catalog, identity)?;
    let mut opened = BTreeMap::new();
    for index in exchanges.iter().flat_map(|exchange| [Some(exchange.request), exchange.response]).flatten() {
        if let Some(original) = officer.original(index)? {
            opened.insert(index, original);
        }
    }
    // Only when all can be opened is anything said to have been.
    for (index, original) in &opened {
        let what = Reveal { entry: *index, part: None, bytes: original.bytes.len() as u64, salt: true };
        let act =
            Act { actor: custody::operator(), why: Some(reason.to_owned()), approval: None, what: What::Reveal(what) };
        custody::record(&log.config, &log.reader, act)?;
    }
    Ok(opened)
}

fn payload(
    log: &Log,
    catalog: &Catalog,
    head: &Head,
    selection: BTreeMap<String, String>,
    mut exchanges: Vec<bundle::Exchange>,
    older: BTreeMap<u64, Head>,
    originals: Originals,
) -> Result<(Files, Contents), Failure> {
    let keyring = originals.sealed.then(|| Reading::open(&log.config.keys())).transpose()?;
    let signer = ReceiptSigner::open(&log.config.keys())?;
    let (files, entries) = (Files::new(), BTreeMap::new());
    let expired = Expired::read(&log.reader, catalog)?;
    let mut payload = Payload { log, catalog, head, expired, signer, files, entries, bytes: 0 };
    let size = head.checkpoint.size;
    exchanges.retain(|exchange| exchange.request < size);
    for exchange in &mut exchanges {
        exchange.response = exchange.response.filter(|response| *response < size);
        let mut readable = format!("exchange  {}\n", exchange.exchange);
        for (side, index) in [("request", Some(exchange.request)), ("response", exchange.response)] {
            let Some(index) = index else { continue };
            let entry = payload.add_entry(index)?;
            readable.push_str(&format!("\n{side}, entry {index}, {}\n", entry.time));
            payload.add_content(index, &entry, &mut readable)?;
            payload.entries.insert(index, entry);
            if let Some(keyring) = &keyring {
                payload.add_sealed(keyring, index)?;
            }
            if let Some(original) = originals.opened.get(&index) {
                payload.add(bundle::original_path(index), original.bytes.to_vec())?;
                payload.add(bundle::salt_path(index), format!("{}\n", hex::encode(original.salt)).into_bytes())?;
            }
        }
        payload.add(format!("data/readable/{}.txt", exchange.exchange), readable.into_bytes())?;
    }
    let (custody, completeness) = read_all(log, size)?;
    for &index in &custody {
        let entry = payload.add_entry(index)?;
        payload.entries.insert(index, entry);
    }
    let lines =
        bundle::custody_lines(custody.iter().map(|&index| (index, &*payload.files[&bundle::entry_path(index)])));
    payload.add(bundle::CUSTODY.to_owned(), lines.into_bytes())?;
    payload.add(bundle::COMPLETENESS.to_owned(), completeness.to_json())?;
    for (size, older) in &older {
        payload.add_older(*size, older)?;
    }
    let anchors = payload.add_anchors(&exchanges)?;
    let older = older.into_keys().collect();
    let contents = Contents { v: bundle::VERSION, selection, exchanges, custody, older, anchors };
    let graph = graph::write(&contents, &payload.entries, &payload.files);
    payload.add(bundle::GRAPH.to_owned(), graph)?;
    let text = serde_json::to_vec_pretty(&contents)
        .map_err(|error| Failure::internal("cannot write the contents").because(error))?;
    payload.add(bundle::CONTENTS.to_owned(), text)?;
    payload.add(bundle::CHECKPOINT.to_owned(), head.note.clone())?;
    let keys: String = log.reader.vkeys()?.iter().map(|key| format!("{key}\n")).collect();
    payload.add(bundle::VKEY.to_owned(), keys.into_bytes())?;
    payload.add(bundle::POLICY.to_owned(), policy(log, head)?.into_bytes())?;
    Ok((payload.files, contents))
}

/// The exporter's trust policy: the log's keys, the configured witnesses, and how many of them the log wants. (C2SP
/// `tlog-policy`.) A tree head that lacks them is handed out all the same, under a policy that says so and asks for none.
fn policy(log: &Log, head: &Head) -> Result<String, Failure> {
    let mut text: String = log.reader.vkeys()?.iter().map(|key| format!("log {key}\n")).collect();
    let mut groups = Vec::new();
    for witness in &log.config.witness {
        let keys = witness.keys().unwrap_or_default();
        let mut members = Vec::new();
        for (nth, key) in keys.iter().enumerate() {
            let name = if keys.len() == 1 { witness.name.clone() } else { format!("{}/{}", witness.name, nth + 1) };
            text.push_str(&format!("witness {name} {key} {}\n", witness.url));
            members.push(name);
        }
        groups.extend(one_of(&mut text, &format!("{}/any", witness.name), "any", &members));
    }
    let need = log.config.witnesses.quorum;
    let none = format!("{text}quorum none\n");
    if need == 0 || need > groups.len() {
        return Ok(none);
    }
    let Some(member) = one_of(&mut text, "/enough", &need.to_string(), &groups) else { return Ok(none) };
    text.push_str(&format!("quorum {member}\n"));
    let decided = Policy::parse(text.as_bytes())
        .map_err(|error| Failure::internal("the policy cannot be read").because(error))?
        .decide(&head.note)
        .map_err(|error| Failure::evidence("a cosignature of the checkpoint is wrong").because(error))?;
    if decided.quorum {
        return Ok(text);
    }
    ui::note(format!(
        "note: the checkpoint does not have the cosignatures of {need} witnesses, so the bundle's policy asks for none"
    ));
    Ok(format!("# The log wants {need} of its witnesses to cosign. This tree head does not have that.\n{none}"))
}

/// Writes a group, if one is needed, and returns what stands for it.
fn one_of(text: &mut String, name: &str, need: &str, members: &[String]) -> Option<String> {
    match members {
        [] => None,
        [one] => Some(one.clone()),
        several => {
            text.push_str(&format!("group {name} {need} {}\n", several.join(" ")));
            Some(name.to_owned())
        }
    }
}

/// Reads the whole log of `size` entries: the custody entries, and what the numbers come to. Heartbeats, which say that
/// nothing happened, are counted, not listed.
fn read_all(log: &Log, size: u64) -> Result<(Vec<u64>, Completeness), Failure> {
    let key = log.reader.vkey()?.to_string();
    let rules = Rules { key: Some(tabellion_evidence::audit::Name::of(&key)), ..Rules::default() };
    let mut fold = Sessions::new(rules);
    let mut wrong = Vec::new();
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    let (mut custody, mut gaps) = (Vec::new(), Vec::new());
    let (mut unnumbered, mut exchanges) = (0, 0);
    for number in 0..size.div_ceil(tile::WIDTH) {
        for (index, bytes) in (number * tile::WIDTH..).zip(log.reader.entries(number, size)?) {
            let entry = Entry::parse(&bytes).map_err(|error| {
                Failure::evidence(format!("entry {index} cannot be read")).because(error).hint("run `tabellion verify`")
            })?;
            fold.take(index, &Said::of(&entry), &mut |found| wrong.push(found.to_string()));
            exchanges += u64::from(entry.kind == Kind::Request);
            if let Some(gap) = entry.gap.as_ref().filter(|_| entry.kind == Kind::Gap) {
                gaps.push(DeclaredGap { entry: index, reason: gap.reason.clone(), count: gap.count });
            }
            if entry.kind.is_custody() && entry.kind != Kind::Heartbeat {
                custody.push(index);
            }
            let (Some(producer), Some(seq)) = (entry.producer, entry.seq) else {
                unnumbered += 1;
                continue;
            };
            let session = sessions.entry(producer.clone()).or_insert(Session {
                producer,
                first: index,
                last: index,
                entries: 0,
                number_max: 0,
                stopped: false,
            });
            session.last = index;
            session.entries += 1;
            session.number_max = session.number_max.max(seq);
            session.stopped |= entry.kind == Kind::Stop;
        }
    }
    fold.finish(&mut |found| wrong.push(found.to_string()));
    let mut sessions: Vec<Session> = sessions.into_values().collect();
    sessions.sort_unstable_by_key(|session| session.first);
    let report = Completeness { v: bundle::VERSION, size, unnumbered, sessions, gaps, wrong, exchanges };
    Ok((custody, report))
}

struct Payload<'a> {
    log: &'a Log,
    catalog: &'a Catalog,
    head: &'a Head,
    expired: Expired,
    signer: ReceiptSigner,
    files: Files,
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

impl Payload<'_> {
    fn add(&mut self, path: String, bytes: Vec<u8>) -> Result<(), Failure> {
        self.bytes += bytes.len();
        if self.bytes > PAYLOAD_BYTES_MAX {
            return Err(Failure::usage("the selection is larger than a bundle may be (1 GiB)")
                .hint("export it in several bundles, or hand out a copy of the log"));
        }
        self.files.insert(path, bytes);
        Ok(())
    }

    fn add_entry(&mut self, index: u64) -> Result<Entry, Failure> {
        let size = self.head.checkpoint.size;
        let bytes = self.log.reader.entry(index, size)?;
        let hashes = tree::inclusion_proof(index, size, &self.log.reader.tiles())
            .map_err(|error| Failure::evidence("the log cannot prove one of its entries").because(error))?;
        let checkpoint = String::from_utf8_lossy(&self.head.note).into_owned();
        let proof = Proof { extra: Some(bytes.clone()), index, hashes, checkpoint };
        let entry =
            Entry::parse(&bytes).map_err(|error| Failure::evidence("an entry cannot be read").because(error))?;
        if size > 1 {
            let receipt = self
                .signer
                .inclusion(&proof, &bytes, &entry.id)
                .map_err(|error| Failure::evidence("there is no receipt for an entry").because(error))?;
            self.add(bundle::receipt_path(index), receipt)?;
        }
        self.add(bundle::entry_path(index), bytes)?;
        self.add(bundle::proof_path(index), proof.to_text().into_bytes())?;
        Ok(entry)
    }

    /// Adds how the tree of so many entries became that of the head.
    fn add_tree(&mut self, size: u64) -> Result<(), Failure> {
        let (head, tiles) = (self.head.checkpoint.size, self.log.reader.tiles());
        let damaged = |error| Failure::evidence("the tiles cannot be used").because(error);
        let root = tree::root(size, head, &tiles).map_err(damaged)?;
        let hashes = tree::consistency_proof(size, head, &tiles).map_err(damaged)?;
        self.add(bundle::tree_path(size), TreeProof { root, hashes }.to_text().into_bytes())
    }

    fn add_older(&mut self, size: u64, older: &Head) -> Result<(), Failure> {
        self.add_tree(size)?;
        if size > 0 && size < self.head.checkpoint.size {
            let hashes = tree::consistency_proof(size, self.head.checkpoint.size, &self.log.reader.tiles())
                .map_err(|error| Failure::evidence("the tiles cannot be used").because(error))?;
            let receipt =
                self.signer.consistency(&older.checkpoint, &self.head.checkpoint, &hashes).map_err(|error| {
                    Failure::evidence(format!("the log does not extend its checkpoint of {size} entries"))
                        .because(error)
                })?;
            self.add(bundle::older_receipt_path(size), receipt)?;
        }
        self.add(bundle::older_path(size), older.note.clone())
    }

    /// Adds the anchors that say most of the exchanges: of each kind the last before the first of them, for each entry the
    /// first that is about it, and the newest. Returns their names.
    fn add_anchors(&mut self, exchanges: &[bundle::Exchange]) -> Result<Vec<String>, Failure> {
        let store = self.log.reader.store();
        let files = store.list(anchor::DIRECTORY).map_err(tabellion_ledger::LedgerError::from)?;
        let head = self.head.checkpoint.size;
        let mut names: Vec<Name> = files.iter().filter_map(|file| Name::parse(file)).collect();
        names.retain(|name| name.size <= head);
        names.sort_unstable();
        let indices: BTreeSet<u64> =
            exchanges.iter().flat_map(|one| std::iter::once(one.request).chain(one.response)).collect();
        let mut chosen: BTreeSet<Name> = BTreeSet::new();
        let kinds: BTreeSet<_> = names.iter().map(|name| name.kind).collect();
        for kind in kinds {
            let of_kind: Vec<Name> = names.iter().filter(|name| name.kind == kind).copied().collect();
            let after = |index: u64| of_kind.partition_point(|name| name.size <= index);
            for &index in &indices {
                chosen.extend(of_kind.get(after(index)));
            }
            if let Some(&first) = indices.first() {
                chosen.extend(after(first).checked_sub(1).and_then(|at| of_kind.get(at)));
            }
            chosen.extend(of_kind.last());
        }
        let mut added = Vec::new();
        for name in chosen {
            // One that was listed and is gone is no evidence.
            let Some(bytes) =
                self.log.reader.store().read(&name.path()).map_err(tabellion_ledger::LedgerError::from)?
            else {
                continue;
            };
            self.add(bundle::anchor_path(&name.to_string()), bytes)?;
            if !self.files.contains_key(&bundle::tree_path(name.size)) {
                self.add_tree(name.size)?;
            }
            added.push(name.to_string());
        }
        let mut roots = Vec::new();
        for path in self.log.config.anchor.iter().filter_map(|anchor| anchor.roots()) {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::environment(format!("cannot read {}", path.display())).because(error))?;
            roots.extend(pem);
            roots.push(b'\n');
        }
        if !added.is_empty() && !roots.is_empty() {
            self.add(bundle::ROOTS.to_owned(), roots)?;
        }
        Ok(added)
    }

    /// Adds the parts that an entry names, and their text to what is for reading.
    fn add_content(&mut self, index: u64, entry: &Entry, readable: &mut String) -> Result<(), Failure> {
        let facts =
            [("operation", &entry.operation), ("model", &entry.model), ("case", &entry.case), ("actor", &entry.actor)];
        for (name, value) in facts {
            if let Some(value) = value {
                readable.push_str(&format!("{name:<10}{}\n", ui::plain(value)));
            }
        }
        if let Some(outcome) = entry.outcome {
            readable.push_str(&format!("outcome   {outcome}\n"));
        }
        let Some(content) = &entry.content else { return Ok(()) };
        if let Some(omitted) = content.omitted {
            readable.push_str(&format!("no content: {omitted:?}\n"));
            return Ok(());
        }
        let manifest;
        let parts = match &content.manifest {
            None => &content.parts,
            Some(hash) => {
                let bytes = self.part(hash)?;
                manifest = Manifest::parse(&bytes)
                    .map_err(|error| Failure::evidence("a manifest cannot be read").because(error))?;
                self.add(bundle::part_path(hash), bytes)?;
                &manifest.content
            }
        };
        let expired = self.expired.by(index);
        if let Some(entry) = expired {
            readable.push_str(&format!("expired   its time was over, as entry {entry} says\n"));
        }
        for part in parts {
            if expired.is_some() && self.catalog.part(&self.log.reader, &part.sha256)?.is_none() {
                readable.push_str(&format!("{:<9} (removed)\n", part.role));
                continue;
            }
            let bytes = self.part(&part.sha256)?;
            // The zero bytes of a frame stand for the parts after it.
            let text = String::from_utf8_lossy(&bytes).replace('\0', "…");
            readable.push_str(&format!("{:<9} {}\n", part.role, ui::plain(&text)));
            self.add(bundle::part_path(&part.sha256), bytes)?;
        }
        Ok(())
    }

    /// Adds the sealed pieces of an entry that can still be opened, each as an ordinary age file.
    fn add_sealed(&mut self, keyring: &Reading, index: u64) -> Result<(), Failure> {
        if self.entries[&index].original.is_none() {
            return Ok(());
        }
        let (_, original) = reveal::original(self.log, self.catalog, index)?;
        for piece in original.sealed {
            let Some(mut file) = keyring.header(&piece)? else { continue };
            let payload = self.catalog.sealed(&self.log.reader, &piece)?;
            file.extend(payload.ok_or_else(|| {
                Failure::evidence("a sealed piece is missing from the log").hint("`tabellion verify` says more")
            })?);
            self.add(bundle::sealed_path(&piece), file)?;
        }
        Ok(())
    }

    fn part(&self, hash: &Hash) -> Result<Vec<u8>, Failure> {
        self.catalog.part(&self.log.reader, hash)?.ok_or_else(|| {
            Failure::evidence(format!("part {hash} is missing from the log")).hint("run `tabellion verify`")
        })
    }
}

/// What the drafts and `VERIFY.md` leave room for.
fn facts(head: &Head, contents: &Contents, manifest: Hash) -> Vec<(&'static str, String)> {
    let selection = contents.selection.iter();
    let selection: Vec<_> = selection.map(|(name, value)| format!("{name} `{}`", ui::plain(value))).collect();
    vec![
        ("{origin}", head.checkpoint.origin.clone()),
        ("{size}", head.checkpoint.size.to_string()),
        ("{root}", head.checkpoint.root.to_string()),
        ("{selection}", selection.join(", ")),
        ("{exchanges}", contents.exchanges.len().to_string()),
        ("{custody}", contents.custody.len().to_string()),
        ("{manifest}", manifest.to_string()),
        ("{version}", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

fn filled(template: &str, facts: &[(&str, String)]) -> String {
    facts.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Adds everything that is not payload.
fn add_tags(files: &mut Files, head: &Head, contents: &Contents, program: &str) -> Result<(), Failure> {
    let facts = facts(head, contents, sha256(&files[bundle::MANIFEST]));
    let payload = files.iter().filter(|(path, _)| bundle::is_payload(path));
    let (count, bytes) = payload.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes.len()));
    let info = format!(
        "Source-Organization: {}\nExternal-Description: {} exchanges of an AI system, with proofs\n\
         Bag-Software-Agent: tabellion {}\nPayload-Oxum: {bytes}.{count}\n",
        head.checkpoint.origin,
        contents.exchanges.len(),
        env!("CARGO_PKG_VERSION"),
    );
    files.insert("bagit.txt".to_owned(), bundle::BAGIT.as_bytes().to_vec());
    files.insert("bag-info.txt".to_owned(), info.into_bytes());
    files.insert("VERIFY.md".to_owned(), filled(VERIFY, &facts).into_bytes());
    for (name, draft) in DRAFTS {
        files.insert(format!("drafts/{name}"), filled(draft, &facts).into_bytes());
    }
    files.insert("verify.py".to_owned(), VERIFIER.as_bytes().to_vec());
    files.insert(bundle::PAGE.to_owned(), page::of(program, files)?.into_bytes());
    let tags = bundle::manifest(files.iter().filter(|(path, _)| !bundle::is_payload(path)));
    files.insert(bundle::TAG_MANIFEST.to_owned(), tags.into_bytes());
    Ok(())
}

/// The same files make the same bytes: in the order of their names, without times.
pub(super) fn zip_of<'a>(
    directory: &str,
    files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::internal(format!("cannot make a zip file: {error}"));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in files {
        zip.start_file(format!("{directory}/{path}"), options).map_err(|error| failed(&error))?;
        zip.write_all(bytes).map_err(|error| failed(&error))?;
    }
    zip.finish().map(Cursor::into_inner).map_err(|error| failed(&error))
}

fn write_zip(output: &Path, files: &Files) -> Result<(), Failure> {
    let name = output.file_stem().and_then(|stem| stem.to_str()).unwrap_or("bundle");
    let bytes = zip_of(name, files.iter())?;
    let failed =
        |error: std::io::Error| Failure::environment(format!("cannot write {}", output.display())).because(error);
    // Whole or not at all.
    let partial = output.with_extension("zip.partial");
    let mut file = std::fs::File::create(&partial).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&partial, output).map_err(failed)
}
