//! The index over logs made here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;

use proptest::prelude::*;
use tabellion_evidence::entry::{Content, Entry, FRAME, Kind, Manifest, Outcome, Part, Redaction};
use tabellion_evidence::tree::{Frontier, Hash, leaf_hash, sha256};
use tabellion_search::{CatchUpError, Hit, Index, Query, Source};

/// A log in memory.
#[derive(Default, Clone)]
struct Log {
    entries: Vec<Vec<u8>>,
    parts: HashMap<Hash, Vec<u8>>,
    /// Which parts were asked for.
    asked: RefCell<Vec<Hash>>,
    /// How many entries are published, if not all.
    published: Cell<Option<u64>>,
}

/// What a request says, beside its parts.
#[derive(Default, Clone)]
struct Said<'a> {
    case: Option<&'a str>,
    actor: Option<&'a str>,
    model: Option<&'a str>,
    findings: &'a [(&'a str, u32)],
    tokens: &'a [&'a str],
}

impl Log {
    fn push(&mut self, entry: &Entry) {
        self.entries.push(entry.to_bytes().expect("an entry of a test"));
    }

    fn store(&mut self, role: &str, bytes: &[u8]) -> Part {
        let hash = sha256(bytes);
        self.parts.insert(hash, bytes.to_vec());
        Part { role: role.into(), sha256: hash, bytes: bytes.len() as u64, findings: BTreeMap::new() }
    }

    fn content(&mut self, messages: &[(&str, &str)]) -> Content {
        let mut parts = vec![self.store(FRAME, br#"{"model":"frameword","messages":[]}"#)];
        for (role, text) in messages {
            let json = serde_json::json!({"role": role, "content": text}).to_string();
            parts.push(self.store(role, json.as_bytes()));
        }
        Content { sha256: Some(sha256("body")), bytes: Some(4), parts, ..Content::default() }
    }

    fn request(&mut self, id: &str, messages: &[(&str, &str)], said: &Said<'_>) {
        let mut entry = Entry::new(Kind::Request, id, time(self.entries.len()));
        entry.content = Some(self.content(messages));
        (entry.case, entry.actor) = (said.case.map(Into::into), said.actor.map(Into::into));
        entry.model = said.model.map(Into::into);
        entry.redaction = redaction(said);
        self.push(&entry);
    }

    fn response(&mut self, exchange: &str, text: &str, said: &Said<'_>) {
        let mut entry = Entry::new(Kind::Response, format!("r-{exchange}"), time(self.entries.len()));
        entry.exchange = Some(exchange.into());
        entry.outcome = Some(Outcome::Complete);
        entry.model = said.model.map(Into::into);
        entry.content = Some(self.content(&[("assistant", text)]));
        entry.redaction = redaction(said);
        self.push(&entry);
    }
}

fn redaction(said: &Said<'_>) -> Option<Redaction> {
    Some(Redaction {
        policy: sha256("policy"),
        findings: said.findings.iter().map(|(entity, count)| ((*entity).into(), *count)).collect(),
        tokens: said.tokens.iter().map(|token| (*token).into()).collect(),
        external: BTreeMap::new(),
        external_failures: BTreeMap::new(),
    })
}

/// A second later with each entry.
fn time(index: usize) -> String {
    format!("2026-11-22T{:02}:{:02}:{:02}.500000Z", index / 3600 % 24, index / 60 % 60, index % 60)
}

impl Source for Log {
    type Error = Infallible;

    fn size(&self) -> Result<u64, Infallible> {
        Ok(self.published.get().unwrap_or(self.entries.len() as u64))
    }

    fn root(&self, size: u64) -> Result<Hash, Infallible> {
        let mut frontier = Frontier::new();
        self.entries[..size as usize].iter().for_each(|entry| frontier.push(leaf_hash(entry)));
        Ok(frontier.root())
    }

    fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Infallible> {
        let (from, until) = (bundle as usize * 256, size.min(bundle * 256 + 256) as usize);
        Ok(self.entries[from..until].to_vec())
    }

    fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        self.asked.borrow_mut().push(*hash);
        Ok(self.parts.get(hash).cloned())
    }
}

/// An index of all of a log.
fn indexed(log: &Log) -> Index {
    let mut index = Index::in_memory().expect("memory");
    assert_eq!(index.catch_up(log).expect("a log"), log.size().unwrap());
    index
}

fn all() -> Query {
    Query { limit: usize::MAX, ..Query::default() }
}

fn text(text: &str) -> Query {
    Query { text: Some(text.into()), ..all() }
}

fn found(index: &Index, query: &Query) -> Vec<String> {
    index.search(query).expect("no text is an error").into_iter().map(|hit| hit.exchange).collect()
}

/// A log of all sorts.
fn log() -> Log {
    let mut log = Log::default();
    log.push(&Entry::new(Kind::Start, "start", time(0)));
    log.request(
        "A",
        &[
            ("system", "You are a support agent."),
            ("user", "Where is my Päckchen? Mail [EMAIL_ADDRESS:k7f3q2ab] please."),
        ],
        &Said {
            case: Some("C-1042"),
            actor: Some("k_9f2c"),
            model: Some("gpt-4o-mini"),
            findings: &[("EMAIL_ADDRESS", 1)],
            tokens: &["EMAIL_ADDRESS:k7f3q2ab"],
        },
    );
    log.response(
        "A",
        "It left the warehouse on Monday.",
        &Said { findings: &[("EMAIL_ADDRESS", 2)], ..Said::default() },
    );
    log.request(
        "B",
        &[("system", "You are a support agent."), ("user", "Refund my order, the warehouse lost it.")],
        &Said { case: Some("c-1042"), actor: Some("k_other"), model: Some("gpt-4"), ..Said::default() },
    );
    log.request(
        "C",
        &[("user", "我的订单在哪里")],
        &Said { tokens: &["PHONE_NUMBER:aaaaaaaa"], findings: &[("PHONE_NUMBER", 1)], ..Said::default() },
    );
    log.response("C", "A refund takes five days.", &Said { model: Some("gpt-4-0613"), ..Said::default() });
    log
}

#[test]
fn finds_words_of_request_and_response() {
    let index = indexed(&log());
    assert_eq!(found(&index, &text("packchen")), ["A"]);
    assert_eq!(found(&index, &text("PÄCKCHEN monday")), ["A"]);
    assert_eq!(found(&index, &text("\"lost it\" refund")), ["B"]);
    assert_eq!(found(&index, &text("\"it lost\"")), [""; 0]);
    assert_eq!(found(&index, &text("warehouse -refund")), ["A"]);
    assert_eq!(found(&index, &text("wareh* -\"lost it\"")), ["A"]);
    assert_eq!(found(&index, &text("订单")), ["C"]);
    assert_eq!(found(&index, &text("单订")), [""; 0]);
    assert_eq!(found(&index, &text("frameword")), [""; 0]);
    assert_eq!(found(&index, &text("assistant")), [""; 0]);
    assert_eq!(found(&index, &text("-refund")), [""; 0]);
    assert_eq!(found(&index, &text("  ")), [""; 0]);
}

#[test]
fn finds_tokens_as_text() {
    let index = indexed(&log());
    for token in ["[EMAIL_ADDRESS:k7f3q2ab]", "k7f3q2ab", "EMAIL_ADDRESS", "\"[EMAIL_ADDRESS:k7f3q2ab]\""] {
        assert_eq!(found(&index, &text(token)), ["A"], "{token}");
    }
    assert_eq!(found(&index, &text("[EMAIL_ADDRESS:aaaaaaaa]")), [""; 0]);
}

#[test]
fn finds_by_what_the_entries_say() {
    let index = indexed(&log());
    assert_eq!(found(&index, &all()), ["C", "B", "A"]);
    assert_eq!(found(&index, &Query { case: Some("C-1042".into()), ..all() }), ["A"]);
    assert_eq!(found(&index, &Query { actor: Some("k_9f2c".into()), ..all() }), ["A"]);
    assert_eq!(found(&index, &Query { actor: Some("K_9F2C".into()), ..all() }), [""; 0]);
    assert_eq!(found(&index, &Query { entity: Some("PHONE_NUMBER".into()), ..all() }), ["C"]);
    let tokens = |tokens: &[&str]| Query { tokens: tokens.iter().map(|&t| t.into()).collect(), ..all() };
    assert_eq!(found(&index, &tokens(&["EMAIL_ADDRESS:k7f3q2ab", "PHONE_NUMBER:aaaaaaaa"])), ["C", "A"]);
    assert_eq!(found(&index, &tokens(&["EMAIL_ADDRESS:aaaaaaaa"])), [""; 0]);
    assert_eq!(found(&index, &Query { entity: Some("PHONE_NUMBER".into()), ..text("refund") }), ["C"]);
}

#[test]
fn takes_a_model_up_to_where_its_name_may_go_on() {
    let index = indexed(&log());
    let model = |name: &str| found(&index, &Query { model: Some(name.into()), ..all() });
    assert_eq!(model("gpt-4"), ["C", "B"], "not gpt-4o-mini; and the response's where the request has none");
    assert_eq!(model("gpt-4o-mini"), ["A"]);
    assert_eq!(model("gpt"), ["C", "B", "A"]);
    assert_eq!(model("GPT-4"), [""; 0]);
    assert_eq!(model("gpt-%"), [""; 0]);
}

#[test]
fn keeps_to_a_time_range_and_a_limit() {
    let index = indexed(&log());
    let range = |since: &str, until: &str| {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        found(&index, &Query { since: bound(since), until: bound(until), ..all() })
    };
    assert_eq!(range("2026-11-22", "2026-11-23"), ["C", "B", "A"]);
    assert_eq!(range("", "2026-11-22"), [""; 0]);
    assert_eq!(range("2026-11-22T00:00:03Z", ""), ["C", "B"], "B is half a second later");
    assert_eq!(range("2026-11-22T00:00:03.500000Z", "2026-11-22T00:00:04.500000Z"), ["B"]);
    assert_eq!(found(&index, &Query { limit: 2, ..all() }), ["C", "B"]);
    assert_eq!(found(&index, &Query { limit: 1, ..text("warehouse") }).len(), 1);
    assert_eq!(found(&index, &Query { limit: 0, ..all() }), [""; 0]);
}

#[test]
fn puts_the_best_first_and_the_newest_among_equals() {
    let mut log = Log::default();
    log.request("long", &[("user", &format!("refund {}", "and many other words ".repeat(50)))], &Said::default());
    log.request("old", &[("user", "refund a please")], &Said::default());
    log.request("new", &[("user", "refund b please")], &Said::default());
    log.request("none", &[("user", "other")], &Said::default());
    assert_eq!(found(&indexed(&log), &text("refund")), ["new", "old", "long"]);
}

#[test]
fn shows_members_in_their_order() {
    let index = indexed(&log());
    let hits = index.search(&text("mönday")).unwrap();
    assert_eq!(
        serde_json::to_string(&hits[0]).unwrap(),
        r#"{"exchange":"A","entry":1,"time":"2026-11-22T00:00:01.500000Z","case":"C-1042","actor":"k_9f2c","model":"gpt-4o-mini","outcome":"complete","findings":{"EMAIL_ADDRESS":3},"snippet":"You are a support agent. Where is my Päckchen? Mail [EMAIL_ADDRESS:k7f3q2ab] please. It left the warehouse on Monday."}"#
    );
    let hits = index.search(&Query { case: Some("c-1042".into()), ..all() }).unwrap();
    assert_eq!(
        serde_json::to_string(&hits[0]).unwrap(),
        r#"{"exchange":"B","entry":3,"time":"2026-11-22T00:00:03.500000Z","case":"c-1042","actor":"k_other","model":"gpt-4","outcome":null,"findings":{},"snippet":"Refund my order, the warehouse lost it."}"#
    );
}

#[test]
fn no_snippet_commands_a_terminal() {
    let mut log = Log::default();
    let evil = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31mred\r\n\u{202e}txt\u{2066} word \u{2}\u{3}\u{0}end";
    log.request("A", &[("user", evil)], &Said::default());
    log.response("A", evil, &Said::default());
    let index = indexed(&log);
    for query in [text("word"), text("wor*"), all()] {
        let snippet = index.search(&query).unwrap().remove(0).snippet;
        assert!(snippet.contains("word"), "{snippet:?}");
        assert!(
            !snippet
                .contains(|c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        );
    }
}

#[test]
fn takes_a_text_only_with_the_exchange_that_is_first_to_have_it() {
    let mut log = Log::default();
    log.request("A", &[("user", "first question")], &Said::default());
    log.response("A", "first answer", &Said::default());
    log.request(
        "B",
        &[("user", "first question"), ("assistant", "first answer"), ("user", "second")],
        &Said::default(),
    );
    let index = indexed(&log);
    assert_eq!(found(&index, &text("first")), ["A"]);
    assert_eq!(found(&index, &text("second")), ["B"]);
    let mut asked = log.asked.take();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), count, "each part is read once");

    // Asked again, it is still what the exchange is shown by.
    log.request("C", &[("user", "first question")], &Said::default());
    let index = indexed(&log);
    assert_eq!(index.search(&all()).unwrap()[0].snippet, "first question");
    assert_eq!(found(&index, &text("question")), ["C", "A"], "whoever asks the same is found too");
}

#[test]
fn follows_a_manifest_and_takes_a_frame_that_is_alone() {
    let mut log = Log::default();
    let mut entry = Entry::new(Kind::Request, "A", time(0));
    let content = log.content(&[("user", "a listed message")]).parts;
    let manifest = log
        .store("manifest", &Manifest { content, tokens: vec!["X:listed22".into()], ..Manifest::default() }.to_bytes());
    let body = Content { sha256: Some(sha256("")), bytes: Some(0), ..Content::default() };
    entry.content = Some(Content { manifest: Some(manifest.sha256), ..body.clone() });
    log.push(&entry);
    let mut entry = Entry::new(Kind::Request, "B", time(1));
    let parts = vec![log.store(FRAME, b"plain text, not JSON \xff")];
    entry.content = Some(Content { parts, ..body.clone() });
    log.push(&entry);
    // One that is no manifest, and one that is not there.
    for (id, hash) in [("C", log.store("", b"[]").sha256), ("D", sha256("nowhere"))] {
        let mut entry = Entry::new(Kind::Request, id, time(2));
        entry.content = Some(Content { manifest: Some(hash), ..body.clone() });
        log.push(&entry);
    }
    let index = indexed(&log);
    assert_eq!(found(&index, &text("listed")), ["A"]);
    assert_eq!(found(&index, &Query { tokens: vec!["X:listed22".into()], ..all() }), ["A"]);
    assert_eq!(found(&index, &text("plain")), ["B"]);
    assert_eq!(found(&index, &all()), ["D", "C", "B", "A"]);
}

#[test]
fn leaves_out_what_it_cannot_read() {
    let mut log = log();
    let foreign: [&[u8]; 6] = [b"", b"\xff\xfe", b"{}", b"[1]", br#"{"v":2,"kind":"exchange.request"}"#, b"\0\0\0"];
    log.entries.extend(foreign.iter().map(|entry| entry.to_vec()));
    // A response to nothing, a second response, a second request.
    log.response("nowhere", "stray", &Said::default());
    log.response("A", "stray", &Said { findings: &[("X", 1)], ..Said::default() });
    log.request("A", &[("user", "stray")], &Said { tokens: &["X:aaaaaaaa"], ..Said::default() });
    // A request whose part is missing, until a later one has it.
    log.request("D", &[("user", "lost and found")], &Said::default());
    let lost = sha256(serde_json::json!({"role": "user", "content": "lost and found"}).to_string());
    let bytes = log.parts.remove(&lost).unwrap();
    let mut index = indexed(&log);
    assert_eq!(found(&index, &text("stray")), [""; 0]);
    assert_eq!(found(&index, &all()), ["D", "C", "B", "A"]);
    log.request("E", &[("user", "lost and found")], &Said::default());
    log.parts.insert(lost, bytes);
    index.catch_up(&log).unwrap();
    assert_eq!(found(&index, &text("lost found")), ["E"]);
}

#[test]
fn is_made_again_for_another_log_and_for_one_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("search/index.db");
    let log = log();
    Index::open(&path).unwrap().catch_up(&log).unwrap();
    let mut index = Index::open(&path).unwrap();
    assert_eq!(index.size().unwrap(), log.entries.len() as u64);

    let mut shorter = log.clone();
    shorter.entries.truncate(3);
    assert_eq!(index.catch_up(&shorter).unwrap(), 3);
    assert_eq!(found(&index, &all()), ["A"]);

    // Of the same size, and longer.
    let mut other = Log::default();
    for id in ["X", "Y", "Z"] {
        other.request(id, &[("user", "Where is my Päckchen?")], &Said::default());
    }
    assert_eq!(index.catch_up(&other).unwrap(), 3);
    assert_eq!(found(&index, &all()), ["Z", "Y", "X"]);
    index.catch_up(&log).unwrap();
    assert_eq!(found(&index, &all()), ["C", "B", "A"]);

    let empty = Log::default();
    assert_eq!(index.catch_up(&empty).unwrap(), 0);
    assert_eq!(found(&index, &all()), [""; 0]);
    index.catch_up(&log).unwrap();
    assert_eq!(hits(&index), hits(&indexed(&log)));
}

#[test]
fn refuses_a_bundle_that_is_too_short() {
    struct Short(Log);
    impl Source for Short {
        type Error = Infallible;
        fn size(&self) -> Result<u64, Infallible> {
            self.0.size()
        }
        fn root(&self, size: u64) -> Result<Hash, Infallible> {
            self.0.root(size)
        }
        fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Infallible> {
            self.0.entries(bundle, size - 1)
        }
        fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
            Source::part(&self.0, hash)
        }
    }
    let mut index = Index::in_memory().unwrap();
    assert!(matches!(index.catch_up(&Short(log())), Err(CatchUpError::Short { bundle: 0 })));
    assert_eq!(index.size().unwrap(), 0);
    assert_eq!(found(&index, &all()), [""; 0]);
}

/// Everything that can be seen of an index.
fn hits(index: &Index) -> Vec<Vec<Hit>> {
    ["refund", "filler", "word1*", "question answer", "\"answer 7\"", "-no what"]
        .map(text)
        .iter()
        .chain([&all()])
        .map(|query| index.search(query).unwrap())
        .collect()
}

/// Conversations that go on beside each other, so that answers come late.
fn conversations(exchanges: usize) -> Log {
    let mut log = Log::default();
    let mut history: Vec<Vec<(String, String)>> = vec![Vec::new(); 7];
    let mut open: Vec<(usize, String)> = Vec::new();
    for n in 0..exchanges {
        let id = format!("X{n:06}");
        let turns = &mut history[n % 7];
        turns.push(("user".into(), format!("question {n} word{} what {}", n % 13, "filler ".repeat(n % 5))));
        let messages: Vec<(&str, &str)> = turns.iter().map(|(role, text)| (&**role, &**text)).collect();
        log.request(&id, &messages, &Said { findings: &[("EMAIL_ADDRESS", 1)], ..Said::default() });
        open.push((n, id));
        if turns.len() > 8 {
            turns.clear();
        }
        while open.len() > n % 5 {
            let (n, id) = open.remove((n * 31) % open.len());
            let answer = format!("answer {n} refund {}", n % 11);
            log.response(&id, &answer, &Said { findings: &[("EMAIL_ADDRESS", 2)], ..Said::default() });
            history[n % 7].push(("assistant".into(), answer));
        }
    }
    log
}

#[test]
fn it_does_not_matter_in_how_many_steps_it_catches_up() {
    let log = conversations(300);
    let expected = hits(&indexed(&log));
    assert!(expected.iter().take(5).all(|hits| !hits.is_empty()));
    for step in [1, 7, 255, 256, 257] {
        let mut index = Index::in_memory().unwrap();
        let mut size = 0;
        while size < log.entries.len() as u64 {
            size = (size + step).min(log.entries.len() as u64);
            log.published.set(Some(size));
            assert_eq!(index.catch_up(&log).unwrap(), size);
        }
        assert_eq!(hits(&index), expected, "in steps of {step}");
        assert_eq!(index.catch_up(&log).unwrap(), size, "and nothing is taken twice");
        assert_eq!(hits(&index), expected);
    }
}

#[test]
fn takes_more_text_than_a_transaction_has() {
    let mut log = Log::default();
    // 36 requests with 1 MiB and more each, of which the answers come later.
    for n in 0..36 {
        log.request(
            &format!("X{n}"),
            &[("user", &format!("begin{n} {}end", "filler ".repeat(160_000)))],
            &Said::default(),
        );
    }
    for n in 0..36 {
        log.response(&format!("X{n}"), &format!("answer{n}"), &Said::default());
    }
    let index = indexed(&log);
    assert_eq!(found(&index, &text("answer7 begin7")), ["X7"]);
    assert_eq!(found(&index, &text("answer35 begin35")), ["X35"]);
    assert_eq!(found(&index, &text("end")), [""; 0], "beyond the limit of a part");
}

#[test]
fn one_connection_reads_while_another_writes() {
    /// Searches with another connection in the middle of a transaction.
    struct Beside<'a>(&'a Log, &'a Index, Cell<u32>);
    impl Source for Beside<'_> {
        type Error = Infallible;
        fn size(&self) -> Result<u64, Infallible> {
            self.0.size()
        }
        fn root(&self, size: u64) -> Result<Hash, Infallible> {
            self.0.root(size)
        }
        fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Infallible> {
            self.0.entries(bundle, size)
        }
        fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
            assert_eq!(found(self.1, &text("päckchen")), ["A"]);
            assert_eq!(found(self.1, &all()), ["C", "B", "A"]);
            self.2.set(self.2.get() + 1);
            Source::part(self.0, hash)
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.db");
    let mut log = log();
    let mut writer = Index::open(&path).unwrap();
    writer.catch_up(&log).unwrap();
    let reader = Index::open(&path).unwrap();
    log.request("D", &[("user", "another Päckchen")], &Said::default());
    let beside = Beside(&log, &reader, Cell::new(0));
    writer.catch_up(&beside).unwrap();
    assert!(beside.2.get() > 0);
    assert_eq!(found(&reader, &all()), ["D", "C", "B", "A"]);
}

#[test]
fn two_may_open_and_catch_up_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.db");
    let log = conversations(250);
    let expected = hits(&indexed(&log));
    std::thread::scope(|scope| {
        for step in [13, 57, 400] {
            let (path, log) = (&path, log.clone());
            scope.spawn(move || {
                let mut index = Index::open(path).unwrap();
                for size in (step..log.entries.len() as u64).step_by(step as usize) {
                    log.published.set(Some(size));
                    let log = Growing(&log, path);
                    index.catch_up(&log).unwrap();
                }
                log.published.set(None);
                index.catch_up(&log).unwrap();
            });
        }
    });
    assert_eq!(hits(&Index::open(&path).unwrap()), expected);
}

/// A log of which at least as much is published as anybody has indexed.
struct Growing<'a>(&'a Log, &'a std::path::Path);

impl Source for Growing<'_> {
    type Error = Infallible;
    fn size(&self) -> Result<u64, Infallible> {
        let indexed = Index::open(self.1).unwrap().size().unwrap();
        Ok(self.0.size()?.max(indexed))
    }
    fn root(&self, size: u64) -> Result<Hash, Infallible> {
        self.0.root(size)
    }
    fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Infallible> {
        self.0.entries(bundle, size)
    }
    fn part(&self, hash: &Hash) -> Result<Option<Vec<u8>>, Infallible> {
        Source::part(self.0, hash)
    }
}

#[test]
fn an_error_of_the_source_leaves_what_was_before() {
    #[derive(Debug)]
    struct Away;
    impl fmt::Display for Away {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("away")
        }
    }
    impl std::error::Error for Away {}
    struct Failing(Log);
    impl Source for Failing {
        type Error = Away;
        fn size(&self) -> Result<u64, Away> {
            Ok(self.0.entries.len() as u64)
        }
        fn root(&self, size: u64) -> Result<Hash, Away> {
            Ok(self.0.root(size).unwrap())
        }
        fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>, Away> {
            Ok(self.0.entries(bundle, size).unwrap())
        }
        fn part(&self, _: &Hash) -> Result<Option<Vec<u8>>, Away> {
            Err(Away)
        }
    }
    let mut log = log();
    let mut index = indexed(&log);
    let before = hits(&index);
    log.request("D", &[("user", "a refund")], &Said::default());
    let error = index.catch_up(&Failing(log.clone())).unwrap_err();
    assert!(matches!(error, CatchUpError::Source(Away)));
    assert_eq!(hits(&index), before);
    index.catch_up(&log).unwrap();
    assert_eq!(hits(&index), hits(&indexed(&log)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_an_error(
        any in ".*",
        typed in r#"(["*()\-+^:{},\\\[\]. ]|AND|OR|NOT|NEAR|refund|body|words|\x00|[^\x00-\x7f]){0,30}"#,
    ) {
        thread_local!(static INDEX: Index = indexed(&log()));
        INDEX.with(|index| {
            for query in [&any, &typed] {
                let query = Query {
                    case: None, model: Some(any.clone()), since: Some(any.clone()), tokens: vec![typed.clone()], ..text(query)
                };
                index.search(&query).expect("no text is an error");
                found(index, &Query { model: None, since: None, tokens: vec![], ..query });
            }
        });
    }

    #[test]
    fn a_word_of_a_text_is_found(words in prop::collection::vec(r"[a-zA-Z0-9äß漢字ไทย한글'_\.\-]{1,8}", 1..6)) {
        let mut log = Log::default();
        log.request("A", &[("user", &words.join(" "))], &Said::default());
        let index = indexed(&log);
        for word in words.iter().filter(|word| word.contains(|c: char| c.is_alphanumeric()) && !word.starts_with('-')) {
            prop_assert_eq!(found(&index, &text(word)), ["A"], "{}", word);
        }
    }

    #[test]
    fn no_part_is_too_foreign(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5), json in r#"([\{\}\[\]":,\\u d8003a]){0,60}"#) {
        let mut log = Log::default();
        let mut entry = Entry::new(Kind::Request, "A", "\u{1b}");
        let mut listed = vec![log.store(FRAME, b"")];
        listed.push(log.store("user", json.as_bytes()));
        for part in &parts {
            listed.push(log.store("user", part));
        }
        entry.content = Some(Content { sha256: Some(sha256("")), bytes: Some(0), parts: listed, ..Content::default() });
        log.push(&entry);
        log.entries.extend(parts);
        let hits = indexed(&log).search(&all()).unwrap();
        prop_assert_eq!(hits.len(), 1);
        prop_assert!(!hits[0].snippet.contains(|c: char| c.is_control()));
    }
}

#[test]
fn what_expired_is_found_by_what_its_entries_say_and_by_no_word_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.db");
    let mut log = Log::default();
    let said = Said { case: Some("C-1"), tokens: &["EMAIL_ADDRESS:abcd2345"], ..Said::default() };
    log.request("a", &[("user", "the marmalade question")], &said);
    log.response("a", "an answer about pumpernickel", &said);
    log.request("b", &[("user", "something about marmalade again")], &said);
    log.response("b", "yes", &said);
    let mut before = Index::open(&path).unwrap();
    before.catch_up(&log).unwrap();
    let mut expiry = Entry::new(Kind::Expire, "x", time(9));
    expiry.erase =
        Some(tabellion_evidence::entry::Erase { entries: vec![(0, 1)], selection: BTreeMap::new(), basis: None });
    log.push(&expiry);
    // One that had it all before, and two that take in everything at once, with and without the content.
    before.catch_up(&log).unwrap();
    let at_once = indexed(&log);
    log.parts.clear();
    let without = indexed(&log);
    for index in [&before, &at_once] {
        assert_eq!(found(index, &text("marmalade")), ["b"]);
    }
    for index in [&before, &at_once, &without] {
        assert!(found(index, &text("pumpernickel")).is_empty());
        assert_eq!(found(index, &Query { case: Some("C-1".into()), ..all() }), ["b", "a"]);
        let tokens = vec!["EMAIL_ADDRESS:abcd2345".to_owned()];
        let hits = index.search(&Query { tokens, ..all() }).unwrap();
        assert_eq!((hits[1].exchange.as_str(), hits[1].snippet.as_str()), ("a", ""));
    }
    drop(before);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"pumpernickel"), "it is overwritten");
}

#[test]
fn no_word_of_what_expired_is_left_in_the_file_however_the_index_was_merged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.db");
    let mut index = Index::open(&path).unwrap();
    let mut log = Log::default();
    // Many segments, which FTS5 merges as it goes.
    for batch in 0..40_u64 {
        for n in 0..25_u64 {
            let id = format!("{batch}-{n}");
            log.request(
                &id,
                &[("user", &format!("expiring{batch:02}x{n:02} and some more words of it"))],
                &Said::default(),
            );
            log.response(&id, &format!("answer{batch:02}x{n:02} to it"), &Said::default());
        }
        index.catch_up(&log).unwrap();
    }
    let last = log.entries.len() as u64 - 1;
    log.request("kept", &[("user", "a keepsake")], &Said::default());
    let mut expiry = Entry::new(Kind::Expire, "x", time(9));
    expiry.erase =
        Some(tabellion_evidence::entry::Erase { entries: vec![(0, last)], selection: BTreeMap::new(), basis: None });
    log.push(&expiry);
    index.catch_up(&log).unwrap();
    drop(index);
    let mut files = Vec::new();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        files.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    // An index keeps a word as what it differs in from the one before it.
    for word in ["expiring", "xpiring", "answer", "nswer0", "x07", "x13"] {
        assert!(!files.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is left");
    }
    assert!(files.windows(8).any(|window| window == b"keepsake"));
}
