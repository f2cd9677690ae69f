//! AWS Comprehend, `DetectPiiEntities` (API version 2017-11-27): JSON 1.1 with Signature Version 4. Offsets are code
//! points.

use std::env::VarError;

use http::header::{self, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::credential::Secret;
use crate::packing::Size;
use crate::sigv4::{AccessKey, Scope, authorization};
use crate::web::Base;
use crate::{CodePoints, Common, Credential, ExternalError, Found, SettingError, bounded, names};

/// "A UTF-8 text string. The maximum string size is 100 KB."
pub(crate) const SIZE: Size = Size::Bytes(100_000);

const TARGET: &str = "Comprehend_20171127.DetectPiiEntities";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

pub(crate) struct Client {
    region: String,
    uri: http::Uri,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask<'a> {
    text: &'a str,
    language_code: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entity {
    score: f32,
    r#type: String,
    begin_offset: u64,
    end_offset: u64,
}

impl Client {
    pub(crate) fn new(region: &str, url: Option<&str>) -> Result<Self, SettingError> {
        if region.is_empty() || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(SettingError { key: "region", expected: "a region such as eu-central-1" });
        }
        let public = format!("https://comprehend.{region}.amazonaws.com");
        let uri = Base::parse_protected(url.unwrap_or(&public)).and_then(|base| base.with("/"));
        let uri = uri.filter(|uri| uri.path() == "/");
        let uri = uri.ok_or(SettingError { key: "url", expected: "an https URL without a path" })?;
        Ok(Self { region: region.to_owned(), uri })
    }

    pub(crate) async fn ask(&self, common: &Common, text: &str) -> Result<Vec<Found>, ExternalError> {
        let key = access_key(&common.credential)?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let (headers, body) = self.request(&key, &time, &common.language, text)?;
        found(text, &common.web.post(&self.uri, headers, body).await?)
    }

    fn request(
        &self,
        key: &AccessKey,
        time: &str,
        language: &str,
        text: &str,
    ) -> Result<(http::HeaderMap, Vec<u8>), ExternalError> {
        let body = serde_json::to_vec(&Ask { text, language_code: language }).expect("two strings");
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        let session = key.session.as_ref();
        let mut signed = vec![("content-type", CONTENT_TYPE), ("host", host), ("x-amz-date", time)];
        signed.extend(session.map(|session| ("x-amz-security-token", session.expose())));
        signed.push(("x-amz-target", TARGET));
        let scope = Scope { region: &self.region, service: "comprehend" };
        let value = Secret::new(authorization(key, &scope, time, "POST", "/", &signed, &body));

        let mut headers = http::HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        let host = HeaderValue::from_str(host).map_err(|_| ExternalError::Unreachable)?;
        headers.insert(header::HOST, host);
        let time = HeaderValue::from_str(time).map_err(|_| ExternalError::Unreachable)?;
        headers.insert(HeaderName::from_static("x-amz-date"), time);
        if let Some(session) = session {
            headers.insert(HeaderName::from_static("x-amz-security-token"), session.header("")?);
        }
        headers.insert(HeaderName::from_static("x-amz-target"), HeaderValue::from_static(TARGET));
        headers.insert(header::AUTHORIZATION, value.header("")?);
        Ok((headers, body))
    }
}

/// The key in a text as `~/.aws/credentials` has it (its first section), or else in the variables that AWS's tools read.
fn access_key(credential: &Credential) -> Result<AccessKey, ExternalError> {
    let Some(text) = credential.read()? else {
        let variable = |name: &str| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(ExternalError::Credential),
        };
        return Ok(AccessKey {
            id: variable("AWS_ACCESS_KEY_ID")?.ok_or(ExternalError::Credential)?,
            secret: Secret::new(variable("AWS_SECRET_ACCESS_KEY")?.ok_or(ExternalError::Credential)?),
            session: variable("AWS_SESSION_TOKEN")?.map(Secret::new),
        });
    };
    let (mut id, mut secret, mut session) = (None, None, None);
    let mut sections = 0;
    for line in text.expose().lines().map(str::trim) {
        sections += usize::from(line.starts_with('['));
        let Some((name, value)) = line.split_once('=').filter(|_| sections < 2) else { continue };
        match name.trim() {
            "aws_access_key_id" => id = Some(value.trim().to_owned()),
            "aws_secret_access_key" => secret = Some(Secret::new(value.trim())),
            "aws_session_token" => session = Some(Secret::new(value.trim())),
            _ => {}
        }
    }
    let (id, secret) = id.zip(secret).ok_or(ExternalError::Credential)?;
    Ok(AccessKey { id, secret, session })
}

fn found(text: &str, answer: &[u8]) -> Result<Vec<Found>, ExternalError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| ExternalError::Malformed)?;
    let points = CodePoints::of(text);
    bounded(answer.entities)?
        .into_iter()
        .map(|entity| {
            let (start, end) = points.bytes(entity.begin_offset, entity.end_offset)?;
            let name = names::named(names::AWS, &entity.r#type).unwrap_or(entity.r#type);
            Ok(Found { entity: name, start, end, score: entity.score })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed with botocore 1.44, AWS's own SDK, for the same request, key and time.
    #[test]
    fn asks_as_the_aws_sdk_does() {
        let client = Client::new("eu-central-1", None).unwrap();
        for (session, expected) in [
            (None, "89226f05cccb6d58707ac98ed282a9ae99f64867477b4a019eacb84e4399216f"),
            (Some("SESSION/TOKEN+="), "83b18694b6cc3411b1fc888ea1bd23a09e008b442f59794dd6b18677b2efffd8"),
        ] {
            let key = AccessKey {
                id: "AKIDEXAMPLE".into(),
                secret: Secret::new(format!("{}{}", "wJalrXUtnFEMI/K7MDENG+", "bPxRfiCYEXAMPLEKEY")),
                session: session.map(Secret::new),
            };
            let (headers, body) = client.request(&key, "20260102T030405Z", "en", "Anna Müller 😀").unwrap();
            assert_eq!(body, r#"{"Text":"Anna Müller 😀","LanguageCode":"en"}"#.as_bytes());
            assert_eq!(headers["host"], "comprehend.eu-central-1.amazonaws.com");
            assert_eq!(headers["x-amz-target"], TARGET);
            assert_eq!(headers["content-type"], CONTENT_TYPE);
            assert_eq!(headers.get("x-amz-security-token").map(|value| value.to_str().unwrap()), session);
            assert!(headers["authorization"].to_str().unwrap().ends_with(expected));
            assert!(!format!("{headers:?}").contains("Signature"));
        }
    }

    #[test]
    fn reads_keys_as_aws_writes_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let credential = Credential::File(file.path().to_owned());
        std::fs::write(
            file.path(),
            "[default]\naws_access_key_id = A\naws_secret_access_key=b=c\n\n[other]\naws_access_key_id = X\n",
        )
        .unwrap();
        let key = access_key(&credential).unwrap();
        assert_eq!((&*key.id, key.secret.expose()), ("A", "b=c"));
        assert!(key.session.is_none());
        std::fs::write(file.path(), "aws_access_key_id = A\n").unwrap();
        assert!(access_key(&credential).is_err());
    }

    #[test]
    fn reads_what_comprehend_says_and_nothing_else() {
        let text = "😀 Anna, SSN";
        let answer = r#"{"Entities":[{"Score":0.99,"Type":"NAME","BeginOffset":2,"EndOffset":6},
                         {"Score":0.5,"Type":"IN_NREGA","BeginOffset":8,"EndOffset":11}]}"#;
        let all = found(text, answer.as_bytes()).unwrap();
        assert_eq!(all[0], Found { entity: "PERSON".into(), start: 5, end: 9, score: 0.99 });
        assert_eq!((&*all[1].entity, all[1].start, all[1].end), ("IN_NREGA", 11, 14));
        for answer in ["", "[]", "{}", r#"{"Entities":[{"Score":0.9,"Type":"NAME","BeginOffset":2,"EndOffset":60}]}"#] {
            assert_eq!(found(text, answer.as_bytes()), Err(ExternalError::Malformed), "{answer}");
        }
    }

    #[test]
    fn regions_and_urls_are_checked() {
        assert!(Client::new("", None).is_err());
        assert!(Client::new("eu-central-1.evil.example/", None).is_err());
        assert!(Client::new("eu-central-1", Some("http://example.org")).is_err());
        assert!(Client::new("eu-central-1", Some("https://vpce-1.comprehend.eu-central-1.vpce.amazonaws.com")).is_ok());
    }
}
