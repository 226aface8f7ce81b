//! Many who come at once.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::port::Port;
use crate::server::{Response, Server, until, within};
use tokio::io::AsyncWriteExt;

/// More than the standard library lets wait, and fewer than this process may have open.
const COUNT: usize = 600;

/// Whether the system lets so many wait.
fn is_possible() -> bool {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    most.trim().parse().is_ok_and(|most: usize| most >= COUNT)
}

/// Connects while the server stands still, and asks when it goes on.
async fn storm(server: &Server, address: SocketAddr) {
    server.signal("-STOP");
    let mut waiting = Vec::new();
    for _ in 0..COUNT {
        // The system answers for the server, as long as there is a place.
        let socket = within("a place", TcpStream::connect(address)).await.expect("it listens");
        waiting.push(socket);
    }
    server.signal("-CONT");
    for mut socket in waiting {
        let request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.expect("it reads");
        assert_eq!(within("an answer", Response::read(socket)).await.status, 200);
    }
}

#[tokio::test]
async fn connections_that_come_all_at_once_find_a_place() {
    if !is_possible() {
        return;
    }
    let metrics = Port::reserve();
    let server = Server::start(&["--metrics-listen", &metrics.to_string()]).await;
    storm(&server, server.address).await;
    let metrics: SocketAddr = metrics.to_string().parse().expect("an address");
    until("it listens", async || TcpStream::connect(metrics).await.is_ok()).await;
    storm(&server, metrics).await;
}
