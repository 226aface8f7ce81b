//! One event a line, published as it arrives.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::server::{DEADLINE, Server, TOKEN, within};

/// A request that goes on while it is answered.
struct Publisher {
    socket: TcpStream,
    /// The answer so far: chunks, frames included.
    seen: String,
}

impl Publisher {
    async fn start(server: &Server, headers: &str) -> Self {
        let socket = TcpStream::connect(server.address).await.expect("it listens");
        Self::over(socket, headers).await
    }

    async fn over(mut socket: TcpStream, headers: &str) -> Self {
        let head = format!(
            "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{headers}\
             Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("it reads");
        Self { socket, seen: String::new() }
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

    async fn more(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        let len = self.socket.read(&mut bytes).await.expect("readable");
        assert!(len > 0, "it has ended after {:?}", self.seen);
        self.seen += str::from_utf8(&bytes[..len]).expect("ASCII");
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
        assert_eq!(publisher.answer().await, json!({"line": n, "id": format!("a:{n}")}));
        reader.until(&format!("id: a:{n}\ndata: {n}\n\n")).await;
    }
    // A line may come in any pieces, and the last one without its end.
    for piece in ["{\"channel\":", "\"a\",\"data\"", ":4}\r\n{\"channel\":\"a\",\"data\":5}"] {
        publisher.send(piece).await;
    }
    assert_eq!(publisher.answer().await, json!({"line": 4, "id": "a:4"}));
    publisher.end().await;
    assert_eq!(publisher.answer().await, json!({"line": 5, "id": "a:5"}));
    publisher.ended().await;
    assert!(publisher.seen.is_empty() || !publisher.seen.contains('{'));
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
    for (line, id, error) in [
        (1, "a:1", ""),
        (3, "", "bad-request"),
        (4, "", "bad-request"),
        (5, "b:1", ""),
        (6, "", ""),
        (7, "a:2", ""),
    ] {
        let answer = publisher.answer().await;
        assert_eq!(answer["line"], line, "{answer}");
        assert_eq!(answer["id"].as_str().unwrap_or_default(), id, "{answer}");
        assert_eq!(answer["error"].as_str().unwrap_or_default(), error, "{answer}");
    }
    publisher.ended().await;
    let headers = "Authorization: Bearer of-a\r\nContent-Type: application/x-ndjson\r\n";
    let answer = server.post(&(line("b", 1) + &line("a", 3)), headers).await.body().await;
    let (first, second) = answer.split_once('\n').expect("two lines");
    assert!(first.starts_with("{\"line\":1,\"error\":\"forbidden\","), "{first}");
    assert_eq!(second, "{\"line\":2,\"id\":\"a:3\"}\n");
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
    assert_eq!(publisher.answer().await["id"], "a:1");
    for expected in [2, 3] {
        let answer = publisher.answer().await;
        assert_eq!((&answer["line"], &answer["error"]), (&json!(expected), &json!("too-large")));
    }
    assert_eq!(publisher.answer().await, json!({"line": 4, "id": "a:2"}));
    publisher.ended().await;
}

#[tokio::test]
async fn the_whole_has_no_limit_and_lines_are_stored_many_at_once_and_in_their_order() {
    const LINES: usize = 30_000;
    let server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    let (mut reading, mut writing) = publisher.socket.into_split();
    let sent = tokio::spawn(async move {
        let filler = "x".repeat(700);
        for start in (0..LINES).step_by(100) {
            let lines: String =
                (start..start + 100).map(|n| line(["a", "b"][n % 2], json!([n, filler]))).collect();
            let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
            writing.write_all(chunk.as_bytes()).await.expect("it reads");
        }
        writing.write_all(b"0\r\n\r\n").await.expect("it reads");
        writing
    });
    let answers = within("all answers", async {
        let mut seen = std::mem::take(&mut publisher.seen);
        let mut bytes = vec![0; 64 << 10];
        while !seen.ends_with("0\r\n\r\n") {
            let len = reading.read(&mut bytes).await.expect("readable");
            assert!(len > 0, "cut off");
            seen += str::from_utf8(&bytes[..len]).expect("ASCII");
        }
        seen
    })
    .await;
    sent.await.expect("more than 16 MiB were taken");
    // A line may lie in two chunks.
    let (_, body) = answers.split_once("\r\n\r\n").expect("a head");
    let mut rest = body;
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole += &after[..size];
        rest = &after[size + 2..];
    }
    let answers: Vec<&str> = whole.lines().collect();
    assert_eq!(answers.len(), LINES);
    for (n, answer) in answers.iter().enumerate() {
        let id = format!("{}:{}", ["a", "b"][n % 2], n / 2 + 1);
        assert_eq!(*answer, format!("{{\"line\":{},\"id\":\"{id}\"}}", n + 1));
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_kept_when_a_request_breaks_off() {
    let mut server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&(line("a", 1) + &line("a", 2) + "{\"channel\":\"a\",\"data\":3}")).await;
    assert_eq!(publisher.answer().await["id"], "a:1");
    assert_eq!(publisher.answer().await["id"], "a:2");
    drop(publisher);
    // The third has no end, so that it may not be whole.
    let next = server.publish("{\"channel\":\"a\",\"data\":4}").await;
    assert_eq!(next["id"], "a:3");
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&line("a", 5)).await;
    assert_eq!(publisher.answer().await["id"], "a:4");
    server.kill().await;
    server.restart().await;
    let mut reader = server.get("/events/a/?lastEventId=a:0", "").await;
    reader.opening().await;
    let read = reader.until("id: a:4\ndata: 5\n\n").await;
    assert_eq!(read.matches("data: ").count(), 4, "{read}");
}

/// Who does not read the answers is not read from for ever.
#[tokio::test]
async fn a_publisher_who_does_not_read_answers_is_not_read_from() {
    let server = Server::start(&[]).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a size");
    let socket = socket.connect(server.address).await.expect("it listens");
    let mut publisher = Publisher::over(socket, "").await;
    // Each byte of nonsense is answered with a hundred.
    let nonsense = "x\n".repeat(32 << 10);
    let chunk = format!("{:x}\r\n{nonsense}\r\n", nonsense.len());
    let mut taken = 0;
    while timeout(Duration::from_secs(2), publisher.socket.write_all(chunk.as_bytes()))
        .await
        .is_ok()
    {
        taken += nonsense.len();
        assert!(taken < 64 << 20, "it takes all that comes, and keeps the answers");
    }
    let first = publisher.answer().await;
    assert_eq!((&first["line"], &first["error"]), (&json!(1), &json!("bad-request")));
    assert_eq!(server.publish("{\"channel\":\"a\",\"data\":1}").await["id"], "a:1", "others can");
}

#[tokio::test]
async fn a_request_that_goes_on_ends_with_a_word_when_the_server_is_stopped() {
    let mut server = Server::start(&[]).await;
    let mut publisher = Publisher::start(&server, "").await;
    publisher.send(&(line("a", 1) + "\n")).await;
    assert_eq!(publisher.answer().await["id"], "a:1");
    server.signal("-TERM");
    let last = publisher.answer().await;
    assert_eq!((&last["line"], &last["error"]), (&json!(3), &json!("unavailable")));
    publisher.ended().await;
    assert!(timeout(DEADLINE, server.wait()).await.expect("it ends").success());
}
