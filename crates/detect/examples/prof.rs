use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tabellion_detect::{Context, Engine, Pseudonyms, Redactor, Set};
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
#[inline(never)]
pub fn pass(engine: &Engine, redactor: &Redactor, m: &str, items: &[String]) {
    for i in items {
        match m {
            "scan" => {
                black_box(engine.scan(i, Context::NONE));
            }
            "redact" => {
                black_box(redactor.text(i));
            }
            _ => {
                black_box(redactor.json(i));
            }
        }
    }
}
#[inline(never)]
pub fn warm(engine: &Engine, redactor: &Redactor, m: &str, items: &[String]) {
    for i in items {
        match m {
            "scan" => {
                black_box(engine.scan(i, Context::NONE));
            }
            "redact" => {
                black_box(redactor.text(i));
            }
            _ => {
                black_box(redactor.json(i));
            }
        }
        black_box(1);
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let secs: f64 = a[2].parse().unwrap();
    let engine = Arc::new(Engine::embedded(if a.get(3).is_some_and(|s| s == "all") { Set::All } else { Set::Default }));
    let redactor = Redactor::new(engine.clone(), Pseudonyms::new([7; 32]));
    let mode = a[1].as_str();
    for file in a[4..].iter() {
        let whole = std::fs::read_to_string(file).unwrap();
        let texts: Vec<String> = whole
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["text"].as_str().unwrap().to_owned())
            .collect();
        let bodies: Vec<String> = texts
            .iter()
            .map(|text| {
                let messages = [serde_json::json!({ "role": "user", "content": text })];
                serde_json::json!({ "model": "gpt-4o-mini", "messages": messages }).to_string()
            })
            .collect();
        for m in mode.split(',') {
            let items = if m == "json" { &bodies } else { &texts };
            let bytes: usize = items.iter().map(String::len).sum();
            let mut best = f64::INFINITY;
            if secs < 0.0 {
                warm(&engine, &redactor, m, items);
                println!("{bytes} bytes");
                pass(&engine, &redactor, m, items);
                continue;
            }
            let begun = Instant::now();
            let mut n = 0;
            while begun.elapsed().as_secs_f64() < secs || n < 2 {
                let t = cpu();
                pass(&engine, &redactor, m, items);
                best = best.min(cpu() - t);
                n += 1;
            }
            print!("{} {} {:.1}   ", file.rsplit('/').next().unwrap(), m, bytes as f64 / 1e6 / best);
        }
    }
    println!();
}
