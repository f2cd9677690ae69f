//! The user's own model, if there is one: `[model]` in the configuration, run in process by `tabellion-model`.
//!
//! That crate is compiled in with the feature `model`, which is off by default: it needs some sixty-five crates
//! more.

use tabellion_detect::Finding;

use crate::config::Model as Settings;
use crate::failure::Failure;

/// What stands before the model's name where a rule's name would stand.
pub(crate) const RECOGNIZER: &str = "model/";

/// A model, ready to be asked. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Model {
    #[cfg(feature = "model")]
    recognizer: std::sync::Arc<str>,
    #[cfg(feature = "model")]
    model: tabellion_model::Model,
    /// Without the feature there is none.
    #[cfg(not(feature = "model"))]
    none: std::convert::Infallible,
}

impl Model {
    /// Loads the configured model; none, if none is configured.
    #[cfg(feature = "model")]
    pub(crate) fn load(settings: &Settings) -> Result<Option<Self>, Failure> {
        if !settings.is_configured() {
            return Ok(None);
        }
        let unusable = |error| Failure::usage("the model of model.path cannot be used").because(error);
        let model = tabellion_model::Model::load(&tabellion_model::Settings {
            path: settings.path.clone(),
            labels: settings.labels.clone(),
            aggregation: match settings.aggregation {
                crate::config::Aggregation::First => tabellion_model::Aggregation::First,
                crate::config::Aggregation::Max => tabellion_model::Aggregation::Max,
            },
            min_score: settings.min_score,
            timeout: settings.timeout(),
            threads: settings.threads,
        })
        .map_err(unusable)?;
        Ok(Some(Self { recognizer: format!("{RECOGNIZER}{}", settings.name).into(), model }))
    }

    /// Says that it cannot, if one is configured.
    #[cfg(not(feature = "model"))]
    pub(crate) fn load(settings: &Settings) -> Result<Option<Self>, Failure> {
        if !settings.is_configured() {
            return Ok(None);
        }
        Err(Failure::usage("model.path is set, and this program was built without the feature `model`")
            .hint("build it with: cargo build --release --features model"))
    }

    /// What it finds in texts. Blocks until it is known or the time limit has passed. An error is a fixed word.
    #[cfg(feature = "model")]
    pub(crate) fn find_all(&self, texts: &[&str]) -> Result<Vec<Vec<Finding>>, &'static str> {
        let found = self.model.find_all(texts).map_err(tabellion_model::ModelError::as_str)?;
        let finding = |found: tabellion_model::Found| {
            Finding::of_other(&found.entity, &self.recognizer, found.start..found.end, found.score)
        };
        Ok(found.into_iter().map(|found| found.into_iter().map(finding).collect()).collect())
    }

    /// There is none to ask.
    #[cfg(not(feature = "model"))]
    pub(crate) fn find_all(&self, _texts: &[&str]) -> Result<Vec<Vec<Finding>>, &'static str> {
        match self.none {}
    }
}
