//! What a policy finds in labelled text, and in text in which nobody is.
//!
//! `score [--policy FILE] [--misses ENTITY] [--wrong] FILE.jsonl…`: of each file of `{"text", "spans": [{"entity", "start",
//! "end"}]}` (offsets in code points) precision, recall and F2 of all entities together, whatever each is called, at an
//! overlap of 75 %, in two readings:
//!
//! - *covered*: of what is labelled, three quarters lie in what was found; of what was found, three quarters in what is
//!   labelled;
//! - *joined*: labels, and findings, that nothing but spaces and punctuation sets apart are one; the overlap is that of a
//!   pair, its intersection over its union.
//!
//! and a table of the recall for each entity. `score [--wrong] FILE.texts…`: of texts, a little-endian length of 32 bits
//! before each, what was found for every 10,000 words (between spaces), by entity.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;

use serde_json::Value;
use tabellion_detect::{Context, Engine, Finding};

/// Everything, as deep as it goes.
const DEEP: &str = "extends = \"all\"\ndepth = \"tagger\"\n";
const OVERLAP: f64 = 0.75;

/// Places in a text.
type Spans = Vec<(usize, usize)>;

/// How much of what is there was found, and how much of what was found is there.
#[derive(Default)]
struct Tally {
    there: usize,
    hit: usize,
    found: usize,
    right: usize,
}

impl Tally {
    fn line(&self) -> String {
        let (precision, recall) = (rate(self.right, self.found), rate(self.hit, self.there));
        let f = |beta: f64| {
            let b = beta * beta;
            (1.0 + b) * precision * recall / (b * precision + recall).max(f64::MIN_POSITIVE)
        };
        format!("P {precision:.3} R {recall:.3} F1 {:.3} F2 {:.3}", f(1.0), f(2.0))
    }
}

fn rate(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

fn main() {
    let (mut policy, mut misses, mut wrong, mut files) = (None, None, false, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--policy" => policy = words.next(),
            "--misses" => misses = words.next(),
            "--wrong" => wrong = true,
            _ => files.push(word),
        }
    }
    let text =
        policy.map_or_else(|| DEEP.to_owned(), |file| std::fs::read_to_string(file).expect("the policy is read"));
    let engine = Engine::with_policy("policy", &text).expect("the policy is one");
    for file in &files {
        if file.ends_with(".jsonl") {
            labelled(&engine, file, misses.as_deref(), wrong);
        } else {
            plain(&engine, file, wrong);
        }
    }
}

/// Bytes that both have.
fn common(a: (usize, usize), b: (usize, usize)) -> usize {
    a.1.min(b.1).saturating_sub(a.0.max(b.0))
}

/// Whether three quarters of a span lie in others, which are apart.
fn covered(span: (usize, usize), others: &[(usize, usize)]) -> bool {
    let common: usize = others.iter().map(|other| common(span, *other)).sum();
    common as f64 >= OVERLAP * (span.1 - span.0) as f64
}

/// Spans joined where nothing but spaces and punctuation is between them.
fn joined(text: &str, spans: &[(usize, usize)]) -> Spans {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut out: Spans = Vec::new();
    for (start, end) in spans {
        match out.last_mut() {
            Some(last) if start <= last.1 || !text[last.1..start].contains(char::is_alphanumeric) => {
                last.1 = last.1.max(end);
            }
            _ => out.push((start, end)),
        }
    }
    out
}

fn paired(span: (usize, usize), others: &[(usize, usize)]) -> bool {
    others.iter().any(|other| {
        let both = common(span, *other);
        both as f64 >= OVERLAP * (span.1 - span.0 + other.1 - other.0 - both) as f64
    })
}

fn labelled(engine: &Engine, file: &str, misses: Option<&str>, wrong: bool) {
    let content = std::fs::read_to_string(file).expect("the file is read");
    let (mut by_cover, mut by_pair) = (Tally::default(), Tally::default());
    let mut entities: BTreeMap<String, (Tally, BTreeMap<String, usize>)> = BTreeMap::new();
    for line in content.lines() {
        let case: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = case["text"].as_str().expect("a text");
        let findings = engine.scan(text, Context::NONE);
        let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let at = |value: &Value| bytes[value.as_u64().expect("an offset") as usize];
        let gold: Vec<(&str, (usize, usize))> = case["spans"]
            .as_array()
            .expect("spans")
            .iter()
            .map(|s| (s["entity"].as_str().expect("an entity"), (at(&s["start"]), at(&s["end"]))))
            .collect();
        let there: Spans = gold.iter().map(|(_, span)| *span).collect();
        let apart = joined_where_they_overlap(&there);
        let found: Spans = findings.iter().map(|f| (f.start, f.end)).collect();
        for (entity, span) in &gold {
            let (tally, called) = entities.entry((*entity).to_owned()).or_default();
            tally.there += 1;
            let most = findings.iter().max_by_key(|f| common(*span, (f.start, f.end)));
            if covered(*span, &found) {
                tally.hit += 1;
                if let Some(most) = most {
                    *called.entry(most.entity.to_string()).or_default() += 1;
                }
            } else if misses == Some(*entity) {
                println!("missed {entity} {:?} in {}", &text[span.0..span.1], marked(text, &findings));
            }
        }
        for finding in &findings {
            let span = (finding.start, finding.end);
            by_cover.right += usize::from(covered(span, &apart));
            if wrong && !covered(span, &apart) {
                println!("wrong {} {:?} in {}", finding.entity, &text[span.0..span.1], marked(text, &findings));
            }
        }
        by_cover.found += found.len();
        by_cover.there += there.len();
        by_cover.hit += there.iter().filter(|span| covered(**span, &found)).count();
        let (there, found) = (joined(text, &there), joined(text, &found));
        by_pair.there += there.len();
        by_pair.found += found.len();
        by_pair.hit += there.iter().filter(|span| paired(**span, &found)).count();
        by_pair.right += found.iter().filter(|span| paired(**span, &there)).count();
    }
    println!("{file}\ncovered: {}\njoined:  {}", by_cover.line(), by_pair.line());
    println!("| entity | there | found | recall | found as |\n|---|---|---|---|---|");
    for (entity, (tally, called)) in &entities {
        let mut called: Vec<_> = called.iter().collect();
        called.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let called: Vec<String> = called.iter().take(4).map(|(name, count)| format!("{name} {count}")).collect();
        println!(
            "| {entity} | {} | {} | {:.3} | {} |",
            tally.there,
            tally.hit,
            rate(tally.hit, tally.there),
            called.join(", ")
        );
    }
}

/// Labels may lie in one another: a postal code in an address.
fn joined_where_they_overlap(spans: &[(usize, usize)]) -> Spans {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut out: Spans = Vec::new();
    for (start, end) in spans {
        match out.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out
}

/// A text with what was found in it.
fn marked(text: &str, findings: &[Finding]) -> String {
    let mut out = String::new();
    let mut last = 0;
    for finding in findings {
        out.push_str(&text[last..finding.start]);
        out.push_str(&format!("«{}:{}»", finding.entity, &text[finding.start..finding.end]));
        last = finding.end;
    }
    (out + &text[last..]).replace('\n', "⏎")
}

fn plain(engine: &Engine, file: &str, wrong: bool) {
    let bytes = std::fs::read(file).expect("the file is read");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut words = 0;
    let mut rest = bytes.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        rest = after;
        let text = std::str::from_utf8(text).expect("text");
        words += text.split_whitespace().count();
        for finding in engine.scan(text, Context::NONE) {
            if wrong {
                let line = text[..finding.start].rfind('\n').map_or(0, |at| at + 1);
                let end = text[finding.end..].find('\n').map_or(text.len(), |at| finding.end + at);
                let from = text.ceil_char_boundary(line.max(finding.start.saturating_sub(60)));
                let to = text.floor_char_boundary(end.min(finding.end + 60));
                println!(
                    "{} {:.2} {}«{}»{}",
                    finding.entity,
                    finding.score,
                    &text[from..finding.start],
                    &text[finding.start..finding.end],
                    &text[finding.end..to]
                );
            }
            *counts.entry(finding.entity.to_string()).or_default() += 1;
        }
    }
    let names =
        ["PERSON", "LOCATION", "ORGANIZATION", "NRP", "STREET_ADDRESS", "DATE_TIME", "AGE", "TITLE", "POSTAL_CODE"];
    let per: Vec<String> = names
        .iter()
        .map(|name| format!("{name} {:.2}", *counts.get(*name).unwrap_or(&0) as f64 * 1e4 / words.max(1) as f64))
        .collect();
    println!("{file}: {words} words; for 10,000 of them: {}", per.join(", "));
}
