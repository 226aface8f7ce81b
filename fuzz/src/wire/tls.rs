//! TLS below a connection: which certificates are trusted, and the handshake.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Which certificates of servers are trusted: by default those of the system's authorities. A clone
/// is another handle to the same.
#[derive(Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Default)]
struct Inner {
    kind: Kind,
    /// Made when it is first needed: reading the system's certificates takes time.
    config: OnceLock<ClientConfig>,
}

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    Authority(PathBuf, RootCertStore),
    Anyone,
}

/// A file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}; give a file of certificates in PEM", path.display())]
pub struct TrustError {
    path: PathBuf,
    problem: String,
}

impl Trust {
    /// Trusts the certificates in a PEM file, and those that they have signed; no others.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has no certificate that can be an authority's.
    pub fn authority(path: &Path) -> Result<Self, TrustError> {
        let wrong = |problem: &dyn fmt::Display| TrustError {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"there is no certificate in it"));
        }
        Ok(Self::of(Kind::Authority(path.to_owned(), roots)))
    }

    /// Trusts any certificate: for servers that have signed their own. Others on the way can read
    /// along.
    pub fn anyone() -> Self {
        Self::of(Kind::Anyone)
    }

    fn of(kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, config: OnceLock::new() }))
    }

    /// What curl needs to be told of it, with a space before.
    pub(crate) fn as_curl_has_it(&self) -> String {
        match &self.0.kind {
            Kind::System => String::new(),
            Kind::Authority(path, _) => {
                format!(" --cacert {}", shell_words::quote(&path.to_string_lossy()))
            }
            Kind::Anyone => " -k".to_owned(),
        }
    }

    /// Shakes hands, with one protocol on offer.
    pub(super) async fn connect(
        &self,
        name: &str,
        socket: TcpStream,
        protocol: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::clone(self.config()?);
        config.alpn_protocols = vec![protocol.to_vec()];
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| io::Error::other(format!("no certificate can be for {name:?}")))?;
        let connected = TlsConnector::from(Arc::new(config)).connect(server, socket).await;
        connected.map_err(explained)
    }

    fn config(&self) -> io::Result<&ClientConfig> {
        if let Some(config) = self.0.config.get() {
            return Ok(config);
        }
        let provider = Arc::new(default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &self.0.kind {
            Kind::System => builder.with_platform_verifier().map_err(|error| {
                let text = format!("the system's certificates cannot be used ({error}); give --ca");
                io::Error::other(text)
            })?,
            Kind::Authority(_, roots) => builder.with_root_certificates(roots.clone()),
            Kind::Anyone => {
                let verifier = Arc::new(Anyone(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        Ok(self.0.config.get_or_init(|| builder.with_no_client_auth()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.0.kind).finish()
    }
}

/// Whether a handshake failed only because the server does not take the protocol on offer.
pub(super) fn is_no_protocol(error: &io::Error) -> bool {
    use tokio_rustls::rustls::AlertDescription::NoApplicationProtocol;
    matches!(cause(error), Some(Error::AlertReceived(NoApplicationProtocol)))
}

fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// A failed handshake with what can be done about it.
fn explained(error: io::Error) -> io::Error {
    let text = match cause(&error) {
        Some(Error::InvalidCertificate(why)) => format!(
            "its certificate is not trusted ({why:?}); give its authority with --ca, or --insecure \
             to trust any"
        ),
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS at this port; is its URL one with http?".to_owned()
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it ends the connection in the TLS handshake".to_owned()
        }
        _ => return error,
    };
    io::Error::other(text)
}

/// Trusts any server that has the key for its certificate.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
