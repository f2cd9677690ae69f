//! What every contender shares: the texts that `bench/detect` wrote, and a clock that counts the processor's time only.

use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;

/// Texts from a file: for each its length (32 bits, little-endian), and its bytes.
pub fn read_texts(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut rest = &bytes[..];
    let mut texts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        texts.push(String::from_utf8(text.to_vec()).expect("bench/detect writes UTF-8"));
        rest = after;
    }
    texts
}

/// The first texts, up to about so many bytes: for contenders that would take minutes for all.
pub fn sample(texts: &[String], bytes_max: usize) -> &[String] {
    let mut bytes = 0;
    let fits = |text: &&String| {
        let fits = bytes < bytes_max;
        bytes += text.len();
        fits
    };
    let count = texts.iter().take_while(fits).count();
    &texts[..count]
}

/// MB per second of processor time in the fastest of the passes that fit into `budget`, three at least; and what each
/// pass counted.
pub fn rate(texts: &[String], budget: Duration, mut pass: impl FnMut(&[String]) -> usize) -> (f64, usize) {
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut best = f64::INFINITY;
    let mut count = 0;
    let mut passes = 0;
    let begun = Instant::now();
    while passes < 3 || begun.elapsed() < budget {
        let start = ProcessTime::now();
        count = pass(texts);
        best = best.min(start.elapsed().as_secs_f64());
        passes += 1;
    }
    (bytes as f64 / 1e6 / best, count)
}

/// Name and pattern of each of `patterns.txt`.
pub fn patterns(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect()
}
