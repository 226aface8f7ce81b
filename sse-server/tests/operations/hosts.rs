//! By which names a server may be asked on which everyone may read.

use reqwest::{Client, header};

use super::metrics::configured;
use crate::server::{Response, Server, send, within};

async fn ask(server: &Server, path: &str, host: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    send(server.address, request.as_bytes()).await
}

const PAGE: &str = "Accept: text/html\r\n";
const PLACES: [(&str, &str); 5] = [
    ("/events/?channel=a", ""),
    ("/events/a/", ""),
    ("/events/", PAGE),
    ("/", ""),
    ("/metrics", ""),
];

#[tokio::test]
async fn a_page_whose_name_leads_to_this_machine_reads_nothing() {
    let server = Server::start(&[]).await;
    for (path, headers) in PLACES {
        for host in ["evil.example:8080", "localhost.evil.example", "10.0.0.5", ""] {
            let mut answer = ask(&server, path, host, headers).await;
            assert_eq!(answer.status, 421, "{path} at {host:?}");
            let text = answer.body().await;
            assert!(text.contains("\"unknown-host\"") && text.contains("--hosts"), "{text}");
        }
        for host in ["localhost:8080", "LOCALHOST", "app.localhost", "127.0.0.1:1", "[::1]:8080"] {
            let answer = ask(&server, path, host, headers).await;
            assert!(matches!(answer.status, 200 | 307), "{path} at {host}: {}", answer.status);
        }
    }
    // Two names are none, and a name in the request line counts for that of the header.
    let twice = "GET /events/a/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n";
    assert_eq!(server.send(twice.as_bytes()).await.status, 421);
    let absolute = "GET http://evil.example/events/a/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(server.send(absolute.as_bytes()).await.status, 421);
    // Who has the token needs no name, and health is for everyone.
    let token = format!("Authorization: Bearer {}\r\n", crate::server::TOKEN);
    assert_eq!(ask(&server, "/metrics", "evil.example", &token).await.status, 200);
    assert_eq!(ask(&server, "/health/ready", "evil.example", "").await.status, 200);
}

#[tokio::test]
async fn over_http2_the_authority_is_the_name() {
    let server = Server::start(&[]).await;
    let client = Client::builder()
        .http2_prior_knowledge()
        .resolve("evil.example", server.address)
        .build()
        .expect("a client");
    let port = server.address.port();
    for (host, status) in [("evil.example", 421), ("127.0.0.1", 200)] {
        let url = format!("http://{host}:{port}/metrics");
        let answer = within("an answer", client.get(url).send()).await.expect("an answer");
        assert_eq!(answer.status(), status, "{host}");
        assert!(answer.headers().contains_key(header::DATE));
    }
}

#[tokio::test]
async fn names_of_the_settings_are_known_and_rules_make_names_needless() {
    let server = Server::start(&["--hosts", "sse.example.com, 10.0.0.5"]).await;
    for (path, headers) in PLACES {
        for host in ["SSE.example.com", "sse.example.com.:8080", "10.0.0.5:80", "localhost"] {
            let answer = ask(&server, path, host, headers).await;
            assert!(matches!(answer.status, 200 | 307), "{path} at {host}: {}", answer.status);
        }
        assert_eq!(ask(&server, path, "example.com", headers).await.status, 421, "{path}");
    }
    let rules = "[[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n";
    let (server, _folder) = configured(rules, &[]).await;
    for (path, headers) in &PLACES[..4] {
        let answer = ask(&server, path, "any.example", headers).await;
        assert!(matches!(answer.status, 200 | 307), "{path}: {}", answer.status);
    }
    assert_eq!(ask(&server, "/metrics", "any.example", "").await.status, 421);
    let output = crate::server::binary().args(["--hosts", "https://sse.example.com"]).output();
    let output = within("the server to give up", output).await.expect("it can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--hosts") && stderr.contains("is no name"), "{stderr}");
}
