//! `/analyze`: finds, in one text or several.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use tabellion_detect::{Context, Engine, Finding};

use super::ad_hoc::{self, AdHoc, Expression};
use super::{Characters, Refusal, catalog, truthy};
use crate::config::OnFailure;
use crate::model::Model;

/// What context adds in the engine, and what a score with context is at least.
const CONTEXT_RAISE: f64 = 0.35;
const CONTEXT_LEAST: f64 = 0.4;

/// The engine counts in `f32`, this API in `f64`.
const ROUNDING: f64 = 1e-6;

/// What Presidio states of an address: its end-to-end tests want this score, whatever stands beside it. The engine is
/// surer, and a threshold above this finds addresses all the same.
const EMAIL_SCORE: f64 = 0.85;

const TEXTS_MAX: usize = 10_000;
const NAMES_MAX: usize = 1_000;

/// How long a caller's own regular expressions may take for one request.
const EXPRESSIONS_TIME_MAX: Duration = Duration::from_secs(10);

/// A request that makes sense.
struct Question<'r> {
    texts: Vec<&'r str>,
    /// Answers are lists of lists.
    batch: bool,
    language: &'static str,
    /// Those asked for by name; none for what is found by default.
    entities: Option<Vec<&'r str>>,
    threshold: f64,
    explain: bool,
    ad_hoc: Vec<AdHoc<'r>>,
    context: Vec<&'r str>,
    allowed: Allowed<'r>,
}

enum Allowed<'r> {
    Nothing,
    Exactly(Vec<&'r str>),
    Matching(Expression),
}

/// A result. Its members stand in alphabetical order, as Presidio writes them.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    analysis_explanation: Option<Value>,
    end: usize,
    entity_type: String,
    score: f64,
    start: usize,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    One(Vec<Found>),
    Batch(Vec<Vec<Found>>),
}

/// Something found, in bytes.
pub(super) struct Hit {
    pub(super) entity: String,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) score: f64,
    pub(super) why: Why,
}

pub(super) struct Why {
    pub(super) recognizer: String,
    pub(super) pattern_name: String,
    pub(super) pattern: Option<String>,
    pub(super) base: f64,
    pub(super) context: Option<String>,
    pub(super) against: Option<String>,
    pub(super) validated: bool,
    pub(super) flags: Option<i64>,
}

pub(super) fn answer(engine: &Engine, model: Option<&(Model, OnFailure)>, body: &Value) -> Result<Answer, Refusal> {
    let question = Question::read(body)?;
    let entities = question.served(engine, model.is_some())?;
    let others = question.others(model)?;
    let deadline = Instant::now() + EXPRESSIONS_TIME_MAX;
    let mut answers = Vec::with_capacity(question.texts.len());
    for (text, others) in question.texts.iter().zip(others) {
        answers.push(question.answer(engine, &entities, text, &others, deadline)?);
    }
    Ok(if question.batch { Answer::Batch(answers) } else { Answer::One(answers.pop().unwrap_or_default()) })
}

impl<'r> Question<'r> {
    fn read(body: &'r Value) -> Result<Self, Refusal> {
        let object = body.as_object().ok_or_else(|| Refusal::failed("No text provided"))?;
        let member = |name: &str| object.get(name).filter(|value| !value.is_null());
        // In the order in which Presidio looks: recognizers, text, language.
        let ad_hoc = member("ad_hoc_recognizers").filter(|value| truthy(value));
        let ad_hoc = ad_hoc.map_or(Ok(Vec::new()), ad_hoc::read)?;

        let text = member("text").filter(|value| truthy(value)).ok_or_else(|| Refusal::failed("No text provided"))?;
        let texts = match text {
            Value::String(text) => vec![text.as_str()],
            text => strings(text).ok_or_else(|| Refusal::wrong_type("text must be a string or a list of strings"))?,
        };
        if texts.len() > TEXTS_MAX {
            return Err(Refusal::wrong_type(format_args!("text must not have more than {TEXTS_MAX} strings")));
        }
        let language =
            member("language").filter(|value| truthy(value)).ok_or_else(|| Refusal::failed("No language provided"))?;
        let language = catalog::language(Some(language.as_str().unwrap_or("?")))?;

        let list = |name: &str| match member(name).filter(|value| truthy(value)) {
            None => Ok(None),
            Some(value) => match strings(value) {
                Some(list) if list.len() <= NAMES_MAX => Ok(Some(list)),
                _ => Err(Refusal::wrong_type(format_args!(
                    "{name} must be a list of strings, and have no more than {NAMES_MAX}"
                ))),
            },
        };
        let number = |name: &str| match member(name) {
            None => Ok(None),
            Some(value) => {
                let error = || Refusal::wrong_type(format_args!("{name} must be a number"));
                value.as_f64().map(Some).ok_or_else(error)
            }
        };
        let flags = match member("regex_flags") {
            None => ad_hoc::FLAGS,
            Some(value) => value.as_i64().ok_or_else(|| Refusal::wrong_type("regex_flags must be a number"))?,
        };
        let allowed = match (list("allow_list")?, member("allow_list_match").map(Value::as_str)) {
            (None, _) => Allowed::Nothing,
            (Some(words), None | Some(Some("exact"))) => Allowed::Exactly(words),
            (Some(words), Some(Some("regex"))) => {
                let expressions: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
                match expressions.is_empty() {
                    true => Allowed::Nothing,
                    false => Allowed::Matching(Expression::new(&expressions.join("|"), flags)?),
                }
            }
            _ => return Err(Refusal::failed("allow_list_match must either be set to 'exact' or 'regex'.")),
        };
        Ok(Self {
            texts,
            batch: text.is_array(),
            language,
            entities: list("entities")?,
            threshold: number("score_threshold")?.unwrap_or(0.0),
            explain: member("return_decision_process").is_some_and(truthy),
            ad_hoc: ad_hoc.into_iter().filter(|own| own.language == language).collect(),
            context: list("context")?.unwrap_or_default(),
            allowed,
        })
    }

    /// The entities that the engine is asked for. Those asked for by name are found in every language: to leave one out
    /// in silence would be to leave it in the text. One that nobody can find is left out, as Presidio does, unless it is
    /// the only one.
    fn served<'e>(&self, engine: &'e Engine, model: bool) -> Result<Vec<&'e str>, Refusal> {
        let Some(asked) = &self.entities else { return Ok(catalog::by_default(engine, self.language)) };
        let found: Vec<&str> = engine.entities().into_iter().filter(|entity| asked.contains(entity)).collect();
        // What a model may find, nobody knows before.
        if found.is_empty() && !model && !self.ad_hoc.iter().any(|own| asked.contains(&own.entity)) {
            return Err(catalog::none_to_serve());
        }
        Ok(found)
    }

    /// What the model finds in each text, of what is asked for.
    fn others(&self, model: Option<&(Model, OnFailure)>) -> Result<Vec<Vec<Finding>>, Refusal> {
        let nothing = || vec![Vec::new(); self.texts.len()];
        let Some((model, on_failure)) = model else { return Ok(nothing()) };
        let mut found = match (model.find_all(&self.texts), on_failure) {
            (Ok(found), _) => found,
            (Err(_), OnFailure::Continue) => nothing(),
            (Err(_), OnFailure::Refuse) => return Err(Refusal::failed("The model did not answer")),
        };
        for found in &mut found {
            found.retain(|f| self.entities.as_ref().is_none_or(|asked| asked.contains(&&*f.entity)));
        }
        Ok(found)
    }

    fn answer(
        &self,
        engine: &Engine,
        entities: &[&str],
        text: &str,
        others: &[Finding],
        deadline: Instant,
    ) -> Result<Vec<Found>, Refusal> {
        let before = self.context.join(" ");
        let query = tabellion_detect::Query {
            context: Context { key: None, before: (!before.is_empty()).then_some(&*before) },
            threshold: Some((self.threshold.clamp(0.0, 1.0) - ROUNDING) as f32),
            entities: Some(entities),
            language: match &self.entities {
                None if self.language == "kr" => Some("ko"),
                None => Some(self.language),
                Some(_) => None,
            },
        };
        let mut hits: Vec<Hit> = others.iter().map(hit).collect();
        if !entities.is_empty() {
            hits.extend(engine.analyze(text, &query).iter().map(hit).filter(|hit| hit.score >= self.threshold));
        }
        for own in &self.ad_hoc {
            if self.entities.as_ref().is_none_or(|asked| asked.contains(&own.entity)) {
                own.find(text, &self.context, deadline, &mut hits)?;
            }
        }
        hits.retain(|hit| hit.score >= self.threshold && hit.score > 0.0);
        let mut hits = without_contained(hits);
        self.allowed.remove(text, &mut hits);
        hits.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then(a.start.cmp(&b.start)).then((b.end - b.start).cmp(&(a.end - a.start)))
        });
        let characters = Characters::of(text);
        let found = hits.into_iter().map(|hit| {
            let stated = hit.entity == "EMAIL_ADDRESS" && hit.why.flags.is_none();
            let score = if stated { hit.score.min(EMAIL_SCORE) } else { hit.score };
            Found {
                analysis_explanation: self.explain.then(|| explanation(&hit.why, score)),
                start: characters.number(hit.start),
                end: characters.number(hit.end),
                entity_type: hit.entity,
                score,
            }
        });
        Ok(found.collect())
    }
}

impl Allowed<'_> {
    fn remove(&self, text: &str, hits: &mut Vec<Hit>) {
        let value = |hit: &Hit| &text[hit.start..hit.end];
        match self {
            Allowed::Nothing => {}
            Allowed::Exactly(words) => hits.retain(|hit| !words.contains(&value(hit))),
            Allowed::Matching(expression) => hits.retain(|hit| !expression.is_match(value(hit))),
        }
    }
}

/// A list of strings; `None` when it is anything else.
fn strings(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn hit(finding: &Finding) -> Hit {
    let base = decimal(finding.base);
    Hit {
        entity: finding.entity.to_string(),
        start: finding.start,
        end: finding.end,
        score: score(finding, base),
        why: Why {
            recognizer: catalog::class(&finding.entity),
            pattern_name: finding.pattern.to_string(),
            pattern: None,
            base,
            context: finding.context.as_deref().map(str::to_owned),
            against: finding.against.as_deref().map(str::to_owned),
            // Presidio says so of what proves a value, and gives it all of the score.
            validated: finding.validator.is_some() && base >= 1.0,
            flags: None,
        },
    }
}

/// The number that somebody wrote: 0.3, and not 0.30000001192092896.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

/// A score as Python computes it: 0.3 + 0.35 is 0.6499999999999999.
fn score(finding: &Finding, base: f64) -> f64 {
    let computed = match (&finding.context, &finding.against) {
        (Some(_), _) => raised(base),
        (None, Some(_)) => (base - CONTEXT_RAISE).max(0.0),
        (None, None) => base,
    };
    if (computed - f64::from(finding.score)).abs() < ROUNDING { computed } else { decimal(finding.score) }
}

pub(super) fn raised(base: f64) -> f64 {
    (base + CONTEXT_RAISE).clamp(CONTEXT_LEAST, 1.0)
}

/// Drops what lies inside a result of the same entity with no lower score. The results of one pattern do not overlap, so
/// that few are open at any place.
fn without_contained(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|a, b| {
        let place = |hit: &Hit| (hit.start, Reverse(hit.end));
        a.entity.cmp(&b.entity).then(place(a).cmp(&place(b))).then(b.score.total_cmp(&a.score))
    });
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len());
    let mut open: Vec<usize> = Vec::new();
    for hit in hits {
        open.retain(|&i| kept[i].entity == hit.entity && kept[i].end >= hit.start);
        if !open.iter().any(|&i| hit.end <= kept[i].end && hit.score <= kept[i].score) {
            open.push(kept.len());
            kept.push(hit);
        }
    }
    kept
}

/// Members in alphabetical order.
fn explanation(why: &Why, score: f64) -> Value {
    let mut text = format!("Detected by `{}` using pattern `{}`", why.recognizer, why.pattern_name);
    if let Some(word) = &why.against {
        text.push_str(&format!(", lowered by the word `{word}`"));
    }
    let improvement = if why.context.is_some() { json!(score - why.base) } else { json!(0) };
    json!({
        "original_score": why.base,
        "pattern": why.pattern,
        "pattern_name": why.pattern_name,
        "recognizer": why.recognizer,
        "regex_flags": why.flags,
        "score": score,
        "score_context_improvement": improvement,
        "supportive_context_word": why.context.as_deref().unwrap_or_default(),
        "textual_explanation": text,
        "validation_result": why.validated.then_some(true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(score: f32, base: f32, context: Option<&str>, against: Option<&str>) -> Finding {
        Finding {
            entity: "A".into(),
            start: 0,
            end: 1,
            score,
            recognizer: "r".into(),
            pattern: "p".into(),
            base,
            validator: None,
            context: context.map(Into::into),
            against: against.map(Into::into),
        }
    }

    #[test]
    fn scores_are_those_that_python_computes() {
        for (given, expected) in [
            (finding(0.3 + 0.35, 0.3, Some("license"), None), 0.6499999999999999),
            (finding(0.4, 0.01, Some("code"), None), 0.4),
            (finding(1.0, 0.8, Some("id"), None), 1.0),
            (finding(0.05, 0.05, None, None), 0.05),
            (finding(0.6 - 0.35, 0.6, None, Some("order")), 0.25),
            (finding(0.0, 0.2, None, Some("order")), 0.0),
            // The engine knows more than this arithmetic.
            (finding(0.77, 0.3, None, None), 0.77),
        ] {
            assert_eq!(hit(&given).score, expected);
        }
    }

    #[test]
    fn what_lies_in_the_same_entity_is_dropped_unless_it_is_surer() {
        let hit = |entity: &str, start, end, score| Hit {
            entity: entity.into(),
            start,
            end,
            score,
            why: hit(&finding(0.1, 0.1, None, None)).why,
        };
        let left = without_contained(vec![
            hit("A", 0, 10, 0.5),
            hit("A", 0, 10, 0.5),
            hit("A", 2, 4, 0.5),
            hit("A", 3, 5, 0.6),
            hit("A", 8, 12, 0.1),
            hit("B", 2, 4, 0.1),
        ]);
        let left: Vec<_> = left.iter().map(|hit| (&*hit.entity, hit.start, hit.end)).collect();
        assert_eq!(left, [("A", 0, 10), ("A", 3, 5), ("A", 8, 12), ("B", 2, 4)]);
    }
}
