//! What the application brings along may panic, for one of its users or channels. Nobody else
//! notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::request::Parts;
use futures_util::{future, stream};
use http_body::Body;
use serde_json::Value;
use sse_server::access::{AccessError, AccessRequest, ChannelManager, Principal};
use sse_server::http::{Endpoint, Endpoints};
use sse_server::views::{EventStreams, StreamView};
use testkit::wait::until;

use crate::{get, serve};

fn named(request: &Parts) -> Principal {
    let name = request.headers.get("x-user").and_then(|name| name.to_str().ok());
    assert_ne!(name, Some("mallory"), "nobody of this name");
    name.map_or_else(Principal::anonymous, Principal::user)
}

#[tokio::test]
async fn of_a_user_or_of_a_rule_or_of_a_state_it_is_a_503_and_no_more() {
    let broken = Endpoint::new("/broken/{channel}/").expect("a path");
    let broken = broken.state(async |channels: Vec<Arc<str>>| {
        assert_ne!(&*channels[0], "a", "the secret reason");
        Ok::<_, String>(Value::Null)
    });
    let endpoints = Endpoints::default().with(broken).expect("another path");
    let streams = EventStreams::builder()
        .endpoints(endpoints)
        .user(async |request| Ok(named(&request)))
        .can_read(|_, channel| {
            assert_ne!(channel, "cursed", "nobody may know");
            true
        })
        .build();
    let address = serve(streams.router()).await;
    let mut before = get(address, "/events/a/", "X-User: ann\r\n").await;
    before.opening().await;
    for (path, headers) in [
        ("/events/a/", "X-User: mallory\r\n"),
        ("/events/cursed/", "X-User: ann\r\n"),
        ("/broken/a/", "Accept: application/json\r\n"),
    ] {
        let mut answer = get(address, path, headers).await;
        assert_eq!(answer.status, 503, "{path} {headers}");
        let body = answer.body().await;
        assert!(!body.contains("nobody") && !body.contains("secret"), "{body}");
    }
    assert_eq!(get(address, "/broken/b/", "Accept: application/json\r\n").await.status, 200);
    streams.send_event("a", "message", "x").await.expect("sent");
    before.until("data: \"x\"\n\n").await;
}

/// Panics about one user, once it is told to, and counts how often.
#[derive(Default)]
struct Moody {
    panics: AtomicBool,
    refuses_ann: AtomicBool,
    asked: AtomicUsize,
}

struct Rules(Arc<Moody>);

#[async_trait]
impl ChannelManager for Rules {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        let parts = request.parts().expect("it is there");
        Ok(named(parts))
    }

    async fn can_read(&self, user: &Principal, _: &str) -> Result<bool, AccessError> {
        if user.name() == Some("eve") && self.0.panics.load(Ordering::SeqCst) {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            panic!("not her again");
        }
        Ok(user.name() != Some("ann") || !self.0.refuses_ann.load(Ordering::SeqCst))
    }

    fn recheck(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }
}

#[tokio::test]
async fn of_a_rule_that_is_asked_again_it_does_not_keep_others_from_being_asked_again() {
    let moody = Arc::new(Moody::default());
    let streams = EventStreams::builder().access(Rules(moody.clone())).build();
    let address = serve(Router::new().nest("/sse", streams.router())).await;
    let mut ann = get(address, "/sse/events/a/", "X-User: ann\r\n").await;
    let mut bob = get(address, "/sse/events/a/", "X-User: bob\r\n").await;
    let mut eve = get(address, "/sse/events/a/", "X-User: eve\r\n").await;
    for stream in [&mut ann, &mut bob, &mut eve] {
        stream.opening().await;
    }
    moody.panics.store(true, Ordering::SeqCst);
    until("it to panic, twice", async || moody.asked.load(Ordering::SeqCst) > 1).await;
    moody.refuses_ann.store(true, Ordering::SeqCst);
    assert!(ann.body().await.contains("forbidden"), "she was asked about again");
    streams.send_event("a", "message", "later").await.expect("sent");
    bob.until("data: \"later\"\n\n").await;
    let changed = streams.channel_permission_changed(Some("eve"), "a").await;
    assert!(changed.is_err(), "nobody knows: {changed:?}");
}

#[tokio::test]
async fn of_what_says_which_channels_are_stored_it_is_a_yes_and_publishing_goes_on() {
    let streams = EventStreams::builder().hub(|hub| {
        hub.reliable(|channel| {
            assert_ne!(channel, "cursed", "no opinion");
            channel != "fleeting"
        })
    });
    let streams = streams.build();
    for (channel, number) in [("cursed", Some(1)), ("fleeting", None), ("a", Some(1))] {
        assert_eq!(streams.send_event(channel, "t", &1).await.expect("sent"), number, "{channel}");
    }
}

#[tokio::test]
async fn of_what_says_when_a_view_ends_it_is_its_end() {
    let view = StreamView::new(stream::pending::<String>()).until(async { panic!("too soon") });
    let mut body = Box::pin(view.into_http().into_body());
    let last = future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    let last = last.expect("a word about it").expect("bytes").into_data().expect("data");
    assert!(last.starts_with(b":\n\nretry: "), "{last:?}");
    assert!(future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await.is_none());
}
