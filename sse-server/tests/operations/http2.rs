//! HTTP/2 and TLS, with a client that is not ours.

use std::path::Path;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::{Certificate, Client, ClientBuilder, Response, Version};
use serde_json::json;

use crate::server::{Server, TOKEN, until, within};

/// The body of a stream, as it comes.
struct Body {
    chunks: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    seen: String,
}

impl Body {
    fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        Self { chunks: response.bytes_stream().boxed(), seen: String::new() }
    }

    async fn until(&mut self, text: &str) {
        within(text, async {
            while !self.seen.contains(text) {
                let chunk = self.chunks.next().await.expect("no end").expect("no failure");
                self.seen += str::from_utf8(&chunk).expect("UTF-8");
            }
        })
        .await;
    }

    /// What is left, to the proper end.
    async fn rest(mut self) -> String {
        within("the end", async {
            while let Some(chunk) = self.chunks.next().await {
                self.seen += str::from_utf8(&chunk.expect("no failure")).expect("UTF-8");
            }
        })
        .await;
        self.seen
    }
}

async fn get(client: &Client, url: &str) -> Response {
    within("an answer", client.get(url).send()).await.expect("an answer")
}

async fn publish(client: &Client, url: &str, number: u32) {
    let body = json!({"channel": "a", "data": number}).to_string();
    let sent = client.post(url).bearer_auth(TOKEN).body(body).send();
    assert_eq!(within("an answer", sent).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn http2_without_tls_is_spoken_with_those_who_know() {
    let mut server = Server::start(&["--max-connections", "30"]).await;
    let client = Client::builder().http2_prior_knowledge().build().expect("a client");
    // More streams than a browser has connections, over one.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let answer = get(&client, &server.url("/events/?channel=a")).await;
        assert_eq!(answer.version(), Version::HTTP_2);
        streams.push(Body::of(answer));
    }
    publish(&client, &server.url("/publish/"), 1).await;
    for stream in &mut streams {
        stream.until("id: a:1\ndata: 1\n\n").await;
    }
    // It is not alone: the metrics are asked for too, and others on this machine may look at a new
    // port.
    assert!(server.metric("accepted_connections_total").await < 10.0);
    // Each of them counts as one.
    for _ in 20..30 {
        streams.push(Body::of(get(&client, &server.url("/events/?channel=a")).await));
    }
    let refused = get(&client, &server.url("/events/?channel=a")).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.expect("a body").contains("\"too-many-streams\""));
    server.signal("-TERM");
    for stream in streams {
        assert!(stream.rest().await.contains("\n\nretry: "));
    }
    assert!(server.wait().await.success());
}

/// Writes a certificate of its own and its key, and returns the certificate.
fn certify(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).expect("writable");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("writable");
    Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate")
}

/// A client that believes this certificate, and no other.
fn trusting(certificate: &Certificate) -> ClientBuilder {
    Client::builder().tls_certs_only([certificate.clone()])
}

#[tokio::test]
async fn tls_is_spoken_with_both_protocols_and_its_certificate_can_be_exchanged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = certify(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server =
        Server::start(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]).await;
    let url = |path: &str| format!("https://localhost:{}{path}", server.address.port());
    let two = trusting(&first).build().expect("a client");
    let one = trusting(&first).http1_only().build().expect("a client");
    let answer = get(&two, &url("/events/?channel=a")).await;
    assert_eq!(answer.version(), Version::HTTP_2);
    let mut by_two = Body::of(answer);
    let answer = get(&one, &url("/events/?channel=a")).await;
    assert_eq!(answer.version(), Version::HTTP_11);
    let mut by_one = Body::of(answer);
    publish(&one, &url("/publish/"), 1).await;
    by_two.until("id: a:1\ndata: 1\n\n").await;
    by_one.until("id: a:1\ndata: 1\n\n").await;

    let second = certify(folder.path());
    server.signal("-HUP");
    server.until_logged("were read again").await;
    let new = trusting(&second).build().expect("a client");
    let mut late = Body::of(get(&new, &url("/events/?channel=a&lastEventId=a:0")).await);
    late.until("id: a:1\ndata: 1\n\n").await;
    let fresh = trusting(&first).build().expect("a client");
    assert!(fresh.get(url("/health/live")).send().await.is_err(), "that was exchanged");
    // What was open goes on.
    publish(&new, &url("/publish/"), 2).await;
    by_two.until("id: a:2\n").await;
    by_one.until("id: a:2\n").await;

    // A key that does not belong to it is not taken over.
    let other = tempfile::tempdir().expect("a temporary folder");
    certify(other.path());
    std::fs::copy(other.path().join("key.pem"), path("key.pem")).expect("copied");
    server.signal("-HUP");
    until("a complaint", async || {
        let log = server.log();
        log.contains("all stays as it was") && log.contains("--tls-key")
    })
    .await;
    let again = trusting(&second).build().expect("a client");
    assert_eq!(get(&again, &url("/health/live")).await.status(), 200);
}

#[tokio::test]
async fn files_that_tls_cannot_use_end_the_start_with_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certify(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    for (flags, line) in [
        (vec!["--tls-cert", &cert], "--tls-key: --tls-cert needs it too"),
        (vec!["--tls-key", &key], "--tls-cert: --tls-key needs it too"),
        (vec!["--tls-cert", &key, "--tls-key", &key], "there is no certificate in this file"),
        (vec!["--tls-cert", &cert, "--tls-key", "/nonexistent"], "--tls-key: /nonexistent: "),
    ] {
        let output = crate::server::binary().args(&flags).output();
        let output = within("the server to give up", output).await.expect("it can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("error: ") && stderr.contains(line), "{flags:?}: {stderr}");
    }
}
