//! Event streams within other people's servers.

mod panics;
mod reading;
mod revoked;
mod runs;
mod streams;
mod view;

use std::net::SocketAddr;

use axum::Router;
use testkit::server::{Response, send};
use tokio::net::TcpListener;

/// Serves an application as any axum application is served, until the test ends.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n");
    send(address, request.as_bytes()).await
}
