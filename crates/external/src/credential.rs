//! Where a credential is, and what is read there. It is read when it is needed, so that a file that somebody renews is
//! followed; it is never kept longer than a call, never shown, and never part of an error.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::ExternalError;

/// A file with a credential has less.
const BYTES_MAX: u64 = 64 << 10;

/// Where a credential is.
#[derive(Clone, Debug, Default)]
pub enum Credential {
    /// There is none; for AWS: the variables that AWS's own tools read.
    #[default]
    None,
    /// In this file.
    File(PathBuf),
    /// In this variable of the environment.
    Environment(String),
}

/// What must not be shown.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// As the value of a header, after a prefix; marked, so that nothing shows it.
    pub(crate) fn header(&self, prefix: &str) -> Result<http::HeaderValue, ExternalError> {
        let text = Zeroizing::new(format!("{prefix}{}", self.expose()));
        let mut value = http::HeaderValue::from_str(&text).map_err(|_| ExternalError::Credential)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Credential {
    /// What is there, without whitespace around it; `None` when nothing was configured.
    pub(crate) fn read(&self) -> Result<Option<Secret>, ExternalError> {
        use std::io::Read as _;
        let text = match self {
            Self::None => return Ok(None),
            Self::File(path) => {
                let mut text = Zeroizing::new(String::new());
                let file = std::fs::File::open(path).map_err(|_| ExternalError::Credential)?;
                file.take(BYTES_MAX).read_to_string(&mut text).map_err(|_| ExternalError::Credential)?;
                text
            }
            Self::Environment(name) => Zeroizing::new(std::env::var(name).map_err(|_| ExternalError::Credential)?),
        };
        let text = text.trim();
        if text.is_empty() { Err(ExternalError::Credential) } else { Ok(Some(Secret::new(text))) }
    }

    /// The same where there must be one.
    pub(crate) fn needed(&self) -> Result<Secret, ExternalError> {
        self.read()?.ok_or(ExternalError::Credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_and_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " s3cret\n").unwrap();
        let secret = Credential::File(file.path().to_owned()).needed().unwrap();
        assert_eq!(secret.expose(), "s3cret");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(format!("{:?}", secret.header("Bearer ").unwrap()), "Sensitive");
        std::fs::write(file.path(), "\n").unwrap();
        for nothing in [
            Credential::None,
            Credential::File(file.path().to_owned()),
            Credential::File("/does/not/exist".into()),
            Credential::Environment("TABELLION_NO_SUCH_VARIABLE".into()),
        ] {
            assert_eq!(nothing.needed().unwrap_err(), ExternalError::Credential);
        }
    }
}
