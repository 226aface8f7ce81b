//! Events that are larger than what a reader is handed at once.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::server::{Response, Server, within};

/// Texts around the sizes at which something changes, in lines of different lengths.
fn texts() -> Vec<String> {
    let sizes = (24_400..24_600).step_by(7).chain([10, 49_152, 73_728, 300_000, 1_000_000]);
    sizes
        .enumerate()
        .map(|(index, size)| {
            let width = [size, 1000, 77][index % 3];
            let alphabet = b"abcdefghijklmnopqrstuvwxyz";
            let letters: Vec<u8> = alphabet.iter().copied().cycle().take(size).collect();
            let lines: Vec<&str> =
                letters.chunks(width).map(|line| str::from_utf8(line).expect("ASCII")).collect();
            lines.join("\n")
        })
        .collect()
}

/// An event as it is on the wire.
fn written(id: &str, text: &str) -> String {
    let lines: String = text.lines().flat_map(|line| ["data: ", line, "\n"]).collect();
    format!("event: message\nid: {id}\n{lines}\n")
}

async fn read(stream: &mut Response, expected: &str) {
    let last = expected.len() - expected.rfind("id: ").expect("an id");
    let seen = stream.until(&expected[expected.len() - last..]).await;
    assert_eq!(seen.len(), expected.len());
    assert!(seen == expected, "as long, and other bytes");
}

#[tokio::test]
async fn a_large_event_arrives_whole_live_and_in_a_replay_and_beside_others() {
    let mut server = Server::start(&[]).await;
    let mut live = server.get("/events/a/?lastEventId=a:0", "").await;
    live.opening().await;
    let mut both = server.get("/events/?channel=a&channel=b&lastEventId=a:0,b:0", "").await;
    both.opening().await;
    let texts = texts();
    let mut alone = String::new();
    for (index, text) in texts.iter().enumerate() {
        server.publish(&json!({"channel": "a", "text": text}).to_string()).await;
        let n = index + 1;
        alone += &written(&format!("a:{n}"), text);
        read(&mut both, &written(&format!("a:{n},b:0"), text)).await;
    }
    read(&mut live, &alone).await;
    for _ in 0..2 {
        let mut late = server.get("/events/a/?lastEventId=a:0", "").await;
        late.opening().await;
        read(&mut late, &alone).await;
        server.kill().await;
        server.restart().await;
    }
    // What is not stored is handed on in the same way.
    let mut live = server.get("/events/?channel=a&channel=c", "").await;
    live.until("id: a:").await;
    live.until("\n\n").await;
    let event = json!({"channel": "c", "text": texts[texts.len() - 1], "store": false});
    server.publish(&event.to_string()).await;
    let expected = written("", &texts[texts.len() - 1]).replace("id: \n", "");
    assert!(live.until("\n\n").await == expected, "other bytes");
}

#[tokio::test]
async fn what_ends_within_an_event_is_no_event() {
    let flags = ["--max-event-size", "12000000", "--drain-time", "1h"];
    let mut server = Server::start(&flags).await;
    for width in [10_000_000, 20] {
        // More than the buffers between here and there take.
        let text = vec!["x".repeat(width); 10_000_000 / width].join("\n");
        server.publish(&json!({"channel": "a", "text": text}).to_string()).await;
    }
    let mut streams = Vec::new();
    for id in ["a:0", "a:1"] {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a size");
        let mut socket = socket.connect(server.address).await.expect("it listens");
        let head = "Host: localhost\r\nConnection: close\r\n";
        let request = format!("GET /events/a/ HTTP/1.1\r\n{head}Last-Event-ID: {id}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut stream = within("a head", Response::read(socket)).await;
        stream.opening().await;
        stream.until("data: xxx").await;
        streams.push(stream);
    }
    server.signal("-TERM");
    server.until_logged("shutting down").await;
    for mut stream in streams {
        let rest = stream.body().await;
        let (_, last) = rest.trim_end().rsplit_once('\n').expect("lines");
        assert!(last.starts_with("retry: "), "{last}");
        assert!(rest.ends_with('\n') && !rest.contains("\n\n"), "a blank line would end the event");
    }
    assert!(server.wait().await.success());
}
