//! One suite over every store, and the promises of `create` and `replace` under power cuts.

use tabellion_store::{Disk, DiskStore, RealDisk, SimDisk, Store};

fn behaves_as_a_store(store: &dyn Store) {
    assert_eq!(store.read("a/b/1").unwrap(), None);
    store.create(&[("a/b/1", b"one"), ("a/b/2", b"two")]).unwrap();
    assert_eq!(store.read("a/b/1").unwrap().unwrap(), b"one");
    assert_eq!(store.read_range("a/b/2", 1, 2).unwrap().unwrap(), b"wo");
    assert_eq!(store.read_range("a/b/2", 1, 3).unwrap(), None, "a range beyond the end is absent, not short");
    assert_eq!(store.list("a").unwrap(), ["b/"]);
    assert_eq!(store.list("a/b").unwrap(), ["1", "2"]);
    assert!(store.list("nowhere").unwrap().is_empty());
    store.replace("head", b"old").unwrap();
    store.replace("head", b"newer").unwrap();
    assert_eq!(store.read("head").unwrap().unwrap(), b"newer");
    store.remove("a/b/1").unwrap();
    store.remove("a/b/1").unwrap();
    assert_eq!(store.list("a/b").unwrap(), ["2"]);
    store.remove_all("a/b").unwrap();
    assert!(store.list("a").unwrap().is_empty());
    store.create(&[("a/b/3", b"three")]).unwrap();
    assert_eq!(store.read("a").unwrap_or(None), None, "a directory is no object");
}

#[test]
fn a_real_disk_behaves_as_a_store() {
    let directory = tempfile::tempdir().unwrap();
    behaves_as_a_store(&DiskStore::new(RealDisk::new(directory.path())));
}

#[test]
fn a_simulated_disk_behaves_as_a_store() {
    behaves_as_a_store(&DiskStore::new(SimDisk::new()));
}

#[test]
fn files_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    DiskStore::new(RealDisk::new(directory.path())).replace("head", b"x").unwrap();
    assert_eq!(std::fs::metadata(directory.path().join("head")).unwrap().permissions().mode() & 0o777, 0o600);
}

/// Every fate of `pending` changes: each lost, kept or torn.
fn fates(pending: usize) -> impl Iterator<Item = Vec<u8>> {
    let count = 3_usize.pow(u32::try_from(pending).unwrap());
    (0..count).map(move |mut code| {
        (0..pending)
            .map(|_| {
                let fate = (code % 3) as u8;
                code /= 3;
                fate
            })
            .collect()
    })
}

#[test]
fn objects_are_whole_or_absent_after_every_power_cut_and_there_once_acknowledged() {
    let mut cuts = 0;
    for step in 0.. {
        let disk = SimDisk::new();
        disk.power_off_at(step);
        let store = DiskStore::new(disk.clone());
        let created = store.create(&[("d/1", b"first"), ("d/2", b"second")]).is_ok();
        let old = store.replace("head", b"old").is_ok();
        let new = store.replace("head", b"new head").is_ok();
        for fate in fates(disk.pending()) {
            cuts += 1;
            let found = DiskStore::new(disk.crash(|index| fate[index]));
            let (one, two) = (found.read("d/1").unwrap(), found.read("d/2").unwrap());
            assert!(one.as_deref().is_none_or(|bytes| bytes == b"first"), "torn at step {step}");
            assert!(two.as_deref().is_none_or(|bytes| bytes == b"second"), "torn at step {step}");
            assert!(!created || (one.is_some() && two.is_some()), "lost at step {step}");
            match found.read("head").unwrap().as_deref() {
                Some(b"new head") => {}
                Some(b"old") => assert!(!new, "lost at step {step}"),
                None => assert!(!old, "lost at step {step}"),
                Some(other) => panic!("torn at step {step}: {other:?}"),
            }
            // What a crash leaves never hinders the next write.
            found.replace("head", b"after").unwrap();
            found.create(&[("d/1", b"first")]).unwrap();
            assert_eq!(found.read("head").unwrap().unwrap(), b"after");
        }
        if new {
            break;
        }
    }
    assert!(cuts > 200, "only {cuts} power cuts were tried");
}

#[test]
fn a_simulated_disk_loses_what_was_not_synced() {
    // The simulation itself must be able to fail the test above: an unsynced write and an unsynced name are lost.
    let disk = SimDisk::new();
    let file = disk.create("f").unwrap();
    file.write_at(0, b"bytes").unwrap();
    file.sync().unwrap();
    assert!(disk.crash(|_| 0).open("f").unwrap().is_none(), "the name was never synced");
    disk.sync_directory("").unwrap();
    file.write_at(5, b" more").unwrap();
    assert_eq!(disk.crash(|_| 0).files()["f"], b"bytes");
    assert_eq!(disk.crash(|_| 1).files()["f"], b"bytes more");
    assert_eq!(disk.crash(|_| 2).files()["f"], b"bytes m");
}
