//! A session is driven in simulated time: no sockets, no clock, no waiting.
#![allow(clippy::unchecked_time_subtraction, reason = "simulated time does not run backwards")]

mod always;
mod ending;
mod resuming;
mod trying;

use std::time::Duration;

use sse_proto::{Closed, Item, Policy, ResponseHead, Session, SessionConfig, State, Step};

const SECOND: Duration = Duration::from_secs(1);

/// A block that makes progress.
const EVENT: &str = "id: 1\ndata: a\n\n";

const OK: ResponseHead<'_> =
    ResponseHead { status: 200, content_type: Some("text/event-stream"), retry_after: None };

fn status(status: u16) -> ResponseHead<'static> {
    ResponseHead { status, ..OK }
}

/// What the driver would deliver, as text: an event's data, or `reset a,b`.
fn feed(session: &mut Session, now: Duration, bytes: &str) -> Vec<String> {
    let mut items = session.handle_bytes(now, bytes.as_bytes());
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

fn connect(session: &mut Session, now: Duration) -> Option<String> {
    match session.poll(now) {
        Step::Connect(request) => request.last_event_id.map(str::to_owned),
        step => panic!("expected to connect, got {step:?}"),
    }
}

fn open(config: SessionConfig) -> Session {
    let mut session = Session::new(config, 1);
    assert_eq!(connect(&mut session, Duration::ZERO), None);
    session.handle_response(Duration::ZERO, &OK);
    assert_eq!(session.state(), State::Open);
    session
}

/// When the next try is due; the session must be waiting.
fn due(session: &mut Session, now: Duration) -> Duration {
    match session.poll(now) {
        Step::Sleep { until } => until,
        step => panic!("expected to sleep, got {step:?}"),
    }
}

fn closed(session: &mut Session, now: Duration) -> Closed {
    match session.poll(now) {
        Step::Stop(closed) => closed.clone(),
        step => panic!("expected to stop, got {step:?}"),
    }
}

/// A request that must not be made again.
fn once() -> SessionConfig {
    SessionConfig::default().policy(Policy::Once)
}
