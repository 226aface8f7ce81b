//! The server's answer to any request that is HTTP: no server error, nothing but a well-formed
//! stream, and not a word of a channel that is for others.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body::Body as _;
use sse_proto::{Cursor, Decoder, Frame};
use sse_server::access::Access;
use sse_server::http::{HttpConfig, router};
use sse_server::hub::Hub;
use sse_server::storage::{MemoryStorage, NewEvent};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use super::token;

/// What must never be read: nobody can make a token for the channel that has it.
const CONFIDENTIAL: &str = "c0nf1d3nt1al";

/// For publishing; the seeds know it.
const PUBLISH_TOKEN: &str = "publish-me";

/// After so many requests the server is a new one: what they publish is kept.
const REQUESTS: u32 = 500;

/// How many events are in each channel at the beginning.
const EVENTS: u64 = 3;

struct Site {
    runtime: Runtime,
    router: Router,
    requests: u32,
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

impl Site {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let router = runtime.block_on(async {
            let hub = Hub::new(Arc::new(MemoryStorage::new()));
            for channel in ["open", "open b", "secret", "user-u1"] {
                let data = if channel.starts_with("open") { "data" } else { CONFIDENTIAL };
                let event = NewEvent::new(channel, "message", data);
                for _ in 0..EVENTS {
                    hub.publish(vec![event.clone()]).await.expect("memory");
                }
            }
            let access = Access::new(Arc::new(token::rules()), &hub);
            router(hub, HttpConfig::new(PUBLISH_TOKEN).access(access).max_event_len(1000))
        });
        Self { runtime, router, requests: 0 }
    }
}

/// The bytes are a request as on the wire; the rest is its body.
pub(crate) fn run(data: &[u8]) {
    // Who knows the word already may be told it again, as the name of a channel for example.
    if has_confidential(data) {
        return;
    }
    let Some(request) = request(data) else { return };
    SITE.with_borrow_mut(|site| {
        if site.as_ref().is_none_or(|site| site.requests >= REQUESTS) {
            *site = Some(Site::new());
        }
        let Some(site) = site else { return };
        site.requests += 1;
        let router = site.router.clone();
        site.runtime.block_on(answer(router, request));
    });
}

fn request(data: &[u8]) -> Option<Request<Body>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(len)) = parsed.parse(data) else { return None };
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?);
    for header in parsed.headers {
        request = request.header(header.name, header.value);
    }
    request.body(Body::from(data[len..].to_vec())).ok()
}

async fn answer(router: Router, request: Request<Body>) {
    let is_resumed = request.headers().contains_key("last-event-id")
        || request.uri().query().is_some_and(|query| query.contains("lastEventId"));
    let response = router.oneshot(request).await.expect("it never fails");
    let status = response.status();
    assert!(!status.is_server_error(), "{status}");
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let mut read = Vec::new();
    let mut body = pin!(response.into_body());
    let mut context = Context::from_waker(Waker::noop());
    // What there is now; a stream has no end. Between the looks the hub's tasks get their turn.
    'looks: for _ in 0..8 {
        while let Poll::Ready(frame) = body.as_mut().poll_frame(&mut context) {
            let Some(frame) = frame else { break 'looks };
            let frame = frame.expect("a body that does not break off");
            read.extend_from_slice(frame.data_ref().map_or(&b""[..], |data| data));
        }
        tokio::task::yield_now().await;
    }
    assert!(!has_confidential(&read), "confidential: {}", read.escape_ascii());
    if kind.is_some_and(|kind| kind == "text/event-stream") {
        stream(&read, is_resumed);
    }
}

fn has_confidential(bytes: &[u8]) -> bool {
    bytes.windows(CONFIDENTIAL.len()).any(|part| part == CONFIDENTIAL.as_bytes())
}

/// A stream has whole events of known types, and the ids of each channel are without a gap.
fn stream(read: &[u8], is_resumed: bool) {
    let shown = || read.escape_ascii().to_string();
    assert!(read.is_empty() || read.ends_with(b"\n\n"), "it ends within a block: {}", shown());
    let mut decoder = Decoder::new();
    let mut frames = decoder.decode(read);
    let mut before: Option<Cursor<'static>> = None;
    let mut has_reset = false;
    while let Some(frame) = frames.next_frame() {
        let Frame::Event(event) = frame.expect("within the limits") else { continue };
        match event.event_type() {
            "stream-error" => return,
            "stream-reset" => has_reset = true,
            "stream-open" | "keep-alive" => continue,
            _ => {}
        }
        let Some(id) = event.id() else { continue };
        let cursor: Cursor<'static> = id.parse().unwrap_or_else(|_| panic!("no id: {}", shown()));
        if let Some(before) = before.as_ref().filter(|_| !has_reset) {
            let steps =
                cursor.iter().map(|(channel, at)| at - before.position(channel).unwrap_or(at));
            assert_eq!(steps.sum::<u64>(), 1, "one event, one step: {}", shown());
        } else {
            assert!(is_resumed || has_reset, "events of the past for somebody new: {}", shown());
        }
        before = Some(cursor);
        has_reset = false;
    }
}
