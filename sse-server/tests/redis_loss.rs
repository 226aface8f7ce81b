//! Redis loses everything: readers of lost events are told, on every instance, and no id is used
//! again.

use std::time::Duration;

use instances::{Instance, Publisher, Reader, within};
use serde_json::Value;
use services::Own;
use testkit::{instances, services};

/// So long that it is not the regular look which notices something.
const NEVER: Duration = Duration::from_hours(1);

/// The position in the channel `a` that a reader is reset to.
async fn reset(reader: &mut Reader) -> u64 {
    let (kind, id, data) = reader.next().await;
    assert_eq!((&*kind, &*data), ("stream-reset", r#"{"channels": ["a"]}"#));
    position(&id)
}

fn position(id: &str) -> u64 {
    id.strip_prefix("a:").and_then(|id| id.parse().ok()).expect("a position in a")
}

async fn flush(redis: &Own) {
    ask(redis, &["FLUSHALL"]).await;
}

async fn ask(redis: &Own, command: &[&str]) {
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it runs");
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]).query_async::<redis::Value>(&mut connection).await.expect("done");
}

/// Two instances of which one has noticed that Redis has lost everything.
struct Loss {
    there: Instance,
    /// Of the instance that knows, as is the reader, which was told.
    publisher: Publisher,
    reader: Reader,
    /// The first event since.
    first: u64,
    /// What has to go on meanwhile: that instance, and a reader of the other one.
    _others: (Instance, Reader),
}

impl Loss {
    async fn noticed_here(redis: &Own) -> Self {
        let here = Instance::start(&redis.url(), "none", NEVER).await;
        let there = Instance::start(&redis.url(), "none", NEVER).await;
        let mut publisher = here.publisher().await;
        let mut reader = here.reader("channel=a", "a:0").await;
        for n in 1..=5 {
            publisher.publish("a", n).await;
        }
        reader.all("a", 1, 5).await;
        // The other instance knows the log as it was.
        let mut old = there.reader("channel=a", "a:0").await;
        old.all("a", 1, 5).await;
        flush(redis).await;
        let first = position(&publisher.publish("a", "x").await);
        assert_eq!(reset(&mut reader).await, first - 1);
        Self { there, publisher, reader, first, _others: (here, old) }
    }
}

/// Redis without persistence forgets everything. Readers are told, and go on.
#[tokio::test(flavor = "multi_thread")]
async fn readers_are_told_that_redis_has_lost_its_events() {
    let Some(mut redis) = Own::redis().await else { return };
    let url = redis.url();
    let instance = Instance::start(&url, "none", Duration::from_millis(100)).await;
    let mut publisher = instance.publisher().await;
    for n in 1..=5 {
        assert_eq!(publisher.publish("a", n).await, format!("a:{n}"));
    }
    let mut reader = instance.reader("channel=a", "a:3").await;
    reader.all("a", 4, 5).await;
    redis.kill();
    redis.start().await;
    let at = reset(&mut reader).await;
    assert!(at > 5, "{at} is no position of before");
    assert_eq!(publisher.publish("a", "new").await, format!("a:{}", at + 1));
    reader.all("a", at + 1, at + 1).await;
    for seen in ["a:0", "a:3", "a:5"] {
        let mut late = instance.reader("channel=a", seen).await;
        assert_eq!(reset(&mut late).await, at + 1);
    }
    let mut late = instance.reader("channel=a", &format!("a:{at}")).await;
    late.all("a", at + 1, at + 1).await;
}

/// The first event after the loss is what reveals it, not the next look.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_is_noticed_when_it_is_appended_to() {
    let Some(redis) = Own::redis().await else { return };
    let instance = Instance::start(&redis.url(), "none", NEVER).await;
    let mut publisher = instance.publisher().await;
    let mut reader = instance.reader("channel=a", "").await;
    for n in 1..=5 {
        publisher.publish("a", n).await;
    }
    reader.all("a", 1, 5).await;
    flush(&redis).await;
    let first = position(&publisher.publish("a", "x").await);
    assert!(first > 5);
    assert_eq!(reset(&mut reader).await, first - 1, "nothing of what comes after it is left out");
    publisher.publish("a", "y").await;
    reader.all("a", first, first + 1).await;
}

/// Others have published more than there was before anybody looks: it is not taken for what comes
/// next.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_lost_and_is_longer_again_is_no_continuation() {
    let Some(redis) = Own::redis().await else { return };
    let here = Instance::start(&redis.url(), "none", NEVER).await;
    let there = Instance::start(&redis.url(), "none", NEVER).await;
    let mut publisher = there.publisher().await;
    let mut reader = here.reader("channel=a", "a:0").await;
    for n in 1..=5 {
        publisher.publish("a", n).await;
    }
    let mut also = here.reader("channel=a", "a:5").await;
    reader.all("a", 1, 5).await;
    flush(&redis).await;
    let data: Vec<Value> = (1..=20).map(Value::from).collect();
    let (status, ids) = within("an answer", publisher.try_publish("a", &data)).await;
    assert_eq!(status, 200);
    assert!(position(&ids[0]) > 5, "{ids:?}: no id is used again");
    // Its own event makes it look.
    let own = position(&here.publisher().await.publish("a", "own").await);
    assert_eq!(own, position(&ids[19]) + 1);
    for reader in [&mut reader, &mut also] {
        let at = reset(reader).await;
        assert_eq!(at, position(&ids[0]) - 1, "nothing of what comes after it is left out");
        reader.all("a", at + 1, own).await;
    }
    let mut moved = there.reader("channel=a", "a:5").await;
    assert_eq!(reset(&mut moved).await, own);
}

/// A reader that was told goes on at an instance that learns of the loss only then: it is not told
/// again, goes not back, and gets nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_of_a_loss_is_not_told_again_by_an_instance_that_learns_later() {
    let Some(redis) = Own::redis().await else { return };
    let Loss { there, mut publisher, mut reader, first, _others } =
        Loss::noticed_here(&redis).await;
    for n in 1..8 {
        publisher.publish("a", n).await;
    }
    reader.all("a", first, first + 7).await;
    let mut moved = there.reader("channel=a", &format!("a:{}", first + 3)).await;
    let own = position(&there.publisher().await.publish("a", "own").await);
    assert_eq!(own, first + 8);
    moved.all("a", first + 4, own).await;
}

/// Who came in right after the loss stands where the new log begins, and has missed nothing: an
/// instance that learns of the loss later does not tell it of one. Nor one that has got the first
/// events since, or all.
#[tokio::test(flavor = "multi_thread")]
async fn who_stands_where_the_new_log_begins_is_told_of_no_loss_elsewhere() {
    for seen in [0, 1, 3] {
        let Some(redis) = Own::redis().await else { return };
        let Loss { there, mut publisher, first, reader: _reader, _others } =
            Loss::noticed_here(&redis).await;
        for n in 1..3 {
            publisher.publish("a", n).await;
        }
        let at = first - 1 + seen;
        let mut moved = there.reader("channel=a", &format!("a:{at}")).await;
        let own = position(&there.publisher().await.publish("a", "own").await);
        assert_eq!(own, first + 3);
        moved.all("a", at + 1, own).await;
    }
}

/// It begins at 1, and those who know better raise it as soon as they look.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_starts_after_the_loss_does_not_begin_anew_for_long() {
    let Some(redis) = Own::redis().await else { return };
    let here = Instance::start(&redis.url(), "none", Duration::from_millis(100)).await;
    let mut publisher = here.publisher().await;
    for n in 1..=5 {
        publisher.publish("a", n).await;
    }
    let mut reader = here.reader("channel=a", "a:4").await;
    reader.all("a", 5, 5).await;
    let flushed_and_new = async {
        flush(&redis).await;
        Instance::start(&redis.url(), "none", Duration::from_millis(100)).await
    };
    let new = flushed_and_new.await;
    let data: Vec<Value> = (1..=20).map(Value::from).collect();
    let (_, ids) = within("an answer", new.publisher().await.try_publish("a", &data)).await;
    let at = reset(&mut reader).await;
    assert!(at > position(&ids[19]) || position(&ids[0]) > 5, "{ids:?}, {at}");
    assert!(position(&publisher.publish("a", "own").await) > at.max(5));
    let mut moved = new.reader("channel=a", "a:5").await;
    assert!(reset(&mut moved).await > at);
}

/// Django's storage counts from 1 again. What it publishes belongs to the log that begins anew,
/// also if its counter is there before the event is.
#[tokio::test(flavor = "multi_thread")]
async fn what_django_publishes_after_the_loss_arrives() {
    let Some(redis) = Own::redis().await else { return };
    let here = Instance::start(&redis.url(), "none", Duration::from_millis(100)).await;
    let mut publisher = here.publisher().await;
    publisher.publish("a", 1).await;
    let mut reader = here.reader("channel=a", "a:0").await;
    reader.all("a", 1, 1).await;
    flush(&redis).await;
    let at = reset(&mut reader).await;
    ask(&redis, &["INCR", "event_counter:a"]).await;
    ask(&redis, &["SET", "event:a:1", r#"{"type": "message", "data": "1"}"#]).await;
    reader.all("a", at + 1, at + 1).await;
    let after = at + 1;
    // From now on Django counts on from there.
    ask(&redis, &["SET", &format!("event:a:{}", after + 1), r#"{"type": "message", "data": "2"}"#])
        .await;
    ask(&redis, &["INCR", "event_counter:a"]).await;
    reader.all("a", after + 1, after + 1).await;
}

/// The counter of the channel `a` is lost in some way, and nothing else is.
async fn a_lost_counter_is_told(lose: impl AsyncFn(&Own)) {
    let Some(redis) = Own::redis().await else { return };
    // It does not look: only who appends can notice.
    let instance = Instance::start(&redis.url(), "none", NEVER).await;
    let mut publisher = instance.publisher().await;
    for n in 1..=5 {
        publisher.publish("a", n).await;
    }
    let mut reader = instance.reader("channel=a", "a:3").await;
    reader.all("a", 4, 5).await;
    lose(&redis).await;
    let data: Vec<Value> = (1..=7).map(Value::from).collect();
    let (status, ids) = within("an answer", publisher.try_publish("a", &data)).await;
    assert_eq!(status, 200);
    let (first, last) = (position(&ids[0]), position(&ids[6]));
    assert!(first > 5, "{ids:?}: no id is used again");
    assert_eq!(reset(&mut reader).await, last);
    // Who was away, and had seen all or a part.
    for seen in ["a:5", "a:2"] {
        let mut late = instance.reader("channel=a", seen).await;
        let (mut kind, mut id, mut told) = late.next().await;
        while kind == "message" {
            assert!(position(&id) <= 5, "{id} comes after a gap");
            (kind, id, told) = late.next().await;
        }
        assert_eq!((&*kind, &*told), ("stream-reset", r#"{"channels": ["a"]}"#));
        assert_eq!(position(&id), last);
    }
    // And it goes on from there, for another instance too.
    let other = Instance::start(&redis.url(), "none", NEVER).await;
    let next = other.publisher().await.publish("a", "next").await;
    assert_eq!(next, format!("a:{}", last + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_was_deleted_makes_no_id_come_twice_and_is_told() {
    a_lost_counter_is_told(async |redis| ask(redis, &["DEL", "event_counter:a"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_of_an_older_copy_makes_no_id_come_twice_and_is_told() {
    a_lost_counter_is_told(async |redis| ask(redis, &["SET", "event_counter:a", "2"]).await).await;
}

/// Real eviction takes what it likes: whatever is missing then, nobody is left in the belief that
/// nothing is.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_evicted_make_no_id_come_twice_and_are_told() {
    let Some(redis) = Own::redis().await else { return };
    let instance = Instance::start(&redis.url(), "none", NEVER).await;
    let mut publisher = instance.publisher().await;
    let channels: Vec<String> = (0..40).map(|n| format!("quiet-{n}")).collect();
    let old: Vec<Value> = (1..=5).map(Value::from).collect();
    for channel in &channels {
        let (status, ids) = within("an answer", publisher.try_publish(channel, &old)).await;
        assert_eq!((status, &*ids[4]), (200, &*format!("{channel}:5")));
    }
    ask(&redis, &["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).await;
    ask(&redis, &["CONFIG", "SET", "maxmemory", "3mb"]).await;
    let large: Vec<Value> = (0..20).map(|_| Value::from("x".repeat(1000))).collect();
    for _ in 0..200 {
        // It may be that Redis, full, refuses one.
        within("an answer", publisher.try_publish("other", &large)).await;
    }
    ask(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    for channel in &channels {
        let new: Vec<Value> = (1..=7).map(|n| Value::from(format!("new {n}"))).collect();
        let (status, ids) = within("an answer", publisher.try_publish(channel, &new)).await;
        assert_eq!(status, 200);
        let number = |id: &str| -> u64 {
            let (_, number) = id.rsplit_once(':').expect("an id");
            number.parse().expect("a number")
        };
        assert!(number(&ids[0]) > 5, "{ids:?}: no id is used again");
        let resume = format!("{channel}:5");
        let mut late = instance.reader(&format!("channel={channel}"), &resume).await;
        let (kind, id, data) = late.next().await;
        if kind == "stream-reset" {
            assert_eq!(number(&id), number(&ids[6]));
        } else {
            assert_eq!((&*id, &*data), (&*format!("{channel}:6"), "\"new 1\""), "nothing between");
        }
    }
}
