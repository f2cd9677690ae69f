//! Megabytes per second of processor time, for texts in files: each line that is a JSON object with `text` is one text,
//! any other file is one whole. Prints a line of JSON a file: what `bench/detect` compares with others.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tabellion_detect::{Context, Engine, Pseudonyms, Redactor, Set};

const SECONDS: f64 = 1.0;

/// Bytes per second of the fastest of several passes, in MB.
fn rate(bytes: usize, mut pass: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        pass();
        best = best.min(start.elapsed().as_secs_f64());
    }
    bytes as f64 / 1e6 / best
}

fn main() {
    let start = Instant::now();
    let default = Arc::new(Engine::embedded(Set::Default));
    let start_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let all = Arc::new(Engine::embedded(Set::All));
    let start_all_ms = start.elapsed().as_secs_f64() * 1e3;
    println!("{}", serde_json::json!({ "start_ms": start_ms, "start_all_ms": start_all_ms }));
    for file in std::env::args().skip(1) {
        let whole = std::fs::read_to_string(&file).unwrap_or_default();
        let texts: Vec<String> = whole
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).ok().and_then(|v| v["text"].as_str().map(str::to_owned))
            })
            .collect::<Option<_>>()
            .unwrap_or_else(|| vec![whole]);
        let bytes = texts.iter().map(String::len).sum();
        let mut row = serde_json::json!({ "file": file, "bytes": bytes });
        for (name, engine) in [("default", &default), ("all", &all)] {
            let mut found = 0;
            row[name] = rate(bytes, || {
                found = texts.iter().map(|text| black_box(engine.scan(text, Context::NONE)).len()).sum::<usize>();
            })
            .into();
            row[format!("{name}_findings")] = found.into();
            let redactor = Redactor::new(engine.clone(), Pseudonyms::new([7; 32]));
            let bodies: Vec<String> = texts
                .iter()
                .map(|text| {
                    let messages = [serde_json::json!({ "role": "user", "content": text })];
                    serde_json::json!({ "model": "gpt-4o-mini", "messages": messages }).to_string()
                })
                .collect();
            let bytes = bodies.iter().map(String::len).sum();
            row[format!("{name}_redact")] = rate(bytes, || {
                for text in &texts {
                    black_box(redactor.text(text));
                }
            })
            .into();
            row[format!("{name}_json")] = rate(bytes, || {
                for body in &bodies {
                    black_box(redactor.json(body));
                }
            })
            .into();
        }
        println!("{row}");
    }
}
