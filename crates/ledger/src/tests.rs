//! The write protocol against a disk that loses power at every step.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tabellion_evidence::audit::Packed;
use tabellion_evidence::tree::{self, Frontier};
use tabellion_evidence::{content, tile};
use tabellion_store::{Disk, DiskFile, DiskStore, SimDisk};

use super::*;

/// The directory `keys/` of a disk, so that data and keys lose power together.
#[derive(Clone)]
pub(super) struct Keys(pub(super) SimDisk);

impl Keys {
    fn at(path: &str) -> String {
        if path.is_empty() { "keys".to_owned() } else { format!("keys/{path}") }
    }
}

impl Disk for Keys {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        self.0.open(&Self::at(path))
    }
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(&Self::at(path))
    }
    fn create_directory(&self, path: &str) -> io::Result<bool> {
        self.0.create_directory(&Self::at(path))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&Self::at(from), &Self::at(to))
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(&Self::at(path))
    }
    fn remove_directory(&self, path: &str) -> io::Result<()> {
        self.0.remove_directory(&Self::at(path))
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(&Self::at(path))
    }
    fn sync_directory(&self, path: &str) -> io::Result<()> {
        self.0.sync_directory(&Self::at(path))
    }
}

/// A disk on which the keys directory was made before, as `Ledger::open` does.
pub(super) fn disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_directory("keys").unwrap();
    disk.sync_directory("").unwrap();
    disk
}

pub(super) fn open(disk: &SimDisk) -> Result<Recovered<SimDisk>, LedgerError> {
    recover(disk.clone(), DiskStore::new(Keys(disk.clone())), &Options::default())
}

pub(super) fn append(entry: &str, parts: &[&str]) -> Append {
    let parts = parts.iter().map(|part| Part::new(part.as_bytes())).collect();
    let sealed = sealed_of(entry).map(|piece| Part::new(piece.into_bytes())).into_iter().collect();
    Append { entry: entry.as_bytes().to_vec(), parts, sealed, ..Append::default() }
}

/// Some entries have a sealed original: one among others of its batch, and one that is published by a recovery.
fn sealed_of(entry: &str) -> Option<String> {
    ["c", "e"].contains(&entry).then(|| format!("sealed {entry}"))
}

/// What the published log holds, after everything in it was recomputed.
pub(super) fn contents(disk: &SimDisk) -> (Vec<String>, Vec<String>) {
    let reader = Reader::new(Arc::new(DiskStore::new(disk.clone())));
    let Ok(checkpoint) = reader.checkpoint() else { return Default::default() };
    let mut frontier = Frontier::new();
    let mut entries = Vec::new();
    for number in 0..checkpoint.size.div_ceil(tile::WIDTH) {
        for entry in reader.entries(number, checkpoint.size).unwrap() {
            frontier.push(tree::leaf_hash(&entry));
            entries.push(String::from_utf8(entry).unwrap());
        }
    }
    assert_eq!(frontier.root(), checkpoint.root, "the entries are not those that were signed");
    assert_eq!(reader.root(checkpoint.size, checkpoint.size).unwrap(), checkpoint.root, "the tiles differ");
    for index in 0..checkpoint.size {
        let proof = reader.prove(index).unwrap();
        proof.verify(entries[index as usize].as_bytes(), &reader.vkey().unwrap()).unwrap();
    }
    let mut parts = Vec::new();
    let mut sealed = Vec::new();
    for (_, pack) in reader.packs(Packed::Sealed, 0, checkpoint.size).unwrap() {
        for (_, bytes, _) in content::parse_pack(&reader.store().read(&pack).unwrap().unwrap()).unwrap() {
            sealed.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
    let expected: Vec<String> = entries.iter().filter_map(|entry| sealed_of(entry)).collect();
    assert_eq!(sealed, expected, "the sealed pieces are not those of the entries");
    for (_, pack) in reader.packs(Packed::Content, 0, checkpoint.size).unwrap() {
        for (_, bytes, _) in content::parse_pack(&reader.store().read(&pack).unwrap().unwrap()).unwrap() {
            parts.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    }
    (entries, parts)
}

/// Appends and publishes until the power goes. Returns which entries were acknowledged.
pub(super) fn history(disk: &SimDisk) -> Vec<&'static str> {
    let mut acknowledged = Vec::new();
    let Ok(Recovered { mut sequencer, mut publisher }) = open(disk) else { return acknowledged };
    let mut steps = || -> Option<()> {
        let (_, first) = sequencer.sequence(vec![append("a", &["p", "p"])]).ok()?;
        acknowledged.push("a");
        publisher.publish(&first).ok()?;
        sequencer.published(publisher.cataloged());
        let (_, second) = sequencer.sequence(vec![append("b", &["p", "q"]), append("c", &["q"])]).ok()?;
        acknowledged.extend(["b", "c"]);
        let (_, third) = sequencer.sequence(vec![append("d", &["r"])]).ok()?;
        acknowledged.push("d");
        publisher.publish(&[second, third].concat()).ok()?;
        sequencer.published(publisher.cataloged());
        sequencer.sequence(vec![append("e", &["s"])]).ok()?;
        acknowledged.push("e");
        Some(())
    };
    steps();
    acknowledged
}

pub(super) const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
const PARTS: [&str; 5] = ["p", "q", "q", "r", "s"];

/// Every fate of few pending changes (lost, kept, torn); of more, every choice of lost and kept; of many, a choice
/// that has each change lost alone, kept alone, torn alone, everything cut off at each place, and 64 arbitrary ones.
fn fates(pending: usize) -> Vec<Vec<u8>> {
    let digits = |mut code: usize, base: usize| -> Vec<u8> {
        (0..pending)
            .map(|_| {
                let digit = (code % base) as u8;
                code /= base;
                digit
            })
            .collect()
    };
    match pending {
        0..=6 => (0..3_usize.pow(pending as u32)).map(|code| digits(code, 3)).collect(),
        7..=9 => (0..1_usize << pending).map(|code| digits(code, 2)).collect(),
        _ => {
            let mut fates = vec![vec![0; pending], vec![1; pending]];
            for at in 0..pending {
                for (rest, fate) in [(1, 0), (0, 1), (1, 2)] {
                    let mut choice = vec![rest; pending];
                    choice[at] = fate;
                    fates.push(choice);
                }
                fates.push((0..pending).map(|index| u8::from(index < at)).collect());
                fates.push((0..pending).map(|index| u8::from(index >= at)).collect());
            }
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            for _ in 0..64 {
                let choice = (0..pending)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        ((state >> 33) % 3) as u8
                    })
                    .collect();
                fates.push(choice);
            }
            fates
        }
    }
}

#[test]
fn whatever_power_cuts_lose_nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    let mut cuts = 0;
    let mut outcomes: BTreeMap<usize, usize> = BTreeMap::new();
    for step in 0.. {
        let disk = disk();
        // The one call before this made the keys directory.
        disk.power_off_at(disk.steps() + step);
        let acknowledged = history(&disk);
        for fate in fates(disk.pending()) {
            cuts += 1;
            let found = disk.crash(|index| fate[index]);
            let Recovered { mut sequencer, mut publisher } =
                open(&found).unwrap_or_else(|error| panic!("step {step}, {fate:?}: {error}"));
            let (entries, parts) = contents(&found);
            assert!(entries.len() >= acknowledged.len(), "step {step}, {fate:?}: {acknowledged:?} but {entries:?}");
            assert_eq!(entries, ALL[..entries.len()], "step {step}, {fate:?}");
            let mut expected = PARTS[..entries.len()].to_vec();
            expected.dedup();
            assert_eq!(parts, expected, "step {step}, {fate:?}");
            *outcomes.entry(entries.len()).or_default() += 1;

            // And it goes on from there.
            let (index, records) = sequencer.sequence(vec![append("after", &["q", "t"])]).unwrap();
            assert_eq!(index, entries.len() as u64);
            publisher.publish(&records).unwrap();
            assert_eq!(contents(&found).0.last().unwrap(), "after");
        }
        if acknowledged.len() == ALL.len() {
            break;
        }
    }
    assert!(cuts > 2_000, "only {cuts} power cuts were tried");
    // "b" and "c" are written together, so they come and go together.
    let found: Vec<usize> = outcomes.into_keys().collect();
    assert_eq!(found, [0, 1, 3, 4, 5], "every prefix must have been found after some cut");
}

#[test]
fn a_second_power_cut_during_recovery_loses_nothing_either() {
    let first = disk();
    let acknowledged = history(&first);
    assert_eq!(acknowledged, ALL);
    let mut cuts = 0;
    for step in 0.. {
        let second = first.crash(|_| 0);
        second.power_off_at(step);
        let whole = open(&second).is_ok();
        for fate in fates(second.pending()) {
            cuts += 1;
            let third = second.crash(|index| fate[index]);
            open(&third).unwrap_or_else(|error| panic!("step {step}, {fate:?}: {error}"));
            assert_eq!(contents(&third).0, ALL, "step {step}, {fate:?}");
        }
        if whole {
            break;
        }
    }
    assert!(cuts > 300, "only {cuts} power cuts were tried");
}

#[test]
fn one_failure_of_the_disk_at_any_step_refuses_or_delays_and_loses_nothing() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for step in 0..120 {
            let disk = disk();
            disk.fail_at(disk.steps() + step, kind);
            let Ok(Recovered { mut sequencer, mut publisher }) = open(&disk) else { continue };
            let mut acknowledged = Vec::new();
            let mut unpublished = Vec::new();
            for (entry, part) in [("a", "p"), ("b", "q"), ("c", "q")] {
                match sequencer.sequence(vec![append(entry, &[part])]) {
                    Ok((_, records)) => {
                        acknowledged.push(entry);
                        unpublished.extend(records);
                    }
                    Err(Failure::Refused(_)) => {}
                    // Nobody writes to a disk again that failed to sync.
                    Err(Failure::Unknown) => break,
                }
                if publisher.publish(&unpublished).is_ok() {
                    unpublished.clear();
                    sequencer.published(publisher.cataloged());
                }
            }
            drop((sequencer, publisher));
            let restarted = disk.crash(|_| 1);
            open(&restarted).unwrap_or_else(|error| panic!("step {step}: {error}"));
            let (entries, parts) = contents(&restarted);
            let mut rest = entries.iter();
            for entry in &acknowledged {
                assert!(rest.any(|found| found == entry), "step {step}: {acknowledged:?} but {entries:?}");
            }
            for list in [&entries, &parts] {
                let distinct: BTreeSet<&String> = list.iter().collect();
                assert_eq!(distinct.len(), list.len(), "step {step}: {list:?}");
            }
        }
    }
}

#[test]
fn refuses_to_sign_what_is_not_an_extension() {
    let disk = disk();
    history(&disk);
    let before = disk.crash(|_| 1);
    let Recovered { mut sequencer, mut publisher } = open(&disk).unwrap();
    let (_, records) = sequencer.sequence(vec![append("later", &[])]).unwrap();
    publisher.publish(&records).unwrap();

    // The data is rolled back, the signer's memory is not.
    let rolled_back = before.clone();
    let signed = DiskStore::new(Keys(disk.clone())).read("signed").unwrap().unwrap();
    DiskStore::new(Keys(rolled_back.clone())).replace("signed", &signed).unwrap();
    assert!(matches!(open(&rolled_back), Err(LedgerError::Diverged)));

    // The signer's memory is lost.
    let forgetful = disk.crash(|_| 1);
    DiskStore::new(Keys(forgetful.clone())).remove("signed").unwrap();
    assert!(matches!(open(&forgetful), Err(LedgerError::SignerStateMissing)));

    // The key is lost.
    let keyless = disk.crash(|_| 1);
    DiskStore::new(Keys(keyless.clone())).remove("log.key").unwrap();
    assert!(matches!(open(&keyless), Err(LedgerError::KeyMissing)));

    // The second key is lost, and what was signed last has a signature by it.
    let keyless = disk.crash(|_| 1);
    DiskStore::new(Keys(keyless.clone())).remove("log-ml-dsa-44.key").unwrap();
    assert!(matches!(open(&keyless), Err(LedgerError::KeyMissing)));

    // A tile or an entry was changed.
    for name in ["log/tile/0/000.p/6", "log/tile/entries/000.p/6"] {
        let changed = disk.crash(|_| 1);
        let store = DiskStore::new(changed.clone());
        let mut bytes = store.read(name).unwrap().unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        store.replace(name, &bytes).unwrap();
        assert!(matches!(open(&changed), Err(LedgerError::Diverged)), "{name}");
    }

    // An older checkpoint in place of the newest is only put right.
    let older = disk.crash(|_| 1);
    let old = DiskStore::new(before).read("log/checkpoint").unwrap().unwrap();
    DiskStore::new(older.clone()).replace("log/checkpoint", &old).unwrap();
    open(&older).unwrap();
    assert_eq!(contents(&older).0.len(), 6);
}

#[test]
fn a_log_from_before_there_was_a_second_key_gets_one() {
    let disk = disk();
    history(&disk);
    let (data, keys) = (DiskStore::new(disk.clone()), DiskStore::new(Keys(disk.clone())));
    let reader = Reader::new(Arc::new(DiskStore::new(disk.clone())));
    let first_line =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().split_inclusive('\n').next().unwrap().to_owned();
    // As the first version left it.
    keys.remove("log-ml-dsa-44.key").unwrap();
    let signed = String::from_utf8(keys.read("signed").unwrap().unwrap()).unwrap();
    let old: String = signed.split_inclusive('\n').take(5).collect();
    keys.replace("signed", old.as_bytes()).unwrap();
    data.replace("log/checkpoint", old.as_bytes()).unwrap();
    data.replace("log.vkey", first_line(data.read("log.vkey").unwrap().unwrap()).as_bytes()).unwrap();
    assert_eq!(reader.vkeys().unwrap().len(), 1);
    let before = reader.checkpoint().unwrap();

    open(&disk).unwrap();
    let vkeys = reader.vkeys().unwrap();
    assert_eq!(vkeys.len(), 2);
    assert!(reader.checkpoint().unwrap().size >= before.size);
    for key in &vkeys {
        tabellion_evidence::checkpoint::verify(&reader.checkpoint_note().unwrap(), key).unwrap();
    }
    open(&disk).unwrap();
    assert_eq!(reader.vkeys().unwrap(), vkeys, "it keeps it");
    contents(&disk);
}

#[test]
fn a_lost_catalog_is_made_again_and_a_foreign_one_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("catalog.db");
    let disk = disk();
    history(&disk);
    let options = Options { catalog: Some(path.clone()), ..Options::default() };
    let reopen = |disk: &SimDisk| {
        recover(disk.clone(), DiskStore::new(Keys(disk.clone())), &options).unwrap();
        let mut catalog = Catalog::open(&path).unwrap();
        let reader = Reader::new(Arc::new(DiskStore::new(disk.clone())));
        catalog.catch_up(&reader).unwrap();
        let part = catalog.part(&reader, &tree::sha256(b"q")).unwrap();
        (catalog.position().unwrap().unwrap().0, part)
    };
    let expected = (5, Some(b"q".to_vec()));
    assert_eq!(reopen(&disk), expected);
    std::fs::remove_file(&path).unwrap();
    let _ = std::fs::remove_file(path.with_extension("db-wal"));
    let _ = std::fs::remove_file(path.with_extension("db-shm"));
    assert_eq!(reopen(&disk), expected);

    let other = self::disk();
    let Recovered { mut sequencer, mut publisher } = open(&other).unwrap();
    let appends: Vec<Append> = (0..5).map(|n| append(&format!("other {n}"), &["q"])).collect();
    let (_, records) = sequencer.sequence(appends).unwrap();
    publisher.publish(&records).unwrap();
    drop((sequencer, publisher));
    assert_eq!(reopen(&other), expected, "the same part lies elsewhere in this log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_get_each_their_own_position_and_are_published() {
    let directory = tempfile::tempdir().unwrap();
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    let ledger = Arc::new(Ledger::open(&data, &keys, Options::default()).unwrap());
    assert!(matches!(Ledger::open(&data, &keys, Options::default()), Err(LedgerError::InUse)));
    let mut tasks = Vec::new();
    for caller in 0..50 {
        let ledger = ledger.clone();
        tasks.push(tokio::spawn(async move {
            let mut indexes = Vec::new();
            for number in 0..20 {
                let entry = append(&format!("{caller} {number}"), &["shared", &format!("part {number}")]);
                indexes.push(ledger.append(entry).await.unwrap());
            }
            assert!(indexes.is_sorted(), "a caller's entries keep their order");
            indexes
        }));
    }
    let mut indexes = Vec::new();
    for task in tasks {
        indexes.extend(task.await.unwrap());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (0..1000).collect::<Vec<_>>());
    let mut published = ledger.published();
    tokio::time::timeout(Duration::from_secs(10), published.wait_for(|&size| size == 1000)).await.unwrap().unwrap();
    let reader = ledger.reader().clone();
    let parts: usize = reader
        .packs(Packed::Content, 0, 1000)
        .unwrap()
        .iter()
        .map(|(_, name)| content::parse_pack(&reader.store().read(name).unwrap().unwrap()).unwrap().len())
        .sum();
    assert_eq!(parts, 21, "each part once");
    let too_long = Append { entry: vec![b' '; ENTRY_BYTES_MAX + 1], ..Append::default() };
    assert_eq!(ledger.append(too_long).await, Err(AppendError::TooLong));
    ledger.close();
    assert_eq!(ledger.append(append("late", &[])).await, Err(AppendError::Closed));
    drop(ledger);
    let names = |directory: &str| reader.store().list(directory).unwrap();
    assert_eq!(names("log/tile/0"), ["000", "001", "002", "003.p/"], "partial tiles go once the full one is there");
    Ledger::open(&data, &keys, Options::default()).unwrap();
}

#[test]
fn the_signing_key_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (data, keys) = (directory.path().join("data"), directory.path().join("keys"));
    let options = Options { origin: Some("example.org/log".into()), ..Options::default() };
    drop(Ledger::open(&data, &keys, options).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    assert_eq!(mode(&keys.join("log.key")), 0o600);
    let other = Options { origin: Some("example.org/other".into()), ..Options::default() };
    assert!(matches!(Ledger::open(&data, &keys, other), Err(LedgerError::OriginChanged)));
}

#[test]
fn a_refused_append_takes_no_number_whatever_else_fails() {
    let numbered = || Queued { append: append(r#"{"n":0}"#, &[]), number_at: Some(5) };
    let plain = || Queued::from(append("plain", &[]));
    let mut refused = 0;
    for step in 0..120 {
        let disk = disk();
        let Recovered { mut sequencer, .. } = open(&disk).unwrap();
        disk.fail_at(disk.steps() + step, io::ErrorKind::StorageFull);
        let mut entries = Vec::new();
        for _ in 0..12 {
            match sequencer.sequence(vec![numbered(), plain(), numbered()]) {
                Ok((_, records)) => entries.extend(records.into_iter().map(|record| record.entry)),
                Err(Failure::Refused(_)) => refused += 1,
                Err(Failure::Unknown) => break,
            }
        }
        let numbers: Vec<String> = entries
            .iter()
            .filter(|entry| *entry != b"plain")
            .map(|entry| String::from_utf8(entry.clone()).unwrap())
            .collect();
        let dense: Vec<String> = (0..numbers.len()).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(numbers, dense, "step {step}");
    }
    assert!(refused > 0, "nothing was refused");
}

#[test]
fn a_buffer_is_kept_until_far_less_than_it_has_is_needed() {
    let large = 8 << 20;
    let mut buffer = vec![0; large];
    // Twice, as a publication does at its end and the next at its start.
    for _ in 0..2 {
        edge::empty(&mut buffer);
        assert!(buffer.is_empty() && buffer.capacity() >= large);
    }
    buffer.push(0);
    edge::empty(&mut buffer);
    assert!(buffer.is_empty() && buffer.capacity() < large);
}
