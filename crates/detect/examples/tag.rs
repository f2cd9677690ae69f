//! `tag FILE`: prints the names in a text, a line each: entity, score, offsets and the name. `tag --time FILE`: how fast
//! that goes.

#![allow(clippy::print_stdout, reason = "an example for people to look at")]

use std::hint::black_box;
use std::time::Instant;

use tabellion_detect::tagger::Tagger;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = args.last() else { panic!("usage: tag [--time] FILE") };
    let text = std::fs::read_to_string(path).expect("the file is read");
    let tagger = Tagger::embedded();
    if args.len() > 1 {
        // Lines of JSON with a text each, or bodies like a chat's: a few lines each.
        let own =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["text"].as_str().map(str::to_owned);
        let mut bodies: Vec<String> = text.lines().filter_map(own).collect();
        if bodies.is_empty() {
            bodies.push(String::new());
            for line in text.split_inclusive('\n') {
                let body = bodies.last_mut().expect("never empty");
                body.push_str(line);
                if body.len() > 400 {
                    bodies.push(String::new());
                }
            }
        }
        let bytes: usize = bodies.iter().map(String::len).sum();
        let mut fastest = f64::INFINITY;
        for _ in 0..7 {
            let clock = Instant::now();
            for body in &bodies {
                black_box(tagger.tag(body));
            }
            fastest = fastest.min(clock.elapsed().as_secs_f64());
        }
        println!("{bytes} bytes in {} bodies: {:.1} MB/s", bodies.len(), bytes as f64 / fastest / 1e6);
        return;
    }
    for span in tagger.tag(&text) {
        println!(
            "{}\t{:.2}\t{}..{}\t{}",
            span.entity.name(),
            span.score,
            span.start,
            span.end,
            &text[span.start..span.end]
        );
    }
}
