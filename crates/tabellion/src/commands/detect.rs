//! `tabellion detect` and `tabellion redact`

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tabellion_detect::{Context, Engine, Finding, Pseudonyms, Query, Redactor, Set, convert_offsets};

use crate::cli::{DetectArgs, Format, Offsets, Recognizers, RedactArgs};
use crate::config::Config;
use crate::failure::Failure;
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
    let engine = Engine::embedded(match args.recognizers {
        Recognizers::Default => Set::Default,
        Recognizers::All => Set::All,
    });
    if args.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
        return Err(Failure::usage("--threshold must be between 0.0 and 1.0"));
    }
    let asking = Asking { engine: &engine, every: OnceLock::new(), threshold: args.threshold };
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
                let findings = asking.line(&line);
                any |= !findings.is_empty();
                ui::json(&FoundInLine { id: line.id, findings: described(&line.text, &findings, args) })?;
            }
        } else {
            let text = read_text(&name, &mut input)?;
            let query = Query { threshold: args.threshold, ..Query::default() };
            let findings = engine.analyze(&text, &query);
            any |= !findings.is_empty();
            for found in described(&text, &findings, args) {
                ui::json(&found)?;
            }
        }
    }
    Ok(if any && args.fail { said_no() } else { ExitCode::SUCCESS })
}

/// What lines may ask for.
struct Asking<'a> {
    engine: &'a Engine,
    /// Every recognizer, for a line that names entities.
    every: OnceLock<Engine>,
    threshold: Option<f32>,
}

impl Asking<'_> {
    /// Who names entities knows what may be there, as Presidio's callers do: every recognizer for them is used, and
    /// every score counts unless a threshold is given.
    fn line(&self, line: &Line) -> Vec<Finding> {
        let Some(entities) = &line.entities else {
            let query = Query {
                threshold: self.threshold,
                language: line.language.as_deref(),
                context: Context::NONE,
                entities: None,
            };
            return self.engine.analyze(&line.text, &query);
        };
        let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
        let engine = self.every.get_or_init(|| Engine::embedded(Set::All));
        let threshold = Some(self.threshold.unwrap_or(0.0));
        engine.analyze(&line.text, &Query { threshold, entities: Some(&entities), ..Query::default() })
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
    let engine = match &args.policy {
        None => Engine::embedded(Set::Default),
        Some(path) => {
            let rules =
                std::fs::read_to_string(path).map_err(|error| unreadable(&path.display().to_string(), error))?;
            let name = path.file_name().map_or("policy".into(), |name| name.to_string_lossy());
            Engine::from_rules(&[(&name, &rules)])
                .map_err(|error| Failure::usage("the policy cannot be used").because(error))?
        }
    };
    let redactor = Redactor::new(Arc::new(engine), Pseudonyms::new(token_key(args)?));
    for input in inputs(&args.files) {
        let (name, mut input) = input?;
        match args.format {
            Format::Text => ui::raw(redactor.text(&read_text(&name, &mut input)?).text.as_bytes())?,
            Format::Json => {
                let text = read_text(&name, &mut input)?;
                let redacted =
                    redactor.json(&text).ok_or_else(|| Failure::usage(format!("{name} is not a JSON text")))?;
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
                        .json(&line)
                        .ok_or_else(|| Failure::usage(format!("{name}, line {}: not a JSON text", number + 1)))?;
                    ui::result(redacted.text)?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The token key of the log, so that the same value has the same token there and here; without a log, one for this run.
fn token_key(args: &RedactArgs) -> Result<[u8; 32], Failure> {
    let config = Config::load(args.log.config.as_deref(), args.log.data.as_deref())?;
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
