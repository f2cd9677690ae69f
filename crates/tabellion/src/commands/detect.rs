//! `tabellion detect` and `tabellion redact`

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use tabellion_detect::{
    Context, Depth, Engine, Finding, Further, Query, Redacted, Redactor, Set, Stream, convert_offsets,
};

use crate::cli::{DetectArgs, Format, Offsets, Recognizers, RedactArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::model::Model;
use crate::policy;
use crate::secrets::Secrets;
use crate::{Ended, said_no, ui};

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    text: String,
    language: Option<String>,
    entities: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Found<'a> {
    entity: &'a str,
    start: usize,
    end: usize,
    score: f32,
    recognizer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
}

#[derive(Serialize)]
struct FoundInLine<'a> {
    id: serde_json::Value,
    findings: Vec<Found<'a>>,
}

pub(crate) fn detect(args: &DetectArgs) -> Ended {
    let depth = args.depth.map(Depth::from);
    let engine = match (&args.policy, args.recognizers) {
        (Some(policy), _) => policy::engine(policy, depth)?,
        (None, Recognizers::Default) => policy::embedded(Set::Default, depth),
        (None, Recognizers::All) => policy::embedded(Set::All, depth),
    };
    let model = match engine.depth() >= Depth::Model {
        true => Some(model(&Config::load(args.config.as_deref(), None)?)?),
        false => None,
    };
    if args.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return Err(Failure::usage("--threshold must be between 0.0 and 1.0"));
    }
    let asking = Asking { engine: &engine, depth, model, every: OnceLock::new(), threshold: args.threshold };
    let mut any = false;
    for input in inputs(&args.files) {
        let (name, mut input) = input?;
        if args.jsonl {
            for (number, line) in input.lines().enumerate() {
                let line = line.map_err(|error| unreadable(&name, error))?;
                if line.trim().is_empty() {
                    continue;
                }
                let line: Line = serde_json::from_str(&line).map_err(|_| {
                    Failure::usage(format!("{name}, line {}: not a JSON object with `id` and `text`", number + 1))
                })?;
                let findings = asking.line(&line)?;
                any |= !findings.is_empty();
                ui::json(&FoundInLine { id: line.id, findings: described(&line.text, &findings, args) })?;
            }
        } else {
            any |= match asking.model {
                // A model sees a text as a whole.
                Some(_) => {
                    let text = read_text(&name, &mut input)?;
                    let query = Query { threshold: args.threshold, ..Query::default() };
                    let findings = asking.analyze(asking.engine, &text, &query)?;
                    for found in described(&text, &findings, args) {
                        ui::json(&found)?;
                    }
                    !findings.is_empty()
                }
                None => whole(&engine, args, &name, &mut input)?,
            };
        }
    }
    Ok(if any && args.fail { said_no() } else { ExitCode::SUCCESS })
}

/// The configured model.
fn model(config: &Config) -> Result<Model, Failure> {
    let model = Model::load(&config.model)?;
    model.ok_or_else(|| {
        Failure::usage("no model is configured").hint("name a configuration file that sets model.path, with --config")
    })
}

fn asked(model: &Model, texts: &[&str]) -> Result<Vec<Vec<Finding>>, Failure> {
    model.find_all(texts).map_err(|why| Failure::environment(format!("the model did not answer: {why}")))
}

/// So much of a file is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Finds in one text, which may be longer than memory. Returns whether anything was found.
fn whole(engine: &Engine, args: &DetectArgs, name: &str, input: &mut dyn Read) -> Result<bool, Failure> {
    let query = Query { threshold: args.threshold, ..Query::default() };
    let mut stream = Stream::new(engine, query);
    // What is not certain yet, where it begins, and as how many units that counts.
    let mut pending = String::new();
    let (mut begin, mut units) = (0, 0);
    let mut bytes = Vec::new();
    let mut any = false;
    loop {
        let read = input.take(CHUNK_BYTES as u64).read_to_end(&mut bytes).map_err(|error| unreadable(name, error))?;
        // A character that the chunk cuts in two waits for its rest.
        let valid = match std::str::from_utf8(&bytes) {
            Ok(_) => bytes.len(),
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Err(Failure::usage(format!("{name} is not UTF-8"))),
        };
        let rest = bytes.split_off(valid);
        let text = String::from_utf8(std::mem::replace(&mut bytes, rest)).expect("that much of it is valid");
        pending.push_str(&text);
        let mut findings = stream.feed(&text);
        let certain = stream.certain();
        if read == 0 {
            findings.extend(std::mem::replace(&mut stream, Stream::new(engine, query)).finish());
        }
        any |= !findings.is_empty();
        for finding in &mut findings {
            finding.start -= begin;
            finding.end -= begin;
        }
        for mut found in described(&pending, &findings, args) {
            found.start += units;
            found.end += units;
            ui::json(&found)?;
        }
        if read == 0 {
            return Ok(any);
        }
        units += count(&pending[..certain - begin], args.offsets);
        pending.drain(..certain - begin);
        begin = certain;
    }
}

/// What lines may ask for.
struct Asking<'a> {
    engine: &'a Engine,
    depth: Option<Depth>,
    model: Option<Model>,
    /// Every recognizer, for a line that names entities.
    every: OnceLock<Engine>,
    threshold: Option<f32>,
}

impl Asking<'_> {
    /// Who names entities knows what may be there, as Presidio's callers do: every recognizer for them is used, and
    /// every score counts unless a threshold is given.
    fn line(&self, line: &Line) -> Result<Vec<Finding>, Failure> {
        let Some(entities) = &line.entities else {
            let query = Query {
                threshold: self.threshold,
                language: line.language.as_deref(),
                context: Context::NONE,
                entities: None,
            };
            return self.analyze(self.engine, &line.text, &query);
        };
        let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
        let engine = self.every.get_or_init(|| policy::embedded(Set::All, self.depth));
        let threshold = Some(self.threshold.unwrap_or(0.0));
        self.analyze(engine, &line.text, &Query { threshold, entities: Some(&entities), ..Query::default() })
    }

    /// What the engine finds, and the model if it is asked.
    fn analyze(&self, engine: &Engine, text: &str, query: &Query<'_>) -> Result<Vec<Finding>, Failure> {
        let findings = engine.analyze(text, query);
        let Some(model) = &self.model else { return Ok(findings) };
        let mut others = asked(model, &[text])?.pop().unwrap_or_default();
        others.retain(|other| {
            query.entities.is_none_or(|only| only.contains(&&*other.entity))
                && query.threshold.is_none_or(|threshold| other.score >= threshold)
        });
        Ok(engine.joined(text, findings, &others))
    }
}

fn count(text: &str, unit: Offsets) -> usize {
    match unit {
        Offsets::Chars => text.chars().count(),
        Offsets::Bytes => text.len(),
        Offsets::Utf16 => text.encode_utf16().count(),
    }
}

fn described<'a>(text: &str, findings: &'a [Finding], args: &DetectArgs) -> Vec<Found<'a>> {
    let unit = match args.offsets {
        Offsets::Chars => tabellion_detect::Offsets::Chars,
        Offsets::Bytes => tabellion_detect::Offsets::Bytes,
        Offsets::Utf16 => tabellion_detect::Offsets::Utf16,
    };
    let offsets = convert_offsets(text, findings, unit);
    findings
        .iter()
        .zip(offsets)
        .map(|(finding, (start, end))| Found {
            entity: &finding.entity,
            start,
            end,
            // What an f32 prints as when it becomes an f64 is not what anybody wrote.
            score: finding.score,
            recognizer: &finding.recognizer,
            explanation: args.explain.then(|| finding.explanation()),
        })
        .collect()
}

pub(crate) fn redact(args: &RedactArgs) -> Ended {
    let config = Config::load(args.log.config.as_deref(), args.log.data.as_deref())?;
    let depth = args.depth.map(Depth::from);
    let engine = policy::engine(args.policy.as_deref().unwrap_or(&config.redaction.policy), depth)?;
    let model = match engine.depth() >= Depth::Model {
        true => Some(model(&config)?),
        false => None,
    };
    let redactor = Redacting { redactor: policy::with_key(engine, &token_key(&config)?), model };
    for input in inputs(&args.files) {
        let (name, mut input) = input?;
        match args.format {
            Format::Text => ui::raw(redactor.text(&read_text(&name, &mut input)?)?.text.as_bytes())?,
            Format::Json => {
                let text = read_text(&name, &mut input)?;
                let redacted =
                    redactor.json(&text)?.ok_or_else(|| Failure::usage(format!("{name} is not a JSON text")))?;
                ui::raw(redacted.text.as_bytes())?;
            }
            Format::Jsonl => {
                for (number, line) in input.lines().enumerate() {
                    let line = line.map_err(|error| unreadable(&name, error))?;
                    if line.trim().is_empty() {
                        ui::result(line)?;
                        continue;
                    }
                    let redacted = redactor
                        .json(&line)?
                        .ok_or_else(|| Failure::usage(format!("{name}, line {}: not a JSON text", number + 1)))?;
                    ui::result(redacted.text)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Redacts, with what the model finds if there is one.
struct Redacting {
    redactor: Redactor,
    model: Option<Model>,
}

impl Redacting {
    fn text(&self, text: &str) -> Result<Redacted, Failure> {
        let Some(model) = &self.model else { return Ok(self.redactor.text(text)) };
        Ok(self.redactor.with(&found(model, &self.redactor.asked(text))?).text(text))
    }

    /// `None` when it is no JSON text.
    fn json(&self, text: &str) -> Result<Option<Redacted>, Failure> {
        let Some(model) = &self.model else { return Ok(self.redactor.json(text)) };
        let Some(texts) = self.redactor.asked_of_json(text) else { return Ok(None) };
        Ok(self.redactor.with(&found(model, &texts)?).json(text, None))
    }
}

fn found(model: &Model, texts: &[String]) -> Result<Further, Failure> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut further = Further::default();
    for (text, found) in texts.iter().zip(asked(model, &texts)?) {
        further.add(text, found);
    }
    Ok(further)
}

/// The token key of the log, so that the same value has the same token there and here; without a log, one for this run.
fn token_key(config: &Config) -> Result<[u8; 32], Failure> {
    if let Some(secrets) = Secrets::existing(&config.keys())? {
        return Ok(*secrets.token);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| Failure::environment("no random bytes"))?;
    ui::note("note: there is no log here, so these tokens are this run's own");
    Ok(key)
}

type Input = (String, Box<dyn BufRead>);

fn inputs(files: &[PathBuf]) -> impl Iterator<Item = Result<Input, Failure>> {
    let standard = files.is_empty() || files == [Path::new("-")];
    let stdin =
        standard.then(|| Ok(("standard input".to_owned(), Box::new(std::io::stdin().lock()) as Box<dyn BufRead>)));
    let files = if standard { &[] } else { files };
    stdin.into_iter().chain(files.iter().map(|path| {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|error| unreadable(&name, error))?;
        Ok((name, Box::new(BufReader::new(file)) as Box<dyn BufRead>))
    }))
}

fn read_text(name: &str, input: &mut dyn Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|error| unreadable(name, error))?;
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))
}

fn unreadable(name: &str, error: std::io::Error) -> Failure {
    Failure::environment(format!("cannot read {name}")).because(error)
}
