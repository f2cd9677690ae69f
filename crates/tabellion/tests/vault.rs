//! Sealed originals end to end: exact bytes for an officer, nothing for a disk, and nothing for anybody once erased.

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use age::secrecy::ExposeSecret;
use common::{Answer, Log, Received, Request, Server, Setup, Upstream, eventually, files, has, keyring, verify};
use serde_json::{Value, json};

/// What is in no record, and must be in no file either.
const NAME: &str = "Quillon Vexworth-Abernathy";
const EMAIL: &str = "q.vexworth@mail.example.net";

const STREAM: &str = concat!(
    "data: {\"id\":\"s\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Quillon \"}}]}\n\n",
    "data: {\"id\":\"s\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Vexworth-Abernathy, odd  spaces\"}}]}\n\n",
    "data: {\"id\":\"s\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
);

fn plain() -> String {
    // Spaces that no writer of JSON would make: exactness is about bytes.
    format!(
        "{{ \"id\":\"c\", \"choices\" : [ {{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{NAME} is noted.\"}},\
         \"finish_reason\":\"stop\"}} ] }}\n"
    )
}

fn answer(received: Received, stream: &mut TcpStream) -> bool {
    let (kind, body) = if has(&received.body, b"\"stream\": true") {
        ("text/event-stream", STREAM.to_owned())
    } else {
        ("application/json", plain())
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).is_ok()
}

struct Place {
    directory: tempfile::TempDir,
    upstream: Upstream,
    recipient: String,
    seal: &'static str,
    /// More of the configuration, before its tables of upstreams.
    more: &'static str,
}

fn officer(path: &Path) -> String {
    let identity = age::x25519::Identity::generate();
    std::fs::write(path, format!("{}\n", identity.to_string().expose_secret())).unwrap();
    identity.to_public().to_string()
}

impl Place {
    fn new(seal: &'static str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let recipient = officer(&directory.path().join("officer"));
        officer(&directory.path().join("other"));
        Self { directory, upstream: Upstream::start(answer), recipient, seal, more: "" }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn start(&self) -> Server {
        // `[[upstream]]` replaces the built-in ones.
        let config = format!(
            "{}[vault]\nrecipients = [\"{}\"]\n[[upstream]]\nname = \"openai\"\nkind = \"openai\"\nurl = \"{}\"\ndefault = true\nseal = \"{}\"\n",
            self.more,
            self.recipient,
            self.upstream.url(),
            self.seal
        );
        Setup::new(&self.data(), &self.upstream.url()).configured(&config).start()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.data().with_extension("toml");
        Command::new(env!("CARGO_BIN_EXE_tabellion"))
            .args(arguments)
            .args(["--config", config.to_str().unwrap(), "--data", self.data().to_str().unwrap()])
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    /// Asserts that a command ends so; gives what it printed.
    #[track_caller]
    fn ends(&self, code: i32, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}{}", String::from_utf8_lossy(&output.stdout));
        assert!(!err.contains("a defect of ours"), "{err}");
        output.stdout
    }

    #[track_caller]
    fn reveal(&self, id: &str, more: &[&str]) -> Vec<u8> {
        self.ends(0, &[&["reveal", id, "--identity", "officer", "--reason", "file 77"], more].concat())
    }

    /// Entries of a kind.
    fn custody(&self, kind: &str) -> Vec<Value> {
        Log::read(&self.data()).entries.into_iter().filter(|entry| entry["kind"] == kind).collect()
    }

    /// Every file under the data and the keys directory.
    fn everything(&self) -> Vec<(PathBuf, Vec<u8>)> {
        [files(&self.data()), files(&self.data().with_extension("keys"))].concat()
    }

    #[track_caller]
    fn nowhere(&self, what: &str, needle: &[u8]) {
        for (path, bytes) in self.everything() {
            assert!(!has(&bytes, needle), "{what} is in {}", path.display());
        }
    }
}

type Files = std::collections::BTreeMap<String, Vec<u8>>;

fn unzip(path: &Path) -> Files {
    let mut zip = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let count = zip.len();
    let read = |index| {
        let mut file = zip.by_index(index).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        (file.name().unwrap().split_once('/').unwrap().1.to_owned(), bytes)
    };
    (0..count).map(read).collect()
}

fn said(messages: &[(&str, &str)], stream: bool) -> Vec<u8> {
    let messages: Vec<Value> = messages.iter().map(|(role, text)| json!({"role": role, "content": text})).collect();
    let messages = serde_json::to_string(&messages).unwrap();
    format!("{{\"model\" : \"m\",  \"stream\": {stream}, \"messages\": {messages} }}").into_bytes()
}

fn send(server: &Server, body: &[u8]) -> Answer {
    let answer = Request::post("/v1/chat/completions", body).send(server.gateway);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn published(place: &Place, answer: &Answer) -> (Value, Value) {
    Log::exchange(&place.data(), &answer.exchange())
}

fn sealed(entry: &Value) -> Vec<String> {
    let names = entry["original"]["sealed"].as_array().cloned().unwrap_or_default();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two turns of a conversation that repeats its history, both plain.
fn conversation(server: &Server) -> [(Vec<u8>, Answer); 2] {
    let first = said(&[("system", "be brief"), ("user", &format!("I am {NAME}, {EMAIL}"))], false);
    let second = said(
        &[
            ("system", "be brief"),
            ("user", &format!("I am {NAME}, {EMAIL}")),
            ("assistant", "noted"),
            ("user", &format!("and {NAME} again, twice")),
        ],
        false,
    );
    [first, second].map(|body| {
        let answer = send(server, &body);
        (body, answer)
    })
}

#[test]
fn an_officer_gets_the_exact_bytes_and_nobody_else_anything() {
    let place = Place::new("always");
    let mut server = place.start();
    let [(first, one), (second, two)] = conversation(&server);
    let streamed = said(&[("user", &format!("stream to {EMAIL}"))], true);
    let three = send(&server, &streamed);
    let zipped = gzip(&said(&[("user", &format!("zipped for {NAME}"))], false));
    let four = Request::post("/v1/chat/completions", &*zipped).header("content-encoding", "gzip").send(server.gateway);
    let binary = [&b"\0\x01\xff"[..], NAME.as_bytes()].concat();
    let five = Request::post("/v1/files", &*binary).header("content-type", "audio/wav").send(server.gateway);

    for (answer, sent, received) in [
        (&one, &first[..], plain().into_bytes()),
        (&two, &second, plain().into_bytes()),
        (&three, &streamed, STREAM.as_bytes().to_vec()),
        (&four, &zipped, plain().into_bytes()),
        (&five, &binary, plain().into_bytes()),
    ] {
        published(&place, answer);
        assert_eq!(answer.body, received);
        assert_eq!(place.reveal(&answer.exchange(), &[]), sent);
        assert_eq!(place.reveal(&answer.exchange(), &["--response"]), received);
    }

    // Pieces that were sealed before are named again: the second turn's history is the first's.
    let (one_request, _) = published(&place, &one);
    let (two_request, _) = published(&place, &two);
    let (history, later) = (sealed(&one_request), sealed(&two_request));
    assert_eq!((history.len(), later.len()), (3, 5), "a frame and a piece for each message");
    assert_eq!(history[1..], later[1..3]);
    assert_eq!(sealed(&published(&place, &three).1).len(), 1, "a stream is one piece");
    assert_eq!(sealed(&published(&place, &four).0).len(), 1, "so is what is encoded");

    // One message, also of an answer that was streamed or of a request that was encoded.
    let part = |answer: &Answer, more: &[&str]| place.reveal(&answer.exchange(), more);
    let message = json!({"role": "user", "content": format!("I am {NAME}, {EMAIL}")});
    assert_eq!(serde_json::from_slice::<Value>(&part(&two, &["--part", "1"])).unwrap(), message);
    let message: Value = serde_json::from_slice(&part(&three, &["--response", "--part", "0"])).unwrap();
    assert_eq!(message["content"], format!("{NAME}, odd  spaces"));
    let message: Value = serde_json::from_slice(&part(&four, &["--part", "0"])).unwrap();
    assert_eq!(message["content"], format!("zipped for {NAME}"));
    place.ends(2, &["reveal", &two.exchange(), "--identity", "officer", "--reason", "x", "--part", "4"]);

    // Each look is on the record, with how much was seen; what was refused is not a look.
    let looks = place.custody("custody.reveal");
    assert_eq!(looks.len(), 13);
    let index: u64 = two.header("x-tabellion-entry").unwrap().parse().unwrap();
    assert_eq!(looks[10]["reveal"], json!({"entry": index, "part": 1, "bytes": part(&two, &["--part", "1"]).len()}));
    assert!(looks.iter().all(|look| look["why"] == "file 77" && look["actor"].as_str().unwrap().contains("uid")));
    let before = place.custody("custody.reveal").len();
    let refused = place.ends(2, &["reveal", &one.exchange(), "--identity", "other", "--reason", "x"]);
    assert!(refused.is_empty());
    place.ends(2, &["reveal", &one.exchange(), "--identity", "missing", "--reason", "x"]);
    assert_eq!(place.custody("custody.reveal").len(), before);

    // The start says to whom originals are sealed.
    assert_eq!(place.custody("custody.start")[0]["recipients"], json!([place.recipient]));

    for running in [true, false] {
        if !running {
            server.stop();
            assert_eq!(place.reveal(&three.exchange(), &["--response"]), STREAM.as_bytes());
        }
        place.nowhere("an address", EMAIL.as_bytes());
        place.ends(0, &["verify"]);
        verify(&place.data());
    }
}

#[test]
fn plaintext_that_redaction_takes_out_is_in_no_file_at_any_time() {
    let place = Place::new("always");
    let mut server = place.start();
    let secret = "4111 1111 1111 1111";
    let bodies: Vec<Vec<u8>> =
        (0..20).map(|n| said(&[("user", &format!("{n}: card {secret} of {EMAIL}"))], n % 2 == 0)).collect();
    for body in &bodies {
        send(&server, body);
        place.nowhere("a card's number", secret.as_bytes());
        place.nowhere("an address", EMAIL.as_bytes());
    }
    let last = Log::read(&place.data()).requests().last().unwrap()["id"].as_str().unwrap().to_owned();
    assert!(place.reveal(&last, &["-o", "shown"]).is_empty());
    assert!(has(&std::fs::read(place.directory.path().join("shown")).unwrap(), secret.as_bytes()));
    place.nowhere("a card's number", secret.as_bytes());
    server.kill();
    place.nowhere("a card's number", secret.as_bytes());
    let mut server = place.start();
    server.assert_well();
    place.nowhere("a card's number", secret.as_bytes());
}

#[test]
fn what_is_erased_is_gone_and_everything_else_stays() {
    let place = Place::new("always");
    let mut server = place.start();
    let [(first, one), (second, two)] = conversation(&server);
    let other = said(&[("user", "somebody else")], false);
    let three = send(&server, &other);
    for answer in [&one, &two, &three] {
        published(&place, answer);
    }
    for (answer, file) in [(&one, "one"), (&two, "two")] {
        place.ends(0, &["prove", &answer.exchange(), "-o", file]);
    }
    std::fs::write(place.directory.path().join("first"), &first).unwrap();
    place.ends(0, &["prove", &one.exchange(), "--original", "first", "-o", "again"]);
    let backup = ["keyring", "backup", "--to", "keyring.age"];
    place.ends(0, &backup);
    let headers = keyring::headers(&place.data());
    let (one_request, one_response) = published(&place, &one);
    let leaf_of = |entry: &Value| keyring::salt(&place.data(), entry["id"].as_str().unwrap(), 0);
    assert!(leaf_of(&one_request).is_some());

    // The first turn: its frame goes, what the second turn repeats stays, and the command says so.
    let report = place.ends(
        0,
        &["erase", "--id", &one.exchange(), "--reason", "asked to", "--basis", "GDPR Art. 17(1)(b)", "--json"],
    );
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!((&report["exchanges"], &report["entries"]), (&json!(1), &json!(2)));
    let remaining = report["remaining"].as_array().unwrap().len();
    assert_eq!(remaining, 4, "what both say, and the answer, which was the same");
    assert!(report["backup"].is_string(), "the backup outlives it, and that is said");
    for arguments in [
        &["reveal", &one.exchange(), "--identity", "officer", "--reason", "x"][..],
        &["reveal", &one.exchange(), "--identity", "officer", "--reason", "x", "--response"],
        &["reveal", &one.exchange(), "--salt", "--reason", "x"],
        &["prove", &one.exchange(), "--original", "first"],
    ] {
        assert!(place.ends(1, arguments).is_empty());
    }
    assert_eq!(place.reveal(&two.exchange(), &[]), second);
    assert_eq!((leaf_of(&one_request), leaf_of(&one_response)), (None, None));

    // The second turn takes the rest with it.
    let salts: Vec<_> = ["one", "two"].iter().map(|_| keyring::nodes(&place.data())).collect();
    place.ends(0, &["erase", "--id", &two.exchange(), "--reason", "asked to"]);
    let left = keyring::headers(&place.data());
    assert_eq!(left.len(), sealed(&published(&place, &three).0).len() + sealed(&published(&place, &three).1).len());
    for (name, header) in headers.iter().filter(|header| !left.contains(header)) {
        let own = &header[header.iter().position(|&byte| byte == b'\n').unwrap() + 1..];
        own.chunks_exact(24).for_each(|piece| place.nowhere(&format!("a header of {name}"), piece));
    }
    let now = keyring::nodes(&place.data());
    let destroyed: Vec<_> = salts[0].iter().filter(|node| !now.contains(node)).collect();
    assert!(!destroyed.is_empty());
    destroyed.iter().for_each(|node| place.nowhere("a key of salts", node));
    assert_eq!(place.reveal(&three.exchange(), &[]), other);

    // What the log says, and what it proves, is as before.
    let erasures = place.custody("custody.erase");
    let index = |answer: &Answer| answer.header("x-tabellion-entry").unwrap().parse::<u64>().unwrap();
    assert_eq!(erasures.len(), 2);
    assert_eq!(erasures[0]["erase"]["entries"], json!([[index(&one), index(&one) + 1]]));
    assert_eq!(erasures[0]["erase"]["basis"], "GDPR Art. 17(1)(b)");
    assert_eq!(erasures[0]["why"], "asked to");
    for file in ["one", "two", "again"] {
        place.ends(0, &["verify", file]);
    }
    let verified: Value = serde_json::from_slice(&place.ends(0, &["verify", "--json"])).unwrap();
    assert_eq!(verified["checked"]["erased"], 4);
    verify(&place.data());
    // WORM storage may let the payloads go, once they are worth nothing.
    server.stop();
    let sealed_packs = place.data().join("sealed");
    std::fs::rename(&sealed_packs, place.directory.path().join("moved")).unwrap();
    let report: Value = serde_json::from_slice(&place.ends(1, &["verify", "--json"])).unwrap();
    let missing: Vec<_> = report["problems"].as_array().unwrap().iter().map(|problem| &problem["code"]).collect();
    assert!(!missing.is_empty() && missing.iter().all(|code| **code == "sealed-missing"), "{missing:?}");
    place.ends(0, &["erase", "--id", &three.exchange(), "--reason", "the last"]);
    place.ends(0, &["verify"]);
    verify(&place.data());
}

#[test]
fn an_erasure_that_a_crash_or_an_old_keyring_left_undone_is_done_at_the_next_start() {
    let place = Place::new("always");
    let mut server = place.start();
    let [(_, one), (_, two)] = conversation(&server);
    published(&place, &one);
    let (request, _) = published(&place, &two);
    server.stop();
    let path = place.data().with_extension("keys").join("keyring.db");
    let before = std::fs::read(&path).unwrap();
    place.ends(0, &["erase", "--id", &one.exchange(), "--reason", "x"]);
    place.ends(0, &["erase", "--id", &two.exchange(), "--reason", "x"]);
    assert!(keyring::headers(&place.data()).is_empty());
    // Between the entry and the destruction: the log says it, the keyring is as it was.
    std::fs::write(&path, before).unwrap();
    assert!(!keyring::headers(&place.data()).is_empty());
    keyring::orphan(&place.data(), "01JDA5N0000000000000000000");
    let mut server = place.start();
    server.assert_well();
    assert!(keyring::headers(&place.data()).is_empty(), "what was erased, and what nothing came of");
    assert_eq!(keyring::salt(&place.data(), request["id"].as_str().unwrap(), 0), None);
    place.ends(1, &["reveal", &two.exchange(), "--identity", "officer", "--reason", "x"]);
    let again = send(&server, &said(&[("user", &format!("I am {NAME}, {EMAIL}"))], false));
    published(&place, &again);
    assert!(has(&place.reveal(&again.exchange(), &[]), NAME.as_bytes()), "what is said again is sealed again");
    place.ends(0, &["verify"]);
}

#[test]
fn the_same_words_after_an_erasure_are_sealed_anew() {
    let place = Place::new("always");
    let server = place.start();
    let body = said(&[("user", &format!("I am {NAME}"))], false);
    let one = send(&server, &body);
    published(&place, &one);
    place.ends(0, &["erase", "--id", &one.exchange(), "--reason", "x"]);
    let two = send(&server, &body);
    let ((one_request, _), (two_request, _)) = (published(&place, &one), published(&place, &two));
    assert!(sealed(&one_request).iter().all(|name| !sealed(&two_request).contains(name)));
    assert_eq!(place.reveal(&two.exchange(), &[]), body);
    place.ends(0, &["verify"]);
}

#[test]
fn whoever_has_a_copy_and_the_salt_checks_it_alone() {
    let place = Place::new("never");
    let server = place.start();
    let body = said(&[("system", "be brief"), ("user", NAME)], false);
    let answer = send(&server, &body);
    let (request, _) = published(&place, &answer);
    assert!(sealed(&request).is_empty());
    place.ends(1, &["reveal", &answer.exchange(), "--identity", "officer", "--reason", "x"]);
    place.ends(2, &["reveal", &answer.exchange(), "--reason", "x"]);
    assert!(place.custody("custody.reveal").is_empty());
    let salt = |more: &[&str]| {
        let out = place.ends(0, &[&["reveal", &answer.exchange(), "--salt", "--reason", "x"], more].concat());
        String::from_utf8(out).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let (whole, part) = (salt(&[]), salt(&["--part", "1"]));
    let looks = place.custody("custody.reveal");
    let index: u64 = answer.header("x-tabellion-entry").unwrap().parse().unwrap();
    assert_eq!(looks[0]["reveal"], json!({"entry": index, "bytes": 0, "salt": true}));
    assert_eq!(looks[1]["reveal"], json!({"entry": index, "part": 1, "bytes": 0, "salt": true}));
    place.ends(0, &["prove", &answer.exchange(), "-o", "proof"]);

    // From here on without the log.
    let elsewhere = tempfile::tempdir().unwrap();
    let message = format!("{{\"content\":{:?},\"role\":\"user\"}}", NAME);
    let at = body.windows(message.len()).position(|window| window == message.as_bytes());
    let message = at.map_or_else(|| format!("{{\"role\":\"user\",\"content\":{NAME:?}}}"), |_| message);
    assert!(has(&body, message.as_bytes()));
    let mut wrong = body.clone();
    wrong[9] ^= 1;
    for (name, bytes) in [("body", &body[..]), ("wrong", &wrong), ("message", message.as_bytes()), ("empty", b"")] {
        std::fs::write(elsewhere.path().join(name), bytes).unwrap();
    }
    std::fs::copy(place.directory.path().join("proof"), elsewhere.path().join("proof")).unwrap();
    std::fs::copy(place.data().join("log.vkey"), elsewhere.path().join("key")).unwrap();
    std::fs::write(elsewhere.path().join("entry.json"), serde_json::to_vec(&request).unwrap()).unwrap();
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../verify/tabellion_verify.py");
    let other_salt = "00".repeat(32);
    for (code, file, salt, part) in [
        (0, "body", &whole, None),
        (0, "message", &part, Some("1")),
        (1, "wrong", &whole, None),
        (1, "empty", &whole, None),
        (1, "body", &part, None),
        (1, "body", &other_salt, None),
        (1, "message", &whole, Some("1")),
        (1, "message", &part, Some("0")),
        (1, "message", &part, Some("2")),
        (2, "body", &"salt".to_owned(), None),
    ] {
        let part: Vec<&str> = part.map_or(Vec::new(), |part| vec!["--part", part]);
        let check = |program: &str, arguments: &[&str]| {
            let arguments = [arguments, &part, &["--salt", salt]].concat();
            let output = Command::new(program).args(&arguments).current_dir(elsewhere.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        };
        let tabellion = env!("CARGO_BIN_EXE_tabellion");
        check(tabellion, &["verify", "--original", file, "--vkey", "key", "proof"]);
        check(tabellion, &["verify", "--original", file, "entry.json"]);
        check("python3", &[python.to_str().unwrap(), "--exact", file, "--proof", "proof", "--vkey", "key"]);
        check("python3", &[python.to_str().unwrap(), "--exact", file, "--entry", "entry.json"]);
    }
}

#[test]
fn nothing_is_shown_that_is_not_recorded_and_nothing_that_is_not_exact() {
    let place = Place::new("always");
    let mut server = place.start();
    let body = said(&[("user", NAME)], false);
    let answer = send(&server, &body);
    published(&place, &answer);
    // The log cannot be written.
    server.limit_file_bytes(Some(0));
    let shown = place.ends(3, &["reveal", &answer.exchange(), "--identity", "officer", "--reason", "x"]);
    assert!(shown.is_empty());
    server.limit_file_bytes(None);
    server.stop();
    // A keyring that was changed: another salt, so that the opened bytes are not those that the entry commits to.
    let path = place.data().with_extension("keys").join("keyring.db");
    let good = std::fs::read(&path).unwrap();
    let key = keyring::nodes(&place.data()).swap_remove(0);
    let mut bad = good.clone();
    let at = good.windows(32).position(|window| window == key).unwrap();
    bad[at] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let looks = place.custody("custody.reveal").len();
    let shown = place.ends(1, &["reveal", &answer.exchange(), "--identity", "officer", "--reason", "x"]);
    assert!(shown.is_empty());
    assert_eq!(place.custody("custody.reveal").len(), looks, "what was not shown was not revealed");
    // A header that was changed.
    let header = keyring::headers(&place.data()).swap_remove(0).1;
    let at = good.windows(60).position(|window| window == &header[60..120]).unwrap();
    let mut bad = good.clone();
    bad[at + 20] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let refused = ["", "--response"].iter().filter(|side| {
        let side: Vec<&str> = side.split_whitespace().collect();
        let output =
            place.run(&[&["reveal", &answer.exchange(), "--identity", "officer", "--reason", "x"], &side[..]].concat());
        output.stdout.is_empty() && output.status.code() != Some(0)
    });
    assert_eq!(refused.count(), 1, "the side whose header it is");
    std::fs::write(&path, &good).unwrap();
    assert_eq!(place.reveal(&answer.exchange(), &[]), body);
}

#[test]
fn only_exchanges_with_a_case_are_sealed_if_so_configured() {
    let place = Place::new("cases");
    let server = place.start();
    let body = said(&[("user", NAME)], false);
    let without = send(&server, &body);
    let with = Request::post("/v1/chat/completions", &*body).header("x-tabellion-case", "C-7").send(server.gateway);
    let (request, response) = published(&place, &without);
    assert!(sealed(&request).is_empty() && sealed(&response).is_empty());
    let (request, response) = published(&place, &with);
    assert!(!sealed(&request).is_empty() && !sealed(&response).is_empty());
    assert_eq!(place.reveal(&with.exchange(), &["--response"]), with.body);
    // By case, and by a person's token: the value is nowhere.
    let person = said(&[("user", EMAIL)], false);
    let about = Request::post("/v1/chat/completions", &*person).header("x-tabellion-case", "C-8").send(server.gateway);
    published(&place, &about);
    place.ends(0, &["erase", "--case", "C-7", "--reason", "the case is closed"]);
    place.ends(1, &["reveal", &with.exchange(), "--identity", "officer", "--reason", "x"]);
    assert_eq!(place.reveal(&about.exchange(), &[]), person);
    place.ends(0, &["erase", "--subject", EMAIL, "--reason", "asked to"]);
    place.ends(1, &["reveal", &about.exchange(), "--identity", "officer", "--reason", "x"]);
    place.nowhere("an address", EMAIL.as_bytes());
    let said = &place.custody("custody.erase")[1]["erase"]["selection"]["subject"];
    assert!(said.as_str().unwrap().starts_with("EMAIL_ADDRESS:"), "{said}");
    for arguments in [
        &["erase", "--case", "C-9", "--reason", "x"][..],
        &["erase", "--subject", "nobody@example.org", "--reason", "x"],
    ] {
        place.ends(1, arguments);
    }
    place.ends(2, &["erase", "--reason", "x"]);
}

#[test]
fn recipients_that_cannot_be_used_are_refused_at_the_start() {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("tabellion.toml");
    let good = officer(&place.path().join("officer"));
    for (text, names) in [
        ("[vault]\nrecipients = [\"age1hunter2\"]\n".to_owned(), "vault.recipients"),
        (format!("[vault]\nrecipients = [\"{good}\", \"age1hunter2\"]\n"), "recipient 2"),
        (
            "[[upstream]]\nname = \"a\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:1\"\nseal = \"always\"\n"
                .to_owned(),
            "upstream.seal of a",
        ),
        (
            format!(
                "[vault]\nrecipients = [\"{good}\"]\n[[upstream]]\nname = \"a\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:1\"\nseal = \"hunter2\"\n"
            ),
            "upstream",
        ),
        ("[vault]\nrecipient = []\n".to_owned(), "vault.recipients"),
    ] {
        std::fs::write(&config, &text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tabellion"))
            .args(["serve", "--config", config.to_str().unwrap(), "--data"])
            .arg(place.path().join("data"))
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {err}");
        assert!(err.contains(names) && !err.contains("hunter2"), "{text}: {err}");
    }
}

#[test]
fn what_was_acknowledged_can_be_revealed_after_any_kill() {
    let place = Place::new("always");
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for round in 0..3 {
        let mut server = place.start();
        let gateway = server.gateway;
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for n in 0.. {
                        let body = said(
                            &[("system", "be brief"), ("user", &format!("{round} {thread} {n} {NAME}"))],
                            n % 2 == 0,
                        );
                        let Ok(answer) = Request::post("/v1/chat/completions", &*body).try_send(gateway) else { break };
                        if answer.status != 200 || answer.body.is_empty() {
                            break;
                        }
                        done.push((answer.exchange(), body));
                    }
                    done
                })
            })
            .collect();
        std::thread::sleep(std::time::Duration::from_millis(700));
        server.kill();
        for thread in threads {
            acknowledged.extend(thread.join().unwrap());
        }
    }
    assert!(acknowledged.len() > 20, "only {}", acknowledged.len());
    let mut server = place.start();
    server.assert_well();
    let log = eventually("everything to be published", || {
        let log = Log::read(&place.data());
        acknowledged.iter().all(|(id, _)| log.request(id).is_some()).then_some(log)
    });
    let headers: std::collections::HashMap<_, _> = keyring::headers(&place.data()).into_iter().collect();
    let mut named = std::collections::HashSet::new();
    for entry in &log.entries {
        for name in sealed(entry) {
            assert!(headers.contains_key(&name), "no key of {name}");
            named.insert(name);
        }
    }
    assert_eq!(named.len(), headers.len(), "keys that nothing came of are dropped");
    for (id, body) in acknowledged.iter().step_by(acknowledged.len() / 4) {
        assert_eq!(&place.reveal(id, &[]), body);
    }
    place.ends(0, &["verify"]);
}

/// The lines that a command printed.
fn line(printed: Vec<u8>) -> String {
    String::from_utf8(printed).unwrap().trim().to_owned()
}

#[test]
fn a_look_and_an_erasure_need_whatever_approval_is_asked_for_and_a_hold_stops_the_erasure() {
    let place = Place { more: "[custody]\napprove = [\"reveal\", \"erase\"]\n", ..Place::new("always") };
    let mut server = place.start();
    let [(first, one), (_, two)] = conversation(&server);
    published(&place, &two);
    let (id, other) = (one.exchange(), two.exchange());
    let here = place.directory.path();
    let openssl = |arguments: &[&str]| {
        assert!(Command::new("openssl").args(arguments).current_dir(here).status().unwrap().success());
    };
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", "bo.pem"]);
    openssl(&["pkey", "-in", "bo.pem", "-pubout", "-out", "bo.pub"]);
    place.ends(0, &["key", "issue", "--role", "officer", "--holder", "Bo", "--public-key", "bo.pub"]);
    let approved = |asked: &[&str]| {
        let request = line(place.ends(0, &[asked, &["--ask"]].concat()));
        line(place.ends(0, &["approve", &request, "--key", "bo.pem", "--reason", "agreed"]))
    };

    let reveal = ["reveal", &id, "--identity", "officer", "--reason", "file 77"];
    assert!(place.ends(1, &reveal).is_empty(), "not without an approval");
    let approval = approved(&reveal);
    for more in [&["--response"][..], &["--part", "0"], &["--salt"]] {
        let shown = place.ends(1, &[&reveal[..], more, &["--approval", &approval]].concat());
        assert!(shown.is_empty(), "{more:?}: an approval is of one look exactly");
    }
    let elsewhere = ["reveal", &other, "--identity", "officer", "--reason", "x", "--approval", &approval];
    assert!(place.ends(1, &elsewhere).is_empty());
    assert_eq!(place.ends(0, &[&reveal[..], &["--approval", &approval]].concat()), first);
    assert!(place.ends(1, &[&reveal[..], &["--approval", &approval]].concat()).is_empty(), "and only once");

    let erase = ["erase", "--id", &id, "--reason", "asked for", "--basis", "GDPR Art. 17(1)(b)"];
    place.ends(1, &erase);
    let approval = approved(&erase);
    let hold = line(place.ends(0, &["hold", "place", "--subject", EMAIL, "--reason", "a dispute"]));
    for running in [true, false] {
        if !running {
            server.stop();
        }
        let refused = place.run(&[&erase[..], &["--approval", &approval]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("the hold {hold} covers the exchange {id}")), "{said}");
    }
    assert!(place.custody("custody.erase").is_empty(), "what is held is not said to be erased");
    place.ends(0, &["hold", "lift", &hold, "--reason", "settled"]);
    place.ends(1, &["erase", "--id", &other, "--reason", "x", "--approval", &approval]);
    place.ends(0, &[&erase[..], &["--approval", &approval]].concat());
    let again = [&reveal[..], &["--ask"]].concat();
    place.ends(1, &again);
    place.ends(0, &["verify"]);
    verify(&place.data());
}

#[test]
fn a_bundle_has_originals_where_asked_and_they_are_what_the_entries_commit_to() {
    let place = Place::new("always");
    let mut server = place.start();
    let [(first, one), (second, two)] = conversation(&server);
    published(&place, &two);
    server.stop();
    let here = place.directory.path();
    let vkey = place.data().join("log.vkey");
    let both = |files: &Files| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let folder = tempfile::tempdir_in(here).unwrap();
        for (name, bytes) in files {
            zip.start_file(format!("b/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let file = folder.path().with_extension("zip");
        std::fs::write(&file, zip.finish().unwrap().into_inner()).unwrap();
        let ours = place.run(&["verify", file.to_str().unwrap(), "--vkey", vkey.to_str().unwrap()]);
        let theirs =
            Command::new("python3").args(["verify.py", ".", "--vkey"]).arg(&vkey).current_dir(folder.path()).output();
        [ours, theirs.unwrap()].map(|output| {
            let said = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
        })
    };
    let export = |more: &[&str]| {
        let ids = ["export", "--id", &one.exchange(), "--id", &two.exchange(), "-o", "b.zip", "--reason", "file 77"];
        place.ends(0, &[&ids[..], more].concat());
        unzip(&here.join("b.zip"))
    };

    let closed = export(&["--sealed"]);
    let pieces = closed.keys().filter(|name| name.starts_with("data/sealed/")).count();
    // Two requests with five different pieces and a frame each; the second answer's are its own, sealed once each.
    assert!(pieces >= 6, "{pieces}");
    for (name, bytes) in &closed {
        assert!(!has(bytes, EMAIL.as_bytes()), "{name}");
    }
    for (code, said) in both(&closed) {
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("{pieces} sealed pieces are those that the entries name")), "{said}");
    }
    assert!(place.custody("custody.reveal").is_empty());

    let opened = export(&["--identity", "officer"]);
    let index: u64 = two.header("x-tabellion-entry").unwrap().parse().unwrap();
    assert_eq!(opened[&format!("data/originals/{index}.bin")], second);
    assert!(opened.values().any(|bytes| *bytes == first));
    assert_eq!(place.custody("custody.reveal").len(), 4, "each is a look");
    for (code, said) in both(&opened) {
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("4 originals are, byte for byte, what the entries commit to"), "{said}");
    }

    let changed = |files: &Files, name: &str| {
        let mut files = files.clone();
        let bytes = files.get_mut(name).unwrap();
        let at = bytes.len() - 2;
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        files
    };
    let sealed = closed.keys().find(|name| name.starts_with("data/sealed/")).unwrap();
    let (bin, salt) = (format!("data/originals/{index}.bin"), format!("data/originals/{index}.salt"));
    let mut strange = opened.clone();
    strange.insert("data/originals/99.bin".to_owned(), b"made up".to_vec());
    for (files, reason) in [
        (changed(&closed, sealed), "is not the sealed piece that an entry names"),
        (changed(&opened, &bin), "is not what the entry commits to with the salt beside it"),
        (changed(&opened, &salt), "is not what the entry commits to with the salt beside it"),
        (strange, "belongs to nothing that the bundle is of"),
    ] {
        for (code, said) in both(&files) {
            assert_eq!(code, 1, "{said}");
            assert!(said.contains(reason), "{reason}: {said}");
        }
    }
    // Nobody else opens them.
    let ids = ["export", "--id", &one.exchange(), "-o", "c.zip", "--reason", "x", "--identity", "other"];
    place.ends(2, &ids);
    assert!(!here.join("c.zip").exists());
}
