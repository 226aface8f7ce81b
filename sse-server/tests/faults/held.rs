//! Channels and keys that another program holds in PostgreSQL, and requests that take long: others
//! go on.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use sse_server::hub::{Hub, HubConfig};
use sse_server::storage::{NewEvent, PostgresStorage, RequestKey};

use crate::instances::{Instance, within};
use crate::services;

/// As what a Django site has begun and not committed.
async fn hold(url: &str, statement: &'static str) -> PgConnection {
    let mut other = PgConnection::connect(url).await.expect("it runs");
    sqlx::raw_sql("BEGIN").execute(&mut other).await.expect("begun");
    sqlx::raw_sql(statement).execute(&mut other).await.expect("held");
    other
}

async fn let_go(mut other: PgConnection) {
    sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("committed");
    other.close().await.expect("closed");
}

const COUNTER: &str = "UPDATE django_eventstream_eventcounter SET value = value WHERE name = 'a'";

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_another_program_holds_delays_only_itself() {
    let Some(url) = services::postgres().await else { return };
    let instance = Instance::start(&url, "none", Duration::from_millis(100)).await;
    let mut publisher = instance.publisher().await;
    publisher.publish("a", 1).await;
    let mut reader = instance.reader("channel=a", "a:1").await;
    let other = hold(&url, COUNTER).await;
    let mut waiting = Vec::new();
    for n in 2..=4 {
        let mut publisher = instance.publisher().await;
        waiting.push(tokio::spawn(async move { publisher.publish("a", n).await }));
    }
    for n in 1..=20 {
        assert_eq!(publisher.publish("b", n).await, format!("b:{n}"));
    }
    assert_eq!(instance.status("/health/ready").await, 200, "it can publish");
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "they wait");
    let_go(other).await;
    let mut ids = Vec::new();
    for waiting in waiting {
        ids.push(within("an id", waiting).await.expect("published"));
    }
    ids.sort();
    assert_eq!(ids, ["a:2", "a:3", "a:4"]);
    reader.all("a", 2, 4).await;
}

/// Nobody sees that there will be such a channel before it is committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_another_program_is_making_delays_only_itself() {
    let Some(url) = services::postgres().await else { return };
    let instance = Instance::start(&url, "none", Duration::from_millis(100)).await;
    let mut publisher = instance.publisher().await;
    publisher.publish("b", 0).await;
    let made = "INSERT INTO django_eventstream_eventcounter (name, value, updated)
                VALUES ('a', 0, now())";
    let other = hold(&url, made).await;
    let mut waits = instance.publisher().await;
    let waiting = tokio::spawn(async move { waits.publish("a", 1).await });
    for n in 2..=20 {
        assert_eq!(publisher.publish("b", n).await, format!("b:{n}"));
    }
    let_go(other).await;
    assert_eq!(within("an id", waiting).await.expect("published"), "a:1");
}

/// Another instance has taken a key, and stands still before the commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_instance_holds_delays_only_its_request() {
    let Some(url) = services::postgres().await else { return };
    let storage = Arc::new(PostgresStorage::open(&url).await.expect("it opens"));
    let hub = Hub::with_config(storage, HubConfig::default());
    let event = |channel: &str| vec![NewEvent::new(channel, "t", "x")];
    hub.publish(event("b")).await.expect("published");
    let taken = "INSERT INTO sse_server_request (key, fingerprint, ids, created)
                 VALUES ('k', '', '[]', now())";
    let other = hold(&url, taken).await;
    let key = RequestKey::new("p", "k", b"");
    let waiting = hub.submit(event("a"), Some(key)).await.expect("taken");
    for n in 2..=20 {
        assert_eq!(within("an id", hub.publish(event("b"))).await.expect("published"), [n]);
    }
    let mut other = other;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("rolled back");
    assert_eq!(within("an id", waiting).await.expect("published"), [1]);
}

/// It is refused in the end, with the reason, and nothing of it is published later.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_channel_that_is_never_let_go_is_told() {
    let Some(url) = services::postgres().await else { return };
    let instance = Instance::start(&url, "none", Duration::from_millis(100)).await;
    let mut publisher = instance.publisher().await;
    publisher.publish("a", 1).await;
    let other = hold(&url, COUNTER).await;
    let (status, _) = within("an answer", publisher.try_publish("a", &[json!(2)])).await;
    assert_eq!(status, 503);
    let_go(other).await;
    assert_eq!(publisher.publish("a", Value::from(3)).await, "a:2");
}
