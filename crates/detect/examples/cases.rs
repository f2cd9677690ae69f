//! Precision and recall per entity against files of labelled cases, given on the command line.
//!
//! Three shapes of JSON lines are known: `{text, expected: [{entity, start, end}]}` (one recognizer's output: other
//! entities are not judged), `{text, spans: [{entity, start, end}]}` (everything in the text), and
//! `{text, kind: "positive" | "negative"}` (a secret of some kind is in it, or not). Offsets are code points.
//! `--misses` prints what was missed and what was wrong; the data are test cases, so that shows nobody's.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tabellion_detect::{Engine, Offsets, convert_offsets};

const ENTITIES: &[&str] = &["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS"];

#[derive(Default)]
struct Tally {
    expected: u32,
    exact: u32,
    covered: u32,
    found: u32,
    wrong: u32,
}

fn main() {
    let (flags, files): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let show = flags.iter().any(|f| f == "--misses");
    let engine = Engine::embedded();
    let mut threshold = engine.threshold();
    for flag in &flags {
        if let Some(t) = flag.strip_prefix("--threshold=") {
            threshold = t.parse().unwrap_or(threshold);
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for case in text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            judge(&engine, &case, threshold, show, &mut tallies);
        }
        println!("{file} at {threshold}");
        for (entity, t) in tallies {
            println!(
                "  {entity:<18} expected {:>4}  exact {:>4}  covered {:>4}  found {:>4}  wrong {:>4}  precision {:.3}  recall {:.3}",
                t.expected,
                t.exact,
                t.covered,
                t.found,
                t.wrong,
                1.0 - f64::from(t.wrong) / f64::from(t.found.max(1)),
                f64::from(t.covered) / f64::from(t.expected.max(1)),
            );
        }
    }
}

fn judge(engine: &Engine, case: &Value, threshold: f32, show: bool, tallies: &mut BTreeMap<String, Tally>) {
    let text = case["text"].as_str().unwrap_or_default();
    let findings = engine.scan_with(text, None, threshold, None);
    if let Some(kind) = case["kind"].as_str() {
        let tally = tallies.entry(format!("secret {kind}")).or_default();
        let secrets: Vec<_> = findings.iter().filter(|f| !ENTITIES.contains(&&*f.entity)).collect();
        tally.expected += 1;
        tally.found += u32::from(!secrets.is_empty());
        tally.covered += u32::from(!secrets.is_empty());
        if show && secrets.is_empty() == (kind == "positive") {
            let what: Vec<_> = secrets.iter().map(|f| (&*f.recognizer, &text[f.start..f.end])).collect();
            println!("{kind} {} {:?} {what:?}", case["rule_id"], text.chars().take(200).collect::<String>());
        }
        return;
    }
    let (expected, judged): (&Value, BTreeSet<&str>) = if case["spans"].is_array() {
        (&case["spans"], ENTITIES.iter().copied().collect())
    } else {
        let entity = case["entity"].as_str().or_else(|| case["entity"][0].as_str()).unwrap_or_default();
        (&case["expected"], [entity].into())
    };
    let spans = convert_offsets(text, &findings, Offsets::Chars);
    let expected: Vec<(&str, usize, usize)> = expected
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| {
            let at = |name: &str| e[name].as_u64().unwrap_or(0) as usize;
            (e["entity"].as_str().unwrap_or_default(), at("start"), at("end"))
        })
        .filter(|e| judged.contains(e.0) && ENTITIES.contains(&e.0))
        .collect();
    for &(entity, start, end) in &expected {
        let tally = tallies.entry(entity.to_owned()).or_default();
        let exact = findings.iter().zip(&spans).any(|(f, s)| &*f.entity == entity && *s == (start, end));
        let hidden: usize = spans.iter().map(|s| s.1.min(end).saturating_sub(s.0.max(start))).sum();
        let covered = hidden >= end - start;
        tally.expected += 1;
        tally.exact += u32::from(exact);
        tally.covered += u32::from(covered);
        if show && !(exact && covered) {
            let value: String = text.chars().skip(start).take(end - start).collect();
            println!("missed {entity} {value:?} in {text:?} covered {covered}");
        }
    }
    for (f, s) in findings.iter().zip(&spans) {
        if !judged.contains(&*f.entity) || !ENTITIES.contains(&&*f.entity) {
            continue;
        }
        let tally = tallies.entry(f.entity.to_string()).or_default();
        tally.found += 1;
        if !expected.iter().any(|&(_, start, end)| s.0 < end && start < s.1) {
            tally.wrong += 1;
            if show {
                println!("wrong {} {:?} in {text:?} ({})", f.entity, &text[f.start..f.end], f.recognizer);
            }
        }
    }
}
