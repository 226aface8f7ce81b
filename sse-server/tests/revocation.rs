//! Whose permission is gone is shown out, on every instance, and nobody else is.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use access::{Answer, Grants, Site, answer, refused};
use serde_json::{Value, json};
use server::{Response, within};
use sse_server::ServiceError;
use sse_server::access::Access;
use sse_server::config::{RelayChoice, StorageChoice};
use sse_server::hub::HubConfig;
use sse_server::storage::{MemoryStorage, NewEvent, Retention, Storage, StoredEvent};
use testkit::{access, server, services};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// So long that only a relay can be the reason why something arrives in time.
const NEVER: Duration = Duration::from_hours(1);

const FORBIDDEN: &str = "event: stream-error\nid: error\ndata: {\"condition\": \"forbidden\", \
    \"text\": \"Permission denied to channels: a\", \"channels\": [\"a\"]}\n\n";

async fn alone(grants: &Arc<Grants>) -> Site {
    Site::start(Arc::new(MemoryStorage::new()), HubConfig::default(), grants.clone()).await
}

fn grants(all: &[(Option<&str>, &str)]) -> Arc<Grants> {
    let grants = Grants::default();
    for (user, channel) in all {
        grants.grant(*user, channel);
    }
    Arc::new(grants)
}

/// What is left of a stream, all of it, after its opening.
async fn rest(stream: &mut Response) -> String {
    let rest = stream.body().await;
    rest.strip_prefix("id: a:0\n\n").map(str::to_owned).unwrap_or(rest)
}

#[tokio::test]
async fn a_revoked_reader_gets_one_error_and_nothing_that_is_published_later() {
    let grants = grants(&[(Some("u1"), "a"), (Some("u2"), "a"), (None, "a"), (Some("u1"), "b")]);
    let site = alone(&grants).await;
    let mut revoked = site.open("channel=a", Some("u1")).await;
    let mut with_more = site.open("channel=a&channel=b", Some("u1")).await;
    let mut other_channel = site.open("channel=b", Some("u1")).await;
    let mut other_user = site.open("channel=a", Some("u2")).await;
    let mut anonymous = site.open("channel=a", None).await;
    grants.revoke(Some("u1"), "a");
    assert_eq!(site.changed(Some("u1"), "a").await, (200, json!({"closed": 2, "instances": 0})));
    site.publish("a", "later").await;
    site.publish("b", "later").await;
    assert_eq!(rest(&mut revoked).await, FORBIDDEN);
    assert!(with_more.body().await.ends_with(&format!("id: a:0,b:0\n\n{FORBIDDEN}")));
    for stream in [&mut other_channel, &mut other_user, &mut anonymous] {
        let seen = stream.until("later\"\n\n").await;
        assert!(!seen.contains("stream-error"), "{seen}");
    }
    let again = site.get("/events/?channel=a", "X-User: u1\r\n").await;
    assert_eq!(answer(again).await, refused("a"));
    grants.revoke(None, "a");
    assert_eq!(site.changed(None, "a").await.1["closed"], 1);
    assert!(anonymous.body().await.ends_with(FORBIDDEN));
}

#[tokio::test]
async fn who_may_still_read_is_left_alone() {
    let grants = grants(&[(Some("u1"), "a")]);
    let site = alone(&grants).await;
    let mut stream = site.open("channel=a", Some("u1")).await;
    grants.grant(Some("u1"), "b");
    for channel in ["a", "b", "unknown"] {
        assert_eq!(site.changed(Some("u1"), channel).await.1["closed"], 0);
    }
    assert_eq!(site.changed(Some("nobody"), "a").await.1["closed"], 0);
    site.publish("a", 1).await;
    let seen = stream.until("data: 1\n\n").await;
    assert_eq!(seen, "id: a:0\n\nevent: message\nid: a:1\ndata: 1\n\n");
}

/// Publishes at full speed while permissions go: what is published after the answer reaches nobody.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_published_after_the_answer_gets_through_under_load() {
    let all: Vec<String> = (0..40).map(|n| format!("u{n}")).collect();
    let users: Vec<_> = all.iter().map(|user| (Some(&**user), "a")).collect();
    let grants = grants(&users);
    let site = Arc::new(alone(&grants).await);
    let mut streams = Vec::new();
    for user in &all {
        streams.push(site.open("channel=a", Some(user)).await);
    }
    let count = Arc::new(AtomicU32::new(0));
    let publishing = {
        let (site, count) = (site.clone(), count.clone());
        tokio::spawn(async move {
            loop {
                let n = count.fetch_add(1, Ordering::SeqCst);
                site.publish("a", n).await;
            }
        })
    };
    let mut bounds = Vec::new();
    for user in &all {
        grants.revoke(Some(user), "a");
        assert_eq!(site.changed(Some(user), "a").await.0, 200);
        // One that was begun before may still arrive.
        bounds.push(count.load(Ordering::SeqCst));
    }
    publishing.abort();
    for (stream, bound) in streams.iter_mut().zip(bounds) {
        let seen = stream.body().await;
        assert_eq!(seen.matches("stream-error").count(), 1);
        assert!(seen.ends_with(FORBIDDEN), "{seen}");
        let mut data = seen.lines().rev().filter_map(|line| line.strip_prefix("data: "));
        let last = data.find_map(|data| data.parse::<u32>().ok());
        assert!(last.is_none_or(|last| last < bound), "{last:?} {bound}");
    }
}

#[tokio::test]
async fn each_page_of_a_replay_is_checked() {
    let grants = grants(&[(Some("u1"), "a")]);
    let site = alone(&grants).await;
    let events: Vec<_> = (0..1000).map(|n| json!({"channel": "a", "data": n})).collect();
    assert_eq!(site.post("/publish/", &events.into()).await.0, 200);
    let asked = grants.asked();
    let mut stream = site.open("channel=a&lastEventId=a:0", Some("u1")).await;
    stream.until("data: 999\n\n").await;
    let checks = grants.asked() - asked;
    assert!(checks >= 10, "one for each page of 100: {checks}");
    // Nobody says that it has changed; the replay notices.
    let large = "x".repeat(50_000);
    let events: Vec<_> = (0..800).map(|_| json!({"channel": "b", "text": large})).collect();
    for events in events.chunks(100) {
        assert_eq!(site.post("/publish/", &events.to_vec().into()).await.0, 200);
    }
    grants.grant(Some("u1"), "b");
    let mut stream = site.open("channel=b&lastEventId=b:0", Some("u1")).await;
    stream.until("id: b:1\n").await;
    // More than sockets hold is still to come.
    grants.revoke(Some("u1"), "b");
    let seen = stream.body().await;
    assert!(seen.ends_with("\"channels\": [\"b\"]}\n\n"), "the replay went on");
    assert_eq!(seen.matches("stream-error").count(), 1);
    assert!(!seen.contains("id: b:800\n"));
}

/// In the middle of a read of history the permission goes: what was being read is held back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_read_while_permission_goes_is_held_back() {
    let storage = Arc::new(Revoking { inner: MemoryStorage::new(), access: OnceLock::new() });
    let grants = grants(&[(Some("u1"), "a")]);
    let site = Site::start(storage.clone(), HubConfig::default(), grants.clone()).await;
    site.publish("a", "secret").await;
    assert!(storage.access.set((site.access.clone(), grants)).is_ok());
    let path = "/events/?channel=a&lastEventId=a:0";
    let mut stream = site.get(path, "X-User: u1\r\n").await;
    assert_eq!(stream.body().await, FORBIDDEN);
}

/// Takes back the permission of u1 whenever history is read.
struct Revoking {
    inner: MemoryStorage,
    access: OnceLock<(Access, Arc<Grants>)>,
}

#[async_trait]
impl Storage for Revoking {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        self.inner.append(events).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.inner.head(channel).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let (access, grants) = self.access.get().expect("set before anybody reads");
        grants.revoke(Some("u1"), "a");
        // Within one poll of the stream, between its look at the permission and its next word.
        let changed = access.permission_changed(Some("u1"), "a");
        let changed = block_in_place(|| Handle::current().block_on(changed));
        assert_eq!(changed.expect("it can be checked").closed, 1);
        self.inner.read(channel, after, limit).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        self.inner.trim(before, limit).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        self.inner.shorten(keep, limit).await
    }
}

#[tokio::test]
async fn what_nobody_says_is_noticed_by_looking() {
    let grants = Grants { recheck: Some(Duration::from_millis(50)), ..Grants::default() };
    grants.grant(Some("u1"), "a");
    grants.grant(Some("u2"), "a");
    let grants = Arc::new(grants);
    let site = alone(&grants).await;
    let mut revoked = site.open("channel=a", Some("u1")).await;
    let mut other = site.open("channel=a", Some("u2")).await;
    grants.revoke(Some("u1"), "a");
    assert_eq!(rest(&mut revoked).await, FORBIDDEN);
    site.publish("a", 1).await;
    other.until("data: 1\n\n").await;
}

#[tokio::test]
async fn a_manager_that_cannot_tell_lets_nobody_in_and_readers_out_in_the_end() {
    let grants = Grants {
        recheck: Some(Duration::from_millis(20)),
        patience: Some(Duration::from_millis(200)),
        ..Grants::default()
    };
    grants.grant(Some("u1"), "a");
    let grants = Arc::new(grants);
    let site = alone(&grants).await;
    let mut stream = site.open("channel=a", Some("u1")).await;
    grants.is_down.store(true, Ordering::SeqCst);
    let (status, body) = site.changed(Some("u1"), "a").await;
    assert_eq!(status, 503, "nobody knows whether it is in force");
    assert_eq!(body["message"], "1 streams could not be checked again; try again");
    let new = site.get("/events/?channel=a", "X-User: u1\r\n").await;
    assert_eq!(answer(new).await, Answer::Status(503, String::new()));
    let seen = stream.body().await;
    assert!(
        seen.ends_with(":it could not be checked for too long who may read this\n\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn the_request_must_be_in_order() {
    let grants = grants(&[]);
    let site = alone(&grants).await;
    for body in [
        json!({}),
        json!({"channel": "a"}),
        json!({"user": "u1"}),
        json!({"user": [], "channel": "a"}),
        json!({"user": "u1", "channel": "a", "x": 1}),
        json!([]),
        json!({"user": "u1", "channel": ""}),
        json!({"user": "u1", "channel": "a".repeat(256)}),
        json!({"user": "u".repeat(256), "channel": "a"}),
    ] {
        let (status, answer) = site.post("/permissions/changed", &body).await;
        assert_eq!((status, &answer["error"]), (400, &Value::from("bad-request")), "{body}");
    }
    let body = json!({"user": 7, "channel": "a"});
    assert_eq!(site.post("/permissions/changed", &body).await.0, 200);
}

/// A channel that no other test uses.
fn channel() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos();
    format!("revoked-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn instance(storage: &str, relay: &str, grants: &Arc<Grants>) -> Site {
    let storage = StorageChoice::parse(storage).expect("a storage");
    let storage = storage.open(Retention::default()).await.expect("the storage opens");
    let relay = RelayChoice::parse(relay).expect("a relay").open().await.expect("the relay opens");
    let config = HubConfig::default().relay(relay.expect("a relay")).refresh(NEVER);
    Site::start(storage, config, grants.clone()).await
}

/// Revokes on one instance, and publishes there at once: readers of the other get nothing of it.
async fn all_are_told(storage: &str, relay: &str) {
    let (a, b) = (channel(), channel());
    let grants = grants(&[(Some("u1"), &a), (Some("u1"), &b), (Some("u2"), &a)]);
    let here = instance(storage, relay, &grants).await;
    let there = instance(storage, relay, &grants).await;
    let mut revoked = there.open(&format!("channel={a}"), Some("u1")).await;
    let mut with_more = there.open(&format!("channel={a}&channel={b}"), Some("u1")).await;
    let mut other = there.open(&format!("channel={a}"), Some("u2")).await;
    let mut local = here.open(&format!("channel={a}"), Some("u1")).await;
    // Nothing has changed yet, and nobody is disturbed.
    let (status, body) = here.changed(Some("u1"), &a).await;
    assert_eq!((status, &body["closed"]), (200, &Value::from(0)), "{body}");
    assert!(body["instances"].as_u64() >= Some(1), "the other instance has confirmed: {body}");
    grants.revoke(Some("u1"), &a);
    let (status, body) = here.changed(Some("u1"), &a).await;
    assert_eq!((status, &body["closed"]), (200, &Value::from(1)), "{body}");
    here.publish(&a, "later").await;
    for stream in [&mut revoked, &mut with_more, &mut local] {
        let seen = stream.body().await;
        assert_eq!(seen.matches("stream-error").count(), 1, "{seen}");
        assert!(!seen.contains("later"), "{seen}");
    }
    other.until("later\"\n\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_is_told_by_redis() {
    let Some(redis) = services::redis() else { return };
    all_are_told(&redis, &redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_is_told_by_postgres() {
    let Some(postgres) = services::postgres().await else { return };
    all_are_told(&postgres, &postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_is_told_by_rabbitmq() {
    let (Some(postgres), Some(amqp)) = (services::postgres().await, services::amqp()) else {
        return;
    };
    all_are_told(&postgres, &amqp).await;
}

/// The other instance cannot find out: the answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_cannot_check_is_named_in_the_answer() {
    let Some(redis) = services::redis() else { return };
    let a = channel();
    let here_grants = grants(&[(Some("u1"), &a)]);
    let there_grants = grants(&[(Some("u1"), &a)]);
    let here = instance(&redis, &redis, &here_grants).await;
    let there = instance(&redis, &redis, &there_grants).await;
    let mut stream = there.open(&format!("channel={a}"), Some("u1")).await;
    here_grants.revoke(Some("u1"), &a);
    there_grants.is_down.store(true, Ordering::SeqCst);
    let (status, body) = here.changed(Some("u1"), &a).await;
    assert_eq!(status, 503);
    assert_eq!(body["message"], "1 other instances have not confirmed; try again");
    there_grants.is_down.store(false, Ordering::SeqCst);
    there_grants.revoke(Some("u1"), &a);
    assert_eq!(here.changed(Some("u1"), &a).await.0, 200);
    assert!(within("the end", stream.body()).await.contains("stream-error"));
}
