//! Ten thousand hostile requests: none leads to a server error, none gets a stream without
//! permission, and all others are served as before.
//!
//! A model says of each request what may come of it. `SSE_TEST_SEED` repeats a run.

mod hostile;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use access::{bearer, configured, keys, sign};
use fastrand::Rng;
use hostile::tokens::Token;
use hostile::{Case, Expected, mutilated, publishing, request};
use jsonwebtoken::Algorithm;
use serde_json::json;
use server::{TOKEN, within};
use testkit::{access, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUESTS: usize = 10_000;
const WORKERS: usize = 8;

const SETTINGS: &str = r#"
[[access.rules]]
channel = "news"
allow = "public"

[[access.rules]]
channel = "user-{sub}"
allow = "authenticated"

[[access.rules]]
channel = "vault"
allow = "token"

[access.es-meta]
secret = "a key that nobody who sends these requests knows"

[[endpoint]]
path = "/feed/"
channels = "news"

[[endpoint]]
path = "/rooms/{room}/"
format-channels = "user-{room}"

[cors]
origins = "https://example.com"
credentials = true
"#;

/// What came back.
#[derive(Debug)]
enum Found {
    /// A stream of these channels, as far as it says.
    Stream(Option<BTreeSet<String>>),
    /// A status, and no stream.
    Status(u16),
    /// The connection was closed without a word.
    Closed,
}

/// Sends a request, reads as much of the answer as is needed, and keeps the connection if it can be
/// used again.
async fn exchange(address: SocketAddr, connection: &mut Option<TcpStream>, case: &Case) -> Found {
    let mut socket = match connection.take() {
        Some(socket) => socket,
        None => TcpStream::connect(address).await.expect("it listens"),
    };
    // It may have been refused before all of it was sent.
    socket.write_all(&case.bytes).await.ok();
    let mut seen = Vec::new();
    let head = loop {
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = seen.split_off(end + 4);
            break String::from_utf8(std::mem::replace(&mut seen, rest)).expect("an ASCII head");
        }
        if socket.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return Found::Closed;
        }
    };
    let head = head.to_ascii_lowercase();
    let status: u16 = head[9..12].parse().expect("a status");
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let len: Option<usize> = len.map(|len| len.parse().expect("a number"));
    if status == 200 && len.is_none() && head.contains("content-type: text/event-stream") {
        if case.is_head {
            return Found::Stream(None);
        }
        return Found::Stream(channels(&mut socket, seen).await);
    }
    if status == 200 && head.contains("content-type: application/x-ndjson") {
        // Answers to lines that were published, which come as the lines do.
        return Found::Status(status);
    }
    assert!(!head.contains("transfer-encoding"), "only streams have no length: {head}");
    let body_len = if case.is_head { 0 } else { len.unwrap_or_default() };
    while seen.len() < body_len && socket.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
    if status == 200 && !case.is_head && head.contains("content-type: text/event-stream") {
        assert!(seen.starts_with(b"event: stream-error\nid: error\n"), "{seen:?}");
    }
    if !case.is_last && !head.contains("connection: close") {
        *connection = Some(socket);
    }
    Found::Status(status)
}

/// The channels that a stream names in the first id that it sends, if it sends one.
async fn channels(socket: &mut TcpStream, mut seen: Vec<u8>) -> Option<BTreeSet<String>> {
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((_, rest)) = text.split_once("\nid: ")
            && let Some((id, _)) = rest.split_once('\n')
        {
            let cursor = sse_proto::Cursor::parse(id).expect("the server's own id");
            return Some(cursor.iter().map(|(name, _)| name.to_string()).collect());
        }
        // One may come while the storage is read.
        if text.matches("event: keep-alive").count() == 3 {
            return None;
        }
        assert!(socket.read_buf(&mut seen).await.unwrap_or(0) > 0, "a stream that ends: {text}");
    }
}

/// Sends its share of the requests. Returns how many streams were opened of each kind of channels.
async fn work(address: SocketAddr, tokens: Arc<Vec<Token>>, seed: u64) -> Vec<BTreeSet<String>> {
    let mut rng = Rng::with_seed(seed);
    let mut connection = None;
    let mut opened = Vec::new();
    for number in 0..REQUESTS / WORKERS {
        let kind = rng.u8(..10);
        let case = match kind {
            0 => publishing(&mut rng, TOKEN),
            1 => {
                let news = BTreeSet::from(["news".to_owned()]);
                let bytes = mutilated(&mut rng, &tokens);
                // If the end is gone, the server waits for it; this one sends no more.
                let bytes = [&bytes[..], b"\r\n\r\n"].concat();
                let is_head = bytes.starts_with(b"HEAD");
                Case { bytes, expected: Expected::Stream(news), is_head, is_last: true }
            }
            _ => request(&mut rng, &tokens),
        };
        if case.is_last {
            connection = None;
        }
        let found = within("an answer", exchange(address, &mut connection, &case)).await;
        let shown = || format!("seed {seed}, request {number}: {}", case.bytes.escape_ascii());
        let is_mutilated = kind == 1;
        match (&found, &case.expected) {
            (Found::Closed, _) => assert!(is_mutilated, "no answer: {}", shown()),
            (Found::Status(status), expected) => {
                let is_answer = matches!(status, 200 | 204 | 300..500);
                assert!(is_answer, "{status}: {}", shown());
                let is_wanted = matches!(expected, Expected::Stream(_)) && !is_mutilated;
                assert!(!is_wanted, "{status} for a reader who may read: {}", shown());
            }
            (Found::Stream(found), Expected::Stream(expected)) => match found {
                Some(found) => {
                    assert_eq!(found, expected, "{}", shown());
                    opened.push(found.clone());
                }
                None => assert!(case.is_head || is_mutilated, "no id: {}", shown()),
            },
            (Found::Stream(_), Expected::NoStream) => panic!("a stream: {}", shown()),
        }
    }
    opened
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_requests_open_nothing_that_they_may_not_and_break_nothing() {
    let pair = keys::rs256();
    let (server, _folder) = configured(&format!(
        "keep-alive = \"500ms\"\n{SETTINGS}\n[access.jwt]\npublic-key = '''\n{}'''\n\
         query = \"access_token\"\ncookie = \"session\"\n",
        pair.public_pem
    ))
    .await;
    for channel in ["news", "vault", "user-u1", "user-u2", "user-7", "user-*"] {
        server.fill(channel, 1).await;
    }
    let mut witness = server.get("/events/news/", "Last-Event-ID: news:1\r\n").await;
    witness.opening().await;
    let seed = std::env::var("SSE_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let mut rng = Rng::with_seed(seed.unwrap_or_else(|| Rng::new().u64(..)));
    let seed = rng.get_seed();
    eprintln!("SSE_TEST_SEED={seed}");
    let tokens = Arc::new(hostile::tokens::all(&mut rng, &pair));
    let workers = (0..WORKERS).map(|worker| {
        tokio::spawn(work(server.address, tokens.clone(), seed.wrapping_add(worker as u64)))
    });
    let workers: Vec<_> = workers.collect();
    let mut opened = Vec::new();
    for worker in workers {
        opened.extend(worker.await.expect("what it found is in order"));
    }
    // The model lets in, too: without this, a server that refuses everybody would do.
    for names in
        [&["news"][..], &["vault"], &["user-u1"], &["user-u2"], &["user-7"], &["news", "vault"]]
    {
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        assert!(opened.contains(&names), "never opened: {names:?} of {}", opened.len());
    }
    server.publish(r#"{"channel":"news","data":"for the witness"}"#).await;
    let read = witness.until("data: \"for the witness\"\n\n").await;
    assert_eq!(read.matches("\ndata: ").count(), 1, "nothing but the one event: {read}");
    let good = bearer(&sign(
        Algorithm::RS256,
        &pair.private,
        &json!({"sub": "u1", "channels": ["vault"], "exp": access::after(60)}),
    ));
    let mut stream = server.get("/events/?channel=vault&channel=user-u1", &good).await;
    stream.opening().await;
}
