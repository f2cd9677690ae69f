//! Sealed pieces: each that an entry names is there, or the log says that it was erased.

mod common;

use common::{append, conversation, files, refused, write};
use tabellion_audit::Options;
use tabellion_evidence::entry::{Entry, Erase, Kind, Manifest, Original};
use tabellion_evidence::tree::sha256;
use tabellion_ledger::{Append, Part};

/// Entries with sealed originals, of which the later ones name the earlier ones' pieces too; one has its list in a manifest.
fn sealed() -> Vec<Append> {
    let mut said = Vec::new();
    let mut appends = conversation(0, 3, 4);
    for (n, append) in appends.iter_mut().enumerate() {
        let mut entry = Entry::parse(&append.entry).unwrap();
        let piece = Part::new(format!("sealed {n}").into_bytes());
        said.push(piece.hash());
        let mut original = Original { bytes: 3, commitment: sha256(b"c"), parts: Vec::new(), sealed: Vec::new() };
        match entry.content.as_mut().and_then(|content| content.manifest.as_mut()) {
            Some(name) => {
                let at = append.parts.iter().position(|part| part.hash() == *name).unwrap();
                let mut manifest = Manifest::parse(append.parts[at].bytes()).unwrap();
                manifest.sealed.clone_from(&said);
                append.parts[at] = Part::new(manifest.to_bytes());
                *name = append.parts[at].hash();
            }
            None => original.sealed.clone_from(&said),
        }
        entry.original = Some(original);
        append.entry = entry.to_bytes().unwrap();
        append.sealed = vec![piece];
    }
    appends
}

fn erase(id: u64, entries: Vec<(u64, u64)>) -> Append {
    let mut entry = Entry::new(Kind::Erase, common::id(id), "2026-11-22T10:00:00.000000Z");
    entry.erase = Some(Erase { entries, selection: Default::default(), basis: None });
    Append { entry: entry.to_bytes().unwrap(), ..Append::default() }
}

/// Whole, slice by slice, and only the end.
fn options() -> [Options; 3] {
    [
        Options::default(),
        Options { slice: Some(2), ..Options::default() },
        Options { range: Some(0..100), ..Options::default() },
    ]
}

#[test]
fn a_log_with_sealed_originals_verifies() {
    let appends = sealed();
    assert!(appends.iter().any(|append| !String::from_utf8_lossy(&append.entry).contains("sealed\":")), "a manifest");
    let files = files(&write(appends.into_iter().map(|append| vec![append]).collect()));
    for options in options() {
        let report = files.verify_with(&options);
        assert!(report.verified, "{:?}", report.problems);
        assert_eq!(report.checked.sealed, 5);
        assert!(report.proved.iter().any(|statement| statement.code == "sealed"));
    }
}

#[test]
fn every_damage_to_a_sealed_pack_is_found() {
    let files = files(&write(sealed().into_iter().map(|append| vec![append]).collect()));
    let packs = files.of_kind("sealed/");
    assert_eq!(packs.len(), 5);
    for pack in &packs {
        for at in 0..files.0[pack].len() {
            let mut damaged = files.clone();
            damaged.0.get_mut(pack).unwrap()[at] ^= 1;
            for options in options() {
                assert!(!damaged.verify_with(&options).verified, "byte {at} of {pack}");
            }
        }
        let mut gone = files.clone();
        gone.0.remove(pack);
        for options in &options()[..2] {
            refused(&gone.verify_with(options), "which is in no pack");
        }
    }
    let mut more = files.clone();
    let twice = more.0[&packs[0]].clone();
    more.0.insert("sealed/009".into(), twice);
    refused(&more.verify_with(&Options::default()), "has already");
    let mut other = files.clone();
    other.0.insert("sealed/x.txt".into(), b"x".to_vec());
    refused(&other.verify_with(&Options::default()), "is not a file of this log");
}

#[test]
fn a_piece_that_nobody_names_is_found() {
    let mut appends = sealed();
    appends[4].sealed.push(Part::new(*b"nobody's"));
    let files = files(&write(vec![appends]));
    for options in options() {
        refused(&files.verify_with(&options), "which no entry names");
    }
}

#[test]
fn what_is_missing_and_was_erased_is_no_contradiction() {
    let directory = write(sealed().into_iter().map(|append| vec![append]).collect());
    append(directory.path(), vec![erase(50, vec![(0, 2), (4, 4)]), erase(51, vec![(2, 3)])]);
    let whole = files(&directory);
    for options in &options()[..2] {
        let report = whole.verify_with(options);
        assert!(report.verified, "{:?}", report.problems);
        assert_eq!(report.checked.erased, 5);
    }
    let mut pruned = whole.clone();
    for pack in whole.of_kind("sealed/") {
        pruned.0.remove(&pack);
    }
    for options in &options()[..2] {
        let report = pruned.verify_with(options);
        assert!(report.verified, "{:?}", report.problems);
    }
    // An erasure says nothing of what comes after it, nor of other entries.
    let directory = write(vec![vec![erase(50, vec![(1, 5)])], sealed()]);
    let mut pruned = files(&directory);
    pruned.0.retain(|name, _| !name.starts_with("sealed/"));
    for options in &options()[..2] {
        refused(&pruned.verify_with(options), "which is in no pack");
    }
    let directory = write(vec![sealed(), vec![erase(50, vec![(0, 3)])]]);
    let mut pruned = files(&directory);
    pruned.0.retain(|name, _| !name.starts_with("sealed/"));
    let report = pruned.verify_with(&Options::default());
    assert!(report.problems.iter().all(|problem| problem.entry() == Some(4)), "{:?}", report.problems);
    refused(&report, "which is in no pack");
}
