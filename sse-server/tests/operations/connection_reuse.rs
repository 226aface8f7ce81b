//! What comes before and after a stream on the connection that it is on.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::metrics::configured;
use super::reload::{CLOSED, OPEN, reload};
use crate::server::{Server, connect, until, within};

/// Settings by which nobody may read anything.
const NONE: &str = "[[access.rules]]\nchannel = \"none\"\nallow = \"public\"\n";

const HEALTH: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A connection, and what it has brought so far.
struct Connection {
    socket: TcpStream,
    seen: String,
}

impl Connection {
    async fn to(server: &Server) -> Self {
        Self { socket: connect(server.address).await, seen: String::new() }
    }

    async fn write(&mut self, text: &str) {
        within("it to read", self.socket.write_all(text.as_bytes())).await.expect("it reads");
    }

    async fn ask(&mut self, path: &str, headers: &str) {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await;
    }

    /// Everything up to and including this text.
    async fn until(&mut self, text: &str) -> String {
        let mut bytes = [0; 4096];
        within(text, async {
            loop {
                if let Some(at) = self.seen.find(text) {
                    let rest = self.seen.split_off(at + text.len());
                    return std::mem::replace(&mut self.seen, rest);
                }
                let read = self.socket.read(&mut bytes).await.expect("no cut");
                assert!(read > 0, "no {text:?} in {:?}", self.seen);
                self.seen += str::from_utf8(&bytes[..read]).expect("ASCII");
            }
        })
        .await
    }

    async fn opening(&mut self) {
        self.until("event: stream-open\ndata:\n\n").await;
    }
}

#[tokio::test]
async fn requests_before_during_and_after_a_stream_are_answered_in_their_turn() {
    let (server, folder) = configured(OPEN, &[]).await;
    let mut connection = Connection::to(&server).await;
    connection.ask("/health/live", "").await;
    connection.until("HTTP/1.1 200 OK\r\n").await;
    // The first half of the request after it comes together with it, the second while the stream
    // goes on.
    let (first, second) = HEALTH.split_at(20);
    let stream = "GET /events/?channel=secret HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.write(&format!("{stream}{first}")).await;
    connection.opening().await;
    server.publish(r#"{"channel":"secret","data":1}"#).await;
    connection.until("data: 1\n\n").await;
    connection.write(second).await;
    reload(&server, folder.path(), CLOSED, "were read again").await;
    let end = connection.until("HTTP/1.1 200 OK\r\n").await;
    assert!(end.contains("event: stream-error\n"), "{end}");
    assert!(end.ends_with("\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"), "{end}");
    connection.ask("/events/?channel=news", "").await;
    connection.opening().await;
    // Now both while it goes on.
    connection.write(HEALTH).await;
    reload(&server, folder.path(), NONE, "were read again").await;
    connection.until("\n\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n").await;
    until("no stream", async || server.metric("streams").await < 1.0).await;
}

#[tokio::test]
async fn a_stream_waits_until_all_that_was_asked_before_is_taken() {
    const PAGES: usize = 600;
    let server = Server::start(&[]).await;
    let mut connection = Connection::to(&server).await;
    let page = "GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n";
    // More than fits into the buffers between here and there.
    let (mut reading, mut writing) = connection.socket.into_split();
    let asking = tokio::spawn(async move {
        let mut all = page.repeat(PAGES);
        all += "GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        writing.write_all(all.as_bytes()).await.expect("it reads");
        writing
    });
    let mut seen = Vec::new();
    within("all of it", async {
        while !seen.ends_with(b"\nid: a:0\n\n\r\n") {
            let mut bytes = [0; 4096];
            let read = reading.read(&mut bytes).await.expect("no cut");
            assert!(read > 0, "it is cut");
            seen.extend_from_slice(&bytes[..read]);
        }
    })
    .await;
    let seen = String::from_utf8(seen).expect("UTF-8");
    assert_eq!(seen.matches("HTTP/1.1 200 OK\r\n").count(), PAGES + 1);
    assert_eq!(seen.matches("</html>").count(), PAGES);
    connection.socket = asking.await.expect("no panic").reunite(reading).expect("the same");
    server.publish(r#"{"channel":"a","data":1}"#).await;
    connection.until("data: 1\n\n").await;
}

#[tokio::test]
async fn a_reader_that_has_nothing_more_to_say_is_gone() {
    let server = Server::start(&[]).await;
    let mut connection = Connection::to(&server).await;
    connection.ask("/events/?channel=a", "").await;
    connection.opening().await;
    assert!(server.metric("streams").await >= 1.0);
    connection.socket.shutdown().await.expect("open");
    until("the stream is over", async || server.metric("streams").await < 1.0).await;
}

#[tokio::test]
async fn a_connection_that_is_to_close_is_closed_at_the_streams_end() {
    let (server, folder) = configured(OPEN, &[]).await;
    let mut connection = Connection::to(&server).await;
    connection.ask("/events/?channel=secret", "Connection: keep-alive, Close\r\n").await;
    let head = connection.until("\r\n\r\n").await;
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert_eq!(head.matches("\r\ndate: ").count(), 1, "{head}");
    connection.opening().await;
    reload(&server, folder.path(), CLOSED, "were read again").await;
    connection.until("\r\n0\r\n\r\n").await;
    let mut rest = Vec::new();
    within("the end", connection.socket.read_to_end(&mut rest)).await.expect("no cut");
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn who_has_no_more_to_ask_gets_the_answer() {
    let server = Server::start(&[]).await;
    server.fill("a", 3).await;
    for (path, end) in [
        ("/health/live", "{\"status\":\"ok\"}"),
        ("/nothing", "\"}"),
        ("/events/a/?lastEventId=a:0", "id: a:3\ndata: 3\n\n\r\n0\r\n\r\n"),
    ] {
        let mut socket = connect(server.address).await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        socket.shutdown().await.expect("open");
        let mut seen = Vec::new();
        within("the end", socket.read_to_end(&mut seen)).await.expect("no cut");
        let seen = String::from_utf8(seen).expect("UTF-8");
        assert!(seen.starts_with("HTTP/1.1 ") && seen.ends_with(end), "{path}: {seen:?}");
    }
}
