//! What is done with what is found: operators by entity, thresholds, what is allowed to stay, and rules for places in
//! JSON. A policy is a rules file: it may carry recognizers of its own, and stands on the ones before it.

use std::collections::BTreeMap;

use regex_automata::meta::Regex;
use serde::Deserialize;

use crate::operator::Operator;

/// The policies in `defaults/policies`, by name.
pub(crate) const PRESETS: &[(&str, &str)] = &[
    ("default", include_str!("../../../defaults/policies/default.toml")),
    ("all", include_str!("../../../defaults/policies/all.toml")),
    ("gdpr", include_str!("../../../defaults/policies/gdpr.toml")),
    ("hipaa-safe-harbor", include_str!("../../../defaults/policies/hipaa-safe-harbor.toml")),
    ("pci-dss", include_str!("../../../defaults/policies/pci-dss.toml")),
    ("secrets", include_str!("../../../defaults/policies/secrets.toml")),
];

/// The members of a rules file that make it a policy.
#[derive(Default)]
#[cfg_attr(test, derive(Deserialize))]
#[cfg_attr(test, serde(default))]
pub(crate) struct RawPolicy {
    pub(crate) default: Option<Operator>,
    pub(crate) depth: Option<Depth>,
    pub(crate) operators: BTreeMap<String, Operator>,
    pub(crate) thresholds: BTreeMap<String, f32>,
    pub(crate) entities: Option<Vec<String>>,
    pub(crate) allow: Vec<String>,
    pub(crate) allow_patterns: Vec<String>,
    pub(crate) path: Vec<RawPath>,
}

/// How far a policy's detection goes: each depth has what those before it have.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// What patterns describe.
    #[default]
    Fast,
    /// Street addresses too.
    Text,
    /// Names of people, places, organizations and peoples too.
    Tagger,
    /// A model of the user's own is asked too, by whoever has one: what it finds is given to [`crate::Redactor::with`] or
    /// [`crate::Engine::joined`].
    Model,
}

impl Depth {
    /// Its name in a policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Text => "text",
            Self::Tagger => "tagger",
            Self::Model => "model",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPath {
    path: String,
    #[serde(default = "yes")]
    scan: bool,
    entity: Option<String>,
}

fn yes() -> bool {
    true
}

/// What is done with findings.
pub(crate) struct Policy {
    default: Operator,
    pub(crate) depth: Depth,
    operators: BTreeMap<String, Operator>,
    /// For an entity whose word of context is one of these.
    by_context: Vec<(String, Vec<String>, Operator)>,
    thresholds: BTreeMap<String, f32>,
    pub(crate) entities: Option<Vec<String>>,
    allow: Vec<String>,
    allow_patterns: Vec<Regex>,
    paths: Vec<PathRule>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            default: Operator::Token,
            depth: Depth::default(),
            operators: BTreeMap::new(),
            by_context: Vec::new(),
            thresholds: BTreeMap::new(),
            entities: None,
            allow: Vec::new(),
            allow_patterns: Vec::new(),
            paths: Vec::new(),
        }
    }
}

struct PathRule {
    steps: Vec<Step>,
    place: Place,
}

#[derive(Debug, PartialEq)]
enum Step {
    Member(String),
    AnyMember,
    Element(usize),
    AnyElement,
    /// `..`: any number of steps.
    Descend,
}

/// What a rule says of a place in a JSON text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// Nothing there is scanned.
    Unscanned,
    /// Whatever stands there is this.
    Always(std::sync::Arc<str>),
}

/// A step down into a JSON text.
#[derive(Clone, Copy)]
pub(crate) enum Down<'a> {
    Member(&'a str),
    Element(usize),
}

impl Policy {
    /// Adds what a file says; it wins over what files before it said. `lists` are the lists of words of all files.
    pub(crate) fn add(&mut self, raw: RawPolicy, lists: &BTreeMap<String, Vec<String>>) -> Result<(), &'static str> {
        if let Some(default) = raw.default {
            self.default = default;
        }
        self.depth = raw.depth.unwrap_or(self.depth);
        if cfg!(not(feature = "tagger")) && self.depth >= Depth::Tagger {
            return Err("this program was built without the tagger");
        }
        if raw.thresholds.values().any(|threshold| !(0.0..=1.0).contains(threshold)) {
            return Err("a threshold is 0 to 1");
        }
        for (key, operator) in raw.operators {
            match key.split_once('@') {
                None => {
                    self.operators.insert(key, operator);
                }
                Some((entity, list)) => {
                    let words = lists.get(list).ok_or("an operator for `ENTITY@list` names no list that there is")?;
                    let words = words.iter().map(|word| word.to_lowercase()).collect();
                    self.by_context.push((entity.to_owned(), words, operator));
                }
            }
        }
        self.thresholds.extend(raw.thresholds);
        self.entities = raw.entities.or(self.entities.take());
        self.allow.extend(raw.allow.iter().map(|value| value.trim().to_lowercase()));
        for pattern in raw.allow_patterns {
            let whole = format!("^(?:{pattern})$");
            let regex = Regex::builder()
                .configure(Regex::config().nfa_size_limit(Some(1 << 20)))
                .build(&whole)
                .map_err(|_| "a pattern of `allow_patterns` is no regular expression, or too large a one")?;
            self.allow_patterns.push(regex);
        }
        for path in raw.path {
            let place = match (path.scan, path.entity) {
                (false, None) => Place::Unscanned,
                (true, Some(entity)) => Place::Always(entity.into()),
                _ => return Err("a path has either `scan = false` or an `entity`"),
            };
            self.paths.push(PathRule { steps: steps(&path.path).ok_or("a path is like $.messages[*].name")?, place });
        }
        Ok(())
    }

    /// What is put in the place of a finding: by `ENTITY@list`, if its word of context is in the list, by
    /// `ENTITY/recognizer`, by entity, or by default.
    pub(crate) fn operator(&self, entity: &str, recognizer: &str, context: Option<&str>) -> &Operator {
        let near = context.and_then(|word| {
            let fits =
                |(own, words, _): &&(String, Vec<String>, Operator)| own == entity && words.iter().any(|w| w == word);
            self.by_context.iter().rev().find(fits)
        });
        if let Some((_, _, operator)) = near {
            return operator;
        }
        // Most policies have few operators, and findings are rare.
        self.operators
            .iter()
            .find(|(key, _)| key.split_once('/').is_some_and(|(e, r)| e == entity && r == recognizer))
            .map(|(_, operator)| operator)
            .or_else(|| self.operators.get(entity))
            .unwrap_or(&self.default)
    }

    /// Whether what a recognizer finds may stay, whatever the word of context.
    pub(crate) fn keeps(&self, entity: &str, recognizer: &str) -> bool {
        *self.operator(entity, recognizer, None) == Operator::Keep
    }

    /// The lowest threshold, if some entity has one of its own that is below `usual`.
    pub(crate) fn lowest(&self, usual: f32) -> Option<f32> {
        self.thresholds.values().copied().filter(|own| *own < usual).min_by(f32::total_cmp)
    }

    /// Whether a finding counts: it reaches its entity's threshold, and nobody allowed its value.
    pub(crate) fn counts(&self, entity: &str, score: f32, value: &str, usual: f32) -> bool {
        score >= self.thresholds.get(entity).copied().unwrap_or(usual) && !self.allows(value)
    }

    fn allows(&self, value: &str) -> bool {
        if self.allow.is_empty() && self.allow_patterns.is_empty() {
            return false;
        }
        let value = value.trim();
        self.allow.contains(&value.to_lowercase()) || self.allow_patterns.iter().any(|pattern| pattern.is_match(value))
    }

    pub(crate) fn has_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// What the last rule for a place says of it.
    pub(crate) fn place(&self, path: &[Down<'_>]) -> Option<&Place> {
        self.paths.iter().rev().find(|rule| leads(&rule.steps, path)).map(|rule| &rule.place)
    }
}

fn leads(steps: &[Step], path: &[Down<'_>]) -> bool {
    match (steps, path) {
        ([], []) => true,
        ([Step::Descend, rest @ ..], _) => (0..=path.len()).any(|skip| leads(rest, &path[skip..])),
        ([step, rest @ ..], [down, further @ ..]) => {
            let fits = match (step, down) {
                (Step::Member(name), Down::Member(own)) => name == own,
                (Step::Element(index), Down::Element(own)) => index == own,
                (Step::AnyMember, Down::Member(_)) | (Step::AnyElement, Down::Element(_)) => true,
                _ => false,
            };
            fits && leads(rest, further)
        }
        _ => false,
    }
}

/// The part of JSONPath (RFC 9535) that names places: `$`, `.name`, `["name"]`, `.*`, `[0]`, `[*]`, and one `..`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("..") {
            if steps.contains(&Step::Descend) {
                return None;
            }
            steps.push(Step::Descend);
            rest = after;
            if rest.starts_with('[') {
                continue;
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = after;
        } else if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = after.split_once(']')?;
            rest = after;
            steps.push(match inside {
                "*" => Step::AnyElement,
                _ => match inside.strip_prefix(['"', '\'']).and_then(|name| name.strip_suffix(['"', '\''])) {
                    Some(name) => Step::Member(name.to_owned()),
                    None => Step::Element(inside.parse().ok()?),
                },
            });
            continue;
        } else {
            return None;
        }
        let length = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        rest = after;
        steps.push(match name {
            "" => return None,
            "*" => Step::AnyMember,
            _ => Step::Member(name.to_owned()),
        });
    }
    (steps.last() != Some(&Step::Descend)).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(rule: &str, path: &[Down<'_>]) -> bool {
        leads(&steps(rule).unwrap(), path)
    }

    #[test]
    fn paths_lead_where_they_say() {
        use Down::{Element, Member};
        let name = [Member("messages"), Element(3), Member("name")];
        for rule in ["$.messages[*].name", "$.messages[3].name", "$..name", "$['messages'][*].*", "$.*[*][\"name\"]"] {
            assert!(fits(rule, &name), "{rule}");
        }
        for rule in
            ["$", "$.messages", "$.messages[*]", "$.messages[2].name", "$.messages.*.name", "$..names", "$.name"]
        {
            assert!(!fits(rule, &name), "{rule}");
        }
        for rule in ["", "messages", "$.", "$[", "$.a..", "$..a..b", "$[x]", "$a"] {
            assert!(steps(rule).is_none(), "{rule}");
        }
    }

    #[test]
    fn the_last_file_wins() {
        let mut policy = Policy::default();
        let lists = BTreeMap::from([("own".to_owned(), vec!["Mine".to_owned()])]);
        let raw = |text: &str| toml::from_str::<RawPolicy>(text).unwrap();
        policy
            .add(raw("default = 'redact'\n[operators]\nURL = 'keep'\nAGE = 'token'\n'URL@own' = 'token'"), &lists)
            .unwrap();
        policy.add(raw("allow = ['Info@Example.com']\nallow_patterns = ['\\d{3}']\n[operators]\nURL = 'redact'\n'AGE/old' = 'keep'\n[thresholds]\nAGE = 0.9"), &lists).unwrap();
        assert_eq!(policy.operator("URL", "x", None), &Operator::Redact);
        assert_eq!(policy.operator("URL", "x", Some("mine")), &Operator::Token);
        assert_eq!(policy.operator("AGE", "x", Some("mine")), &Operator::Token);
        assert_eq!(policy.operator("AGE", "x", None), &Operator::Token);
        assert_eq!(policy.operator("AGE", "old", None), &Operator::Keep);
        assert_eq!(policy.operator("OTHER", "x", None), &Operator::Redact);
        assert!(!policy.counts("AGE", 0.8, "93", 0.5));
        assert!(policy.counts("OTHER", 0.8, "93", 0.5));
        assert!(!policy.counts("OTHER", 0.8, "info@example.com", 0.5));
        assert!(!policy.counts("OTHER", 0.8, "123", 0.5));
        assert!(policy.counts("OTHER", 0.8, "1234", 0.5));
        for text in [
            "path = [{ path = '$.a' }]",
            "path = [{ path = 'a', scan = false }]",
            "allow_patterns = ['(']",
            "thresholds = { A = 2.0 }",
            "operators = { 'A@none' = 'keep' }",
        ] {
            assert!(policy.add(raw(text), &lists).is_err(), "{text}");
        }
    }
}
