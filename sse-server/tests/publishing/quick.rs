//! Requests of publishers are read and answered without a router; nobody can tell.

use std::collections::BTreeSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Response, Server, TOKEN, connect, within};

/// A header that a publisher has no reason to send: the request goes the long way.
const LONG_WAY: &str = "TE: trailers\r\n";

fn request(headers: &str, body: &str) -> String {
    format!(
        "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn write(socket: &mut TcpStream, bytes: &[u8]) {
    within("it to read", socket.write_all(bytes)).await.expect("it reads");
}

/// The next answer on a connection on which more follow.
async fn answer(socket: &mut TcpStream) -> (String, String) {
    within("an answer", async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("an ASCII head");
        let len = head.to_ascii_lowercase();
        let (_, len) = len.split_once("content-length: ").expect("a length");
        let len: usize = len.split_once('\r').expect("a line").0.parse().expect("a number");
        let mut body = vec![0; len];
        socket.read_exact(&mut body).await.expect("a whole body");
        (head, String::from_utf8(body).expect("text"))
    })
    .await
}

/// What is the same in two answers: everything but the date.
fn lines(head: &str) -> BTreeSet<&str> {
    head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date: ")).collect()
}

#[tokio::test]
async fn an_answer_is_the_same_on_the_short_way_and_on_the_long_one() {
    let server = Server::start(&["--max-event-size", "1000"]).await;
    let long = "x".repeat(2000);
    let bodies = [
        r#"{"channel":"CHANNEL","data":{"é":[1,2.50]}}"#.to_owned(),
        r#"{"channel":"CHANNEL","text":"a\nb","event":"t","skip_users":["u",7]}"#.to_owned(),
        r#"{"channel":"CHANNEL","text":"x","store":false}"#.to_owned(),
        r#"[{"channel":"CHANNEL","text":"1"},{"channel":"b","text":"2"}]"#.to_owned(),
        "\u{feff}{\"channel\":\"CHANNEL\",\"data\":1}".to_owned(),
        "[]".to_owned(),
        String::new(),
        "{".to_owned(),
        r#"{"channel":"","data":1}"#.to_owned(),
        r#"{"channel":"a","data":1,"event":"stream-reset"}"#.to_owned(),
        r#"[{"channel":"a","data":1},{"channel":"a"}]"#.to_owned(),
        format!(r#"{{"channel":"a","text":"{long}"}}"#),
    ];
    for body in bodies {
        let mut answers = Vec::new();
        for (channel, headers) in [("c d", ""), ("c,d", LONG_WAY)] {
            let mut socket = connect(server.address).await;
            let body = body.replace("CHANNEL", channel);
            write(&mut socket, request(headers, &body).as_bytes()).await;
            let (head, body) = answer(&mut socket).await;
            answers.push((head, body.replace("c%20d", "C").replace("c%2Cd", "C")));
        }
        let [(short, of_short), (long, of_long)] = &answers[..] else { panic!("two") };
        let number = |body: &str| body.replace("\"b:1\"", "b").replace("\"b:2\"", "b");
        assert_eq!(number(of_short), number(of_long), "{body}");
        assert_eq!(lines(short), lines(long), "{body}");
    }
}

#[tokio::test]
async fn requests_can_come_in_any_pieces_and_several_at_once() {
    let server = Server::start(&[]).await;
    let mut socket = connect(server.address).await;
    let one = request("Connection: keep-alive\r\n", r#"{"channel":"a","text":"x"}"#);
    // All of these are published before the last is answered.
    write(&mut socket, one.repeat(3).as_bytes()).await;
    for id in 1..=3 {
        assert_eq!(answer(&mut socket).await.1, format!(r#"{{"id":"a:{id}"}}"#));
    }
    for end in 1..one.len() {
        write(&mut socket, &one.as_bytes()[..end]).await;
        tokio::task::yield_now().await;
        write(&mut socket, &one.as_bytes()[end..]).await;
        assert_eq!(answer(&mut socket).await.1, format!(r#"{{"id":"a:{}"}}"#, 3 + end));
    }
    let large = format!(r#"{{"channel":"b","text":"{}"}}"#, "y".repeat(1_000_000));
    write(&mut socket, request("", &large).as_bytes()).await;
    assert_eq!(answer(&mut socket).await.1, r#"{"id":"b:1"}"#);
    let mut reader = server.get("/events/?channel=a&lastEventId=a:0", "").await;
    reader.until(&format!("id: a:{}\n", one.len() + 2)).await;
}

#[tokio::test]
async fn a_connection_can_go_on_to_other_requests_and_back() {
    let server = Server::start(&[]).await;
    let mut socket = connect(server.address).await;
    let one = request("", r#"{"channel":"a","text":"x"}"#);
    let lines = "{\"channel\":\"a\",\"text\":\"1\"}\n{\"channel\":\"a\",\"text\":\"2\"}\n";
    write(&mut socket, one.as_bytes()).await;
    assert_eq!(answer(&mut socket).await.1, r#"{"id":"a:1"}"#);
    for (asked, status) in [
        ("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "200"),
        (one.replace(TOKEN, "wrong"), "401"),
        (one.replace("/publish/", "/elsewhere/"), "404"),
        (one.clone(), "200"),
    ] {
        write(&mut socket, asked.as_bytes()).await;
        let (head, body) = answer(&mut socket).await;
        assert_eq!(&head[9..12], status, "{asked}{body}");
    }
    let mut socket = connect(server.address).await;
    write(&mut socket, one.as_bytes()).await;
    assert_eq!(answer(&mut socket).await.1, r#"{"id":"a:3"}"#);
    let asked = request("Content-Type: application/x-ndjson\r\nConnection: close\r\n", lines);
    write(&mut socket, asked.as_bytes()).await;
    let mut response = Response::read(socket).await;
    assert!(response.body().await.contains(r#""a:5""#));
    // A stream comes after it on the same connection, and rests there.
    let mut socket = connect(server.address).await;
    write(&mut socket, one.as_bytes()).await;
    assert_eq!(answer(&mut socket).await.1, r#"{"id":"a:6"}"#);
    let asked = "GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    write(&mut socket, asked.as_bytes()).await;
    let mut stream = Response::read(socket).await;
    stream.opening().await;
    let mut publisher = connect(server.address).await;
    write(&mut publisher, one.as_bytes()).await;
    stream.until("id: a:7\ndata: x\n\n").await;
}

#[tokio::test]
async fn what_is_not_whole_is_not_published() {
    let server = Server::start(&["--head-timeout", "1s"]).await;
    let one = request("", r#"{"channel":"a","text":"x"}"#);
    for end in [8, 40, one.len() - 5] {
        let mut socket = connect(server.address).await;
        write(&mut socket, &one.as_bytes()[..end]).await;
        socket.shutdown().await.expect("it can");
        let mut rest = Vec::new();
        within("the end", socket.read_to_end(&mut rest)).await.expect("no cut");
        let rest = String::from_utf8_lossy(&rest);
        assert!(!rest.contains("200 OK"), "{rest}");
        // And one that stands still.
        let mut socket = connect(server.address).await;
        write(&mut socket, &one.as_bytes()[..end]).await;
        if end < 60 {
            let mut rest = Vec::new();
            within("the end", socket.read_to_end(&mut rest)).await.expect("no cut");
        }
    }
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut socket = connect(server.address).await;
        write(&mut socket, request(framing, r#"{"channel":"a","text":"x"}"#).as_bytes()).await;
        let mut seen = [0; 12];
        within("an answer", socket.read_exact(&mut seen)).await.expect("an answer");
        assert_ne!(&seen, b"HTTP/1.1 200", "two lengths are none");
    }
    let mut socket = connect(server.address).await;
    write(&mut socket, one.as_bytes()).await;
    assert_eq!(answer(&mut socket).await.1, r#"{"id":"a:1"}"#, "nothing was published before");
}
