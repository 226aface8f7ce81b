//! How many may be here at once.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Response, Server, connect, until, within};

/// The word and the sentence of a refusal with status 503.
async fn refused(mut answer: Response) -> (String, String) {
    assert_eq!(answer.status, 503, "{}", answer.head);
    let later: u32 = answer.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((5..=15).contains(&later));
    let body: Value = serde_json::from_str(&answer.body().await).expect("JSON");
    let text = |key: &str| body[key].as_str().expect("a text").to_owned();
    (text("error"), text("message"))
}

#[tokio::test]
async fn whoever_comes_when_all_connections_are_taken_hears_which_limit_it_is() {
    let server = Server::start(&["--max-connections", "3"]).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = server.admitted("/events/?channel=a", "").await;
        stream.opening().await;
        streams.push(stream);
    }
    let answer = server.get("/health/live", "").await;
    assert_eq!(answer.header("connection"), Some("close"));
    let (error, message) = refused(answer).await;
    assert_eq!(error, "too-many-connections");
    assert!(
        message.contains("3 connections already, the most that --max-connections"),
        "{message}"
    );
    // As soon as one goes, there is room, and those who stayed have not noticed.
    streams.pop();
    until("room", async || server.get("/health/live", "").await.status == 200).await;
    until("room", async || server.try_publish(r#"{"channel":"a","data":1}"#).await.0 == 200).await;
    for stream in &mut streams {
        stream.until("data: 1\n\n").await;
    }
}

#[tokio::test]
async fn one_address_gets_no_more_connections_than_its_share() {
    let server = Server::start(&["--max-per-address", "2"]).await;
    let mut first = server.admitted("/events/?channel=a", "").await;
    first.opening().await;
    let mut second = server.admitted("/events/?channel=a", "").await;
    second.opening().await;
    let (error, message) = refused(server.get("/events/?channel=a", "").await).await;
    assert_eq!(error, "too-many-connections");
    assert!(message.contains("2 connections from one address"), "{message}");
    assert!(message.contains("--max-per-address"), "{message}");
    // Somebody else, as far as the server can tell.
    let other = socket_from("127.0.0.2", &server).await;
    let mut other = Response::read(other).await;
    other.opening().await;
    drop(second);
    until("room", async || server.get("/events/?channel=a", "").await.status == 200).await;
}

/// A stream that is asked for from this address.
async fn socket_from(address: &str, server: &Server) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let from = std::net::SocketAddr::new(address.parse().expect("an address"), 0);
    socket.bind(from).expect("all of 127.0.0.0/8 is this machine");
    let mut socket = socket.connect(server.address).await.expect("it listens");
    let request = b"GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    socket.write_all(request).await.expect("it reads");
    socket
}

#[tokio::test]
async fn behind_a_trusted_proxy_streams_count_for_those_it_speaks_for() {
    let flags = ["--max-per-address", "2", "--trusted-proxies", "10.0.0.0/8, 127.0.0.1"];
    let server = Server::start(&flags).await;
    let get = async |client: &str| {
        let header = format!("X-Forwarded-For: 198.51.100.9, {client}\r\n");
        server.get("/events/?channel=a", &header).await
    };
    let mut kept = Vec::new();
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"] {
        let mut stream = get(client).await;
        stream.opening().await;
        kept.push(stream);
    }
    for client in ["192.0.2.1", "2001:db8::ffff"] {
        let (error, message) = refused(get(client).await).await;
        assert_eq!(error, "too-many-streams");
        assert!(message.contains("2 streams from one address"), "{message}");
    }
    get("192.0.2.2").await.opening().await;
    kept.remove(0);
    until("room", async || get("192.0.2.1").await.status == 200).await;
}

#[tokio::test]
async fn without_trusted_proxies_nobody_can_claim_another_address() {
    let server = Server::start(&["--max-per-address", "1"]).await;
    let mut stream = server.admitted("/events/?channel=a", "X-Forwarded-For: 192.0.2.1\r\n").await;
    stream.opening().await;
    refused(server.get("/events/?channel=a", "X-Forwarded-For: 192.0.2.2\r\n").await).await;
}

#[tokio::test]
async fn whoever_does_not_finish_the_head_of_a_request_is_cut_off() {
    let server = Server::start(&["--head-timeout", "1s"]).await;
    for start in [&b""[..], b"G", b"PR", b"GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n"]
    {
        let mut socket = connect(server.address).await;
        socket.write_all(start).await.expect("it reads");
        let mut answer = Vec::new();
        within("the end", socket.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    // HTTP/2, and then nothing.
    let mut socket = connect(server.address).await;
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    socket.write_all(hello).await.expect("it reads");
    let mut answer = Vec::new();
    within("the end", socket.read_to_end(&mut answer)).await.ok();
    // A stream is not bound by it.
    let mut stream = server.get("/events/?channel=a", "").await;
    stream.opening().await;
    until("all are gone", async || server.metric("connections").await <= 2.0).await;
    server.publish(r#"{"channel":"a","data":1}"#).await;
    stream.until("data: 1\n\n").await;
}

#[tokio::test]
async fn limits_that_cannot_be_kept_are_refused_at_the_start() {
    for (flags, line) in [
        (["--max-connections", "0"], "--max-connections: with 0 nothing could pass"),
        (["--max-connections", "9999999999"], "more than the "),
        (["--max-per-address", "0"], "--max-per-address: with 0 nothing"),
        (["--trusted-proxies", "nginx"], "\"nginx\" is neither an address nor a network"),
        (["--write-timeout", "0s"], "--write-timeout: \"0s\": must be longer than nothing"),
    ] {
        let output = crate::server::binary().args(flags).output();
        let output = within("the server to give up", output).await.expect("it can be started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("error: ") && stderr.contains(line), "{flags:?}: {stderr}");
    }
}
