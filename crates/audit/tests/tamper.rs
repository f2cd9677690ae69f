//! Everything that somebody with the data directory can do to it, and that
//! each shows.

mod common;

use std::sync::LazyLock;

use common::*;
use rayon::prelude::*;
use tabellion_audit::Options;
use tabellion_evidence::note::SigningKey;

static SMALL: LazyLock<Files> = LazyLock::new(small);
static LARGE: LazyLock<Files> = LazyLock::new(|| files(&large()));

/// What stands for a kind of file, and how many of a large log to try.
const KINDS: [&str; 3] = ["log/tile/0", "log/tile/entries/", "content/"];

#[test]
fn any_bit_flipped_anywhere_names_the_file() {
    let log = &*SMALL;
    assert!(log.verify().verified, "{:#?}", log.verify());
    let bits: Vec<(&String, usize)> =
        log.0.iter().flat_map(|(name, bytes)| (0..bytes.len() * 8).map(move |bit| (name, bit))).collect();
    // Keys and signatures of ML-DSA are thousands of bytes that are all alike.
    let long = |name: &str, bit: usize| !name.contains('/') || name == "log/checkpoint" && bit / 8 > 300;
    let bits: Vec<(&String, usize)> =
        bits.into_iter().filter(|&(name, bit)| !long(name, bit) || bit < 800 || bit % 13 == 0).collect();
    assert!(bits.len() > 10_000);
    bits.par_iter().for_each(|&(name, bit)| {
        let mut damaged = log.clone();
        damaged.0.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
        refused(&damaged.verify(), name);
    });
}

#[test]
fn a_bit_flipped_in_a_large_log_names_entry_tile_and_part() {
    let log = &*LARGE;
    let mut entry = log.clone();
    let bundle = entry.0.get_mut("log/tile/entries/000").unwrap();
    // Somewhere in entry 3, behind its length.
    let at: usize = log.entries()[..3].iter().map(|entry| entry.len() + 2).sum::<usize>() + 30;
    bundle[at] ^= 1;
    let report = entry.verify();
    refused(&report, "log/tile/entries/000 is damaged: entry 3 is not");
    assert!(report.problems.iter().all(|problem| problem.file() != Some("log/tile/0/000")));
    let mut tile = log.clone();
    tile.0.get_mut("log/tile/0/000").unwrap()[32 * 9] ^= 1;
    let report = tile.verify();
    assert_eq!(report.problems.len(), 1, "{report:#?}");
    refused(&report, "log/tile/0/000 is damaged: hash 9");
    assert_eq!(report.root, Some(log.checkpoint().root), "the entries are right");
    let mut both = entry.clone();
    both.0.get_mut("log/tile/0/000").unwrap()[32 * 9] ^= 1;
    let report = both.verify();
    refused(&report, "log/tile/entries/000 and log/tile/0/000 do not agree");
    refused(&report, "log/checkpoint has another root");
    let pack = log.of_kind("content/").pop().unwrap();
    let mut content = log.clone();
    content.0.get_mut(&pack).unwrap()[37] ^= 1;
    let report = content.verify();
    refused(&report, &format!("{pack} is damaged: part"));
    let named = report.problems.iter().find(|problem| problem.code() == "part-damaged").expect("an entry names it");
    assert!(named.part().is_some() && named.entry().is_some() && named.file() == Some(&pack));
}

#[test]
fn any_file_missing_emptied_cut_or_extended_is_named() {
    for log in [&*SMALL, &*LARGE] {
        // Of a partial tile from when the log was smaller, nobody knows that
        // it is gone.
        let size = log.checkpoint().size;
        let older = |name: &str| {
            let Some((path, width)) = name.split_once(".p/") else { return false };
            let level = path.strip_prefix("log/tile/").unwrap().split('/').next().unwrap();
            let level: u32 = if level == "entries" { 0 } else { level.parse().unwrap() };
            width.parse() != Ok((size >> (8 * level)) % 256)
        };
        let names: Vec<&String> = log.0.keys().collect();
        // In a large log, some of the packs will do.
        let step = if names.len() > 100 { 7 } else { 1 };
        let chosen: Vec<&String> = names
            .iter()
            .copied()
            .enumerate()
            .filter(|(n, name)| n % step == 0 || !name.starts_with("content/"))
            .map(|(_, name)| name)
            .collect();
        chosen.par_iter().for_each(|&name| {
            let mut gone = log.clone();
            gone.0.remove(name);
            let report = gone.verify();
            if older(name) {
                assert!(report.verified);
            } else if name.starts_with("content/") {
                refused(&report, "which no pack has");
            } else {
                refused(&report, name);
            }
            for change in [
                &(|bytes: &mut Vec<u8>| bytes.clear()) as &(dyn Fn(&mut Vec<u8>) + Sync),
                &|bytes| bytes.truncate(bytes.len() - 1),
                &|bytes| bytes.push(0),
                &|bytes| bytes.push(b'\n'),
            ] {
                let mut changed = log.clone();
                change(changed.0.get_mut(name).unwrap());
                refused(&changed.verify(), name);
            }
        });
    }
}

#[test]
fn any_two_files_of_a_kind_swapped_are_named() {
    for log in [&*SMALL, &*LARGE] {
        for kind in KINDS {
            let names = log.of_kind(kind);
            let pairs: Vec<(&String, &String)> =
                names.iter().enumerate().flat_map(|(n, a)| names[n + 1..].iter().map(move |b| (a, b))).collect();
            let step = pairs.len().div_ceil(50).max(1);
            pairs.par_iter().step_by(step).for_each(|&(a, b)| {
                let mut swapped = log.clone();
                let (first, second) = (log.0[a].clone(), log.0[b].clone());
                if first != second {
                    swapped.0.insert(a.clone(), second);
                    swapped.0.insert(b.clone(), first);
                    let report = swapped.verify();
                    assert!(!report.verified, "{a} and {b}");
                    let named = |file: &&str| *file == a || *file == b;
                    assert!(report.problems.iter().filter_map(|problem| problem.file()).any(|file| named(&file)));
                }
            });
        }
    }
}

#[test]
fn any_file_under_another_plausible_name_is_refused() {
    for log in [&*SMALL, &*LARGE] {
        let size = log.checkpoint().size;
        let mut plausible: Vec<String> = vec![
            "log/checkpoint.old".into(),
            "log/tile/0/x000/000".into(),
            "log/tile/0/000.p/0".into(),
            "log/tile/entries/000.p/256".into(),
            "log/tile/64/000".into(),
            "log/notes.txt".into(),
            "content/000.p/1".into(),
            "content/0".into(),
            "content/pack".into(),
        ];
        for width in [1, size % 256 - 1, size % 256 + 1, 255] {
            for number in ["000", "001", "002"] {
                plausible.push(format!("log/tile/0/{number}.p/{width}"));
                plausible.push(format!("log/tile/entries/{number}.p/{width}"));
                plausible.push(format!("log/tile/1/{number}.p/{width}"));
            }
        }
        for number in ["000", "001", "002", "x001/000"] {
            plausible.extend(["log/tile/0/", "log/tile/1/", "log/tile/entries/"].map(|kind| format!("{kind}{number}")));
        }
        for number in [1, size - 1, size, size + 1, 1_000_000] {
            plausible.push(format!("content/{}", tabellion_evidence::tile::index_path(number)));
        }
        let tries: Vec<(&String, &String)> = log
            .0
            .keys()
            .enumerate()
            .filter(|(n, name)| log.0.len() < 50 || n % 9 == 0 || !name.starts_with("content/"))
            .flat_map(|(_, name)| plausible.iter().map(move |copy| (name, copy)))
            .filter(|(_, copy)| !log.0.contains_key(*copy))
            .collect();
        // Of a large log, some of them will do.
        let step = tries.len().div_ceil(500);
        tries.par_iter().step_by(step).for_each(|&(name, copy)| {
            let mut copied = log.clone();
            copied.0.insert(copy.clone(), log.0[name].clone());
            let report = copied.verify();
            assert!(!report.verified, "{name} as {copy}");
            // Not put beside, but in its place.
            if !name.contains(".p/") || name.ends_with(&format!(".p/{}", size % 256)) {
                copied.0.remove(name);
                let harmless = name.starts_with("content/") && copy.starts_with("content/");
                assert!(harmless || !copied.verify().verified, "{copy} in place of {name}");
            }
        });
    }
}

#[test]
fn entries_changed_in_order_with_their_tiles_but_not_signed_are_refused() {
    for log in [&*SMALL, &*LARGE] {
        let entries = log.entries();
        assert!(log.with_entries(&entries).verify().verified, "the same entries pass");
        type Change<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>);
        let changes: [Change<'_>; 6] = [
            &|entries| entries.swap(0, 1),
            &|entries| drop(entries.remove(1)),
            &|entries| entries.insert(1, entries[2].clone()),
            &|entries| drop(entries.pop()),
            &|entries| entries.push(entries[0].clone()),
            &|entries| {
                let last = entries.len() - 1;
                entries[last].push(b' ');
            },
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut changed = entries.clone();
            change(&mut changed);
            let report = log.with_entries(&changed).verify();
            assert!(!report.verified, "change {n}");
            if changed.len() == entries.len() {
                refused(&report, "log/checkpoint has another root than the entries");
                assert_ne!(report.root, Some(log.checkpoint().root));
            }
        }
    }
}

#[test]
fn nothing_of_an_entry_or_part_is_in_a_report() {
    let log = &*SMALL;
    for name in log.0.keys() {
        for at in 0..log.0[name].len() {
            let mut damaged = log.clone();
            damaged.0.get_mut(name).unwrap()[at] ^= 0x04;
            if at % 16 == 0 {
                let report = damaged.verify();
                let json = serde_json::to_string(&report).unwrap();
                assert!(!json.contains("asked") && !json.contains("answered"), "{json}");
            }
        }
    }
}

#[test]
fn a_log_that_its_own_key_holder_rewrote_is_refused_by_an_older_checkpoint_alone() {
    let directory = write(vec![conversation(0, 3, 3)]);
    let log = files(&directory);
    let key: SigningKey = log_key(&directory);
    let mut entries = log.entries();
    entries.truncate(3);
    let cut = log.with_entries(&entries).signed(&key);
    let mut cut = cut;
    cut.0.retain(|name, _| !name.starts_with("content/"));
    let report = cut.verify_with(&Options { older: vec![log.0["log/checkpoint"].clone()], ..Options::default() });
    refused(&report, "rolled back");
}
