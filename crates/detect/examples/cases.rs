//! Recall and precision per entity against files of labelled cases, given on the command line.
//!
//! Three shapes of JSON lines are known: `{text, entity, expected: [{entity, start, end}]}` (what one recognizer finds when
//! only its entity is asked for, with any score), `{text, spans: [{entity, start, end}]}` (everything in the text, at the
//! threshold), and `{text, kind: "positive" | "negative"}` (a secret of some kind is in it, or not). Offsets are code
//! points. `--misses` prints what was missed and what was wrong (the data are test cases, so that shows nobody's),
//! `--entity X` judges only one, `--rules DIR` reads the recognizers from a directory instead of the embedded ones.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tabellion_detect::{Context, Engine, Offsets, Query, Set, convert_offsets};

#[derive(Default)]
struct Tally {
    cases: u32,
    expected: u32,
    exact: u32,
    negatives: u32,
    clean: u32,
    wrong: u32,
}

#[derive(Default)]
struct Arguments {
    misses: bool,
    entity: Option<String>,
    rules: Option<String>,
    threshold: Option<f32>,
    files: Vec<String>,
}

fn main() {
    let mut arguments = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--misses" => arguments.misses = true,
            "--entity" => arguments.entity = words.next(),
            "--rules" => arguments.rules = words.next(),
            "--threshold" => arguments.threshold = words.next().and_then(|t| t.parse().ok()),
            _ => arguments.files.push(word),
        }
    }
    let engine = |set| match &arguments.rules {
        None => Engine::embedded(set),
        Some(folder) => {
            let mut files = Vec::new();
            read(Path::new(folder), &mut files);
            let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            match Engine::from_rules(&files) {
                Ok(engine) => engine,
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    println!("{error}: {source}");
                    std::process::exit(2);
                }
            }
        }
    };
    let (default, all) = (engine(Set::Default), engine(Set::All));
    for file in &arguments.files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for case in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            if case["kind"].is_string() {
                judge_secret(&default, &case, &arguments, &mut tallies);
            } else {
                judge(&default, &all, &case, &arguments, &mut tallies);
            }
        }
        report(file, &tallies);
    }
}

/// The TOML files in a folder and its folders, in order.
fn read(folder: &Path, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, files);
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}

fn report(file: &str, tallies: &BTreeMap<String, Tally>) {
    println!("{file}");
    let share = |a: u32, b: u32| if b == 0 { 1.0 } else { f64::from(a) / f64::from(b) };
    let (mut recalls, mut negatives, mut clean) = (Vec::new(), 0, 0);
    for (entity, t) in tallies {
        println!(
            "  {entity:<28} cases {:>4}  expected {:>4}  exact {:>4} {:>6.1} %  negatives {:>4}  clean {:>4}  wrong {:>4}",
            t.cases,
            t.expected,
            t.exact,
            100.0 * share(t.exact, t.expected),
            t.negatives,
            t.clean,
            t.wrong,
        );
        if t.expected > 0 {
            recalls.push(share(t.exact, t.expected));
        }
        negatives += t.negatives;
        clean += t.clean;
    }
    let macro_recall = recalls.iter().sum::<f64>() / recalls.len().max(1) as f64;
    println!("  macro recall {:.2} %, negatives {:.2} %", 100.0 * macro_recall, 100.0 * share(clean, negatives));
}

fn judge_secret(engine: &Engine, case: &Value, arguments: &Arguments, tallies: &mut BTreeMap<String, Tally>) {
    const SECRETS: &[&str] = &["API_KEY", "PASSWORD", "PRIVATE_KEY", "JWT", "CONNECTION_STRING", "SECRET"];
    let text = case["text"].as_str().unwrap_or_default();
    let secrets: Vec<_> =
        engine.scan(text, Context::NONE).into_iter().filter(|f| SECRETS.contains(&&*f.entity)).collect();
    let positive = case["kind"] == "positive";
    let tally = tallies.entry("secrets".into()).or_default();
    tally.cases += 1;
    if positive {
        tally.expected += 1;
        tally.exact += u32::from(!secrets.is_empty());
    } else {
        tally.negatives += 1;
        tally.clean += u32::from(secrets.is_empty());
    }
    if arguments.misses && secrets.is_empty() == positive {
        let what: Vec<_> = secrets.iter().map(|f| (&*f.recognizer, &text[f.start..f.end])).collect();
        println!("{} {} {:?} {what:?}", case["kind"], case["rule_id"], text.chars().take(300).collect::<String>());
    }
}

fn judge(default: &Engine, all: &Engine, case: &Value, arguments: &Arguments, tallies: &mut BTreeMap<String, Tally>) {
    let text = case["text"].as_str().unwrap_or_default();
    let whole = case["spans"].is_array();
    let asked: Vec<&str> = match &case["entity"] {
        Value::String(one) => vec![one],
        Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let wanted = |entity: &str| arguments.entity.as_ref().is_none_or(|only| only == entity);
    let findings = if whole {
        default.analyze(text, &Query { threshold: arguments.threshold, ..Query::default() })
    } else {
        let threshold = Some(arguments.threshold.unwrap_or(0.0));
        all.analyze(text, &Query { threshold, entities: Some(&asked), ..Query::default() })
    };
    let spans = convert_offsets(text, &findings, Offsets::Chars);
    let expected: Vec<(&str, usize, usize)> = case[if whole { "spans" } else { "expected" }]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|e| Some((e["entity"].as_str()?, e["start"].as_u64()? as usize, e["end"].as_u64()? as usize)))
        .collect();
    let part = |start: usize, end: usize| text.chars().skip(start).take(end - start).collect::<String>();
    let mut entities: Vec<&str> = asked.iter().chain(expected.iter().map(|(e, _, _)| e)).copied().collect();
    if whole {
        entities.extend(findings.iter().map(|f| &*f.entity));
    }
    entities.sort_unstable();
    entities.dedup();
    for entity in entities {
        if !wanted(entity) {
            continue;
        }
        let found: Vec<(usize, usize)> =
            findings.iter().zip(&spans).filter(|(f, _)| &*f.entity == entity).map(|(_, s)| *s).collect();
        let due: Vec<(usize, usize)> =
            expected.iter().filter(|(e, _, _)| *e == entity).map(|&(_, s, e)| (s, e)).collect();
        let tally = tallies.entry(entity.to_owned()).or_default();
        let exact = due.iter().filter(|span| found.contains(span)).count() as u32;
        let wrong = found.iter().filter(|span| !due.contains(span)).count() as u32;
        tally.cases += 1;
        tally.expected += due.len() as u32;
        tally.exact += exact;
        tally.wrong += wrong;
        if due.is_empty() {
            tally.negatives += 1;
            tally.clean += u32::from(found.is_empty());
        }
        if arguments.misses && (exact < due.len() as u32 || wrong > 0) {
            let show = |spans: &[(usize, usize)]| spans.iter().map(|&(s, e)| part(s, e)).collect::<Vec<_>>();
            println!("{entity} {} {text:?}\n    expected {:?} found {:?}", case["id"], show(&due), show(&found));
        }
    }
}
