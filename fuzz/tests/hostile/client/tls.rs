//! Connections of the small client, in the clear or by TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Believes the authority in a file, and offers one protocol.
pub(crate) fn config(authority: &str, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority).expect("a certificate");
    roots.add(certificate).expect("one of an authority");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// Connects; with an authority it is by TLS.
pub(crate) fn connect(
    address: &str,
    authority: Option<&str>,
    silence: Option<Duration>,
) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(silence)?;
    let Some(authority) = authority else { return Ok(Box::new(stream)) };
    let host = address.rsplit_once(':').expect("a port").0.to_owned();
    let name = ServerName::try_from(host).expect("an address");
    let config = Arc::new(config(authority, b"http/1.1"));
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}
