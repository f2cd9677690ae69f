//! Presidio's analyzer: `POST /analyze` (presidio-analyzer/app.py). Offsets are code points.

use serde::{Deserialize, Serialize};

use crate::packing::Size;
use crate::web::{Base, json_headers};
use crate::{CodePoints, Common, ExternalError, Found, SettingError, bounded};

/// It has no limit of its own. Its time grows with the text, and pieces are worked on at once.
pub(crate) const SIZE: Size = Size::Bytes(16 << 10);

pub(crate) struct Client {
    uri: http::Uri,
}

#[derive(Serialize)]
struct Ask<'a> {
    text: &'a str,
    language: &'a str,
    score_threshold: f32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entities: &'a [String],
}

#[derive(Deserialize)]
struct Finding {
    entity_type: String,
    start: u64,
    end: u64,
    score: f32,
}

impl Client {
    pub(crate) fn new(url: &str) -> Result<Self, SettingError> {
        let uri = Base::parse(url).and_then(|base| base.with("/analyze"));
        uri.map(|uri| Self { uri }).ok_or(SettingError { key: "url", expected: "an http or https URL" })
    }

    pub(crate) async fn ask(&self, common: &Common, text: &str) -> Result<Vec<Found>, ExternalError> {
        let mut headers = json_headers();
        // Presidio itself asks for none, but what stands in front of it may.
        if let Some(secret) = common.credential.read()? {
            headers.insert(http::header::AUTHORIZATION, secret.header("Bearer ")?);
        }
        let ask =
            Ask { text, language: &common.language, score_threshold: common.min_score, entities: &common.entities };
        let body = serde_json::to_vec(&ask).expect("strings and numbers");
        found(text, &common.web.post(&self.uri, headers, body).await?)
    }
}

fn found(text: &str, answer: &[u8]) -> Result<Vec<Found>, ExternalError> {
    let findings: Vec<Finding> = serde_json::from_slice(answer).map_err(|_| ExternalError::Malformed)?;
    let points = CodePoints::of(text);
    bounded(findings)?
        .into_iter()
        .map(|finding| {
            let (start, end) = points.bytes(finding.start, finding.end)?;
            Ok(Found { entity: finding.entity_type, start, end, score: finding.score })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_presidio_says() {
        let text = "😀 Anna";
        let answer =
            br#"[{"analysis_explanation": null, "end": 6, "entity_type": "PERSON", "score": 0.85, "start": 2}]"#;
        let all = found(text, answer).unwrap();
        assert_eq!(all, [Found { entity: "PERSON".into(), start: 5, end: 9, score: 0.85 }]);
        assert_eq!(found(text, b"[]").unwrap(), []);
    }

    #[test]
    fn refuses_what_presidio_would_not_say() {
        let finding = |start: &str, end: &str| {
            format!(r#"[{{"end": {end}, "entity_type": "PERSON", "score": 0.85, "start": {start}}}]"#)
        };
        for answer in [
            "",
            "null",
            "{}",
            "[{}]",
            "<html>",
            r#"{"error": "No text provided"}"#,
            &finding("0", "7"),
            &finding("3", "3"),
            &finding("4", "2"),
            &finding("-1", "2"),
            &finding("0", "1e99"),
            &finding("0.5", "2"),
        ] {
            assert_eq!(found("😀 Anna", answer.as_bytes()), Err(ExternalError::Malformed), "{answer}");
        }
        let many = format!("[{}]", vec![r#"{"end":1,"entity_type":"A","score":1,"start":0}"#; 10_001].join(","));
        assert_eq!(found("😀 Anna", many.as_bytes()), Err(ExternalError::TooLarge));
    }
}
