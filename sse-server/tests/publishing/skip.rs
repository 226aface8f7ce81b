//! Events that are not for everyone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use sse_server::hub::{HubConfig, Outgoing};
use sse_server::storage::{MemoryStorage, NewEvent};

use crate::access::{SECRET, after, bearer, configured, sign, token};
use crate::instances::{Instance, within};
use crate::server::Server;

/// A name that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_millis();
    format!("{name}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn with_users() -> (Server, tempfile::TempDir) {
    configured(&format!(
        "keep-alive = \"200ms\"\n[[access.rules]]\nchannel = \"*\"\nallow = \"public\"\n\
         [access.jwt]\nsecret = {SECRET:?}\n[access.es-meta]\nsecret = {SECRET:?}"
    ))
    .await
}

#[tokio::test]
async fn a_skipped_user_does_not_get_the_event_live_or_later_and_everyone_else_does() {
    let (server, _folder) = with_users().await;
    let path = |from: &str| format!("/events/a/{from}");
    let u1 = bearer(&token(json!({"sub": "u1"})));
    let u2 = bearer(&token(json!({"sub": "u2"})));
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = json!({"iss": "es", "exp": after(3600), "user": "u1", "channels": ["a"]});
    let es_meta = sign(jsonwebtoken::Algorithm::HS256, &key, &claims);
    let of_django = format!("?es-meta={es_meta}");
    let mut live = Vec::new();
    for (query, headers) in [("", &*u1), (&of_django, ""), ("", &u2), ("", "")] {
        let mut stream = server.get(&path(query), headers).await;
        stream.opening().await;
        live.push(stream);
    }
    let batch = r#"[{"channel":"a","data":1},{"channel":"a","data":"not u1","skip_users":["u1",7]},
        {"channel":"a","data":"not anonymous","skip_users":["anonymous"]},{"channel":"a","data":2}]"#;
    server.publish(batch).await;
    let resumed = "lastEventId=a:0";
    let mut late = Vec::new();
    let of_django = format!("?es-meta={es_meta}&{resumed}");
    let resumed = format!("?{resumed}");
    for (query, headers) in [(&*resumed, &*u1), (&of_django, ""), (&resumed, &u2), (&resumed, "")] {
        let mut stream = server.get(&path(query), headers).await;
        stream.opening().await;
        late.push(stream);
    }
    for streams in [live, late] {
        for (index, mut stream) in streams.into_iter().enumerate() {
            let read = stream.until("id: a:4\ndata: 2\n\n").await;
            assert_eq!(read.contains("not u1"), index > 1, "{index}: {read}");
            assert_eq!(read.contains("not anonymous"), index < 3, "{index}: {read}");
            assert!(!read.contains("stream-reset"), "{read}");
        }
    }
}

#[tokio::test]
async fn a_skipped_reader_moves_on_all_the_same() {
    let (server, _folder) = with_users().await;
    let u1 = bearer(&token(json!({"sub": "u1"})));
    let mut stream = server.get("/events/?channel=a&channel=b", &u1).await;
    stream.opening().await;
    server.publish(r#"{"channel":"a","data":1,"skip_users":["u1"]}"#).await;
    // A block without data: no event, but the position to resume from.
    stream.until("id: a:1,b:0\n\n").await;
    let mut single = server.get("/events/a/?lastEventId=a:0", &u1).await;
    single.opening().await;
    single.until("id: a:1\n\n").await;
    server.publish(r#"{"channel":"a","data":2}"#).await;
    stream.until("event: message\nid: a:2,b:0\ndata: 2\n\n").await;
    single.until("event: message\nid: a:2\ndata: 2\n\n").await;
    let live = r#"{"channel":"a","data":3,"store":false,"skip_users":["u1"]}"#;
    server.publish(live).await;
    server.publish(r#"{"channel":"a","data":4}"#).await;
    let read = single.until("event: message\nid: a:3\ndata: 4\n\n").await;
    assert!(!read.contains("data: 3"), "{read}");
}

#[tokio::test]
async fn a_list_of_users_that_is_none_is_refused() {
    let server = Server::start(&[]).await;
    for (list, message) in [
        ("\"u1\"", "`skip_users` must be a list of names or numbers"),
        ("[null]", "`skip_users` must be a list of names or numbers"),
        (&*json!(vec!["u"; 101]).to_string(), "more than 100 users"),
        (&json!(["u".repeat(256)]).to_string(), "more than 255 characters"),
    ] {
        let body = format!("{{\"channel\":\"a\",\"data\":1,\"skip_users\":{list}}}");
        let (status, answer) = server.try_publish(&body).await;
        let found = answer["message"].as_str().expect("a message");
        assert!(status == 400 && found.contains(message), "{status} {found}");
    }
}

/// Over a storage and a relay, or the one without the other: what is published on one instance to
/// readers of the other, live and replayed.
async fn crosses(storage: &str, relay: &str) {
    let often = Duration::from_millis(50);
    let first = Instance::start(storage, relay, often).await;
    let second = Instance::start(storage, relay, often).await;
    let channel = unique("skip");
    let lasting = storage != "none";
    let subscribe = async |user: &str| {
        let channels = [std::sync::Arc::from(&*channel)];
        let from = sse_proto::Cursor::new();
        let mut subscriber = second.hub.subscribe(&channels, &from).await.expect("subscribed");
        subscriber.read_as(user);
        subscriber
    };
    let mut skipped = subscribe("u1").await;
    let mut other = subscribe("u2").await;
    let text = async |subscriber: &mut sse_server::hub::Subscriber, end: &str| {
        let mut text = String::new();
        within("events", async {
            while !text.contains(end) {
                let mut out = Outgoing::default();
                std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut out)).await;
                text += str::from_utf8(&out.into_bytes()).expect("UTF-8");
            }
        })
        .await;
        text
    };
    let publish = async |data: &str| {
        let secret = NewEvent::new(&*channel, "t", "secret").skip_users(vec!["u1".to_owned()]);
        let events = vec![secret, NewEvent::new(&*channel, "t", data)];
        first.hub.publish(events).await.expect("published");
    };
    if lasting {
        publish("end").await;
    } else {
        // Until the relay is connected.
        let mut ticks = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(often).await;
            Some(((), ()))
        })
        .boxed();
        let mut out = Outgoing::default();
        loop {
            tokio::select! {
                _ = std::future::poll_fn(|cx| other.poll_deliver(cx, &mut out)) => break,
                _ = ticks.next() => publish("begin").await,
            }
        }
        publish("end").await;
    }
    let read = text(&mut skipped, "data: end\n\n").await;
    assert!(!read.contains("secret"), "{read}");
    let read = text(&mut other, "data: end\n\n").await;
    assert!(read.contains("data: secret\n\n"), "{read}");
    if lasting {
        let channels = [std::sync::Arc::from(&*channel)];
        let id = format!("{channel}:0");
        let from = sse_proto::Cursor::parse(&id).expect("an id");
        let mut late = second.hub.subscribe(&channels, &from).await.expect("subscribed");
        late.read_as("u1");
        let read = text(&mut late, "data: end\n\n").await;
        assert!(!read.contains("secret"), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_users_are_skipped_by_every_instance() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    crosses(&format!("sqlite:{}", folder.path().join("events.db").display()), "none").await;
    if let Some(redis) = crate::services::redis() {
        crosses(&redis, "none").await;
        crosses(&redis, &redis).await;
        crosses("none", &redis).await;
    }
    if let Some(postgres) = crate::services::postgres().await {
        crosses(&postgres, &postgres).await;
        crosses("none", &postgres).await;
    }
    if let Some(amqp) = crate::services::amqp() {
        crosses("none", &amqp).await;
    }
}

#[tokio::test]
async fn skipped_users_are_skipped_in_memory_too() {
    let instance =
        Instance::serve(std::sync::Arc::new(MemoryStorage::new()), HubConfig::default()).await;
    let mut reader = instance.reader("channel=a", "a:0").await;
    let nobody = NewEvent::new("a", "message", "1").skip_users(vec!["anonymous".to_owned()]);
    let events = vec![nobody, NewEvent::new("a", "message", "2")];
    instance.hub.publish(events).await.expect("published");
    assert_eq!(reader.next().await, ("message".into(), "a:2".into(), "2".into()));
}
