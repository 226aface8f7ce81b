//! Services that end and come back under load: nothing is lost, repeated or out of order, readers
//! stay connected, and who can no longer be served right is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use instances::{Instance, Publisher, within};
use serde_json::{Value, json};
use services::Own;
use testkit::{instances, services};
use tokio::task::JoinHandle;

/// So long that only the relay can be the reason why something arrives in time.
const NEVER: Duration = Duration::from_hours(1);

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Publishes numbers, one by one, until it is told to end; what is refused it tries again. Returns
/// what each id was given for.
fn publish_on(
    mut publisher: Publisher,
    name: u64,
    is_over: Arc<AtomicBool>,
) -> JoinHandle<(BTreeMap<u64, String>, u64)> {
    tokio::spawn(async move {
        let mut acknowledged = BTreeMap::new();
        let mut refused = 0;
        let mut n = 0;
        while !is_over.load(Ordering::SeqCst) {
            let data = json!([name, n]);
            let (status, ids) =
                within("an answer", publisher.try_publish("a", std::slice::from_ref(&data))).await;
            if status == 200 {
                let (_, id) = ids[0].split_once(':').expect("an id");
                acknowledged.insert(id.parse().expect("a number"), format!("[{name}, {n}]"));
                n += 1;
            } else {
                assert_eq!(status, 503);
                refused += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (acknowledged, refused)
    })
}

/// What was published while this relay was down arrives when it is back.
async fn is_made_up_for(mut relay: Own) {
    let Some(postgres) = services::postgres().await else { return };
    let here = Instance::start(&postgres, &relay.url(), NEVER).await;
    let there = Instance::start(&postgres, &relay.url(), NEVER).await;
    let mut reader = there.reader("channel=a", "").await;
    // Its hints cannot arrive late: it has no relay to send them over.
    let silent = Instance::start(&postgres, "none", NEVER).await;
    let mut publisher = here.publisher().await;
    publisher.publish("a", 0).await;
    reader.all("a", 1, 1).await;
    relay.stop();
    let (status, _) = within("an answer", publisher.try_publish("other", &[json!(1)])).await;
    assert_eq!(status, 200, "publishing needs no relay");
    let mut publisher = silent.publisher().await;
    let data: Vec<Value> = (1..300).map(Value::from).collect();
    for data in data.chunks(10) {
        let (status, _) = within("an answer", publisher.try_publish("a", data)).await;
        assert_eq!(status, 200);
    }
    assert_eq!(here.status("/health/ready").await, 200);
    relay.start().await;
    reader.all("a", 2, 300).await;
    // And hints arrive again, not only the look after connecting; but the one with which it is
    // found that the connection was lost is lost too.
    let mut publisher = here.publisher().await;
    within("a hint", async {
        loop {
            publisher.publish("a", "x").await;
            let next = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
            if let Ok((_, id, _)) = next {
                return assert_eq!(id, "a:301");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_did_not_tell_while_it_was_down_arrives_when_it_is_back() {
    let Some(redis) = Own::redis().await else { return };
    is_made_up_for(redis).await;
}

/// As a relay only; the events are in another one.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_did_not_tell_while_it_was_down_arrives_when_it_is_back() {
    let Some(postgres) = Own::postgres().await else { return };
    is_made_up_for(postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rabbitmq_did_not_tell_while_it_was_down_arrives_when_it_is_back() {
    let Some(rabbitmq) = Own::rabbitmq().await else { return };
    is_made_up_for(rabbitmq).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_comes_and_goes_under_load_loses_nothing() {
    let Some(postgres) = services::postgres().await else { return };
    let Some(mut relay) = Own::redis().await else { return };
    let instances = [
        Instance::start(&postgres, &relay.url(), Duration::from_millis(200)).await,
        Instance::start(&postgres, &relay.url(), Duration::from_millis(200)).await,
    ];
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let mut publishers = Vec::new();
    // All of them before the first event.
    for instance in &instances {
        readers.push(instance.reader("channel=a", "").await);
    }
    for (name, instance) in (0..).zip(&instances) {
        publishers.push(publish_on(instance.publisher().await, name, is_over.clone()));
    }
    for _ in 0..3 {
        relay.stop();
        advance(&instances[0], 50).await;
        relay.start().await;
        advance(&instances[0], 50).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeMap::new();
    for publisher in publishers {
        let (own, refused) = publisher.await.expect("published");
        assert_eq!(refused, 0, "publishing needs no relay");
        acknowledged.extend(own);
    }
    let last = acknowledged.len() as u64;
    for reader in &mut readers {
        let data = reader.all("a", 1, last).await;
        assert!(data.iter().eq(acknowledged.values()), "every event where it was said to be");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_under_load_loses_and_repeats_nothing() {
    let Some(mut postgres) = Own::postgres().await else { return };
    let url = postgres.url();
    let instances = [
        Instance::start(&url, &url, Duration::from_millis(200)).await,
        Instance::start(&url, &url, Duration::from_millis(200)).await,
    ];
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    let mut publishers = Vec::new();
    // All of them before the first event.
    for instance in &instances {
        readers.push(instance.reader("channel=a", "").await);
    }
    for (name, instance) in (0..).zip(&instances) {
        publishers.push(publish_on(instance.publisher().await, name, is_over.clone()));
    }
    advance(&instances[0], 50).await;
    postgres.stop();
    until("both not to be ready", async || {
        instances[0].status("/health/ready").await == 503
            && instances[1].status("/health/ready").await == 503
    })
    .await;
    // One publisher at least is refused before the database is back.
    let mut publisher = instances[0].publisher().await;
    let (status, _) = within("an answer", publisher.try_publish("b", &[json!(1)])).await;
    assert_eq!(status, 503);
    assert_eq!(instances[0].status("/health/live").await, 200);
    postgres.start().await;
    until("both to be ready", async || {
        instances[0].status("/health/ready").await == 200
            && instances[1].status("/health/ready").await == 200
    })
    .await;
    advance(&instances[0], 50).await;
    is_over.store(true, Ordering::SeqCst);
    let mut acknowledged = BTreeMap::new();
    for publisher in publishers {
        let (own, _) = publisher.await.expect("published");
        let before = acknowledged.len();
        let count = own.len();
        acknowledged.extend(own);
        assert_eq!(acknowledged.len(), before + count, "no id twice");
    }
    // What was committed when the connection broke is there without having been acknowledged.
    let last = instances[0].storage.head("a").await.expect("it answers");
    let first = readers[0].all("a", 1, last).await;
    for (id, data) in &acknowledged {
        let index = usize::try_from(id - 1).expect("small");
        assert_eq!(first[index], *data, "the event with the id {id}");
    }
    assert!(last - acknowledged.len() as u64 <= 2, "one of each publisher was under way");
    assert_eq!(readers[1].all("a", 1, last).await, first);
}

/// Waits until there are this many more events.
async fn advance(instance: &Instance, by: u64) {
    let head = async || instance.storage.head("a").await.unwrap_or(0);
    let mut start = head().await;
    until("more events", async || {
        let now = head().await;
        if start == 0 {
            start = now;
        }
        start > 0 && now >= start + by
    })
    .await;
}
