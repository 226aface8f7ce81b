//! TLS to databases and brokers, with certificates of an authority of the test's own.

use std::path::Path;
use std::process::Stdio;

use port::Port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use server::{Server, binary, within};
use services::Own;
use testkit::{port, server, services};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Files in PEM form: of an authority, and of a certificate of this machine that it has signed.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(authority, key).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).expect("parameters");
        let certificate = certificate.signed_by(&key, &authority).expect("a certificate");
        let write = |name: &str, pem: String| {
            std::fs::write(folder.path().join(name), pem).expect("writable");
        };
        write("ca.pem", authority.pem());
        write("cert.pem", certificate.pem());
        write("key.pem", key.serialize_pem());
        Self { folder }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn authority(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    /// The environment of a server that believes the authority.
    fn believed(&self) -> Command {
        let mut command = Command::new("env");
        command.arg(format!("SSL_CERT_FILE={}", self.authority()));
        command
    }
}

/// Publishes on one server, and reads it on the other.
async fn events_go_from_one_to_the_other(command: impl Fn() -> Command, flags: &[&str]) {
    let here = Server::start_under(command(), flags).await;
    let there = Server::start_under(command(), flags).await;
    let mut reader = there.get("/events/?channel=a", "").await;
    reader.opening().await;
    let is_heard = async {
        loop {
            // The relay may not be connected yet, and without a storage nothing comes later.
            here.publish(&json!({"channel": "a", "data": "encrypted"}).to_string()).await;
            let read = reader.until("encrypted");
            if tokio::time::timeout(std::time::Duration::from_millis(200), read).await.is_ok() {
                return;
            }
        }
    };
    within("an event of the other server", is_heard).await;
}

/// A server that does not know the authority does not start, and says why.
async fn is_refused(flags: &[&str], why: &str) {
    let port = Port::reserve();
    let mut command = binary();
    command.args(["--listen", &port.to_string(), "--storage", "memory"]).args(flags);
    let output = within("the end", command.stderr(Stdio::piped()).output()).await.expect("it ends");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!output.status.success() && text.contains(why), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_spoken_to_over_tls() {
    let certificates = Certificates::new();
    let Some(redis) = Own::redis_with_tls(certificates.folder()).await else { return };
    let url = redis.url();
    assert!(url.starts_with("rediss://"), "{url}");
    let flags = ["--storage", &url, "--relay", &url, "--refresh", "1h"];
    events_go_from_one_to_the_other(|| certificates.believed(), &flags).await;
    is_refused(&["--relay", &url], "ertificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_spoken_to_over_tls() {
    let certificates = Certificates::new();
    let Some(postgres) = Own::postgres_with_tls(certificates.folder()).await else { return };
    let url = postgres.url();
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={}", certificates.authority());
    let flags = ["--storage", &verified, "--relay", &verified, "--refresh", "1h"];
    events_go_from_one_to_the_other(|| certificates.believed(), &flags).await;
    assert!(postgres.connections_have_tls().await, "all of them");
    is_refused(&["--relay", &format!("{url}?sslmode=verify-full")], "ertificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_spoken_to_over_tls() {
    let certificates = Certificates::new();
    let Some(rabbitmq) = Own::rabbitmq_with_tls(certificates.folder()).await else { return };
    let url = rabbitmq.url();
    assert!(url.starts_with("amqps://"), "{url}");
    let flags = ["--storage", "none", "--relay", &url];
    events_go_from_one_to_the_other(|| certificates.believed(), &flags).await;
    is_refused(&["--relay", &url], "ertificate").await;
}

/// Whatever listens: with a scheme of TLS nothing is said in the clear, least of all a password.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_of_tls_is_never_spoken_in_the_clear() {
    for scheme in ["amqps", "rediss"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let url = format!("{scheme}://me:s3cret@{address}");
        let mut command = binary();
        command.args(["--listen", "127.0.0.1:0", "--storage", "memory", "--relay", &url]);
        let _server = command.spawn().expect("it can be started");
        let (mut socket, _) =
            within("a connection", listener.accept()).await.expect("a connection");
        let mut first = [0; 3];
        within("the first bytes", socket.read_exact(&mut first)).await.expect("bytes");
        assert_eq!(first[..2], [0x16, 0x03], "{scheme}: no ClientHello");
    }
}
