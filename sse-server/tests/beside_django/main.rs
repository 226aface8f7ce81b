//! A real Django site with django-eventstream beside this server: what either publishes reaches the
//! readers of both.
//!
//! `cargo xtask test` sets Django up, and names its Python in `SSE_TEST_DJANGO`.

mod as_origin;
mod at_once;
mod clients;

use std::time::Duration;

use instances::{Instance, within};
use serde_json::json;
use sse_client::{EventSource, Item};
use testkit::django::Django;
use testkit::server::program;
use testkit::{instances, services};

/// The next event: type, id, data.
async fn next(source: &mut EventSource) -> (String, String, String) {
    loop {
        match within("an event", source.next()).await.expect("it goes on").expect("no error") {
            Item::Event(event) => {
                let id = event.last_event_id().to_owned();
                return (event.event_type().to_owned(), id, event.data().to_owned());
            }
            Item::Open | Item::Waiting { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

/// The next event but those that were sent until the first one arrived.
async fn next_but_begin(source: &mut EventSource) -> (String, String, String) {
    loop {
        let event = next(source).await;
        if event.0 != "begin" {
            return event;
        }
    }
}

/// Both over the same Redis; ids if both store there.
async fn each_reaches_the_readers_of_the_other(is_stored: bool) {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let Some(mut redis) = services::Own::redis().await else { return };
    let url = redis.url();
    let (ours, theirs) = if is_stored { (&*url, "redis") } else { ("none", "none") };
    let server = Instance::start(ours, &url, Duration::from_hours(1)).await;
    let django = Django::start(&python, Some(&url), theirs, "").await;
    let id = |n: u64| if is_stored { format!("a:{n}") } else { String::new() };

    let mut at_ours = server.reader("channel=a", "").await;
    let mut at_theirs = django.reader("a").await;
    // Django subscribes to Redis some time after its first reader has come, and says nothing of it.
    let mut count = 0;
    let first = loop {
        count += 1;
        django.send("a", "begin", json!(count)).await;
        let patience = Duration::from_millis(300);
        if let Ok(event) = tokio::time::timeout(patience, next(&mut at_theirs)).await {
            break event;
        }
    };
    assert_eq!(first.0, "begin");
    for n in 1..=count {
        let expected = ("begin".to_owned(), id(n), n.to_string());
        assert_eq!(at_ours.next().await, expected, "what Django sends reaches readers here");
    }

    let mut publisher = server.publisher().await;
    for round in 1..=3 {
        let data = json!({"text": "grün", "round": round});
        let encoded = format!("{{\"round\": {round}, \"text\": \"gr\\u00fcn\"}}");
        let at = count + 2 * round - 1;
        django.send("a", "theirs", data.clone()).await;
        let expected = ("theirs".to_owned(), id(at), encoded.clone());
        assert_eq!(at_ours.next().await, expected);
        assert_eq!(next_but_begin(&mut at_theirs).await, expected);
        publisher.publish("a", data).await;
        let expected = ("message".to_owned(), id(at + 1), encoded);
        assert_eq!(at_ours.next().await, expected);
        assert_eq!(next(&mut at_theirs).await, expected, "what is published here reaches theirs");
    }
    if is_stored {
        // And who comes back with an id from the one gets the rest from the other.
        let last = count + 6;
        let mut late = server.reader("channel=a", &format!("a:{}", last - 2)).await;
        assert_eq!(late.next().await.1, id(last - 1));
        let url = format!("{}/events/", django.url);
        let resumed = EventSource::channels(url, ["a"]).last_event_id(format!("a:{}", last - 2));
        let mut resumed = resumed.build().expect("a client");
        assert_eq!(next(&mut resumed).await.1, id(last - 1));
        assert_eq!(next(&mut resumed).await.1, id(last));
    }
    drop(django);
    redis.stop();
}

/// `examples/django`, clicked through by itself: an order, a stream, both sides killed, a
/// permission taken back.
#[tokio::test]
async fn the_example_does_what_it_shows() {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let Some(redis) = services::variable("SSE_TEST_REDIS_SERVER") else { return };
    let redis = std::path::Path::new(&redis).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut run = tokio::process::Command::new(&python);
    run.args(["../examples/django/run.py", "--check"]).kill_on_drop(true);
    run.env("SSE_EXAMPLE_PYTHON", &python).env("SSE_EXAMPLE_SERVER", program());
    run.env("PATH", format!("{path}:{}", redis.display()));
    let done = within("the example to end", run.output()).await.expect("Python is there");
    let said = String::from_utf8_lossy(&done.stdout);
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("all went as it should"), "{said}\n{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_this_server_over_one_redis_share_events_and_ids() {
    each_reaches_the_readers_of_the_other(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_this_server_share_events_that_nobody_stores() {
    each_reaches_the_readers_of_the_other(false).await;
}
