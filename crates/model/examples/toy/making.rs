//! A small model that really finds names, made from nothing: its weights are not trained but written down, so that it is the
//! same everywhere and nothing has to be stored. Tests and `examples/toy` share this.
//!
//! It knows five names and three places, by their first token, and looks at the word before: "ask Quill" has a person in it,
//! "a quill" has not, and a name after a name is the rest of it. The first layer's first head looks one token back, by sine
//! and cosine of the position, or, in DeBERTa, by the distance; the first layer's inner half weighs the two. Everything else is a
//! little noise, so that an error in any part of the network moves the scores.

#![allow(dead_code, reason = "each of those who share it needs a part of it")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

/// Families of networks, as `model_type` names them.
pub(crate) const FAMILIES: [&str; 5] = ["bert", "electra", "roberta", "distilbert", "deberta-v2"];

pub(crate) const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];
const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const NAMES: [&str; 5] = ["quill", "vron", "jaxo", "mirelda", "tuzo"];
const PLACES: [&str; 3] = ["skarnby", "oubar", "lendle"];
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const OTHERS: [&str; 22] = [
    "##dak", "##nen", "ask", "about", "flat", "in", "of", "and", "is", "my", "name", "call", "please", "pen", "with",
    "to", ".", ",", ":", "'", "s", "for",
];

const HIDDEN: usize = 32;
const HEADS: usize = 4;
const INNER: usize = 32;
const LAYERS: usize = 2;
pub(crate) const POSITIONS: usize = 64;
const VOCABULARY: usize = 48;
const SPAN: usize = 8;

// What the places of a state mean.
const NAME: usize = 0;
const PLACE: usize = 1;
const ARTICLE: usize = 2;
/// The same of the token before.
const BEFORE: usize = 3;
const IS_PERSON: usize = 6;
const IS_PLACE: usize = 7;
const WHERE: usize = 8;
/// Large and opposite, so that a norm divides by about the same whatever else is there.
const BALLAST: usize = 16;

/// How often a sine goes round in as many positions as there are.
const ROUNDS: [f32; 4] = [1.0, 5.0, 13.0, 27.0];

struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    fn at(&mut self, row: usize, column: usize) -> &mut f32 {
        let columns = self.shape[1];
        &mut self.values[row * columns + column]
    }
}

/// A little noise, the same every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1_u32 << 24) as f32 - 0.5) * 0.02
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Tensor {
        Tensor { shape: vec![rows, columns], values: (0..rows * columns).map(|_| self.next()).collect() }
    }

    fn vector(&mut self, size: usize, around: f32) -> Tensor {
        Tensor { shape: vec![size], values: (0..size).map(|_| around + self.next()).collect() }
    }
}

fn vocabulary(family: &str) -> Vec<String> {
    let words = SPECIALS.iter().chain(&NAMES).chain(&PLACES).chain(&ARTICLES).chain(&OTHERS);
    let mut words: Vec<String> = words.map(|word| (*word).to_owned()).collect();
    // RoBERTa's padding has the number 1, after which its positions begin; some implementations know of no other.
    words.swap(0, pad(family));
    words
}

fn pad(family: &str) -> usize {
    usize::from(family == "roberta")
}

/// Writes a model of a family into a directory.
pub(crate) fn write(directory: &Path, family: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let put = |file: &str, bytes: &[u8]| std::fs::write(directory.join(file), bytes).unwrap();
    put("config.json", format!("{:#}\n", config(family)).as_bytes());
    put("tokenizer.json", format!("{:#}\n", tokenizer(family)).as_bytes());
    put("model.safetensors", &safetensors(&weights(family)));
}

pub(crate) fn config(family: &str) -> Value {
    let labels: BTreeMap<String, &str> = LABELS.iter().enumerate().map(|(n, label)| (n.to_string(), *label)).collect();
    let numbers: BTreeMap<&str, usize> = LABELS.iter().enumerate().map(|(n, label)| (*label, n)).collect();
    let mut config = json!({
        "model_type": family, "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "pad_token_id": pad(family),
        "id2label": labels, "label2id": numbers, "layer_norm_eps": 1e-7,
    });
    let more = match family {
        "distilbert" => json!({
            "dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": INNER, "activation": "gelu",
            "layer_norm_eps": 1e-12,
        }),
        _ => json!({
            "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER,
            "hidden_act": "gelu", "type_vocab_size": 2,
        }),
    };
    let deberta = json!({
        "type_vocab_size": 0, "relative_attention": true, "position_biased_input": false, "pos_att_type": ["p2c", "c2p"],
        "position_buckets": SPAN, "max_relative_positions": -1, "norm_rel_ebd": "layer_norm", "share_att_key": true,
    });
    let narrow = json!({"embedding_size": HIDDEN});
    let own = [Some(more), (family == "deberta-v2").then_some(deberta), (family == "electra").then_some(narrow)];
    for (key, value) in own.into_iter().flatten().flat_map(|own| own.as_object().cloned().unwrap()) {
        config[key] = value;
    }
    config
}

pub(crate) fn tokenizer(family: &str) -> Value {
    let vocabulary: BTreeMap<String, usize> = vocabulary(family).into_iter().zip(0..).collect();
    let special = |word: &str| json!({"id": word, "ids": [vocabulary[word]], "tokens": [word]});
    let added: Vec<Value> = SPECIALS
        .iter()
        .map(|word| {
            json!({"id": vocabulary[*word], "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                       "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
        },
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn weights(family: &str) -> BTreeMap<String, Tensor> {
    let deberta = family == "deberta-v2";
    let mut noise = Noise(42);
    let mut all = BTreeMap::new();
    let model = if deberta { "deberta" } else { family };

    let mut words = noise.matrix(VOCABULARY, HIDDEN);
    for (number, word) in vocabulary(family).iter().enumerate() {
        for (list, meaning) in [(&NAMES[..], NAME), (&PLACES, PLACE), (&ARTICLES, ARTICLE)] {
            *words.at(number, meaning) += if list.contains(&&**word) { 1.0 } else { 0.0 };
        }
    }
    for number in 0..VOCABULARY {
        *words.at(number, BALLAST) += 8.0;
        *words.at(number, BALLAST + 1) -= 8.0;
    }
    let mut embeddings = vec![("word_embeddings.weight", words)];
    if !deberta {
        let mut positions = noise.matrix(POSITIONS, HIDDEN);
        for position in 0..POSITIONS {
            for (pair, rounds) in ROUNDS.iter().enumerate() {
                let angle = angle(*rounds) * position as f32;
                *positions.at(position, WHERE + 2 * pair) += angle.cos();
                *positions.at(position, WHERE + 2 * pair + 1) += angle.sin();
            }
        }
        embeddings.push(("position_embeddings.weight", positions));
        if family != "distilbert" {
            embeddings.push(("token_type_embeddings.weight", noise.matrix(2, HIDDEN)));
        }
    }
    embeddings.push(("LayerNorm.weight", noise.vector(HIDDEN, 2.04)));
    embeddings.push(("LayerNorm.bias", noise.vector(HIDDEN, 0.0)));
    all.extend(embeddings.into_iter().map(|(name, tensor)| (format!("{model}.embeddings.{name}"), tensor)));
    if deberta {
        // One token back is the distance 1, which stands behind those the other way.
        let mut distances = noise.matrix(2 * SPAN, HIDDEN);
        for distance in 0..2 * SPAN {
            *distances.at(distance, BALLAST + 2) += if distance == SPAN + 1 { 8.0 } else { -8.0 };
            *distances.at(distance, BALLAST + 3) -= if distance == SPAN + 1 { 8.0 } else { -8.0 };
        }
        all.insert(format!("{model}.encoder.rel_embeddings.weight"), distances);
        all.insert(format!("{model}.encoder.LayerNorm.weight"), noise.vector(HIDDEN, 2.04));
        all.insert(format!("{model}.encoder.LayerNorm.bias"), noise.vector(HIDDEN, 0.0));
    }
    for layer in 0..LAYERS {
        for (name, tensor) in self::layer(&mut noise, layer == 0, deberta) {
            let name = match family {
                "distilbert" => format!("{model}.transformer.layer.{layer}.{}", distilled(&name)),
                _ => format!("{model}.encoder.layer.{layer}.{}", if deberta { projected(&name) } else { name }),
            };
            all.insert(name, tensor);
        }
    }
    let mut classifier = noise.matrix(LABELS.len(), HIDDEN);
    for (first, entity, before) in [(1, IS_PERSON, BEFORE + NAME), (3, IS_PLACE, BEFORE + PLACE)] {
        for label in [first, first + 1] {
            *classifier.at(label, entity) += 8.0;
            *classifier.at(label, before) += if label == first { -4.0 } else { 4.0 };
        }
    }
    let mut bias = noise.vector(LABELS.len(), 0.0);
    for (label, value) in bias.values.iter_mut().enumerate() {
        *value += [4.0, 2.0, -2.0, 2.0, -2.0][label];
    }
    all.insert("classifier.weight".into(), classifier);
    all.insert("classifier.bias".into(), bias);
    all
}

fn angle(rounds: f32) -> f32 {
    rounds * std::f32::consts::TAU / POSITIONS as f32
}

/// A layer under BERT's names.
fn layer(noise: &mut Noise, first: bool, deberta: bool) -> Vec<(String, Tensor)> {
    let mut tensors = Vec::new();
    let mut put = |name: &str, weight: Tensor, bias: Tensor| {
        tensors.push((format!("{name}.weight"), weight));
        tensors.push((format!("{name}.bias"), bias));
    };
    let mut query = noise.matrix(HIDDEN, HIDDEN);
    let mut key = noise.matrix(HIDDEN, HIDDEN);
    let mut value = noise.matrix(HIDDEN, HIDDEN);
    let mut output = noise.matrix(HIDDEN, HIDDEN);
    let mut inner = noise.matrix(INNER, HIDDEN);
    let mut inner_bias = noise.vector(INNER, 0.0);
    let mut outer = noise.matrix(HIDDEN, INNER);
    if first {
        if deberta {
            // Every token asks for the same, which the distance of one token answers.
            *query.at(0, BALLAST) += 1.0;
            *key.at(0, BALLAST + 2) += 1.0;
        } else {
            for (pair, rounds) in ROUNDS.iter().enumerate() {
                let (cos, sin) = (angle(*rounds).cos(), angle(*rounds).sin());
                let (x, y) = (2 * pair, 2 * pair + 1);
                *query.at(x, WHERE + x) += 4.5 * cos;
                *query.at(x, WHERE + y) += 4.5 * sin;
                *query.at(y, WHERE + x) -= 4.5 * sin;
                *query.at(y, WHERE + y) += 4.5 * cos;
                *key.at(x, WHERE + x) += 4.5;
                *key.at(y, WHERE + y) += 4.5;
            }
        }
        for meaning in [NAME, PLACE, ARTICLE] {
            *value.at(meaning, meaning) += 1.0;
            *output.at(BEFORE + meaning, meaning) += 1.0;
        }
        for (number, meaning, entity) in [(0, NAME, IS_PERSON), (1, PLACE, IS_PLACE)] {
            *inner.at(number, meaning) += 6.0;
            *inner.at(number, BEFORE + ARTICLE) -= 9.0;
            inner_bias.values[number] -= 3.0;
            *outer.at(entity, number) += 0.4;
        }
    }
    put("attention.self.query", query, noise.vector(HIDDEN, 0.0));
    put("attention.self.key", key, noise.vector(HIDDEN, 0.0));
    put("attention.self.value", value, noise.vector(HIDDEN, 0.0));
    put("attention.output.dense", output, noise.vector(HIDDEN, 0.0));
    put("attention.output.LayerNorm", noise.vector(HIDDEN, 2.04), noise.vector(HIDDEN, 0.0));
    put("intermediate.dense", inner, inner_bias);
    put("output.dense", outer, noise.vector(HIDDEN, 0.0));
    put("output.LayerNorm", noise.vector(HIDDEN, 2.04), noise.vector(HIDDEN, 0.0));
    tensors
}

fn projected(name: &str) -> String {
    ["query", "key", "value"].iter().fold(name.to_owned(), |name, own| {
        name.replace(&format!("attention.self.{own}."), &format!("attention.self.{own}_proj."))
    })
}

fn distilled(name: &str) -> String {
    let names = [
        ("attention.self.query.", "attention.q_lin."),
        ("attention.self.key.", "attention.k_lin."),
        ("attention.self.value.", "attention.v_lin."),
        ("attention.output.dense.", "attention.out_lin."),
        ("attention.output.LayerNorm.", "sa_layer_norm."),
        ("intermediate.dense.", "ffn.lin1."),
        ("output.dense.", "ffn.lin2."),
        ("output.LayerNorm.", "output_layer_norm."),
    ];
    let (theirs, ours) = names.iter().find(|(theirs, _)| name.starts_with(theirs)).unwrap();
    name.replacen(theirs, ours, 1)
}

/// The format: the length of the header, the header, the numbers.
fn safetensors(tensors: &BTreeMap<String, Tensor>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let from = data.len();
        tensor.values.iter().for_each(|value| data.extend(value.to_le_bytes()));
        header.insert(name.clone(), json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [from, data.len()]}));
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    bytes
}
