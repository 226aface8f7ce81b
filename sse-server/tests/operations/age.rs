//! The longest age of a stream, on every protocol, and what a stream says to those between.

use std::collections::HashSet;
use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sse_server::http::Operations;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Response, Server, connect, within};

const END: &str = ":the stream has reached its longest age (--max-stream-age); connect again\n\n";

#[tokio::test]
async fn over_http1_a_stream_ends_with_a_comment_and_its_connection_with_it() {
    let server = Server::start(&["--max-stream-age", "300ms"]).await;
    server.publish(r#"{"channel":"a","data":1}"#).await;
    for version in ["1.1", "1.0"] {
        let mut socket = connect(server.address).await;
        let request = format!(
            "GET /events/?channel=a&lastEventId=a:0 HTTP/{version}\r\nHost: localhost\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut all = String::new();
        within("the end", socket.read_to_string(&mut all)).await.expect("no failure");
        let (head, body) = all.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 ") || head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(body.contains("id: a:1\ndata: 1\n\n") && body.contains(END), "{body}");
        if version == "1.1" {
            assert_eq!(head.matches("connection: close").count(), 1, "{head}");
            assert!(body.ends_with("\r\n0\r\n\r\n"), "the last chunk: {body}");
        }
    }
    // Without the setting there is neither.
    let server = Server::start(&[]).await;
    let stream = server.get("/events/?channel=a", "").await;
    assert_eq!(stream.header("connection"), None);
}

#[tokio::test]
async fn over_http2_the_connection_ends_when_nothing_else_is_under_way_on_it() {
    let server = Server::start(&["--max-stream-age", "300ms"]).await;
    let socket = TcpStream::connect(server.address).await.expect("it listens");
    let (mut requests, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let ended = tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let url = format!("http://{}/events/?channel=a", server.address);
        let request = http::Request::get(url).body(()).expect("a request");
        poll_fn(|cx| requests.poll_ready(cx)).await.expect("open");
        let (answer, _) = requests.send_request(request, true).expect("open");
        let answer = within("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("connection"));
        bodies.push(answer.into_body());
    }
    for mut body in bodies {
        let mut all = Vec::<Bytes>::new();
        while let Some(data) = within("the end", body.data()).await {
            all.push(data.expect("no reset"));
        }
        let all = String::from_utf8(all.concat()).expect("UTF-8");
        assert!(all.ends_with(END), "{all}");
    }
    drop(requests);
    within("the connection to end", ended).await.expect("no panic").expect("by GOAWAY");
}

#[tokio::test]
async fn compressed_streams_end_so_too_and_left_out_events_are_not_looked_for_again() {
    let server = Server::start(&["--max-stream-age", "300ms", "--compression", "zstd,gzip"]).await;
    for coding in ["gzip", "zstd"] {
        let mut socket = connect(server.address).await;
        let request = format!(
            "GET /events/?channel=a&lastEventId=a:0&messages_types=rare HTTP/1.0\r\n\
             Accept-Encoding: {coding}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("a head", socket.read_u8()).await.expect("a head"));
        }
        server.publish(r#"{"channel":"a","data":1}"#).await;
        let mut body = Vec::new();
        within("the end", socket.read_to_end(&mut body)).await.expect("no failure");
        let mut all = String::new();
        match coding {
            "gzip" => {
                let mut decoder = flate2::read::MultiGzDecoder::new(&*body);
                std::io::Read::read_to_string(&mut decoder, &mut all).expect("whole");
            }
            _ => all = String::from_utf8(zstd::decode_all(&*body).expect("whole")).expect("UTF-8"),
        }
        assert!(all.contains("id: a:") && all.ends_with(END) && !all.contains("data: 1"), "{all}");
    }
}

#[tokio::test]
async fn no_event_is_cut() {
    let server = Server::start(&["--max-stream-age", "200ms", "--write-timeout", "1h"]).await;
    let text = "x".repeat(1 << 20);
    server.publish(&json!({"channel": "big", "text": &text[..(1 << 20) - 100]}).to_string()).await;
    // So much that it waits for its reader within the event.
    for _ in 0..15 {
        let more = json!({"channel": "big", "text": &text[..(1 << 20) - 100]}).to_string();
        server.publish(&more).await;
    }
    let mut slow = server.get("/events/?channel=big&lastEventId=big:0", "").await;
    // Two that begin one after the other have lasted longer than one may.
    for _ in 0..2 {
        let mut other = server.get("/events/?channel=a&lastEventId=a:0", "").await;
        assert!(other.body().await.ends_with(END));
    }
    let body = slow.body().await;
    assert!(body.ends_with(END), "{}", &body[body.len() - 200..]);
    let blocks: Vec<&str> =
        body.split("\n\n").filter(|it| it.starts_with("event: message")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert_eq!(block.matches('x').count(), (1 << 20) - 100, "{}", &block[..100]);
    }
}

#[tokio::test]
async fn streams_that_are_opened_together_do_not_end_together() {
    let age = Duration::from_secs(1000);
    let operations = Operations::default().max_stream_age(Some(age));
    let ages: HashSet<_> = (0..100).filter_map(|_| operations.stream_age()).collect();
    assert!(ages.len() > 90);
    assert!(ages.iter().all(|age| (900..=1100).contains(&age.as_secs())), "{ages:?}");
    assert_eq!(Operations::default().stream_age(), None);
}

#[tokio::test]
async fn streams_ask_those_between_to_pass_them_on_as_they_come() {
    let server = Server::start(&["--compression", "gzip"]).await;
    let incremental = |answer: &Response| answer.header("incremental").map(str::to_owned);
    for headers in ["", "Accept-Encoding: gzip\r\n"] {
        let stream = server.get("/events/a/", headers).await;
        assert_eq!(incremental(&stream).as_deref(), Some("?1"), "{headers}");
    }
    let error = server.get("/events/", "").await;
    assert_eq!(incremental(&error).as_deref(), Some("?1"), "a stream-error is a stream");
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let url = server.url("/events/a/");
    let stream = within("an answer", client.get(url).send()).await.expect("an answer");
    assert_eq!(stream.headers()["incremental"], "?1");
    for (path, headers) in [("/events/", "Accept: text/html\r\n"), ("/health/live", "")] {
        assert_eq!(incremental(&server.get(path, headers).await), None, "{path}");
    }
}
