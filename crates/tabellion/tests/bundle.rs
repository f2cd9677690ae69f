//! Bundles: what an examiner receives holds, and whatever is done to one on the way is refused, by the product and by the
//! reference verifier that the bundle carries.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

type Files = BTreeMap<String, Vec<u8>>;

fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    Command::new(program).args(arguments).current_dir(directory).output().expect("the program is there")
}

fn tabellion(arguments: &[&str], directory: &Path) -> Output {
    run(env!("CARGO_BIN_EXE_tabellion"), arguments, directory)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unzip(path: &Path) -> Files {
    let mut zip = ZipArchive::new(Cursor::new(std::fs::read(path).unwrap())).unwrap();
    let mut files = Files::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let name = file.name().unwrap().split_once('/').unwrap().1.to_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    files
}

fn zip(path: &Path, files: &Files) {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(format!("bundle/{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    std::fs::write(path, zip.finish().unwrap().into_inner()).unwrap();
}

/// What somebody does who knows how bundles are made: the manifests fit again.
fn remake_manifests(files: &mut Files) {
    for (manifest, payload) in [("manifest-sha256.txt", true), ("tagmanifest-sha256.txt", false)] {
        let belongs = |name: &str| name.starts_with("data/") == payload && name != "tagmanifest-sha256.txt";
        let lines: String = files
            .iter()
            .filter(|(name, _)| belongs(name))
            .map(|(name, bytes)| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes))))
            .collect();
        files.insert(manifest.to_owned(), lines.into_bytes());
    }
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let old = text(&files[name]);
    assert!(old.contains(from), "{name} has no {from}: {old}");
    files.insert(name.to_owned(), old.replacen(from, to, 1).into_bytes());
}

fn contents(files: &mut Files, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&files["data/bundle.json"]).unwrap();
    change(&mut value);
    files.insert("data/bundle.json".to_owned(), serde_json::to_vec_pretty(&value).unwrap());
}

fn swap(files: &mut Files, one: &str, other: &str) {
    let (a, b) = (files[one].clone(), files[other].clone());
    files.insert(one.to_owned(), b);
    files.insert(other.to_owned(), a);
}

fn json(files: &mut Files, name: &str, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&files[name]).unwrap();
    change(&mut value);
    files.insert(name.to_owned(), serde_json::to_vec_pretty(&value).unwrap());
}

/// A process that does not outlive a test that failed.
struct Killed(Child);

impl Killed {
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(here: &Path, arguments: &[&str]) -> Killed {
    let server = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .arg("serve")
        .args(arguments)
        .current_dir(here)
        .env("TABELLION_GATEWAY_LISTEN", "127.0.0.1:0")
        .env("TABELLION_CONSOLE_LISTEN", "127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Killed(server)
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "gave up waiting for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A timestamp authority, of `tests/anchors`, and its URL.
fn authority(state: &Path) -> (Killed, String) {
    let mut authority = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/anchors/tsa.py"))
        .arg(state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(authority.stdout.take().unwrap()).read_line(&mut url).unwrap();
    (Killed(authority), url.trim_end().to_owned())
}

/// A witness of a log, and what the log's configuration says of it.
fn witness(here: &Path, name: &str, log: &str) -> (Killed, String) {
    let mut witness = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(["witness", "--name", &format!("w.example/{name}"), "--listen", "127.0.0.1:0"])
        .args(["--data", name, "--log", log])
        .current_dir(here)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(witness.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("it says where it is");
    let keys = std::fs::read_to_string(here.join(name).join("witness.vkey")).unwrap();
    let config = format!(
        "[[witness]]\nname = \"{name}\"\nvkey = \"{}\"\nurl = \"{}\"\n",
        keys.trim().replace('\n', " "),
        url.split("/add-checkpoint").next().unwrap()
    );
    (Killed(witness), config)
}

struct Made {
    directory: tempfile::TempDir,
    files: Files,
    /// Another export of the same log, at a later tree head.
    second: Files,
    /// An export of another log of the same name, with another authority and another witness.
    foreign: Files,
}

fn size(checkpoint: &[u8]) -> u64 {
    text(checkpoint).lines().nth(1).unwrap().parse().unwrap()
}

/// A log with a witness and an authority, and bundles of it: `older` is its first checkpoint, `head` a later one that is
/// cosigned and anchored.
fn make_log(here: &Path, data: &str) {
    assert!(tabellion(&["demo", "--data", data, "--exit"], here).status.success());
    let at = |name: &str| here.join(format!("{data}-{name}"));
    std::fs::copy(here.join(data).join("log/checkpoint"), at("older")).unwrap();
    let (_authority, tsa) = authority(&at("tsa"));
    let (_witness, known) = witness(here, &format!("{data}-w"), &format!("{data}/log.vkey"));
    let config = format!(
        "{known}[witnesses]\nquorum = 1\n[[anchor]]\nname = \"tsa\"\nkind = \"rfc3161\"\nurl = \"{tsa}\"\nroots = \
         \"{}\"\nevery_s = 100000\n",
        at("tsa").join("root.pem").display()
    );
    std::fs::write(at("config"), config).unwrap();
    let config = format!("{data}-config");
    let server = serve(here, &["--config", &config, "--data", data]);
    let checkpoint = here.join(data).join("log/checkpoint");
    let old: u64 = size(&std::fs::read(at("older")).unwrap());
    // Its start, and the anchor that it then has made and declares.
    eventually("a cosigned checkpoint with an anchor in it", || {
        let note = std::fs::read(&checkpoint).unwrap();
        let signatures = text(&note).lines().filter(|line| line.starts_with('\u{2014}')).count();
        signatures == 4 && size(&note) >= old + 2 && std::fs::write(at("head"), note).is_ok()
    });
    server.stop();
}

fn make() -> Made {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for data in ["data", "other"] {
        make_log(here, data);
    }
    for (data, bundle, head) in [
        ("data", "bundle.zip", Some("data-head")),
        ("data", "second.zip", None),
        ("other", "foreign.zip", Some("other-head")),
    ] {
        let (config, older) = (format!("{data}-config"), format!("{data}-older"));
        let mut arguments = vec!["export", "--config", &config, "--data", data, "--case", "C-1042", "-o", bundle];
        arguments.extend(["--reason", "ask anna@example.com", "--older", &older]);
        arguments.extend(head.iter().flat_map(|head| ["--checkpoint", head]));
        let said = tabellion(&arguments, here);
        assert!(said.status.success(), "{}", text(&said.stderr));
    }
    let read = |name: &str| unzip(&here.join(name));
    Made { files: read("bundle.zip"), second: read("second.zip"), foreign: read("foreign.zip"), directory }
}

/// What the reference verifier says, where the product says `code`. They share no code, and so no words.
fn in_words(code: &str) -> &'static [&'static str] {
    match code {
        "missing" => &["is missing"],
        "unlisted" => &["is in no manifest"],
        "changed" => &["is not the file that the manifest lists", "does not have its hash"],
        "malformed" => &["malformed", "not JSON"],
        "unexpected" => &["belongs to nothing that the bundle is of"],
        "key-differs" => &["is not the key that was given"],
        "checkpoint" => &["signed", "signature"],
        "proof" => &["inclusion proof", "is the proof of another entry"],
        "proof-elsewhere" => &["leads to another checkpoint"],
        "entry-of-another" => &["is not the entry that the bundle says"],
        "twice" => &["is there twice"],
        "export-of-another" => &["commits to another payload"],
        "consistency" => &["consistency proof", "differ"],
        "receipt" => &["receipt", "inclusion proof"],
        "receipt-elsewhere" => &["is a receipt for another"],
        "policy" => &["of the policy", "policy has no quorum"],
        "policy-of-another" => &["is not a policy for this log"],
        "quorum" => &["does not have the cosignatures"],
        "older-of-another" => &["is not the checkpoint of that size"],
        "anchor" => &["is no token about these entries"],
        "roots" => &["is no token about these entries"],
        "completeness" => &["completeness.json: "],
        "derived" => &["does not say what the entries say"],
        "page-of-another" => &["is not the page that the record of the export names"],
        "page-copy" => &["has a copy of another payload"],
        other => panic!("no words for {other}"),
    }
}

#[test]
fn a_bundle_proves_what_it_says_and_whatever_is_done_to_it_is_refused() {
    let made = make();
    let here = made.directory.path();
    let key = text(&std::fs::read(here.join("data/log.vkey")).unwrap());
    let key = key.lines().next().unwrap();
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/../../verify/tabellion_verify.py");

    let report = tabellion(&["verify", "bundle.zip", "--vkey", key, "--json"], here);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["verified"], true, "{report}");
    assert_eq!((&report["exchanges"], &report["open_exchanges"]), (&4.into(), &0.into()));
    assert!(!report["exported"]["why"].as_str().unwrap().contains("anna@example.com"), "{report}");

    // As the examiner does: unpacked, with what the bundle itself brings, and nothing of ours.
    let unpacked = here.join("unpacked");
    for (name, bytes) in &made.files {
        let path = unpacked.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for manifest in ["manifest-sha256.txt", "tagmanifest-sha256.txt"] {
        assert!(
            run("sha256sum", &["--check", "--strict", "--quiet", manifest], &unpacked).status.success(),
            "{manifest}"
        );
    }
    let said = run("python3", &["verify.py", ".", "--vkey", key], &unpacked);
    assert!(said.status.success(), "{}", text(&said.stdout));
    let said = text(&said.stdout);
    for proved in [
        "COSE receipts",
        "CASE/UCO",
        "cosigned by data-w/1 at",
        "at an older checkpoint",
        "existed no later than",
        "not before",
    ] {
        assert!(said.contains(proved), "{proved}: {said}");
    }
    assert!(said.contains("the bundle's own policy") && said.contains("the bundle's own roots"), "{said}");
    let codes = |said: &Value| -> Vec<String> {
        said.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
    };
    let proved = [
        "files",
        "key",
        "checkpoint",
        "exchanges",
        "content",
        "custody",
        "graph",
        "rules",
        "receipts",
        "cosignatures",
        "older",
        "existed",
        "not-before",
        "completeness",
        "export",
        "page",
    ];
    assert_eq!(codes(&report["proved"]), proved, "{report}");

    // What is given from outside wins, and the report says so.
    let policy = here.join("policy");
    let stranger = here.join("stranger");
    std::fs::write(&policy, &made.files["data/log/policy"]).unwrap();
    std::fs::write(
        &stranger,
        text(&made.foreign["data/log/policy"])
            .lines()
            .filter(|l| !l.starts_with("log"))
            .fold(String::new(), |text, line| text + line + "\n"),
    )
    .unwrap();
    let roots = |name: &str| format!("{name}-tsa/root.pem");
    let own = [roots("data"), roots("other")];
    for (outside, codes, words) in [
        (vec!["--policy", "policy", "--tsa-roots", &own[0]], vec![], "the policy that was given"),
        (vec!["--policy", "stranger"], vec!["quorum"], "does not have the cosignatures"),
        (vec!["--tsa-roots", &own[1]], vec!["anchor"], "is no token about these entries"),
    ] {
        let arguments: Vec<&str> =
            ["verify", "bundle.zip", "--vkey", key, "--json"].into_iter().chain(outside.iter().copied()).collect();
        let report: Value = serde_json::from_slice(&tabellion(&arguments, here).stdout).unwrap();
        let found: Vec<_> = report["problems"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
        assert_eq!(found, codes, "{outside:?}: {report}");
        let arguments: Vec<&str> =
            [verifier, "bundle.zip", "--vkey", key].into_iter().chain(outside.iter().copied()).collect();
        let said = text(&run("python3", &arguments, here).stdout);
        assert!(said.contains(words), "{outside:?}: {said}");
    }
    for (name, bytes) in &made.files {
        for planted in ["4111 1111 1111 1111", "536-22-8045", "anna@example.com"] {
            assert!(!text(bytes).contains(planted), "{name} has {planted}");
        }
    }

    let entry = |index: u64| format!("data/entries/{index}.json");
    let proof = |index: u64| format!("data/proofs/{index}.tlog-proof");
    let listed: Value = serde_json::from_slice(&made.files["data/bundle.json"]).unwrap();
    let request = listed["exchanges"][0]["request"].as_u64().unwrap();
    let response = listed["exchanges"][0]["response"].as_u64().unwrap();
    let part = made.files.keys().find(|name| name.starts_with("data/content/")).unwrap().clone();
    let custody = listed["custody"][0].as_u64().unwrap();

    type Change<'a> = Box<dyn Fn(&mut Files) + 'a>;
    let mut cases: Vec<(&str, &str, bool, Change<'_>)> = Vec::new();
    let mut case = |name, code, remake, change: Change<'static>| cases.push((name, code, remake, change));
    {
        let part = part.clone();
        case("a part changed", "changed", false, Box::new(move |files| files.get_mut(&part).unwrap()[0] ^= 1));
    }
    {
        let part = part.clone();
        case("a part changed, manifests too", "changed", true, Box::new(move |f| f.get_mut(&part).unwrap()[0] ^= 1));
    }
    {
        let part = part.clone();
        case("a part taken away", "missing", true, Box::new(move |files| drop(files.remove(&part))));
    }
    case(
        "a time edited",
        "proof",
        true,
        Box::new(move |f| replace(f, &entry(request), "\"time\":\"2", "\"time\":\"1")),
    );
    case("an outcome edited", "proof", true, Box::new(move |f| replace(f, &entry(response), "complete", "refused!")));
    case("responses swapped", "proof", true, Box::new(move |f| swap(f, &entry(response), &entry(request))));
    case("proofs swapped", "proof", true, Box::new(move |f| swap(f, &proof(response), &proof(request))));
    case(
        "an exchange left out",
        "export-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| drop(value["exchanges"].as_array_mut().unwrap().remove(0)));
            for index in [request, response] {
                files.remove(&entry(index));
                files.remove(&proof(index));
            }
        }),
    );
    case(
        "a response left out",
        "export-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| value["exchanges"][0]["response"] = Value::Null);
            files.remove(&entry(response));
            files.remove(&proof(response));
        }),
    );
    case(
        "an exchange called another",
        "entry-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| value["exchanges"][0]["exchange"] = "01ARZ3NDEKTSV4RRFFQ69G5FAV".into());
        }),
    );
    case(
        "request and response exchanged",
        "entry-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| {
                value["exchanges"][0]["request"] = response.into();
                value["exchanges"][0]["response"] = request.into();
            });
        }),
    );
    case(
        "an exchange twice",
        "twice",
        true,
        Box::new(move |files| {
            contents(files, |value| {
                let first = value["exchanges"][0].clone();
                value["exchanges"].as_array_mut().unwrap().push(first);
            });
        }),
    );
    case(
        "an exchange called custody",
        "entry-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| {
                value["exchanges"].as_array_mut().unwrap().remove(0);
                value["custody"].as_array_mut().unwrap().push(request.into());
            });
        }),
    );
    case(
        "a custody entry left out",
        "export-of-another",
        true,
        Box::new(move |files| {
            contents(files, |value| drop(value["custody"].as_array_mut().unwrap().remove(0)));
            files.remove(&entry(custody));
            files.remove(&proof(custody));
        }),
    );
    case(
        "a custody line taken away",
        "derived",
        true,
        Box::new(move |files| {
            let lines = text(&files["data/custody.jsonl"]);
            files.insert(
                "data/custody.jsonl".into(),
                lines.lines().skip(1).map(|l| format!("{l}\n")).collect::<String>().into(),
            );
        }),
    );
    case(
        "a conversation rewritten for reading",
        "export-of-another",
        true,
        Box::new(move |files| {
            let name = files.keys().find(|name| name.starts_with("data/readable/")).unwrap().clone();
            replace(files, &name, "complete", "refused");
        }),
    );
    case(
        "the selection edited",
        "export-of-another",
        true,
        Box::new(|f| replace(f, "data/bundle.json", "C-1042", "C-1043")),
    );
    case(
        "contents of another version",
        "malformed",
        true,
        Box::new(|f| replace(f, "data/bundle.json", "\"v\": 1", "\"v\": 2")),
    );
    case("contents with more in them", "malformed", true, Box::new(|f| contents(f, |value| value["x"] = 1.into())));
    case(
        "contents without end",
        "malformed",
        true,
        Box::new(|files| {
            let list = "0,".repeat(16 << 20);
            let text = format!("{{\"v\":1,\"selection\":{{}},\"exchanges\":[],\"custody\":[{list}0]}}");
            files.insert("data/bundle.json".into(), text.into_bytes());
        }),
    );
    case(
        "contents that are no JSON",
        "malformed",
        true,
        Box::new(|f| drop(f.insert("data/bundle.json".into(), b"{".to_vec()))),
    );
    case("a file added", "unlisted", false, Box::new(|f| drop(f.insert("data/more.txt".into(), b"x".to_vec()))));
    case(
        "a file added, manifests too",
        "export-of-another",
        true,
        Box::new(|f| drop(f.insert("data/more.txt".into(), b"x".to_vec()))),
    );
    case(
        "a part added",
        "unexpected",
        true,
        Box::new(|f| {
            f.insert(format!("data/content/{}", hex::encode(Sha256::digest(b"x"))), b"x".to_vec());
        }),
    );
    case(
        "a file added beside the payload",
        "unlisted",
        false,
        Box::new(|f| drop(f.insert("more.txt".into(), b"x".to_vec()))),
    );
    case("the instructions changed", "changed", false, Box::new(|f| f.get_mut("VERIFY.md").unwrap().push(b'x')));
    case("the verifier changed", "changed", false, Box::new(|f| f.get_mut("verify.py").unwrap().push(b'\n')));
    case("no bagit.txt", "missing", true, Box::new(|f| drop(f.remove("bagit.txt"))));
    case("another bagit.txt", "malformed", true, Box::new(|f| replace(f, "bagit.txt", "1.0", "0.9")));
    case("no manifest", "missing", false, Box::new(|f| drop(f.remove("manifest-sha256.txt"))));
    case(
        "a manifest with a line twice",
        "malformed",
        false,
        Box::new(|files| {
            let manifest = files.get_mut("manifest-sha256.txt").unwrap();
            let line = manifest.split_inclusive(|b| *b == b'\n').next().unwrap().to_vec();
            manifest.extend(line);
        }),
    );
    case(
        "a manifest that lists a tag file",
        "malformed",
        false,
        Box::new(|files| {
            let line = format!("{}  bagit.txt\n", hex::encode(Sha256::digest(&files["bagit.txt"])));
            files.get_mut("manifest-sha256.txt").unwrap().extend(line.into_bytes());
        }),
    );
    case("no checkpoint", "missing", true, Box::new(|f| drop(f.remove("data/log/checkpoint"))));
    case(
        "a checkpoint of another size",
        "checkpoint",
        true,
        Box::new(|files| {
            let note = text(&files["data/log/checkpoint"]);
            let size = note.lines().nth(1).unwrap().to_owned();
            replace(files, "data/log/checkpoint", &format!("\n{size}\n"), "\n9999\n");
        }),
    );
    {
        let second = made.second.clone();
        case(
            "another checkpoint of the log",
            "proof-elsewhere",
            true,
            Box::new(move |files| {
                files.insert("data/log/checkpoint".into(), second["data/log/checkpoint"].clone());
            }),
        );
    }
    {
        let second = made.second.clone();
        case(
            "the record of another export",
            "export-of-another",
            true,
            Box::new(move |files| {
                for name in ["export/entry.json", "export/entry.tlog-proof", "export/consistency"] {
                    files.insert(name.into(), second[name].clone());
                }
            }),
        );
    }
    case("no record of the export", "missing", true, Box::new(|f| f.retain(|name, _| !name.starts_with("export/"))));
    case("another reason for the export", "proof", true, Box::new(|f| replace(f, "export/entry.json", "ask ", "use ")));
    case(
        "another step between the trees",
        "consistency",
        true,
        Box::new(|files| {
            files.insert("export/consistency".into(), format!("{}=\n", "A".repeat(43)).into_bytes());
        }),
    );
    {
        let foreign = made.foreign.clone();
        case(
            "another log's key",
            "key-differs",
            true,
            Box::new(move |files| {
                files.insert("data/log/log.vkey".into(), foreign["data/log/log.vkey"].clone());
            }),
        );
    }
    {
        let foreign = made.foreign.clone();
        case("another log altogether", "key-differs", false, Box::new(move |files| files.clone_from(&foreign)));
    }
    {
        let foreign = made.foreign.clone();
        case(
            "another log under this log's key",
            "checkpoint",
            true,
            Box::new(move |files| {
                let own = files["data/log/log.vkey"].clone();
                files.clone_from(&foreign);
                files.insert("data/log/log.vkey".into(), own);
            }),
        );
    }
    let older = listed["older"][0].as_u64().unwrap();
    let anchor = listed["anchors"][0].as_str().unwrap().to_owned();
    let receipt = |index: u64| format!("data/receipts/{index}.cbor");
    let older_at = move |end: &str| format!("data/checkpoints/{older}{end}");
    let anchor_at = format!("data/anchors/{anchor}");
    let tree_at = format!("data/trees/{older}");
    case("receipts swapped", "receipt", true, Box::new(move |f| swap(f, &receipt(request), &receipt(response))));
    {
        let foreign = made.foreign.clone();
        case(
            "a receipt of another log",
            "receipt",
            true,
            Box::new(move |f| drop(f.insert(receipt(request), foreign[&receipt(request)].clone()))),
        );
    }
    {
        let second = made.second.clone();
        case(
            "a receipt for another tree of the log",
            "receipt-elsewhere",
            true,
            Box::new(move |f| drop(f.insert(receipt(request), second[&receipt(request)].clone()))),
        );
    }
    case("a receipt taken away", "missing", true, Box::new(move |f| drop(f.remove(&receipt(request)))));
    case("a receipt that is none", "receipt", true, Box::new(move |f| drop(f.insert(receipt(request), vec![0x80]))));
    case("an older checkpoint taken away", "missing", true, Box::new(move |f| drop(f.remove(&older_at("")))));
    case(
        "an older checkpoint taken away, contents too",
        "unexpected",
        true,
        Box::new(move |f| {
            f.remove(&older_at(""));
            contents(f, |value| value["older"] = Value::Array(Vec::new()));
        }),
    );
    {
        let tree_at = tree_at.clone();
        case(
            "an older checkpoint taken away, and whatever speaks of it",
            "export-of-another",
            true,
            Box::new(move |f| {
                contents(f, |value| value["older"] = Value::Array(Vec::new()));
                f.retain(|name, _| !name.starts_with("data/checkpoints/"));
                if !f.keys().any(|name| name.starts_with(&format!("data/anchors/{older}."))) {
                    f.remove(&tree_at);
                }
            }),
        );
    }
    case(
        "the newest checkpoint as an older one",
        "older-of-another",
        true,
        Box::new(move |f| {
            let head = f["data/log/checkpoint"].clone();
            f.insert(older_at(""), head);
        }),
    );
    {
        let foreign = made.foreign.clone();
        case(
            "an older checkpoint of another log",
            "checkpoint",
            true,
            Box::new(move |f| drop(f.insert(older_at(""), foreign["data/log/checkpoint"].clone()))),
        );
    }
    {
        let second = made.second.clone();
        case(
            "a receipt that another tree extends the older one",
            "receipt-elsewhere",
            true,
            Box::new(move |f| drop(f.insert(older_at(".cbor"), second[&older_at(".cbor")].clone()))),
        );
    }
    {
        let tree_at = tree_at.clone();
        case(
            "another way from the older tree",
            "consistency",
            true,
            Box::new(move |files| {
                let lines = text(&files[&tree_at]);
                let last = lines.lines().last().unwrap().to_owned();
                files.insert(tree_at.clone(), lines.replace(&last, &format!("{}=", "A".repeat(43))).into_bytes());
            }),
        );
    }
    {
        let (foreign, anchor_at) = (made.foreign.clone(), anchor_at.clone());
        case(
            "an anchor of another log",
            "anchor",
            true,
            Box::new(move |files| {
                let name = foreign.keys().find(|name| name.ends_with(".tsr")).unwrap();
                files.insert(anchor_at.clone(), foreign[name].clone());
            }),
        );
    }
    {
        let anchor_at = anchor_at.clone();
        case("an anchor taken away", "missing", true, Box::new(move |f| drop(f.remove(&anchor_at))));
    }
    {
        let anchor_at = anchor_at.clone();
        case(
            "an anchor edited",
            "anchor",
            true,
            Box::new(move |f| *f.get_mut(&anchor_at).unwrap().last_mut().unwrap() ^= 1),
        );
    }
    {
        let foreign = made.foreign.clone();
        case(
            "another authority's root",
            "anchor",
            true,
            Box::new(move |f| {
                drop(f.insert("data/anchors/roots.pem".into(), foreign["data/anchors/roots.pem"].clone()))
            }),
        );
    }
    case(
        "roots that are none",
        "roots",
        true,
        Box::new(|f| drop(f.insert("data/anchors/roots.pem".into(), b"x\n".to_vec()))),
    );
    {
        let foreign = made.foreign.clone();
        case(
            "a policy that asks a stranger",
            "quorum",
            true,
            Box::new(move |files| {
                let log: String = text(&files["data/log/policy"])
                    .lines()
                    .filter(|l| l.starts_with("log"))
                    .map(|l| format!("{l}\n"))
                    .collect();
                let rest: String = text(&foreign["data/log/policy"])
                    .lines()
                    .filter(|l| !l.starts_with("log"))
                    .map(|l| format!("{l}\n"))
                    .collect();
                files.insert("data/log/policy".into(), (log + &rest).into_bytes());
            }),
        );
    }
    {
        let foreign = made.foreign.clone();
        case(
            "a policy for another log",
            "policy-of-another",
            true,
            Box::new(move |f| drop(f.insert("data/log/policy".into(), foreign["data/log/policy"].clone()))),
        );
    }
    case(
        "a policy that asks nobody",
        "export-of-another",
        true,
        Box::new(|files| {
            let lines = text(&files["data/log/policy"]);
            let quorum = lines.lines().last().unwrap().to_owned();
            files.insert("data/log/policy".into(), lines.replace(&quorum, "quorum none").into_bytes());
        }),
    );
    case(
        "a policy that is none",
        "policy",
        true,
        Box::new(|f| drop(f.insert("data/log/policy".into(), b"quorum everybody\n".to_vec()))),
    );
    case(
        "a witness's cosignature taken off",
        "quorum",
        true,
        Box::new(|files| {
            let note = text(&files["data/log/checkpoint"]);
            let kept: String =
                note.lines().filter(|line| !line.contains("w.example")).map(|line| format!("{line}\n")).collect();
            files.insert("data/log/checkpoint".into(), kept.into_bytes());
        }),
    );
    case(
        "a witness's cosignature put to another name",
        "quorum",
        true,
        Box::new(|files| {
            let note = text(&files["data/log/checkpoint"]).replace("w.example", "v.example");
            files.insert("data/log/checkpoint".into(), note.into_bytes());
        }),
    );
    let graph = "data/custody.case.jsonld";
    let act = |value: &mut Value, member: &str, new: Value| {
        let nodes = value["@graph"].as_array_mut().unwrap();
        let act = nodes.iter_mut().find(|node| node["@type"] == "case-investigation:InvestigativeAction").unwrap();
        act[member] = new;
    };
    case(
        "a custody act at another time",
        "derived",
        true,
        Box::new(move |f| {
            json(f, graph, |g| act(g, "uco-action:startTime", serde_json::json!({"@value": "2026-01-01T00:00:00Z"})))
        }),
    );
    case(
        "a custody act called another",
        "derived",
        true,
        Box::new(move |f| json(f, graph, |g| act(g, "uco-core:name", "custody.start.not".into()))),
    );
    case(
        "a reason put to a custody act",
        "derived",
        true,
        Box::new(move |f| json(f, graph, |g| act(g, "uco-core:description", "a court order".into()))),
    );
    case(
        "a custody act taken out of the graph",
        "derived",
        true,
        Box::new(move |files| {
            json(files, graph, |value| {
                let nodes = value["@graph"].as_array_mut().unwrap();
                let at =
                    nodes.iter().position(|node| node["@type"] == "case-investigation:InvestigativeAction").unwrap();
                nodes.remove(at);
            });
        }),
    );
    case(
        "an exhibit taken out of the graph",
        "derived",
        true,
        Box::new(move |files| {
            json(files, graph, |value| {
                let nodes = value["@graph"].as_array_mut().unwrap();
                let exhibit =
                    nodes.iter_mut().find(|node| node["@type"] == "case-investigation:ProvenanceRecord").unwrap();
                exhibit["uco-core:object"].as_array_mut().unwrap().remove(0);
            });
        }),
    );
    case(
        "another hash in the graph",
        "derived",
        true,
        Box::new(move |f| replace(f, graph, "\"@value\": \"", "\"@value\": \"0")),
    );
    case("a graph that is none", "derived", true, Box::new(move |f| drop(f.insert(graph.into(), b"[]".to_vec()))));
    let completeness = "data/completeness.json";
    case(
        "a session left out of the report",
        "completeness",
        true,
        Box::new(move |f| json(f, completeness, |value| drop(value["sessions"].as_array_mut().unwrap().remove(0)))),
    );
    case(
        "the report on another number of entries",
        "completeness",
        true,
        Box::new(move |f| json(f, completeness, |value| value["size"] = 1.into())),
    );
    case(
        "a report that hides what is missing",
        "completeness",
        true,
        Box::new(move |files| json(files, completeness, |value| value["sessions"][0]["number_max"] = 1_000_000.into())),
    );
    case(
        "a report that declares a loss of its own",
        "completeness",
        true,
        Box::new(move |files| {
            json(files, completeness, |value| {
                value["gaps"] = serde_json::json!([{"entry": 1, "reason": "disk_full", "count": 7}]);
            });
        }),
    );
    case(
        "a report that admits faults that there are not",
        "export-of-another",
        true,
        Box::new(move |files| {
            json(files, completeness, |value| value["wrong"] = serde_json::json!(["numbers 1 to 2"]))
        }),
    );
    case("the page taken away", "missing", true, Box::new(|f| drop(f.remove("index.html"))));
    case(
        "the page's program changed",
        "page-of-another",
        true,
        Box::new(|files| replace(files, "index.html", "report.verified ?", "true ?")),
    );
    {
        let second = made.second.clone();
        case(
            "a page that shows another bundle",
            "page-copy",
            true,
            Box::new(move |f| drop(f.insert("index.html".into(), second["index.html"].clone()))),
        );
    }
    case(
        "a page that is none",
        "malformed",
        true,
        Box::new(|f| drop(f.insert("index.html".into(), b"<html>".to_vec()))),
    );
    assert!(cases.len() >= 79, "{}", cases.len());

    // The page is held against the same list, in a real browser (`tests/page`).
    let kept = std::env::var_os("TABELLION_BUNDLES").map(PathBuf::from);
    let mut index = Vec::new();
    if let Some(kept) = &kept {
        std::fs::create_dir_all(kept).unwrap();
        for (name, from) in [("good.zip", "bundle.zip"), ("log.vkey", "data/log.vkey")] {
            std::fs::copy(here.join(from), kept.join(name)).unwrap();
        }
    }

    let mut not_so = Vec::new();
    let changed = here.join("changed.zip");
    for (number, (name, code, remake, change)) in cases.iter().enumerate() {
        let mut files = made.files.clone();
        change(&mut files);
        if *remake {
            remake_manifests(&mut files);
        }
        zip(&changed, &files);
        let said = tabellion(&["verify", "changed.zip", "--vkey", key, "--json"], here);
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        let codes: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["code"]).collect();
        if said.status.code() != Some(1) || !codes.iter().any(|found| *found == code) {
            not_so.push(format!("{name}: not {code}, but {codes:?}"));
        }
        let said = run("python3", &[verifier, "changed.zip", "--vkey", key], here);
        let words = text(&said.stdout);
        if said.status.code() != Some(1) || !in_words(code).iter().any(|why| words.contains(why)) {
            not_so.push(format!("{name}: not {:?}, but {words}{}", in_words(code), text(&said.stderr)));
        }
        if let Some(kept) = &kept {
            std::fs::copy(&changed, kept.join(format!("{number}.zip"))).unwrap();
            index.push(serde_json::json!({"file": format!("{number}.zip"), "name": name, "code": code}));
        }
    }
    assert!(not_so.is_empty(), "{}", not_so.join("\n"));
    if let Some(kept) = &kept {
        std::fs::write(kept.join("cases.json"), serde_json::to_vec_pretty(&index).unwrap()).unwrap();
    }
}

#[test]
fn the_same_selection_at_the_same_tree_head_makes_the_same_payload_and_a_running_server_records_it() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    assert!(tabellion(&["demo", "--data", "data", "--exit"], here).status.success());
    std::fs::copy(here.join("data/log/checkpoint"), here.join("checkpoint")).unwrap();
    let export = |bundle: &str| {
        let arguments = ["export", "--data", "data", "--case", "C-1042", "-o", bundle, "--checkpoint", "checkpoint"];
        let said = tabellion(&arguments, here);
        assert!(said.status.success(), "{}", text(&said.stderr));
        unzip(&here.join(bundle))
    };
    // An address that a server left behind which was killed: somebody else listens there now, and must not be told the key.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let address = format!("{{\"console\":\"http://{}\"}}", other.local_addr().unwrap());
    std::fs::write(here.join("data/server.json"), address).unwrap();
    let alone = export("alone.zip");
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert!(!here.join("data/server.json").exists());

    let server = serve(here, &["--data", "data"]);
    eventually("the server", || here.join("data/server.json").exists());
    let beside = export("beside.zip");
    let own = |name: &String| name.starts_with("export/") || name == "tagmanifest-sha256.txt" || name == "index.html";
    let rest = |files: &Files| -> Files { files.clone().into_iter().filter(|(name, _)| !own(name)).collect() };
    assert_eq!(rest(&alone), rest(&beside));
    assert_ne!(alone["export/entry.json"], beside["export/entry.json"]);
    // The page has a copy of the record, and differs in nothing else.
    let copied = |files: &Files| {
        let page = text(&files["index.html"]);
        let (before, rest) = page.split_once("id=\"bundle\">").unwrap();
        let (copy, after) = rest.split_once("</script>").unwrap();
        let path = here.join("copy.zip");
        std::fs::write(&path, base64::engine::general_purpose::STANDARD.decode(copy).unwrap()).unwrap();
        (before.to_owned(), after.to_owned(), rest_of(unzip(&path)))
    };
    fn rest_of(files: Files) -> Files {
        files.into_iter().filter(|(name, _)| !name.starts_with("export/")).collect()
    }
    assert_eq!(copied(&alone), copied(&beside));

    // Nobody else than the log's owner has custody acts recorded.
    let console: Value = serde_json::from_slice(&std::fs::read(here.join("data/server.json")).unwrap()).unwrap();
    let address = console["console"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let body = r#"{"actor":"x","why":null,"what":{"export":{"manifest":"00","selection":{},"exchanges":1}}}"#;
    for bearer in ["", "Authorization: Bearer \r\n", &format!("Authorization: Bearer {}\r\n", "00".repeat(32))] {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let head = format!(
            "POST /api/v1/custody HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{bearer}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    server.stop();
    let said = tabellion(&["verify", "--data", "data"], here);
    assert!(said.status.success(), "{}", text(&said.stdout));

    for (arguments, code) in [
        (&["export", "--data", "data", "-o", "x.zip"][..], 2),
        (&["export", "--data", "data", "-o", "x.zip", "--case", "nobody"], 1),
        (&["export", "--data", "data", "-o", "x.zip", "--id", "01ARZ3NDEKTSV4RRFFQ69G5FAV"], 1),
        (&["verify", "alone.zip", "--vkey", "nonsense"], 2),
    ] {
        assert_eq!(tabellion(arguments, here).status.code(), Some(code), "{arguments:?}");
    }
    let cut = std::fs::read(here.join("alone.zip")).unwrap();
    std::fs::write(here.join("cut.zip"), &cut[..cut.len() / 2]).unwrap();
    assert_eq!(tabellion(&["verify", "cut.zip"], here).status.code(), Some(1));
    let verifier = concat!(env!("CARGO_MANIFEST_DIR"), "/../../verify/tabellion_verify.py");
    assert_eq!(run("python3", &[verifier, "cut.zip"], here).status.code(), Some(1));
}
