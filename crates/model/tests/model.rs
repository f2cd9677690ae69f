//! A whole model, from its files to spans; what is malformed is refused by name.

#[path = "../examples/toy/making.rs"]
mod making;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tabellion_model::{Aggregation, LoadError, Model, ModelError, Settings};

fn settings(path: &Path) -> Settings {
    Settings {
        path: path.to_owned(),
        labels: BTreeMap::new(),
        aggregation: Aggregation::First,
        min_score: 0.5,
        timeout: Duration::from_secs(60),
        threads: 2,
    }
}

fn toy(family: &str) -> (tempfile::TempDir, Model) {
    let directory = tempfile::tempdir().unwrap();
    making::write(directory.path(), family);
    let model = Model::load(&settings(directory.path())).unwrap();
    (directory, model)
}

fn found(model: &Model, text: &str) -> Vec<(String, String)> {
    let all = model.find_all(&[text]).unwrap();
    all[0].iter().map(|found| (found.entity.clone(), text[found.start..found.end].to_owned())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(entity, text)| ((*entity).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn every_family_of_networks_finds_names_by_their_context() {
    for family in making::FAMILIES {
        let (_directory, model) = toy(family);
        let of = |text: &str| found(&model, text);
        // In bytes, past what takes two and four of them, in any case, and from several tokens.
        let text = "“Ça va?” 😀 Please ask MIRELDA Quill about the flat in Skarnby, and call Vrondak.";
        let expected = [("PERSON", "MIRELDA Quill"), ("LOCATION", "Skarnby"), ("PERSON", "Vrondak")];
        assert_eq!(of(text), pairs(&expected), "{family}");
        assert_eq!(of("Please ask about a quill, and the pen."), [], "{family}: what stands before it decides");
        assert_eq!(of("Quill. Jaxo."), pairs(&[("PERSON", "Quill"), ("PERSON", "Jaxo")]), "{family}");
        assert_eq!(of("[SEP] Quill [PAD] [CLS] a quill"), pairs(&[("PERSON", "Quill")]), "{family}: a text is a text");
    }
}

#[test]
fn scores_are_those_of_transformers() {
    let cases = include_str!("../../../tests/model/logits.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 2 * making::FAMILIES.len());
    let mut furthest = 0.0_f64;
    for case in &cases {
        let family = case["family"].as_str().unwrap();
        let (_directory, model) = toy(family);
        let ours = model.logits(case["text"].as_str().unwrap()).unwrap();
        let theirs = case["logits"].as_array().unwrap();
        assert_eq!(ours.len(), theirs.len(), "{family}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            for (ours, theirs) in ours.iter().zip(theirs.as_array().unwrap()) {
                furthest = furthest.max((f64::from(*ours) - theirs.as_f64().unwrap()).abs());
            }
        }
        assert!(furthest < 1e-4, "{family}: {furthest}");
    }
    let (_directory, model) = toy("bert");
    assert_eq!(model.logits(&"flat ".repeat(making::POSITIONS)), Err(ModelError::TooLarge));
}

#[test]
fn long_texts_are_seen_through_windows_and_pieces() {
    for family in ["bert", "deberta-v2"] {
        let (_directory, model) = toy(family);
        let text = "Please ask about my flat in Oubar, and a quill; call Mirelda Quill. ".repeat(400);
        let found = found(&model, &text);
        assert_eq!(found.len(), 800, "{family}");
        for pair in found.chunks(2) {
            assert_eq!(pair, pairs(&[("LOCATION", "Oubar"), ("PERSON", "Mirelda Quill")]), "{family}");
        }
        let places = model.find_all(&[&text]).unwrap();
        let starts: Vec<usize> = places[0].iter().map(|found| found.start).collect();
        let expected: Vec<usize> =
            text.match_indices("Oubar").chain(text.match_indices("Mirelda")).map(|m| m.0).collect();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(starts, expected, "{family}");
    }
}

#[test]
fn texts_asked_about_together_are_told_apart() {
    let (_directory, model) = toy("roberta");
    let texts: Vec<String> = (0..300)
        .map(|number| match number % 3 {
            0 => "call Quill".to_owned(),
            1 => format!("{} in Lendle", "flat ".repeat(number)),
            _ => " ., ".to_owned(),
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (number, (text, found)) in texts.iter().zip(model.find_all(&texts).unwrap()).enumerate() {
        let values: Vec<&str> = found.iter().map(|found| &text[found.start..found.end]).collect();
        let expected: &[&str] = [&["Quill"][..], &["Lendle"], &[]][number % 3];
        assert_eq!(values, expected, "{number}");
    }
}

#[test]
fn labels_and_scores_are_the_configurations_to_choose() {
    let directory = tempfile::tempdir().unwrap();
    making::write(directory.path(), "bert");
    let text = "call Quill in Oubar";
    let mut chosen = settings(directory.path());
    chosen.labels = [("PER".to_owned(), "CODE_NAME".to_owned()), ("LOC".to_owned(), String::new())].into();
    assert_eq!(found(&Model::load(&chosen).unwrap(), text), pairs(&[("CODE_NAME", "Quill")]));
    let mut sure = settings(directory.path());
    sure.min_score = 1.0;
    assert_eq!(found(&Model::load(&sure).unwrap(), text), []);
    for (key, change) in [
        ("min_score", Settings { min_score: 1.5, ..settings(directory.path()) }),
        ("min_score", Settings { min_score: f32::NAN, ..settings(directory.path()) }),
        ("timeout_ms", Settings { timeout: Duration::ZERO, ..settings(directory.path()) }),
        ("threads", Settings { threads: 10_000, ..settings(directory.path()) }),
    ] {
        assert!(matches!(Model::load(&change), Err(LoadError::Setting { key: own, .. }) if own == key));
    }
}

#[test]
fn an_ask_ends_when_its_time_does() {
    let directory = tempfile::tempdir().unwrap();
    making::write(directory.path(), "bert");
    let short = Settings { timeout: Duration::from_millis(300), threads: 1, ..settings(directory.path()) };
    let model = Model::load(&short).unwrap();
    let long = "Please ask Quill about the flat in Oubar. ".repeat(500_000);
    let started = Instant::now();
    assert_eq!(model.find_all(&[&long]), Err(ModelError::TimedOut));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // What was under way ends by itself, and the next ask has its turn.
    let until = Instant::now() + Duration::from_secs(30);
    while model.find_all(&["call Quill"]).map(|found| found[0].len()) != Ok(1) {
        assert!(Instant::now() < until, "the model never came back");
    }
}

#[test]
fn what_is_malformed_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let file = |name: &str| path.join(name);
    let load = || Model::load(&settings(path));
    assert!(matches!(load(), Err(LoadError::Unreadable { file: "config.json", .. })));
    making::write(path, "bert");
    load().unwrap();
    let weights = std::fs::read(file("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;

    // Cut, with a header that is too long, no JSON, or points elsewhere.
    let put = |bytes: &[u8]| std::fs::write(file("model.safetensors"), bytes).unwrap();
    let refused = |what: &str| assert!(matches!(load(), Err(LoadError::Weights(_))), "{what}: {:?}", load());
    for cut in [0, 1, 7, 8, 9, 8 + header / 2, 8 + header, weights.len() / 2, weights.len() - 1] {
        put(&weights[..cut]);
        refused(&format!("cut at {cut}"));
    }
    for length in [u64::MAX, 1 << 40, header as u64 - 1, header as u64 + 8] {
        put(&[&length.to_le_bytes()[..], &weights[8..]].concat());
        refused("the header's length");
    }
    let text = String::from_utf8(weights[8..8 + header].to_vec()).unwrap();
    for (from, to) in [
        ("\"shape\":[48,32]", "\"shape\":[47,32]"),
        ("\"shape\":[48,32]", "\"shape\":[-1,32]"),
        ("\"F32\"", "\"F99\""),
        ("\"F32\"", "\"I64\""),
        ("[0,", "[4,"),
        ("classifier.weight", "classifiex.weight"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        put(&[&(changed.len() as u64).to_le_bytes()[..], changed.as_bytes(), &weights[8 + header..]].concat());
        refused(to);
    }
    // Numbers that are none: the model is refused on its first sentence, rather than find nothing for ever.
    let mut none = weights.clone();
    none[8 + header..].chunks_exact_mut(4).for_each(|number| number.copy_from_slice(&f32::NAN.to_le_bytes()));
    put(&none);
    assert!(matches!(load(), Err(LoadError::Useless)));
    put(&weights);

    let mut small = making::tokenizer("bert");
    small["model"]["vocab"]["quill"] = json!(48);
    let mut unknown = making::tokenizer("bert");
    unknown["model"]["type"] = json!("WordPeace");
    let mut without = making::tokenizer("bert");
    without["model"]["unk_token"] = json!("[NONE]");
    let mut regex = making::tokenizer("bert");
    regex["pre_tokenizer"] =
        json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false});
    for wrong in [json!({}), json!([]), json!(null), small, unknown, without, regex] {
        std::fs::write(file("tokenizer.json"), wrong.to_string()).unwrap();
        assert!(matches!(load(), Err(LoadError::Tokenizer(_) | LoadError::Useless)), "{:?}", load());
    }
    std::fs::write(file("tokenizer.json"), making::tokenizer("bert").to_string()).unwrap();

    for (key, value) in
        [("hidden_size", json!(1_u64 << 50)), ("max_position_embeddings", json!(9)), ("vocab_size", json!(0))]
    {
        let mut config = making::config("bert");
        config[key] = value;
        std::fs::write(file("config.json"), config.to_string()).unwrap();
        assert!(matches!(load(), Err(LoadError::Config(_))), "{key}: {:?}", load());
    }
    std::fs::write(file("config.json"), vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(matches!(load(), Err(LoadError::TooLarge { file: "config.json", .. })));
}

#[test]
fn hostile_texts_do_no_harm() {
    let (_directory, model) = toy("bert");
    let texts = [
        "\0".repeat(5_000),
        "[SEP]".repeat(5_000),
        "x".repeat(100_000),
        "\u{301}".repeat(10_000),
        "👩‍👩‍👧‍👦".repeat(2_000),
        "\u{202e}Quill\u{feff}".repeat(100),
        "a\u{3000}".repeat(3_000),
    ];
    for text in &texts {
        for found in &model.find_all(&[text]).unwrap()[0] {
            assert!(text.get(found.start..found.end).is_some_and(|value| !value.is_empty()));
        }
    }
}
