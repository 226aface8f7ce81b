//! The end: in good order, within a bound, or at once.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Response, Server, TOKEN, connect, until, within};

#[tokio::test]
async fn streams_are_told_different_times_to_come_back_after() {
    let mut server = Server::start(&["--reconnect-spread", "20s"]).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
        stream.opening().await;
        streams.push(stream);
    }
    server.signal("-TERM");
    let mut times = HashSet::new();
    for stream in &mut streams {
        let last = stream.body().await;
        let time = last.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let time: u64 = time.unwrap_or_else(|| panic!("{last:?}")).parse().expect("a number");
        assert!((250..=20_000).contains(&time));
        times.insert(time);
    }
    assert!(times.len() > 1, "all at the same time: {times:?}");
    assert!(server.wait().await.success());
}

#[tokio::test]
async fn what_was_published_before_the_end_still_reaches_its_readers() {
    for round in 0..5 {
        let mut server = Server::start(&[]).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            let mut stream = server.get("/events/?channel=a&channel=b", "").await;
            stream.opening().await;
            streams.push(stream);
        }
        // Those without an id are nowhere else. One of the last goes out in pieces.
        let event = |n: usize| json!({"channel": "a", "text": n.to_string(), "store": n > 75});
        let large = "x".repeat(if round < 2 { 10 } else { 100_000 });
        let large = json!({"channel": "b", "text": large, "store": false});
        let events: Vec<_> = (1..=150).map(event).chain([large]).collect();
        server.publish(&Value::from(events).to_string()).await;
        server.signal("-TERM");
        for stream in &mut streams {
            let seen = stream.body().await;
            let mut data: Vec<_> =
                seen.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            data.retain(|data| !data.starts_with('x'));
            assert_eq!(data.len(), 150, "{seen}");
            assert!(data.iter().zip(1..).all(|(data, n)| *data == n.to_string()), "{seen}");
            assert!(seen.contains("data: xxxxxxxxxx"), "{seen}");
            assert!(seen.contains("\n\nretry: ") && seen.ends_with("\n\n"), "{seen}");
        }
        assert!(server.wait().await.success());
    }
}

#[tokio::test]
async fn requests_under_way_are_finished_and_nobody_else_is_let_in() {
    let mut server = Server::start(&[]).await;
    let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    stream.opening().await;
    // One request whose body is still to come, one whose head is.
    let mut publisher = connect(server.address).await;
    let event = r#"{"channel":"a","data":1}"#;
    let head = format!(
        "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        event.len()
    );
    publisher.write_all(head.as_bytes()).await.expect("it reads");
    wants_body(&mut publisher).await;
    let mut health = connect(server.address).await;
    health.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n").await.expect("it reads");
    until("both are there", async || server.metric("connections").await >= 4.0).await;
    // And one that has not asked for anything, which nobody waits for.
    let idle = connect(server.address).await;
    server.signal("-TERM");
    stream.until("retry: ").await;
    until("it listens no more", async || TcpStream::connect(server.address).await.is_err()).await;
    health.write_all(b"\r\n").await.expect("it reads");
    let mut health = within("an answer", Response::read(health)).await;
    assert_eq!(health.status, 503);
    let body: Value = serde_json::from_str(&health.body().await).expect("JSON");
    assert_eq!(body["message"], "the server is shutting down");
    publisher.write_all(event.as_bytes()).await.expect("it reads");
    let mut answer = within("an answer", Response::read(publisher)).await;
    assert_eq!((answer.status, &*answer.body().await), (200, r#"{"id":"a:1"}"#));
    assert!(server.wait().await.success());
    drop(idle);
    server.restart().await;
    let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    stream.until("id: a:1\ndata: 1\n\n").await;
}

/// Waits until a request has been read up to its body.
async fn wants_body(socket: &mut TcpStream) {
    let mut go_on = [0; 25];
    within("the server to want the body", socket.read_exact(&mut go_on)).await.expect("it goes on");
}

/// A server with a request that never finishes.
async fn busy(flags: &[&str]) -> (Server, TcpStream) {
    let server = Server::start(flags).await;
    let mut socket = connect(server.address).await;
    let head = format!(
        "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("it reads");
    wants_body(&mut socket).await;
    (server, socket)
}

#[tokio::test]
async fn what_does_not_finish_within_the_drain_time_is_cut() {
    let (mut server, _socket) = busy(&["--drain-time", "300ms"]).await;
    server.signal("-TERM");
    assert!(server.wait().await.success());
    server.until_logged("did not finish within 300ms").await;
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let (mut server, _socket) = busy(&["--drain-time", "1h"]).await;
    server.signal("-TERM");
    server.until_logged("shutting down, within").await;
    server.signal("-INT");
    assert_eq!(server.wait().await.code(), Some(1));
    server.until_logged("ended at once by a second signal").await;
}

#[tokio::test]
async fn before_the_listener_closes_only_readiness_says_that_the_server_ends() {
    let mut server = Server::start(&["--drain-delay", "1h"]).await;
    let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    stream.opening().await;
    assert_eq!(server.get("/health/ready", "").await.status, 200);
    server.signal("-TERM");
    server.until_logged("shutting down in 3600s").await;
    let mut ready = server.get("/health/ready", "").await;
    assert_eq!((ready.status, ready.header("retry-after")), (503, Some("1")));
    assert!(ready.body().await.contains("the server is shutting down"));
    // Everything else goes on, for those who come now as well.
    assert_eq!(server.get("/health/live", "").await.status, 200);
    assert_eq!(server.publish(r#"{"channel":"a","data":1}"#).await["id"], "a:1");
    stream.until("id: a:1\ndata: 1\n\n").await;
    let mut late = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    late.until("id: a:1\ndata: 1\n\n").await;
    server.signal("-TERM");
    assert_eq!(server.wait().await.code(), Some(1), "a second signal ends it at once");
}

#[tokio::test]
async fn after_the_delay_it_ends_as_without_one() {
    for delay in ["0", "0s", "100ms"] {
        let mut server = Server::start(&["--drain-delay", delay]).await;
        let mut stream = server.get("/events/?channel=a&lastEventId=a:0", "").await;
        stream.opening().await;
        server.signal("-TERM");
        assert!(stream.body().await.starts_with("retry: "), "{delay}");
        assert!(server.wait().await.success(), "{delay}");
    }
}
