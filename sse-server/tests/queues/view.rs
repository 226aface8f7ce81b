//! A queue's channels as a route of an application, which says who reads what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use sse_server::views::queues::{Queue, QueueError, QueueView};
use testkit::server::send;
use testkit::services::Own;

use crate::{get, next, serve};

#[tokio::test(flavor = "multi_thread")]
async fn the_application_says_by_the_request_what_is_read_and_refuses_in_clear_words() {
    let Some(redis) = Own::redis().await else { return };
    let queue = Queue::builder().max_channels(2).redis_channels(&redis.url()).await.expect("runs");
    let view = QueueView::new(&queue, |request| async move {
        let name = request.headers.get("x-channel").and_then(|name| name.to_str().ok());
        match name.unwrap_or_default() {
            "secret" => Err(QueueError::Forbidden),
            "unknown" => Err(QueueError::NotFound("there is no such room".to_owned())),
            "panics" => panic!("the secret reason"),
            "empty" => Ok(String::new()),
            "long" => Ok("x".repeat(256)),
            "odd" => Ok("a\nb".to_owned()),
            name => Ok(name.to_owned()),
        }
    })
    .with(|view| view.control_events().keep_alive(Duration::from_millis(50)));
    let address = serve(Router::new().route_service("/events", view)).await;
    for (channel, status, text) in [
        ("secret", 403, "\"error\":\"forbidden\""),
        ("unknown", 404, "there is no such room"),
        ("panics", 500, "\"error\":\"internal-error\""),
        ("empty", 400, "1 to 255 bytes"),
        ("long", 400, "1 to 255 bytes"),
        ("odd", 400, "no control characters"),
    ] {
        let mut response = get(address, "/events", &format!("X-Channel: {channel}\r\n")).await;
        let body = response.body().await;
        assert_eq!(response.status, status, "{channel}: {body}");
        assert!(body.contains(text) && !body.contains("secret reason"), "{body}");
    }
    let post = b"POST /events HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let refused = send(address, post).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let mut open = Vec::new();
    for channel in ["a", "b"] {
        let mut reader = get(address, "/events", &format!("X-Channel: {channel}\r\n")).await;
        reader.opening().await;
        open.push(reader);
    }
    let mut third = get(address, "/events", "X-Channel: c\r\n").await;
    assert_eq!(third.status, 503);
    assert!(third.body().await.contains("2 channels are read already"));
    open[0].until("event: keep-alive\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn permission_that_is_taken_back_ends_the_streams_concerned_and_no_others() {
    let Some(redis) = Own::redis().await else { return };
    let queue = Queue::builder().redis_channels(&redis.url()).await.expect("it runs");
    let may = Arc::new(AtomicBool::new(true));
    let view = |recheck: Option<Duration>| {
        let may = may.clone();
        let view = QueueView::new(&queue, move |request| {
            let is_ann = request.headers.contains_key("x-ann");
            let is_refused = is_ann && !may.load(Ordering::SeqCst);
            async move { if is_refused { Err(QueueError::Forbidden) } else { Ok("a".to_owned()) } }
        });
        match recheck {
            Some(period) => view.recheck(period),
            None => view,
        }
    };
    let told = view(None);
    let app = Router::new()
        .route_service("/told", told.clone())
        .route_service("/asked", view(Some(Duration::from_millis(20))));
    let address = serve(app).await;
    for path in ["/told", "/asked"] {
        may.store(true, Ordering::SeqCst);
        let mut ann = get(address, path, "X-Ann: yes\r\n").await;
        let mut bob = get(address, path, "").await;
        for reader in [&mut ann, &mut bob] {
            reader.until("id: ").await;
            reader.until("\n\n").await;
        }
        told.permissions_changed();
        queue.send_text("a", "message", "for both").await.expect("sent");
        assert_eq!(next(&mut ann).await.0, "for both");
        may.store(false, Ordering::SeqCst);
        told.permissions_changed();
        let rest = ann.body().await;
        assert!(rest.contains("event: stream-error\nid: error\n"), "{rest}");
        assert!(rest.contains("\"condition\": \"forbidden\""), "{rest}");
        queue.send_text("a", "message", "for bob").await.expect("sent");
        assert_eq!(next(&mut bob).await.0, "for both");
        assert_eq!(next(&mut bob).await.0, "for bob");
        assert_eq!(get(address, path, "X-Ann: yes\r\n").await.status, 403);
    }
}
