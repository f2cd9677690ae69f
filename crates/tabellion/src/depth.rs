//! How far detection goes, by route: the policy's rules at the depth of each upstream, and what is remembered of each.
//!
//! What was redacted at one depth is never taken for what would be at another: texts that were clean, parts that are known
//! and answers of detectors are remembered apart.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, TryLockError};

use tabellion_detect::{Clean, Depth, Redactor};
use tabellion_evidence::tree::Hash;

use crate::config::{Config, ConfigError};
use crate::failure::Failure;
use crate::policy;
use crate::secrets::Secrets;

/// A policy at a depth.
pub(crate) struct Rules {
    pub(crate) redactor: Redactor,
    /// What identifies them, in every entry that was redacted by them.
    pub(crate) policy: Hash,
    /// Short texts that redaction leaves as they are: paths, models, roles. In memory only.
    clean: Mutex<Clean>,
}

impl Rules {
    fn new(redactor: Redactor) -> Self {
        let policy = Hash(redactor.engine().policy());
        Self { redactor, policy, clean: Mutex::default() }
    }

    /// Whether the model is asked too.
    pub(crate) fn asks_model(&self) -> bool {
        self.redactor.engine().depth() >= Depth::Model
    }

    /// Redacts with the memory of what is clean; while another exchange has it, without: what one of them sends may take
    /// long to redact.
    pub(crate) fn remembering<T>(&self, redact: impl FnOnce(&mut Clean) -> T) -> T {
        match self.clean.try_lock() {
            Ok(mut clean) => redact(&mut clean),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => redact(&mut Clean::default()),
        }
    }
}

/// The rules of every route.
pub(crate) struct Routes {
    /// The policy as it is: for whatever is no exchange, and for upstreams that say nothing of depth.
    usual: Arc<Rules>,
    by_upstream: BTreeMap<String, Arc<Rules>>,
}

impl Routes {
    /// Compiles the policy once for each depth that some upstream asks for.
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> Result<Self, Failure> {
        let policy = &config.redaction.policy;
        let usual = Arc::new(Rules::new(policy::redactor(policy, None, secrets)?));
        let mut by_depth = BTreeMap::from([(usual.redactor.engine().depth(), usual.clone())]);
        let mut by_upstream = BTreeMap::new();
        for upstream in &config.upstream {
            let Some(depth) = upstream.depth else { continue };
            let rules = match by_depth.entry(depth) {
                Entry::Occupied(compiled) => compiled.get().clone(),
                Entry::Vacant(place) => {
                    place.insert(Arc::new(Rules::new(policy::redactor(policy, Some(depth), secrets)?))).clone()
                }
            };
            by_upstream.insert(upstream.name.clone(), rules);
        }
        let routes = Self { usual, by_upstream };
        // A model that nobody asks is a mistake as much as one that is asked for and not there.
        let asked = config.presidio.depth >= Depth::Model
            || routes.usual.asks_model()
            || routes.by_upstream.values().any(|rules| rules.asks_model());
        match (asked, config.model.is_configured()) {
            (true, false) => Err(wrong(
                "the directory of a model, because the policy, an upstream or Presidio's API has depth = \"model\"",
            )),
            (false, true) => {
                Err(wrong("left out, or depth = \"model\" set in the policy, for an upstream or for Presidio's API"))
            }
            _ => Ok(routes),
        }
    }

    pub(crate) fn usual(&self) -> &Arc<Rules> {
        &self.usual
    }

    /// The rules for an upstream's exchanges.
    pub(crate) fn of(&self, upstream: &str) -> &Arc<Rules> {
        self.by_upstream.get(upstream).unwrap_or(&self.usual)
    }
}

fn wrong(expected: &'static str) -> Failure {
    ConfigError::Value { key: "model.path".into(), expected }.into()
}
