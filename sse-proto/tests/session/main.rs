//! A session is driven in simulated time: no sockets, no clock, no waiting.
#![allow(clippy::unchecked_time_subtraction, reason = "simulated time does not run backwards")]

mod always;
mod data;
mod ending;
mod resuming;
mod timing;
mod trying;

use sse_proto::{Closed, Item, Nanos, Policy, Reader, ResponseHead, SessionConfig, State, Step};

const SECOND: Nanos = 1_000_000_000;

/// A block that makes progress.
const EVENT: &str = "id: 1\ndata: a\n\n";

const OK: ResponseHead<'_> =
    ResponseHead { status: 200, content_type: Some(b"text/event-stream"), retry_after: None };

fn status(status: u16) -> ResponseHead<'static> {
    ResponseHead { status, ..OK }
}

/// What the driver would deliver, as text: an event's data, or `reset a,b`.
fn feed(reader: &mut Reader, now: Nanos, bytes: &str) -> Vec<String> {
    let mut items = reader.handle_bytes(now, bytes.as_bytes());
    let mut delivered = Vec::new();
    while let Some(item) = items.next_item() {
        delivered.push(match item.expect("within the limits") {
            Item::Event(event) => event.data().to_owned(),
            Item::Reset { channels } => format!("reset {}", channels.join(",")),
            Item::Error(event) => format!("error {}", event.data()),
            other => panic!("unexpected {other:?}"),
        });
    }
    delivered
}

fn connect(reader: &mut Reader, now: Nanos) -> Option<String> {
    match reader.session_mut().poll(now) {
        Step::Connect(request) => {
            reader.last_event_id().filter(|_| request.sends_id).map(str::to_owned)
        }
        step => panic!("expected to connect, got {step:?}"),
    }
}

fn open(config: SessionConfig) -> Reader {
    let mut reader = Reader::new(config, 1);
    assert_eq!(connect(&mut reader, 0), None);
    reader.session_mut().handle_response(0, &OK);
    assert_eq!(reader.session().state(), State::Open);
    reader
}

/// When the next try is due; the session must be waiting.
fn due(reader: &mut Reader, now: Nanos) -> Nanos {
    match reader.session_mut().poll(now) {
        Step::Sleep => reader.session().until(),
        step => panic!("expected to sleep, got {step:?}"),
    }
}

fn closed(reader: &mut Reader, now: Nanos) -> Closed {
    match reader.session_mut().poll(now) {
        Step::Stop(closed) => closed,
        step => panic!("expected to stop, got {step:?}"),
    }
}

/// A request that must not be made again.
fn once() -> SessionConfig {
    SessionConfig::default().policy(Policy::Once)
}
