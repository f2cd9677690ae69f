//! Labelled text: how it is read, and how it is changed on the way to training.

use std::path::Path;

use crate::random::Random;
use tabellion_detect::tagger::Entity;

/// A sentence and the names in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sentence {
    pub text: String,
    /// Byte offsets.
    pub spans: Vec<(usize, usize, Entity)>,
    /// A document begins here.
    pub first: bool,
    /// From a weblog or a newsgroup.
    pub news: bool,
}

fn entity(label: &str) -> Option<Entity> {
    match label {
        "PER" | "person" => Some(Entity::Person),
        "LOC" | "location" => Some(Entity::Location),
        "ORG" | "corporation" | "group" => Some(Entity::Organization),
        _ => None,
    }
}

/// Reads a CoNLL (word, label) or IOB2 (number, word, label, ..., with `# text = ` before) file.
pub(crate) fn read(path: &Path) -> Vec<Sentence> {
    let file = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let numbered = path.extension().is_some_and(|e| e == "iob2");
    let mut sentences = Vec::new();
    let mut text: Option<String> = None;
    let mut rows: Vec<(String, String)> = Vec::new();
    let (mut news, mut first) = (false, true);
    let mut flush = |text: &mut Option<String>, rows: &mut Vec<(String, String)>, news: bool, first: &mut bool| {
        if !rows.is_empty() {
            sentences.push(Sentence { news, first: std::mem::take(first), ..align(text.as_deref(), rows) });
        }
        rows.clear();
        *text = None;
    };
    for line in file.lines() {
        let line = line.trim_end();
        if let Some(t) = line.strip_prefix("# text = ") {
            text = Some(t.to_owned());
        } else if let Some(id) = line.strip_prefix("# newdoc id = ").filter(|_| numbered) {
            first = true;
            news = id.starts_with("weblog") || id.starts_with("newsgroup");
        } else if line.is_empty() || (numbered && line.starts_with("# ")) {
            if line.is_empty() {
                flush(&mut text, &mut rows, news, &mut first);
            }
        } else {
            let mut fields = line.split('\t');
            if numbered {
                fields.next();
            }
            if let (Some(word), Some(label)) = (fields.next(), fields.next()) {
                rows.push((word.trim().to_owned(), label.to_owned()));
            }
        }
    }
    flush(&mut text, &mut rows, news, &mut first);
    sentences
}

/// Finds the words in the text, or puts a space between them where there is none or they are not in it.
fn align(text: Option<&str>, rows: &[(String, String)]) -> Sentence {
    let places = text.and_then(|text| {
        let mut at = 0;
        rows.iter()
            .map(|(word, _)| {
                let start = at + text[at..].find(word.as_str())?;
                at = start + word.len();
                Some((start, at))
            })
            .collect::<Option<Vec<_>>>()
    });
    let (text, places) = match (text, places) {
        (Some(text), Some(places)) => (text.to_owned(), places),
        _ => {
            let mut text = String::new();
            let mut places = Vec::new();
            for (word, _) in rows {
                if !text.is_empty() {
                    text.push(' ');
                }
                places.push((text.len(), text.len() + word.len()));
                text.push_str(word);
            }
            (text, places)
        }
    };
    let mut spans: Vec<(usize, usize, Entity)> = Vec::new();
    let mut open = false;
    for ((_, label), (start, end)) in rows.iter().zip(&places) {
        let (kind, name) = label.split_once('-').unwrap_or(("O", ""));
        let Some(entity) = entity(name) else {
            open = false;
            continue;
        };
        match spans.last_mut() {
            Some(last) if open && kind == "I" && last.2 == entity => last.1 = *end,
            _ => spans.push((*start, *end, entity)),
        }
        open = true;
    }
    Sentence { text, spans, ..Sentence::default() }
}

/// Documents, a sentence a line.
pub(crate) fn joined(sentences: &[Sentence]) -> Vec<Sentence> {
    let mut out: Vec<Sentence> = Vec::new();
    for s in sentences {
        if s.first || out.is_empty() {
            out.push(Sentence::default());
        }
        let document = out.last_mut().expect("one was pushed");
        let at = document.text.len();
        document.spans.extend(s.spans.iter().map(|(a, b, e)| (a + at, b + at, *e)));
        document.text.push_str(&s.text);
        document.text.push('\n');
    }
    out
}

/// Labels whom a tweet speaks to: `@ name`, which the corpus labels in most places, and in its later parts in all.
pub(crate) fn label_handles(s: &mut Sentence) {
    let places: Vec<usize> = s.text.match_indices("@ ").map(|(i, _)| i).collect();
    for at in places {
        let name = at + 2;
        let end = s.text[name..].find(' ').map_or(s.text.len(), |i| name + i);
        let word = s.text[name..end].chars().all(|c| c.is_alphanumeric() || c == '_');
        if word && end > name && !s.spans.iter().any(|(a, b, _)| *a < end && *b > at) {
            s.spans.push((at, at + 1, Entity::Person));
            s.spans.push((name, end, Entity::Person));
        }
    }
    s.spans.sort_by_key(|x| x.0);
}

/// Changes a sentence piece by piece: `change` gets what lies between names (with none) and the names.
pub(crate) fn rebuild(s: &Sentence, mut change: impl FnMut(&str, Option<Entity>) -> String) -> Sentence {
    let mut out = Sentence { news: s.news, first: s.first, ..Sentence::default() };
    let mut at = 0;
    for (start, end, entity) in &s.spans {
        out.text.push_str(&change(&s.text[at..*start], None));
        let begin = out.text.len();
        out.text.push_str(&change(&s.text[*start..*end], Some(*entity)));
        if out.text.len() > begin {
            out.spans.push((begin, out.text.len(), *entity));
        }
        at = *end;
    }
    out.text.push_str(&change(&s.text[at..], None));
    out
}

/// A word with a capital at its head, the rest small.
pub(crate) fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase())
}

fn title(text: &str) -> String {
    text.split(' ')
        .map(|w| if w.starts_with("http") { w.to_owned() } else { capitalized(w) })
        .collect::<Vec<_>>()
        .join(" ")
}

/// How a sentence is written.
pub(crate) fn recase(s: &Sentence, random: &mut Random) -> Sentence {
    match random.below(100) {
        0..=61 => s.clone(),
        62..=82 => rebuild(s, |t, _| t.to_lowercase()),
        83..=86 => rebuild(s, |t, _| t.to_uppercase()),
        87..=89 => rebuild(s, |t, _| title(t)),
        // Names small in a sentence that is not; names in capitals.
        90..=92 => rebuild(s, |t, e| if e.is_some() { t.to_lowercase() } else { t.to_owned() }),
        93..=94 => rebuild(s, |t, e| if e.is_some() { t.to_uppercase() } else { t.to_owned() }),
        // No punctuation.
        95..=97 => rebuild(s, |t, e| if e.is_some() { t.to_owned() } else { t.replace(['.', ',', '!', '?', '"'], "") }),
        // All small but for names, as many write.
        _ => rebuild(s, |t, e| if e.is_some() { t.to_owned() } else { t.to_lowercase() }),
    }
}

/// Takes out the spaces that a tokenizer put before and after punctuation.
pub(crate) fn detokenize(s: &Sentence) -> Sentence {
    // What to leave out, as the bytes of single spaces.
    let bytes = s.text.as_bytes();
    let mut skip = vec![false; bytes.len()];
    let mut quote = false;
    for (i, b) in bytes.iter().enumerate() {
        if *b == b'"' {
            if i > 0 && i + 1 < bytes.len() {
                let side = if quote { i - 1 } else { i + 1 };
                skip[side] |= bytes[side] == b' ';
            }
            quote = !quote;
        }
        if *b != b' ' || i + 1 >= bytes.len() || i == 0 {
            continue;
        }
        let (before, after) = (&s.text[..i], &s.text[i + 1..]);
        let word = after.split(' ').next().unwrap_or_default();
        skip[i] |= matches!(
            word,
            "." | ","
                | "!"
                | "?"
                | ":"
                | ";"
                | ")"
                | "..."
                | "…"
                | "'s"
                | "n't"
                | "'re"
                | "'m"
                | "'ll"
                | "'ve"
                | "'d"
                | "%"
                | "”"
        ) || before.ends_with('@')
            || before.ends_with('#')
            || before.ends_with('(')
            || before.ends_with('“')
            || before.ends_with('$');
    }
    let mut map = Vec::with_capacity(bytes.len() + 1);
    let mut text = Vec::with_capacity(bytes.len());
    for (b, skip) in bytes.iter().zip(&skip) {
        map.push(text.len());
        if !skip {
            text.push(*b);
        }
    }
    map.push(text.len());
    let mut spans: Vec<(usize, usize, Entity)> = Vec::new();
    for (start, end, entity) in &s.spans {
        let (start, end) = (map[*start], map[*end]);
        match spans.last_mut() {
            // `@` and the name behind it are one.
            Some(last) if last.1 == start && last.2 == *entity => last.1 = end,
            _ => spans.push((start, end, *entity)),
        }
    }
    Sentence { text: String::from_utf8(text).expect("only spaces were left out"), spans, news: s.news, first: s.first }
}
