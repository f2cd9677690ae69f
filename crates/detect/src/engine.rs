//! The rules, compiled, and the one pass over the text.
use crate::Finding;

/// Why rules cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The file is not TOML, or not of the shape of rules.
    #[error("{file}: not a rules file")]
    Syntax {
        /// The file's name.
        file: String,
        /// What the parser said.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A rule contradicts itself.
    #[error("{file}: recognizer {recognizer}: {problem}")]
    Rule {
        /// The file's name.
        file: String,
        /// The rule's name.
        recognizer: String,
        /// What is wrong.
        problem: String,
    },
}

/// Compiled rules. Share it in an `Arc`.
pub struct Engine {}

impl Engine {
    /// The rules in `defaults/recognizers`.
    pub fn embedded() -> Engine {
        Engine {}
    }
    /// Rules from files, by the parser that reads the embedded ones.
    pub fn from_rules(_files: &[(&str, &str)]) -> Result<Engine, RuleError> {
        Ok(Engine {})
    }
    /// SHA-256 over the rule files: identifies the policy.
    pub fn policy(&self) -> [u8; 32] {
        [0; 32]
    }
    /// The score from which a finding counts.
    pub fn threshold(&self) -> f32 {
        0.5
    }
    /// Findings of at least the threshold, sorted, without overlaps.
    pub fn scan(&self, text: &str, context: Option<&str>) -> Vec<Finding> {
        self.scan_with(text, context, self.threshold(), None)
    }
    /// The same with another threshold and only some entities.
    pub fn scan_with(&self, _text: &str, _context: Option<&str>, _threshold: f32, _entities: Option<&[&str]>) -> Vec<Finding> {
        Vec::new()
    }
    /// Every entity that some rule can find.
    pub fn entities(&self) -> Vec<&str> {
        Vec::new()
    }
}
