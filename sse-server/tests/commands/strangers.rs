//! Strangers' answers and events: they lead a command nowhere, and do not command the terminal.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::server::Server;
use super::{command, run};

/// Answers every request with this, and keeps what was asked.
async fn hostile(answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            seen.lock().expect("no panic").push(String::from_utf8_lossy(&request).into_owned());
            socket.write_all(answer.as_bytes()).await.ok();
            socket.shutdown().await.ok();
        }
    });
    (url, asked)
}

fn response(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn publish_goes_nowhere_but_where_it_was_told_to() {
    let (elsewhere, asked) = hostile(response("200 OK", "", "{\"id\":\"a:1\"}")).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let location = format!("Location: {elsewhere}/publish/\r\n");
        let (url, _) = hostile(response(status, &location, "")).await;
        for more in [&["a", "secret"][..], &["--ndjson"]] {
            let args = [&["publish", "--url", &url, "--token", "x", "--key", "k"][..], more];
            let (code, out, error) = run(command(&args.concat()), "{}\n").await;
            assert_eq!((code, &*out), (1, ""), "{error}");
            assert!(error.contains("points to http://127.0.0.1:"), "{error}");
        }
    }
    assert_eq!(asked.lock().expect("no panic").len(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_terminal_is_not_commanded_by_what_others_publish_or_answer() {
    let server = Server::start(&[]).await;
    let escape = "\u{1b}]0;OWNED\u{7}\u{1b}[2J\tx\u{9b}1A";
    let event = json!({"channel": "a", "event": format!("t\t{escape}"), "text": escape});
    server.publish(&event.to_string()).await;
    let url = server.url("");
    let tail = ["tail", "a", "--from", "a:0", "--count", "1", "--url", &url];
    let (_, shown, _) = run(command(&tail), "").await;
    let written = r"\u{1b}]0;OWNED\u{7}\u{1b}[2J";
    let end = r"x\u{9b}1A";
    assert_eq!(shown, format!("a:1\tt\\t{written}\\t{end}\t{written}\t{end}\n"));
    let (_, exact, _) = run(command(&[&tail[..], &["--json"]].concat()), "").await;
    let exact: Value = serde_json::from_str(&exact).expect("JSON");
    assert_eq!(exact["data"], escape, "programs get it as it is");
    // What servers answer is no better.
    let id = json!({ "id": escape }).to_string();
    let message = json!({"error": "x", "message": escape}).to_string();
    for answer in [
        response("200 OK", "", &id),
        response("200 OK", "", escape),
        response("400 Bad Request", "", &message),
        response("500 Oh", "", escape),
        response("308 Elsewhere", &format!("Location: {}\r\n", "\u{9b}1A"), ""),
    ] {
        let (url, _) = hostile(answer).await;
        for args in [&["a", "1"][..], &["--ndjson"]] {
            let args = [&["publish", "--url", &url, "--token", "x"][..], args].concat();
            let (_, out, error) = run(command(&args), "").await;
            let shown = out + &error;
            let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            assert!(!shown.contains(is_command), "{shown:?}");
        }
    }
}
