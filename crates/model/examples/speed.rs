//! How fast a model is here: `cargo run --release -p tabellion-model --example speed -- DIRECTORY THREADS < TEXT`. Prints
//! kilobytes of text a second, and how much was found.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::{Duration, Instant};

use tabellion_model::{Aggregation, Model, Settings};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a directory").into();
    let threads = arguments.next().map_or(0, |threads| threads.parse().expect("a number"));
    let settings = Settings {
        path,
        labels: BTreeMap::new(),
        aggregation: Aggregation::First,
        min_score: 0.5,
        timeout: Duration::from_secs(3600),
        threads,
    };
    let loading = Instant::now();
    let model = Model::load(&settings).expect("a model");
    let loaded = loading.elapsed();
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let started = Instant::now();
    let found: usize = model.find_all(&lines).expect("an answer").iter().map(Vec::len).sum();
    let seconds = started.elapsed().as_secs_f64();
    #[allow(clippy::print_stdout, reason = "it is what the example is for")]
    {
        let speed = text.len() as f64 / 1000.0 / seconds;
        println!("loaded in {loaded:.1?}; {} bytes in {seconds:.2} s, {speed:.1} kB/s; {found} found", text.len());
    }
}
