//! The log and its mirror against disks and stores that fail in the ways that real ones do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use tabellion_evidence::tile;
use tabellion_store::SimDisk;

use super::tests::{ALL, Keys, append, contents, disk, history, open};
use super::*;

/// What a whole run changes on a disk.
fn steps_of_a_history() -> usize {
    let disk = disk();
    let before = disk.steps();
    assert_eq!(history(&disk), ALL);
    disk.steps() - before
}

/// Appends and publishes as long as anybody would; returns what was acknowledged, and whether the log stopped.
fn go_on(
    recovered: &mut Recovered<SimDisk>,
    entries: &[&'static str],
    waiting: &mut Vec<Record>,
) -> (Vec<&'static str>, bool) {
    let mut acknowledged = Vec::new();
    for entry in entries {
        match recovered.sequencer.sequence(vec![append(entry, &[entry])]) {
            Ok((_, records)) => {
                acknowledged.push(*entry);
                waiting.extend(records);
            }
            Err(Failure::Refused(_)) => {}
            Err(Failure::Unknown) => return (acknowledged, true),
        }
        match recovered.publisher.publish(waiting) {
            Ok(()) => {
                waiting.clear();
                recovered.sequencer.published(recovered.publisher.cataloged());
            }
            Err(LedgerError::Store(error)) if error.needs_restart() => return (acknowledged, true),
            Err(_) => {}
        }
    }
    (acknowledged, false)
}

/// All that was acknowledged is there, in order, and nothing twice.
fn assert_kept(found: &[String], acknowledged: &[&str], context: &str) {
    let mut rest = found.iter();
    for entry in acknowledged {
        assert!(rest.any(|found| found == entry), "{context}: {acknowledged:?} but {found:?}");
    }
    let distinct: BTreeSet<&String> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "{context}: {found:?}");
}

const ENTRIES: [&str; 4] = ["one", "two", "three", "four"];

#[test]
fn a_disk_that_is_full_from_any_step_on_refuses_and_goes_on_when_there_is_room() {
    let (mut refused, mut went_on) = (0, 0);
    for step in 0..steps_of_a_history() + 10 {
        let disk = disk();
        disk.refuse_from(disk.steps() + step, io::ErrorKind::StorageFull);
        let Ok(mut recovered) = open(&disk) else {
            refused += 1;
            continue;
        };
        let mut waiting = Vec::new();
        let (mut acknowledged, stopped) = go_on(&mut recovered, &ENTRIES, &mut waiting);
        assert!(!stopped, "step {step}: to be full is no reason to stop for good");
        refused += usize::from(acknowledged.len() < ENTRIES.len());
        disk.relieve();
        let (later, stopped) = go_on(&mut recovered, &["later", "last"], &mut waiting);
        assert!(!stopped);
        assert_eq!(later, ["later", "last"], "step {step}: there is room again");
        went_on += 1;
        acknowledged.extend(later);
        assert_kept(&contents(&disk).0, &acknowledged, &format!("step {step}, running"));
        drop(recovered);
        let restarted = disk.crash(|_| 0);
        open(&restarted).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_kept(&contents(&restarted).0, &acknowledged, &format!("step {step}, restarted"));
    }
    assert!(refused > 20 && went_on > 20, "{refused} refused, {went_on} went on");
}

#[test]
fn a_disk_that_turns_read_only_at_any_step_loses_nothing_and_is_still_read() {
    let mut cut_short = 0;
    for step in 0..steps_of_a_history() + 10 {
        let disk = disk();
        disk.refuse_from(disk.steps() + step, io::ErrorKind::ReadOnlyFilesystem);
        let Ok(mut recovered) = open(&disk) else { continue };
        let (acknowledged, _) = go_on(&mut recovered, &ENTRIES, &mut Vec::new());
        cut_short += usize::from(acknowledged.len() < ENTRIES.len());
        // What is published is read from a disk that nobody can write to.
        let published = contents(&disk).0;
        assert!(ENTRIES.starts_with(&published.iter().map(String::as_str).collect::<Vec<_>>()), "step {step}");
        drop(recovered);
        let remounted = disk.crash(|_| 0);
        open(&remounted).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_kept(&contents(&remounted).0, &acknowledged, &format!("step {step}"));
    }
    assert!(cut_short > 20, "only {cut_short} runs were cut short");
}

#[test]
fn after_a_sync_that_failed_nothing_is_acknowledged_and_nothing_is_written() {
    let mut failed_syncs = 0;
    for step in 0..steps_of_a_history() + 10 {
        let disk = disk();
        disk.fail_at(disk.steps() + step, io::ErrorKind::Other);
        let Ok(mut recovered) = open(&disk) else { continue };
        let (acknowledged, stopped) = go_on(&mut recovered, &ENTRIES, &mut Vec::new());
        drop(recovered);
        if !stopped {
            // It was no sync that failed.
            assert!(acknowledged.len() >= ENTRIES.len() - 1, "step {step}");
        } else {
            failed_syncs += 1;
        }
        // What the failed sync should have kept is gone, whatever later ones said.
        let restarted = disk.crash(|_| 0);
        open(&restarted).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_kept(&contents(&restarted).0, &acknowledged, &format!("step {step}"));
    }
    assert!(failed_syncs > 10, "only {failed_syncs} syncs failed");
}

#[test]
fn a_store_whose_sync_failed_takes_nothing_more_until_it_is_opened_again() {
    let mut syncs = 0;
    for step in 0.. {
        let disk = SimDisk::new();
        let store = DiskStore::new(disk.clone());
        store.replace("head", b"old").unwrap();
        disk.fail_at(disk.steps() + step, io::ErrorKind::Other);
        match store.replace("head", b"new") {
            Err(error) if error.needs_restart() => {
                syncs += 1;
                assert!(store.replace("head", b"newer").unwrap_err().needs_restart());
                assert!(store.create(&[("other", b"x")]).unwrap_err().needs_restart());
                assert!(store.read("head").unwrap().is_some(), "reading goes on");
                DiskStore::new(disk).replace("head", b"newest").unwrap();
            }
            Err(_) => store.replace("head", b"new").unwrap(),
            Ok(()) => break,
        }
    }
    assert_eq!(syncs, 2, "of the file and of its directory");
}

#[test]
fn a_ledger_whose_disk_failed_to_sync_says_so_at_once() {
    let sim = disk();
    let ledger = Ledger::open_on(sim.clone(), DiskStore::new(Keys(sim.clone())), Options::default()).unwrap();
    let mut published = ledger.published();
    ledger.append_blocking(append("before", &[])).unwrap();
    while *published.borrow_and_update() < 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Whatever the next one writes first, some sync of it, of the write-ahead log or of a publication, fails.
    let mut outcome = Ok(0);
    for _ in 0..200 {
        sim.fail_at(sim.steps() + 1, io::ErrorKind::Other);
        outcome = ledger.append_blocking(append("x", &[]));
        if outcome == Err(AppendError::Stopped) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(outcome, Err(AppendError::Stopped));
    assert!(!ledger.healthy());
    assert_eq!(ledger.append_blocking(append("after", &[])), Err(AppendError::Stopped));
}

#[test]
fn what_rotted_is_never_signed() {
    let disk = disk();
    assert_eq!(history(&disk), ALL);
    open(&disk).unwrap();
    let expected = contents(&disk);
    let files = disk.files();
    let mut refused = BTreeMap::new();
    for (path, bytes) in files.iter().filter(|(path, _)| !path.starts_with("keys/") && !path.starts_with("tmp/")) {
        for byte in 0..bytes.len().min(2_000) {
            let rotten = disk.crash(|_| 1);
            rotten.rot(path, byte);
            let Ok(mut recovered) = open(&rotten) else {
                *refused.entry(path.as_str()).or_insert(0) += 1;
                continue;
            };
            let (_, records) = recovered.sequencer.sequence(vec![append("next", &[])]).unwrap();
            if recovered.publisher.publish(&records).is_err() {
                continue;
            }
            // It signed. Then what it signed is the true history, with the new entry behind it.
            let reader = Reader::new(Arc::new(DiskStore::new(rotten.clone())));
            let mut frontier = tree::frontier(0, &reader.tiles()).unwrap();
            for entry in expected.0.iter().map(String::as_str).chain(["next"]) {
                frontier.push(tree::leaf_hash(entry.as_bytes()));
            }
            let signed = reader.checkpoint().unwrap();
            assert_eq!((signed.size, signed.root), (6, frontier.root()), "{path}, byte {byte}");
        }
    }
    for path in ["log/tile/0/000.p/5", "log/tile/entries/000.p/5"] {
        assert_eq!(refused.get(path), Some(&files[path].len()), "every byte of {path} matters");
    }
}

// The mirror.

/// A log of so many entries on a disk of its own, signed now and then, so that there are partial tiles.
fn log_of(size: u64) -> SimDisk {
    let sim = disk();
    let mut recovered = open(&sim).unwrap();
    grow(&mut recovered, 0, size);
    sim
}

fn grow(recovered: &mut Recovered<SimDisk>, from: u64, to: u64) {
    let mut next = from;
    while next < to {
        let until = to.min(next + 150);
        let appends = (next..until).map(|n| append(&format!("entry {n}"), &[&format!("part {}", n / 3)])).collect();
        let (_, records) = recovered.sequencer.sequence(appends).unwrap();
        recovered.publisher.publish(&records).unwrap();
        recovered.sequencer.published(recovered.publisher.cataloged());
        next = until;
    }
}

fn store(disk: &SimDisk) -> Arc<dyn Store> {
    Arc::new(DiskStore::new(disk.clone()))
}

fn mirror(from: &SimDisk, to: Arc<dyn Store>) -> Result<Round, MirrorError> {
    Mirror::new(store(from), to, true).round(&|_, _| {})
}

/// Recomputes what a mirror shows; how many entries that is. (`contents` also proves each of them, which takes longer.)
fn shown(disk: &SimDisk) -> u64 {
    let reader = Reader::new(store(disk));
    let Ok(checkpoint) = reader.checkpoint() else { return 0 };
    let mut frontier = tree::frontier(0, &reader.tiles()).unwrap();
    for number in 0..checkpoint.size.div_ceil(tile::WIDTH) {
        let entries = reader.entries(number, checkpoint.size).unwrap();
        entries.iter().for_each(|entry| frontier.push(tree::leaf_hash(entry)));
    }
    assert_eq!(frontier.root(), checkpoint.root, "the entries are not those that were signed");
    assert_eq!(reader.root(checkpoint.size, checkpoint.size).unwrap(), checkpoint.root, "the tiles differ");
    checkpoint.size
}

/// A mirror has all that an undisturbed one has.
fn assert_whole(copy: &SimDisk, undisturbed: &BTreeMap<String, Vec<u8>>, context: &str) {
    let copy = evidence(copy);
    for (name, bytes) in undisturbed {
        assert_eq!(copy.get(name), Some(bytes), "{context}: {name}");
    }
}

/// What of a disk is evidence.
fn evidence(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let kept = |path: &str| {
        ["log/", "content/", "sealed/", "anchors/", "log.vkey"].iter().any(|prefix| path.starts_with(prefix))
    };
    disk.files().into_iter().filter(|(path, _)| kept(path)).collect()
}

#[test]
fn a_mirror_has_what_the_log_has_and_works_only_on_what_is_new() {
    for size in [1, 255, 256, 257, 700, 1300] {
        let log = log_of(size);
        let copy = SimDisk::new();
        let round = mirror(&log, store(&copy)).unwrap();
        assert_eq!((round.from, round.size), (0, size));
        assert_eq!(contents(&copy), contents(&log), "{size}");
        let again = mirror(&log, store(&copy)).unwrap();
        assert_eq!((again.from, again.size, again.objects), (size, size, 0), "nothing is new");
    }

    let log = log_of(600);
    let copy = SimDisk::new();
    mirror(&log, store(&copy)).unwrap();
    let mut recovered = open(&log).unwrap();
    grow(&mut recovered, 600, 601);
    let round = mirror(&log, store(&copy)).unwrap();
    assert_eq!((round.from, round.size), (600, 601));
    assert!(round.objects <= 5, "a bundle, two tiles, a pack, the checkpoint; but {round:?}");
    assert_eq!(contents(&copy), contents(&log));
}

#[test]
fn anchors_are_copied_and_completed_ones_replaced() {
    let (log, copy) = (log_of(3), SimDisk::new());
    store(&log).create(&[("anchors/3.tsr", b"token"), ("anchors/3.ots", b"pending")]).unwrap();
    mirror(&log, store(&copy)).unwrap();
    store(&log).replace("anchors/3.ots", b"complete").unwrap();
    mirror(&log, store(&copy)).unwrap();
    assert_eq!(store(&copy).read("anchors/3.tsr").unwrap().unwrap(), b"token");
    assert_eq!(store(&copy).read("anchors/3.ots").unwrap().unwrap(), b"complete");
}

#[test]
fn a_mirror_never_goes_back_and_keeps_the_proof_of_a_fork() {
    let log = log_of(300);
    let earlier = log.crash(|_| 1);
    let mut recovered = open(&log).unwrap();
    grow(&mut recovered, 300, 310);
    let copy = SimDisk::new();
    mirror(&log, store(&copy)).unwrap();
    let before = evidence(&copy);
    assert!(matches!(mirror(&earlier, store(&copy)), Err(MirrorError::Backward { size: 300, mirrored: 310 })));
    assert_eq!(evidence(&copy), before);

    // The same key signs another history, as whoever has the key can.
    let key = DiskStore::new(Keys(log.clone())).read("log.key").unwrap().unwrap();
    let forked = disk();
    DiskStore::new(Keys(forked.clone())).replace("log.key", &key).unwrap();
    let mut recovered = open(&forked).unwrap();
    grow(&mut recovered, 1_000, 1_310);
    for size in [310, 320] {
        let mut recovered = open(&forked).unwrap();
        grow(&mut recovered, 310, size);
        let Err(MirrorError::Fork { evidence: name, .. }) = mirror(&forked, store(&copy)) else { panic!("{size}") };
        let kept = store(&copy).read(&name).unwrap().unwrap();
        assert_eq!(kept, store(&forked).read("log/checkpoint").unwrap().unwrap(), "{size}");
        assert_eq!(evidence(&copy), before, "{size}");
    }

    let other = log_of(400);
    assert!(matches!(mirror(&other, store(&copy)), Err(MirrorError::OtherLog)));
}

#[test]
fn a_damaged_source_gets_nothing_wrong_into_the_mirror() {
    let log = log_of(700);
    let files = log.files();
    let whole = SimDisk::new();
    mirror(&log, store(&whole)).unwrap();
    let whole = evidence(&whole);
    let mut refused = 0;
    for (path, bytes) in files
        .iter()
        .filter(|(path, _)| path.starts_with("log/") || path.starts_with("content/") || path.starts_with("sealed/"))
    {
        for byte in (0..bytes.len()).step_by(bytes.len() / 7 + 1) {
            let damaged = log.crash(|_| 1);
            damaged.rot(path, byte);
            let copy = SimDisk::new();
            let outcome = mirror(&damaged, store(&copy));
            refused += usize::from(outcome.is_err());
            for (name, bytes) in evidence(&copy) {
                assert_eq!(whole.get(&name), Some(&bytes), "{path}, byte {byte}: {name} is wrong");
            }
            // Once the source is whole again, so is the mirror.
            damaged.rot(path, byte);
            mirror(&damaged, store(&copy)).unwrap_or_else(|error| panic!("{path}, byte {byte}: {error}"));
            assert_whole(&copy, &whole, path);
        }
    }
    assert!(refused > 20, "only {refused} were refused");
}

#[test]
fn a_damaged_mirror_is_not_continued() {
    let log = log_of(300);
    let copy = SimDisk::new();
    mirror(&log, store(&copy)).unwrap();
    let mut recovered = open(&log).unwrap();
    grow(&mut recovered, 300, 301);
    copy.rot("log/tile/0/001.p/44", 5);
    assert!(matches!(mirror(&log, store(&copy)), Err(MirrorError::Damaged)));
}

/// How a store misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mischief {
    /// Says no, and did nothing.
    Fails,
    /// Says no, and did it.
    FailsAndDid,
    /// Does it twice.
    Doubles,
    /// Of several objects, writes the last only, and says no.
    Half,
    /// Takes its time.
    Slow,
    /// Reads something else than what is there.
    ReadsWrong,
}

/// A store that misbehaves once, at a chosen call.
struct FaultyStore {
    inner: Arc<dyn Store>,
    mischief: Mischief,
    at: usize,
    calls: AtomicUsize,
    log: Mutex<Vec<String>>,
}

/// An error as a store gives it.
fn no() -> StoreError {
    let disk = SimDisk::new();
    disk.fail_at(0, io::ErrorKind::ConnectionReset);
    DiskStore::new(disk).replace("x", b"").unwrap_err()
}

impl FaultyStore {
    fn new(inner: Arc<dyn Store>, mischief: Mischief, at: usize) -> Arc<Self> {
        Arc::new(Self { inner, mischief, at, calls: AtomicUsize::new(0), log: Mutex::default() })
    }

    fn now(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) == self.at
    }

    fn write(
        &self,
        names: &[(&str, &[u8])],
        run: impl Fn(&[(&str, &[u8])]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.log.lock().unwrap().extend(names.iter().map(|(name, _)| (*name).to_owned()));
        if !self.now() {
            return run(names);
        }
        match self.mischief {
            Mischief::Fails => Err(no()),
            Mischief::FailsAndDid => run(names).and_then(|()| Err(no())),
            Mischief::Doubles => run(names).and_then(|()| run(names)),
            Mischief::Half => run(&names[names.len().saturating_sub(1)..]).and_then(|()| Err(no())),
            Mischief::Slow => {
                std::thread::sleep(Duration::from_millis(20));
                run(names)
            }
            Mischief::ReadsWrong => run(names),
        }
    }
}

impl Store for FaultyStore {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.inner.read(name)?;
        if self.now() && self.mischief == Mischief::ReadsWrong {
            return Ok(read.map(|mut bytes| {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                bytes
            }));
        }
        Ok(read)
    }
    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_range(name, offset, length)
    }
    fn create(&self, objects: &[(&str, &[u8])]) -> Result<(), StoreError> {
        self.write(objects, |objects| self.inner.create(objects))
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(&[(name, bytes)], |objects| {
            objects.iter().try_for_each(|(name, bytes)| self.inner.replace(name, bytes))
        })
    }
    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.inner.remove(name)
    }
    fn remove_all(&self, directory: &str) -> Result<(), StoreError> {
        self.inner.remove_all(directory)
    }
    fn rewrite(&self, objects: &[(&str, Option<&[u8]>)]) -> Result<(), StoreError> {
        self.inner.rewrite(objects)
    }
    fn list(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list(directory)
    }
}

#[test]
fn a_store_that_misbehaves_at_any_call_costs_a_round_and_nothing_else() {
    use Mischief::*;
    let log = log_of(700);
    let mut recovered = open(&log).unwrap();
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    let base = SimDisk::new();
    mirror(&log, store(&base)).unwrap();
    grow(&mut recovered, 700, 1_100);
    let whole = SimDisk::new();
    mirror(&log, store(&whole)).unwrap();
    assert_eq!(contents(&whole), contents(&log));
    let whole = evidence(&whole);
    for mischief in [Fails, FailsAndDid, Doubles, Half, Slow, ReadsWrong] {
        for start in [SimDisk::new(), base.crash(|_| 1)] {
            for at in 0.. {
                let copy = start.crash(|_| 1);
                let faulty = FaultyStore::new(store(&copy), mischief, at);
                let outcome = mirror(&log, faulty.clone());
                if outcome.is_err() {
                    *failed.entry(format!("{mischief:?}")).or_default() += 1;
                }
                // Whatever happened, what the mirror shows is whole.
                shown(&copy);
                mirror(&log, store(&copy)).unwrap_or_else(|error| panic!("{mischief:?} at {at}: {error}"));
                assert_eq!(shown(&copy), 1_100);
                assert_whole(&copy, &whole, &format!("{mischief:?} at {at}"));
                if faulty.calls.load(Ordering::Relaxed) <= at {
                    break;
                }
            }
        }
    }
    for mischief in ["Fails", "FailsAndDid", "Half"] {
        assert!(failed[mischief] > 10, "{failed:?}");
    }
    assert!(!failed.contains_key("Doubles") && !failed.contains_key("Slow"), "{failed:?}");
}

#[test]
fn a_mirror_that_was_cut_short_goes_on_where_it_was() {
    let log = log_of(1_300);
    let copy = SimDisk::new();
    // The checkpoint is the last that is written; it fails, and what came before is there.
    let counting = FaultyStore::new(store(&SimDisk::new()), Mischief::Slow, usize::MAX);
    mirror(&log, counting.clone()).unwrap();
    let calls = counting.calls.load(Ordering::Relaxed);
    let all = counting.log.lock().unwrap().len();
    let cut = FaultyStore::new(store(&copy), Mischief::Fails, calls - 1);
    assert!(matches!(mirror(&log, cut), Err(MirrorError::Write(_))));
    assert!(contents(&copy).0.is_empty(), "nothing shows before the checkpoint");
    let rest = FaultyStore::new(store(&copy), Mischief::Slow, usize::MAX);
    mirror(&log, rest.clone()).unwrap();
    let rest = rest.log.lock().unwrap().len();
    assert!(rest * 2 < all, "{rest} of {all} objects were written again");
    assert_eq!(contents(&copy), contents(&log));
}

#[test]
fn power_cuts_during_mirroring_leave_what_the_next_round_completes() {
    let log = log_of(300);
    let undisturbed = SimDisk::new();
    mirror(&log, store(&undisturbed)).unwrap();
    let undisturbed = evidence(&undisturbed);
    for step in 0.. {
        let copy = SimDisk::new();
        copy.power_off_at(step);
        let whole = mirror(&log, store(&copy)).is_ok();
        for fate in [0, 1, 2] {
            let found = copy.crash(|_| fate);
            shown(&found);
            mirror(&log, store(&found)).unwrap_or_else(|error| panic!("step {step}, {fate}: {error}"));
            assert_eq!(shown(&found), 300);
            assert_whole(&found, &undisturbed, &format!("step {step}, {fate}"));
        }
        if whole {
            break;
        }
    }
}

#[test]
fn final_files_are_protected_and_nothing_else_and_the_log_goes_on() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    let options = || Options { protection: Protection::ReadOnly, publish_every: Duration::ZERO, ..Options::default() };
    for round in 0..2 {
        let ledger = Ledger::open(&data, &keys, options()).unwrap();
        for n in 0..300 {
            ledger.append_blocking(append(&format!("{round} {n}"), &[&format!("{round} part {n}")])).unwrap();
        }
        ledger.close();
    }
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["log/tile/0/000", "log/tile/0/001", "log/tile/entries/000", "log/tile/entries/001", "content/000"] {
        assert_eq!(mode(name), 0o400, "{name}");
    }
    for name in ["log/checkpoint", "log/tile/0/002.p/88", "log.vkey"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let reader = Reader::new(Arc::new(DiskStore::new(RealDisk::new(&data))));
    assert_eq!(reader.checkpoint().unwrap().size, 600);
    assert_eq!(reader.root(600, 600).unwrap(), reader.checkpoint().unwrap().root);
}
