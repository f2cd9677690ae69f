//! A log and its witnesses, both the real binary, over HTTP; and a witness that is slow, absent or lies.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Request, Server, Setup, StandIn, chat, eventually};

const BIN: &str = env!("CARGO_BIN_EXE_tabellion");

/// A running `tabellion witness`. Killed when dropped.
struct Witness {
    child: Child,
    address: SocketAddr,
    data: PathBuf,
}

impl Witness {
    /// `listen` may be a port that a former one had.
    fn start(data: &Path, log: &Path, listen: &str) -> Self {
        let mut child = Command::new(BIN)
            .args(["witness", "--name", "w.example/1", "--listen", listen, "--data"])
            .arg(data)
            .arg("--log")
            .arg(log)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = child.stderr.take().unwrap();
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(b"\n") && err.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
        }
        let said = String::from_utf8(said).unwrap();
        let address = said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect(&said);
        let address = address.parse().unwrap();
        std::thread::spawn(move || std::io::copy(&mut err, &mut std::io::sink()));
        Self { child, address, data: data.to_owned() }
    }

    fn vkey(&self) -> PathBuf {
        self.data.join("witness.vkey")
    }

    fn config(&self) -> String {
        let keys = std::fs::read_to_string(self.vkey()).unwrap().replace('\n', " ");
        format!("[[witness]]\nname = \"w1\"\nvkey = \"{}\"\nurl = \"http://{}\"\n", keys.trim(), self.address)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str], paths: &[&Path]) -> (i32, String) {
    let output = Command::new(BIN).args(arguments).args(paths).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn exchange(server: &Server) -> String {
    let answer = Request::post("/v1/chat/completions", chat("echo-3", "hello", false)).send(server.gateway);
    assert_eq!(answer.status, 200);
    answer.exchange()
}

fn checkpoint(server: &Server) -> String {
    Request::get("/log/checkpoint").send(server.console).text()
}

fn size(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// A log that was started once, so that it has a key for the witness to know.
fn log(place: &Path, standin: &StandIn) -> PathBuf {
    let data = place.join("data");
    Setup::new(&data, &standin.url()).start().stop();
    data
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_log_is_witnessed_and_one_that_was_rolled_back_does_not_go_on() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let data = log(place.path(), &standin);
    let keys = place.path().join("data.keys");
    let witness = Witness::start(&place.path().join("w"), &data.join("log.vkey"), "127.0.0.1:0");
    let config = format!("{}[witnesses]\nquorum = 1\n", witness.config());
    let setup = Setup::new(&data, &standin.url()).configured(&config);

    let mut server = setup.start();
    let id = exchange(&server);
    let cosigned = |server: &Server| checkpoint(server).matches("\u{2014} w.example/1 ").count() == 2;
    eventually("a cosigned checkpoint of the exchange", || {
        (cosigned(&server) && size(&checkpoint(&server)) >= 5).then_some(())
    });
    let metrics = Request::get("/metrics").send(server.console).text();
    assert!(metrics.contains("tabellion_witness_cosignatures 1"), "{metrics}");
    server.stop();

    // The witness shows the same tree as the log, with the log's two signatures and its own two.
    let latest = std::fs::read_to_string(data.join("log/checkpoint")).unwrap();
    let origin = latest.lines().next().unwrap();
    let hash = tabellion_evidence::tree::sha256(origin).to_string().trim_start_matches("sha256:").to_owned();
    let shown = Request::get(&format!("/{hash}/checkpoint")).send(witness.address);
    assert_eq!(shown.status, 200);
    assert_eq!(shown.text(), latest);
    assert_eq!(shown.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(Request::get(&format!("/{}/checkpoint", "0".repeat(64))).send(witness.address).status, 404);

    // Verified with the witness, by key and by policy; not with one that did not cosign.
    let vkey = witness.vkey();
    let (code, said) = run(&["verify", "--quorum", "1", "--witness"], &[&vkey, &data]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("witness   w.example/1+") && said.contains("quorum    met"), "{said}");
    let first = |path: &Path| std::fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned();
    let policy = place.path().join("policy");
    let pq = std::fs::read_to_string(&vkey).unwrap().lines().nth(1).unwrap().to_owned();
    let lines = format!("log {}\nwitness a {}\nwitness b {pq}\n", first(&data.join("log.vkey")), first(&vkey));
    std::fs::write(&policy, format!("{lines}group both all a b\nquorum both\n")).unwrap();
    let (code, said) = run(&["verify", "--policy"], &[&policy, &data]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("the key was taken from the log itself"), "the policy has the key: {said}");
    // The same for a proof, which is all that its verifier has.
    let proof = place.path().join("x.tlog-proof");
    let (code, said) = run(&["prove", &id, "-o"], &[&proof, Path::new("--data"), &data]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&["verify", "--policy"], &[&policy, &proof]);
    assert!(code == 0 && said.contains("quorum    met") && !said.contains("the key is the one in"), "{said}");
    let stranger = tabellion_evidence::note::SigningKey::cosigner_from_seed("x.example", [5; 32]).unwrap();
    let strict = format!("{lines}witness c {}\ngroup all all a b c\nquorum all\n", stranger.verifier());
    std::fs::write(&policy, strict).unwrap();
    let (code, said) = run(&["verify", "--policy"], &[&policy, &data]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("quorum    NOT met"), "{said}");
    let (code, said) = run(&["verify", "--policy"], &[&policy, &proof]);
    assert!(code == 1 && said.contains("quorum    NOT met"), "{said}");

    // A snapshot of everything, keys too, which the log then goes beyond.
    copy(&data, &place.path().join("old"));
    copy(&keys, &place.path().join("old.keys"));
    let mut server = setup.start();
    exchange(&server);
    server.stop();
    for name in ["data", "data.keys"] {
        std::fs::rename(place.path().join(name), place.path().join(format!("new-{name}"))).unwrap();
    }
    copy(&place.path().join("old"), &data);
    copy(&place.path().join("old.keys"), &keys);
    let before = std::fs::read(keys.join("signed")).unwrap();
    let (code, said) = run(&["serve", "--config"], &[&data.with_extension("toml"), Path::new("--data"), &data]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("w1 has cosigned") && said.contains("older copy"), "{said}");
    assert_eq!(std::fs::read(keys.join("signed")).unwrap(), before, "nothing was signed");

    // With the newest state back, it goes on.
    for name in ["data", "data.keys"] {
        std::fs::remove_dir_all(place.path().join(name)).unwrap();
        std::fs::rename(place.path().join(format!("new-{name}")), place.path().join(name)).unwrap();
    }
    let mut server = setup.start();
    exchange(&server);
    server.stop();
    assert!(std::fs::read_dir(witness.data.join("forks")).map_or(0, Iterator::count) == 0);
}

#[test]
fn a_log_that_forked_does_not_start_and_its_witness_keeps_the_evidence() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let data = log(place.path(), &standin);
    let keys = place.path().join("data.keys");
    let witness = Witness::start(&place.path().join("w"), &data.join("log.vkey"), "127.0.0.1:0");
    let setup = Setup::new(&data, &standin.url()).configured(&witness.config());
    copy(&data, &place.path().join("old"));
    copy(&keys, &place.path().join("old.keys"));
    let mut server = setup.start();
    exchange(&server);
    server.stop();
    // An older copy, which goes on without its witness and comes to more entries than the other branch.
    for name in ["data", "data.keys"] {
        std::fs::remove_dir_all(place.path().join(name)).unwrap();
    }
    copy(&place.path().join("old"), &data);
    copy(&place.path().join("old.keys"), &keys);
    let mut alone = Setup::new(&data, &standin.url()).start();
    for _ in 0..4 {
        exchange(&alone);
    }
    alone.stop();

    let (code, said) = run(&["serve", "--config"], &[&data.with_extension("toml"), Path::new("--data"), &data]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("w1 has cosigned a tree of this log that is not the one here"), "{said}");
    let forks = std::fs::read_dir(witness.data.join("forks")).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_dir(forks).unwrap().next().unwrap().unwrap().path();
    let evidence: serde_json::Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    let key = std::fs::read_to_string(data.join("log.vkey")).unwrap().lines().next().unwrap().parse().unwrap();
    let submitted = evidence["submitted"].as_str().unwrap().split_once("\n\n").unwrap().1;
    for note in [evidence["cosigned"].as_str().unwrap(), submitted] {
        tabellion_evidence::checkpoint::verify(note.as_bytes(), &key).unwrap();
    }
}

#[test]
fn a_checkpoint_is_held_back_until_the_quorum_and_recording_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let data = log(place.path(), &standin);
    let witness = Witness::start(&place.path().join("w"), &data.join("log.vkey"), "127.0.0.1:0");
    let config = format!("{}[witnesses]\nquorum = 1\nmode = \"hold\"\ntimeout_ms = 200\n", witness.config());
    let (listen, directory) = (witness.address.to_string(), witness.data.clone());
    drop(witness);
    let before = size(&std::fs::read_to_string(data.join("log/checkpoint")).unwrap());
    let setup = Setup::new(&data, &standin.url()).configured(&config);

    let mut server = setup.start();
    for _ in 0..5 {
        exchange(&server);
    }
    // Long enough for several publications, which nothing shows but their absence.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(size(&checkpoint(&server)), before, "held back");
    // What is in the tree and held back survives a kill, and a start without the witness.
    server.kill();
    let mut server = setup.start();
    exchange(&server);
    assert_eq!(size(&checkpoint(&server)), before);

    let witness = Witness::start(&directory, &data.join("log.vkey"), &listen);
    let published = eventually("the quorum", || Some(checkpoint(&server)).filter(|note| size(note) >= before + 13));
    assert!(published.contains("\u{2014} w.example/1 "), "{published}");
    server.stop();
    let (code, said) = run(&["verify", "--quorum", "1", "--witness"], &[&witness.vkey(), &data]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_start_without_witnesses_is_refused_where_that_is_configured() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let data = log(place.path(), &standin);
    let witness = Witness::start(&place.path().join("w"), &data.join("log.vkey"), "127.0.0.1:0");
    let config = format!("{}[witnesses]\nat_start = \"refuse\"\n", witness.config());
    std::fs::write(data.with_extension("toml"), config).unwrap();
    drop(witness);
    let (code, said) = run(&["serve", "--config"], &[&data.with_extension("toml"), Path::new("--data"), &data]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("too few witnesses answered"), "{said}");
}

/// A witness by hand: it answers every submission with the same bytes, after a while.
fn answering(answer: &'static str, after: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut piece = [0; 65536];
                let _ = stream.read(&mut piece);
                std::thread::sleep(after);
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

#[test]
fn a_slow_witness_and_a_lying_one_slow_nothing_and_count_for_nothing() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let data = log(place.path(), &standin);
    let key = |n: u8| {
        let name = format!("w{n}.example");
        tabellion_evidence::note::SigningKey::cosigner_from_seed(&name, [n; 32]).unwrap().verifier().to_string()
    };
    let slow = answering("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", Duration::from_secs(60));
    // Somebody else's line, and then a 409 that is none.
    let line = "\u{2014} w2.example AAAAAAAAAAAAAAAA\n";
    let forged: &'static str = Box::leak(
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{line}", line.len())
            .into_boxed_str(),
    );
    let liar = answering(forged, Duration::ZERO);
    let odd = answering("HTTP/1.1 409 x\r\nconnection: close\r\ncontent-length: 4\r\n\r\nmany", Duration::ZERO);
    let table =
        |n: u8, address| format!("[[witness]]\nname = \"w{n}\"\nvkey = \"{}\"\nurl = \"http://{address}\"\n", key(n));
    let config = [table(1, slow), table(2, liar), table(3, odd), "[witnesses]\ntimeout_ms = 300\n".to_owned()].concat();
    let mut server = Setup::new(&data, &standin.url()).configured(&config).start();
    for _ in 0..10 {
        let before = size(&checkpoint(&server));
        let started = Instant::now();
        exchange(&server);
        let answered = started.elapsed();
        eventually("the next checkpoint", || (size(&checkpoint(&server)) >= before + 2).then_some(()));
        let published = started.elapsed();
        // Both bounds leave room for a slow machine: a witness that is waited for would cost 60 s.
        assert!(answered < Duration::from_secs(5), "{answered:?}");
        assert!(published < Duration::from_secs(6), "{published:?}");
    }
    assert!(!checkpoint(&server).contains("w2.example"));
    assert!(Request::get("/metrics").send(server.console).text().contains("tabellion_witness_cosignatures 0"));
    server.stop();
}

#[test]
fn a_witness_keeps_evidence_of_a_fork_and_of_nothing_else() {
    use tabellion_evidence::checkpoint::{self, Checkpoint};
    use tabellion_evidence::note::SigningKey;
    use tabellion_evidence::tree::sha256;

    let place = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed("log.example/x", [3; 32]).unwrap();
    let vkey = place.path().join("vkey");
    std::fs::write(&vkey, format!("{}\n", key.verifier())).unwrap();
    let mut witness = Witness::start(&place.path().join("w"), &vkey, "127.0.0.1:0");
    let head = |size, root: &str| checkpoint::sign(&Checkpoint::new("log.example/x", size, sha256(root)), &key);
    let post = |to: SocketAddr, body: String| Request::new("POST", "/add-checkpoint").body(body).send(to);
    let add = |to, old: u64, note: &str| post(to, format!("old {old}\n\n{note}"));

    let first = add(witness.address, 0, &head(3, "a"));
    assert_eq!(first.status, 200);
    assert_eq!(first.text().matches("\u{2014} w.example/1 ").count(), 2, "Ed25519 and ML-DSA-44");
    let conflict = add(witness.address, 0, &head(3, "a"));
    assert_eq!((conflict.status, &*conflict.text()), (409, "3\n"));
    assert_eq!(conflict.header("content-type"), Some("text/x.tlog.size"));
    // The same again is the same cosignature, for a moment.
    assert_eq!(add(witness.address, 3, &head(3, "a")).status, 200);
    assert_eq!(add(witness.address, 4, &head(3, "a")).status, 400);
    assert_eq!(post(witness.address, "old 0\n".to_owned()).status, 400);
    assert_eq!(Request::get("/add-checkpoint").send(witness.address).status, 405);
    let stranger = SigningKey::from_seed("log.example/x", [4; 32]).unwrap();
    let forged = checkpoint::sign(&Checkpoint::new("log.example/x", 3, sha256("b")), &stranger);
    assert_eq!(add(witness.address, 3, &forged).status, 403);
    let other = SigningKey::from_seed("log.example/y", [3; 32]).unwrap();
    let unknown = checkpoint::sign(&Checkpoint::new("log.example/y", 3, sha256("b")), &other);
    assert_eq!(add(witness.address, 0, &unknown).status, 404);
    assert!(!witness.data.join("forks").exists(), "strangers make no evidence");

    // What was cosigned is still known after a kill, and a fork is refused and kept.
    let _ = witness.child.kill();
    let _ = witness.child.wait();
    let directory = witness.data.clone();
    drop(witness);
    let witness = Witness::start(&directory, &vkey, "127.0.0.1:0");
    for _ in 0..3 {
        assert_eq!(add(witness.address, 3, &head(3, "b")).status, 422);
    }
    let hash = std::fs::read_dir(witness.data.join("forks")).unwrap().next().unwrap().unwrap().path();
    let kept: Vec<_> = std::fs::read_dir(&hash).unwrap().collect();
    assert_eq!(kept.len(), 1, "the same evidence once");
    let text = std::fs::read_to_string(kept[0].as_ref().unwrap().path()).unwrap();
    let evidence: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(evidence["proved"], true);
    let submitted = evidence["submitted"].as_str().unwrap();
    assert!(submitted.ends_with(&head(3, "b")), "{submitted}");
    let cosigned = evidence["cosigned"].as_str().unwrap();
    assert!(checkpoint::verify(cosigned.as_bytes(), key.verifier()).unwrap().root == sha256("a"), "{cosigned}");
    assert_eq!(add(witness.address, 3, &head(3, "a")).status, 200, "the honest branch goes on");
}

#[test]
fn of_racing_submissions_one_is_cosigned() {
    use tabellion_evidence::checkpoint::{self, Checkpoint};
    use tabellion_evidence::note::SigningKey;
    use tabellion_evidence::tree::sha256;

    let place = tempfile::tempdir().unwrap();
    let key = SigningKey::from_seed("log.example/x", [3; 32]).unwrap();
    let vkey = place.path().join("vkey");
    std::fs::write(&vkey, format!("{}\n", key.verifier())).unwrap();
    let witness = Witness::start(&place.path().join("w"), &vkey, "127.0.0.1:0");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let one = |n: u8| {
            let note = checkpoint::sign(&Checkpoint::new("log.example/x", 7, sha256([n])), &key);
            let address = witness.address;
            scope.spawn(move || {
                Request::new("POST", "/add-checkpoint").body(format!("old 0\n\n{note}")).send(address).status
            })
        };
        let threads: Vec<_> = (0..16).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|&&status| status == 409).count(), 15, "{statuses:?}");
}

#[test]
fn the_log_is_served_as_the_specification_says_and_takes_entries_only_if_it_may() {
    let place = tempfile::tempdir().unwrap();
    let standin = StandIn::start();
    let closed = Setup::new(&place.path().join("closed"), &standin.url()).start();
    assert_eq!(Request::new("POST", "/log/add").body("x").send(closed.console).status, 405);
    let setup = Setup::new(&place.path().join("open"), &standin.url()).configured("[log]\nadd = true\n");
    let server = setup.start();
    let add = |entry: &[u8]| Request::new("POST", "/log/add").body(entry).send(server.console);
    let forged =
        br#"{"v":1,"kind":"custody.erase","id":"01JDA5N0000000000000000000","time":"","erase":{"entries":[[0,9]]}}"#;
    assert_eq!(add(forged).status, 403, "nobody has anything erased so");
    let index = |entry: &[u8]| add(entry).text().parse::<u64>().unwrap();
    let first = index(b"one");
    assert_eq!(index(&[0xff; 65_535]), first + 1);
    assert_eq!(index(b""), first + 2);
    assert_eq!(add(&[0; 65_536]).status, 413);
    assert_eq!(add(&vec![0; 1 << 20]).status, 413);
    let size = eventually("publication", || Some(size(&checkpoint(&server))).filter(|&size| size >= first + 3));

    let get = |path: &str, encoding: &str| {
        Request::get(&format!("/log/{path}")).header("accept-encoding", encoding).send(server.console)
    };
    let note = get("checkpoint", "gzip");
    assert_eq!(note.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(note.header("content-encoding"), None);
    let tile = get(&format!("tile/0/000.p/{size}"), "gzip");
    assert_eq!((tile.status, tile.body.len() as u64), (200, size * 32));
    assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
    assert!(tile.header("cache-control").unwrap().contains("immutable"));
    let bundle = get(&format!("tile/entries/000.p/{size}"), "identity");
    assert_eq!(bundle.header("content-encoding"), None);
    let entries = tabellion_evidence::tile::parse_bundle(&bundle.body, size as u16).unwrap();
    assert_eq!((entries[first as usize], entries[first as usize + 2]), (&b"one"[..], &b""[..]));
    let packed = get(&format!("tile/entries/000.p/{size}"), "br;q=1, gzip;q=0.5");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, bundle.body);
    assert_eq!(get(&format!("tile/entries/000.p/{size}"), "gzip;q=0").header("content-encoding"), None);
    for absent in [
        "tile/0/000",
        "tile/0/001",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/256",
        "../log.vkey",
        "log.vkey",
        "",
    ] {
        assert_eq!(get(absent, "gzip").status, 404, "{absent}");
    }

    // The partial tiles of every size that was published are there until the full one is, which then takes their place.
    let before = get(&format!("tile/0/000.p/{size}"), "gzip").status;
    assert_eq!(before, 200);
    for n in size..256 {
        add(format!("entry {n}").as_bytes());
    }
    eventually("the full tile", || {
        (get("tile/0/000", "gzip").status == 200 && get("tile/entries/000", "gzip").status == 200).then_some(())
    });
    eventually("the partial ones to go", || (get(&format!("tile/0/000.p/{size}"), "gzip").status == 404).then_some(()));
}
