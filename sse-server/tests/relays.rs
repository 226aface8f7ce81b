//! Several instances over one storage, told by each relay: no id twice, no hole, and every reader
//! of every instance gets all, in order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use instances::{Instance, within};
use serde_json::{Value, json};
use sse_server::storage::{NewEvent, RequestKey};
use testkit::{instances, services};

/// So long that only a relay can be the reason why something arrives in time.
const NEVER: Duration = Duration::from_hours(1);

/// A channel that no other test uses.
fn channel(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis();
    format!("{name}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Publishers and readers on each of some instances, at full speed.
async fn all_get_all(storage: &str, relay: &str, instances: usize) {
    const PUBLISHERS: usize = 2;
    const BATCHES: usize = 40;
    const BATCH: usize = 5;
    let total = (instances * PUBLISHERS * BATCHES * BATCH) as u64;
    let channel = channel("all");
    let mut all = Vec::new();
    for _ in 0..instances {
        all.push(Instance::start(storage, relay, NEVER).await);
    }
    let mut readers = Vec::new();
    for instance in &all {
        for _ in 0..2 {
            let mut reader = instance.reader(&format!("channel={channel}"), "").await;
            let channel = channel.clone();
            readers.push(tokio::spawn(async move { reader.all(&channel, 1, total).await }));
        }
    }
    // A relay only tells what is published while an instance listens.
    until_connected(&all).await;
    let mut publishers = Vec::new();
    for publisher in 0..instances * PUBLISHERS {
        let mut connection = all[publisher % instances].publisher().await;
        let channel = channel.clone();
        publishers.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            for batch in 0..BATCHES {
                let data: Vec<Value> = (0..BATCH).map(|n| json!([publisher, batch, n])).collect();
                let (status, batch) =
                    within("an answer", connection.try_publish(&channel, &data)).await;
                assert_eq!(status, 200);
                ids.extend(batch);
            }
            ids
        }));
    }
    let mut ids = HashSet::new();
    for publisher in publishers {
        for id in publisher.await.expect("published") {
            assert!(ids.insert(id.clone()), "{id} twice");
        }
    }
    assert_eq!(ids.len() as u64, total);
    let mut expected: Option<Vec<String>> = None;
    for reader in readers {
        let data = reader.await.expect("all events in order");
        let distinct: HashSet<_> = data.iter().collect();
        assert_eq!(distinct.len() as u64, total, "each event once");
        assert_eq!(*expected.get_or_insert_with(|| data.clone()), data, "the same order for all");
    }
}

/// Waits until what each instance publishes reaches all others.
async fn until_connected(all: &[Instance]) {
    for from in all {
        for to in all {
            let channel = channel("connected");
            let mut reader = to.reader(&format!("channel={channel}"), "").await;
            let mut publisher = from.publisher().await;
            let told = async {
                loop {
                    publisher.publish(&channel, 1).await;
                    if tokio::time::timeout(Duration::from_millis(50), reader.next()).await.is_ok()
                    {
                        return;
                    }
                }
            };
            within("the relay to connect", told).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_told_by_redis() {
    let (Some(postgres), Some(redis)) = (services::postgres().await, services::redis()) else {
        return;
    };
    all_get_all(&postgres, &redis, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_told_by_postgres() {
    let Some(postgres) = services::postgres().await else { return };
    all_get_all(&postgres, &postgres, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_told_by_rabbitmq() {
    let (Some(postgres), Some(amqp)) = (services::postgres().await, services::amqp()) else {
        return;
    };
    all_get_all(&postgres, &amqp, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_told_by_redis() {
    let Some(redis) = services::redis() else { return };
    all_get_all(&redis, &redis, 2).await;
}

/// An instance has stored a request and ends before it tells anybody; sent again, the request is
/// found by another one, which tells.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_second_try_finds_stored_is_told_to_other_instances() {
    let Some(redis) = services::redis() else { return };
    let silent = Instance::start(&redis, "none", NEVER).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(Instance::start(&redis, &redis, NEVER).await);
    }
    until_connected(&all).await;
    let channel = channel("again");
    let mut readers = Vec::new();
    for instance in &all {
        readers.push(instance.reader(&format!("channel={channel}"), "").await);
    }
    let publish = async |instance: &Instance| {
        let events = vec![NewEvent::new(&*channel, "message", "1")];
        let key = RequestKey::new("p", &channel, b"1");
        let answer = instance.hub.submit(events, Some(key)).await.expect("there is room");
        answer.await.expect("stored")
    };
    assert_eq!(publish(&silent).await, [1]);
    drop(silent);
    assert_eq!(publish(&all[0]).await, [1], "the answer of the first time");
    for reader in &mut readers {
        reader.all(&channel, 1, 1).await;
    }
}

/// A hint that never comes: the other instance has no relay.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_relay_tells_is_found_by_looking() {
    let Some(postgres) = services::postgres().await else { return };
    let Some(redis) = services::redis() else { return };
    let listening = Instance::start(&postgres, &redis, Duration::from_millis(100)).await;
    let silent = Instance::start(&postgres, "none", NEVER).await;
    let mut reader = listening.reader("channel=a&channel=b", "").await;
    let mut publisher = silent.publisher().await;
    for n in 1..=5 {
        publisher.publish("b", n).await;
        let (_, id, data) = reader.next().await;
        assert_eq!((id, data), (format!("a:0,b:{n}"), n.to_string()));
    }
}

/// More than is caught up with in memory: readers go through the storage.
#[tokio::test(flavor = "multi_thread")]
async fn much_that_was_missed_is_read_from_storage() {
    let Some(postgres) = services::postgres().await else { return };
    let listening = Instance::start(&postgres, "none", Duration::from_millis(100)).await;
    let silent = Instance::start(&postgres, "none", NEVER).await;
    let mut reader = listening.reader("channel=a", "").await;
    let data: Vec<Value> = (1..=3000).map(Value::from).collect();
    silent.publisher().await.try_publish("a", &data).await;
    reader.all("a", 1, 3000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_event_shows_those_of_others_before_it() {
    let Some(postgres) = services::postgres().await else { return };
    let listening = Instance::start(&postgres, "none", NEVER).await;
    let silent = Instance::start(&postgres, "none", NEVER).await;
    let mut reader = listening.reader("channel=a", "").await;
    let others = silent.publisher().await.publish("a", "x").await;
    let own = listening.publisher().await.publish("a", "y").await;
    assert_eq!((&*others, &*own), ("a:1", "a:2"));
    reader.all("a", 1, 2).await;
}

/// Without a storage an event has no id and reaches those who listen, on every instance.
#[tokio::test(flavor = "multi_thread")]
async fn without_storage_the_relay_carries_the_events() {
    let postgres = services::postgres().await;
    for relay in [services::redis(), postgres, services::amqp()].into_iter().flatten() {
        let all = [
            Instance::start("none", &relay, NEVER).await,
            Instance::start("none", &relay, NEVER).await,
        ];
        until_connected(&all).await;
        let channel = channel("live");
        let query = format!("channel={channel}");
        let mut readers =
            [all[0].reader(&query, "").await, all[1].reader(&query, &format!("{channel}:7")).await];
        let mut publisher = all[0].publisher().await;
        for n in 0..50 {
            assert_eq!(publisher.publish(&channel, n).await, "", "no id");
        }
        for reader in &mut readers {
            for n in 0..50 {
                let expected = ("message".to_owned(), String::new(), n.to_string());
                assert_eq!(reader.next().await, expected, "by {relay}");
            }
        }
    }
}

/// What django-eventstream's `send_event` publishes to Redis.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_the_format_of_django_eventstream_reaches_readers() {
    let Some(redis) = services::redis() else { return };
    let client = redis::Client::open(&*redis).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it runs");
    let channel = channel("django");
    let all = [
        Instance::start("none", &redis, NEVER).await,
        Instance::start("memory", &redis, NEVER).await,
        Instance::start(&redis, &redis, NEVER).await,
    ];
    // It has no id of its own; what the client knows stays what it was.
    for (instance, id) in all.iter().zip(["", &*format!("{channel}:0"), &*format!("{channel}:0")]) {
        let mut reader = instance.reader(&format!("channel={channel}"), "").await;
        // Published until it arrives: the relay may not be connected yet.
        let unreliable = json!({
            "channel": channel, "event_type": "greeting", "data": "{\"a\": 1}", "pub_id": null,
        });
        let seen = loop {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg("events_channel").arg(unreliable.to_string());
            publish.query_async::<i64>(&mut connection).await.expect("published");
            let next = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
            if let Ok(next) = next {
                break next;
            }
        };
        assert_eq!(seen, ("greeting".to_owned(), id.to_owned(), "{\"a\": 1}".to_owned()));
    }
    // With ids: as RedisStorage stores it, then publishes it.
    let mut reader = all[2].reader(&format!("channel={channel}"), "").await;
    let mut stored = redis::pipe();
    stored.cmd("INCR").arg(format!("event_counter:{channel}")).ignore();
    stored.cmd("SETEX").arg(format!("event:{channel}:1")).arg(86400);
    stored.arg(r#"{"type": "message", "data": "{\"a\": 2}"}"#).ignore();
    let reliable = json!({
        "channel": channel, "event_type": "message", "data": "{\"a\": 2}", "pub_id": "1",
    });
    stored.cmd("PUBLISH").arg("events_channel").arg(reliable.to_string()).ignore();
    stored.query_async::<()>(&mut connection).await.expect("stored");
    let expected = ("message".to_owned(), format!("{channel}:1"), "{\"a\": 2}".to_owned());
    let mut next = reader.next().await;
    while next.0 == "greeting" {
        // One of those that were published until the first one arrived.
        next = reader.next().await;
    }
    assert_eq!(next, expected);
}
