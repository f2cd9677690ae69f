//! Configuration: the embedded defaults, a file over them, the environment over both.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tabellion_detect::Depth;
use tabellion_evidence::custody as rules;
use tabellion_evidence::note::{VerifierKey, parse_keys};
use tabellion_external::{Credential, Detector, Service};
use tabellion_gateway::Tls;
use tabellion_gateway::dialect::Kind;
use toml::{Table, Value};
use zeroize::Zeroizing;

/// Every setting with its default, and what it means.
pub(crate) const DEFAULTS: &str = include_str!("../../../defaults/tabellion.toml");

/// What went wrong with a configuration. Values are never repeated: one may be a secret in the wrong place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("line {line} of the configuration is no TOML")]
    Syntax { line: usize },
    #[error("there is no setting `{key}`; did you mean `{nearest}`?")]
    Unknown { key: String, nearest: String },
    #[error("the setting `{key}` must be {expected}")]
    Value { key: String, expected: &'static str },
    #[error("`vault.recipients` cannot be used: {0}")]
    Recipients(#[source] tabellion_vault::VaultError),
    #[error("two tables of `{list}` are called `{name}`")]
    Twice { list: &'static str, name: String },
    #[error("the files that `{key}.tls` names cannot be used")]
    Tls {
        key: String,
        #[source]
        source: tabellion_gateway::TlsError,
    },
    #[error(
        "`{key}.listen` is not a loopback address; name a certificate with {key}.tls, or set network.protected_by_others = true if a proxy in front of it provides TLS and credentials"
    )]
    Exposed { key: &'static str },
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    keys: PathBuf,
    origin: String,
    pub(crate) gateway: Gateway,
    pub(crate) console: Console,
    network: Network,
    pub(crate) redaction: Redaction,
    pub(crate) ledger: Ledger,
    pub(crate) mirror: Mirror,
    pub(crate) upstream: Vec<Upstream>,
    pub(crate) external: Vec<External>,
    pub(crate) log: Log,
    pub(crate) witness: Vec<Witness>,
    pub(crate) witnesses: Witnesses,
    pub(crate) custody: Custody,
    pub(crate) anchor: Vec<crate::anchor::Settings>,
    pub(crate) vault: Vault,
    pub(crate) retention: crate::retention::Settings,
    pub(crate) model: Model,
    pub(crate) presidio: Presidio,
}

/// The API that is Presidio's.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Presidio {
    pub(crate) depth: Depth,
}

/// What needs an approval.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Custody {
    pub(crate) approve: Vec<String>,
}

/// Whether whoever connects needs a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Keys {
    /// Not on the loopback, nor where something else asks for credentials.
    Optional,
    /// Everybody.
    Required,
}

/// The files of a listener's TLS.
#[derive(Debug, Clone, Deserialize)]
struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    fn is_set(&self) -> bool {
        !self.certificate.as_os_str().is_empty() || !self.key.as_os_str().is_empty()
    }

    fn load(&self, key: &str) -> Result<Option<Arc<Tls>>, ConfigError> {
        if !self.is_set() {
            return Ok(None);
        }
        let tls = Tls::load(&self.certificate, &self.key);
        tls.map(|tls| Some(Arc::new(tls))).map_err(|source| ConfigError::Tls { key: key.to_owned(), source })
    }
}

/// How the log is served.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Log {
    pub(crate) add: bool,
}

/// A witness of this log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Witness {
    pub(crate) name: String,
    vkey: String,
    pub(crate) url: String,
}

impl Witness {
    /// Its public keys, of which any may have cosigned. `None` when they are not a witness's.
    pub(crate) fn keys(&self) -> Option<Vec<VerifierKey>> {
        let lines: Vec<&str> = self.vkey.split_whitespace().collect();
        let keys = parse_keys(&lines.join("\n")).ok()?;
        keys.iter().all(|key| key.algorithm().is_witness()).then_some(keys)
    }
}

/// What their cosignatures are needed for.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Witnesses {
    pub(crate) quorum: usize,
    pub(crate) mode: WitnessMode,
    pub(crate) timeout_ms: u64,
    pub(crate) at_start: AtStart,
}

/// What happens to a checkpoint that lacks the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WitnessMode {
    /// It is published, and a metric says so.
    Publish,
    /// It is held back until there is one that has it.
    Hold,
}

/// What happens at a start when too few witnesses answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AtStart {
    /// The log says so and goes on.
    Warn,
    /// It does not start.
    Refuse,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Redaction {
    pub(crate) policy: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) listen: SocketAddr,
    pub(crate) request_bytes_max: usize,
    pub(crate) response_bytes_max: usize,
    pub(crate) request_timeout_s: u64,
    pub(crate) answer_timeout_s: u64,
    pub(crate) connections_max: usize,
    pub(crate) grace_s: u64,
    keys: Keys,
    tls: TlsFiles,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Console {
    pub(crate) listen: SocketAddr,
    keys: Keys,
    tls: TlsFiles,
}

#[derive(Debug, Clone, Deserialize)]
struct Network {
    protected_by_others: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) publish_ms: u64,
    pub(crate) heartbeat_s: u64,
    pub(crate) protect: Protect,
}

/// What is done to the files of what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protect {
    Off,
    ReadOnly,
    Immutable,
}

/// The second copy.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Mirror {
    pub(crate) to: String,
    pub(crate) every_s: u64,
    pub(crate) lock: bool,
    pub(crate) retention_days: u32,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) timeout_s: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    #[serde(default)]
    pub(crate) default: bool,
    #[serde(default)]
    pub(crate) fail: Fail,
    #[serde(default)]
    pub(crate) seal: Seal,
    /// Over the policy's.
    pub(crate) depth: Option<Depth>,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
}

impl Upstream {
    /// The upstream, with the operator's own credential if there is one.
    pub(crate) fn target(&self) -> Result<tabellion_gateway::Upstream, ConfigError> {
        let wrong =
            |key: &str, expected| ConfigError::Value { key: format!("upstream.{key} of {}", self.name), expected };
        let target = tabellion_gateway::Upstream::new(&self.name, self.kind, &self.url);
        let target = target.ok_or_else(|| wrong("url", "an http or https URL"))?;
        let (name, key) = match (&self.key_file, &self.key_env) {
            (None, None) => return Ok(target),
            (Some(_), Some(_)) => return Err(wrong("key_env", "left out where there is a key_file")),
            (Some(file), None) => ("key_file", std::fs::read_to_string(file).ok()),
            (None, Some(variable)) => ("key_env", std::env::var(variable).ok()),
        };
        let key = key.map(Zeroizing::new).filter(|key| !key.trim().is_empty());
        let target = key.and_then(|key| target.with_key(key.trim()));
        target.ok_or_else(|| wrong(name, "where a credential is, on one line"))
    }
}

/// Whether originals are sealed and kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seal {
    #[default]
    Never,
    Always,
    /// Those of exchanges that belong to a case.
    Cases,
}

/// To whom originals are sealed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Vault {
    pub(crate) recipients: Vec<String>,
}

/// What happens to an exchange that cannot be recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fail {
    /// It is refused.
    #[default]
    Closed,
    /// It passes, and the log says how many did.
    Open,
}

/// A further detector, asked over the network.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct External {
    pub(crate) name: String,
    kind: ExternalKind,
    url: Option<String>,
    project: Option<String>,
    location: Option<String>,
    region: Option<String>,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) on_failure: OnFailure,
    min_score: Option<f32>,
    language: Option<String>,
    #[serde(default)]
    entities: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExternalKind {
    Presidio,
    GoogleDlp,
    AwsComprehend,
    AzureLanguage,
}

/// What happens to an exchange of which a detector said nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    /// It is stopped.
    #[default]
    Refuse,
    /// It is recorded with what the others found, and the entry says so.
    Continue,
}

/// A model of the user's own, run in process.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Model {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    #[cfg_attr(not(feature = "model"), allow(dead_code, reason = "for the model, which is not compiled in"))]
    pub(crate) labels: BTreeMap<String, String>,
    #[cfg_attr(not(feature = "model"), allow(dead_code, reason = "for the model, which is not compiled in"))]
    pub(crate) aggregation: Aggregation,
    pub(crate) min_score: f32,
    timeout_ms: u64,
    pub(crate) on_failure: OnFailure,
    #[cfg_attr(not(feature = "model"), allow(dead_code, reason = "for the model, which is not compiled in"))]
    pub(crate) threads: usize,
}

/// Which of a word's tokens says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Aggregation {
    First,
    Max,
}

impl Model {
    /// Whether there is one.
    pub(crate) fn is_configured(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// How long an ask may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    fn check(&self, externals: &[External]) -> Result<(), ConfigError> {
        let wrong = |key: &str, expected| ConfigError::Value { key: format!("model.{key}"), expected };
        if !is_detector(&self.name) {
            return Err(wrong("name", DETECTOR));
        }
        if externals.iter().any(|external| external.name == self.name) {
            return Err(wrong("name", "another than those of the external detectors"));
        }
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(wrong("min_score", "0.0 to 1.0"));
        }
        if self.timeout_ms == 0 {
            return Err(wrong("timeout_ms", "more than 0"));
        }
        Ok(())
    }
}

/// What a detector may be called.
const DETECTOR: &str = "at most 64 letters, digits, `-` and `_`";

fn is_detector(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    !name.is_empty() && name.len() <= 64 && plain
}

/// The members of a `[[external]]`.
const EXTERNAL: [&str; 13] = [
    "name",
    "kind",
    "url",
    "project",
    "location",
    "region",
    "key_file",
    "key_env",
    "timeout_ms",
    "on_failure",
    "min_score",
    "language",
    "entities",
];
/// Which members only some kinds have.
const EXTERNAL_OF: [(&str, &[ExternalKind]); 3] = [
    ("project", &[ExternalKind::GoogleDlp]),
    ("location", &[ExternalKind::GoogleDlp]),
    ("region", &[ExternalKind::AwsComprehend]),
];

const EXTERNAL_TIMEOUT_MS: u64 = 2000;
const EXTERNAL_MIN_SCORE: f32 = 0.5;

impl External {
    /// The detector, ready to be asked.
    pub(crate) fn detector(&self) -> Result<Detector, ConfigError> {
        let wrong =
            |key: &str, expected| ConfigError::Value { key: format!("external.{key} of {}", self.name), expected };
        let needed = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| wrong(key, "set for this kind"));
        let given = [&self.project, &self.location, &self.region];
        for ((key, kinds), value) in EXTERNAL_OF.iter().zip(given) {
            if value.is_some() && !kinds.contains(&self.kind) {
                return Err(wrong(key, "left out for this kind"));
            }
        }
        let service = match self.kind {
            ExternalKind::Presidio => Service::Presidio { url: needed("url", &self.url)? },
            ExternalKind::GoogleDlp => Service::GoogleDlp {
                project: needed("project", &self.project)?,
                location: self.location.clone().unwrap_or_else(|| "global".into()),
                url: self.url.clone(),
            },
            ExternalKind::AwsComprehend => {
                Service::AwsComprehend { region: needed("region", &self.region)?, url: self.url.clone() }
            }
            ExternalKind::AzureLanguage => Service::AzureLanguage { url: needed("url", &self.url)? },
        };
        let credential = match (&self.key_file, &self.key_env) {
            (Some(_), Some(_)) => return Err(wrong("key_env", "left out where there is a key_file")),
            (Some(file), None) => Credential::File(file.clone()),
            (None, Some(name)) => Credential::Environment(name.clone()),
            (None, None) if matches!(self.kind, ExternalKind::GoogleDlp | ExternalKind::AzureLanguage) => {
                return Err(wrong("key_file", "set for this kind, or key_env"));
            }
            (None, None) => Credential::None,
        };
        let settings = tabellion_external::Settings {
            service,
            credential,
            timeout: Duration::from_millis(self.timeout_ms.unwrap_or(EXTERNAL_TIMEOUT_MS)),
            language: self.language.clone().unwrap_or_else(|| "en".into()),
            min_score: self.min_score.unwrap_or(EXTERNAL_MIN_SCORE),
            entities: self.entities.clone(),
        };
        Detector::new(settings).map_err(|error| wrong(error.key, error.expected))
    }
}

impl Config {
    /// The configuration of a file, or the defaults without one.
    pub(crate) fn load(file: Option<&Path>, data: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?,
            None => String::new(),
        };
        let mut config = Self::parse(&text, &|name| std::env::var(name).ok())?;
        if let Some(data) = data {
            data.clone_into(&mut config.data);
        }
        Ok(config)
    }

    fn parse(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are tested");
        let own: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            line: error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        })?;
        let mut table = defaults.clone();
        merge(&mut table, own, "")?;
        override_all(&mut table, "TABELLION", environment);
        let config: Self = typed(table)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let listeners =
            [("gateway", self.gateway.listen, &self.gateway.tls), ("console", self.console.listen, &self.console.tls)];
        for (key, listen, tls) in listeners {
            if !is_loopback(listen.ip()) && !tls.is_set() && !self.network.protected_by_others {
                return Err(ConfigError::Exposed { key });
            }
        }
        let approvable = |act: &String| rules::APPROVABLE.contains(&&*format!("custody.{act}"));
        if !self.custody.approve.iter().all(approvable) {
            let expected = "a list of any of hold.lift, reveal, erase";
            return Err(ConfigError::Value { key: "custody.approve".into(), expected });
        }
        for (position, upstream) in self.upstream.iter().enumerate() {
            let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if upstream.name.is_empty() || !plain(&upstream.name) || upstream.name == "v1" {
                let expected = "letters, digits, `-`, `_` and `.`, and not `v1`";
                return Err(ConfigError::Value { key: "upstream.name".into(), expected });
            }
            if self.upstream[..position].iter().any(|other| other.name == upstream.name) {
                return Err(ConfigError::Twice { list: "upstream", name: upstream.name.clone() });
            }
            if tabellion_gateway::Upstream::new(&upstream.name, upstream.kind, &upstream.url).is_none() {
                let key = format!("upstream.url of {}", upstream.name);
                return Err(ConfigError::Value { key, expected: "an http or https URL" });
            }
        }
        for (position, external) in self.external.iter().enumerate() {
            if !is_detector(&external.name) {
                return Err(ConfigError::Value { key: "external.name".into(), expected: DETECTOR });
            }
            if self.external[..position].iter().any(|other| other.name == external.name) {
                return Err(ConfigError::Twice { list: "external", name: external.name.clone() });
            }
            external.detector()?;
        }
        self.model.check(&self.external)?;
        self.retention.check()?;
        for (position, witness) in self.witness.iter().enumerate() {
            let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let wrong = |key: &str, expected| ConfigError::Value { key: format!("witness.{key}"), expected };
            if witness.name.is_empty() || !plain(&witness.name) || witness.name == "v1" {
                return Err(wrong("name", "letters, digits, `-`, `_` and `.`, and not `v1`"));
            }
            if self.witness[..position].iter().any(|other| other.name == witness.name) {
                return Err(ConfigError::Twice { list: "witness", name: witness.name.clone() });
            }
            if witness.keys().is_none() {
                return Err(wrong("vkey", "a witness's verifier key, or several with spaces between"));
            }
            if tabellion_gateway::Upstream::new(&witness.name, Kind::Generic, &witness.url).is_none() {
                return Err(wrong("url", "an http or https URL"));
            }
        }
        if !self.vault.recipients.is_empty()
            && let Err(error) = tabellion_vault::Recipients::parse(&self.vault.recipients)
        {
            return Err(ConfigError::Recipients(error));
        }
        if self.vault.recipients.is_empty()
            && let Some(upstream) = self.upstream.iter().find(|upstream| upstream.seal != Seal::Never)
        {
            let key = format!("upstream.seal of {}", upstream.name);
            return Err(ConfigError::Value { key, expected: "\"never\" while vault.recipients names nobody" });
        }
        if self.witnesses.quorum > self.witness.len() {
            return Err(ConfigError::Value {
                key: "witnesses.quorum".into(),
                expected: "not more than there are `[[witness]]` tables",
            });
        }
        for (position, anchor) in self.anchor.iter().enumerate() {
            if self.anchor[..position].iter().any(|other| other.name == anchor.name) {
                return Err(ConfigError::Twice { list: "anchor", name: anchor.name.clone() });
            }
            anchor.check()?;
        }
        for (key, value) in [("mirror.every_s", self.mirror.every_s), ("mirror.timeout_s", self.mirror.timeout_s)] {
            if value == 0 {
                return Err(ConfigError::Value { key: key.into(), expected: "more than 0" });
            }
        }
        if self.upstream.iter().filter(|upstream| upstream.default).count() > 1 {
            return Err(ConfigError::Value {
                key: "upstream.default".into(),
                expected: "true for one upstream at most",
            });
        }
        Ok(())
    }

    /// Whether failures say something of an address. Behind a proxy all have the proxy's.
    pub(crate) fn sees_addresses(&self) -> bool {
        !self.network.protected_by_others
    }

    /// Whether a listener takes nobody without a key: beyond the loopback always, unless something else asks for
    /// credentials there.
    fn needs_keys(&self, keys: Keys, listen: SocketAddr) -> bool {
        keys == Keys::Required || (!is_loopback(listen.ip()) && !self.network.protected_by_others)
    }

    /// Whether the gateway asks everybody for a key, and its TLS.
    pub(crate) fn gateway_door(&self) -> Result<(bool, Option<Arc<Tls>>), ConfigError> {
        Ok((self.needs_keys(self.gateway.keys, self.gateway.listen), self.gateway.tls.load("gateway")?))
    }

    /// Whether the console asks everybody for a key, and its TLS.
    pub(crate) fn console_door(&self) -> Result<(bool, Option<Arc<Tls>>), ConfigError> {
        Ok((self.needs_keys(self.console.keys, self.console.listen), self.console.tls.load("console")?))
    }

    /// Where the secrets lie.
    pub(crate) fn keys(&self) -> PathBuf {
        if self.keys.as_os_str().is_empty() { keys_beside(&self.data) } else { self.keys.clone() }
    }

    pub(crate) fn origin(&self) -> Option<String> {
        (!self.origin.is_empty()).then(|| self.origin.clone())
    }
}

/// The keys directory of a data directory that is not configured otherwise.
pub(crate) fn keys_beside(data: &Path) -> PathBuf {
    let mut name = data.components().as_path().as_os_str().to_owned();
    name.push(".keys");
    PathBuf::from(name)
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback() || address.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

/// Puts a file's settings over the defaults. A list of tables replaces the default one.
fn merge(into: &mut Table, own: Table, path: &str) -> Result<(), ConfigError> {
    for (key, value) in own {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(&key), value) {
            (None, _) => return Err(unknown(&full, into.keys().map(String::as_str), path)),
            // Its keys are the model's labels.
            (Some(Value::Table(inner)), Value::Table(own)) if full == "model.labels" => *inner = own,
            (Some(Value::Table(inner)), Value::Table(own)) => merge(inner, own, &full)?,
            (Some(Value::Array(inner)), Value::Array(own)) => {
                let known = match &*full {
                    "external" => &EXTERNAL[..],
                    "witness" => &["name", "vkey", "url"],
                    "anchor" => &crate::anchor::KEYS,
                    "retention.rule" => &crate::retention::KEYS,
                    _ => &["name", "kind", "url", "default", "fail", "seal", "depth", "key_file", "key_env"],
                };
                for one in &own {
                    let keys = one.as_table().map(Table::keys).into_iter().flatten();
                    for key in keys {
                        if !known.contains(&&**key) {
                            return Err(unknown(&format!("{full}.{key}"), known.iter().copied(), &full));
                        }
                    }
                }
                *inner = own;
            }
            (Some(Value::Table(_)), _) => return Err(ConfigError::Value { key: full, expected: "a table" }),
            (Some(Value::Array(_)), _) => return Err(ConfigError::Value { key: full, expected: "a list" }),
            (Some(inner), value) => *inner = value,
        }
    }
    Ok(())
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>, path: &str) -> ConfigError {
    let name = key.rsplit('.').next().unwrap_or(key);
    let nearest = known.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
    let nearest = nearest.unwrap_or_default();
    let nearest = if path.is_empty() { nearest.to_owned() } else { format!("{path}.{nearest}") };
    ConfigError::Unknown { key: key.to_owned(), nearest }
}

fn override_all(table: &mut Table, prefix: &str, environment: &dyn Fn(&str) -> Option<String>) {
    for (key, value) in table.iter_mut() {
        let name = format!("{prefix}_{}", variable(key));
        match value {
            Value::Table(inner) => override_all(inner, &name, environment),
            Value::Array(list) if environment(&name).is_some() => {
                let text = environment(&name).unwrap_or_default();
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                *list = items.map(|item| Value::String(item.to_owned())).collect();
            }
            Value::Array(tables) => {
                for table in tables.iter_mut().filter_map(Value::as_table_mut) {
                    let own = table.get("name").and_then(Value::as_str).map(variable).unwrap_or_default();
                    if let Some(url) = environment(&format!("{name}_{own}_URL")) {
                        table.insert("url".into(), Value::String(url));
                    }
                }
            }
            value => {
                let Some(text) = environment(&name) else { continue };
                // A number stays a number; what cannot be read as one is told so by name, below.
                *value = match value {
                    Value::String(_) => Value::String(text),
                    _ => {
                        let parsed = format!("value = {text}").parse::<Table>().ok();
                        parsed.and_then(|mut table| table.remove("value")).unwrap_or(Value::String(text))
                    }
                };
            }
        }
    }
}

fn variable(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Deserializes setting by setting, so that an error names the setting and not its value.
fn typed(table: Table) -> Result<Config, ConfigError> {
    Config::deserialize(Value::Table(table.clone())).map_err(|_| {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are tested");
        let key = blame(&table, &defaults, "").unwrap_or_else(|| "upstream".into());
        let expected = if key == "ledger.protect" {
            "off, read_only or immutable"
        } else if key.ends_with("listen") {
            "an address and a port, such as 127.0.0.1:8600"
        } else if key == "upstream" {
            "a table with name, kind (openai, anthropic, generic) and url, and perhaps default, fail (closed, open), seal \
             (never, always, cases) and depth (fast, text, tagger, model)"
        } else if key == "witness" {
            "a table with name, vkey and url"
        } else if key == "witnesses.mode" {
            "publish or hold"
        } else if key == "witnesses.at_start" {
            "warn or refuse"
        } else if key.ends_with(".keys") {
            "optional or required"
        } else if key.starts_with("model.labels") {
            "a table of the model's labels, each with a name such as PERSON"
        } else if key == "presidio.depth" {
            "fast, text, tagger or model"
        } else if key == "model.aggregation" {
            "first or max"
        } else if key == "model.on_failure" {
            "refuse or continue"
        } else if key == "anchor" {
            "a table with name, kind (rfc3161, opentimestamps), url and what docs/anchors.md says"
        } else if key == "external" {
            "a table with name, kind (presidio, google_dlp, aws_comprehend, azure_language) and what docs/external.md says"
        } else {
            "of the same kind as its default"
        };
        ConfigError::Value { key, expected }
    })
}

/// The first setting with which the defaults are no configuration any more.
fn blame(table: &Table, defaults: &Table, path: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => blame(inner, defaults, &full),
            value => {
                let mut probe = defaults.clone();
                let mut at = &mut probe;
                for part in path.split('.').filter(|part| !part.is_empty()) {
                    at = at.get_mut(part)?.as_table_mut()?;
                }
                at.insert(key.clone(), value.clone());
                Config::deserialize(Value::Table(probe)).is_err().then_some(full)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::parse(text, &move |name| {
            environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn the_defaults_are_a_configuration() {
        let config = parse("", &[]).unwrap();
        assert_eq!(config.gateway.listen.port(), 8600);
        assert_eq!(config.keys(), Path::new("./tabellion-data.keys"));
        assert_eq!(config.upstream.len(), 2);
        assert_eq!(config.origin(), None);
        assert_eq!(keys_beside(Path::new("a/b/")), Path::new("a/b.keys"));
    }

    #[test]
    fn a_file_overrides_the_defaults_and_the_environment_both() {
        let text = "origin = \"example.org/log\"\n[gateway]\nlisten = \"127.0.0.1:1\"\n[ledger]\npublish_ms = 100\n\
                    [[upstream]]\nname = \"local\"\nkind = \"openai\"\nurl = \"http://127.0.0.1:9\"\n";
        let environment = [
            ("TABELLION_GATEWAY_LISTEN", "127.0.0.1:2"),
            ("TABELLION_UPSTREAM_LOCAL_URL", "http://127.0.0.1:3"),
            ("TABELLION_LEDGER_PUBLISH_MS", "50"),
            ("TABELLION_DATA", "/d"),
        ];
        let config = parse(text, &environment).unwrap();
        assert_eq!(config.gateway.listen.port(), 2);
        assert_eq!(config.ledger.publish_ms, 50);
        assert_eq!(config.upstream.len(), 1);
        assert_eq!(config.upstream[0].url, "http://127.0.0.1:3");
        assert_eq!(config.origin().unwrap(), "example.org/log");
        assert_eq!(config.data, Path::new("/d"));
    }

    #[test]
    fn mistakes_are_named_and_values_are_not_repeated() {
        for (text, message) in [
            ("orign = \"x\"", "there is no setting `orign`; did you mean `origin`?"),
            ("[gateway]\nlisen = \"x\"", "there is no setting `gateway.lisen`; did you mean `gateway.listen`?"),
            (
                "[gateway]\nlisten = \"sk-secret\"",
                "the setting `gateway.listen` must be an address and a port, such as 127.0.0.1:8600",
            ),
            (
                "[gateway]\nconnections_max = \"x\"",
                "the setting `gateway.connections_max` must be of the same kind as its default",
            ),
            ("[mirror]\nevery_s = 0", "the setting `mirror.every_s` must be more than 0"),
            ("[ledger]\nprotect = \"x\"", "the setting `ledger.protect` must be off, read_only or immutable"),
            ("a = \n", "line 1 of the configuration is no TOML"),
            (
                "[[upstream]]\nname = \"x\"\nkid = \"openai\"",
                "there is no setting `upstream.kid`; did you mean `upstream.kind`?",
            ),
            (
                "[[upstream]]\nname = \"x\"\nkind = \"openai\"\nurl = \"sk-secret\"",
                "the setting `upstream.url of x` must be an http or https URL",
            ),
            (
                "[[upstream]]\nname = \"v1\"\nkind = \"openai\"\nurl = \"http://x\"",
                "the setting `upstream.name` must be letters, digits, `-`, `_` and `.`, and not `v1`",
            ),
        ] {
            assert_eq!(parse(text, &[]).unwrap_err().to_string(), message);
        }
        let external = |rest: &str| parse(&format!("[[external]]\nname = \"x\"\n{rest}"), &[]).unwrap_err().to_string();
        for (text, message) in [
            ("kid = \"presidio\"", "there is no setting `external.kid`; did you mean `external.kind`?"),
            (
                "kind = \"sk-secret\"",
                "the setting `external` must be a table with name, kind (presidio, google_dlp, aws_comprehend, \
                 azure_language) and what docs/external.md says",
            ),
            ("kind = \"presidio\"", "the setting `external.url of x` must be set for this kind"),
            (
                "kind = \"presidio\"\nurl = \"sk-secret\"",
                "the setting `external.url of x` must be an http or https URL",
            ),
            (
                "kind = \"presidio\"\nurl = \"http://x\"\nregion = \"r\"",
                "the setting `external.region of x` must be left out for this kind",
            ),
            (
                "kind = \"azure_language\"\nurl = \"https://x\"",
                "the setting `external.key_file of x` must be set for this kind, or key_env",
            ),
            (
                "kind = \"aws_comprehend\"\nregion = \"r\"\nmin_score = 2.0",
                "the setting `external.min_score of x` must be 0.0 to 1.0",
            ),
        ] {
            assert_eq!(external(text), message);
        }
        let witness = |rest: &str| parse(&format!("[[witness]]\nname = \"w\"\n{rest}"), &[]).unwrap_err().to_string();
        let key = tabellion_evidence::note::SigningKey::cosigner_from_seed("w.example", [1; 32]).unwrap();
        let good = format!("vkey = \"{}\"\nurl = \"http://x\"\n", key.verifier());
        for (text, message) in [
            ("vkeys = \"x\"", "there is no setting `witness.vkeys`; did you mean `witness.vkey`?"),
            ("vkey = \"x\"", "the setting `witness` must be a table with name, vkey and url"),
            (
                "vkey = \"x\"\nurl = \"http://x\"",
                "the setting `witness.vkey` must be a witness's verifier key, or several with spaces between",
            ),
            (&*good.replace("http", "ftp"), "the setting `witness.url` must be an http or https URL"),
            (
                &*format!("{good}[witnesses]\nquorum = 2"),
                "the setting `witnesses.quorum` must be not more than there are `[[witness]]` tables",
            ),
            (&*format!("{good}[witnesses]\nmode = \"wait\""), "the setting `witnesses.mode` must be publish or hold"),
            (&*format!("{good}[[witness]]\nname = \"w\"\n{good}"), "two tables of `witness` are called `w`"),
        ] {
            assert_eq!(witness(text), message);
        }
        let anchor = |rest: &str| {
            let text = format!("[[anchor]]\nname = \"x\"\nurl = \"http://x\"\n{rest}");
            parse(&text, &[]).unwrap_err().to_string()
        };
        for (text, message) in [
            ("kid = \"rfc3161\"", "there is no setting `anchor.kid`; did you mean `anchor.kind`?"),
            (
                "kind = \"sk-secret\"",
                "the setting `anchor` must be a table with name, kind (rfc3161, opentimestamps), url and what \
                 docs/anchors.md says",
            ),
            ("kind = \"rfc3161\"", "the setting `anchor.roots of x` must be set for this kind"),
            (
                "kind = \"rfc3161\"\nroots = \"r\"\npolicy = \"sk-secret\"",
                "the setting `anchor.policy of x` must be an object identifier",
            ),
            (
                "kind = \"rfc3161\"\nroots = \"r\"\ntolerance_s = 61",
                "the setting `anchor.tolerance_s of x` must be at most 60, which is what `verify` allows",
            ),
            (
                "kind = \"opentimestamps\"\nroots = \"r\"",
                "the setting `anchor.roots of x` must be left out for this kind",
            ),
            (
                "kind = \"opentimestamps\"\ncalendars = [\"sk-secret\"]",
                "the setting `anchor.calendars of x` must be an http or https URL",
            ),
        ] {
            assert_eq!(anchor(text), message);
        }
        assert!(parse("", &[]).unwrap().anchor.is_empty(), "nobody is asked by default");
        let config = parse(
            "[[external]]\nname = \"x\"\nkind = \"presidio\"\nurl = \"http://x\"\non_failure = \"continue\"",
            &[],
        )
        .unwrap();
        assert_eq!(config.external[0].on_failure, OnFailure::Continue);
        assert!(parse("", &[]).unwrap().external.is_empty(), "off by default");
        for (text, message) in [
            ("[gateway]\nkeys = \"sk-secret\"", "the setting `gateway.keys` must be optional or required"),
            ("[custody]\naprove = []", "there is no setting `custody.aprove`; did you mean `custody.approve`?"),
            (
                "[custody]\napprove = [\"hold.place\"]",
                "the setting `custody.approve` must be a list of any of hold.lift, reveal, erase",
            ),
            ("[custody]\napprove = 1", "the setting `custody.approve` must be a list"),
            (
                "[console.tls]\ncertifcate = \"x\"",
                "there is no setting `console.tls.certifcate`; did you mean `console.tls.certificate`?",
            ),
        ] {
            assert_eq!(parse(text, &[]).unwrap_err().to_string(), message);
        }
        let own = |rest: &str| {
            let text = format!("[[upstream]]\nname = \"x\"\nkind = \"openai\"\nurl = \"http://x\"\n{rest}");
            parse(&text, &[]).unwrap().upstream[0].target().map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(own(""), Ok(()));
        let (file, both) = ("key_file = \"/nowhere/sk-secret\"", "key_file = \"a\"\nkey_env = \"b\"");
        assert_eq!(
            own(file).unwrap_err(),
            "the setting `upstream.key_file of x` must be where a credential is, on one line"
        );
        assert!(own(both).unwrap_err().ends_with("must be left out where there is a key_file"));
        let approve = parse("", &[("TABELLION_CUSTODY_APPROVE", "reveal, erase")]).unwrap().custody.approve;
        assert_eq!(approve, ["reveal", "erase"]);
        assert!(parse("", &[("TABELLION_CUSTODY_APPROVE", "")]).unwrap().custody.approve.is_empty());
        assert_eq!(parse("", &[]).unwrap().custody.approve, ["hold.lift"], "as the log has it until it says otherwise");

        // Beyond the loopback: with TLS, and then with keys; or behind something that has both.
        let door = |text: &str| {
            let config = parse(text, &[]).unwrap();
            config.needs_keys(config.gateway.keys, config.gateway.listen)
        };
        assert!(!door("") && door("[gateway]\nkeys = \"required\""));
        assert!(door("[gateway]\nlisten = \"0.0.0.0:1\"\n[gateway.tls]\ncertificate = \"c\"\nkey = \"k\""));
        assert!(!door("[gateway]\nlisten = \"0.0.0.0:1\"\n[network]\nprotected_by_others = true"));
        let files = parse("[gateway.tls]\ncertificate = \"/nowhere\"\nkey = \"/nowhere\"", &[]).unwrap();
        assert!(matches!(files.gateway_door(), Err(ConfigError::Tls { .. })));
        assert!(matches!(parse("[gateway]\nlisten = \"0.0.0.0:1\"", &[]), Err(ConfigError::Exposed { .. })));
        parse("[gateway]\nlisten = \"0.0.0.0:1\"\n[network]\nprotected_by_others = true", &[]).unwrap();
        assert!(matches!(parse("", &[("TABELLION_LEDGER_PUBLISH_MS", "soon")]), Err(ConfigError::Value { .. })));
    }
}
