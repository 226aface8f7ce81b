//! What the backend that is asked learns of the request itself.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use server::Server;
use sse_server::http;
use sse_server::hub::Hub;
use sse_server::storage::NoStorage;
use testkit::{access, server};
use tokio::net::TcpListener;

/// Lets everyone in, and remembers the headers of the last question.
type Backend = Mutex<HeaderMap>;

const SESSION: &str = "Cookie: session=x\r\n";

/// Serves the backend, and returns where.
async fn serve(backend: &Arc<Backend>) -> String {
    let answer = async |State(backend): State<Arc<Backend>>, headers: HeaderMap| {
        *backend.lock().expect("no panic") = headers;
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/auth/", get(answer)).with_state(backend.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        let hub = Hub::new(Arc::new(NoStorage::new()));
        http::serve(listener, router, &hub, std::future::pending()).await;
    });
    address
}

async fn with(address: &str, more: &str) -> (Server, tempfile::TempDir) {
    with_flags(address, more, &[]).await
}

async fn with_flags(address: &str, more: &str, flags: &[&str]) -> (Server, tempfile::TempDir) {
    let toml = format!(
        "[[access.rules]]\nchannel = \"*\"\nallow = \"backend\"\n\
         [access.forward-auth]\nurl = \"http://{address}/auth/\"\n{more}\n"
    );
    access::configured_with(&toml, flags).await
}

#[tokio::test]
async fn the_backend_is_told_of_the_request_and_not_what_its_sender_claims() {
    let backend = Arc::new(Backend::default());
    let port = serve(&backend).await;
    let claims = "X-Forwarded-Method: DELETE\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: claimed.example\r\nX-Forwarded-Uri: /claimed\r\n\
                  X-Forwarded-For: 192.0.2.7\r\n";
    let path = "/events/?channel=room-1&x=a%20b,c";
    let names = ["x-forwarded-method", "proto", "host", "uri", "for"];
    let told = |backend: &Backend| {
        let headers = backend.lock().expect("no panic");
        names.map(|name| {
            let name = format!("x-forwarded-{}", name.trim_start_matches("x-forwarded-"));
            let values: Vec<_> = headers.get_all(&name).iter().collect();
            values.iter().map(|it| it.to_str().expect("ASCII")).collect::<Vec<_>>().join("; ")
        })
    };
    let list = "headers = [\"cookie\", \"x-forwarded-for\", \"x-forwarded-host\"]";
    for more in ["", list] {
        let (server, _folder) = with(&port, more).await;
        for headers in ["", claims] {
            let headers = format!("{SESSION}{headers}");
            server.get(path, &headers).await.opening().await;
            let expected = ["GET", "http", "localhost", path, "127.0.0.1"];
            assert_eq!(told(&backend), expected, "{headers} with {more:?}");
        }
    }
    // A proxy that is trusted is believed, but for the method, which it passes on as it is.
    let (server, _folder) = with_flags(&port, "", &["--trusted-proxies", "127.0.0.1"]).await;
    let headers = format!("{SESSION}{claims}");
    server.get(path, &headers).await.opening().await;
    let expected = ["GET", "https", "claimed.example", "/claimed", "192.0.2.7"];
    assert_eq!(told(&backend), expected);
    // Of several values the nearest proxy has written the last one; nonsense is left out.
    let headers = format!(
        "{SESSION}X-Forwarded-Proto: https, gopher\r\nX-Forwarded-Host: evil.example, site.example\r\n\
         X-Forwarded-Uri: nowhere\r\n"
    );
    server.get(path, &headers).await.opening().await;
    let expected = ["GET", "http", "site.example", path, "127.0.0.1"];
    assert_eq!(told(&backend), expected);
    // Who does not want to be told gets none of them, from nobody.
    let (server, _folder) = with(&port, &format!("forwarded = false\n{list}")).await;
    server.get(path, &format!("{SESSION}{claims}")).await.opening().await;
    assert_eq!(told(&backend), ["", "", "", "", ""]);
}
