//! What is logged, and what never is.

use std::fs::File;
use std::process::Stdio;

use serde_json::{Value, json};

use super::metrics::configured;
use crate::port::Port;
use crate::server::{Server, TOKEN, binary, send, until};

#[tokio::test]
async fn each_line_of_the_log_is_an_object_if_that_is_wanted() {
    let flags = ["--log-format", "json", "--log", "info,sse_server=debug"];
    let server = Server::start(&flags).await;
    server.get("/events/?channel=a", "").await.opening().await;
    server.until_logged("stream opened").await;
    for line in server.log().lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        for key in ["timestamp", "level", "message", "target"] {
            assert!(line[key].is_string(), "{line}");
        }
    }
}

#[tokio::test]
async fn no_token_is_ever_logged() {
    let settings = "[[access.rules]]\nchannel = \"*\"\nallow = \"authenticated\"\n\
                    [access.jwt]\nsecret = \"at least thirty-two random bytes, or more\"\n\
                    query = \"access_token\"\n\
                    [[publish-tokens]]\ntoken = \"publish-s3cret\"\nchannel = \"*\"\n";
    let (server, _folder) = configured(settings, &["--log", "trace"]).await;
    // As a parameter, a header or a cookie; good or bad; to paths that exist and that do not.
    let header = "Authorization: Bearer header-s3cret\r\nCookie: session=cookie-s3cret\r\n";
    for path in [
        "/events/?channel=a&access_token=query-s3cret",
        "/events/a/?access%5Ftoken=query-s3cret",
        "/events/?channel=a&es-meta=query-s3cret",
        "/events?access_token=query-s3cret",
        "/nothing?access_token=query-s3cret",
        "/channels/?access_token=query-s3cret",
    ] {
        server.get(path, "").await;
        server.get(path, header).await;
    }
    let event = json!({"channel": "a", "data": 1}).to_string();
    for token in ["publish-s3cret", "wrong-s3cret", TOKEN] {
        server.post(&event, &format!("Authorization: Bearer {token}\r\n")).await;
    }
    server.until_logged("credentials were refused").await;
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("s3cret") || line.contains(TOKEN));
    assert_eq!(lines.collect::<Vec<_>>(), Vec::<&str>::new());
}

/// Starts a server that has much to say, serves with it for a while, and ends it.
async fn serve_with_log(what: &str, log: impl Into<Stdio>) {
    let port = Port::reserve();
    let mut command = binary();
    command.args(["--listen", &port.to_string(), "--publish-token", TOKEN]);
    command.args(["--storage", "memory", "--log", "trace"]).stderr(log);
    let mut server = command.spawn().expect("it can be started");
    let address = port.to_string().parse().expect("an address");
    let is_there = async || tokio::net::TcpStream::connect(address).await.is_ok();
    until(&format!("{what}: the server to listen"), is_there).await;
    let head = "Host: localhost\r\nContent-Length: 24\r\nAuthorization: Bearer";
    let publish = format!("POST /publish/ HTTP/1.1\r\n{head} {TOKEN}\r\n\r\n");
    let publish = format!("{publish}{{\"channel\":\"a\",\"data\":1}}");
    let mut stream =
        send(address, b"GET /events/?channel=a HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    stream.opening().await;
    for n in 1..=500 {
        let mut answer = send(address, publish.as_bytes()).await;
        assert_eq!((answer.status, answer.body().await), (200, format!("{{\"id\":\"a:{n}\"}}")));
        stream.until(&format!("id: a:{n}\n")).await;
    }
    let id = server.id().expect("it is running").to_string();
    let end = std::process::Command::new("kill").args(["-TERM", &id]).status();
    assert!(end.expect("kill is there").success());
    let status = crate::server::within("the end", server.wait()).await.expect("it ends");
    assert!(status.success(), "{what}: {status}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_its_lines_and_nothing_else() {
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    serve_with_log("a full disk", full).await;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    serve_with_log("a reader that is gone", writer).await;
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    serve_with_log("a reader that does not read", writer).await;
}
