//! TLS: certificates for tests, and something that speaks TLS in front of a server that does not.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A certificate for localhost that has signed itself, and its key, as files.
pub(crate) struct Certified {
    folder: TempDir,
    made: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Certified {
    pub(crate) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("writable");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())
            .expect("writable");
        Self { folder, made }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// Speaks TLS before a server.
pub(crate) struct Front {
    certified: Certified,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Front {
    /// If that is its fault, it does not survive a connection that is cut without a goodbye.
    pub(crate) async fn start(fault: &str, behind: SocketAddr) -> Self {
        let certified = Certified::new();
        let key = PrivateKeyDer::try_from(certified.made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_no_client_auth()
            .with_single_cert(vec![certified.made.cert.der().clone()], key.expect("a key"))
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_fragile = fault == "rob.tls-cut";
        let accepting = tokio::spawn(async move {
            let dead = watch::Sender::new(false);
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, dead) = (acceptor.clone(), dead.clone());
                connections.spawn(async move {
                    let was_cut = relay(acceptor, socket, behind, dead.subscribe()).await;
                    if was_cut && is_fragile {
                        dead.send_replace(true);
                    }
                });
            }
        });
        Self { certified, address, accepting: accepting.abort_handle() }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.certified.certificate()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

/// Copies to and fro; whether the client went without a goodbye.
async fn relay(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    behind: SocketAddr,
    mut dead: watch::Receiver<bool>,
) -> bool {
    let Ok(stream) = acceptor.accept(socket).await else { return false };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let server = TcpStream::connect(behind).await.expect("it is there");
    let (mut from, mut to) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 << 10];
        let was_cut = loop {
            match reader.read(&mut buffer).await {
                Ok(0) => break false,
                Ok(len) => {
                    if to.write_all(&buffer[..len]).await.is_err() {
                        break false;
                    }
                }
                Err(error) => break error.kind() == ErrorKind::UnexpectedEof,
            }
        };
        drop(to.shutdown().await);
        was_cut
    };
    let down = async {
        drop(copy(&mut from, &mut writer).await);
        drop(writer.shutdown().await);
    };
    tokio::select! {
        (was_cut, ()) = async { tokio::join!(up, down) } => was_cut,
        _ = dead.wait_for(|is_dead| *is_dead) => false,
    }
}
