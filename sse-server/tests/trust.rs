//! Programs that can write to a broker: what instances take from them, and what they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use access::{Grants, Site};
use instances::{Instance, Reader};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};
use services::Own;
use sqlx::{Connection as _, PgConnection};
use sse_server::config::RelayChoice;
use sse_server::hub::HubConfig;
use sse_server::relay::RelayOptions;
use sse_server::storage::{MemoryStorage, NoStorage, Storage};
use testkit::{access, instances, server, services};

/// So long that it is not the regular look which notices something.
const NEVER: Duration = Duration::from_hours(1);

/// How much an event may have in these tests.
const MAX: usize = 2000;

fn channel(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis();
    format!("{name}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Somebody who can write to the broker, and knows nothing of the server.
#[expect(clippy::large_enum_variant, reason = "a test has one of them at a time")]
enum Neighbour {
    Redis(redis::aio::MultiplexedConnection),
    Postgres(PgConnection),
    Amqp(lapin::Channel, #[expect(dead_code, reason = "open as long as the channel")] Connection),
}

impl Neighbour {
    async fn new(url: &str) -> Self {
        match url.split_once("://").expect("a URL").0 {
            "redis" => {
                let client = redis::Client::open(url).expect("a URL");
                let connection = client.get_multiplexed_async_connection().await;
                Self::Redis(connection.expect("it runs"))
            }
            "postgres" => Self::Postgres(PgConnection::connect(url).await.expect("it runs")),
            _ => {
                let connection = Connection::connect(url, ConnectionProperties::default()).await;
                let connection = connection.expect("it runs");
                Self::Amqp(connection.create_channel().await.expect("a channel"), connection)
            }
        }
    }

    async fn say(&mut self, text: &str, is_notice: bool) {
        match self {
            Self::Redis(connection) => {
                let channel = if is_notice { "sse_server" } else { "events_channel" };
                let mut command = redis::cmd("PUBLISH");
                command.arg(channel).arg(text);
                command.query_async::<redis::Value>(connection).await.expect("published");
            }
            Self::Postgres(connection) => {
                let notify = sqlx::query("SELECT pg_notify('sse_server', $1)").bind(text);
                notify.execute(connection).await.expect("notified");
            }
            Self::Amqp(channel, _) => {
                let options = BasicPublishOptions::default();
                let properties = BasicProperties::default();
                let exchange = "sse_server".into();
                let publish = channel.basic_publish(
                    exchange,
                    "".into(),
                    options,
                    text.as_bytes(),
                    properties,
                );
                publish.await.expect("written").await.expect("published");
            }
        }
    }

    async fn event(&mut self, event: &Value) {
        self.say(&event.to_string(), false).await;
    }

    async fn notice(&mut self, notice: &Value) {
        let notice = json!({"notice": notice.to_string(), "origin": "me"}).to_string();
        // The name comes first, as instances send it.
        assert!(notice.starts_with("{\"notice\":"), "{notice}");
        self.say(&notice, true).await;
    }
}

async fn config(relay: &str, options: RelayOptions) -> HubConfig {
    let relay = RelayChoice::parse(relay).expect("a relay").open_with(&options).await;
    let relay = relay.expect("it runs").expect("a relay");
    HubConfig::default().relay(relay).refresh(NEVER).max_event_len(MAX)
}

/// Says it until a reader hears it: the relay may not be connected yet.
async fn until_heard(neighbour: &mut Neighbour, channel: &str, reader: &mut Reader) {
    let mark = json!({"channel": channel, "event_type": "mark", "data": "1"});
    let saying = async {
        loop {
            neighbour.event(&mark).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        heard = reader.next() => assert_eq!(heard.0, "mark"),
        () = saying => {}
    }
}

/// What a reader gets until the end is said; marks aside.
async fn heard(neighbour: &mut Neighbour, channel: &str, reader: &mut Reader) -> Vec<String> {
    neighbour.event(&json!({"channel": channel, "event_type": "end", "data": "1"})).await;
    let mut seen = Vec::new();
    loop {
        let (kind, _, data) = reader.next().await;
        match &*kind {
            "end" => return seen,
            "mark" => {}
            kind => seen.push(format!("{kind} {data}")),
        }
    }
}

async fn nothing_comes_that_a_publisher_could_not_send(relay: &str) {
    for storage in [Arc::new(NoStorage::new()) as Arc<dyn Storage>, Arc::new(MemoryStorage::new())]
    {
        let channel = channel("pay");
        let instance = Instance::serve(storage, config(relay, RelayOptions::default()).await).await;
        let mut reader = instance.reader(&format!("channel={channel}"), "").await;
        let mut neighbour = Neighbour::new(relay).await;
        until_heard(&mut neighbour, &channel, &mut reader).await;
        let users: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        for (kind, data, skip_user_ids) in [
            ("stream-error", "x", json!([])),
            ("stream-reset", "x", json!([])),
            ("stream-open", "", json!([])),
            ("keep-alive", "", json!([])),
            ("good\nid: pay:7", "x", json!([])),
            ("good", &*"x".repeat(MAX), json!([])),
            ("good", "x", json!(users)),
            ("good", "x", json!(["u".repeat(256)])),
            ("good", "good", json!(["u1"])),
        ] {
            let event = json!({
                "channel": channel, "event_type": kind, "data": data, "skip_user_ids": skip_user_ids
            });
            neighbour.event(&event).await;
        }
        for nonsense in ["", "{", "[]", "{\"notice\":1}", "{\"notice\":\"x\",\"origin\":\"y\"}"] {
            neighbour.say(nonsense, nonsense.contains("notice")).await;
        }
        assert_eq!(heard(&mut neighbour, &channel, &mut reader).await, ["good good"], "{relay}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_redis_that_a_publisher_could_not_send() {
    let Some(redis) = services::redis() else { return };
    nothing_comes_that_a_publisher_could_not_send(&redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_postgres_that_a_publisher_could_not_send() {
    let Some(postgres) = services::postgres().await else { return };
    nothing_comes_that_a_publisher_could_not_send(&postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_from_rabbitmq_that_a_publisher_could_not_send() {
    let Some(amqp) = services::amqp() else { return };
    nothing_comes_that_a_publisher_could_not_send(&amqp).await;
}

fn secret() -> RelayOptions {
    RelayOptions::default().secret("a secret of all instances")
}

/// A site whose channels that begin with `live` are not stored.
async fn site(relay: &str, options: RelayOptions, grants: &Arc<Grants>) -> Site {
    let config = config(relay, options).await.reliable(|name| !name.starts_with("live"));
    Site::start(Arc::new(MemoryStorage::new()), config, grants.clone()).await
}

/// Asks until as many instances have confirmed.
async fn until_confirmed(site: &Site, channel: &str, instances: u64) {
    let mut last = None;
    let asking = async {
        loop {
            let (status, body) = site.changed(None, channel).await;
            if status == 200 && body["instances"] == instances {
                return;
            }
            last = Some((status, body));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_late = tokio::time::timeout(server::DEADLINE, asking).await.is_err();
    assert!(!is_late, "not {instances} instances, but {last:?}");
}

async fn with_a_secret_only_instances_are_believed(relay: &str) {
    let (stored, live) = (channel("stored"), channel("live"));
    let grants = Grants::default();
    grants.grant(None, &stored);
    grants.grant(None, &live);
    let grants = Arc::new(grants);
    let here = site(relay, secret(), &grants).await;
    let there = site(relay, secret(), &grants).await;
    let stranger = site(relay, RelayOptions::default().secret("another secret"), &grants).await;
    let mut of_stored = there.open(&format!("channel={stored}"), None).await;
    let mut of_live = there.open(&format!("channel={live}"), None).await;
    // A made-up instance would have to confirm, and never does; the stranger would, and does not
    // count.
    let mut neighbour = Neighbour::new(relay).await;
    until_confirmed(&here, &stored, 1).await;
    let (kind, from) = ("hello", "0".repeat(32));
    for _ in 0..3 {
        neighbour.notice(&json!({"kind": kind, "from": from, "is_new": true})).await;
        let (status, body) = here.changed(None, &stored).await;
        assert_eq!((status, &body["instances"]), (200, &json!(1)), "{body}");
    }
    for channel in [&stored, &live] {
        let forged = json!({"channel": channel, "event_type": "t", "data": "forged"});
        neighbour.event(&forged).await;
        let signed = json!({
            "channel": channel, "event_type": "t", "data": "forged",
            "signature": "0".repeat(64), "origin": "x"
        });
        neighbour.event(&signed).await;
        let event = json!({"channel": channel, "data": "strange", "store": false});
        assert_eq!(stranger.post("/publish/", &event).await.0, 200);
        let event = json!({"channel": channel, "data": "good", "store": false});
        assert_eq!(here.post("/publish/", &event).await.0, 200);
    }
    let seen = of_stored.until("\"good\"\n\n").await;
    assert!(!seen.contains("forged") && !seen.contains("strange"), "{seen}");
    // What is not stored anyway may come from others, such as a Django site.
    let seen = of_live.until("\"good\"\n\n").await;
    assert_eq!(seen.matches("data: forged\n\n").count(), 2, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_secret_only_instances_are_believed_over_redis() {
    let Some(redis) = Own::redis().await else { return };
    with_a_secret_only_instances_are_believed(&redis.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_secret_only_instances_are_believed_over_postgres() {
    let Some(postgres) = services::postgres().await else { return };
    with_a_secret_only_instances_are_believed(&postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_secret_only_instances_are_believed_over_rabbitmq() {
    let Some(rabbitmq) = Own::rabbitmq().await else { return };
    with_a_secret_only_instances_are_believed(&rabbitmq.url()).await;
}

/// Made-up instances do not keep anyone waiting after they have fallen silent, and a made-up change
/// costs a question.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_made_up_notices_do_a_bounded_harm() {
    let Some(postgres) = services::postgres().await else { return };
    let grants = Arc::new(Grants::default());
    grants.grant(Some("u1"), "a");
    let site = site(&postgres, RelayOptions::default(), &grants).await;
    let mut stream = site.open("channel=a", Some("u1")).await;
    let mut neighbour = Neighbour::new(&postgres).await;
    until_confirmed(&site, "a", 0).await;
    for n in 0..1000 {
        neighbour
            .notice(&json!({"kind": "hello", "from": format!("{n:032x}"), "is_new": false}))
            .await;
    }
    let from = "f".repeat(32);
    let changed =
        json!({"kind": "changed", "from": from, "number": 1, "user": "u1", "channel": "a"});
    neighbour.notice(&changed).await;
    neighbour.notice(&json!({"kind": "bye", "from": from})).await;
    until_confirmed(&site, "a", 0).await;
    site.publish("a", "still here").await;
    stream.until("still here").await;
}

/// A prefix keeps two environments in one Redis apart, which its databases do not.
#[tokio::test(flavor = "multi_thread")]
async fn instances_with_another_prefix_hear_nothing_of_each_other() {
    let Some(redis) = Own::redis().await else { return };
    let url = redis.url();
    let grants = Arc::new(Grants::default());
    grants.grant(None, "a");
    let prefix = |prefix: &str| RelayOptions::default().prefix(prefix);
    let staging = site(&format!("{url}/1"), prefix("staging:"), &grants).await;
    let production = site(&format!("{url}/0"), prefix("production:"), &grants).await;
    let other = site(&format!("{url}/0"), prefix("production:"), &grants).await;
    let plain = site(&format!("{url}/0"), RelayOptions::default(), &grants).await;
    let mut of_staging = staging.open("channel=a", None).await;
    let mut of_other = other.open("channel=a", None).await;
    let mut of_plain = plain.open("channel=a", None).await;
    until_confirmed(&production, "a", 1).await;
    until_confirmed(&staging, "a", 0).await;
    until_confirmed(&plain, "a", 0).await;
    let event = json!({"channel": "a", "data": "of production", "store": false});
    assert_eq!(production.post("/publish/", &event).await.0, 200);
    of_other.until("of production").await;
    for (site, stream) in [(&staging, &mut of_staging), (&plain, &mut of_plain)] {
        site.publish("a", "own").await;
        let seen = stream.until("own").await;
        assert!(!seen.contains("of production"), "{seen}");
    }
}

/// A broker that takes what is sent and does not pass it on, for longer than it takes to think that
/// the others are gone: nobody may say that they were told.
async fn a_broker_that_stands_still_tells_nobody(broker: Own) {
    let grants = Arc::new(Grants::default());
    grants.grant(Some("u1"), "a");
    let url = broker.url();
    let here = site(&url, RelayOptions::default(), &grants).await;
    let _there = site(&url, RelayOptions::default(), &grants).await;
    until_confirmed(&here, "a", 1).await;
    broker.pause();
    for _ in 0..3 {
        let (status, body) = here.changed(Some("u1"), "a").await;
        assert_eq!(status, 503, "{body}");
    }
    broker.go_on();
    until_confirmed(&here, "a", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stands_still_tells_nobody() {
    let Some(redis) = Own::redis().await else { return };
    a_broker_that_stands_still_tells_nobody(redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_stands_still_tells_nobody() {
    let Some(postgres) = Own::postgres().await else { return };
    a_broker_that_stands_still_tells_nobody(postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_stands_still_tells_nobody() {
    let Some(rabbitmq) = Own::rabbitmq().await else { return };
    a_broker_that_stands_still_tells_nobody(rabbitmq).await;
}

/// RabbitMQ's alarm: connections stay, and whatever publishers write is not taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_blocks_publishers_tells_nobody() {
    let Some(rabbitmq) = Own::rabbitmq().await else { return };
    let grants = Arc::new(Grants::default());
    grants.grant(Some("u1"), "a");
    let here = site(&rabbitmq.url(), RelayOptions::default(), &grants).await;
    let _there = site(&rabbitmq.url(), RelayOptions::default(), &grants).await;
    until_confirmed(&here, "a", 1).await;
    rabbitmq.control(&["set_vm_memory_high_watermark", "0.000001"]);
    for _ in 0..3 {
        let (status, body) = here.changed(Some("u1"), "a").await;
        assert_eq!(status, 503, "{body}");
    }
    rabbitmq.control(&["set_vm_memory_high_watermark", "0.4"]);
    until_confirmed(&here, "a", 1).await;
}

/// A prefix keeps what is stored apart too, also from what has no prefix.
#[tokio::test(flavor = "multi_thread")]
async fn servers_with_another_prefix_share_a_redis_and_no_event() {
    let Some(redis) = Own::redis().await else { return };
    let url = redis.url();
    let mut servers = Vec::new();
    for prefix in ["", "staging:", "it's\\:"] {
        let flags = ["--storage", &url, "--relay", &url, "--redis-prefix", prefix];
        let server = server::Server::start(&flags).await;
        let mut reader = server.get("/events/?channel=a", "").await;
        reader.opening().await;
        servers.push((server, reader, prefix));
    }
    for (server, reader, prefix) in &mut servers {
        for (store, id) in [(true, json!("a:1")), (false, Value::Null), (true, json!("a:2"))] {
            let event = json!({"channel": "a", "data": prefix, "store": store}).to_string();
            assert_eq!(server.publish(&event).await["id"], id, "{prefix}");
        }
        let own = reader.until("id: a:2\n").await;
        assert_eq!(own.matches("event: message").count(), 3, "{prefix}: {own}");
        let mut replay = server.get("/events/?channel=a&lastEventId=a:0", "").await;
        replay.until(&format!("id: a:2\ndata: {}\n\n", json!(prefix))).await;
    }
    let client = redis::Client::open(&*url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it runs");
    let mut keys: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    let names = ["event:a:1", "event:a:2", "event_counter:a", "sse_server:log"];
    for (_, _, prefix) in &servers {
        keys.retain(|key| !names.iter().any(|name| *key == format!("{prefix}{name}")));
    }
    assert_eq!(keys, Vec::<String>::new(), "keys without a prefix");
}
