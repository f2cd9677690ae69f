//! How fast text is scanned, beside a pass that only adds up its bytes: the ratio says more than megabytes a second on
//! a machine that others share.

#![allow(missing_docs, clippy::print_stdout, reason = "criterion's macros; the ratio is what it is for")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tabellion_detect::{Context, Engine, Pseudonyms, Redactor, Set};

const PROSE: &str = "Thanks for getting back to me so quickly. I have had a look at the three options that you described, \
    and I think that the second one suits us best: it keeps the data where it is, and the team only has to learn one new \
    tool. Could you tell me how long the migration would take, and whether we can go back if it does not work? In 2023 we \
    tried something similar with 14 people and it took 3 weeks longer than planned.\n\n";

const PERSONAL: &str = "My name is Jo, you can reach me at jo.doe@example.com or on +1 415 555 0132. I paid with card \
    4111 1111 1111 1111 on 2024-03-01 from 203.0.113.7; the order is 99812-77 and my SSN is 536-90-4399.\n";

const CODE: &str = "fn main() { let token = std::env::var(\"API_TOKEN\")?; for i in 0..1024 { println!(\"{:>8}\", i * 3); } } \
    // see https://example.com/docs?id=12345&x=1#L10-L20\n";

fn corpus(parts: &[(&str, usize)]) -> String {
    let mut text = String::new();
    while text.len() < 1 << 20 {
        for (part, times) in parts {
            text.push_str(&part.repeat(*times));
        }
    }
    text
}

/// Seconds of the fastest of a few runs.
fn seconds(mut run: impl FnMut()) -> f64 {
    (0..7)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

fn scan(c: &mut Criterion) {
    let engine = Arc::new(Engine::embedded(Set::Default));
    let redactor = Redactor::new(engine.clone(), Pseudonyms::new([7; 32]));
    let mut group = c.benchmark_group("scan");
    group.sample_size(20);
    for (name, text) in [
        ("prose", corpus(&[(PROSE, 1)])),
        ("chat", corpus(&[(PROSE, 20), (PERSONAL, 1)])),
        ("personal", corpus(&[(PERSONAL, 1)])),
        ("code", corpus(&[(CODE, 1)])),
        ("prose-curly", corpus(&[(&PROSE.replace(',', "’"), 1)])),
    ] {
        let sum = seconds(|| {
            black_box(text.bytes().fold(0u64, |s, b| s.wrapping_add(u64::from(black_box(b)))));
        });
        let scan = seconds(|| {
            black_box(engine.scan(&text, Context::NONE));
        });
        let mb = text.len() as f64 / 1e6;
        println!("{name}: {:.0} MB/s, byte sum {:.0} MB/s, ratio {:.2}", mb / scan, mb / sum, scan / sum);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(engine.scan(&text, Context::NONE))));
    }
    let text = serde_json::json!({ "messages": vec![serde_json::json!({ "role": "user", "content": PROSE }); 2000] })
        .to_string();
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("redact-json", |b| b.iter(|| black_box(redactor.json(&text))));
    group.bench_function("start", |b| b.iter(|| black_box(Engine::embedded(Set::Default))));
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
