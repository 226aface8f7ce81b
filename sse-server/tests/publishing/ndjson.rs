//! One event a line, published as it arrives.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::{DEADLINE, Server, TOKEN, within};

/// A request that goes on while it is answered.
struct Publisher {
    socket: TcpStream,
    /// The answer so far: chunks, frames included.
    seen: String,
    rest: Vec<u8>,
}

impl Publisher {
    async fn start(server: &Server, headers: &str) -> Self {
        Self::at(server, "/publish/", headers).await
    }

    async fn at(server: &Server, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(server.address).await.expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("it reads");
        Self { socket, seen: String::new(), rest: Vec::new() }
    }

    async fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        within("it reads", self.socket.write_all(chunk.as_bytes())).await.expect("it reads");
    }

    async fn end(&mut self) {
        self.socket.write_all(b"0\r\n\r\n").await.expect("it reads");
    }

    /// The next answer.
    async fn answer(&mut self) -> Value {
        within("an answer", async {
            loop {
                let start = self.seen.find('{');
                if let Some(start) = start
                    && let Some(len) = self.seen[start..].find('\n')
                {
                    let line = self.seen[start..start + len].to_owned();
                    self.seen.drain(..=start + len);
                    return serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                }
                self.more().await;
            }
        })
        .await
    }

    /// Waits until all lines up to this one are decided.
    async fn decided(&mut self, line: u64) -> Value {
        loop {
            let answer = self.answer().await;
            if answer["line"].as_u64() >= Some(line) {
                return answer;
            }
        }
    }

    /// All answers to the last, added up.
    async fn outcome(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            let answer = self.answer().await;
            let line = answer["line"].as_u64().expect("a number");
            if let Some(error) = answer["error"].as_str() {
                outcome.refused.push((line, error.to_owned()));
                continue;
            }
            outcome.answers += 1;
            (outcome.line, outcome.published) =
                (line, answer["published"].as_u64().expect("a number"));
            for (channel, id) in answer["ids"].as_object().expect("a map") {
                outcome.ids.insert(channel.clone(), id.clone());
            }
            if answer["done"] == true {
                self.ended().await;
                return outcome;
            }
        }
    }

    async fn more(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        let len = self.socket.read(&mut bytes).await.expect("readable");
        assert!(len > 0, "it has ended after {:?}", self.seen);
        self.rest.extend_from_slice(&bytes[..len]);
        // What has been read may end within a character.
        let text = match str::from_utf8(&self.rest) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text = self.rest.drain(..text).collect();
        self.seen += &String::from_utf8(text).expect("looked at above");
    }

    /// Reads to the proper end of the answer.
    async fn ended(&mut self) {
        within("the end", async {
            while !self.seen.ends_with("0\r\n\r\n") {
                self.more().await;
            }
        })
        .await;
    }
}

/// What became of the lines of a request.
#[derive(Debug, Default)]
struct Outcome {
    line: u64,
    published: u64,
    ids: BTreeMap<String, Value>,
    refused: Vec<(u64, String)>,
    answers: usize,
}

impl Outcome {
    fn id(&self, channel: &str) -> &str {
        self.ids[channel].as_str().unwrap_or_default()
    }
}

fn line(channel: &str, data: impl Into<Value>) -> String {
    json!({"channel": channel, "data": data.into()}).to_string() + "\n"
}

#[tokio::test]
async fn a_line_is_published_and_answered_while_the_request_goes_on() {
    let server = Server::start(&[]).await;
    let mut reader = server.get("/events/a/", "").await;
    reader.opening().await;
    let mut publisher = Publisher::start(&server, "").await;
    for n in 1..=3 {
        publisher.send(&line("a", n)).await;
        let answer = json!({"line": n, "published": n, "ids": {"a": format!("a:{n}")}});
        assert_eq!(publisher.answer().await, answer);
        reader.until(&format!("id: a:{n}\ndata: {n}\n\n")).await;
    }
    // A line may come in any pieces, and the last one without its end.
    for piece in ["{\"channel\":", "\"a\",\"data\"", ":4}\r\n{\"channel\":\"a\",\"data\":5}"] {
        publisher.send(piece).await;
    }
    assert_eq!(publisher.decided(4).await["ids"], json!({"a": "a:4"}));
    publisher.end().await;
    let outcome = publisher.outcome().await;
    assert_eq!((outcome.line, outcome.published, outcome.id("a")), (5, 5, "a:5"));
    let head = server.post("", "Content-Type: application/x-ndjson\r\n").await;
    assert_eq!(head.status, 401, "who may not publish is told so by the status");
}

#[tokio::test]
async fn a_line_that_cannot_be_published_is_told_and_costs_no_other_line_anything() {
    let settings = "[[publish-tokens]]\ntoken = \"of-a\"\nchannel = \"a\"";
    let (server, _folder) = crate::access::configured(settings).await;
    let mut publisher = Publisher::start(&server, "").await;
    let lines = [
        "{\"channel\":\"a\",\"data\":1}",
        "",
        "nonsense",
        "{\"channel\":\"a\"}",
        "{\"channel\":\"b\",\"data\":1}",
        "{\"channel\":\"a\",\"data\":2,\"store\":false}",
        "{\"channel\":\"a\",\"data\":2}",
    ];
    publisher.send(&(lines.join("\n") + "\n")).await;
    publisher.end().await;
    let outcome = publisher.outcome().await;
    let refused = outcome.refused.iter().map(|(line, error)| (*line, &**error));
    assert!(refused.eq([(3, "bad-request"), (4, "bad-request")]), "{outcome:?}");
    assert_eq!((outcome.line, outcome.published), (7, 4));
    assert_eq!((outcome.id("a"), outcome.id("b")), ("a:2", "b:1"));
    let headers = "Authorization: Bearer of-a\r\nContent-Type: application/x-ndjson\r\n";
    let answer = server.post(&(line("b", 1) + &line("a", 3)), headers).await.body().await;
    let (first, rest) = answer.split_once('\n').expect("lines");
    assert!(first.starts_with("{\"line\":1,\"error\":\"forbidden\","), "{first}");
    assert!(rest.contains("\"line\":2,\"published\":1,") && rest.contains("\"a:3\""), "{rest}");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_passed_over() {
    let server = Server::start(&["--max-event-size", "1000"]).await;
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&line("a", 1)).await;
    let part = "x".repeat(100 << 10);
    for _ in 0..5 {
        publisher.send(&part).await;
    }
    publisher.send(&("\n".to_owned() + &line("a", "y".repeat(1000)) + &line("a", 2))).await;
    publisher.end().await;
    let outcome = publisher.outcome().await;
    let refused = outcome.refused.iter().map(|(line, error)| (*line, &**error));
    assert!(refused.eq([(2, "too-large"), (3, "too-large")]), "{outcome:?}");
    assert_eq!((outcome.line, outcome.published, outcome.id("a")), (4, 2, "a:2"));
}

#[tokio::test]
async fn who_sends_all_before_reading_gets_all_published_and_is_told_so() {
    const LINES: usize = 200_000;
    let server = Server::start_on("memory", &[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    let filler = "x".repeat(150);
    for start in (0..LINES).step_by(1000) {
        let lines: String =
            (start..start + 1000).map(|n| line(["a", "b"][n % 2], json!([n, filler]))).collect();
        publisher.send(&lines).await;
    }
    publisher.end().await;
    let outcome = publisher.outcome().await;
    let all = LINES as u64;
    assert_eq!((outcome.line, outcome.published), (all, all));
    assert_eq!((outcome.id("a"), outcome.id("b")), ("a:100000", "b:100000"));
    assert!(outcome.refused.is_empty());
    assert!(outcome.answers < LINES / 100, "{} answers", outcome.answers);
    // In their order.
    let mut reader = server.get("/events/a/?lastEventId=a:99999", "").await;
    reader.until(&format!("id: a:100000\ndata: [{}, ", LINES - 2)).await;
}

#[tokio::test]
async fn the_rest_of_what_broke_off_is_sent_with_its_first_number() {
    let server = Server::start(&[]).await;
    let key = "Idempotency-Key: import-7\r\n";
    let lines: Vec<String> = (1..=6).map(|n| line("a", n)).collect();
    let mut publisher = Publisher::start(&server, key).await;
    publisher.send(&lines[..4].concat()).await;
    assert_eq!(publisher.decided(4).await["ids"]["a"], "a:4");
    drop(publisher);
    // It is known of two that they were published; of the others, the key knows.
    let mut publisher = Publisher::at(&server, "/publish/?line=3", key).await;
    publisher.send(&lines[2..].concat()).await;
    publisher.end().await;
    let outcome = publisher.outcome().await;
    assert_eq!((outcome.line, outcome.published, outcome.id("a")), (6, 4, "a:6"));
    let read =
        server.get("/events/a/?lastEventId=a:0", "").await.until("id: a:6\ndata: 6\n\n").await;
    assert_eq!(read.matches("\ndata: ").count(), 6, "{read}");
    for wrong in ["0", "-1", "x", "", "99999999999999999999"] {
        let request = format!(
            "POST /publish/?line={wrong} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(server.send(request.as_bytes()).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_kept_when_a_request_breaks_off() {
    let mut server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&(line("a", 1) + &line("a", 2) + "{\"channel\":\"a\",\"data\":3}")).await;
    assert_eq!(publisher.decided(2).await["ids"]["a"], "a:2");
    drop(publisher);
    // The third has no end, so that it may not be whole.
    let next = server.publish("{\"channel\":\"a\",\"data\":4}").await;
    assert_eq!(next["id"], "a:3");
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&line("a", 5)).await;
    assert_eq!(publisher.answer().await["ids"]["a"], "a:4");
    server.kill().await;
    server.restart().await;
    let mut reader = server.get("/events/a/?lastEventId=a:0", "").await;
    reader.opening().await;
    let read = reader.until("id: a:4\ndata: 5\n\n").await;
    assert_eq!(read.matches("data: ").count(), 4, "{read}");
}

#[tokio::test]
async fn refusals_that_nobody_reads_are_bounded_and_name_where_publishing_ended() {
    let server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    // Each line of nonsense is answered with a hundred bytes; the buffers between here and there do
    // not take them.
    let lines = ("x\n".to_owned() + &line("a", 1)).repeat(20_000);
    for _ in 0..5 {
        publisher.send(&lines).await;
    }
    publisher.end().await;
    let outcome = publisher.outcome().await;
    let named = outcome.refused.iter().filter(|(_, error)| error == "bad-request").count() as u64;
    match outcome.refused.last() {
        Some((line, error)) if error == "too-many-refused" => {
            assert_eq!(outcome.published + named, line - 1, "every line before is accounted for");
        }
        _ => assert_eq!((outcome.published, named), (100_000, 100_000)),
    }
    let next = server.publish("{\"channel\":\"a\",\"data\":1}").await;
    assert_eq!(next["id"], format!("a:{}", outcome.published + 1), "no more than was told");
}

#[tokio::test]
async fn a_request_that_goes_on_ends_with_a_word_when_the_server_is_stopped() {
    let mut server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&(line("a", 1) + "\n")).await;
    assert_eq!(publisher.answer().await["ids"]["a"], "a:1");
    server.signal("-TERM");
    let last = publisher.answer().await;
    assert_eq!((&last["line"], &last["error"]), (&json!(3), &json!("unavailable")));
    publisher.ended().await;
    assert!(timeout(DEADLINE, server.wait()).await.expect("it ends").success());
}
