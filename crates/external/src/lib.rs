//! Further detectors, asked over the network: Presidio's analyzer, Google Cloud DLP, AWS Comprehend, Azure AI Language.
//!
//! A [`Detector`] is given texts and says where something was found in them, in bytes. What it is given leaves this
//! machine as it is: that is the price of asking, and why nothing here is in use unless somebody configured it.
//!
//! Whom it trusts: nobody. An answer has bounds (bytes, findings), every span must lie in the text, on the boundaries of
//! characters, and names are letters, digits and `_`; anything else is [`ExternalError::Malformed`], and nothing of such an
//! answer is used. One time limit holds for everything that an ask takes, waiting included. Errors are fixed words: no
//! text, no answer, no credential is ever in one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

mod aws;
mod azure;
mod credential;
mod google;
mod names;
mod packing;
mod presidio;
mod sigv4;
mod web;

pub use credential::Credential;

use packing::{Size, pack};
use web::Web;

/// So many calls of one detector are under way at once, over all asks.
const CALLS_MAX: usize = 8;
/// More findings in one answer are a mistake, or meant to do harm.
const FINDINGS_MAX: usize = 10_000;
/// So many names of entities are taken from one detector; what has a further one is called [`OTHER`]. Names become
/// labels of metrics, of which a service must not be able to make any number.
const NAMES_MAX: usize = 256;
/// The longest name that a token can carry.
const NAME_BYTES_MAX: usize = 40;
/// What something is called that has no usable name.
const OTHER: &str = "OTHER";

/// Where a service found what.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What was found, under Presidio's name where it has one.
    pub entity: String,
    /// Byte offset of the first byte.
    pub start: usize,
    /// Byte offset after the last byte.
    pub end: usize,
    /// 0.0 to 1.0.
    pub score: f32,
}

/// Why a detector gave no findings. What the caller does about it is the same for all: its failure policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// Not everything was answered within the time limit.
    #[error("the detector did not answer in time")]
    TimedOut,
    /// No connection, or it broke.
    #[error("the detector cannot be reached")]
    Unreachable,
    /// It answered with this status, or with an error of its own.
    #[error("the detector refused, with status {0}")]
    Refused(u16),
    /// The answer is none of this service's, or speaks of something that is not in the text.
    #[error("the detector's answer is malformed")]
    Malformed,
    /// The answer is larger than it may be, or the service says that it left findings out.
    #[error("the detector's answer is too large, or not whole")]
    TooLarge,
    /// The credential cannot be read, or is none.
    #[error("the detector's credential cannot be used")]
    Credential,
}

impl ExternalError {
    /// A fixed word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Refused(_) => "refused",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Credential => "credential",
        }
    }
}

/// What is wrong with a detector's settings: the setting's name, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` must be {expected}")]
pub struct SettingError {
    /// The setting.
    pub key: &'static str,
    /// What it must be.
    pub expected: &'static str,
}

/// Which service, and what it needs.
#[derive(Clone, Debug)]
pub enum Service {
    /// Presidio's analyzer.
    Presidio {
        /// Where it is.
        url: String,
    },
    /// Google Cloud DLP (Sensitive Data Protection).
    GoogleDlp {
        /// The project that pays.
        project: String,
        /// Where the text is processed: `global`, or a region.
        location: String,
        /// Another endpoint than the public one.
        url: Option<String>,
    },
    /// Amazon Comprehend.
    AwsComprehend {
        /// The region.
        region: String,
        /// Another endpoint than the region's public one.
        url: Option<String>,
    },
    /// Azure AI Language.
    AzureLanguage {
        /// The resource's endpoint.
        url: String,
    },
}

/// A detector's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which service.
    pub service: Service,
    /// What it is asked with.
    pub credential: Credential,
    /// How long an ask may take, all calls of it together.
    pub timeout: Duration,
    /// The language of the texts (ISO 639-1).
    pub language: String,
    /// Findings below are left out.
    pub min_score: f32,
    /// Only these entities; all, if there are none.
    pub entities: Vec<String>,
}

/// What the services have in common.
pub(crate) struct Common {
    pub(crate) web: Web,
    pub(crate) credential: Credential,
    pub(crate) language: String,
    pub(crate) min_score: f32,
    pub(crate) entities: Vec<String>,
}

enum Client {
    Presidio(presidio::Client),
    Google(google::Client),
    Aws(aws::Client),
    Azure(azure::Client),
}

struct Inner {
    client: Client,
    common: Common,
    timeout: Duration,
    calls: Semaphore,
    names: Mutex<BTreeSet<String>>,
}

/// One service, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Detector(Arc<Inner>);

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Detector")
    }
}

impl Detector {
    /// A detector with these settings. Nothing is asked yet, and no credential is read.
    ///
    /// # Errors
    ///
    /// A setting cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingError> {
        let Settings { service, credential, timeout, language, min_score, entities } = settings;
        if !(0.0..=1.0).contains(&min_score) {
            return Err(SettingError { key: "min_score", expected: "0.0 to 1.0" });
        }
        if timeout.is_zero() {
            return Err(SettingError { key: "timeout_ms", expected: "more than 0" });
        }
        if entities.iter().any(|entity| !is_name(entity)) {
            return Err(SettingError { key: "entities", expected: "a list of names such as PERSON" });
        }
        let client = match service {
            Service::Presidio { url } => Client::Presidio(presidio::Client::new(&url)?),
            Service::GoogleDlp { project, location, url } => {
                Client::Google(google::Client::new(&project, &location, url.as_deref())?)
            }
            Service::AwsComprehend { region, url } => Client::Aws(aws::Client::new(&region, url.as_deref())?),
            Service::AzureLanguage { url } => Client::Azure(azure::Client::new(&url)?),
        };
        let common = Common { web: Web::new(), credential, language, min_score, entities };
        let (calls, names) = (Semaphore::new(CALLS_MAX), Mutex::default());
        Ok(Self(Arc::new(Inner { client, common, timeout, calls, names })))
    }

    /// What is found in a text, in order.
    ///
    /// # Errors
    ///
    /// The service did not answer as it should, or not in time.
    pub async fn find(&self, text: &str) -> Result<Vec<Found>, ExternalError> {
        let mut found = self.find_all(&[text]).await?;
        Ok(found.pop().unwrap_or_default())
    }

    /// The same for many texts, in their order. Short texts are asked about together, long ones in pieces.
    ///
    /// # Errors
    ///
    /// The service did not answer as it should, or not in time. Then nothing is known of any of the texts.
    pub async fn find_all(&self, texts: &[&str]) -> Result<Vec<Vec<Found>>, ExternalError> {
        let documents = pack(texts, self.0.client.size());
        let asked = async {
            let mut asks = JoinSet::new();
            for (number, document) in documents.iter().enumerate() {
                let (inner, text) = (self.0.clone(), document.text.clone());
                asks.spawn(async move {
                    let _call = inner.calls.acquire().await.map_err(|_| ExternalError::Unreachable)?;
                    Ok((number, inner.client.ask(&inner.common, &text).await?))
                });
            }
            let mut answers = vec![Vec::new(); documents.len()];
            // The first that fails ends the ask; dropping the set ends the other calls, as the time limit does.
            while let Some(joined) = asks.join_next().await {
                let (number, found): (usize, Vec<Found>) = joined.map_err(|_| ExternalError::Unreachable)??;
                answers[number] = found;
            }
            Ok(answers)
        };
        let answers = tokio::time::timeout(self.0.timeout, asked).await.map_err(|_| ExternalError::TimedOut)??;
        let mut all: Vec<Vec<Found>> = vec![Vec::new(); texts.len()];
        for (document, found) in documents.iter().zip(answers) {
            for found in found {
                if !found.score.is_finite() || !(0.0..=1.0).contains(&found.score) {
                    return Err(ExternalError::Malformed);
                }
                let entity = self.0.named(&found.entity);
                let common = &self.0.common;
                let wanted = common.entities.is_empty() || common.entities.contains(&entity);
                if wanted && found.score >= common.min_score {
                    document.place(&Found { entity, ..found }, &mut all);
                }
            }
        }
        for found in &mut all {
            found.sort_by(|a, b| {
                (a.start, a.end)
                    .cmp(&(b.start, b.end))
                    .then_with(|| a.entity.cmp(&b.entity))
                    .then(b.score.total_cmp(&a.score))
            });
            // Pieces overlap, so that a value may have been seen twice.
            found.dedup_by(|b, a| a.start == b.start && a.end == b.end && a.entity == b.entity);
        }
        Ok(all)
    }
}

impl Inner {
    /// A name that may stand in a record and in a metric.
    fn named(&self, name: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_name(name) || (names.len() >= NAMES_MAX && !names.contains(name)) {
            return OTHER.to_owned();
        }
        names.insert(name.to_owned());
        name.to_owned()
    }
}

impl Client {
    fn size(&self) -> Size {
        match self {
            Self::Presidio(_) => presidio::SIZE,
            Self::Google(_) => google::SIZE,
            Self::Aws(_) => aws::SIZE,
            Self::Azure(_) => azure::SIZE,
        }
    }

    async fn ask(&self, common: &Common, text: &str) -> Result<Vec<Found>, ExternalError> {
        match self {
            Self::Presidio(client) => client.ask(common, text).await,
            Self::Google(client) => client.ask(common, text).await,
            Self::Aws(client) => client.ask(common, text).await,
            Self::Azure(client) => client.ask(common, text).await,
        }
    }
}

/// Whether a token can carry this name.
fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        // Says how many bytes stood there, and is no entity.
        && name != "BINARY"
}

/// Translates a service's offsets in code points to bytes.
pub(crate) struct CodePoints(Vec<usize>);

impl CodePoints {
    pub(crate) fn of(text: &str) -> Self {
        Self(text.char_indices().map(|(at, _)| at).chain([text.len()]).collect())
    }

    /// The bytes of a span; refuses one that is empty or not in the text.
    pub(crate) fn bytes(&self, start: u64, end: u64) -> Result<(usize, usize), ExternalError> {
        let at = |point: u64| {
            usize::try_from(point).ok().and_then(|point| self.0.get(point)).copied().ok_or(ExternalError::Malformed)
        };
        if start >= end {
            return Err(ExternalError::Malformed);
        }
        Ok((at(start)?, at(end)?))
    }
}

/// Refuses an answer with more findings than a text can have.
pub(crate) fn bounded<T>(findings: Vec<T>) -> Result<Vec<T>, ExternalError> {
    if findings.len() > FINDINGS_MAX { Err(ExternalError::TooLarge) } else { Ok(findings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_are_bytes_only_inside_the_text() {
        let points = CodePoints::of("a😀é");
        assert_eq!(points.bytes(0, 1), Ok((0, 1)));
        assert_eq!(points.bytes(1, 2), Ok((1, 5)));
        assert_eq!(points.bytes(2, 3), Ok((5, 7)));
        for (start, end) in [(0, 4), (4, 5), (1, 1), (2, 1), (0, u64::MAX), (u64::MAX, u64::MAX)] {
            assert_eq!(points.bytes(start, end), Err(ExternalError::Malformed), "{start}..{end}");
        }
    }

    #[test]
    fn names_are_what_a_token_can_carry() {
        for name in ["PERSON", "US_SSN", "A1", &"A".repeat(40)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "person", "1A", "A-B", "A]", "É", "BINARY", &"A".repeat(41)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_service_cannot_make_any_number_of_names() {
        let detector = Detector::new(Settings {
            service: Service::Presidio { url: "http://127.0.0.1:9".into() },
            credential: Credential::None,
            timeout: Duration::from_secs(1),
            language: "en".into(),
            min_score: 0.5,
            entities: Vec::new(),
        })
        .unwrap();
        for n in 0..NAMES_MAX {
            assert_eq!(detector.0.named(&format!("E{n}")), format!("E{n}"));
        }
        assert_eq!(detector.0.named("ONE_MORE"), OTHER);
        assert_eq!(detector.0.named("E7"), "E7");
        assert_eq!(detector.0.named("x] injected"), OTHER);
        assert_eq!(format!("{detector:?}"), "Detector");
    }
}
