//! The command line as a contract: results on stdout, everything else on stderr, and what exit codes mean.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn tabellion(directory: &Path, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it, which is no failure.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn help_lists_every_command() {
    let here = tempfile::tempdir().unwrap();
    let said = tabellion(here.path(), &["--help"], "");
    assert_eq!(said.code, 0);
    for command in [
        "serve",
        "demo",
        "detect",
        "redact",
        "verify",
        "search",
        "show",
        "prove",
        "export",
        "reveal",
        "erase",
        "keyring",
        "anchor",
        "witness",
        "mirror",
        "doctor",
        "bench",
        "completions",
    ] {
        assert!(said.out.lines().any(|line| line.trim_start().starts_with(command)), "{command} is not listed");
        assert_eq!(tabellion(here.path(), &[command, "--help"], "").code, 0, "{command}");
    }
    assert_eq!(tabellion(here.path(), &["no-such-command"], "").code, 2);
    assert_eq!(tabellion(here.path(), &[], "").code, 2);
    let script = tabellion(here.path(), &["completions", "bash"], "");
    assert!(script.code == 0 && script.out.contains("tabellion") && script.out.contains("prove"));
}

#[test]
fn detect_prints_a_line_a_finding_with_offsets_in_the_unit_that_was_asked_for() {
    let here = tempfile::tempdir().unwrap();
    let text = "\u{1f600} é mail a.person@example.com";
    for (unit, start, end) in [("chars", 9, 29), ("bytes", 13, 33), ("utf16", 10, 30)] {
        let said = tabellion(here.path(), &["detect", "--offsets", unit], text);
        assert_eq!(said.code, 0);
        let found = &lines(&said.out)[0];
        assert_eq!(found["entity"], "EMAIL_ADDRESS");
        assert_eq!((&found["start"], &found["end"]), (&start.into(), &end.into()), "{unit}");
        assert!(found["score"].as_f64().unwrap() >= 0.5 && found["recognizer"].is_string());
    }
    let explained = tabellion(here.path(), &["detect", "--explain"], text);
    assert!(lines(&explained.out)[0]["explanation"].is_string() && !explained.out.contains("a.person"));
    assert_eq!(tabellion(here.path(), &["detect", "--fail"], text).code, 1);
    let nothing = tabellion(here.path(), &["detect", "--fail"], "nothing here");
    assert_eq!((nothing.code, &*nothing.out), (0, ""));
    assert_eq!(tabellion(here.path(), &["detect", "--threshold", "2"], text).code, 2);
    assert_eq!(tabellion(here.path(), &["detect", "no-such-file"], "").code, 3);
}

#[test]
fn detect_answers_a_line_with_a_line() {
    let here = tempfile::tempdir().unwrap();
    let input = "{\"id\":7,\"text\":\"card 4111 1111 1111 1111, mail a@example.com\",\"language\":\"en\",\
                 \"entities\":[\"CREDIT_CARD\"]}\n\n{\"id\":\"b\",\"text\":\"\"}\n";
    let said = tabellion(here.path(), &["detect", "--jsonl"], input);
    assert_eq!(said.code, 0);
    let answers = lines(&said.out);
    assert_eq!(answers.len(), 2);
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&7.into(), &"b".into()));
    let findings = answers[0]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "only the entities that were asked for");
    assert_eq!(findings[0]["entity"], "CREDIT_CARD");
    let wrong = tabellion(here.path(), &["detect", "--jsonl"], "{\"id\":1}\n");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("line 1"), "{}", wrong.err);
}

#[test]
fn redact_keeps_the_structure_and_repeats_no_value() {
    let here = tempfile::tempdir().unwrap();
    let json = "{ \"to\": \"a.person@example.com\", \"n\": [1, 2.50] }";
    let said = tabellion(here.path(), &["redact", "--format", "json"], json);
    assert_eq!(said.code, 0);
    assert!(said.out.starts_with("{ \"to\": \"[EMAIL_ADDRESS:") && said.out.ends_with("\", \"n\": [1, 2.50] }"));
    let text = tabellion(here.path(), &["redact"], "call +1 415 555 2671 or write to a.person@example.com");
    assert!(text.out.contains("[PHONE_NUMBER:") && text.out.contains("[EMAIL_ADDRESS:") && !text.out.contains("2671"));
    let broken = tabellion(here.path(), &["redact", "--format", "jsonl"], "{}\n{\"a\": \"a.person@example.com\"\n");
    assert_eq!(broken.code, 2);
    assert!(broken.err.contains("line 2") && !broken.err.contains("a.person"), "{}", broken.err);
    std::fs::write(here.path().join("rules.toml"), "[[recognizer]]\nname = \"x\"\n").unwrap();
    assert_eq!(tabellion(here.path(), &["redact", "--policy", "rules.toml"], "x").code, 2);
}

#[test]
fn what_is_missing_or_wrong_is_told_by_the_exit_code() {
    let here = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| tabellion(here.path(), arguments, "");
    for arguments in
        [&["verify"][..], &["search", "x"], &["show", "01JDA"], &["prove", "01JDA"], &["verify", "nowhere"]]
    {
        let said = run(arguments);
        assert_eq!(said.code, 3, "{arguments:?}: {}", said.err);
        assert!(said.out.is_empty() && said.err.starts_with("error: "), "{arguments:?}");
    }
    std::fs::write(here.path().join("file"), "no proof").unwrap();
    std::fs::write(here.path().join("tabellion.toml"), "[gateway]\nlisen = \"x\"\n").unwrap();
    for arguments in [
        &["verify", "file"][..],
        &["verify", "--vkey", "no key"],
        &["verify", "--range", "9..3"],
        &["verify", "--quorum", "1"],
        &["verify", "http://127.0.0.1:1/log"],
        &["serve", "--config", "tabellion.toml"],
    ] {
        assert_eq!(run(arguments).code, 2, "{arguments:?}");
    }
    let unknown = run(&["serve", "--config", "tabellion.toml"]);
    assert!(unknown.err.contains("did you mean `gateway.listen`?"), "{}", unknown.err);
    assert!(!here.path().join("tabellion-data").exists(), "a command that fails leaves nothing behind");
}
