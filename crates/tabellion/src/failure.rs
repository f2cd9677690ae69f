//! Why a command ended without doing what it was asked, by who must act.

use std::fmt;

use tabellion_ledger::LedgerError;
use tabellion_store::StoreError;
use tabellion_vault::VaultError;

use crate::config::ConfigError;

/// Exit codes are a contract; see the command line's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The evidence says no, or nothing was found.
    Evidence = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Disk, network, permissions.
    Environment = 3,
    /// A defect of ours.
    Internal = 4,
}

/// An error on its way to the person who called.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub(crate) fn evidence(message: impl Into<String>) -> Self {
        Self::new(Fault::Evidence, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Fault::Usage, message)
    }

    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(Fault::Environment, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Fault::Internal, message)
    }

    fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), hint: None, source: None }
    }

    /// Says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says why.
    pub(crate) fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source.as_deref().map(|source| source as &dyn std::error::Error);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let (fault, hint) = match &error {
            LedgerError::InUse => (Fault::Environment, Some("stop the other process first")),
            LedgerError::KeyMissing => {
                (Fault::Environment, Some("bring the keys directory back: a new key would be another log's"))
            }
            LedgerError::Origin | LedgerError::OriginChanged => {
                (Fault::Usage, Some("leave `origin` out of the configuration, or restore it"))
            }
            LedgerError::SignerStateMissing => (
                Fault::Evidence,
                Some(
                    "compare log/checkpoint with one that somebody else holds (`tabellion verify --checkpoint`), then \
                     copy it to `signed` in the keys directory",
                ),
            ),
            LedgerError::Diverged => (
                Fault::Evidence,
                Some("the data was rolled back or changed since it was last signed; `tabellion verify` says where"),
            ),
            LedgerError::Behind { .. } => (
                Fault::Evidence,
                Some(
                    "this is an older copy of the log, from a backup or a rolled-back disk; bring the newest data and keys \
                     back, or start a new log under another origin",
                ),
            ),
            LedgerError::Contradicted { .. } => (
                Fault::Evidence,
                Some(
                    "the witness's /<sha256 of the origin>/checkpoint is the other tree; `tabellion verify --checkpoint` takes it",
                ),
            ),
            LedgerError::WitnessesSilent => (
                Fault::Environment,
                Some("see that the witnesses can be reached, or set witnesses.at_start = \"warn\""),
            ),
            LedgerError::Checkpoint | LedgerError::Missing { .. } | LedgerError::Damaged { .. } => {
                (Fault::Evidence, Some("`tabellion verify` says more"))
            }
            LedgerError::Wal { .. } => {
                (Fault::Evidence, Some("entries that had been acknowledged are damaged; restore wal/ from a copy"))
            }
            LedgerError::Beyond { .. } => (Fault::Usage, None),
            LedgerError::Catalog(_) | LedgerError::Derived(_) => {
                (Fault::Environment, Some("index/ can be deleted: it is made again from the log"))
            }
            _ => (Fault::Environment, None),
        };
        let failure = Self::new(fault, "the log cannot be used").because(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        let (fault, hint) = match &error {
            VaultError::Recipient { .. } | VaultError::Mixed | VaultError::Identity(_) => (Fault::Usage, None),
            VaultError::NoIdentity => (Fault::Usage, Some("it was sealed to the recipients that custody.start names")),
            VaultError::Damaged | VaultError::TooLarge => (Fault::Evidence, Some("`tabellion verify` says more")),
            VaultError::Gone => (Fault::Evidence, None),
            VaultError::Missing => (
                Fault::Environment,
                Some("bring it back from its backup: docs/vault.md says how, and what is lost without"),
            ),
            _ => (Fault::Environment, None),
        };
        let failure = Self::new(fault, "the originals cannot be used").because(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::environment("the disk cannot be used").because(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let fault = if matches!(error, ConfigError::Read { .. }) { Fault::Environment } else { Fault::Usage };
        Self::new(fault, "the configuration cannot be used").because(error)
    }
}
