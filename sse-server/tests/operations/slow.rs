//! Readers that do not read.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, connect, until, within};

/// Asks for a stream and does not read it.
async fn stalled(server: &Server, query: &str) -> TcpStream {
    let mut socket = connect(server.address).await;
    let request = format!("GET /events/?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("it reads");
    socket
}

/// Everything that is still to be read, chunks and all.
async fn left(socket: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    // Cut off or not.
    within("the rest", socket.read_to_end(&mut seen)).await.ok();
    String::from_utf8(seen).expect("UTF-8")
}

/// Publishes so many events of about a kilobyte each.
async fn firehose(server: &Server, count: usize) {
    let text = "x".repeat(1000);
    for _ in 0..count / 500 {
        let batch: Vec<Value> =
            (0..500).map(|_| json!({"channel": "fast", "text": text})).collect();
        server.publish(&Value::from(batch).to_string()).await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_closed_and_can_resume() {
    let server = Server::start(&["--write-timeout", "500ms", "--keep-alive", "100ms"]).await;
    let mut healthy = server.get("/events/?channel=slow", "").await;
    healthy.opening().await;
    let mut socket = stalled(&server, "channel=fast").await;
    until("the stream", async || server.metric("streams").await >= 2.0).await;
    firehose(&server, 10_000).await;
    until("it is closed", async || server.metric("slow_consumers_closed_total").await >= 1.0).await;
    until("its place is free", async || server.metric("streams").await <= 1.0).await;
    // What it has of the stream it can resume from.
    let seen = left(&mut socket).await;
    let complete = seen.rsplit_once("\n\n").map_or("", |(complete, _)| complete);
    let last = complete.rsplit_once("id: fast:").map_or("0", |(_, rest)| rest);
    let last: u64 = last.lines().next().unwrap_or_default().trim().parse().expect("a number");
    assert!(last < 10_000, "it was too fast");
    let mut again = server.get(&format!("/events/?channel=fast&lastEventId=fast:{last}"), "").await;
    again.opening().await;
    let rest = again.until("id: fast:10000\n").await;
    assert!(rest.starts_with(&format!("event: message\nid: fast:{}\n", last + 1)));
    assert!(!rest.contains("stream-reset"));
    // Others have not noticed, however little they got.
    server.publish(r#"{"channel":"slow","data":1}"#).await;
    healthy.until("id: slow:1\n").await;
    assert!(server.metric("slow_consumers_closed_total").await < 2.0);
}

#[tokio::test]
async fn whoever_wakes_up_in_time_hears_why_and_gets_no_final_error() {
    let flags = ["--write-timeout", "300ms", "--log", "info,sse_server=debug"];
    let server = Server::start(&flags).await;
    let mut socket = stalled(&server, "channel=fast").await;
    until("the stream", async || server.metric("streams").await >= 1.0).await;
    firehose(&server, 10_000).await;
    server.until_logged("takes nothing of what is written").await;
    let mut seen = Vec::new();
    within("the end", async {
        while !seen.ends_with(b"\r\n0\r\n\r\n") {
            socket.read_buf(&mut seen).await.expect("no cut");
        }
    })
    .await;
    let seen = String::from_utf8(seen).expect("UTF-8");
    let end = "\r\n:nothing could be written for too long (--write-timeout)\n\n\r\n0\r\n\r\n";
    assert!(seen.ends_with(end), "{}", &seen[seen.len().saturating_sub(200)..]);
    assert!(!seen.contains("stream-error"));
    until("it is counted", async || {
        let closed = server.metric("slow_consumers_closed_total").await;
        assert!(closed <= 1.0);
        closed >= 1.0
    })
    .await;
}

/// A line of `/proc/PID/status`, in kilobytes.
#[cfg(target_os = "linux")]
pub(crate) fn memory(server: &Server, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id()));
    let status = status.expect("readable");
    let size = status.lines().find_map(|status| status.strip_prefix(line)).expect("a line");
    size.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_hundred_readers_that_stand_still_do_not_make_the_server_grow() {
    const READERS: usize = 100;
    const EVENTS: usize = 40_000;
    // 40 MB of events. Each reader may hold a buffer and a page, and none a tenth of what it
    // misses.
    const BOUND: u64 = 100 << 10;
    let server = Server::start(&["--write-timeout", "1h"]).await;
    let mut sockets = Vec::new();
    for _ in 0..READERS {
        sockets.push(stalled(&server, "channel=fast").await);
    }
    until("the streams", async || server.metric("streams").await >= 100.0).await;
    let mut reader = server.get("/events/?channel=fast", "").await;
    reader.opening().await;
    let before = memory(&server, "VmRSS");
    let reading = tokio::spawn(async move {
        let mut last = 0;
        while last < EVENTS {
            let seen = reader.until("\n\n").await;
            assert!(!seen.contains("stream-reset"));
            let id = seen.lines().find_map(|line| line.strip_prefix("id: fast:"));
            last = id.map_or(last, |id| id.parse().expect("a number"));
        }
    });
    firehose(&server, EVENTS).await;
    reading.await.expect("it got all");
    let grown = memory(&server, "VmHWM").saturating_sub(before);
    println!("grown by {grown} kB");
    assert!(grown < BOUND, "the server has grown by {grown} kB");
    assert!(server.metric("streams").await >= 100.0, "all are still there");
}
