//! The bucket's write protocol against a stand-in that misbehaves on demand, for each provider's words.
//!
//! The stand-in is no provider: it knows what this crate says, keeps objects in memory, and enforces conditions, locks and
//! holds, unless it is told not to. That S3's words are understood by real stores is shown in `tests/s3`. Google Cloud Storage
//! and Azure Blob cannot be run where these tests run; here they show that what is written is consistent with what is
//! checked, and nothing about those services.
#![cfg(feature = "bucket")]

mod standin;

use std::time::Duration;

use standin::{Fault, Standin};
use tabellion_store::{BucketSettings, BucketStore, Check, Store, Verdict};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn open(standin: &Standin, scheme: &str, retention: Option<Duration>) -> BucketStore {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BucketStore::open(&BucketSettings {
        url: format!("{scheme}://bucket/some/log"),
        endpoint: Some(standin.url()),
        region: Some("us-east-1".into()),
        retention,
        timeout: Duration::from_millis(500),
        options: match scheme {
            "s3" => vec![option("aws_access_key_id", "key"), option("aws_secret_access_key", "secret")],
            "gs" => vec![option("google_bearer_token", "token")],
            _ => vec![option("azure_storage_account_name", "account"), option("azure_storage_account_key", "a2V5")],
        },
    })
    .unwrap()
}

const SCHEMES: [&str; 3] = ["s3", "gs", "az"];

#[test]
fn a_bucket_behaves_as_a_store_for_each_provider() {
    for scheme in SCHEMES {
        let standin = Standin::start();
        let store = open(&standin, scheme, None);
        assert_eq!(store.read("a/b/1").unwrap(), None, "{scheme}");
        store.create(&[("a/b/1", b"one"), ("a/b/2", b"two")]).unwrap();
        assert_eq!(store.read("a/b/1").unwrap().unwrap(), b"one");
        assert_eq!(store.read_range("a/b/2", 1, 2).unwrap().unwrap(), b"wo");
        assert_eq!(store.read_range("a/b/2", 1, 3).unwrap(), None, "{scheme}: beyond the end is absent, not short");
        assert_eq!(store.list("a").unwrap(), ["b/"], "{scheme}");
        assert_eq!(store.list("a/b").unwrap(), ["1", "2"], "{scheme}");
        assert!(store.list("nowhere").unwrap().is_empty());
        store.replace("head", b"old").unwrap();
        store.replace("head", b"newer").unwrap();
        assert_eq!(store.read("head").unwrap().unwrap(), b"newer");
        store.remove_all("a/b").unwrap();
        assert!(store.list("a").unwrap().is_empty(), "{scheme}");
    }
}

#[test]
fn the_same_bytes_again_are_fine_and_others_are_refused() {
    for scheme in SCHEMES {
        let standin = Standin::start();
        let store = open(&standin, scheme, Some(DAY));
        store.create(&[("x", b"first")]).unwrap();
        store.create(&[("x", b"first")]).unwrap();
        for other in [&b"second"[..], b"other", b""] {
            let error = store.create(&[("x", other)]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{scheme}: {error:?}");
        }
        assert_eq!(standin.versions("some/log/x"), 1, "{scheme}");
    }
}

#[test]
fn what_is_final_is_rewritten_or_removed_only_when_nothing_keeps_it() {
    for scheme in SCHEMES {
        let standin = Standin::start();
        let store = open(&standin, scheme, Some(Duration::from_secs(1)));
        store.create(&[("x", b"some and more"), ("y", b"all"), ("held", b"held")]).unwrap();
        store.hold("held", true).unwrap();
        for (name, left) in [("x", Some(&b"some"[..])), ("y", None), ("held", None)] {
            let error = store.rewrite(&[(name, left)]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "{scheme}: {error:?}");
        }
        assert_eq!(store.read("x").unwrap().unwrap(), b"some and more", "{scheme}");
        std::thread::sleep(Duration::from_millis(1_500));
        assert!(store.rewrite(&[("held", None)]).is_err(), "{scheme}: a hold does not end by itself");
        store.rewrite(&[("x", Some(b"some")), ("y", None), ("nothing", None)]).unwrap();
        assert_eq!(store.read("x").unwrap().unwrap(), b"some", "{scheme}");
        assert_eq!((standin.versions("some/log/x"), standin.versions("some/log/y")), (1, 0), "{scheme}");
        assert_eq!((store.read("y").unwrap(), store.read("held").unwrap().unwrap()), (None, b"held".to_vec()));
    }
}

#[test]
fn an_answer_that_is_late_lost_doubled_or_a_lie_ends_right() {
    for scheme in SCHEMES {
        for (fault, right) in [
            (Fault::ErrorAndNotDone, true),
            (Fault::ErrorButDone, true),
            (Fault::BrokenButDone, true),
            (Fault::LateButDone, true),
            (Fault::DoneTwice, true),
            // What it claims to have done and has not is noticed, and nothing else can be.
            (Fault::ClaimedAndNotDone, false),
            (Fault::DoneWrong, false),
            (Fault::DoneWithoutLock, true),
        ] {
            let standin = Standin::start();
            let store = open(&standin, scheme, Some(DAY));
            standin.misbehave(fault, 1);
            let outcome = store.create(&[("x", b"the bytes")]);
            assert_eq!(outcome.is_ok(), right, "{scheme}, {fault:?}: {outcome:?}");
            if right {
                assert_eq!(store.read("x").unwrap().unwrap(), b"the bytes", "{scheme}, {fault:?}");
                assert!(standin.is_locked("some/log/x"), "{scheme}, {fault:?}");
            }
            standin.misbehave(fault, 1);
            let outcome = store.replace("head", b"new head");
            assert_eq!(outcome.is_ok(), right, "{scheme}, {fault:?}: {outcome:?}");
        }
    }
}

#[test]
fn a_store_that_is_away_is_asked_a_few_times_and_then_named() {
    let standin = Standin::start();
    let store = open(&standin, "s3", Some(DAY));
    standin.misbehave(Fault::ErrorAndNotDone, usize::MAX);
    let error = store.create(&[("x", b"bytes")]).unwrap_err();
    assert!(error.to_string().contains("write x"), "{error}");
    standin.misbehave(Fault::ErrorAndNotDone, 0);
    store.create(&[("x", b"bytes")]).unwrap();
}

fn verdict(findings: &[tabellion_store::Finding], check: Check) -> Verdict {
    findings.iter().find(|finding| finding.check == check).unwrap_or_else(|| panic!("no {check}: {findings:?}")).verdict
}

#[test]
fn a_probe_finds_what_each_provider_does_and_what_it_only_says() {
    for scheme in SCHEMES {
        let standin = Standin::start();
        let findings = open(&standin, scheme, Some(DAY)).probe();
        for finding in &findings {
            assert_eq!(finding.verdict, Verdict::Held, "{scheme}: {finding:?}");
        }
        assert!(findings.len() >= 8, "{findings:?}");

        // It answers as before, and does not do it.
        for (pretence, check) in [
            ("conditions", Check::Conditional),
            ("conditions", Check::Race),
            ("locks", Check::DeleteRefused),
            ("shortening", Check::ShortenRefused),
            ("holds", Check::Hold),
            ("configuration", Check::LockConfigured),
        ] {
            let standin = Standin::start();
            standin.pretend(pretence);
            let findings = open(&standin, scheme, Some(DAY)).probe();
            assert_eq!(verdict(&findings, check), Verdict::Lacking, "{scheme}, {pretence}: {findings:?}");
        }
    }
}

#[test]
fn where_conditions_are_ignored_the_first_version_counts() {
    let standin = Standin::start();
    standin.pretend("conditions");
    let store = open(&standin, "s3", Some(DAY));
    assert_eq!(verdict(&store.probe(), Check::Conditional), Verdict::Lacking);
    store.create(&[("x", b"first")]).unwrap();
    assert!(store.create(&[("x", b"second")]).is_err());
    store.create(&[("x", b"first")]).unwrap();
    assert_eq!(standin.versions("some/log/x"), 1, "it is looked up before it is written");
    // Somebody else wrote in the moment between, and came first.
    standin.intrude("some/log/y", b"theirs");
    assert!(store.create(&[("y", b"ours!!")]).is_err());
    assert_eq!(standin.versions("some/log/y"), 2);
}

#[test]
fn a_hold_keeps_an_object_until_it_is_lifted() {
    for scheme in SCHEMES {
        let standin = Standin::start();
        let store = open(&standin, scheme, None);
        assert!(store.hold("x", true).is_err(), "{scheme}: there is no such object");
        store.create(&[("x", b"evidence")]).unwrap();
        assert!(!store.is_held("x").unwrap());
        store.hold("x", true).unwrap();
        assert!(store.is_held("x").unwrap(), "{scheme}");
        assert!(standin.is_held("some/log/x"));
        store.hold("x", false).unwrap();
        assert!(!store.is_held("x").unwrap(), "{scheme}");

        standin.pretend("holds");
        assert!(store.hold("x", true).is_err(), "{scheme}: a 200 is no hold");
    }
}
