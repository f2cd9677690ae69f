//! The contenders that are Rust and in the registry. `tabellion-peers rates DIR SECONDS PATTERNS` prints a line of JSON for each of them
//! and each kind of text; `findings`, `hostile` and `secrets` ask `tabellion-detect` alone.

mod detect;
mod texts;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use regex_automata::hybrid;
use regex_automata::util::syntax;
use texts::{patterns, rate, read_texts, sample};

/// For `redact-core`, which would take a second for each megabyte or two.
const SLOW_BYTES_MAX: usize = 200 << 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["rates", folder, seconds, patterns] => {
            rates(Path::new(folder), Duration::from_secs_f64(seconds.parse().expect("seconds")), patterns);
        }
        ["findings", folder] => detect::findings(Path::new(folder)),
        ["hostile"] => detect::hostile(),
        ["start"] => detect::start(),
        ["secrets", ref folders @ ..] if !folders.is_empty() => detect::secrets(folders),
        _ => {
            eprintln!(
                "usage: tabellion-peers rates DIR SECONDS PATTERNS | findings DIR | hostile | start | secrets DIR…"
            );
            std::process::exit(2);
        }
    }
}

fn rates(folder: &Path, seconds: Duration, listed: &str) {
    let listed = std::fs::read_to_string(listed).expect("patterns");
    let patterns: Vec<&str> = patterns(&listed).into_iter().map(|(_, pattern)| pattern).collect();
    let regex = hybrid::regex::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        // Room for all states of all twenty: an automaton that must forget them is several times as slow.
        .dfa(hybrid::dfa::Config::new().cache_capacity(64 << 20))
        .build_many(&patterns)
        .expect("the patterns are regex-automata's too");
    let mut cache = regex.create_cache();
    let redact = redact_core::AnalyzerEngine::new();
    let detect = detect::Detect::new();
    for kind in ["chat", "prose", "logs", "code"] {
        let say = |contender: &str, (mb_per_s, found): (f64, usize)| {
            println!(
                "{}",
                serde_json::json!({ "contender": contender, "text": kind, "mb_per_s": mb_per_s, "found": found })
            );
        };
        let texts = read_texts(&folder.join(format!("{kind}.texts")));
        let bodies = read_texts(&folder.join(format!("{kind}.bodies")));
        let mut copy = vec![0; texts.iter().map(String::len).sum()];
        let copied = rate(&texts, seconds, |texts| {
            let mut rest = &mut copy[..];
            for text in texts {
                let (part, after) = rest.split_at_mut(text.len());
                part.copy_from_slice(text.as_bytes());
                rest = after;
            }
            black_box(&mut copy);
            0
        });
        say("memory copy", copied);
        let valid = rate(&texts, seconds, |texts| {
            texts.iter().filter(|text| std::str::from_utf8(black_box(text.as_bytes())).is_ok()).count()
        });
        say("UTF-8 validation (std)", valid);
        let valid = rate(&texts, seconds, |texts| {
            texts.iter().filter(|text| simdutf8::basic::from_utf8(black_box(text.as_bytes())).is_ok()).count()
        });
        say("UTF-8 validation (simdutf8)", valid);
        let matches = |texts: &[String]| texts.iter().map(|text| regex.find_iter(&mut cache, text).count()).sum();
        say("regex-automata 20 patterns", rate(&texts, seconds, matches));
        let parsed = rate(&bodies, seconds, |bodies| {
            bodies.iter().filter(|body| black_box(serde_json::from_str::<serde_json::Value>(body)).is_ok()).count()
        });
        say("parse JSON (serde_json)", parsed);
        let parsed = rate(&bodies, seconds, |bodies| {
            bodies.iter().filter(|body| black_box(sonic_rs::from_str::<sonic_rs::Value>(body)).is_ok()).count()
        });
        say("parse JSON (sonic-rs)", parsed);
        let analyzed = rate(sample(&texts, SLOW_BYTES_MAX), seconds, |texts| {
            texts.iter().map(|text| redact.analyze(text, None).map_or(0, |found| found.detected_entities.len())).sum()
        });
        say("redact-core", analyzed);
        detect.rates(&texts, &bodies, seconds, say);
    }
}
