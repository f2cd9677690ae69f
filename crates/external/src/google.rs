//! Google Cloud DLP (Sensitive Data Protection), `projects.locations.content.inspect` (v2).
//!
//! The credential is an access token, which somebody else renews, or a service account's key file: then the token comes
//! from Google's token endpoint for a signed assertion (RFC 7523, RS256), and is kept until shortly before it ends.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{self, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::credential::Secret;
use crate::packing::Size;
use crate::web::{Base, json_headers};
use crate::{CodePoints, Common, ExternalError, Found, SettingError, bounded, names};

/// A request may have 0.5 MB. Smaller ones are worked on at once, and have fewer findings than an answer may hold.
pub(crate) const SIZE: Size = Size::Bytes(64 << 10);

const LIKELIHOODS: [(&str, f32); 5] =
    [("VERY_UNLIKELY", 0.1), ("UNLIKELY", 0.3), ("POSSIBLE", 0.5), ("LIKELY", 0.75), ("VERY_LIKELY", 0.95)];

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const ASSERTION_S: i64 = 3600;
/// A token is not used in its last moments.
const SPARE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    uri: http::Uri,
    is_global: bool,
    token: Mutex<Option<Token>>,
}

/// A token that was got for a key.
struct Token {
    value: Secret,
    until: Instant,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ask<'a> {
    item: Item<'a>,
    inspect_config: Config,
}

#[derive(Serialize)]
struct Item<'a> {
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    info_types: Vec<InfoType>,
    min_likelihood: &'static str,
    include_quote: bool,
}

#[derive(Serialize)]
struct InfoType {
    name: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    result: Inspected,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    findings_truncated: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    info_type: Named,
    likelihood: String,
    location: Location,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    byte_range: Option<Range>,
    codepoint_range: Option<Range>,
}

/// Numbers of 64 bits are strings in Google's JSON, and those that are 0 may be left out.
#[derive(Deserialize)]
struct Range {
    #[serde(default = "zero")]
    start: String,
    #[serde(default = "zero")]
    end: String,
}

fn zero() -> String {
    "0".to_owned()
}

impl Range {
    fn numbers(&self) -> Result<(u64, u64), ExternalError> {
        let number = |text: &str| text.parse().map_err(|_| ExternalError::Malformed);
        Ok((number(&self.start)?, number(&self.end)?))
    }
}

/// A service account's key file.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: String,
    private_key: Secret,
    #[serde(default)]
    private_key_id: String,
    token_uri: String,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

impl Client {
    pub(crate) fn new(project: &str, location: &str, url: Option<&str>) -> Result<Self, SettingError> {
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
        if !plain(project) {
            return Err(SettingError { key: "project", expected: "the name of a project" });
        }
        if !plain(location) {
            return Err(SettingError { key: "location", expected: "`global`, or a region such as europe-west3" });
        }
        let base = Base::parse_protected(url.unwrap_or("https://dlp.googleapis.com"));
        let path = format!("/v2/projects/{project}/locations/{location}/content:inspect");
        let uri =
            base.and_then(|base| base.with(&path)).ok_or(SettingError { key: "url", expected: "an https URL" })?;
        Ok(Self { uri, is_global: location == "global", token: Mutex::new(None) })
    }

    pub(crate) async fn ask(&self, common: &Common, text: &str) -> Result<Vec<Found>, ExternalError> {
        let mut headers = json_headers();
        headers.insert(header::AUTHORIZATION, self.token(common).await?.header("Bearer ")?);
        let body = serde_json::to_vec(&self.request(common, text)).expect("strings");
        found(text, &common.web.post(&self.uri, headers, body).await?)
    }

    fn request<'a>(&self, common: &Common, text: &'a str) -> Ask<'a> {
        let global = if self.is_global { names::GOOGLE_GLOBAL } else { &[] };
        let wanted = |ours: &str| common.entities.is_empty() || common.entities.iter().any(|entity| entity == ours);
        let types = names::GOOGLE.iter().chain(global).filter(|(_, ours)| wanted(ours));
        let likely = LIKELIHOODS.iter().find(|(_, score)| *score >= common.min_score);
        Ask {
            item: Item { value: text },
            inspect_config: Config {
                info_types: types.map(|(theirs, _)| InfoType { name: theirs }).collect(),
                min_likelihood: likely.map_or("VERY_LIKELY", |(name, _)| name),
                include_quote: false,
            },
        }
    }

    /// The token to ask with.
    async fn token(&self, common: &Common) -> Result<Secret, ExternalError> {
        let credential = common.credential.needed()?;
        if !credential.expose().starts_with('{') {
            return Ok(credential);
        }
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner)
            && token.until > Instant::now()
        {
            return Ok(token.value.clone());
        }
        let account: ServiceAccount =
            serde_json::from_str(credential.expose()).map_err(|_| ExternalError::Credential)?;
        let endpoint = Base::parse_protected(&account.token_uri).and_then(|base| base.with(""));
        let endpoint = endpoint.ok_or(ExternalError::Credential)?;
        let assertion = assertion(&account, jiff::Timestamp::now().as_second())?;
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        let body = format!("grant_type={grant}&assertion={}", assertion.expose());
        let mut headers = HeaderMap::new();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        let asked = Instant::now();
        let answer = common.web.post(&endpoint, headers, body.into_bytes()).await?;
        let granted: Granted = serde_json::from_slice(&answer).map_err(|_| ExternalError::Credential)?;
        // A day is more than anybody grants, and an instant has an end.
        let life = Duration::from_secs(granted.expires_in.min(86_400));
        let token = Token { value: granted.access_token.clone(), until: asked + life.saturating_sub(SPARE) };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(granted.access_token)
    }
}

/// A JSON Web Token (RFC 7519) by which a service account asks for an access token.
fn assertion(account: &ServiceAccount, now: i64) -> Result<Secret, ExternalError> {
    let head = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": account.private_key_id});
    let claims = serde_json::json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now + ASSERTION_S,
    });
    let said = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let lines = account.private_key.expose().lines().map(str::trim);
    let armour = zeroize::Zeroizing::new(lines.filter(|line| !line.starts_with("-----")).collect::<String>());
    let key = zeroize::Zeroizing::new(STANDARD.decode(&*armour).map_err(|_| ExternalError::Credential)?);
    let key = ring::signature::RsaKeyPair::from_pkcs8(&key).map_err(|_| ExternalError::Credential)?;
    let mut signature = vec![0; key.public().modulus_len()];
    let random = ring::rand::SystemRandom::new();
    key.sign(&ring::signature::RSA_PKCS1_SHA256, &random, said.as_bytes(), &mut signature)
        .map_err(|_| ExternalError::Credential)?;
    Ok(Secret::new(format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

fn found(text: &str, answer: &[u8]) -> Result<Vec<Found>, ExternalError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| ExternalError::Malformed)?;
    if answer.result.findings_truncated {
        return Err(ExternalError::TooLarge);
    }
    let findings = bounded(answer.result.findings)?;
    let mut points = None;
    findings
        .into_iter()
        .map(|finding| {
            let (start, end) = match (&finding.location.byte_range, &finding.location.codepoint_range) {
                (Some(range), _) => {
                    let (start, end) = range.numbers()?;
                    let (start, end) = (usize::try_from(start), usize::try_from(end));
                    let (Ok(start), Ok(end)) = (start, end) else { return Err(ExternalError::Malformed) };
                    if start >= end || text.get(start..end).is_none() {
                        return Err(ExternalError::Malformed);
                    }
                    (start, end)
                }
                (None, Some(range)) => {
                    let (start, end) = range.numbers()?;
                    points.get_or_insert_with(|| CodePoints::of(text)).bytes(start, end)?
                }
                (None, None) => return Err(ExternalError::Malformed),
            };
            let likely = LIKELIHOODS.iter().find(|(name, _)| *name == finding.likelihood);
            let score = likely.ok_or(ExternalError::Malformed)?.1;
            let name = finding.info_type.name;
            let entity = names::named(names::GOOGLE, &name)
                .or_else(|| names::named(names::GOOGLE_GLOBAL, &name))
                .unwrap_or(name);
            Ok(Found { entity, start, end, score })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::Credential;
    use crate::web::Web;

    fn common(min_score: f32, entities: &[&str]) -> Common {
        Common {
            web: Web::new(),
            credential: Credential::None,
            language: "en".into(),
            min_score,
            entities: entities.iter().map(|&entity| entity.to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn asks_as_the_api_says() {
        let client = Client::new("my-project", "europe-west3", None).unwrap();
        assert_eq!(
            client.uri.to_string(),
            "https://dlp.googleapis.com/v2/projects/my-project/locations/europe-west3/content:inspect"
        );
        let ask = client.request(&common(0.6, &["PERSON", "LOCATION", "US_SSN"]), "Anna 😀");
        assert_eq!(
            serde_json::to_value(ask).unwrap(),
            serde_json::json!({
                "item": {"value": "Anna 😀"},
                "inspectConfig": {
                    "infoTypes": [{"name": "PERSON_NAME"}, {"name": "US_SOCIAL_SECURITY_NUMBER"}],
                    "minLikelihood": "LIKELY",
                    "includeQuote": false,
                },
            })
        );
        let global = Client::new("my-project", "global", None).unwrap();
        let all = serde_json::to_value(global.request(&common(0.5, &[]), "x")).unwrap();
        assert_eq!(all["inspectConfig"]["minLikelihood"], "POSSIBLE");
        let types = all["inspectConfig"]["infoTypes"].as_array().unwrap();
        assert_eq!(types.len(), names::GOOGLE.len() + names::GOOGLE_GLOBAL.len());
        for (project, location) in [("", "global"), ("a/b", "global"), ("a", ""), ("a", "x?y")] {
            assert!(Client::new(project, location, None).is_err());
        }
    }

    #[test]
    fn reads_what_dlp_says_and_nothing_else() {
        let text = "Anna 😀 +49";
        let finding = |location: &str| {
            format!(
                r#"{{"result":{{"findings":[{{"infoType":{{"name":"PERSON_NAME"}},"likelihood":"LIKELY","location":{location},"createTime":"2026-01-01T00:00:00Z"}}]}}}}"#
            )
        };
        let anna = Found { entity: "PERSON".into(), start: 0, end: 4, score: 0.75 };
        for location in
            [r#"{"byteRange":{"end":"4"},"codepointRange":{"end":"4"}}"#, r#"{"codepointRange":{"end":"4"}}"#]
        {
            assert_eq!(found(text, finding(location).as_bytes()).unwrap(), [anna.clone()]);
        }
        let phone = r#"{"codepointRange":{"start":"7","end":"10"}}"#;
        assert_eq!(found(text, finding(phone).as_bytes()).unwrap()[0].start, 10);
        for empty in ["{}", r#"{"result":{}}"#] {
            assert_eq!(found(text, empty.as_bytes()).unwrap(), []);
        }
        for location in [
            "{}",
            r#"{"byteRange":{"start":"4"}}"#,
            r#"{"byteRange":{"start":"5","end":"7"}}"#,
            r#"{"byteRange":{"start":"0","end":"99"}}"#,
            r#"{"byteRange":{"start":"-1","end":"4"}}"#,
            r#"{"byteRange":{"start":"18446744073709551616","end":"4"}}"#,
        ] {
            assert_eq!(found(text, finding(location).as_bytes()), Err(ExternalError::Malformed), "{location}");
        }
        let odd = finding(r#"{"byteRange":{"end":"4"}}"#).replace("LIKELY", "SURE");
        assert_eq!(found(text, odd.as_bytes()), Err(ExternalError::Malformed));
        let truncated = r#"{"result":{"findings":[],"findingsTruncated":true}}"#;
        assert_eq!(found(text, truncated.as_bytes()), Err(ExternalError::TooLarge));
    }

    /// The signature is checked by OpenSSL, with a key that OpenSSL made.
    #[test]
    fn a_service_account_signs_its_assertion() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).current_dir(place.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "key.pem"]);
        openssl(&["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"]);
        let file = serde_json::json!({
            "type": "service_account",
            "client_email": "tabellion@my-project.iam.gserviceaccount.com",
            "private_key": std::fs::read_to_string(path("key.pem")).unwrap(),
            "private_key_id": "k1",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let account: ServiceAccount = serde_json::from_value(file).unwrap();
        let assertion = assertion(&account, 1_767_322_800).unwrap();
        let (said, signature) = assertion.expose().rsplit_once('.').unwrap();
        let claims: Vec<serde_json::Value> = said
            .split('.')
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(claims[0], serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(claims[1]["iss"], "tabellion@my-project.iam.gserviceaccount.com");
        assert_eq!(claims[1]["aud"], "https://oauth2.googleapis.com/token");
        assert_eq!(claims[1]["exp"].as_i64().unwrap() - claims[1]["iat"].as_i64().unwrap(), 3600);
        std::fs::write(path("said"), said).unwrap();
        std::fs::write(path("signature"), URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
        openssl(&["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "said"]);
    }
}
