//! Trains and measures the tagger: `train/run` calls it, `docs/tagger.md` says what it makes.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]
#![allow(clippy::needless_range_loop, reason = "sums over pairs of labels are written as sums over indices")]

mod crf;
mod data;
mod eval;
mod names;
mod pack;
mod random;
mod synth;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use crf::{Crf, Example};
use data::Sentence;
use names::Names;
use random::Random;
use tabellion_detect::tagger::{self, Entity, Label, Tagger, feature, model::Model, token};

const CORPORA: [&str; 6] = ["ewt", "btc", "wnut17", "pt", "sv", "da"];

#[derive(Clone)]
struct Settings {
    data: PathBuf,
    lists: PathBuf,
    out: PathBuf,
    card: Option<PathBuf>,
    epochs: usize,
    without: Vec<String>,
    alpha: f32,
    l1: f32,
    l2: f32,
    synth: usize,
    show: Option<String>,
    only_eval: bool,
    tune: bool,
    no_news: bool,
    learners: usize,
    forget: usize,
    drop: usize,
    replace: usize,
    /// How often a sentence of the English web is seen in an epoch.
    web: usize,
    /// What is found with a lower score is not counted.
    least: f32,
}

fn main() {
    let mut s = Settings {
        data: "../shared/data/ner".into(),
        lists: "target/train".into(),
        out: "model.bin".into(),
        card: None,
        epochs: 7,
        without: Vec::new(),
        alpha: 0.1,
        l1: 0.3,
        l2: 1.0,
        synth: 9_000,
        show: None,
        only_eval: false,
        tune: false,
        no_news: false,
        learners: 4,
        forget: 12,
        drop: 15,
        replace: 60,
        web: 2,
        least: 0.0,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--only-eval" {
            s.only_eval = true;
            continue;
        }
        if arg == "--no-news" {
            s.no_news = true;
            continue;
        }
        if arg == "--tune" {
            s.tune = true;
            continue;
        }
        let value = args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        let number = || value.parse::<f32>().expect("a number");
        match arg.as_str() {
            "--data" => s.data = value.into(),
            "--lists" => s.lists = value.into(),
            "--card" => s.card = Some(value.into()),
            "--out" => s.out = value.into(),
            "--epochs" => s.epochs = number() as usize,
            "--without" => s.without.push(value),
            "--alpha" => s.alpha = number(),
            "--l1" => s.l1 = number(),
            "--l2" => s.l2 = number(),
            "--synth" => s.synth = number() as usize,
            "--drop" => s.drop = number() as usize,
            "--learners" => s.learners = number() as usize,
            "--forget" => s.forget = number() as usize,
            "--replace" => s.replace = number() as usize,
            "--web" => s.web = number() as usize,
            "--least" => s.least = number(),
            "--show" => s.show = Some(value),
            _ => panic!("unknown argument {arg}"),
        }
    }
    if !s.only_eval {
        train(&s);
    }
    let table = measure(&s);
    if let Some(card) = &s.card {
        std::fs::write(card, include_str!("../card.md").replace("FIGURES\n", &table)).expect("the card is written");
    }
}

fn file(s: &Settings, corpus: &str, part: &str) -> PathBuf {
    let folder = s.data.join(corpus);
    let iob = folder.join(format!("{part}.iob2"));
    if iob.exists() { iob } else { folder.join(format!("{part}.conll")) }
}

/// What is trained on, or what is measured on: the corpus's own parts, or with `--tune` two parts of the first.
fn part(s: &Settings, corpus: &str, held_out: bool) -> Vec<Sentence> {
    if corpus == "news" {
        return part(s, "ewt", true)
            .into_iter()
            .chain(data::read(&file(s, "ewt", "train")).into_iter().filter(|_| s.no_news))
            .filter(|s| s.news)
            .collect();
    }
    if !held_out && s.no_news {
        let all = Settings { no_news: false, ..s.clone() };
        return part(&all, corpus, false).into_iter().filter(|s| !s.news).collect();
    }
    let read = |part: &str| {
        let mut all = data::read(&file(s, corpus, part));
        if corpus == "btc" && !held_out {
            all.iter_mut().for_each(data::label_handles);
        }
        all
    };
    if !s.tune {
        return read(if held_out { "dev" } else { "train" });
    }
    let all = read("train");
    all.into_iter().enumerate().filter(|(i, _)| (i / 40 % 8 == 7) == held_out).map(|(_, s)| s).collect()
}

/// The labels of tokens.
fn labels(tokens: &[token::Token], spans: &[(usize, usize, Entity)]) -> Vec<u8> {
    let mut labels = vec![0; tokens.len()];
    for (start, end, entity) in spans {
        let mut further = false;
        for (token, label) in tokens.iter().zip(&mut labels) {
            if (token.start as usize) < *end && (token.end as usize) > *start {
                *label = Label::of(*entity, further);
                further = true;
            }
        }
    }
    labels
}

/// Gives each token of a text to `out`: its label, whether it begins a sentence, and its features' keys. Of 100 names,
/// `unknown` are made unknown to the lexicon, as most names of the world are; of 100 tokens, `drop` lose one group of
/// features or another, so that the others learn to do without.
fn each(
    model: &Model<'_>,
    s: &Sentence,
    unknown: usize,
    drop: usize,
    random: &mut Random,
    mut out: impl FnMut(u8, bool, &[u32]),
) {
    let mut tokens = Vec::new();
    token::tokenize(&s.text, &mut tokens);
    let all = labels(&tokens, &s.spans);
    let (mut words, mut buffer, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for sentence in tagger::sentences(&tokens) {
        let labels = &all[at..at + sentence.len()];
        at += sentence.len();
        feature::look(model, &s.text, sentence, &mut words);
        for (word, token) in words[2..].iter_mut().zip(sentence) {
            if !matches!(token.shape, token::Shape::Mark | token::Shape::Net | token::Shape::Number) {
                feature::affixes(&s.text[token.start as usize..token.end as usize], word, &mut buffer);
            }
        }
        let mut forget = false;
        for (word, label) in words[2..].iter_mut().zip(labels) {
            if !Label::further(*label) {
                forget = *label != 0 && random.chance(if *label <= 2 { unknown } else { unknown / 2 });
            }
            if *label != 0 && forget || *label == 0 && random.chance(2) {
                (word.entry, word.path, word.small, word.coarse, word.phrase) = Default::default();
            }
        }
        for (i, label) in labels.iter().enumerate() {
            let left_out = (0..5).fold(0, |mask, group| mask | u32::from(random.chance(drop)) << group);
            keys.clear();
            feature::features(&words, i + 2, |template, key| {
                if left_out >> group(template) & 1 == 0 {
                    keys.push(key);
                }
            });
            out(*label, i == 0, &keys);
        }
    }
}

/// How often a word stands in the corpora, and how often as part of a name.
fn tallies(corpora: &[(&str, Vec<Sentence>)]) -> HashMap<String, (u32, u32)> {
    let mut tallies: HashMap<String, (u32, u32)> = HashMap::new();
    let mut tokens = Vec::new();
    for s in corpora.iter().flat_map(|(_, s)| s) {
        token::tokenize(&s.text, &mut tokens);
        for (token, label) in tokens.iter().zip(labels(&tokens, &s.spans)) {
            let tally = tallies.entry(s.text[token.start as usize..token.end as usize].to_lowercase()).or_default();
            tally.0 += 1;
            tally.1 += u32::from(label != 0);
        }
    }
    tallies
}

/// The group of a feature's template: the word, the words beside it, its pieces, its clusters, its lists.
fn group(template: u32) -> u32 {
    match template {
        1 | 6 | 7 | 61 | 62 => 0,
        2..=5 | 8 | 13..=16 | 29..=32 | 35..=37 | 58 | 59 => 1,
        17..=25 => 2,
        26..=28 | 33 | 34 | 56 | 57 | 60 => 3,
        38..=53 => 4,
        _ => 5,
    }
}

/// One epoch's sentences, changed at random.
fn epoch(
    corpora: &[(&str, Vec<Sentence>)],
    names: &Names,
    templates: &[&str],
    synth: usize,
    replace: usize,
    web: usize,
    random: &mut Random,
) -> Vec<Sentence> {
    let mut out = Vec::new();
    for (corpus, sentences) in corpora {
        let spaced = matches!(*corpus, "btc" | "wnut17");
        // The web's English counts more often: it is the largest and the most mixed.
        let times = if *corpus == "ewt" { web } else { 1 };
        for s in std::iter::repeat_n(sentences, times).flatten() {
            let s = if spaced && random.chance(40) { data::detokenize(s) } else { s.clone() };
            let s = if random.chance(replace) { names.replace(&s, random) } else { s };
            out.push(data::recase(&s, random));
        }
    }
    // Code, as it is.
    for _ in 0..synth / 3 {
        out.push(Sentence { text: names.code(random), ..Sentence::default() });
    }
    for _ in 0..synth {
        let template = random.pick(templates).replace("\\n", "\n");
        let s = synth::fill(&template, names, random);
        out.push(data::recase(&s, random));
    }
    random.shuffle(&mut out);
    out
}

fn train(s: &Settings) {
    let clock = Instant::now();
    let names = Names::read(&s.lists);
    let templates = synth::templates();
    let corpora: Vec<_> =
        CORPORA.iter().filter(|c| !s.without.iter().any(|w| w == *c)).map(|c| (*c, part(s, c, false))).collect();
    for (corpus, sentences) in &corpora {
        eprintln!(
            "{corpus}: {} sentences, {} names",
            sentences.len(),
            sentences.iter().map(|s| s.spans.len()).sum::<usize>()
        );
    }

    let lexicon = pack::Lexicon::read(&s.lists, &tallies(&corpora));
    let bare = lexicon.model(&[], &[[0.0; 8]; 8], 12_000_000);
    let model = Model::new(&bare).expect("a model just made");

    // Which features there are: those seen twice.
    let mut seen: HashMap<u32, u8, Plain> = HashMap::default();
    let mut random = Random(1);
    for _ in 0..2 {
        for sentence in epoch(&corpora, &names, &templates, s.synth, s.replace, s.web, &mut random) {
            each(&model, &sentence, s.forget, 0, &mut random, |_, _, keys| {
                for key in keys {
                    let n = seen.entry(*key).or_default();
                    *n = n.saturating_add(1);
                }
            });
        }
    }
    let mut keys: Vec<u32> = seen.iter().filter(|(_, n)| **n >= 3).map(|(k, _)| *k).collect();
    keys.sort_unstable();
    drop(seen);
    let mut number: HashMap<u32, u32, Plain> = HashMap::default();
    number.extend(keys.iter().enumerate().map(|(i, k)| (*k, i as u32)));
    eprintln!("{} features ({:?})", keys.len(), clock.elapsed());

    let course =
        Course { settings: s, model: &model, corpora: &corpora, names: &names, templates: &templates, number: &number };
    // Each learner alone, from its own seed, two at a time; what they learned is averaged.
    let seeds: Vec<u64> = (1..=s.learners as u64).collect();
    let mut means = vec![[0.0f32; 8]; keys.len()];
    let mut after = [[0.0f32; 8]; 8];
    for pair in seeds.chunks(2) {
        let learned: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = pair.iter().map(|seed| scope.spawn(|| course.learn(*seed))).collect();
            threads.into_iter().map(|t| t.join().expect("a learner ends")).collect()
        });
        for (weights, turn) in learned {
            add(&mut means, &weights, 1.0 / seeds.len() as f32);
            add(&mut after, &turn, 1.0 / seeds.len() as f32);
        }
    }
    eprintln!("learned ({:?})", clock.elapsed());
    let weights: Vec<(u32, [f32; 8])> =
        keys.iter().zip(&means).filter(|(_, w)| w.iter().any(|w| w.abs() > 0.01)).map(|(k, w)| (*k, *w)).collect();
    after.iter_mut().for_each(|row| row[7] = 0.0);
    let bytes = lexicon.model(&weights, &after, 11_900_000);
    std::fs::write(&s.out, &bytes).expect("the model is written");
    eprintln!("{} bytes ({:?})", bytes.len(), clock.elapsed());
}

/// Adds a part of `b` to `a`.
fn add(a: &mut [[f32; 8]], b: &[[f32; 8]], part: f32) {
    for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
        *a += b * part;
    }
}

/// What all learners share.
struct Course<'a> {
    settings: &'a Settings,
    model: &'a Model<'a>,
    corpora: &'a [(&'a str, Vec<Sentence>)],
    names: &'a Names,
    templates: &'a [&'a str],
    /// A feature's number by its key.
    number: &'a HashMap<u32, u32, Plain>,
}

impl Course<'_> {
    /// The mean of the weights after the later epochs, and what labels add after one another.
    fn learn(&self, seed: u64) -> (Vec<[f32; 8]>, [[f32; 8]; 8]) {
        let s = self.settings;
        let mut crf = Crf::new(self.number.len(), s.alpha, s.l1, s.l2);
        let mut sums = Vec::new();
        let mut means = vec![[0.0f32; 8]; self.number.len()];
        let late = s.epochs - s.epochs / 2;
        for round in 0..s.epochs {
            let mut random = Random(seed << 32 | round as u64);
            let (mut loss, mut tokens) = (0.0, 0);
            for sentence in epoch(self.corpora, self.names, self.templates, s.synth, s.replace, s.web, &mut random) {
                for example in examples(self, &sentence, &mut random) {
                    tokens += example.labels.len();
                    loss += crf.step(&example, &mut sums);
                }
            }
            eprintln!("learner {seed}, epoch {round}: loss {:.5} over {tokens} tokens", loss / tokens as f64);
            if round >= s.epochs - late {
                add(&mut means, &crf.weights, 1.0 / late as f32);
            }
        }
        (means, crf.after)
    }
}

/// A text's sentences with their features' numbers.
fn examples(course: &Course<'_>, sentence: &Sentence, random: &mut Random) -> Vec<Example> {
    let Settings { forget, drop, .. } = *course.settings;
    let mut out = vec![Example::default()];
    each(course.model, sentence, forget, drop, random, |label, first, keys| {
        if first {
            out.push(Example::default());
        }
        let example = out.last_mut().expect("one is there");
        example.features.extend(keys.iter().filter_map(|key| course.number.get(key)));
        example.ends.push(example.features.len() as u32);
        example.labels.push(label);
    });
    out
}

/// Prints what the model finds of the held-out text, as a table; the table.
fn measure(s: &Settings) -> String {
    let bytes = std::fs::read(&s.out).expect("the model is read");
    let tagger = Tagger::new(&bytes).expect("a model");
    let mut table =
        String::from("| text | PERSON P / R / F1 / touched | LOCATION | ORGANIZATION |\n|---|---|---|---|\n");
    for corpus in CORPORA.into_iter().chain(["news", "ewt docs"]) {
        let sentences = if corpus == "ewt docs" { data::joined(&part(s, "ewt", true)) } else { part(s, corpus, true) };
        for small in [false, true] {
            let counts = eval::count(&tagger, &sentences, small, s.least, |sentence, spans| {
                if !small && s.show.as_deref() == Some(corpus) {
                    show(sentence, spans);
                }
            });
            table.push_str(&format!("| {corpus}{}", if small { ", small letters" } else { "" }));
            for c in counts {
                let rates = [c.precision(), c.recall(), c.f1(), c.touched()].map(|r| format!("{r:.3}"));
                table.push_str(&format!(" | {}", rates.join(" / ")));
            }
            table.push_str(" |\n");
        }
    }
    println!("{table}");
    table
}

fn show(sentence: &Sentence, spans: &[tagger::Span]) {
    for (start, end, entity) in &sentence.spans {
        if !spans.iter().any(|x| x.start == *start && x.end == *end && x.entity == *entity) {
            println!("- {} [{}] in {}", entity.name(), &sentence.text[*start..*end], sentence.text);
        }
    }
    for x in spans {
        if !sentence.spans.contains(&(x.start, x.end, x.entity)) {
            println!("+ {} {:.2} [{}] in {}", x.entity.name(), x.score, &sentence.text[x.start..x.end], sentence.text);
        }
    }
}

/// Keys are hashes already.
type Plain = std::hash::BuildHasherDefault<Same>;

#[derive(Default)]
struct Same(u64);

impl std::hash::Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u32")
    }
    fn write_u32(&mut self, x: u32) {
        self.0 = u64::from(x).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
