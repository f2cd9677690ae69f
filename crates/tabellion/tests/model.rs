//! The user's own model in the pipeline: asked where the depth of a route says so, before anything is stored; within its
//! time; and what its failure does. And what a program says that was built without it.

mod common;

#[cfg(feature = "model")]
#[path = "../../model/examples/toy/making.rs"]
mod making;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Setup, StandIn};

struct Place {
    _directory: tempfile::TempDir,
    data: PathBuf,
    model: PathBuf,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let (data, model) = (directory.path().join("data"), directory.path().join("model"));
    Place { _directory: directory, data, model }
}

fn configuration(place: &Place, text: &str) -> PathBuf {
    let path = place.data.with_extension("toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn run(place: &Place, arguments: &[&str], config: Option<&Path>, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tabellion"));
    command.args(arguments).current_dir(place.data.parent().unwrap());
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command says that ends with a failure of its caller's.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_model_is_configured_and_asked_for_or_neither() {
    let place = place();
    let serve = |text: &str| refused(&run(&place, &["serve"], Some(&configuration(&place, text)), ""));
    let upstream = "[[upstream]]\nname = \"x\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:9\"\n";
    let said = serve(&format!("{upstream}depth = \"model\""));
    assert!(said.contains("`model.path` must be the directory of a model"), "{said}");
    let said = serve(&format!("{upstream}depth = \"deep\""));
    assert!(said.contains("depth (fast, text, tagger, model)"), "{said}");
    let said = refused(&run(&place, &["detect", "--depth", "model"], None, "call Quill"));
    assert!(said.contains("no model is configured"), "{said}");
    for (text, wrong) in [
        ("name = \"a b\"", "model.name"),
        ("min_score = 2.0", "model.min_score"),
        ("timeout_ms = 0", "model.timeout_ms"),
        ("labels = { PER = 1 }", "model.labels"),
        ("on_failure = \"x\"", "model.on_failure"),
        ("aggregation = \"mean\"", "model.aggregation"),
    ] {
        let said = serve(&format!("[model]\n{text}"));
        assert!(said.contains(&format!("the setting `{wrong}")), "{said}");
    }
}

#[test]
fn depths_are_chosen_by_route_and_by_command() {
    let place = place();
    let text = "My name is Oluwaseun Adebayo; write to jo@example.com";
    let found = |depth: &str| {
        let output = run(&place, &["detect", "--depth", depth], None, text);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        (text.contains("EMAIL_ADDRESS"), text.contains("\"tagger-person\""))
    };
    assert_eq!(found("fast"), (true, false));
    assert_eq!(found("tagger"), (true, true));
    let output = run(&place, &["redact", "--depth", "tagger"], None, text);
    assert!(!String::from_utf8(output.stdout).unwrap().contains("Adebayo"));

    // The same part on two routes: what one depth made of it is not taken for what another would.
    let provider = StandIn::start();
    let url = format!("http://{}", provider.address);
    let upstream = |name: &str, more: &str| {
        format!("[[upstream]]\nname = \"{name}\"\nkind = \"openai\"\nurl = \"{url}\"\n{more}\n")
    };
    let text = upstream("fast", "") + &upstream("deep", "depth = \"tagger\"");
    let mut server = Setup::new(&place.data, &url).configured(&text).start();
    let mut policies = Vec::new();
    for (route, names) in [("fast", 0), ("deep", 1), ("fast", 0), ("deep", 1)] {
        let path = format!("/{route}/v1/chat/completions");
        let body = common::chat("gpt-4o", "My name is Oluwaseun Adebayo, what is the weather?", false);
        let answer = common::Request::post(&path, body).header("content-type", "application/json").send(server.gateway);
        assert_eq!(answer.status, 200);
        let (request, _) = common::Log::exchange(&place.data, &answer.exchange());
        let findings = &request["redaction"]["findings"];
        assert_eq!(
            findings.get("PERSON").and_then(serde_json::Value::as_u64).unwrap_or(0),
            names,
            "{route}: {request}"
        );
        let content = common::Log::read(&place.data).content(&request);
        assert_eq!(common::has(&content, b"Adebayo"), names == 0, "{route}");
        policies.push(request["redaction"]["policy"].clone());
    }
    assert_eq!(policies[..2], policies[2..]);
    assert_ne!(policies[0], policies[1], "an entry names the rules of its route");
    server.stop();
    common::verify(&place.data);
}

#[cfg(not(feature = "model"))]
#[test]
fn a_program_without_models_says_how_to_build_one_that_has_them() {
    let place = place();
    let text = format!("[model]\npath = {:?}\n[presidio]\ndepth = \"model\"\n", place.model);
    let config = configuration(&place, &text);
    for arguments in [&["serve"][..], &["detect", "--depth", "model"], &["redact", "--depth", "model"]] {
        let said = refused(&run(&place, arguments, Some(&config), "x"));
        assert!(
            said.contains("without the feature `model`") && said.contains("cargo build --release --features model"),
            "{said}"
        );
    }
}

#[cfg(feature = "model")]
mod with_a_model {
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::common::{Answer, Log, Request, Server, StandIn, files, has, verify};
    use super::*;

    /// Names that neither rules nor the tagger find here; in another place each is a word like any other.
    const SAID: &str = "😀 please put tuzo in my flat. Is a quill a pen?";

    /// A provider, and a gateway whose upstream `deep` asks the model and whose `flat` does not.
    fn start(place: &Place, model: &str) -> (StandIn, Server) {
        making::write(&place.model, "bert");
        let provider = StandIn::start();
        let url = format!("http://{}", provider.address);
        let upstream = |name: &str, depth: &str| {
            format!("[[upstream]]\nname = \"{name}\"\nkind = \"openai\"\nurl = \"{url}\"\ndepth = \"{depth}\"\n")
        };
        let text = format!(
            "{}{}[model]\npath = {:?}\nname = \"toy\"\n{model}\n",
            upstream("deep", "model"),
            upstream("flat", "tagger"),
            place.model
        );
        let server = Setup::new(&place.data, &url).configured(&text).start();
        (provider, server)
    }

    fn ask(server: &Server, route: &str, text: &str) -> Answer {
        Request::post(&format!("/{route}/v1/chat/completions"), super::common::chat("gpt-4o", text, false))
            .header("content-type", "application/json")
            .send(server.gateway)
    }

    fn metrics(server: &Server) -> String {
        Request::get("/metrics").send(server.console).text()
    }

    #[test]
    fn what_only_the_model_finds_is_stored_by_nobody() {
        let place = place();
        let (_provider, mut server) = start(&place, "");
        for turn in 0..2 {
            let answer = Request::post("/deep/v1/chat/completions", super::common::chat("gpt-4o", SAID, false))
                .header("content-type", "application/json")
                .header("x-tabellion-case", "about tuzo")
                .send(server.gateway);
            assert_eq!(answer.status, 200);
            let (request, response) = Log::exchange(&place.data, &answer.exchange());
            let token = request["redaction"]["tokens"][0].as_str().unwrap();
            assert!(token.starts_with("PERSON:"), "{token}");
            let content = String::from_utf8(Log::read(&place.data).content(&request)).unwrap();
            assert!(content.contains(&format!("😀 please put [{token}] in my flat. Is a quill a pen?")), "{content}");
            assert_eq!(request["case"], format!("about [{token}]"), "what a header says is looked at too");
            assert_eq!(request["redaction"]["findings"], json!({"PERSON": 2}));
            assert_eq!(request["redaction"]["external"], json!({"toy": 2}), "turn {turn}: whose it is stays known");
            assert!(request["redaction"].get("external_failures").is_none());
            assert!(response["redaction"]["external"]["toy"].is_number(), "the answer was looked at too");
        }
        assert!(metrics(&server).contains("tabellion_external_failures_total{detector=\"toy\"} 0"));
        server.stop();
        for (path, bytes) in files(&place.data) {
            assert!(!has(&bytes, b"tuzo"), "{}", path.display());
        }
        assert!(!server.said().contains("tuzo"));
        verify(&place.data);
    }

    #[test]
    fn a_route_that_does_not_go_so_deep_does_not_ask_it() {
        let place = place();
        let (_provider, mut server) = start(&place, "");
        // Also not what the other route knows of the same text.
        for (route, expected) in [("flat", Value::Null), ("deep", json!({"toy": 1})), ("flat", Value::Null)] {
            let answer = ask(&server, route, "please put tuzo in my flat");
            let (request, _) = Log::exchange(&place.data, &answer.exchange());
            assert_eq!(request["redaction"]["external"], expected, "{route}");
            let content = Log::read(&place.data).content(&request);
            assert_eq!(has(&content, b"tuzo"), route == "flat", "{route}");
        }
        server.stop();
        verify(&place.data);
    }

    #[test]
    fn without_an_answer_in_time_nothing_goes_upstream() {
        let place = place();
        let (provider, mut server) = start(&place, "timeout_ms = 40\nthreads = 1");
        let text = "please ask tuzo about the flat in oubar. ".repeat(20_000);
        let started = Instant::now();
        let answer = ask(&server, "deep", &text);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(said["error"]["code"], "external_failed");
        assert_eq!(provider.saw(b"tuzo"), 0, "nothing went on");
        let (request, response) = Log::exchange(&place.data, &answer.exchange());
        assert_eq!(request["redaction"]["external_failures"], json!({"toy": "timed_out"}));
        assert_eq!((&response["outcome"], &response["reason"]), (&json!("refused"), &json!("external_failed")));
        assert!(metrics(&server).contains("tabellion_external_failures_total{detector=\"toy\"} 1"));
        server.assert_well();
        server.stop();
        for (path, bytes) in files(&place.data) {
            assert!(!has(&bytes, b"tuzo"), "{}", path.display());
        }
        verify(&place.data);
    }

    #[test]
    fn a_model_that_is_late_may_be_left_out_if_somebody_said_so() {
        let place = place();
        let (_provider, mut server) = start(&place, "timeout_ms = 40\nthreads = 1\non_failure = \"continue\"");
        let text = "please write to anna.kowalska@nordwind-bank.de and ask tuzo. ".repeat(20_000);
        let answer = ask(&server, "deep", &text);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let (request, _) = Log::exchange(&place.data, &answer.exchange());
        assert_eq!(request["redaction"]["external_failures"], json!({"toy": "timed_out"}));
        assert_eq!(request["redaction"]["findings"]["EMAIL_ADDRESS"], 20_000, "ours looks all the same");
        server.stop();
        verify(&place.data);
    }

    #[test]
    fn commands_and_presidios_api_ask_it_too() {
        let place = place();
        making::write(&place.model, "distilbert");
        let text =
            format!("[model]\npath = {:?}\nlabels = {{ LOC = \"\" }}\n[presidio]\ndepth = \"model\"\n", place.model);
        let config = configuration(&place, &text);
        let output = run(&place, &["detect", "--depth", "model"], Some(&config), SAID);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |at: usize| SAID[..at].chars().count();
        let at = SAID.find("tuzo").unwrap();
        assert_eq!((&found["entity"], &found["recognizer"]), (&json!("PERSON"), &json!("model/model")));
        assert_eq!((&found["start"], &found["end"]), (&json!(number(at)), &json!(number(at + 4))));
        let lines =
            "{\"id\": 1, \"text\": \"ask tuzo in oubar\"}\n{\"id\": 2, \"text\": \"tuzo\", \"entities\": [\"URL\"]}\n";
        let output = run(&place, &["detect", "--jsonl", "--depth", "model"], Some(&config), lines);
        let found: Vec<Value> =
            output.stdout.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let count = |line: usize| found[line]["findings"].as_array().unwrap().len();
        assert_eq!((count(0), count(1)), (1, 0), "{found:?}");
        for (format, input) in
            [("text", "ask tuzo."), ("json", "{\"a\": [\"ask tuzo.\"]}"), ("jsonl", "[\"ask tuzo.\"]\n")]
        {
            let output = run(&place, &["redact", "--depth", "model", "--format", format], Some(&config), input);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains("ask [PERSON:") && !text.contains("tuzo"), "{format}: {text}");
        }

        let mut server = Setup::new(&place.data, "http://127.0.0.1:9").configured(&text).start();
        let analyze = |text: &str| -> Value {
            let body = json!({"text": text, "language": "en"}).to_string();
            let answer = Request::post("/presidio/analyze", body)
                .header("content-type", "application/json")
                .send(server.console);
            assert_eq!(answer.status, 200, "{}", answer.text());
            serde_json::from_slice(&answer.body).unwrap()
        };
        let found = analyze(SAID);
        assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
        assert_eq!((&found[0]["entity_type"], &found[0]["start"]), (&json!("PERSON"), &json!(number(at))));
        server.stop();
    }

    #[test]
    fn a_model_that_cannot_be_used_stops_the_start() {
        let place = place();
        making::write(&place.model, "bert");
        let text = format!("[model]\npath = {:?}\n[presidio]\ndepth = \"model\"\n", place.model);
        let config = configuration(&place, &text);
        for (file, bytes, what) in [
            ("model.safetensors", &b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"[..], "model.safetensors"),
            ("tokenizer.json", b"{}", "tokenizer.json"),
            ("config.json", b"{\"model_type\": \"gpt2\"}", "config.json"),
        ] {
            std::fs::write(place.model.join(file), bytes).unwrap();
            let said = refused(&run(&place, &["serve"], Some(&config), ""));
            assert!(said.contains(what) && !said.contains("a defect of ours"), "{said}");
        }
        assert!(files(&place.data).is_empty(), "nothing was begun");
        // One that is in order, and that nobody asks.
        making::write(&place.model, "bert");
        let text = format!("[model]\npath = {:?}\n", place.model);
        let said = refused(&run(&place, &["serve"], Some(&configuration(&place, &text)), ""));
        assert!(said.contains("`model.path` must be left out"), "{said}");
    }
}
