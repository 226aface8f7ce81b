//! Channels of Redis' publish/subscribe.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sse_server::views::queues::{Payload, Queue, QueueBuilder};
use testkit::services::Own;
use testkit::wait::until;

use crate::{back, event, get, next, reader, reset, serve_queue};

async fn connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("it runs")
}

/// As any other program does it.
async fn publish(redis: &mut MultiplexedConnection, channel: &str, bytes: impl AsRef<[u8]>) {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(bytes.as_ref()).exec_async(redis).await.expect("published");
}

async fn subscribers(redis: &mut MultiplexedConnection, channel: &str) -> usize {
    let mut command = redis::cmd("PUBSUB");
    command.arg("NUMSUB").arg(channel);
    let (_, count): (String, usize) = command.query_async(redis).await.expect("an answer");
    count
}

async fn queue(redis: &Own, builder: QueueBuilder) -> Queue {
    builder.redis_channels(&redis.url()).await.expect("it runs")
}

#[tokio::test]
async fn what_anybody_publishes_arrives_at_every_reader_of_the_channel_and_at_no_other() {
    let Some(redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder()).await;
    let address = serve_queue(&queue).await;
    let (mut one, _) = reader(address, "a").await;
    let (mut two, _) = reader(address, "a").await;
    let (mut other, _) = reader(address, "b").await;
    let mut redis = connection(&redis.url()).await;
    publish(&mut redis, "a", "two\nlines").await;
    publish(&mut redis, "a", b"not \xff UTF-8").await;
    publish(&mut redis, "b", "for b").await;
    for reader in [&mut one, &mut two] {
        reader.until("\ndata: two\ndata: lines\n\n").await;
        assert_eq!(next(reader).await.0, "not \u{fffd} UTF-8");
    }
    assert_eq!(next(&mut other).await.0, "for b");
    assert_eq!(queue.send_text("a", "message", "ours").await.expect("sent"), None);
    assert_eq!(next(&mut one).await.0, "ours");
    // There is no place for another type.
    assert!(queue.send_text("a", "other", "x").await.is_err());
}

#[tokio::test]
async fn a_type_comes_from_the_envelope_and_what_is_no_event_harms_nobody() {
    let Some(redis) = Own::redis().await else { return };
    for payload in [Payload::Envelope, Payload::Pair] {
        let builder = Queue::builder().payload(payload).event_type("note").max_event_len(100);
        let queue = queue(&redis, builder).await;
        let address = serve_queue(&queue).await;
        let (mut reader, _) = reader(address, "a").await;
        let mut raw = connection(&redis.url()).await;
        let injected = "[\"a\\ndata: injected\", \"x\"]";
        let reserved = "[\"stream-reset\", \"x\"]";
        for text in ["", "17", "{\"event\": \"keep-alive\", \"text\": \"x\"}", injected, reserved] {
            publish(&mut raw, "a", text).await;
        }
        queue.send_event("a", "price", &[17]).await.expect("sent");
        let price = reader.until("data: [17]\n\n").await;
        assert!(price.starts_with("event: price\nid: "), "{price}");
        let expected = if payload == Payload::Envelope {
            publish(&mut raw, "a", "{\"data\": {\"a\": 1}}").await;
            "event: note\n"
        } else {
            publish(&mut raw, "a", "[\"kind\", {\"a\": 1}]").await;
            "event: kind\n"
        };
        assert!(reader.until("\ndata: {\"a\"").await.starts_with(expected));
        event(&mut reader).await;
        // One that is too large was an event.
        publish(&mut raw, "a", format!("[\"kind\", \"{0}\"]", "x".repeat(100))).await;
        publish(&mut raw, "a", format!("{{\"text\": \"{0}\"}}", "x".repeat(101))).await;
        reset(&mut reader).await;
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_or_is_told_that_it_has_missed_something() {
    let Some(redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder().tail(4)).await;
    let address = serve_queue(&queue).await;
    let (mut first, begin) = reader(address, "a").await;
    let mut redis = connection(&redis.url()).await;
    let mut ids = vec![begin];
    for n in 0..4 {
        publish(&mut redis, "a", n.to_string()).await;
        let (data, id) = next(&mut first).await;
        assert_eq!(data, n.to_string());
        ids.push(id);
    }
    // The channel stays for a while.
    drop(first);
    for (at, id) in ids.iter().enumerate() {
        let mut reader = back(address, "a", id).await;
        for n in at..4 {
            assert_eq!(next(&mut reader).await.0, n.to_string());
        }
    }
    let (mut first, now) = reader(address, "a").await;
    assert_eq!(now, ids[4]);
    publish(&mut redis, "a", "4").await;
    assert_eq!(next(&mut first).await.0, "4");
    for id in [&*ids[0], "1-0", "other", "1700000000000-0"] {
        let mut reader = back(address, "a", id).await;
        let at = reset(&mut reader).await;
        let mut again = back(address, "a", &at).await;
        publish(&mut redis, "a", "later").await;
        for reader in [&mut reader, &mut again, &mut first] {
            assert_eq!(next(reader).await.0, "later");
        }
    }
    assert_eq!(get(address, "/a", "Last-Event-ID: error\r\n").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_service_is_told_and_the_streams_go_on() {
    let Some(mut redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder()).await;
    let address = serve_queue(&queue).await;
    let (mut reader, _) = reader(address, "a").await;
    queue.send_text("a", "message", "before").await.expect("sent");
    let (_, before) = next(&mut reader).await;
    for round in 0..2 {
        redis.kill();
        let sent = queue.send_text("a", "message", "lost").await;
        assert!(sent.is_err(), "nobody has taken it");
        redis.start().await;
        reset(&mut reader).await;
        queue.send_text("a", "message", format!("after {round}")).await.expect("sent");
        assert_eq!(next(&mut reader).await.0, format!("after {round}"));
    }
    // Who was away is told as well.
    let mut away = back(address, "a", &before).await;
    reset(&mut away).await;
}

#[tokio::test]
async fn a_service_that_is_away_is_an_answer_and_no_hanging() {
    let Some(mut redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder()).await;
    let address = serve_queue(&queue).await;
    redis.kill();
    let mut response = get(address, "/a", "").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    let body = response.body().await;
    assert!(body.contains("\"unavailable\"") && !body.contains("onnection"), "{body}");
    redis.start().await;
    reader(address, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_are_one_connection_and_one_subscription_which_ends_with_the_last() {
    let Some(redis) = Own::redis().await else { return };
    let linger = Duration::from_millis(50);
    let queue = queue(&redis, Queue::builder().linger(linger)).await;
    let address = serve_queue(&queue).await;
    let mut raw = connection(&redis.url()).await;
    let mut readers = Vec::new();
    for _ in 0..200 {
        readers.push(reader(address, "a").await.0);
    }
    readers.push(reader(address, "b").await.0);
    assert_eq!(subscribers(&mut raw, "a").await, 1);
    let mut list = redis::cmd("CLIENT");
    let list: String =
        list.arg("LIST").arg("TYPE").arg("pubsub").query_async(&mut raw).await.expect("a list");
    assert_eq!(list.lines().count(), 1, "{list}");
    publish(&mut raw, "a", "to all").await;
    for reader in &mut readers[..200] {
        assert_eq!(next(reader).await.0, "to all");
    }
    readers.truncate(1);
    until("b to be left", async || subscribers(&mut raw, "b").await == 0).await;
    assert_eq!(subscribers(&mut raw, "a").await, 1, "one is left");
    readers.clear();
    until("a to be left", async || subscribers(&mut raw, "a").await == 0).await;
    // And anew.
    let (mut reader, _) = reader(address, "a").await;
    publish(&mut raw, "a", "again").await;
    assert_eq!(next(&mut reader).await.0, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_told_later_and_holds_up_nobody() {
    let Some(redis) = Own::redis().await else { return };
    let linger = Duration::ZERO;
    let queue = queue(&redis, Queue::builder().linger(linger).tail(8)).await;
    let address = serve_queue(&queue).await;
    let (mut slow, _) = reader(address, "a").await;
    let (mut quick, _) = reader(address, "a").await;
    let mut raw = connection(&redis.url()).await;
    let large = "x".repeat(200_000);
    for n in 0..150 {
        publish(&mut raw, "a", format!("{n} {large}")).await;
        assert!(next(&mut quick).await.0.starts_with(&format!("{n} ")));
    }
    slow.until("event: stream-reset\n").await;
    publish(&mut raw, "a", "last").await;
    slow.until("data: last\n\n").await;
    drop((slow, quick));
    until("it to be left", async || subscribers(&mut raw, "a").await == 0).await;
}
