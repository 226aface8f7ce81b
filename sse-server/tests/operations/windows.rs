//! Readers over HTTP/2 that give little room or none, and connections that ask for nothing.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::server::{Server, until, within};

/// A connection on which each answer may have so many bytes before they are asked for.
struct Connection {
    requests: SendRequest<Bytes>,
    address: SocketAddr,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn to(server: &Server, window: u32) -> Self {
        let socket = TcpStream::connect(server.address).await.expect("it listens");
        let mut builder = Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(1 << 20);
        let (requests, connection) = builder.handshake(socket).await.expect("HTTP/2");
        Self { requests, address: server.address, ended: tokio::spawn(connection) }
    }

    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> RecvStream {
        let url = format!("http://{}{path}", self.address);
        let request = headers
            .iter()
            .fold(http::Request::get(url), |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("a request");
        within("an answer", async {
            poll_fn(|cx| self.requests.poll_ready(cx)).await.expect("open");
            let (answer, _) = self.requests.send_request(request, true).expect("open");
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.into_body()
        })
        .await
    }

    /// A stream of which the first bytes have come.
    async fn stream(&mut self, path: &str, headers: &[(&str, &str)]) -> RecvStream {
        let mut stream = self.get(path, headers).await;
        let first = within("the first bytes", stream.data()).await.expect("no end");
        assert!(!first.expect("no reset").is_empty());
        stream
    }
}

async fn fill(server: &Server, count: usize, len: usize) {
    let text = "x".repeat(len);
    for batch in (0..count).collect::<Vec<_>>().chunks(50) {
        let events: Vec<Value> =
            batch.iter().map(|_| json!({"channel": "big", "text": text})).collect();
        server.publish(&Value::from(events).to_string()).await;
    }
}

const BIG: &str = "/events/?channel=big&lastEventId=big:0";

/// What so many readers cost that take a byte each, in kilobytes for each.
#[cfg(target_os = "linux")]
async fn cost(readers: u32, count: usize, len: usize) -> u64 {
    let server = Server::start(&["--write-timeout", "1h"]).await;
    fill(&server, count, len).await;
    // What a server has only once is no part of it.
    let mut first = Connection::to(&server, 1).await;
    let kept = first.stream(BIG, &[]).await;
    let before = crate::slow::memory(&server, "VmRSS");
    let (mut held, mut connections) = (Vec::new(), Vec::new());
    for _ in (0..readers).step_by(200) {
        let mut connection = Connection::to(&server, 1).await;
        for _ in 0..200 {
            held.push(connection.stream(BIG, &[]).await);
        }
        connections.push(connection);
    }
    let grown = crate::slow::memory(&server, "VmRSS").saturating_sub(before);
    assert!(server.metric("streams").await > f64::from(readers), "all are there");
    let each = grown / u64::from(readers);
    drop((held, kept, connections));
    each
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_window_of_one_byte_bounds_what_a_stream_costs() {
    for (readers, count, len) in [(600, 100, 10_000), (200, 20, 200_000), (200, 4, 1_000_000)] {
        let each = cost(readers, count, len).await;
        println!("{each} kB a stream, with events of {len} bytes");
        assert!(each < 64, "{each} kB a stream, with events of {len} bytes");
    }
}

#[tokio::test]
async fn a_stream_of_which_nothing_is_taken_is_ended_and_its_neighbours_are_not() {
    let flags = ["--write-timeout", "1s", "--keep-alive", "200ms", "--compression", "gzip"];
    let server = Server::start(&flags).await;
    fill(&server, 20, 10_000).await;
    let mut connections = Vec::new();
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut narrow = Connection::to(&server, 1).await;
        for headers in [&[][..], &[("accept-encoding", "gzip")]] {
            for _ in 0..50 {
                stalled.push(narrow.stream(BIG, headers).await);
            }
        }
        connections.push(narrow);
    }
    until("all are ended", async || server.metric("streams").await < 1.0).await;
    assert!((server.metric("slow_consumers_closed_total").await - 600.0).abs() < 0.5);
    for stream in &mut stalled {
        let reset = within("a reset", stream.data()).await.expect("no proper end");
        assert_eq!(reset.expect_err("a reset").reason(), Some(h2::Reason::CANCEL));
    }
    let mut narrow = connections.pop().expect("six");
    // The connection lives, and who takes what comes is not ended on it.
    let mut stream = narrow.get("/events/?channel=small&lastEventId=small:0", &[]).await;
    let mut seen = Vec::new();
    within("keep-alives", async {
        while String::from_utf8_lossy(&seen).matches("keep-alive").count() < 15 {
            let data = stream.data().await.expect("no end").expect("no reset");
            stream.flow_control().release_capacity(data.len()).expect("open");
            seen.extend_from_slice(&data);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_is_read_again_in_time_hears_why_it_ends() {
    let flags = ["--write-timeout", "300ms", "--log", "info,sse_server=debug"];
    let server = Server::start(&flags).await;
    fill(&server, 100, 10_000).await;
    let mut connection = Connection::to(&server, 1000).await;
    let mut stream = connection.stream(BIG, &[]).await;
    server.until_logged("takes nothing of a stream").await;
    let mut seen = Vec::new();
    stream.flow_control().release_capacity(1000).expect("open");
    within("the end", async {
        while let Some(data) = stream.data().await {
            let data = data.expect("no reset");
            stream.flow_control().release_capacity(data.len()).expect("open");
            seen.extend_from_slice(&data);
        }
    })
    .await;
    let seen = String::from_utf8(seen).expect("UTF-8");
    let end = "\n\n:nothing could be written for too long (--write-timeout)\n\n";
    assert!(seen.ends_with(end), "{}", &seen[seen.len().saturating_sub(200)..]);
    assert!(!seen.contains("stream-error") && !seen.contains("id: big:100\n"));
}

#[tokio::test]
async fn connections_that_ask_for_nothing_are_ended() {
    let server = Server::start(&["--head-timeout", "500ms"]).await;
    let never = Connection::to(&server, 1 << 16).await;
    let mut once = Connection::to(&server, 1 << 16).await;
    let mut answer = once.get("/health/live", &[]).await;
    within("a body", answer.data()).await.expect("a body").expect("no reset");
    let mut busy = Connection::to(&server, 1 << 16).await;
    let stream = busy.stream("/events/?channel=a", &[]).await;
    // GOAWAY, not a cut.
    for Connection { ended, requests, .. } in [never, once] {
        within("the end", ended).await.expect("no panic").expect("in good order");
        drop(requests);
    }
    drop(busy.get("/health/live", &[]).await);
    drop(stream);
    within("the end", busy.ended).await.expect("no panic").expect("in good order");
}
