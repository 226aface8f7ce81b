//! The certificate of the origin that speaks TLS, and the authority that has signed it: made when
//! the server starts, and gone with it.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// What the server shows, and what a client has to believe.
pub(super) struct Certificate {
    pub(super) acceptor: TlsAcceptor,
    /// The authority, in PEM.
    pub(super) authority: String,
}

impl Certificate {
    /// For this address and for `localhost`; HTTP/2 is preferred.
    pub(super) fn new(address: IpAddr) -> io::Result<Self> {
        let (authority, leaf, key) = signed(address).map_err(io::Error::other)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.into()], PrivatePkcs8KeyDer::from(key).into())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays secret.
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// The authority in PEM, and a certificate of it with its key in DER.
fn signed(address: IpAddr) -> Result<(String, Vec<u8>, Vec<u8>), rcgen::Error> {
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name.push(DnType::CommonName, "sse-fuzz hostile, an authority");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(issuer, KeyPair::generate()?)?;
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), address.to_string()])?;
    leaf.distinguished_name.push(DnType::CommonName, "sse-fuzz hostile");
    // Some clients will not have it otherwise (RFC 5280, section 4.2.1.1).
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &issuer)?;
    Ok((issuer.pem(), leaf.der().to_vec(), key.serialize_der()))
}
