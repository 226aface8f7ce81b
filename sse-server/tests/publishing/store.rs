//! Events that are not stored though their channel's are.

use crate::server::Server;

#[tokio::test]
async fn an_event_that_is_not_to_be_stored_reaches_who_listens_in_its_order_and_nobody_later() {
    let server = Server::start(&[]).await;
    let mut reader = server.get("/events/a/", "").await;
    reader.opening().await;
    let mut both = server.get("/events/?channel=a&channel=b", "").await;
    both.opening().await;
    let batch = r#"[{"channel":"a","data":1},{"channel":"a","data":"live","store":false},
                    {"channel":"a","data":2,"store":true}]"#;
    let ids = server.publish(batch).await;
    assert_eq!(ids.to_string(), r#"[{"id":"a:1"},{"id":null},{"id":"a:2"}]"#);
    let read = reader.until("id: a:2\ndata: 2\n\n").await;
    let expected = "event: message\nid: a:1\ndata: 1\n\nevent: message\ndata: \"live\"\n\n\
                    event: message\nid: a:2\ndata: 2\n\n";
    assert!(read.ends_with(expected), "{read}");
    let read = both.until("data: 2\n\n").await;
    let (_, read) = read.split_once("data: 1\n\n").expect("the first");
    let (live, _) = read.split_once("data: \"live\"\n\n").expect("the second");
    assert_eq!(live, "event: message\n", "and here without an id too");

    let mut late = server.get("/events/a/?lastEventId=a:0", "").await;
    late.opening().await;
    let read = late.until("data: 2\n\n").await;
    assert!(!read.contains("live") && !read.contains("stream-reset"), "{read}");
    let only = server.publish(r#"{"channel":"a","data":"x","store":false}"#).await;
    assert_eq!(only.to_string(), r#"{"id":null}"#);
    late.until("event: message\ndata: \"x\"\n\n").await;
}

#[tokio::test]
async fn events_that_are_not_stored_cross_instances() {
    let Some(redis) = crate::services::redis() else { return };
    let never = std::time::Duration::from_hours(1);
    let first = crate::instances::Instance::start(&redis, &redis, never).await;
    let second = crate::instances::Instance::start(&redis, &redis, never).await;
    let channel = crate::skip::unique("unstored");
    let mut reader = second.reader(&format!("channel={channel}"), "").await;
    let publish = async || {
        let event = sse_server::storage::NewEvent::new(&*channel, "t", "live").store(false);
        assert_eq!(first.hub.publish(vec![event]).await.expect("published"), [0]);
    };
    // The relay may still be connecting.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(50));
    let event = loop {
        tokio::select! {
            event = reader.next() => break event,
            _ = ticks.tick() => publish().await,
        }
    };
    let at = format!("{channel}:0");
    assert_eq!((&*event.0, &*event.2), ("t", "live"));
    assert!(event.1.is_empty() || event.1 == at, "{event:?}");
}
