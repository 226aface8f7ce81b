//! What an open stream is made of: a subscriber, a timer, and somewhere to write.
//!
//! [`OpenStream`] decides what is written and when; it does not know what carries the bytes, and
//! writes none: it hands out [`Outgoing`] whenever something is due.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use sse_proto::{KEEP_ALIVE, OPENING};
use tokio::time::{Instant, Sleep};
use tracing::debug;

use super::age::Age;
use crate::access::{Ending, Guard};
use crate::http::app::App;
use crate::http::error::forbidden;
#[cfg(feature = "server")]
use crate::http::fanout::{Resting, Resume};
use crate::http::server::admission::Permit;
use crate::http::server::consumer::Consumer;
use crate::http::server::long_lived::LongLived;
use crate::hub::{Delivery, Framing, Outgoing, Subscriber, Tally};
use crate::metrics::Metrics;

/// The last words of a stream whose credentials have expired, for people.
const EXPIRED: &str = "the credentials have expired";

/// The last words of a stream whose permission can no longer be checked. It may still be allowed:
/// so it is no stream-error, and a client that comes back gets the status 503 until it is known.
const UNCHECKED: &str = "it could not be checked for too long who may read this";

/// The last words of a stream whose reader has to be looked at anew.
const OUTDATED: &str = "the rules for who may read this have changed; connect again";

/// The last words of a stream whose client has taken nothing for too long. No stream-error, which
/// would be final: a client that was slow goes on from where it was.
const TOO_SLOW: &str = "nothing could be written for too long (--write-timeout)";

/// The last words of a stream that has lasted long enough. Who comes back goes on, perhaps at
/// another server.
const AGED: &str = "the stream has reached its longest age (--max-stream-age); connect again";

/// Those of a stream that ends within an event, which is no event then. Who comes back hears the
/// error.
const INTERRUPTED: &str = "the stream ends within an event; come back for the whole";

/// What a stream has from the server and from its connection.
#[derive(Debug)]
pub(super) struct StreamContext {
    pub(super) app: Arc<App>,
    pub(super) permit: Permit,
    /// `None`: another server than ours has the connection.
    pub(super) consumer: Option<Arc<Consumer>>,
}

/// A stream to one client.
#[derive(Debug)]
pub(super) struct OpenStream {
    subscriber: Subscriber,
    context: StreamContext,
    /// When the next keep-alive is due.
    keep_alive: Pin<Box<Sleep>>,
    age: Age,
    opening: Opening,
    /// Says when the stream may not go on, unless everyone may read everything.
    guard: Option<Guard>,
    /// There is, or may be, more history than goes out at once.
    is_behind: bool,
    /// A page of it has gone out. Permission is checked before the next.
    is_to_check: bool,
    /// What has gone out ends within an event, and this ends the line that it is in.
    within_event: Option<&'static str>,
    is_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The client has not said for each channel what it knows, so it is told where it starts.
    WithPosition,
    WithoutPosition,
    Sent,
}

impl OpenStream {
    /// A stream of what this subscriber gets. `knows_position`: the client has a last event ID for
    /// every channel.
    pub(super) fn new(
        context: StreamContext,
        subscriber: Subscriber,
        guard: Option<Guard>,
        knows_position: bool,
    ) -> Self {
        context.metrics().stream();
        let opening = if knows_position { Opening::WithoutPosition } else { Opening::WithPosition };
        Self {
            subscriber,
            keep_alive: Box::pin(tokio::time::sleep(context.app.config.keep_alive)),
            age: Age::new(context.app.config.operations.stream_age()),
            context,
            opening,
            guard,
            is_behind: true,
            is_to_check: false,
            within_event: None,
            is_ended: false,
        }
    }

    /// One that has been at rest.
    #[cfg(feature = "server")]
    fn resumed(resting: Resting, consumer: Arc<Consumer>) -> Self {
        let Resting { subscriber, app, permit, guard, keep_alive, end, .. } = resting;
        Self {
            subscriber,
            context: StreamContext { app, permit, consumer: Some(consumer) },
            keep_alive: Box::pin(tokio::time::sleep_until(keep_alive)),
            age: Age::until(end),
            opening: Opening::Sent,
            guard,
            is_behind: false,
            is_to_check: false,
            within_event: None,
            is_ended: false,
        }
    }

    /// The next bytes to write, all that are due at once. `None`: the stream is over.
    fn poll_due(&mut self, cx: &mut Context<'_>, framing: Framing) -> Poll<Option<Outgoing>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        if let Some(consumer) = self.context.consumer.as_ref().filter(|consumer| consumer.is_slow())
        {
            self.is_ended = true;
            if consumer.close() {
                self.context.metrics().slow_consumer();
            }
            return Self::last(framing, &self.last_words(TOO_SLOW));
        }
        if let Some(guard) = &mut self.guard {
            if let Poll::Ready(ending) = guard.poll_ending(cx) {
                return self.end(framing, &ending);
            }
            // Between two pieces of an event there is nothing to check: an event that has begun
            // cannot be taken back.
            if self.is_to_check && self.within_event.is_none() {
                ready!(guard.poll_check(cx));
                self.is_to_check = false;
                if let Some(ending) = guard.ending() {
                    return self.end(framing, &ending);
                }
            }
        }
        let mut out = Outgoing::new(framing);
        let is_old = self.age.poll_over(cx).is_ready();
        if is_old && self.opening == Opening::Sent && self.within_event.is_none() {
            self.subscriber.end();
        }
        if self.opening != Opening::Sent {
            out.put(OPENING);
        }
        let delivered = loop {
            let delivered = self.subscriber.poll_deliver(cx, &mut out);
            // In the middle of history each page says how far it goes, or a client that is cut off
            // while much of it is left out would begin again. Later the next event or keep-alive
            // does.
            if delivered.is_ready() && self.is_behind {
                self.write_untold_position(&mut out);
            }
            if delivered != Poll::Ready(Delivery::LeftOut) || !out.is_empty() {
                break delivered;
            }
        };
        // Also after the events were read: as soon as it is confirmed that a permission is gone,
        // events may follow that its reader must not get.
        if let Some(ending) = self.guard.as_ref().and_then(Guard::ending) {
            return self.end(framing, &ending);
        }
        match delivered {
            Poll::Ready(Delivery::Events | Delivery::LeftOut) => {
                let Tally { events, resets, lag } = self.subscriber.take_tally();
                self.context.metrics().delivered(events, resets, lag);
                self.is_to_check = self.is_behind;
            }
            Poll::Ready(Delivery::Lost) => {
                self.is_ended = true;
                return Self::last(framing, &self.last_words(INTERRUPTED));
            }
            Poll::Ready(Delivery::Closed) if !self.context.app.hub.is_closed() => {
                self.is_ended = true;
                if let Some(consumer) = &self.context.consumer {
                    consumer.retire();
                }
                self.write_untold_position(&mut out);
                out.put(self.last_words(AGED).as_bytes());
                return Poll::Ready(Some(out));
            }
            Poll::Ready(Delivery::Closed) => {
                self.is_ended = true;
                let wait = self.context.app.config.operations.reconnection_time().as_millis();
                if let Some(line_end) = self.within_event {
                    return Self::last(framing, &format!("{line_end}retry: {wait}\n"));
                }
                if self.opening != Opening::Sent {
                    out = Outgoing::new(framing);
                }
                // So that it need not be looked for again where the client connects next.
                self.write_untold_position(&mut out);
                out.put(format!("retry: {wait}\n\n").as_bytes());
                return Poll::Ready(Some(out));
            }
            // Nothing may come between two pieces.
            Poll::Pending if self.within_event.is_some() => return Poll::Pending,
            Poll::Pending => {
                // The first page goes out together with the opening, so that it is waited for; but
                // not longer than for a keep-alive.
                let is_opening = self.opening != Opening::Sent;
                self.is_behind = self.subscriber.is_reading();
                if !is_opening || self.subscriber.is_reading() {
                    ready!(self.keep_alive.poll_unpin(cx));
                }
                if !is_opening {
                    self.write_untold_position(&mut out);
                    out.put(KEEP_ALIVE);
                } else if self.opening == Opening::WithPosition {
                    // A block without data is no event, but its id counts: a client that is cut off
                    // before the first event resumes from here, instead of from wherever the
                    // channel is then. Without a storage there is no position.
                    write_position(&self.subscriber.cursor().to_string(), &mut out);
                }
            }
        }
        self.opening = Opening::Sent;
        let line_end = if out.ends_line() { "" } else { "\n" };
        self.within_event = self.subscriber.is_within_event().then_some(line_end);
        self.keep_alive.as_mut().reset(Instant::now() + self.context.app.config.keep_alive);
        Poll::Ready(Some(out))
    }
}

impl OpenStream {
    /// Tells the client where it is, if it cannot know because events were left out.
    fn write_untold_position(&mut self, out: &mut Outgoing) {
        if let Some(position) = self.subscriber.take_untold_position() {
            write_position(&position, out);
        }
    }

    /// The last of the stream, and nothing else.
    fn last(framing: Framing, text: &str) -> Poll<Option<Outgoing>> {
        let mut out = Outgoing::new(framing);
        out.put(text.as_bytes());
        Poll::Ready(Some(out))
    }

    /// A comment at the end, for people.
    fn last_words(&self, words: &str) -> String {
        match self.within_event {
            // Without a blank line, which would make an event of what is there of it.
            Some(line_end) => format!("{line_end}:{words}\n"),
            None => format!(":{words}\n\n"),
        }
    }

    /// Ends a stream that may not go on.
    fn end(&mut self, framing: Framing, ending: &Ending) -> Poll<Option<Outgoing>> {
        debug!(?ending, "a stream may not go on");
        self.is_ended = true;
        let words = match ending {
            // A client with a new token goes on from where it was, and one without gets the status
            // 401.
            Ending::Expired => EXPIRED,
            // A client that comes back is checked anew.
            Ending::Outdated => OUTDATED,
            Ending::Unchecked if mutant!("unchecked-is-final") => {
                let error = forbidden(&[]);
                return Self::last(framing, &error.to_event().to_string());
            }
            // A client that comes back gets 503 until it is known.
            Ending::Unchecked => UNCHECKED,
            Ending::Forbidden(_) if self.within_event.is_some() => INTERRUPTED,
            Ending::Forbidden(channels) => {
                let error = forbidden(channels);
                self.context.metrics().stream_error(&error.condition);
                return Self::last(framing, &error.to_event().to_string());
            }
        };
        // No stream-error, which would be final.
        Self::last(framing, &self.last_words(words))
    }
}

impl StreamContext {
    fn metrics(&self) -> &Metrics {
        self.app.config.operations.metrics()
    }
}

/// A block without data: its id counts, and no event is dispatched.
fn write_position(position: &str, out: &mut Outgoing) {
    if !position.is_empty() {
        out.put_all(&[b"id: ", position.as_bytes(), b"\n\n"]);
    }
}

impl LongLived for OpenStream {
    fn poll_outgoing(
        &mut self,
        cx: &mut Context<'_>,
        framing: Framing,
    ) -> Poll<Option<io::Result<Outgoing>>> {
        let outgoing = ready!(self.poll_due(cx, framing));
        self.context.metrics().sent(outgoing.as_ref().map_or(0, Outgoing::content_len));
        Poll::Ready(outgoing.map(Ok))
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    #[cfg(feature = "server")]
    fn is_at_rest(&self) -> bool {
        self.opening == Opening::Sent
            && self.subscriber.is_at_rest()
            && self.within_event.is_none()
            && !self.is_behind
            && !self.is_to_check
            && !self.is_ended
            && !self.age.is_over()
            && self.context.consumer.is_some()
    }

    #[cfg(feature = "server")]
    fn rest(self: Box<Self>) -> Option<Box<Resting>> {
        let Self { subscriber, context: StreamContext { app, permit, .. }, guard, .. } = *self;
        let (keep_alive, end) = (self.keep_alive.deadline(), self.age.end());
        let resume: Resume = |resting, consumer| Box::new(Self::resumed(resting, consumer));
        Some(Box::new(Resting { subscriber, app, permit, guard, keep_alive, end, resume }))
    }
}
