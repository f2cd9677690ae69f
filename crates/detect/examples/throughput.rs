//! Megabytes per second of processor time, for texts in files: each line that is a JSON object with `text` is one text,
//! a file called `.texts` has texts with a little-endian length of 32 bits before each, any other file is one whole. `--deep`
//! measures only policies that look for addresses (`text`) and for names too (`tagger`), with every recognizer. Prints a line of JSON a file: what `bench/detect` compares with others.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tabellion_detect::{Context, Engine, Pseudonyms, Redactor, Set};

const SECONDS: f64 = 1.0;

/// Seconds that this thread had a processor, where the system says so; else those that went by.
fn seconds(begun: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|line| line.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| begun.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

fn read(file: &str) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap_or_default();
    let mut texts = Vec::new();
    if file.ends_with(".texts") {
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = after;
        }
        return texts;
    }
    let whole = String::from_utf8_lossy(&bytes).into_owned();
    let json = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).ok().and_then(|v| v["text"].as_str().map(str::to_owned))
    };
    whole.lines().map(json).collect::<Option<_>>().unwrap_or_else(|| vec![whole])
}

/// Bytes per second of the fastest of several passes, in MB.
fn rate(bytes: usize, mut pass: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < SECONDS {
        let start = seconds(begun);
        pass();
        best = best.min(seconds(begun) - start);
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
    let deep = std::env::args().any(|word| word == "--deep");
    let depths: Vec<(&str, Arc<Engine>)> = ["fast", "text", "tagger"]
        .into_iter()
        .map(|depth| (depth, format!("extends = \"all\"\ndepth = \"{depth}\"\n")))
        .map(|(depth, policy)| (depth, Arc::new(Engine::with_policy(depth, &policy).expect("a policy"))))
        .collect();
    let sets = [("default", default), ("all", all)];
    let engines = if deep { depths.as_slice() } else { &sets };
    for file in std::env::args().skip(1).filter(|word| word != "--deep") {
        let texts = read(&file);
        let bytes = texts.iter().map(String::len).sum();
        let mut row = serde_json::json!({ "file": file, "bytes": bytes });
        for (name, engine) in engines {
            let mut found = 0;
            row[*name] = rate(bytes, || {
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
