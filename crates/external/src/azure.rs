//! Azure AI Language, `PiiEntityRecognition` (API version 2023-04-01, synchronous). Offsets are asked for in code points.

use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::packing::Size;
use crate::web::{Base, json_headers};
use crate::{CodePoints, Common, ExternalError, Found, SettingError, bounded, names};

/// A document has at most 5,120 characters, counted in text elements, of which there are never more than code points.
pub(crate) const SIZE: Size = Size::Chars(5_120);

/// Occupations are no personal data by themselves, and amounts none at all.
const NOT_ASKED: [&str; 2] = ["PersonType", "Quantity"];

pub(crate) struct Client {
    uri: http::Uri,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask<'a> {
    kind: &'a str,
    parameters: Parameters<'a>,
    analysis_input: Input<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    model_version: &'a str,
    logging_opt_out: bool,
    string_index_type: &'a str,
}

#[derive(Serialize)]
struct Input<'a> {
    documents: [Document<'a>; 1],
}

#[derive(Serialize)]
struct Document<'a> {
    id: &'a str,
    language: &'a str,
    text: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    results: Results,
}

#[derive(Deserialize)]
struct Results {
    documents: Vec<Analyzed>,
    #[serde(default)]
    errors: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Analyzed {
    id: String,
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entity {
    category: String,
    offset: u64,
    length: u64,
    confidence_score: f32,
}

impl Client {
    pub(crate) fn new(url: &str) -> Result<Self, SettingError> {
        let path = "/language/:analyze-text?api-version=2023-04-01";
        let uri = Base::parse_protected(url).and_then(|base| base.with(path));
        uri.map(|uri| Self { uri }).ok_or(SettingError { key: "url", expected: "the resource's https URL" })
    }

    pub(crate) async fn ask(&self, common: &Common, text: &str) -> Result<Vec<Found>, ExternalError> {
        let mut headers = json_headers();
        let key = common.credential.needed()?.header("")?;
        headers.insert(HeaderName::from_static("ocp-apim-subscription-key"), key);
        let body = serde_json::to_vec(&ask(&common.language, text)).expect("strings");
        found(text, &common.web.post(&self.uri, headers, body).await?)
    }
}

fn ask<'a>(language: &'a str, text: &'a str) -> Ask<'a> {
    Ask {
        kind: "PiiEntityRecognition",
        parameters: Parameters {
            model_version: "latest",
            logging_opt_out: true,
            string_index_type: "UnicodeCodePoint",
        },
        analysis_input: Input { documents: [Document { id: "1", language, text }] },
    }
}

fn found(text: &str, answer: &[u8]) -> Result<Vec<Found>, ExternalError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| ExternalError::Malformed)?;
    // An error about the document comes with status 200.
    if !answer.results.errors.is_empty() {
        return Err(ExternalError::Refused(200));
    }
    let [document] = &answer.results.documents[..] else { return Err(ExternalError::Malformed) };
    if document.id != "1" {
        return Err(ExternalError::Malformed);
    }
    let points = CodePoints::of(text);
    let entities = document.entities.iter().filter(|entity| !NOT_ASKED.contains(&&*entity.category));
    bounded(entities.collect::<Vec<_>>())?
        .into_iter()
        .map(|entity| {
            let end = entity.offset.checked_add(entity.length).ok_or(ExternalError::Malformed)?;
            let (start, end) = points.bytes(entity.offset, end)?;
            let name = names::named(names::AZURE, &entity.category).unwrap_or_else(|| names::spelled(&entity.category));
            Ok(Found { entity: name, start, end, score: entity.confidence_score })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_as_the_api_says() {
        assert_eq!(
            serde_json::to_value(ask("en", "Anna 😀")).unwrap(),
            serde_json::json!({
                "kind": "PiiEntityRecognition",
                "parameters": {
                    "modelVersion": "latest",
                    "loggingOptOut": true,
                    "stringIndexType": "UnicodeCodePoint",
                },
                "analysisInput": {"documents": [{"id": "1", "language": "en", "text": "Anna 😀"}]},
            })
        );
        let client = Client::new("https://contoso.cognitiveservices.azure.com/").unwrap();
        assert_eq!(
            client.uri.to_string(),
            "https://contoso.cognitiveservices.azure.com/language/:analyze-text?api-version=2023-04-01"
        );
        assert!(Client::new("http://contoso.cognitiveservices.azure.com").is_err());
    }

    #[test]
    fn reads_what_azure_says_and_nothing_else() {
        let text = "😀 Anna, doctor, SSN 859-98-0987";
        let answer = r#"{"kind":"PiiEntityRecognitionResults","results":{"documents":[{"redactedText":"…","id":"1",
            "entities":[{"text":"Anna","category":"Person","offset":2,"length":4,"confidenceScore":0.98},
            {"text":"doctor","category":"PersonType","offset":8,"length":6,"confidenceScore":0.9},
            {"text":"…","category":"USSocialSecurityNumber","offset":20,"length":11,"confidenceScore":0.65}],
            "warnings":[]}],"errors":[],"modelVersion":"2023-09-01"}}"#;
        let all = found(text, answer.as_bytes()).unwrap();
        let seen: Vec<_> = all.iter().map(|f| (&*f.entity, &text[f.start..f.end])).collect();
        assert_eq!(seen, [("PERSON", "Anna"), ("US_SSN", "859-98-0987")]);
        for (answer, error) in [
            ("{}", ExternalError::Malformed),
            (r#"{"results":{"documents":[],"errors":[]}}"#, ExternalError::Malformed),
            (r#"{"results":{"documents":[{"id":"2","entities":[]}],"errors":[]}}"#, ExternalError::Malformed),
            (
                r#"{"results":{"documents":[{"id":"1","entities":[{"category":"Person","offset":18446744073709551615,"length":2,"confidenceScore":1}]}]}}"#,
                ExternalError::Malformed,
            ),
            (
                r#"{"results":{"documents":[],"errors":[{"id":"1","error":{"code":"InvalidArgument","message":"x"}}]}}"#,
                ExternalError::Refused(200),
            ),
        ] {
            assert_eq!(found(text, answer.as_bytes()), Err(error), "{answer}");
        }
    }
}
