//! A row an exchange, as CSV and as Parquet. [`COLUMNS`] is the one list of what a row has.
//!
//! **parquet** is the `parquet` crate without Arrow: its column writers take our values as they are, and Arrow would be
//! some thirty crates for a second form of them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value as Json;
use tabellion_evidence::entry::{Entry, FRAME, Manifest};
use tabellion_evidence::sessions::micros;
use tabellion_evidence::tree::Hash;
use tabellion_ledger::PartsInOrder;

use super::checked;
use crate::failure::Failure;
use crate::retention::Expired;

/// Rows of a row group, which is held in memory; fewer, where they are long.
const GROUP_ROWS_MAX: usize = 10_000;
const GROUP_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    /// UTC, to the microsecond.
    Time,
}

/// The columns: name, kind, and what it is.
const COLUMNS: [(&str, Kind, &str); 26] = [
    ("exchange", Kind::Text, "the exchange's ID"),
    ("request_entry", Kind::Number, "the place of the request in the log"),
    ("response_entry", Kind::Number, "the place of the answer in the log"),
    ("requested_at", Kind::Time, "when the request had been received, by the gateway's clock, UTC"),
    ("answered_at", Kind::Time, "when the answer ended"),
    ("upstream", Kind::Text, "the route"),
    ("operation", Kind::Text, "method and path"),
    ("model_requested", Kind::Text, "the model that was asked for"),
    ("model_answered", Kind::Text, "the model that the provider says answered"),
    ("parameters", Kind::Text, "the request's members other than what was said: temperature and the like, JSON"),
    ("case", Kind::Text, "the caller's case"),
    ("actor", Kind::Text, "who called"),
    ("tags", Kind::Text, "what else the caller said, JSON"),
    ("outcome", Kind::Text, "how the exchange ended"),
    ("status", Kind::Number, "the provider's HTTP status"),
    ("tokens_read", Kind::Number, "the provider's count of the model's input"),
    ("tokens_written", Kind::Number, "the provider's count of the model's output"),
    ("policy", Kind::Text, "SHA-256 of the redaction rules in force at the request"),
    (
        "pseudonyms",
        Kind::Text,
        "ENTITY:token of what was taken out, with spaces between: the same value has the same token everywhere",
    ),
    ("input", Kind::Text, "the request's body, redacted, exactly as the log has it"),
    ("input_sha256", Kind::Text, "the SHA-256 of that, in the log"),
    ("input_commitment", Kind::Text, "the commitment to the exact bytes before redaction"),
    ("output", Kind::Text, "the answer's body, redacted, exactly as the log has it"),
    ("output_text", Kind::Text, "what the model said in it, where the answer is of a known shape"),
    ("output_commitment", Kind::Text, "the commitment to the exact bytes of the answer"),
    (
        "removed_by",
        Kind::Number,
        "the custody.expire after which redacted bodies were removed; where they are, nothing stands",
    ),
];

/// What the columns are, a line each, for the page.
pub(super) fn dictionary() -> String {
    COLUMNS.iter().map(|(name, _, meaning)| format!("| `{name}` | {meaning} |\n")).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cell {
    None,
    Text(String),
    Number(i64),
}

/// An exchange.
pub(super) struct Row(Vec<Cell>);

fn text(value: &Option<impl ToString>) -> Cell {
    value.as_ref().map_or(Cell::None, |value| Cell::Text(value.to_string()))
}

fn number(value: Option<u64>) -> Cell {
    value.and_then(|value| i64::try_from(value).ok()).map_or(Cell::None, Cell::Number)
}

fn time(entry: Option<&Entry>) -> Cell {
    entry.and_then(|entry| micros(&entry.time)).map_or(Cell::None, Cell::Number)
}

impl Row {
    pub(super) fn of(
        parts: &mut PartsInOrder,
        expired: &Expired,
        (at, request): (u64, &Entry),
        response: Option<(u64, &Entry)>,
    ) -> Result<Self, Failure> {
        let answer = response.map(|(_, entry)| entry);
        let removed = expired.by(at);
        let input = Body::of(parts, request, removed.is_some())?;
        let output = answer.map(|answer| Body::of(parts, answer, removed.is_some())).transpose()?.unwrap_or_default();
        let mut pseudonyms: Vec<String> = [&input.tokens, &output.tokens].into_iter().flatten().cloned().collect();
        pseudonyms.sort_unstable();
        pseudonyms.dedup();
        let usage = answer.and_then(|answer| answer.usage);
        let tags = (!request.tags.is_empty()).then(|| serde_json::to_string(&request.tags).unwrap_or_default());
        let commitment =
            |entry: Option<&Entry>| entry.and_then(|entry| entry.original.as_ref()).map(|original| original.commitment);
        let sha256 = request.content.as_ref().and_then(|content| content.sha256);
        Ok(Self(vec![
            text(&request.exchange),
            number(Some(at)),
            number(response.map(|(index, _)| index)),
            time(Some(request)),
            time(answer),
            text(&request.upstream),
            text(&request.operation),
            text(&request.model),
            text(&answer.and_then(|answer| answer.model.clone())),
            text(&input.parameters()),
            text(&request.case),
            text(&request.actor),
            text(&tags),
            text(&answer.and_then(|answer| answer.outcome)),
            number(answer.and_then(|answer| answer.status).map(u64::from)),
            number(usage.and_then(|usage| usage.input)),
            number(usage.and_then(|usage| usage.output)),
            text(&request.redaction.as_ref().map(|redaction| redaction.policy)),
            text(&(!pseudonyms.is_empty()).then(|| pseudonyms.join(" "))),
            text(&input.text()),
            text(&sha256),
            text(&commitment(Some(request))),
            text(&output.text()),
            text(&output.said()),
            text(&commitment(answer)),
            number(removed),
        ]))
    }

    fn cell(&self, name: &str) -> &Cell {
        let at = COLUMNS.iter().position(|(known, ..)| *known == name).expect("it is a column's name");
        &self.0[at]
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.cell(name) {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.cell(name) {
            Cell::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn parameters(&self) -> &str {
        self.text("parameters").unwrap_or("{}")
    }

    /// Lets go of what takes room, in a row that is not shown.
    pub(super) fn forget(&mut self) {
        self.0.iter_mut().for_each(|cell| *cell = Cell::None);
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 8 }).sum()
    }
}

fn checked_part(parts: &mut PartsInOrder, hash: &Hash) -> Result<Vec<u8>, Failure> {
    let bytes = parts.part(hash)?.ok_or_else(|| {
        Failure::evidence(format!("part {hash} is missing from the log")).hint("run `tabellion verify`")
    })?;
    checked(bytes, hash)
}

/// A redacted body, put together from its parts.
#[derive(Default)]
struct Body {
    frame: Vec<u8>,
    /// With their roles.
    parts: Vec<(String, Vec<u8>)>,
    tokens: Vec<String>,
    there: bool,
}

impl Body {
    /// `removed`: where a part is not there, the body is not.
    fn of(parts: &mut PartsInOrder, entry: &Entry, removed: bool) -> Result<Self, Failure> {
        let tokens = entry.redaction.as_ref().map(|redaction| redaction.tokens.clone()).unwrap_or_default();
        let mut body = Self { tokens, ..Self::default() };
        let Some(content) = entry.content.as_ref().filter(|content| content.omitted.is_none()) else { return Ok(body) };
        let mut named = content.parts.clone();
        if let Some(hash) = &content.manifest {
            let manifest = Manifest::parse(&checked_part(parts, hash)?)
                .map_err(|error| Failure::evidence("a manifest cannot be read").because(error))?;
            named = manifest.content;
            body.tokens.extend(manifest.tokens);
        }
        for one in &named {
            if removed && parts.part(&one.sha256)?.is_none() {
                let Self { tokens, .. } = body;
                return Ok(Self { tokens, ..Self::default() });
            }
            let bytes = checked_part(parts, &one.sha256)?;
            match one.role.as_str() {
                FRAME => body.frame = bytes,
                role => body.parts.push((role.to_owned(), bytes)),
            }
        }
        body.there = true;
        if content.is_of(&body.bytes()) {
            return Ok(body);
        }
        Err(Failure::evidence("the parts do not make the body that an entry names").hint("run `tabellion verify`"))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut parts = self.parts.iter();
        let mut bytes = Vec::new();
        for piece in self.frame.split_inclusive(|byte| *byte == 0) {
            match piece.split_last() {
                Some((0, before)) => {
                    bytes.extend_from_slice(before);
                    bytes.extend(parts.next().into_iter().flat_map(|(_, part)| part));
                }
                _ => bytes.extend_from_slice(piece),
            }
        }
        bytes
    }

    fn text(&self) -> Option<String> {
        self.there.then(|| String::from_utf8_lossy(&self.bytes()).into_owned())
    }

    /// What stands in the body beside the parts, where it is a JSON object.
    fn parameters(&self) -> Option<String> {
        let frame = String::from_utf8_lossy(&self.frame).replace('\0', "null");
        let Json::Object(members) = serde_json::from_str(&frame).ok()? else { return None };
        let empty = |value: &Json| match value {
            Json::Null => true,
            Json::Array(items) => items.iter().all(Json::is_null),
            _ => false,
        };
        let kept: serde_json::Map<String, Json> = members.into_iter().filter(|(_, value)| !empty(value)).collect();
        serde_json::to_string(&kept).ok()
    }

    /// The text of the parts that are the model's own words.
    fn said(&self) -> Option<String> {
        let words: Vec<String> =
            self.parts.iter().filter_map(|(_, part)| words(&serde_json::from_slice::<Json>(part).ok()?)).collect();
        (!words.is_empty()).then(|| words.join("\n"))
    }
}

/// The text in an answer's part, in the shapes that the providers have in common.
fn words(part: &Json) -> Option<String> {
    match part {
        Json::String(text) => Some(text.clone()),
        Json::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(words).collect();
            (!texts.is_empty()).then(|| texts.join("\n"))
        }
        Json::Object(members) => {
            ["message", "content", "text", "output"].iter().find_map(|name| words(members.get(*name)?))
        }
        _ => None,
    }
}

/// The files of rows.
pub(super) struct Writers {
    csv: BufWriter<File>,
    parquet: SerializedFileWriter<File>,
    group: Vec<Row>,
    bytes: usize,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::environment("cannot write the rows").because(error)
}

impl Writers {
    pub(super) fn create(directory: &Path) -> Result<Self, Failure> {
        let members: String = COLUMNS
            .iter()
            .map(|(name, kind, _)| match kind {
                Kind::Text => format!("optional binary {name} (STRING); "),
                Kind::Number => format!("optional int64 {name}; "),
                Kind::Time => format!("optional int64 {name} (TIMESTAMP(MICROS,true)); "),
            })
            .collect();
        let schema = parse_message_type(&format!("message decisions {{ {members}}}")).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("tabellion".to_owned())
            .build();
        let parquet = File::create(directory.join("decisions.parquet")).map_err(failed)?;
        let parquet = SerializedFileWriter::new(parquet, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        let mut csv = BufWriter::new(File::create(directory.join("decisions.csv")).map_err(failed)?);
        let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
        write!(csv, "{}\r\n", names.join(",")).map_err(failed)?;
        Ok(Self { csv, parquet, group: Vec::new(), bytes: 0 })
    }

    pub(super) fn write(&mut self, row: &Row) -> Result<(), Failure> {
        let cells: Vec<String> = row.0.iter().zip(COLUMNS).map(|(cell, (_, kind, _))| csv_cell(cell, kind)).collect();
        write!(self.csv, "{}\r\n", cells.join(",")).map_err(failed)?;
        self.bytes += row.bytes();
        self.group.push(Row(row.0.clone()));
        if self.group.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX {
            self.flush().map_err(failed)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let mut group = self.parquet.next_row_group()?;
        let mut at = 0;
        while let Some(mut column) = group.next_column()? {
            let cells = || self.group.iter().map(|row| &row.0[at]);
            let levels: Vec<i16> = cells().map(|cell| i16::from(*cell != Cell::None)).collect();
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let texts: Vec<ByteArray> = cells()
                        .filter_map(|cell| if let Cell::Text(text) = cell { Some(text.as_str().into()) } else { None })
                        .collect();
                    writer.write_batch(&texts, Some(&levels), None)?;
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    let numbers: Vec<i64> = cells()
                        .filter_map(|cell| if let Cell::Number(number) = cell { Some(*number) } else { None })
                        .collect();
                    writer.write_batch(&numbers, Some(&levels), None)?;
                }
                _ => return Err(ParquetError::General("a column of another type".to_owned())),
            }
            column.close()?;
            at += 1;
        }
        group.close()?;
        self.group.clear();
        self.bytes = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Failure> {
        if !self.group.is_empty() {
            self.flush().map_err(failed)?;
        }
        self.csv.flush().map_err(failed)?;
        self.parquet.close().map_err(failed)?;
        Ok(())
    }
}

/// A field of RFC 4180. A text that a spreadsheet would take for a formula has an apostrophe before it: whoever called the
/// model chose it. The Parquet file has it without.
fn csv_cell(cell: &Cell, kind: Kind) -> String {
    let text = match cell {
        Cell::None => return String::new(),
        Cell::Number(micros) if kind == Kind::Time => {
            return jiff::Timestamp::from_microsecond(*micros)
                .map_or_else(|_| String::new(), |time| format!("{time:.6}"));
        }
        Cell::Number(number) => return number.to_string(),
        Cell::Text(text) => text,
    };
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let safe = if formula { format!("'{text}") } else { text.clone() };
    if safe.contains([',', '"', '\r', '\n']) { format!("\"{}\"", safe.replace('"', "\"\"")) } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_never_a_formula() {
        for (text, field) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("@x", "'@x"),
        ] {
            assert_eq!(csv_cell(&Cell::Text(text.to_owned()), Kind::Text), field);
        }
        assert_eq!(csv_cell(&Cell::Number(-5), Kind::Number), "-5");
        assert_eq!(csv_cell(&Cell::Number(1_000_001), Kind::Time), "1970-01-01T00:00:01.000001Z");
        assert_eq!(csv_cell(&Cell::None, Kind::Text), "");
    }

    #[test]
    fn parameters_are_what_is_not_said() {
        let body = Body {
            frame: b"{\"model\":\"m\",\"temperature\":0.2,\"messages\":[\0,\0],\"tools\":[\0],\"system\":\0}".to_vec(),
            ..Body::default()
        };
        assert_eq!(body.parameters().unwrap(), r#"{"model":"m","temperature":0.2}"#);
    }
}
