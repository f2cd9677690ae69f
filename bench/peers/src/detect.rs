//! `tabellion-detect` itself.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::texts::{rate, read_texts};
use cpu_time::ProcessTime;
use tabellion_detect::{Context, Engine, Finding, Pseudonyms, Query, Redactor, Set};

/// What a program may hold that nobody else should.
const SECRETS: [&str; 5] = ["API_KEY", "PASSWORD", "PRIVATE_KEY", "JWT", "CONNECTION_STRING"];
/// Larger files are data; none of a project's sources or documents is.
const FILE_BYTES_MAX: u64 = 4 << 20;
const HOSTILE_BYTES: usize = 128 << 10;

const SETS: [(&str, Set); 2] = [("default", Set::Default), ("all", Set::All)];

pub struct Detect(Vec<(&'static str, Redactor)>);

impl Detect {
    pub fn new() -> Self {
        let redactor = |set| Redactor::new(Arc::new(Engine::embedded(set)), Pseudonyms::new([7; 32]));
        Self(SETS.map(|(name, set)| (name, redactor(set))).into())
    }

    pub fn rates(&self, texts: &[String], bodies: &[String], seconds: Duration, say: impl Fn(&str, (f64, usize))) {
        for (set, redactor) in &self.0 {
            let engine = redactor.engine();
            let scanned = rate(texts, seconds, |texts| {
                texts.iter().map(|text| black_box(engine.scan(text, Context::NONE)).len()).sum()
            });
            say(&format!("detect {set}: found"), scanned);
            let redacted = rate(texts, seconds, |texts| {
                texts.iter().filter(|text| black_box(redactor.text(text)).text != **text).count()
            });
            say(&format!("detect {set}: found and redacted"), redacted);
            let written = rate(bodies, seconds, |bodies| {
                bodies.iter().filter(|body| black_box(redactor.json(body)).is_some()).count()
            });
            say(&format!("detect {set}: JSON bodies"), written);
        }
    }
}

pub fn start() {
    for (name, set) in SETS {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = ProcessTime::now();
            black_box(Engine::embedded(set));
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{}", serde_json::json!({ "set": name, "start_ms": best * 1e3 }));
    }
}

/// What is found in each kind of text, by entity; and, so that it can be judged, each finding of the clean ones.
pub fn findings(folder: &Path) {
    for (name, set) in SETS {
        let engine = Engine::embedded(set);
        for kind in ["chat", "prose", "logs", "code"] {
            let texts = read_texts(&folder.join(format!("{kind}.texts")));
            let mut entities: BTreeMap<String, usize> = BTreeMap::new();
            let mut list = Vec::new();
            for text in &texts {
                for found in engine.scan(text, Context::NONE) {
                    *entities.entry(found.entity.to_string()).or_default() += 1;
                    if kind != "chat" {
                        list.push(serde_json::json!({
                            "recognizer": &*found.pattern, "score": found.score, "around": around(text, &found),
                        }));
                    }
                }
            }
            let bytes: usize = texts.iter().map(String::len).sum();
            println!(
                "{}",
                serde_json::json!({ "set": name, "text": kind, "bytes": bytes, "entities": entities, "findings": list })
            );
        }
    }
}

/// The line's part that shows what was found. These texts are public or made up, so the value may be seen.
fn around(text: &str, found: &Finding) -> String {
    let start = text.floor_char_boundary(found.start.saturating_sub(40));
    let end = text.ceil_char_boundary((found.end + 20).min(text.len()));
    let part = |from: usize, to: usize| text[from..to].replace(['\n', '\r', '\t'], " ");
    format!("{}⟦{}⟧{}", part(start, found.start), part(found.start, found.end), part(found.end, end))
}

/// Nanoseconds a byte for texts that could be expensive.
pub fn hostile() {
    let redactors = Detect::new();
    let random: String = {
        // Base64 without an end: xorshift, so that it is the same everywhere.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(alphabet[(state >> 58) as usize])
        };
        (0..HOSTILE_BYTES).map(|_| next()).collect()
    };
    let digits: String = random.bytes().map(|byte| char::from(b'0' + byte % 10)).collect();
    let hex: String = random.bytes().map(|byte| char::from(b"0123456789abcdef"[usize::from(byte % 16)])).collect();
    let groups = |size: usize, between: &str| -> String {
        let parts: Vec<&str> =
            digits.as_bytes().chunks(size).map(|part| std::str::from_utf8(part).expect("ASCII")).collect();
        parts.join(between)
    };
    let words = |size: usize| -> String {
        let parts: Vec<&str> =
            random.as_bytes().chunks(size).map(|part| std::str::from_utf8(part).expect("ASCII")).collect();
        parts.join(" ")
    };
    let repeated = |unit: &str| unit.repeat(HOSTILE_BYTES / unit.len());
    let texts = [
        ("dots", repeated(".")),
        ("ones", repeated("1")),
        ("digits", digits.clone()),
        ("digits in threes, spaces", groups(3, " ")),
        ("digits in fours, hyphens", groups(4, "-")),
        ("digits in twos, dots", groups(2, ".")),
        ("digits in nines, spaces", groups(9, " ")),
        ("digits in elevens, commas", groups(11, ",")),
        ("digits in sixteens, lines", groups(16, "\n")),
        ("hexadecimal", hex.clone()),
        (
            "hexadecimal in pairs, colons",
            hex.as_bytes().chunks(2).map(|p| format!("{}{}:", p[0] as char, p[1] as char)).collect(),
        ),
        ("base64", random.clone()),
        ("base64 in lines", words(76).replace(' ', "\n")),
        ("base64 in words of 20", words(20)),
        ("base64 in words of 10", words(10).to_uppercase()),
        ("@", repeated("@")),
        ("a@", repeated("a@")),
        ("a@a.", repeated("a@a.")),
        ("a.b@", repeated("a.b@c.de.")),
        ("addresses", repeated("x@y.com ")),
        ("addresses in numbers", repeated("1.1.1.1 ")),
        ("[", repeated("[")),
        ("[ nested as JSON", format!("{}{}", "[".repeat(HOSTILE_BYTES / 2), "]".repeat(HOSTILE_BYTES / 2))),
        ("{\"a\":", repeated("{\"a\":")),
        ("(4", repeated("(4")),
        ("+1 ", repeated("+1 ")),
        (":", repeated(":")),
        ("=", repeated("=")),
        ("a:", repeated("a:")),
        ("a=", repeated("a=")),
        ("password=", repeated("password=")),
        ("password: ", repeated("password: ")),
        ("secret=a", repeated("secret=a")),
        ("token ", repeated("token ")),
        ("bearer ", repeated("bearer ")),
        ("://a:", repeated("://a:")),
        ("http://a:b@", repeated("http://a:b@")),
        ("-----BEGIN PRIVATE KEY-----", repeated("-----BEGIN PRIVATE KEY-----")),
        ("-----BEGIN PRIVATE KEY----- in lines", repeated("-----BEGIN PRIVATE KEY-----\n")),
        ("-", repeated("-")),
        ("%", repeated("%")),
        ("%41", repeated("%41")),
        ("%25", repeated("%25")),
        ("%e2%80%8b", repeated("%e2%80%8b")),
        ("eyJ-", repeated("eyJ-")),
        (".eyJ", repeated(".eyJ")),
        ("sk-", repeated("sk-")),
        ("AKIA", repeated("AKIA")),
        ("ghp_", repeated("ghp_")),
        ("DE89 ", repeated("DE89 ")),
        ("name ", repeated("name ")),
        ("born on 1/2/", repeated("born on 1/2/")),
        ("12 Main Street ", repeated("12 Main Street ")),
        ("415-555-0132 ", repeated("415-555-0132 ")),
        ("phone 12345678 ", repeated("phone 12345678 ")),
        ("4111111111111111 ", repeated("4111111111111111 ")),
        ("zero-width", repeated("\u{200b}")),
        ("1 and zero-width", repeated("1\u{200b}")),
        ("full-width digits", repeated("４")),
        ("\\", repeated("\\")),
        ("\\u0031", repeated("\\u0031")),
        ("\\u0031 as JSON", format!("\"{}\"", repeated("\\u0031"))),
        ("&#49;", repeated("&#49;")),
    ];
    for (name, text) in texts {
        let mut row = serde_json::json!({ "text": name });
        for (set, redactor) in &redactors.0 {
            let scanned = nanoseconds_a_byte(&text, || black_box(redactor.engine().scan(&text, Context::NONE)).len());
            let redacted = nanoseconds_a_byte(&text, || black_box(redactor.text(&text)).text.len());
            // As a body, and as a string in one.
            let body = serde_json::json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
            let bare = nanoseconds_a_byte(&text, || usize::from(black_box(redactor.json(&text)).is_some()));
            let inside = nanoseconds_a_byte(&body, || usize::from(black_box(redactor.json(&body)).is_some()));
            row[set] =
                serde_json::json!({ "found": scanned, "redacted": redacted, "as_json": bare, "in_json": inside });
        }
        println!("{row}");
    }
}

/// The better of two runs; of one, if that is already slow.
fn nanoseconds_a_byte(text: &str, mut run: impl FnMut() -> usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..2 {
        let begun = Instant::now();
        let start = ProcessTime::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        if begun.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    best * 1e9 / text.len() as f64
}

/// Each secret that is reported in the text files below the folders, masked; and a line with what was read.
pub fn secrets(folders: &[&str]) {
    let engine = Engine::embedded(Set::Default);
    let query = Query { entities: Some(&SECRETS), ..Query::default() };
    for folder in folders {
        let (mut files, mut bytes, mut hits) = (0_u64, 0_u64, 0_u64);
        let mut waiting = vec![PathBuf::from(folder)];
        while let Some(path) = waiting.pop() {
            let Ok(about) = path.symlink_metadata() else { continue };
            if about.is_dir() {
                if path.file_name().is_none_or(|name| name != ".git") {
                    let mut inside: Vec<PathBuf> =
                        path.read_dir().into_iter().flatten().flatten().map(|entry| entry.path()).collect();
                    inside.sort_unstable_by(|a, b| b.cmp(a));
                    waiting.extend(inside);
                }
                continue;
            }
            if !about.is_file() || about.len() > FILE_BYTES_MAX {
                continue;
            }
            // What is not UTF-8 is an image, an archive or a program.
            let Some(text) = std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
                continue;
            };
            files += 1;
            bytes += text.len() as u64;
            for found in engine.analyze(&text, &query) {
                hits += 1;
                let line = text[..found.start].matches('\n').count() + 1;
                println!(
                    "{}",
                    serde_json::json!({
                        "file": path, "line": line, "entity": &*found.entity, "recognizer": &*found.pattern,
                        "score": found.score, "masked": masked(&text[found.start..found.end]),
                    })
                );
            }
        }
        println!("{}", serde_json::json!({ "folder": folder, "files": files, "bytes": bytes, "hits": hits }));
    }
}

/// Enough to see what it is, and too little to use it.
fn masked(value: &str) -> String {
    let shown: String = value.chars().take(4.min(value.chars().count() / 2)).collect();
    format!("{shown}… ({} characters)", value.chars().count())
}
