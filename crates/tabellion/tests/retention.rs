//! What happens when the time of an exchange is over: its content goes, from every file, and all that can be proved stays.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret as _;
use common::{Log, PATIENCE, Received, Request, Server, Setup, Upstream, eventually, files, has, keyring, verify};
use serde_json::{Value, json};

/// Answers with the last message, turned around.
fn answer(received: Received, stream: &mut std::net::TcpStream) -> bool {
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let said = body["messages"].as_array().and_then(|said| said.last()?["content"].as_str()).unwrap_or_default();
    let said: String = said.chars().rev().collect();
    let body = json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]});
    let body = body.to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).is_ok()
}

struct Place {
    directory: tempfile::TempDir,
    upstream: Upstream,
    recipient: String,
}

/// Cards go at once, and so do cases that are called so; nothing else ever does.
const RULES: &str = "[[retention.rule]]\ncase = \"quick-*\"\nkeep = \"1s\"\n\
                     [[retention.rule]]\nentity = \"CREDIT_CARD\"\nkeep = \"1s\"\n";

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let officer = format!("{}\n", identity.to_string().expose_secret());
        std::fs::write(directory.path().join("officer"), officer).unwrap();
        let recipient = identity.to_public().to_string();
        Self { directory, upstream: Upstream::start(answer), recipient }
    }

    fn here(&self) -> &Path {
        self.directory.path()
    }

    fn data(&self) -> PathBuf {
        self.here().join("data")
    }

    fn start(&self, rules: &str) -> Server {
        let config = format!(
            "[custody]\napprove = []\n{rules}[vault]\nrecipients = [\"{}\"]\n[[upstream]]\nname = \"openai\"\n\
             kind = \"openai\"\nurl = \"{}\"\ndefault = true\nseal = \"always\"\n",
            self.recipient,
            self.upstream.url(),
        );
        Setup::new(&self.data(), &self.upstream.url()).configured(&config).start()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tabellion"))
            .args(arguments)
            .args(["--config", "data.toml", "--data", "data"])
            .current_dir(self.here())
            .output()
            .unwrap()
    }

    /// Asserts that a command ends so; gives what it printed, or said.
    #[track_caller]
    fn ends(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {err}{out}");
        if code == 0 { out } else { err }
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.ends(0, &[arguments, &["--json"]].concat());
        out.lines().map(|line| serde_json::from_str(line).unwrap()).next().unwrap_or_default()
    }

    fn found(&self, arguments: &[&str]) -> usize {
        let output = self.command(&[&["search"][..], arguments, &["--json"]].concat());
        assert!([Some(0), Some(1)].contains(&output.status.code()), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().count()
    }

    /// The files in which a word is, of those that the server writes.
    fn holding(&self, word: &str) -> Vec<PathBuf> {
        let all = [files(&self.data()), files(&self.data().with_extension("keys"))].concat();
        all.into_iter().filter(|(_, bytes)| has(bytes, word.as_bytes())).map(|(path, _)| path).collect()
    }

    /// Waits until words are in no file.
    #[track_caller]
    fn gone(&self, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while let Some(word) = words.iter().find(|word| !self.holding(word).is_empty()) {
            assert!(Instant::now() < deadline, "{word} is still in {:?}", self.holding(word));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All that is there is right, as the product says, and the verifier that shares no code with it.
    #[track_caller]
    fn verifies(&self) -> String {
        let vkey = self.data().join("log.vkey");
        let said = self.ends(0, &["verify", "--vkey", vkey.to_str().unwrap()]);
        verify(&self.data());
        said
    }
}

/// Has a conversation recorded; gives its exchange.
fn say(server: &Server, case: Option<&str>, messages: &[&str]) -> String {
    let messages: Vec<Value> = messages.iter().map(|text| json!({"role": "user", "content": text})).collect();
    let body = json!({"model": "m", "messages": messages}).to_string();
    let mut request = Request::post("/v1/chat/completions", body);
    if let Some(case) = case {
        request = request.header("x-tabellion-case", case);
    }
    let answer = request.send(server.gateway);
    assert_eq!(answer.status, 200);
    answer.exchange()
}

#[test]
fn what_is_no_longer_kept_goes_from_every_file_and_everything_still_verifies() {
    let place = Place::new();
    let mut server = place.start(RULES);
    let first = say(&server, Some("quick-1"), &["the zebrafish is shared"]);
    let second = say(&server, Some("quick-1"), &["the zebrafish is shared", "the pelargonium is not"]);
    let slow = say(&server, Some("slow-1"), &["the zebrafish is shared", "a kept marmoset"]);
    let card = say(&server, None, &["my card 4111 1111 1111 1111 and a tourmaline"]);
    let held = say(&server, Some("quick-2"), &["a held cassowary"]);
    place.ends(0, &["hold", "place", "--case", "quick-2", "--reason", "suit"]);
    assert_eq!(place.found(&["pelargonium"]), 1, "it is in the index");
    std::thread::sleep(Duration::from_secs(1));

    let foreseen = place.json(&["expire", "--dry-run"]);
    assert_eq!(foreseen["rules"][0]["exchanges"], 2, "{foreseen}");
    assert_eq!((&foreseen["rules"][1]["exchanges"], &foreseen["held"]), (&json!(1), &json!(1)));
    assert!(Log::read(&place.data()).entries.iter().all(|entry| entry["kind"] != "custody.expire"));

    let outcome = place.json(&["expire", "--reason", "spring cleaning"]);
    assert_eq!((&outcome["exchanges"], &outcome["held"]), (&json!(3), &json!(1)), "{outcome}");
    place.gone(&["pelargonium", "muinograleped", "tourmaline"]);
    for word in ["zebrafish", "marmoset", "cassowary"] {
        assert!(!place.holding(word).is_empty(), "{word} is kept");
    }
    let said = place.verifies();
    assert!(said.contains("content of 5 entries was removed, as entries"), "{said}");

    // What the log says of it.
    let log = Log::read(&place.data());
    let says: Vec<&Value> = log.entries.iter().filter(|entry| entry["kind"] == "custody.expire").collect();
    assert_eq!(says.len(), 2, "one for each rule");
    assert_eq!(says[0]["erase"]["selection"], json!({"rule": "1", "case": "quick-*", "keep": "1s"}));
    assert_eq!(
        (&says[0]["why"], says[0]["erase"]["entries"].as_array().unwrap().len()),
        (&json!("spring cleaning"), 1)
    );
    let policy = log.entries.iter().find(|entry| entry["kind"] == "custody.policy.change").unwrap();
    assert_eq!(policy["act"]["details"]["retention.1"], "case quick-*, keep 1s");

    let chain = place.ends(0, &["case", "custody", "quick-1", "--json"]);
    let chain: Vec<Value> = chain.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expiry = chain.iter().find(|link| link["kind"] == "custody.expire").expect("it is in the case's chain");
    assert_eq!((&expiry["what"]["entries"], &expiry["what"]["selection"]["keep"]), (&json!(4), &json!("1s")));

    // What is left of an exchange.
    let shown = place.json(&["show", &second]);
    assert!(shown["request"]["expired"].is_u64() && shown["request"]["proven"] == true, "{shown}");
    assert!(shown["request"]["parts"].as_array().unwrap().iter().any(|part| part["text"].is_null()));
    let shown = place.ends(0, &["show", &first]);
    assert!(shown.contains("its time was over") && shown.contains("(removed)"), "{shown}");
    assert_eq!((place.found(&["--case", "quick-1"]), place.found(&["pelargonium"])), (2, 0));
    assert_eq!(place.found(&["marmoset"]), 1);
    let gone = place.ends(1, &["reveal", &second, "--identity", "officer", "--reason", "x", "--output", "gone"]);
    assert!(gone.contains("was erased"), "{gone}");
    place.ends(0, &["reveal", &slow, "--identity", "officer", "--reason", "x", "--output", "kept"]);
    assert!(has(&std::fs::read(place.here().join("kept")).unwrap(), b"the zebrafish is shared"));

    // An examiner's bundle, and a report.
    place.ends(0, &["export", "--id", &second, "--reason", "x", "-o", "second.zip"]);
    let vkey = place.data().join("log.vkey");
    let vkey = vkey.to_str().unwrap();
    let said = place.ends(0, &["verify", "second.zip", "--vkey", vkey]);
    assert!(said.contains("says that it had expired"), "{said}");
    let mut unzip = Command::new("python3");
    let unzip = unzip.args(["-m", "zipfile", "-e", "second.zip", "out"]).current_dir(place.here());
    assert!(unzip.status().unwrap().success());
    let bag = std::fs::read_dir(place.here().join("out")).unwrap().next().unwrap().unwrap().path();
    let mut script = Command::new("python3");
    let script = script.arg(bag.join("verify.py")).args(["--vkey", vkey]).arg(&bag).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stdout));
    place.ends(0, &["case", "report", "--case", "quick-1", "--reason", "x", "-o", "report"]);
    let rows = std::fs::read_to_string(place.here().join("report/decisions.csv")).unwrap();
    assert!(rows.lines().next().unwrap().ends_with(",removed_by"), "{rows}");
    let expiry = says[0]["seq"].as_u64().unwrap();
    assert_eq!(rows.lines().skip(1).filter(|row| row.ends_with(&format!(",{expiry}"))).count(), 2, "{rows}");
    assert!(std::fs::read_to_string(place.here().join("report/report.md")).unwrap().contains("the time was over"));

    // The conversation goes on: what went is stored again, also where it was remembered as stored.
    let again = say(&server, Some("slow-1"), &["the zebrafish is shared", "the pelargonium is not"]);
    eventually("the exchange", || (place.found(&["pelargonium"]) == 1).then_some(()));
    let shown = place.json(&["show", &again]);
    assert!(shown["request"]["parts"].as_array().unwrap().iter().all(|part| part["text"].is_string()), "{shown}");
    place.verifies();

    // A hold that is lifted holds nothing; and by now no server is needed.
    let hold = place.json(&["hold", "list"])["hold"].as_str().unwrap().to_owned();
    place.ends(0, &["hold", "lift", &hold, "--reason", "settled"]);
    server.stop();
    let outcome = place.json(&["expire"]);
    assert_eq!((&outcome["exchanges"], &outcome["held"]), (&json!(1), &json!(0)), "{outcome}");
    assert_eq!(place.json(&["show", &held])["request"]["parts"][1]["text"], Value::Null);
    assert!(place.holding("cassowary").is_empty(), "{:?}", place.holding("cassowary"));
    assert_eq!(place.found(&["cassowary"]), 0);
    assert_eq!(place.json(&["show", &card])["response"]["parts"][1]["text"], Value::Null);
    place.verifies();

    // A start looks by itself. Nothing that is kept has lost its salts.
    let mut server = place.start(RULES);
    let last = say(&server, Some("quick-9"), &["a last quokka"]);
    server.stop();
    std::thread::sleep(Duration::from_secs(1));
    let mut server = place.start(RULES);
    eventually("the round at the start", || place.json(&["show", &last])["request"]["expired"].is_u64().then_some(()));
    place.gone(&["quokka"]);
    server.stop();
    place.verifies();
    for (id, kept) in [(&slow, true), (&again, true), (&first, false), (&last, false), (&held, false)] {
        assert_eq!(keyring::salt(&place.data(), id, 0).is_some(), kept, "{id}");
    }
}

#[test]
fn rules_that_keep_too_little_are_refused_and_a_change_is_on_the_record() {
    let place = Place::new();
    let with = |text: &str| {
        std::fs::write(place.here().join("data.toml"), text).unwrap();
        place.ends(2, &["expire"])
    };
    place.start("").stop();
    assert!(with("").contains("kept for ever"));
    for (text, said) in [
        ("[[retention.rule]]\nkeep = \"soon\"\n", "retention.rule.keep"),
        ("[[retention.rule]]\nkeep = \"0d\"\n", "retention.rule.keep"),
        ("[[retention.rule]]\nkept = \"1d\"\n", "retention.rule.keep"),
        ("[retention]\npreset = \"eu-ai-act\"\n[[retention.rule]]\nkeep = \"180d\"\n", "6 months"),
    ] {
        let refused = with(text);
        assert!(refused.contains(said), "{refused}");
    }
    place.start("[retention]\npreset = \"eu-ai-act\"\n[[retention.rule]]\nkeep = \"6 months\"\n").stop();
    place.start("").stop();
    let log = Log::read(&place.data());
    let changes = log.entries.iter().filter(|entry| entry["kind"] == "custody.policy.change");
    let said: Vec<&Value> = changes.filter_map(|entry| entry["act"].get("details")).collect();
    assert_eq!(said, [&json!({"retention.1": "keep 6 months"}), &json!({"retention": "everything is kept for ever"})]);
    place.verifies();
}
