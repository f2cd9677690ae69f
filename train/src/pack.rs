//! Writes the model's file; `tagger::model` says what is in it.

use std::collections::HashMap;
use std::path::Path;

use tabellion_detect::tagger::feature::{phrase_hash, word_hash};
use tabellion_detect::tagger::model::{ENTRIES, Entry, MAGIC, ROWS, entry_place, row_place};

/// How full the tables are, in percent: what does not fit into its place is lost.
const LEXICON_LOAD: usize = 74;
const ROW_LOAD: usize = 55;

/// The tables that are there before training.
pub(crate) struct Lexicon {
    clusters: Vec<u32>,
    buckets: Vec<[u64; ENTRIES]>,
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let file = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lines().map(|l| l.split('\t').map(str::to_owned).collect()).collect()
}

impl Lexicon {
    pub(crate) fn read(lists: &Path, tallies: &HashMap<String, (u32, u32)>) -> Self {
        let clusters = rows(&lists.join("clusters.tsv"))
            .iter()
            .map(|r| {
                let tree = match r[0].as_str() {
                    "en" => 1,
                    "es" => 2,
                    "de" => 3,
                    _ => 0,
                };
                tree << 18 | r[1].parse::<u32>().expect("a path")
            })
            .collect();
        let mut entries: Vec<(u64, Entry)> = Vec::new();
        for r in rows(&lists.join("words.tsv")) {
            let n = |i: usize| r[i].parse::<u16>().expect("a number");
            let (common, share) = (n(3), n(4));
            // Words that are hardly ever in a name: those that the corpora have often and nearly always outside, and
            // common ones on no list. Small words like `of` are in names, but between others.
            let (there, named) = tallies.get(&r[0]).copied().unwrap_or_default();
            let dull = if common == 7 || n(5) == 0 && common >= 5 {
                named * 20 <= there
            } else if n(5) == 0 {
                named * 100 <= there && n(1) != 0 && (1..=3).contains(&share)
            } else {
                there >= 12 && named * 100 <= there && share <= 4
            };
            let entry =
                Entry { lower: n(1), capital: n(2), common: common as u8, share: share as u8, lists: n(5), dull };
            entries.push((word_hash(&r[0]), entry));
        }
        for r in rows(&lists.join("phrases.tsv")) {
            let mut words = r[0].split(' ').map(word_hash);
            let first = words.next().expect("a word");
            let hash = words.fold(first, phrase_hash);
            entries.push((hash, Entry { lists: r[1].parse().expect("a number"), ..Entry::default() }));
        }
        // Common words first, where they are found at once.
        entries.sort_by_key(|(_, e)| std::cmp::Reverse(e.common));
        let count = entries.len() * 100 / (ENTRIES * LEXICON_LOAD);
        let mut buckets = vec![[0u64; ENTRIES]; count];
        let mut lost = 0;
        for (hash, entry) in entries {
            let (bucket, fingerprint) = entry_place(hash, count);
            let free = [bucket, (bucket + 1) % count]
                .into_iter()
                .find_map(|b| buckets[b].iter().position(|e| *e == 0).map(|i| (b, i)));
            match free {
                Some((b, i)) => buckets[b][i] = entry.pack(fingerprint),
                None => lost += 1,
            }
        }
        eprintln!("lexicon: {count} buckets, {lost} entries lost");
        Self { clusters, buckets }
    }

    /// A model with these tables and `weights`: a key and what it is worth for each label.
    pub(crate) fn model(&self, weights: &[(u32, [f32; 8])], after: &[[f32; 8]; 8], bytes_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let top = weights.iter().flat_map(|(_, w)| w).fold(0.0f32, |a, w| a.max(w.abs()));
        // A weight that is seldom beyond the range is cut.
        let scale = (top / 127.0).clamp(1e-6, 4.0 / 127.0);
        let used = 8 + 16 + 256 + self.clusters.len() * 4 + self.buckets.len() * 8 * ENTRIES;
        let count = (bytes_max.saturating_sub(used) / (8 * ROWS)).min(weights.len() * 100 / (ROWS * ROW_LOAD)).max(1);
        let mut buckets: Vec<Vec<(f32, [u8; 8])>> = vec![Vec::new(); count];
        for (key, w) in weights {
            let (bucket, fingerprint) = row_place(*key, count);
            let mut row = [fingerprint; 8];
            for (r, w) in row[1..].iter_mut().zip(w) {
                *r = ((w / scale).round().clamp(-127.0, 127.0) as i32 + 128) as u8;
            }
            if row[1..].iter().any(|r| *r != 128) {
                buckets[bucket].push((w.iter().map(|w| w.abs()).fold(0.0, f32::max), row));
            }
        }
        let mut lost = 0;
        out.extend_from_slice(MAGIC);
        for size in [self.clusters.len(), self.buckets.len(), count] {
            out.extend_from_slice(&(size as u32).to_le_bytes());
        }
        out.extend_from_slice(&scale.to_le_bytes());
        for x in after.iter().flatten() {
            out.extend_from_slice(&x.to_le_bytes());
        }
        for c in &self.clusters {
            out.extend_from_slice(&c.to_le_bytes());
        }
        for e in self.buckets.iter().flatten() {
            out.extend_from_slice(&e.to_le_bytes());
        }
        for bucket in &mut buckets {
            bucket.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let all = bucket.len();
            let mut seen = [false; 256];
            bucket.retain(|(_, row)| !std::mem::replace(&mut seen[usize::from(row[0])], true));
            bucket.truncate(ROWS);
            lost += all - bucket.len();
            for i in 0..ROWS {
                out.extend_from_slice(&bucket.get(i).map_or([0; 8], |r| r.1));
            }
        }
        eprintln!("weights: {} features in {count} buckets, {lost} lost, scale {scale}", weights.len());
        out
    }
}
