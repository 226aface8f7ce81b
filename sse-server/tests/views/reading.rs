//! What an application reads of its own channels.

use axum::Router;
use axum::routing::post;
use futures_util::StreamExt;
use sse_server::storage::{NewEvent, Retention};
use sse_server::views::{EventStreams, Missed, Received, SendError};
use testkit::server::send;
use testkit::wait::{until, within};

use crate::{get, serve};

async fn filled() -> EventStreams {
    let streams = EventStreams::builder().build();
    for number in 1..=5 {
        let sent = streams.send_event("a", "numbered", &number).await.expect("sent");
        assert_eq!(sent, Some(number));
    }
    streams
}

#[tokio::test]
async fn what_is_kept_is_read_in_pages_and_the_head_is_known() {
    let streams = filled().await;
    assert_eq!(streams.head("a").await.expect("read"), 5);
    assert_eq!(streams.head("other").await.expect("read"), 0);
    let page = streams.read("a", 3, 10).await.expect("read");
    let page: Vec<_> = page.iter().map(|event| (event.id, &*event.data)).collect();
    assert_eq!(page, [(4, "4"), (5, "5")]);
    assert_eq!(streams.read("a", 0, 2).await.expect("read").len(), 2);
    assert!(streams.read("a", 5, 2).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_subscriber_gets_what_was_and_what_comes_and_ends_with_the_streams() {
    let streams = filled().await;
    let mut from_three = Box::pin(streams.subscribe("a", Some(3)).await.expect("read"));
    let mut from_now = Box::pin(streams.subscribe("a", None).await.expect("read"));
    streams.send_text("a", "message", "six\nlines").await.expect("sent");
    streams.send(NewEvent::new("a", "t", "once").store(false)).await.expect("sent");
    let mut expected = vec![
        (4, "numbered", "4"),
        (5, "numbered", "5"),
        (6, "message", "six\nlines"),
        (6, "t", "once"),
    ];
    let seen = |event: Option<Result<Received, Missed>>| event.expect("it goes on").expect("kept");
    for (number, event_type, data) in &expected {
        let event = seen(within("an event", from_three.next()).await);
        let Received { number: at, event_type: kind, data: text, .. } = &event;
        assert_eq!((*at, &**kind, &**text), (*number, *event_type, *data));
    }
    for (_, _, data) in expected.drain(2..) {
        assert_eq!(seen(within("an event", from_now.next()).await).data, data);
    }
    streams.close().await;
    assert_eq!(within("the end", from_three.next()).await, None);
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_to_a_subscriber_and_a_view_of_it_is_reset() {
    let short = Retention::default().events(1);
    let streams = EventStreams::builder().retention(short).build();
    for number in 1..=3 {
        streams.send_event("a", "t", &number).await.expect("sent");
    }
    let gone = async || streams.read("a", 0, 10).await.expect("read").len() == 1;
    until("the older events to be gone", gone).await;
    let mut events = Box::pin(streams.subscribe("a", Some(1)).await.expect("read"));
    assert_eq!(within("a word about it", events.next()).await, Some(Err(Missed)));
    streams.send_event("a", "t", &4).await.expect("sent");
    let event = within("an event", events.next()).await.expect("it goes on").expect("kept");
    assert_eq!(event.number, 4);
}

#[tokio::test]
async fn a_handler_ends_with_a_status_that_says_whose_fault_it_is() {
    let closed = EventStreams::builder().build();
    closed.close().await;
    let sent = async move || closed.send_text("a", "t", "x").await.map(drop);
    let open = EventStreams::builder().build();
    let wrong = async move || open.send_text("a", "two\nlines", "x").await.map(drop);
    let fine = async || Ok::<_, SendError>(());
    let app = Router::new()
        .route("/closed", post(sent))
        .route("/wrong", post(wrong))
        .route("/fine", post(fine));
    let address = serve(app).await;
    for (path, status) in [("/closed", 503), ("/wrong", 500), ("/fine", 200)] {
        let request = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        let mut answer = send(address, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{path}");
        assert!(!answer.body().await.contains("lines"), "the log has the reason");
    }
    assert_eq!(get(address, "/fine", "").await.status, 405);
}
