//! Bundles: what an examiner receives holds, and whatever is done to one on the way is refused, by the product and by the
//! reference verifier that the bundle carries.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::{Command, Output};

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

struct Made {
    directory: tempfile::TempDir,
    files: Files,
    /// Another export of the same log.
    second: Files,
    /// An export of another log of the same name.
    foreign: Files,
}

fn make() -> Made {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for (data, bundle) in [("data", "bundle.zip"), ("data", "second.zip"), ("other", "foreign.zip")] {
        if !here.join(data).exists() {
            assert!(tabellion(&["demo", "--data", data, "--exit"], here).status.success());
        }
        let arguments =
            ["export", "--data", data, "--case", "C-1042", "-o", bundle, "--reason", "ask anna@example.com"];
        let said = tabellion(&arguments, here);
        assert!(said.status.success(), "{}", text(&said.stderr));
    }
    let read = |name: &str| unzip(&here.join(name));
    Made { files: read("bundle.zip"), second: read("second.zip"), foreign: read("foreign.zip"), directory }
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
        "export-of-another",
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
    assert!(cases.len() >= 40, "{}", cases.len());

    let changed = here.join("changed.zip");
    for (name, code, remake, change) in &cases {
        let mut files = made.files.clone();
        change(&mut files);
        if *remake {
            remake_manifests(&mut files);
        }
        zip(&changed, &files);
        let said = tabellion(&["verify", "changed.zip", "--vkey", key, "--json"], here);
        let report: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(said.status.code(), Some(1), "{name}: {report}");
        let codes: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["code"]).collect();
        assert!(codes.iter().any(|found| *found == code), "{name}: {report}");
        let said = run("python3", &[verifier, "changed.zip", "--vkey", key], here);
        assert_eq!(said.status.code(), Some(1), "{name}: {}{}", text(&said.stdout), text(&said.stderr));
    }
}

/// A server that does not outlive a test that failed.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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

    let server = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(["serve", "--data", "data"])
        .current_dir(here)
        .env("TABELLION_GATEWAY_LISTEN", "127.0.0.1:0")
        .env("TABELLION_CONSOLE_LISTEN", "127.0.0.1:0")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Killed(server);
    let started = std::time::Instant::now();
    while !here.join("data/server.json").exists() {
        assert!(started.elapsed().as_secs() < 60, "the server does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let beside = export("beside.zip");
    let own = |name: &String| name.starts_with("export/") || name == "tagmanifest-sha256.txt";
    let rest = |files: &Files| -> Files { files.clone().into_iter().filter(|(name, _)| !own(name)).collect() };
    assert_eq!(rest(&alone), rest(&beside));
    assert_ne!(alone["export/entry.json"], beside["export/entry.json"]);

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
    let pid = rustix::process::Pid::from_raw(server.0.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());
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
