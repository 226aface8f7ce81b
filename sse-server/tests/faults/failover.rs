//! A stable address behind which another server takes over, while the old one lives on and takes no
//! writes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use crate::instances::{Instance, within};
use crate::server::until;
use crate::services::{Own, StableAddress};

async fn ask(redis: &Own, command: &[&str]) -> redis::Value {
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it runs");
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]).query_async(&mut connection).await.expect("done")
}

/// Has one follow the other.
async fn follow(replica: &Own, primary: &Own) {
    let (host, port) = ("127.0.0.1", primary.address().port().to_string());
    ask(replica, &["REPLICAOF", host, &port]).await;
}

/// Two instances, of which one only reads, go over to another server.
async fn instances_go_over(old: &Own, new: SocketAddr, fail_over: impl AsyncFnOnce()) {
    let address = StableAddress::of(old).await;
    let url = address.url(old);
    let refresh = Duration::from_millis(100);
    let publishing = Instance::start(&url, "none", refresh).await;
    let reading = Instance::start(&url, "none", refresh).await;
    let mut publisher = publishing.publisher().await;
    for n in 1..=3 {
        assert_eq!(publisher.publish("a", n).await, format!("a:{n}"));
    }
    let mut reader = reading.reader("channel=a", "a:0").await;
    reader.all("a", 1, 3).await;
    fail_over().await;
    // As long as the address leads to the old one, nothing can be published, and that is told.
    let (status, _) = within("an answer", publisher.try_publish("a", &[json!("no")])).await;
    assert_eq!(status, 503);
    until("readiness to tell", async || publishing.status("/health/ready").await == 503).await;
    address.lead_to(new);
    until("the new server to be used", async || {
        within("an answer", publisher.try_publish("a", &[json!(4)])).await.0 == 200
    })
    .await;
    until("readiness to tell", async || publishing.status("/health/ready").await == 200).await;
    assert_eq!(publisher.publish("a", 5).await, "a:5");
    // The other one has nothing to publish. It is told what there is by who comes from an instance
    // that has gone over.
    let mut moved = reading.reader("channel=a", "a:5").await;
    assert_eq!(publisher.publish("a", 6).await, "a:6");
    moved.all("a", 6, 6).await;
    reader.all("a", 4, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_has_become_a_replica_is_left_for_the_new_primary() {
    let (Some(old), Some(new)) = (Own::redis().await, Own::redis().await) else { return };
    let fail_over = async || {
        follow(&new, &old).await;
        within("the replica to have all", async {
            while ask(&old, &["WAIT", "1", "100"]).await != redis::Value::Int(1) {}
        })
        .await;
        ask(&new, &["REPLICAOF", "NO", "ONE"]).await;
        follow(&old, &new).await;
    };
    instances_go_over(&old, new.address(), fail_over).await;
}

/// It believes to be the primary still, and knows that no replica hears it.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_cut_off_from_its_replicas_is_left_for_the_new_primary() {
    let (Some(old), Some(new)) = (Own::redis().await, Own::redis().await) else { return };
    let fail_over = async || {
        follow(&new, &old).await;
        within("the replica to have all", async {
            while ask(&old, &["WAIT", "1", "100"]).await != redis::Value::Int(1) {}
        })
        .await;
        ask(&new, &["REPLICAOF", "NO", "ONE"]).await;
        ask(&old, &["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    };
    instances_go_over(&old, new.address(), fail_over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_only_reads_is_left_for_the_new_primary() {
    let (Some(old), Some(mut new)) = (Own::postgres().await, Own::postgres().await) else { return };
    let at = new.address();
    let fail_over = async || {
        old.stop_writing().await;
        new.start_from(&old).await;
    };
    instances_go_over(&old, at, fail_over).await;
}

/// An instance that is connected to the relay's old server, which lives on, hears one that has come
/// to the new one.
async fn instances_find_each_other(old: &Own, new: &Own) {
    let address = StableAddress::of(old).await;
    let (relay, refresh) = (address.url(old), Duration::from_secs(1));
    let before = Instance::start("none", &relay, refresh).await;
    let mut reader = before.reader("channel=a", "").await;
    address.lead_to(new.address());
    let after = Instance::start("none", &relay, refresh).await;
    let mut publisher = after.publisher().await;
    within("the new server to be found", async {
        let mut heard = std::pin::pin!(reader.next());
        loop {
            tokio::select! {
                (kind, ..) = &mut heard => return assert_eq!(kind, "message"),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            assert_eq!(publisher.try_publish("a", &[json!("hello")]).await.0, 200);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_relay_is_followed_to_another_server() {
    let (Some(old), Some(new)) = (Own::redis().await, Own::redis().await) else { return };
    instances_find_each_other(&old, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_relay_is_followed_to_another_server() {
    let (Some(old), Some(new)) = (Own::postgres().await, Own::postgres().await) else { return };
    instances_find_each_other(&old, &new).await;
}

/// One that is not told which server answers does its work all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_not_be_asked_who_it_is_serves_as_any_other() {
    let Some(redis) = Own::redis().await else { return };
    ask(&redis, &["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-info"])
        .await;
    let url = redis.url().replace("redis://", "redis://limited:secret@");
    let instance = Instance::start(&url, &url, Duration::from_millis(100)).await;
    let mut publisher = instance.publisher().await;
    let mut reader = instance.reader("channel=a", "").await;
    assert_eq!(publisher.publish("a", 1).await, "a:1");
    reader.all("a", 1, 1).await;
    assert!(!instance.storage.has_moved().await.expect("it answers"));
    // What another program appends is found, and a position that is not there is told.
    let other = Instance::start(&url, "none", Duration::from_secs(1)).await;
    assert_eq!(other.publisher().await.publish("a", 2).await, "a:2");
    reader.all("a", 2, 2).await;
    let mut lost = instance.reader("channel=a", "a:9").await;
    assert_eq!(lost.next().await.0, "stream-reset");
}
