//! TLS from two PEM files, which can be exchanged while the server runs.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// A certificate and its key, as a server shows them. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

/// TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct TlsError {
    is_key: bool,
    problem: String,
}

impl TlsError {
    /// Whether it is about the file of the key.
    pub const fn is_about_key(&self) -> bool {
        self.is_key
    }
}

impl Tls {
    /// Reads a certificate, with those between it and its root, and its key. HTTP/2 and HTTP/1.1
    /// are offered.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, is not PEM, or the two do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let about = |is_key, path: &Path, problem: &dyn fmt::Display| TlsError {
            is_key,
            problem: format!("{}: {problem}", path.display()),
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| about(false, certificate, &error))?;
        if chain.is_empty() {
            return Err(about(false, certificate, &"there is no certificate in this file"));
        }
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| about(true, key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|error: rustls::Error| about(true, key, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { current: Arc::new(RwLock::new(Arc::new(config))) })
    }

    /// From now on, new connections get the certificate of `other`.
    pub fn replace(&self, other: &Self) {
        let new = other.config();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.config().into()
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
