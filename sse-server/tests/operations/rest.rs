//! Streams that have nothing to write, and leave their tasks.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::metrics::configured;
use super::reload::OPEN;
use crate::server::{Server, TOKEN, connect, until, within};

/// Reads from a socket up to and including this text.
async fn read_until(socket: &mut tokio::net::TcpStream, text: &str) -> String {
    within(text, async {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            seen.push(socket.read_u8().await.expect("no cut"));
        }
        String::from_utf8(seen).expect("text")
    })
    .await
}

async fn open(server: &Server, query: &str) -> tokio::net::TcpStream {
    let mut socket = connect(server.address).await;
    let asked = format!("GET /events/?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    socket.write_all(asked.as_bytes()).await.expect("it reads");
    read_until(&mut socket, "event: stream-open\ndata:\n\n").await;
    socket
}

#[tokio::test]
async fn a_client_that_sends_nothing_any_more_gets_the_end_and_all_that_came_before() {
    let server = Server::start(&[]).await;
    let mut socket = open(&server, "channel=a").await;
    server.publish(r#"{"channel":"a","text":"x"}"#).await;
    read_until(&mut socket, "data: x\n\n\r\n").await;
    socket.shutdown().await.expect("it can");
    let mut rest = String::new();
    within("the end", socket.read_to_string(&mut rest)).await.expect("no cut");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
    until("it is gone", async || server.metric("streams").await < 1.0).await;
    until("so is its connection", async || server.metric("connections").await < 2.0).await;
}

#[tokio::test]
async fn readers_are_counted_while_they_rest_and_each_gets_each_event_once() {
    let (server, _folder) = configured(OPEN, &[]).await;
    let mut readers = Vec::new();
    for number in 0..60 {
        let query = if number % 3 == 0 { "channel=a&channel=b" } else { "channel=a" };
        readers.push((number % 3 == 0, open(&server, query).await));
    }
    let present = async |channel: &str| {
        let asked = format!("Authorization: Bearer {TOKEN}\r\n");
        let body = server.get("/channels/", &asked).await.body().await;
        let channels: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let text = channels.to_string();
        (text.contains(&format!("\"{channel}\"")), text)
    };
    let (is_there, text) = present("a").await;
    assert!(is_there && text.contains("60") && text.contains("20"), "{text}");
    for (event, channel) in ["a", "b", "a"].iter().zip(["a", "b", "a"]) {
        server.publish(&format!(r#"{{"channel":"{channel}","text":"{event}"}}"#)).await;
    }
    for (has_both, socket) in &mut readers {
        let seen = read_until(socket, if *has_both { "id: a:2,b:1\n" } else { "id: a:2\n" }).await;
        let count = seen.matches("event: message\n").count();
        assert_eq!(count, if *has_both { 3 } else { 2 }, "{seen}");
    }
    drop(readers);
    until("nobody is there", async || !present("a").await.0).await;
    until("no stream is", async || server.metric("streams").await < 1.0).await;
}

#[tokio::test]
async fn a_reader_at_rest_is_told_where_it_is_before_it_is_kept_alive() {
    let server = Server::start(&["--keep-alive", "300ms"]).await;
    let mut socket = open(&server, "channel=a&messages_types=wanted").await;
    read_until(&mut socket, "event: keep-alive\ndata:\n\n\r\n").await;
    server.publish(r#"{"channel":"a","event":"other","text":"x"}"#).await;
    let seen = read_until(&mut socket, "id: a:1\n\n\r\n").await;
    assert!(!seen.contains("data: x"), "{seen}");
    let seen = read_until(&mut socket, "event: keep-alive\ndata:\n\n\r\n").await;
    assert!(!seen.contains("id: "), "told once, right before: {seen}");
    let seen = read_until(&mut socket, "event: keep-alive\ndata:\n\n\r\n").await;
    assert!(!seen.contains("id: "), "{seen}");
    server.publish(r#"{"channel":"a","event":"wanted","text":"y"}"#).await;
    read_until(&mut socket, "id: a:2\ndata: y\n\n\r\n").await;
}
