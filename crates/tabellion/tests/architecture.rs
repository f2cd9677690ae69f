//! What ARCHITECTURE.md says of the crates, read from their manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which of our crates each may name, in its normal dependencies.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("audit", &["evidence", "store"]),
    ("detect", &[]),
    ("evidence", &[]),
    ("external", &[]),
    ("gateway", &[]),
    ("ledger", &["evidence", "store"]),
    ("model", &[]),
    ("page", &["evidence"]),
    ("search", &["evidence"]),
    ("standin", &[]),
    ("store", &[]),
    (
        "tabellion",
        &[
            "audit", "detect", "evidence", "external", "gateway", "ledger", "model", "search", "standin", "store",
            "vault",
        ],
    ),
    ("vault", &["evidence"]),
];

/// What the pure crates must not depend on: whatever has I/O, time, randomness, threads or logging.
const NOT_PURE: [&str; 13] = [
    "getrandom",
    "hyper",
    "jiff",
    "log",
    "rand",
    "rayon",
    "rusqlite",
    "rustix",
    "time",
    "tokio",
    "tracing",
    "ureq",
    "zip",
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn manifests() -> BTreeMap<String, toml::Table> {
    std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap();
            (entry.file_name().into_string().unwrap(), text.parse().unwrap())
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

#[test]
fn crates_name_only_what_they_may() {
    let manifests = manifests();
    assert_eq!(
        manifests.keys().map(String::as_str).collect::<Vec<_>>(),
        MAY_NAME.map(|(name, _)| name),
        "a crate was added or removed: say in ARCHITECTURE.md and here what it may name"
    );
    for (name, may) in MAY_NAME {
        for dependency in dependencies(&manifests[name]) {
            if let Some(ours) = dependency.strip_prefix("tabellion-") {
                assert!(may.contains(&ours), "{name} must not name {ours}");
            }
        }
    }
}

#[test]
fn the_pure_crates_depend_on_nothing_impure() {
    let manifests = manifests();
    for name in ["detect", "evidence"] {
        for dependency in dependencies(&manifests[name]) {
            assert!(!NOT_PURE.contains(&&*dependency), "{name} depends on {dependency}");
        }
    }
}

/// A page finds a function by a name that is not mangled, and the attribute for that counts as unsafe. So the lints of that
/// crate are written out: the workspace's, but for this one.
#[test]
fn the_page_is_under_the_same_lints_but_for_names() {
    let root_manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let mut lints = root_manifest["workspace"]["lints"].as_table().unwrap().clone();
    lints["rust"]["unsafe_code"] = "deny".into();
    assert_eq!(manifests()["page"]["lints"].as_table().unwrap(), &lints);
    for file in std::fs::read_dir(root().join("crates/page/src")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let marks = text.matches("#[unsafe(no_mangle)]").count();
        assert_eq!(
            text.matches("unsafe").count()
                - text.matches("unsafe_code").count()
                - text.matches("counts as unsafe").count(),
            marks
        );
    }
}

#[test]
fn every_crate_is_in_the_architecture_and_under_the_lints() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, manifest) in manifests() {
        assert!(text.contains(&format!("| `{name}` |")), "ARCHITECTURE.md does not list {name}");
        if name != "page" {
            assert_eq!(
                manifest["lints"]["workspace"].as_bool(),
                Some(true),
                "{name} is not under the workspace's lints"
            );
        }
    }
}
