//! What the providers call things: requests for what `object_store` has no word for, above all locks.
//!
//! | | S3 | Google Cloud Storage | Azure Blob |
//! |---|---|---|---|
//! | create only | `If-None-Match: *` | `x-goog-if-generation-match: 0` | `If-None-Match: *` |
//! | lock | Object Lock, `COMPLIANCE` | object retention, `Locked` | version-level immutability policy, `locked` |
//! | hold | legal hold | temporary hold | legal hold |
//! | the bucket can lock | `GetObjectLockConfiguration` | `objectRetention.mode` | `immutable-storage-with-versioning-enabled` |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A provider, with where the bucket is and who asks.
#[derive(Debug)]
pub(super) enum Cloud {
    S3 { base: String, region: String, credentials: AwsCredentialProvider },
    Google { base: String, bucket: String, credentials: GcpCredentialProvider },
    Azure { base: String, account: String, credentials: AzureCredentialProvider },
}

/// How strictly an object is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nobody can shorten it, not even the account's owner.
    Compliance,
    /// Whoever has a particular permission can lift it.
    Governance,
}

/// What a store says of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) length: u64,
    pub(super) version: Option<String>,
    pub(super) locked: Option<(Mode, Timestamp)>,
    pub(super) hold: bool,
    /// SHA-256, if the store tells it.
    pub(super) sha256: Option<[u8; 32]>,
}

type Request = http::request::Builder;

fn request(method: Method, url: String) -> Request {
    http::Request::builder().method(method).uri(url)
}

fn finish(request: Request, body: impl Into<Bytes>) -> HttpRequest {
    // Names are our own and values are dates and digests, so that nothing can be malformed but the endpoint, which was
    // parsed when the store was opened.
    request.body(HttpRequestBody::from(body.into())).expect("a request made of parsed parts")
}

/// RFC 3339 with whole seconds.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn rfc1123(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// S3 wants a checksum, and its kind by name, with whatever concerns locks.
fn s3_sha256(request: Request, bytes: &[u8]) -> Request {
    request
        .header("x-amz-sdk-checksum-algorithm", "SHA256")
        .header("x-amz-checksum-sha256", BASE64.encode(Sha256::digest(bytes)))
}

/// Locks and holds came to Azure's interface with this version.
const AZURE_VERSION: &str = "2021-12-02";

fn azure(method: Method, url: String) -> Request {
    request(method, url).header("x-ms-version", AZURE_VERSION)
}

fn json_name(name: &str) -> String {
    name.replace('/', "%2F")
}

impl Cloud {
    /// Signs a request.
    pub(super) async fn authorize(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        match self {
            Self::S3 { region, credentials, .. } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region).try_authorize(request, None)
            }
            Self::Google { credentials, .. } => {
                let credential = credentials.get_credential().await?;
                let value = http::HeaderValue::try_from(format!("Bearer {}", credential.bearer))
                    .map_err(|source| object_store::Error::Generic { store: "GCS", source: source.into() })?;
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
                Ok(())
            }
            Self::Azure { account, credentials, .. } => {
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(request)
            }
        }
    }

    fn url(&self, name: &str) -> String {
        match self {
            Self::S3 { base, .. } | Self::Azure { base, .. } => format!("{base}/{name}"),
            Self::Google { base, bucket, .. } => format!("{base}/{bucket}/{name}"),
        }
    }

    /// The object's address in Google's JSON interface.
    fn json(base: &str, bucket: &str, name: &str) -> String {
        format!("{base}/storage/v1/b/{bucket}/o/{}", json_name(name))
    }

    fn versioned(&self, name: &str, version: Option<&str>) -> String {
        let url = match self {
            Self::Google { base, bucket, .. } => Self::json(base, bucket, name),
            _ => self.url(name),
        };
        let key = match self {
            Self::S3 { .. } => "versionId",
            Self::Google { .. } => "generation",
            Self::Azure { .. } => "versionid",
        };
        match version {
            // Azure's versions are times; nothing else in any of them needs an escape.
            Some(version) => format!("{url}?{key}={}", version.replace(':', "%3A").replace('+', "%2B")),
            None => url,
        }
    }

    /// Writes an object, locked from the start; with `create` only if there is none.
    pub(super) fn put(&self, name: &str, bytes: &Bytes, until: Option<Timestamp>, create: bool) -> HttpRequest {
        let mut put = match self {
            Self::S3 { .. } => s3_sha256(request(Method::PUT, self.url(name)), bytes),
            Self::Google { .. } => request(Method::PUT, self.url(name)),
            Self::Azure { .. } => azure(Method::PUT, self.url(name)).header("x-ms-blob-type", "BlockBlob"),
        };
        put = put.header("content-type", "application/octet-stream").header("content-length", bytes.len().to_string());
        if create {
            put = match self {
                Self::Google { .. } => put.header("x-goog-if-generation-match", "0"),
                _ => put.header("if-none-match", "*"),
            };
        }
        if let Some(until) = until {
            put = match self {
                Self::S3 { .. } => put
                    .header("x-amz-object-lock-mode", "COMPLIANCE")
                    .header("x-amz-object-lock-retain-until-date", rfc3339(until)),
                Self::Google { .. } => put
                    .header("x-goog-object-lock-mode", "COMPLIANCE")
                    .header("x-goog-object-lock-retain-until-date", rfc3339(until)),
                Self::Azure { .. } => put
                    .header("x-ms-immutability-policy-mode", "locked")
                    .header("x-ms-immutability-policy-until-date", rfc1123(until)),
            };
        }
        finish(put, bytes.clone())
    }

    /// Asks about an object.
    pub(super) fn ask(&self, name: &str, version: Option<&str>) -> HttpRequest {
        let url = self.versioned(name, version);
        finish(
            match self {
                Self::S3 { .. } => request(Method::HEAD, url).header("x-amz-checksum-mode", "ENABLED"),
                Self::Google { .. } => request(Method::GET, url),
                Self::Azure { .. } => azure(Method::HEAD, url),
            },
            Bytes::new(),
        )
    }

    /// Reads the answer to [`Cloud::ask`]; `None` when it makes no sense.
    pub(super) fn facts(&self, headers: &HeaderMap, body: &[u8]) -> Option<Facts> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let length = || text("content-length")?.parse().ok();
        match self {
            Self::S3 { .. } => {
                let locked = match text("x-amz-object-lock-mode") {
                    Some("COMPLIANCE") => Some(Mode::Compliance),
                    Some("GOVERNANCE") => Some(Mode::Governance),
                    _ => None,
                };
                let until = || text("x-amz-object-lock-retain-until-date")?.parse::<Timestamp>().ok();
                Some(Facts {
                    length: length()?,
                    version: version(text("x-amz-version-id")),
                    locked: locked.and_then(|mode| Some((mode, until()?))),
                    hold: text("x-amz-object-lock-legal-hold") == Some("ON"),
                    sha256: text("x-amz-checksum-sha256")
                        .and_then(|text| BASE64.decode(text).ok())
                        .and_then(|bytes| bytes.try_into().ok()),
                })
            }
            Self::Google { .. } => {
                let object: GoogleObject = serde_json::from_slice(body).ok()?;
                let locked = object.retention.and_then(|retention| {
                    let mode = if retention.mode == "Locked" { Mode::Compliance } else { Mode::Governance };
                    Some((mode, retention.until.parse().ok()?))
                });
                Some(Facts {
                    length: object.size.parse().ok()?,
                    version: version(Some(&object.generation)),
                    locked,
                    hold: object.hold,
                    sha256: None,
                })
            }
            Self::Azure { .. } => {
                let until = || {
                    let text = text("x-ms-immutability-policy-until-date")?;
                    jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp())
                };
                let mode = text("x-ms-immutability-policy-mode")
                    .map(|mode| if mode.eq_ignore_ascii_case("locked") { Mode::Compliance } else { Mode::Governance });
                Some(Facts {
                    length: length()?,
                    version: version(text("x-ms-version-id")),
                    locked: mode.and_then(|mode| Some((mode, until()?))),
                    hold: text("x-ms-legal-hold") == Some("true"),
                    sha256: None,
                })
            }
        }
    }

    /// Reads an object.
    pub(super) fn read(&self, name: &str, version: Option<&str>) -> HttpRequest {
        let url = self.versioned(name, version);
        let url = if matches!(self, Self::Google { .. }) { with(&url, "alt=media") } else { url };
        let get = if matches!(self, Self::Azure { .. }) { azure(Method::GET, url) } else { request(Method::GET, url) };
        finish(get, Bytes::new())
    }

    /// Deletes one version of an object for good, if the store lets itself be told so.
    pub(super) fn delete(&self, name: &str, version: Option<&str>) -> HttpRequest {
        let url = self.versioned(name, version);
        finish(
            if matches!(self, Self::Azure { .. }) { azure(Method::DELETE, url) } else { request(Method::DELETE, url) },
            Bytes::new(),
        )
    }

    /// Changes until when an object is kept.
    pub(super) fn retain(&self, name: &str, version: Option<&str>, mode: Mode, until: Timestamp) -> HttpRequest {
        let url = self.versioned(name, version);
        match self {
            Self::S3 { .. } => {
                let mode = if mode == Mode::Compliance { "COMPLIANCE" } else { "GOVERNANCE" };
                let body = format!(
                    "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
                     <RetainUntilDate>{}</RetainUntilDate></Retention>",
                    rfc3339(until)
                );
                finish(s3_sha256(request(Method::PUT, with(&url, "retention")), body.as_bytes()), body)
            }
            Self::Google { .. } => {
                let mode = if mode == Mode::Compliance { "Locked" } else { "Unlocked" };
                let body = serde_json::json!({"retention": {"mode": mode, "retainUntilTime": rfc3339(until)}});
                let url = with(&url, "overrideUnlockedRetention=true");
                finish(request(Method::PATCH, url).header("content-type", "application/json"), body.to_string())
            }
            Self::Azure { .. } => finish(
                azure(Method::PUT, with(&url, "comp=immutabilityPolicies"))
                    .header("content-length", "0")
                    .header("x-ms-immutability-policy-until-date", rfc1123(until))
                    .header(
                        "x-ms-immutability-policy-mode",
                        if mode == Mode::Compliance { "locked" } else { "unlocked" },
                    ),
                Bytes::new(),
            ),
        }
    }

    /// Places or lifts a hold.
    pub(super) fn hold(&self, name: &str, version: Option<&str>, on: bool) -> HttpRequest {
        let url = self.versioned(name, version);
        match self {
            Self::S3 { .. } => {
                let status = if on { "ON" } else { "OFF" };
                let body = format!(
                    "<LegalHold xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></LegalHold>"
                );
                finish(s3_sha256(request(Method::PUT, with(&url, "legal-hold")), body.as_bytes()), body)
            }
            Self::Google { .. } => {
                let body = serde_json::json!({"temporaryHold": on}).to_string();
                finish(request(Method::PATCH, url).header("content-type", "application/json"), body)
            }
            Self::Azure { .. } => finish(
                azure(Method::PUT, with(&url, "comp=legalhold"))
                    .header("content-length", "0")
                    .header("x-ms-legal-hold", on.to_string()),
                Bytes::new(),
            ),
        }
    }

    /// Asks whether the bucket can lock at all.
    pub(super) fn ask_bucket(&self) -> HttpRequest {
        finish(
            match self {
                Self::S3 { base, .. } => request(Method::GET, format!("{base}?object-lock")),
                Self::Google { base, bucket, .. } => {
                    request(Method::GET, format!("{base}/storage/v1/b/{bucket}?fields=objectRetention"))
                }
                Self::Azure { base, .. } => azure(Method::HEAD, format!("{base}?restype=container")),
            },
            Bytes::new(),
        )
    }

    /// Reads the answer to [`Cloud::ask_bucket`].
    pub(super) fn bucket_locks(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        if !status.is_success() {
            return false;
        }
        match self {
            Self::S3 { .. } => std::str::from_utf8(body)
                .ok()
                .and_then(|text| quick_xml::de::from_str::<LockConfiguration>(text).ok())
                .is_some_and(|configuration| configuration.enabled == "Enabled"),
            Self::Google { .. } => serde_json::from_slice::<GoogleBucket>(body)
                .is_ok_and(|bucket| bucket.retention.is_some_and(|retention| retention.mode == "Enabled")),
            Self::Azure { .. } => {
                headers.get("x-ms-immutable-storage-with-versioning-enabled").is_some_and(|value| value == "true")
            }
        }
    }

    /// Lists the versions of an object, where a store without conditional writes has to be asked for them.
    pub(super) fn versions(&self, name: &str) -> Option<HttpRequest> {
        match self {
            Self::S3 { base, .. } => {
                let name = name.replace('/', "%2F");
                Some(finish(request(Method::GET, format!("{base}?prefix={name}&versions")), Bytes::new()))
            }
            // Both always honour conditions.
            Self::Google { .. } | Self::Azure { .. } => None,
        }
    }
}

/// The versions of the object of just this name, oldest first, from the answer to [`Cloud::versions`]; `None` when it
/// is none, or incomplete. (Longer names come later in the list.)
pub(super) fn oldest_first(name: &str, body: &[u8]) -> Option<Vec<String>> {
    let listed: ListedVersions = quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()?;
    if listed.truncated && listed.versions.iter().all(|version| version.key == name) {
        return None;
    }
    let mut versions: Vec<(Timestamp, usize, String)> = Vec::new();
    // The newest comes first, so that of two of the same second the later in the list is the older.
    for (position, version) in listed.versions.into_iter().filter(|version| version.key == name).enumerate() {
        versions.push((version.modified.parse().ok()?, usize::MAX - position, version.id));
    }
    versions.sort();
    Some(versions.into_iter().map(|(.., id)| id).collect())
}

fn with(url: &str, query: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}

/// What is called `null` is no version that could be locked by itself.
fn version(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && *text != "null").map(str::to_owned)
}

#[derive(Deserialize)]
struct LockConfiguration {
    #[serde(rename = "ObjectLockEnabled", default)]
    enabled: String,
}

#[derive(Deserialize)]
struct ListedVersions {
    #[serde(rename = "IsTruncated", default)]
    truncated: bool,
    #[serde(rename = "Version", default)]
    versions: Vec<ListedVersion>,
}

#[derive(Deserialize)]
struct ListedVersion {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "VersionId")]
    id: String,
    #[serde(rename = "LastModified")]
    modified: String,
}

#[derive(Deserialize)]
struct GoogleObject {
    size: String,
    generation: String,
    retention: Option<GoogleRetention>,
    #[serde(rename = "temporaryHold", default)]
    hold: bool,
}

#[derive(Deserialize)]
struct GoogleRetention {
    mode: String,
    #[serde(rename = "retainUntilTime", default)]
    until: String,
}

#[derive(Deserialize)]
struct GoogleBucket {
    #[serde(rename = "objectRetention")]
    retention: Option<GoogleRetention>,
}
