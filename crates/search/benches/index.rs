//! How fast the log is taken in, and how long a search takes, with 100,000 exchanges.
//!
//! The baseline is measured in the same run: the text that the index has, into a plain SQLite table, in transactions
//! of the same size with the same durability. What remains is what it costs to read the entries and to index words.
#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::Criterion;
use rusqlite::{Connection, params};
use tabellion_evidence::entry::{Content, Entry, FRAME, Kind, Outcome, Part, Redaction};
use tabellion_evidence::tree::{Frontier, Hash, leaf_hash, sha256};
use tabellion_search::{Index, Query, Source};

const EXCHANGES: usize = 100_000;
/// After so many turns, each of which sends all before it again, a conversation ends.
const TURNS: usize = 5;
/// Words of a question and of its answer.
const WORDS: (usize, usize) = (40, 120);
/// As many as the index puts into a transaction: 64 bundles of 256 entries, two entries to an exchange.
const EXCHANGES_PER_COMMIT: usize = 64 * 256 / 2;

#[derive(Default)]
struct Log {
    entries: Vec<Vec<u8>>,
    parts: HashMap<Hash, Vec<u8>>,
    /// For the baseline.
    texts: Vec<String>,
}

impl Source for Log {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        Ok(self.entries.len() as u64)
    }

    /// The real one reads a few tiles. This one may not cost what hashing the whole log would.
    fn root(&self, size: u64) -> Result<Hash, Infallible> {
        let mut frontier = Frontier::new();
        self.entries[..size as usize].last().into_iter().for_each(|entry| frontier.push(leaf_hash(entry)));
        Ok(frontier.root())
    }

    fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Infallible> {
        Ok(self.entries[bundle as usize * 256..size.min(bundle * 256 + 256) as usize].to_vec())
    }

    fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.parts.get(hash).cloned())
    }
}

/// Numbers that are the same in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Few words often, many words seldom: the n-th about as often as 1/n, of 2^17.
    fn text(&mut self, words: usize) -> String {
        let mut text = String::new();
        for _ in 0..words {
            let bits = self.below(18) as u32;
            let word = self.below(1 << bits) + (1 << bits);
            // Letters, so that the words are as long as words are.
            text.extend(format!("{word:05}").bytes().map(|digit| char::from(digit - b'0' + b'a')));
            text.push(' ');
        }
        text
    }
}

fn log() -> Log {
    let mut log = Log::default();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let frame = stored(&mut log, FRAME, br#"{"model":"gpt-4o-mini","messages":[]}"#);
    let mut history: Vec<Part> = Vec::new();
    for n in 0..EXCHANGES {
        if n % TURNS == 0 {
            history.clear();
        }
        let id = format!("01JDA{n:021}");
        let time = format!("2026-11-22T{:02}:{:02}:{:02}.000000Z", n / 3600 % 24, n / 60 % 60, n % 60);
        let (question, answer) = (numbers.text(WORDS.0), numbers.text(WORDS.1));
        let mut redaction = Redaction {
            policy: sha256("policy"),
            findings: BTreeMap::new(),
            tokens: vec![],
            external: BTreeMap::new(),
            external_failures: BTreeMap::new(),
        };
        if n % 10 == 0 {
            redaction.findings.insert("EMAIL_ADDRESS".into(), 1);
            redaction.tokens.push(format!("EMAIL_ADDRESS:{:08}", n % 10_000));
        }

        let json = serde_json::json!({"role": "user", "content": question}).to_string();
        history.push(stored(&mut log, "user", json.as_bytes()));
        let mut entry = Entry::new(Kind::Request, &id, &time);
        entry.model = Some("gpt-4o-mini".into());
        entry.case = Some(format!("C-{}", n / TURNS));
        entry.actor = Some(format!("k_{}", n % 50));
        entry.redaction = Some(redaction);
        entry.content = Some(content(&frame, &history));
        log.entries.push(entry.to_bytes().expect("an entry"));

        let json = serde_json::json!({"role": "assistant", "content": answer}).to_string();
        let part = stored(&mut log, "assistant", json.as_bytes());
        history.push(part.clone());
        let mut entry = Entry::new(Kind::Response, format!("r{id}"), &time);
        entry.exchange = Some(id);
        entry.outcome = Some(Outcome::Complete);
        entry.content = Some(content(&frame, &[part]));
        log.entries.push(entry.to_bytes().expect("an entry"));
        log.texts.push(question + "\n" + &answer);
    }
    log
}

fn stored(log: &mut Log, role: &str, bytes: &[u8]) -> Part {
    let hash = sha256(bytes);
    log.parts.insert(hash, bytes.to_vec());
    Part { role: role.into(), sha256: hash, bytes: bytes.len() as u64, findings: BTreeMap::new() }
}

fn content(frame: &Part, parts: &[Part]) -> Content {
    let parts = std::iter::once(frame).chain(parts).cloned().collect();
    Content { sha256: Some(sha256("body")), bytes: Some(0), parts, ..Content::default() }
}

fn baseline(path: &Path, texts: &[String]) -> Duration {
    let start = Instant::now();
    let mut db = Connection::open(path).expect("a file");
    db.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    db.pragma_update(None, "synchronous", "NORMAL").expect("synchronous");
    db.execute_batch("CREATE TABLE plain(entry INTEGER PRIMARY KEY, body TEXT)").expect("a table");
    for (nth, texts) in texts.chunks(EXCHANGES_PER_COMMIT).enumerate() {
        let transaction = db.transaction().expect("a transaction");
        let mut insert = transaction.prepare("INSERT INTO plain VALUES (?, ?)").expect("a statement");
        for (entry, text) in (nth * EXCHANGES_PER_COMMIT..).zip(texts) {
            insert.execute(params![entry as i64, text]).expect("a row");
        }
        drop(insert);
        transaction.commit().expect("a commit");
    }
    start.elapsed()
}

fn main() {
    let log = log();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("index.db");
    let bytes: usize = log.texts.iter().map(String::len).sum();

    let plain = baseline(&directory.path().join("plain.db"), &log.texts);
    let start = Instant::now();
    let mut index = Index::open(&path).expect("a file");
    index.catch_up(&log).expect("a log");
    let indexed = start.elapsed();
    let again = baseline(&directory.path().join("again.db"), &log.texts);
    let plain = plain.min(again);

    let rate = |time: Duration| EXCHANGES as f64 / time.as_secs_f64();
    let length = |name: &str| std::fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
    println!("{EXCHANGES} exchanges, {bytes} bytes of text");
    println!("indexed:    {:>9.0} exchanges/s, {} bytes on disk", rate(indexed), length("index.db"));
    println!("bare insert: {:>8.0} exchanges/s, {} bytes on disk", rate(plain), length("plain.db"));
    println!("ratio:      {:>9.2} times the bare insert's time", indexed.as_secs_f64() / plain.as_secs_f64());

    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let query = Query { limit: 20, ..Query::default() };
    let text = |text: &str| Query { text: Some(text.into()), ..query.clone() };
    // Words as the generator spells them: 100000 and up are seldom, 1 is everywhere.
    let queries = [
        ("newest", query.clone()),
        ("case", Query { case: Some("C-777".into()), ..query.clone() }),
        ("subject", Query { tokens: vec!["EMAIL_ADDRESS:00000070".into()], ..query.clone() }),
        ("model_that_is_not_there", Query { model: Some("gpt-3".into()), ..query.clone() }),
        ("seldom_word", text("bdaeag")),
        ("two_common_words", text("aaaab aaaac")),
        ("everywhere", text("aaaab")),
        ("phrase", text("\"aaaab aaaac\"")),
        ("prefix", text("bd*")),
        ("word_in_a_case", Query { case: Some("C-777".into()), ..text("aaaab") }),
    ];
    for (name, query) in queries {
        println!("{name}: {} hits", index.search(&Query { limit: usize::MAX, ..query.clone() }).expect("hits").len());
        criterion.bench_function(&format!("search/{name}"), |bencher| {
            bencher.iter(|| black_box(index.search(&query).expect("hits")));
        });
    }
    criterion.bench_function("catch_up/nothing_new", |bencher| {
        bencher.iter(|| black_box(index.catch_up(&log).expect("a log")));
    });
    criterion.final_summary();
}
