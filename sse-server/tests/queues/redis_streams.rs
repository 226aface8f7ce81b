//! Redis streams, which Redis keeps: readers go on by ids of entries.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sse_server::views::queues::{Payload, Queue, QueueBuilder};
use testkit::services::Own;
use testkit::wait::until;

use crate::{back, event, get, next, reader, reset, serve_queue};

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("it runs")
}

pub(crate) async fn run<T: redis::FromRedisValue>(
    redis: &mut MultiplexedConnection,
    line: &str,
) -> T {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().expect("a word"));
    for word in words {
        command.arg(word);
    }
    command.query_async(redis).await.expect(line)
}

async fn queue(redis: &Own, builder: QueueBuilder) -> Queue {
    builder.redis_streams(&redis.url()).await.expect("it runs")
}

#[tokio::test]
async fn entries_arrive_with_their_ids_and_those_who_come_back_miss_none() {
    let Some(redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder().tail(2).linger(Duration::ZERO)).await;
    let address = serve_queue(&queue).await;
    let mut raw = connection(&redis.url()).await;
    let (mut live, begin) = reader(address, "a").await;
    assert_eq!(begin, "0-0", "there is no such stream yet");
    let mut ids = vec![begin];
    for n in 1..=300 {
        let id: String = run(&mut raw, &format!("XADD a * event number data {n}")).await;
        if n % 7 == 0 {
            let sent = queue.send_text("b", "message", "for others").await.expect("sent");
            assert!(sent.expect("an id").ends_with("-0"));
        }
        let event = event(&mut live).await;
        assert_eq!(event, format!("event: number\nid: {id}\ndata: {n}\n\n"));
        ids.push(id);
    }
    // From the tail, from one page, from several.
    for at in [299, 298, 200, 0] {
        let mut reader = back(address, "a", &ids[at]).await;
        for (n, id) in ids.iter().enumerate().skip(at + 1) {
            let data = if n <= 300 { n.to_string() } else { "later".to_owned() };
            assert_eq!(next(&mut reader).await, (data, id.clone()));
        }
        let id: String = run(&mut raw, "XADD a * data later").await;
        for reader in [&mut reader, &mut live] {
            assert_eq!(next(reader).await, ("later".to_owned(), id.clone()));
        }
        ids.push(id);
    }
    // All fields of an entry that has no `data`.
    let _: String = run(&mut raw, "XADD a * sensor 7 temperature 21").await;
    assert_eq!(next(&mut live).await.0, "{\"sensor\":\"7\",\"temperature\":\"21\"}");
}

#[tokio::test]
async fn a_reader_whose_entries_are_trimmed_or_of_another_stream_is_told() {
    let Some(redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder().tail(2).linger(Duration::ZERO)).await;
    let address = serve_queue(&queue).await;
    let mut raw = connection(&redis.url()).await;
    let mut ids: Vec<String> = Vec::new();
    for n in 0..6 {
        ids.push(run(&mut raw, &format!("XADD a * data {n}")).await);
    }
    let _: usize = run(&mut raw, "XTRIM a MAXLEN 3").await;
    for (at, is_whole) in [(0, false), (2, false), (3, true), (5, true)] {
        let mut reader = back(address, "a", &ids[at]).await;
        if is_whole {
            for (n, id) in ids.iter().enumerate().skip(at + 1) {
                assert_eq!(next(&mut reader).await, (n.to_string(), id.clone()));
            }
        } else {
            assert_eq!(reset(&mut reader).await, ids[5]);
        }
    }
    for id in ["0-0", "1-1", "9999999999999-0", "other", "7"] {
        let mut reader = back(address, "a", id).await;
        assert_eq!(reset(&mut reader).await, ids[5], "{id}");
    }
    // One that keeps next to nothing, and more than that is added at once.
    let (mut quick, _) = reader(address, "short").await;
    for n in 0..20 {
        let _: String = run(&mut raw, &format!("XADD short MAXLEN 1 * data {n}")).await;
        assert_eq!(next(&mut quick).await.0, n.to_string());
    }
    let mut burst = redis::pipe();
    for n in 0..5 {
        burst.atomic().cmd("XADD").arg("short").arg("MAXLEN").arg(1).arg("*").arg("data").arg(n);
    }
    let _: Vec<String> = burst.query_async(&mut raw).await.expect("added");
    reset(&mut quick).await;
    let _: String = run(&mut raw, "XADD short * data next").await;
    assert_eq!(next(&mut quick).await.0, "next");
    // The stream is another one, while it is read.
    let (mut live, _) = reader(address, "a").await;
    let _: usize = run(&mut raw, "DEL a").await;
    let _: String = run(&mut raw, "XADD a * data new").await;
    let now = reset(&mut live).await;
    let mut again = back(address, "a", &now).await;
    let mut before = back(address, "a", &ids[4]).await;
    reset(&mut before).await;
    let _: String = run(&mut raw, "XADD a * data newer").await;
    for reader in [&mut live, &mut again, &mut before] {
        assert_eq!(next(reader).await.0, "newer");
    }
    let _: () = run(&mut raw, "SET text x").await;
    let mut refused = get(address, "/text", "").await;
    assert_eq!(refused.status, 404);
    assert!(refused.body().await.contains("is a key of Redis, but no stream"));
    // That harms nobody else.
    let _: String = run(&mut raw, "XADD a * data last").await;
    assert_eq!(next(&mut live).await.0, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_nothing_that_redis_still_has_and_what_it_has_lost_is_told() {
    let Some(mut redis) = Own::redis().await else { return };
    let queue = queue(&redis, Queue::builder()).await;
    let address = serve_queue(&queue).await;
    let (mut reader, _) = reader(address, "a").await;
    queue.send_text("a", "message", "before").await.expect("sent");
    let (_, before) = next(&mut reader).await;
    // The connections are lost; the entries are not.
    let mut raw = connection(&redis.url()).await;
    let _: usize = run(&mut raw, "CLIENT KILL TYPE normal SKIPME yes").await;
    let _: String = run(&mut raw, "XADD a * data meanwhile").await;
    assert_eq!(next(&mut reader).await.0, "meanwhile");
    // This one keeps nothing.
    redis.kill();
    redis.start().await;
    reset(&mut reader).await;
    queue.send_text("a", "message", "after").await.expect("sent");
    assert_eq!(next(&mut reader).await.0, "after");
    let mut away = back(address, "a", &before).await;
    reset(&mut away).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_are_few_connections_and_a_slow_one_misses_nothing() {
    let Some(redis) = Own::redis().await else { return };
    let builder = Queue::builder().tail(4).linger(Duration::from_millis(50));
    let queue = queue(&redis, builder.payload(Payload::Envelope)).await;
    let address = serve_queue(&queue).await;
    let mut raw = connection(&redis.url()).await;
    let before: String = run(&mut raw, "CLIENT LIST").await;
    let mut readers = Vec::new();
    for n in 0..200 {
        readers.push(reader(address, &format!("stream-{}", n % 20)).await.0);
    }
    let (mut slow, _) = reader(address, "stream-0").await;
    let list: String = run(&mut raw, "CLIENT LIST").await;
    assert!(list.lines().count() <= before.lines().count() + 3, "{list}");
    let large = "x".repeat(100_000);
    for n in 0..200 {
        queue.send_text("stream-0", "message", format!("{n} {large}")).await.expect("sent");
    }
    for n in 0..200 {
        assert!(next(&mut slow).await.0.starts_with(&format!("{n} ")), "{n}");
    }
    for (n, reader) in readers.iter_mut().enumerate().take(20).skip(1) {
        let channel = format!("stream-{n}");
        queue.send_text(&channel, "message", channel.clone()).await.expect("sent");
        assert_eq!(next(reader).await.0, channel);
    }
    readers.clear();
    drop(slow);
    until("nobody to wait for entries", async || {
        let list: String = run(&mut raw, "CLIENT LIST").await;
        !list.contains("flags=b")
    })
    .await;
}
