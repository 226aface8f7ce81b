//! Requests with an `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sse_server::hub::Hub;
use sse_server::storage::{
    MemoryStorage, NewEvent, PostgresStorage, RedisStorage, RequestKey, Retention, Storage,
};

use crate::server::{Response, Server, TOKEN, within};
use crate::services;
use crate::skip::unique;

async fn send(server: &Server, key: &str, body: &str) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {TOKEN}\r\nIdempotency-Key: {key}\r\n");
    let mut answer: Response = server.post(body, &headers).await;
    let text = answer.body().await;
    (answer.status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?}")))
}

#[tokio::test]
async fn a_request_that_is_sent_again_gets_the_first_answer_and_is_not_published_again() {
    let mut server = Server::start(&[]).await;
    let one = r#"{"channel":"a","data":1}"#;
    let batch = r#"[{"channel":"a","data":2},{"channel":"b","data":3},{"channel":"b","data":4,"store":false}]"#;
    let first = send(&server, "k1", one).await;
    assert_eq!(first, (200, json!({"id": "a:1"})));
    let first_batch = send(&server, "\"k2\"", batch).await;
    assert_eq!(first_batch.1, json!([{"id": "a:2"}, {"id": "b:1"}, {"id": null}]));
    server.fill("a", 3).await;
    for round in 0..2 {
        assert_eq!(send(&server, "k1", one).await, first, "{round}");
        assert_eq!(send(&server, "k2", batch).await, first_batch, "{round}: quotes do not matter");
        let (status, answer) = send(&server, "k1", r#"{"channel":"a","data":2}"#).await;
        assert_eq!((status, &answer["error"]), (422, &json!("key-reused")));
        server.kill().await;
        server.restart().await;
    }
    assert_eq!(server.publish(one).await["id"], "a:6", "three by key and fill, and this");
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let server = Server::start(&[]).await;
    let one = r#"{"channel":"a","data":1}"#;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "a b", "\u{e9}", &long, "a\r\nIdempotency-Key: b"] {
        let (status, answer) = send(&server, key, one).await;
        let message = answer["message"].as_str().expect("a message");
        assert!(status == 400 && message.contains("`Idempotency-Key` must be there once"), "{key}");
    }
    assert_eq!(send(&server, &long[1..], one).await.1["id"], "a:1");
    let refused = send(&server, "k", r#"{"channel":"a"}"#).await;
    assert_eq!(refused.0, 400);
    assert_eq!(send(&server, "k", one).await.0, 200, "what was refused has not taken the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_are_published_once() {
    let storages = [Some("sqlite".to_owned()), Some("memory".to_owned()), Some("none".to_owned())];
    let services = [services::postgres().await, services::redis()];
    for storage in storages.into_iter().chain(services).flatten() {
        let channel = unique("concurrent");
        let own = ["--storage", &*storage];
        // Its own file is what a server has if it is told nothing.
        let flags = if storage == "sqlite" { &[][..] } else { &own };
        let server = Arc::new(Server::start(flags).await);
        let mut reader = server.get(&format!("/events/{channel}/"), "").await;
        reader.opening().await;
        let mut sending = Vec::new();
        for _ in 0..16 {
            let (server, key) = (server.clone(), channel.clone());
            let body = json!({"channel": channel, "data": "once"}).to_string();
            sending.push(tokio::spawn(async move { send(&server, &key, &body).await }));
        }
        for sending in sending {
            let answer = within("an answer", sending).await.expect("sent");
            let id = if storage == "none" { json!(null) } else { format!("{channel}:1").into() };
            assert_eq!(answer, (200, json!({"id": id})), "{storage}");
        }
        server.publish(&json!({"channel": channel, "data": "last"}).to_string()).await;
        let read = reader.until("data: \"last\"\n\n").await;
        assert_eq!(read.matches("\"once\"").count(), 1, "{storage}: {read}");
    }
}

#[tokio::test]
async fn lines_that_are_sent_again_are_published_from_where_the_first_attempt_ended() {
    let server = Server::start(&[]).await;
    let headers = format!(
        "Authorization: Bearer {TOKEN}\r\nIdempotency-Key: k\r\nContent-Type: application/x-ndjson\r\n"
    );
    let line = |n: u32| format!("{{\"channel\":\"a\",\"data\":{n}}}\n");
    let part: String = (1..=3).map(line).collect();
    let all: String = (1..=5).map(line).collect();
    for (lines, last) in [(&part, 3), (&all, 5)] {
        let answer = server.post(lines, &headers).await.body().await;
        assert!(answer.contains(&format!("\"a\":\"a:{last}\"")), "{answer}");
        assert!(answer.contains(&format!("{{\"line\":{last},\"published\":{last},")), "{answer}");
    }
    assert_eq!(server.publish(r#"{"channel":"a","data":6}"#).await["id"], "a:6", "each once");
    let other = server.post(&(line(1) + &line(7)), &headers).await.body().await;
    assert!(other.contains("{\"line\":2,\"error\":\"key-reused\","), "{other}");
    assert!(other.contains("\"published\":1,") && other.contains("\"a:1\""), "{other}");
}

/// The first instance is killed at some moment while it is sent requests; the other, over the same
/// storage, is sent all of them again.
async fn the_other_instance_knows(storage: &str) {
    const REQUESTS: usize = 30;
    let channel = unique("once");
    // Nobody looks at what others have published, unless there is a reason.
    let flags = ["--storage", storage, "--refresh", "1h"];
    let mut first = Server::start(&flags).await;
    let second = Server::start(&flags).await;
    let mut reader = second.get(&format!("/events/{channel}/"), "").await;
    reader.opening().await;
    let body = |n: usize| json!({"channel": channel, "data": n}).to_string();
    let mut answers = vec![send(&first, &format!("{channel}-0"), &body(0)).await];
    assert_eq!(send(&second, &format!("{channel}-0"), &body(0)).await, answers[0]);
    let mut read = reader.until("\ndata: 0\n\n").await;
    for n in 1..REQUESTS / 2 {
        answers.push(send(&first, &format!("{channel}-{n}"), &body(n)).await);
    }
    // More, of which nobody reads the answer: some are published and some are not.
    for n in REQUESTS / 2..REQUESTS {
        let body = body(n);
        let request = format!(
            "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Idempotency-Key: {channel}-{n}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut socket = tokio::net::TcpStream::connect(first.address).await.expect("it listens");
        tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.expect("sent");
    }
    first.kill().await;
    let mut ids = Vec::new();
    for n in 0..REQUESTS {
        let answer = send(&second, &format!("{channel}-{n}"), &body(n)).await;
        if let Some(first) = answers.get(n) {
            assert_eq!(answer, *first, "the answer of the first time");
        }
        assert_eq!(answer.0, 200);
        ids.push(answer.1["id"].as_str().expect("an id").to_owned());
    }
    let last = second.publish(&json!({"channel": channel, "text": "last"}).to_string()).await;
    assert_eq!(last["id"], format!("{channel}:{}", REQUESTS + 1), "each is there once");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), REQUESTS);
    read += &reader.until("data: last\n\n").await;
    for n in 0..REQUESTS {
        assert_eq!(read.matches(&format!("\ndata: {n}\n\n")).count(), 1, "{n}: {read}");
    }
}

/// Requests that wait together are stored together; not those of one key.
#[tokio::test]
async fn requests_with_one_key_that_wait_together_are_published_once() {
    let mut storages: Vec<Arc<dyn Storage>> = vec![Arc::new(MemoryStorage::new())];
    if let Some(postgres) = services::postgres().await {
        storages.push(Arc::new(PostgresStorage::open(&postgres).await.expect("it opens")));
    }
    if let Some(redis) = services::redis() {
        let storage = RedisStorage::open(&redis, Retention::default()).await;
        storages.push(Arc::new(storage.expect("it opens")));
    }
    for storage in storages {
        let hub = Hub::new(storage.clone());
        let channel = unique("together");
        let mut submitted = Vec::new();
        // The hub's own task gets no turn before this one waits for an answer.
        for _ in 0..3 {
            let key = RequestKey::new("p", &channel, b"");
            let events = vec![NewEvent::new(&*channel, "t", "once")];
            submitted.push(hub.submit(events, Some(key)).await.expect("it has room"));
            let other = vec![NewEvent::new(&*channel, "t", "other")];
            submitted.push(hub.submit(other, None).await.expect("it has room"));
        }
        let mut ids = Vec::new();
        for submitted in submitted {
            ids.extend(submitted.await.expect("published"));
        }
        assert_eq!(ids, [1, 2, 1, 3, 1, 4]);
        assert_eq!(storage.head(&channel).await.expect("it tells"), 4);
    }
}

#[tokio::test]
async fn another_instance_on_the_same_database_knows_what_one_that_was_killed_has_published() {
    let Some(postgres) = services::postgres().await else { return };
    the_other_instance_knows(&postgres).await;
}

#[tokio::test]
async fn another_instance_on_the_same_redis_knows_what_one_that_was_killed_has_published() {
    let Some(redis) = services::redis() else { return };
    the_other_instance_knows(&redis).await;
}

#[tokio::test]
async fn keys_are_known_as_long_as_events_are_kept() {
    let server = Server::start(&["--retention", "2s"]).await;
    let one = r#"{"channel":"a","data":1}"#;
    assert_eq!(send(&server, "k", one).await.1["id"], "a:1");
    // Trimming is the server's own business; when it is done is seen by the answer.
    within("the key to be forgotten", async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while send(&server, "k", one).await.1["id"] == "a:1" {
            ticks.tick().await;
        }
    })
    .await;
}

/// Tokens of `shop` (two of them), and of somebody without a name.
const PUBLISHERS: &str = "[[publish-tokens]]\nname = \"shop\"\ntoken = \"old\"\nchannel = \"*\"\n\
                          [[publish-tokens]]\nname = \"shop\"\ntoken = \"new\"\nchannel = \"*\"\n\
                          [[publish-tokens]]\ntoken = \"accounts\"\nchannel = \"*\"\n";

#[tokio::test]
async fn a_key_is_its_publishers_own_whatever_the_storage() {
    let mut storages = vec!["memory".to_owned()];
    let folder = tempfile::tempdir().expect("a temporary folder");
    storages.push(format!("sqlite:{}", folder.path().join("events.db").display()));
    storages.extend(services::postgres().await);
    storages.extend(services::redis());
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, PUBLISHERS).expect("writable");
    let settings = settings.display().to_string();
    let key = unique("order-paid");
    for storage in storages {
        let server = Server::start_on(&storage, &["--config", &settings]).await;
        let send = async |token: &str, lines: &str, channel: &str| {
            let headers = format!(
                "Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\n\
                 Content-Type: application/{lines}json\r\n"
            );
            let event = json!({"channel": format!("{channel}-{key}"), "data": 1}).to_string();
            let mut answer = server.post(&event, &headers).await;
            let text = answer.body().await;
            // Whether the last answer is one with that before depends on who is quicker.
            let line = text.lines().next().unwrap_or_default();
            (answer.status, line.replace(",\"done\":true", ""))
        };
        for (lines, first) in [("", "shop"), ("x-nd", "shop-lines")] {
            let shop = send("old", lines, first).await;
            assert_eq!(shop.0, 200, "{storage}: {}", shop.1);
            assert!(shop.1.contains(":1\""), "{storage}: {}", shop.1);
            for token in ["accounts", TOKEN] {
                let channel = format!("{token}{lines}");
                let other = send(token, lines, &channel).await;
                assert!(other.1.contains(":1\""), "{storage}, {token}: {}", other.1);
                assert_eq!(send(token, lines, &channel).await, other, "{storage}: its own");
            }
            assert_eq!(send("new", lines, first).await, shop, "{storage}: an exchanged token");
        }
        assert_eq!(send("new", "", "another").await.0, 422, "{storage}");
    }
}
