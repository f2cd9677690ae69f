//! Recognizers that a caller sends along: patterns, a list of words, words of context.
//!
//! The expressions are a stranger's. They are compiled within limits, and matched by automata, which take time in
//! proportion to the text; so there is no looking around and no referring back in them, and that is said when they are
//! refused. Finding all matches of an unlucky expression may still take the square of the text's length: a deadline ends
//! that with an error, never with half a result.

use std::time::Instant;

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use serde_json::{Map, Value};

use super::analyze::{Hit, Why, raised};
use super::{Refusal, plain};

/// Python's DOTALL, MULTILINE and IGNORECASE: what Presidio uses.
pub(super) const FLAGS: i64 = DOTALL | MULTILINE | IGNORECASE;
const IGNORECASE: i64 = 2;
const MULTILINE: i64 = 8;
const DOTALL: i64 = 16;
const VERBOSE: i64 = 64;

const RECOGNIZERS_MAX: usize = 100;
const PATTERNS_MAX: usize = 200;
const WORDS_MAX: usize = 10_000;
const EXPRESSION_BYTES_MAX: usize = 64 << 10;
const EXPRESSION_NESTING_MAX: u32 = 64;
const AUTOMATON_BYTES_MAX: usize = 4 << 20;
/// A text in which a stranger's expressions are looked for. LiteLLM sends pieces of half of this.
const TEXT_BYTES_MAX: usize = 2 << 20;
/// So many results of one pattern in one text are enough for anybody.
const MATCHES_MAX: usize = 100_000;

/// How far context reaches: as in the engine.
const CONTEXT_BYTES: usize = 60;
const CONTEXT_WORDS: usize = 8;

/// A recognizer for one request.
pub(super) struct AdHoc<'r> {
    pub(super) entity: &'r str,
    pub(super) language: &'r str,
    name: &'r str,
    patterns: Vec<Pattern<'r>>,
    context: Vec<&'r str>,
    flags: i64,
}

struct Pattern<'r> {
    name: &'r str,
    /// As it was written; a list of words is not repeated.
    written: Option<&'r str>,
    expression: Expression,
    score: f64,
}

/// A stranger's regular expression.
pub(super) struct Expression(Regex);

impl Expression {
    pub(super) fn new(pattern: &str, flags: i64) -> Result<Self, Refusal> {
        let too_large = || Refusal::failed("Invalid regex pattern: it is too large");
        if pattern.len() > EXPRESSION_BYTES_MAX {
            return Err(too_large());
        }
        let syntax = syntax::Config::new()
            .case_insensitive(flags & IGNORECASE != 0)
            .multi_line(flags & MULTILINE != 0)
            .dot_matches_new_line(flags & DOTALL != 0)
            .ignore_whitespace(flags & VERBOSE != 0)
            .nest_limit(EXPRESSION_NESTING_MAX);
        let limits = Regex::config()
            .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .onepass_size_limit(Some(AUTOMATON_BYTES_MAX))
            .dfa_size_limit(Some(AUTOMATON_BYTES_MAX))
            .hybrid_cache_capacity(AUTOMATON_BYTES_MAX);
        match Regex::builder().syntax(syntax).configure(limits).build(&translated(pattern)) {
            Ok(regex) => Ok(Self(regex)),
            Err(error) if error.size_limit().is_some() => Err(too_large()),
            // The parser's own message quotes the pattern, and a pattern may be somebody's name.
            Err(_) => Err(Refusal::failed(
                "Invalid regex pattern: it cannot be parsed; look-around and backreferences are not supported",
            )),
        }
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// What Python writes otherwise: `\Z`, `\<` and `\>`, which are no word boundaries there; and in classes `[`, `&&` and
/// `~~`, which mean nothing there. Half of a word boundary is all the looking around that automata can do.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let mut take = c.len_utf8();
        match c {
            '\\' => {
                take += rest[1..].chars().next().map_or(0, char::len_utf8);
                match &rest[1..take] {
                    "Z" => out.push_str("\\z"),
                    "<" | ">" => out.push_str(&rest[1..take]),
                    _ => out.push_str(&rest[..take]),
                }
            }
            '[' if !in_class => {
                in_class = true;
                // A bracket that closes nothing, at the beginning, is itself.
                let negated = usize::from(rest[1..].starts_with('^'));
                take += negated + usize::from(rest[1 + negated..].starts_with(']'));
                out.push_str(&rest[..take]);
            }
            '[' if !rest.starts_with("[:") => out.push_str("\\["),
            '&' | '~' if in_class => out.extend(['\\', c]),
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            '(' if !in_class => {
                let halves = [
                    ("(?<!\\w)", "\\b{start-half}"),
                    ("(?:^|(?<=\\W))", "\\b{start-half}"),
                    ("(?!\\w)", "\\b{end-half}"),
                    ("(?:(?=\\W)|$)", "\\b{end-half}"),
                ];
                match halves.into_iter().find(|(written, _)| rest.starts_with(written)) {
                    Some((written, half)) => {
                        take = written.len();
                        out.push_str(half);
                    }
                    None => out.push(c),
                }
            }
            c => out.push(c),
        }
        rest = &rest[take..];
    }
    out
}

/// The recognizers of a request, refused in the words of Python and Presidio.
pub(super) fn read(value: &Value) -> Result<Vec<AdHoc<'_>>, Refusal> {
    let list = value.as_array().ok_or_else(|| Refusal::wrong_type("ad_hoc_recognizers must be a list"))?;
    if list.len() > RECOGNIZERS_MAX {
        return Err(Refusal::wrong_type(format_args!("there must not be more than {RECOGNIZERS_MAX} recognizers")));
    }
    let mut recognizers = Vec::with_capacity(list.len());
    let mut patterns = 0;
    for one in list {
        let recognizer = AdHoc::read(one, PATTERNS_MAX - patterns)?;
        patterns += recognizer.patterns.len();
        recognizers.push(recognizer);
    }
    Ok(recognizers)
}

impl<'r> AdHoc<'r> {
    fn read(value: &'r Value, patterns_max: usize) -> Result<Self, Refusal> {
        const MEMBERS: [&str; 11] = [
            "supported_entity",
            "supported_entities",
            "name",
            "supported_language",
            "patterns",
            "deny_list",
            "context",
            "deny_list_score",
            "global_regex_flags",
            "version",
            "country_code",
        ];
        let object = value.as_object().ok_or_else(|| Refusal::wrong_type("a recognizer must be an object"))?;
        let flags = match set(object, "global_regex_flags") {
            None => FLAGS,
            Some(flags) => flags.as_i64().ok_or_else(|| must_be("global_regex_flags", "a number"))?,
        };
        let mut patterns = Vec::new();
        if let Some(list) = set(object, "patterns") {
            let list = list.as_array().ok_or_else(|| must_be("patterns", "a list"))?;
            if list.len() > patterns_max {
                return Err(Refusal::wrong_type(format_args!("there must not be more than {PATTERNS_MAX} patterns")));
            }
            for pattern in list {
                patterns.push(Pattern::read(pattern, flags)?);
            }
        }
        if let Some(unknown) = object.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(unexpected("PatternRecognizer", unknown));
        }
        let entity = match (object.get("supported_entity"), object.get("supported_entities")) {
            (Some(_), Some(_)) => {
                return Err(Refusal::failed(
                    "Both 'supported_entity' and 'supported_entities' are present in the input dictionary. \
                     Only one should be provided.",
                ));
            }
            (Some(entity), None) => Some(entity),
            (None, Some(entities)) => entities.get(0),
            (None, None) => None,
        };
        let Some(entity) = entity else {
            let missing = "PatternRecognizer.__init__() missing 1 required positional argument: 'supported_entity'";
            return Err(Refusal::wrong_type(missing));
        };
        let entity = entity.as_str().filter(|entity| !entity.is_empty());
        let entity = entity.ok_or_else(|| Refusal::failed("Pattern recognizer should be initialized with entity"))?;
        if let Some(words) = set(object, "deny_list") {
            let words = strings(words, "deny_list")?;
            let score = number(object, "deny_list_score")?.unwrap_or(1.0);
            if !words.is_empty() {
                patterns.push(Pattern::words(&words, score, flags)?);
            }
        }
        if patterns.is_empty() {
            let error = "Pattern recognizer should be initialized with patterns or with deny list";
            return Err(Refusal::failed(error));
        }
        let text = |name: &str, default: &'static str| match set(object, name) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| must_be(name, "a string")),
        };
        Ok(Self {
            entity,
            language: text("supported_language", "en")?,
            name: text("name", "PatternRecognizer")?,
            context: set(object, "context").map_or(Ok(Vec::new()), |words| strings(words, "context"))?,
            patterns,
            flags,
        })
    }

    /// Adds what it finds in `text`.
    pub(super) fn find(
        &self,
        text: &str,
        context: &[&str],
        deadline: Instant,
        hits: &mut Vec<Hit>,
    ) -> Result<(), Refusal> {
        if text.len() > TEXT_BYTES_MAX {
            let status = axum::http::StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, "The text is too long for ad hoc recognizers"));
        }
        for pattern in &self.patterns {
            let mut found = 0;
            for matched in pattern.expression.0.find_iter(Input::new(text)) {
                found += 1;
                if found > MATCHES_MAX || Instant::now() > deadline {
                    return Err(Refusal::failed("A regex pattern takes too long or finds too much"));
                }
                // What scores nothing is not found.
                if matched.is_empty() || pattern.score <= 0.0 {
                    continue;
                }
                let word = self.supported_by(text, matched.start(), matched.end(), context);
                hits.push(Hit {
                    entity: self.entity.to_owned(),
                    start: matched.start(),
                    end: matched.end(),
                    score: if word.is_some() { raised(pattern.score) } else { pattern.score },
                    why: Why {
                        recognizer: self.name.to_owned(),
                        pattern_name: pattern.name.to_owned(),
                        pattern: pattern.written.map(str::to_owned),
                        base: pattern.score,
                        context: word.map(str::to_owned),
                        against: None,
                        validated: false,
                        flags: Some(self.flags),
                    },
                });
            }
        }
        Ok(())
    }

    /// The first of its context words that stands in the words before, in the word itself, or in what the request gives
    /// as context; as in Presidio, also as a part of one of them.
    fn supported_by(&self, text: &str, start: usize, end: usize, context: &[&str]) -> Option<&'r str> {
        if self.context.is_empty() {
            return None;
        }
        let before = &text[text.ceil_char_boundary(start.saturating_sub(CONTEXT_BYTES))..start];
        let words = |text: &str| -> Vec<String> {
            text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
        };
        let mut near = words(before);
        near.drain(..near.len().saturating_sub(CONTEXT_WORDS));
        // Of the match, the first word: what is glued to it may say what it is.
        let own = &text[start..text.floor_char_boundary(end.min(start + CONTEXT_BYTES))];
        near.extend(words(own).into_iter().next());
        let near = near.join(" ");
        self.context.iter().copied().find(|word| {
            let word = word.to_lowercase();
            near.contains(&word) || context.iter().any(|given| given.to_lowercase().contains(&word))
        })
    }
}

impl<'r> Pattern<'r> {
    fn read(value: &'r Value, flags: i64) -> Result<Self, Refusal> {
        let object = value.as_object().ok_or_else(|| Refusal::wrong_type("a pattern must be an object"))?;
        if let Some(unknown) = object.keys().find(|name| !["name", "regex", "score"].contains(&name.as_str())) {
            return Err(unexpected("Pattern", unknown));
        }
        let missing: Vec<String> = ["name", "regex", "score"]
            .iter()
            .filter(|name| !object.contains_key(**name))
            .map(|n| format!("'{n}'"))
            .collect();
        if !missing.is_empty() {
            let plural = if missing.len() == 1 { "" } else { "s" };
            let list = match &*missing {
                [a, b, c] => format!("{a}, {b}, and {c}"),
                list => list.join(" and "),
            };
            let count = missing.len();
            return Err(Refusal::wrong_type(format_args!(
                "Pattern.__init__() missing {count} required positional argument{plural}: {list}"
            )));
        }
        let written = object["regex"].as_str().ok_or_else(|| must_be("regex", "a string"))?;
        let expression = Expression::new(written, flags)?;
        let score = object["score"].as_f64().ok_or_else(|| must_be("score", "a number"))?;
        Ok(Self {
            name: object["name"].as_str().unwrap_or_default(),
            written: Some(written),
            expression,
            score: possible(score)?,
        })
    }

    /// Words that stand by themselves, the first that fits.
    fn words(words: &[&str], score: f64, flags: i64) -> Result<Self, Refusal> {
        let escaped: Vec<String> = words.iter().map(|word| escape(word)).collect();
        let pattern = format!("\\b{{start-half}}(?:{})\\b{{end-half}}", escaped.join("|"));
        // Spaces in a word are spaces.
        let expression = Expression::new(&pattern, flags & !VERBOSE)?;
        Ok(Self { name: "deny_list", written: None, expression, score: possible(score)? })
    }
}

fn escape(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 8);
    for c in word.chars() {
        // `<` and `>` are the punctuation that an escape would make a word boundary of.
        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn possible(score: f64) -> Result<f64, Refusal> {
    if (0.0..=1.0).contains(&score) {
        return Ok(score);
    }
    Err(Refusal::failed(format!("Invalid score: {score}. Score should be between 0 and 1")))
}

/// A member that is there and not null.
fn set<'r>(object: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    object.get(name).filter(|value| !value.is_null())
}

fn number(object: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    set(object, name).map(|value| value.as_f64().ok_or_else(|| must_be(name, "a number"))).transpose()
}

fn strings<'r>(value: &'r Value, name: &str) -> Result<Vec<&'r str>, Refusal> {
    let list: Option<Vec<&str>> = value.as_array().and_then(|list| list.iter().map(Value::as_str).collect());
    let list = list.ok_or_else(|| must_be(name, "a list of strings"))?;
    if list.len() > WORDS_MAX {
        return Err(Refusal::wrong_type(format_args!("{name} must not have more than {WORDS_MAX} words")));
    }
    Ok(list)
}

fn must_be(name: &str, what: &str) -> Refusal {
    Refusal::wrong_type(format_args!("{name} must be {what}"))
}

fn unexpected(class: &str, member: &str) -> Refusal {
    let member = plain(member);
    Refusal::wrong_type(format_args!("{class}.__init__() got an unexpected keyword argument '{member}'"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn find(recognizer: Value, text: &str) -> Result<Vec<(String, f64)>, String> {
        let list = json!([recognizer]);
        let recognizers = read(&list).map_err(|refusal| format!("{} {}", refusal.status.as_u16(), refusal.error))?;
        let mut hits = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        recognizers[0].find(text, &["Postal things"], deadline, &mut hits).map_err(|refusal| refusal.error)?;
        Ok(hits.iter().map(|hit| (text[hit.start..hit.end].to_owned(), hit.score)).collect())
    }

    fn pattern(regex: &str, text: &str) -> Vec<String> {
        let recognizer = json!({"supported_entity": "A", "patterns": [{"name": "p", "regex": regex, "score": 0.5}]});
        find(recognizer, text).unwrap().into_iter().map(|(value, _)| value).collect()
    }

    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        for (regex, text, expected) in [
            (r"(\b\d{5}(?:\-\d{4})?\b)", "Zip: 10023, 10023-1234, 123456", &["10023", "10023-1234"][..]),
            // Not case-sensitive, a dot is anything, and lines begin and end.
            ("^abc$", "x\nABC\nabc", &["ABC", "abc"]),
            ("a.b", "a\nb", &["a\nb"]),
            (r"(?<!\w)\d{3}(?!\w)", "123 1234 _567 (890)", &["123", "890"]),
            (r"\w+\Z", "one two", &["two"]),
            (r"\<[a-z]+\>", "<b>bold</b>", &["<b>"]),
            (r"[[]\d+[]]", "[12] 34", &["[12]"]),
            (r"[a&&b~~]+", "x a&b~ x", &["a&b~"]),
            (r"[^]]+", "ab]cd", &["ab", "cd"]),
            (r"[\]x]+", "ab]xcd", &["]x"]),
            (r"é\d\/\-\@", "É1/-@", &["É1/-@"]),
            ("x*", "ab", &[]),
            ("日本|日", "日本日", &["日本", "日"]),
        ] {
            assert_eq!(pattern(regex, text), expected, "{regex}");
        }
    }

    #[test]
    fn words_stand_by_themselves() {
        let find = |words: &[&str], text: &str| {
            let recognizer = json!({"supported_entity": "A", "deny_list": words});
            find(recognizer, text).unwrap().into_iter().map(|(value, _)| value).collect::<Vec<_>>()
        };
        assert_eq!(find(&["Mr.", "Mister"], "Mr. Misters MISTER"), ["Mr.", "MISTER"]);
        assert_eq!(find(&["a+b", "<x>", "é f"], "(a+b) <X> É F, aa+b"), ["a+b", "<X>", "É F"]);
    }

    #[test]
    fn context_raises_as_presidio_does() {
        let zip = |context: &[&str]| {
            let patterns = json!([{"name": "zip", "regex": r"\b\d{5}\b", "score": 0.01}]);
            find(json!({"supported_entity": "ZIP", "patterns": patterns, "context": context}), "Zip code: 10023")
                .unwrap()
        };
        assert_eq!(zip(&[])[0].1, 0.01);
        assert_eq!(zip(&["zip", "code"])[0].1, 0.4);
        assert_eq!(zip(&["ZIP CODE"])[0].1, 0.4);
        assert_eq!(zip(&["postal"])[0].1, 0.4, "given with the request");
        assert_eq!(zip(&["street"])[0].1, 0.01);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_pythons_words() {
        let good = json!([{"name": "p", "regex": "a", "score": 0.5}]);
        for (recognizer, error) in [
            (json!(7), "a recognizer must be an object"),
            (
                json!({"supported_entity": "A", "patterns": [{"type": "p", "bebex": "a", "confidence": 0.5}]}),
                "400 Failed to parse /analyze request for AnalyzerEngine.analyze(). Pattern.__init__() got an unexpected keyword argument 'type'",
            ),
            (
                json!({"supported_entity": "A", "patterns": [{"regex": "a"}]}),
                "Pattern.__init__() missing 2 required positional arguments: 'name' and 'score'",
            ),
            (json!({"supported_entity": "A", "patterns": [{}]}), "arguments: 'name', 'regex', and 'score'"),
            (json!({"patterns": good}), "missing 1 required positional argument: 'supported_entity'"),
            (
                json!({"supported_entity": "", "patterns": good}),
                "500 Pattern recognizer should be initialized with entity",
            ),
            (
                json!({"supported_entity": "A"}),
                "500 Pattern recognizer should be initialized with patterns or with deny list",
            ),
            (json!({"supported_entity": "A", "patterns": good, "jo@example.com": 1}), "argument '?'"),
            (
                json!({"supported_entity": "A", "patterns": [{"name": "p", "regex": "a(", "score": 0.5}]}),
                "500 Invalid regex",
            ),
            (
                json!({"supported_entity": "A", "patterns": [{"name": "p", "regex": r"(a)\1", "score": 0.5}]}),
                "500 Invalid regex",
            ),
            (
                json!({"supported_entity": "A", "patterns": [{"name": "p", "regex": "(?<=a)b", "score": 0.5}]}),
                "look-around",
            ),
            (
                json!({"supported_entity": "A", "patterns": [{"name": "p", "regex": "a", "score": 2}]}),
                "500 Invalid score: 2. Score should be between 0 and 1",
            ),
            (json!({"supported_entity": "A", "deny_list": [1]}), "deny_list must be a list of strings"),
        ] {
            let said = find(recognizer, "").unwrap_err();
            assert!(said.contains(error), "{said}");
        }
    }

    #[test]
    fn hostile_expressions_are_refused_or_take_linear_time() {
        for regex in [
            "(?:a{1000}){1000}".to_owned(),
            r"\w{5000}".to_owned(),
            "(".repeat(5_000) + &")".repeat(5_000),
            "a".repeat(EXPRESSION_BYTES_MAX + 1),
        ] {
            assert!(Expression::new(&regex, FLAGS).is_err(), "{}", &regex[..10]);
        }
        let began = Instant::now();
        assert_eq!(pattern("(a+)+$", &("a".repeat(30_000) + "!")), [""; 0]);
        assert_eq!(pattern("(x+x+)+y", &"x".repeat(30_000)), [""; 0]);
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_expression_that_takes_too_long_is_an_error() {
        let list = json!([{"supported_entity": "A", "patterns": [{"name": "p", "regex": "a", "score": 0.5}]}]);
        let recognizers = read(&list).unwrap();
        let past = Instant::now() - Duration::from_secs(1);
        assert!(recognizers[0].find("a", &[], past, &mut Vec::new()).is_err());
        let future = Instant::now() + Duration::from_secs(60);
        assert!(recognizers[0].find(&"a".repeat(MATCHES_MAX + 1), &[], future, &mut Vec::new()).is_err());
    }
}
