//! TLS for listeners: a certificate and its key from files, taken up again when they change.
//!
//! Connections that are open keep what they were made with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file with the certificates is not there, or has none.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The file with the key is not there, or has none.
    #[error("the private key cannot be read")]
    Key,
    /// The key cannot be used, or is not the certificate's.
    #[error("the private key is not one that can be used with the certificate")]
    Mismatch,
}

/// What a listener shows to clients.
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    certificate: PathBuf,
    key: PathBuf,
    /// When the files had been changed last.
    read: RwLock<[Option<SystemTime>; 2]>,
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// Reads a certificate, with those that lead to its root behind it, and its private key, both in PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = [changed(certificate), changed(key)];
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified(certificate, key)?))));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| TlsError::Mismatch)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, shown, certificate: certificate.to_owned(), key: key.to_owned(), read: RwLock::new(read) })
    }

    /// Takes up the files again if they have changed; says whether they had. What was shown is shown on when they cannot
    /// be used, as while only one of them has been replaced.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let now = [changed(&self.certificate), changed(&self.key)];
        if *self.read.read().unwrap_or_else(PoisonError::into_inner) == now {
            return Ok(false);
        }
        let certified = certified(&self.certificate, &self.key)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(true)
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).map_err(|_| TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_| TlsError::Key)?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|_| TlsError::Mismatch)
}
