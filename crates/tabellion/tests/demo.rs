//! `tabellion demo`, as somebody sees it who pipes it into a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the demo's applications say, and nothing on the disk may.
const PLANTED: [&str; 8] = [
    "maria.hernandez@example.com",
    "415 555 0132",
    "4111 1111 1111 1111",
    "4111111111111111",
    "536-22-8045",
    "sam.okafor@example.net",
    "219-09-7316",
    "standin-key-7f2e91c04b",
];

fn tabellion(arguments: &[&str], temporary: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tabellion"))
        .args(arguments)
        .env("TMPDIR", temporary)
        // A demo must not come near a log or keys that are in use.
        .env("TABELLION_DATA", "/nonexistent/data")
        .env("TABELLION_KEYS", "/nonexistent/keys")
        .output()
        .expect("the binary was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it prints UTF-8")
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn everything_that_the_demo_claims_holds_and_the_log_that_it_leaves_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let (data, temporary) = (directory.path().join("data"), directory.path().join("tmp"));
    std::fs::create_dir(&temporary).unwrap();
    let data_text = data.to_str().unwrap();

    // The second one adds to what the first one left.
    for _ in 0..2 {
        let output = tabellion(&["demo", "--data", data_text, "--exit"], &temporary);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
        assert_eq!(err, "");
        assert!(!out.contains('\x1b'), "no escape codes in a file: {out}");
        for line in [
            "1. A script asks a model",
            "2. A customer-support chatbot, case C-1042, streamed",
            "3. A model decides on a loan, case L-2077",
            "4. What is on the disk",
            "  $ tabellion search --case C-1042",
            "6. Verifying everything",
            "8. Proving one exchange",
            "9. What an examiner receives",
            "with a page taken out: NOT VERIFIED",
            "All of it held. Next",
            "client = OpenAI(base_url=\"http://127.0.0.1:8600/v1\")",
        ] {
            assert!(out.contains(line), "no `{line}` in\n{out}");
        }
        // The loan's content, and its entry.
        assert_eq!(out.matches("verify finds it: NOT VERIFIED").count(), 2, "{out}");
        assert!(!out.contains("NOT SO"), "{out}");
        // All but commands to be copied fits a narrow terminal.
        let long = out.lines().find(|line| line.chars().count() > 80 && !line.contains(data_text));
        assert_eq!(long, None);
    }

    let mut found = Vec::new();
    files(directory.path(), &mut found);
    assert!(found.iter().any(|path| path.starts_with(data.join("content"))));
    for path in &found {
        let bytes = std::fs::read(path).unwrap();
        for planted in PLANTED {
            let there = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            assert!(!there, "{planted} is in {}", path.display());
        }
    }
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "the copy and the proof are removed");

    let verified = tabellion(&["verify", data_text], &temporary);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
}

#[test]
fn a_demo_leaves_nothing_behind_unless_it_is_told_where() {
    let temporary = tempfile::tempdir().unwrap();
    let output = tabellion(&["demo", "--exit"], temporary.path());
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_demo_does_not_touch_a_log_that_is_not_its_own() {
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let key = "example.org/log+6fb0f9d2+AR3T9RZ1vBBAWtzR/d5Rsl1xDmpb3j8sCxtn9a1G4mXA\n";
    std::fs::write(data.join("log.vkey"), key).unwrap();
    let output = tabellion(&["demo", "--data", data.to_str().unwrap(), "--exit"], temporary.path());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("a log that is not a demo's"));
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
}

#[test]
fn surroundings_that_fail_are_not_called_a_defect() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = tabellion(&["demo", "--data", file.join("data").to_str().unwrap(), "--exit"], temporary.path());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    // A directory for temporary files that is not there.
    let output = tabellion(&["demo", "--exit"], &file.join("tmp"));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}
