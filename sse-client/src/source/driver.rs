//! What an event source does with its socket and its clock. The session decides; here it is done.
//!
//! One rule shapes the code: **bytes first, clock second**. Time is told to the session only when
//! there is nothing to read. An application that is slow to ask, or a program that stood still, must
//! not take its own slowness for the server's silence.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use sse_proto::{Event, Failure, Nanos, ResponseHead, Step, nanos};

use super::{Arrived, EventSource, Wire};
use crate::error::{self, Cause, ClosedError, Error, Refusal, place};
use crate::handle::{Command, Status};
use crate::item::{self, Item};
use crate::state::{Closed, State};
use crate::transport::{self, Answer, TryError};

/// How often the socket is looked at again when a time limit has passed. If the program stood still,
/// bytes that came meanwhile are noticed only now, and pass through tasks of the HTTP client, which
/// the runtime may run after this one.
const LOOKS: u8 = 3;

/// How long to wait for each of these looks.
const LOOK_AFTER: Nanos = 10_000_000;

/// What a Mercure hub continues from, after the request's `Last-Event-ID`.
const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// The id by which a Mercure hub is asked for all that it has.
const MERCURE_EARLIEST: &str = "earliest";

/// How far away a time is put that the clock cannot count to.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl EventSource {
    /// Does what handles have asked for.
    #[inline]
    pub(super) fn obey(&mut self) {
        match self.controls.command() {
            Some(Command::Close) => self.close(),
            Some(Command::Reconnect) => self.reconnect(),
            None => {}
        }
    }

    /// Reads the next event in what has arrived. `None` at its end, and for an item of another kind: that is
    /// put into the queue.
    #[expect(clippy::inline_always, reason = "returned through memory, an event costs more")]
    #[inline(always)]
    pub(super) fn read_event(&mut self) -> Option<Event<'static>> {
        let Self { reader, arrived, items, .. } = self;
        arrived.as_mut()?.with_dependent_mut(|_, chunk| {
            loop {
                match reader.next_item(chunk)? {
                    Ok(sse_proto::Item::Event(event)) => return Some(event.into_owned()),
                    item => {
                        if let Some(item) = item::owned(item) {
                            items.push(item);
                            return None;
                        }
                    }
                }
            }
        })
    }

    /// What has arrived has been read to its end.
    pub(super) fn finish_chunk(&mut self) {
        self.arrived = None;
        let now = self.now();
        self.reader.session_mut().handle_arrival(now);
        self.step();
    }

    /// Reads all that has arrived, to be delivered later.
    pub(super) fn read_all(&mut self) {
        let Some(mut arrived) = self.arrived.take() else {
            return;
        };
        let Self { reader, items, .. } = self;
        items.keep_last_event_id(reader.last_event_id());
        arrived.with_dependent_mut(|_, chunk| {
            while let Some(item) = reader.next_item(chunk) {
                if let Some(item) = item::owned(item) {
                    items.push_ahead(item, reader.last_event_id());
                }
            }
        });
        items.catch_up();
    }

    /// Goes on with the request or the response. Ready when something has happened.
    pub(super) fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wire {
            Wire::Idle => return Poll::Pending,
            Wire::Request(request) => match ready!(request.as_mut().poll(cx)) {
                Ok(answer) => self.handle_answer(answer),
                Err(error) => self.handle_error(error),
            },
            Wire::Stream(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                // Trailers mean nothing here.
                Some(Ok(frame)) => self.begin(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => self.handle_error(TryError::Broken(error)),
                None => {
                    let now = self.now();
                    self.reader.session_mut().handle_end(now);
                    self.step();
                }
            },
            Wire::Refusal(text) => {
                let body = ready!(text.as_mut().poll(cx));
                if let Some(refusal) = &mut self.refusal {
                    refusal.body = body;
                }
                self.step();
            }
        }
        self.looks = 0;
        Poll::Ready(())
    }

    fn handle_answer(&mut self, answer: Answer) {
        let content_type = answer.content_type();
        let head = ResponseHead {
            status: answer.status,
            content_type: content_type.as_deref().map(str::as_bytes),
            retry_after: answer.retry_after().map(nanos),
        };
        let now = self.now();
        self.reader.session_mut().handle_response(now, &head);
        self.url = answer.url;
        self.headers = answer.headers;
        if !self.reader.session().is_open() {
            self.cause = answer.refusal.map(Cause::from);
            self.refusal = Some(Refusal { status: answer.status, body: String::new() });
            self.until = None;
            self.wire = Wire::Refusal(Box::pin(transport::text(answer.body, self.max_error_body)));
            return;
        }
        tracing::debug!("{} is open", place(&self.url));
        if self.id_withheld {
            let id = self.reader.last_event_id().unwrap_or_default().to_owned();
            self.items.push(Err(Error::IdWithheld { id }));
        }
        self.items.push(Ok(Item::Open));
        if self.is_elsewhere() {
            self.items.push(Ok(Item::Reset { channels: Vec::new() }));
        }
        self.wire = Wire::Stream(answer.body);
        self.publish();
        self.step();
    }

    /// Whether a Mercure hub continues from another id than the one that was sent: then it does not
    /// know that one any more.
    fn is_elsewhere(&self) -> bool {
        match (&self.sent_id, self.headers.get(MERCURE_LAST_EVENT_ID)) {
            (Some(sent), Some(resumed)) => sent != resumed && sent != MERCURE_EARLIEST,
            _ => false,
        }
    }

    fn handle_error(&mut self, error: TryError) {
        let now = self.now();
        match error {
            TryError::Headers(cause) => {
                self.cause = Some(cause);
                self.reader.session_mut().handle_unsent(now, Failure::Headers);
            }
            TryError::Unsent(error) => {
                self.note_cause(error);
                self.reader.session_mut().handle_unsent(now, Failure::Network);
            }
            TryError::Broken(error) => {
                self.note_cause(error);
                self.reader.session_mut().handle_error(now);
            }
        }
        self.step();
    }

    fn note_cause(&mut self, error: reqwest::Error) {
        // The URL may hold a token, and is told elsewhere.
        self.cause = Some(error.without_url().into());
    }

    /// Bytes of the body have arrived. They are read as events are asked for.
    fn begin(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.arrived = Some(Arrived::new(bytes, |bytes| self.reader.begin(bytes)));
        }
    }

    /// Does what the session says.
    pub(super) fn step(&mut self) {
        let now = self.now();
        match self.reader.session_mut().poll(now) {
            Step::Connect(request) => {
                // The session has seen to it that a header can carry it.
                let id = self.reader.last_event_id().filter(|_| request.sends_id);
                let id = id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
                self.id_withheld = request.id_withheld;
                let by_get = request.by_get;
                // Of a failure that was cut short before it was told.
                (self.cause, self.refusal) = (None, None);
                tracing::debug!(?id, "connecting to {}", place(&self.target.url));
                self.wire = Wire::Request(Box::pin(self.target.request(id.clone(), by_get)));
                self.sent_id = id;
                self.publish();
                self.step();
            }
            Step::Read => {
                let until = self.reader.session().until();
                self.until = (until != Nanos::MAX).then_some(until);
            }
            Step::Sleep => {
                let until = self.reader.session().until();
                self.until = Some(until);
                self.wire = Wire::Idle;
                self.note_failure(Duration::from_nanos(until.saturating_sub(now)));
            }
            Step::Stop(closed) => self.stop(self.why(closed)),
        }
    }

    fn note_failure(&mut self, delay: Duration) {
        let Some(failure) = self.reader.session().failure() else {
            return;
        };
        let text = self.describe(&failure);
        tracing::info!("{}: reconnecting in {delay:.1?}: {text}", place(&self.url));
        self.last_failure = Some(text);
        self.last_refusal = self.refusal.take();
        self.cause = None;
        self.publish();
    }

    fn stop(&mut self, reason: Closed) {
        self.end();
        if reason.is_normal() {
            tracing::debug!("{}: {reason}", place(&self.url));
        } else {
            self.fail(reason);
        }
        self.publish();
    }

    fn fail(&mut self, reason: Closed) {
        let text = self.describe(&reason);
        tracing::info!("{}: {text}", place(&self.url));
        self.last_failure = Some(text);
        self.last_refusal = self.refusal.take();
        let error = ClosedError {
            reason,
            url: self.url.clone(),
            body: self.last_refusal.as_ref().map(Refusal::body).unwrap_or_default().to_owned(),
            source: self.cause.take(),
        };
        self.items.push(Err(Error::Closed(Box::new(error))));
    }

    fn describe(&self, what: &impl fmt::Display) -> String {
        let body = self.refusal.as_ref().map(Refusal::body).unwrap_or_default();
        error::describe(what, error::source(self.cause.as_ref()), body)
    }

    /// Waits until the session wants to be asked again, and asks. Ready when that has been done.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut until) = self.until else {
            return Poll::Pending;
        };
        let now = self.now();
        if now >= until && !matches!(self.wire, Wire::Idle) && self.looks < LOOKS {
            if self.looks == 0 || now >= self.next_look {
                self.looks += 1;
                self.next_look = now.saturating_add(LOOK_AFTER);
            }
            until = self.next_look;
        }
        if now >= until {
            self.looks = 0;
            self.step();
            return Poll::Ready(());
        }
        // What the clock cannot count to does not come.
        let Some(until) = self.start.checked_add(Duration::from_nanos(until)) else {
            return Poll::Pending;
        };
        // Made here because only here there is a runtime for certain.
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }

    /// Tells the handles where the session stands.
    pub(super) fn publish(&self) {
        self.controls.publish(match self.state() {
            State::Connecting => Status::Connecting,
            State::Open => Status::Open,
            State::Waiting { until, failure } => {
                let until = self.start.into_std().checked_add(until);
                let until = until.unwrap_or_else(|| std::time::Instant::now() + FAR);
                let why = self.last_failure.as_deref().unwrap_or_default().into();
                Status::Waiting { until, failure, why }
            }
            State::Closed(reason) => Status::Closed(reason),
        });
    }

    /// Why it is over, with what only the last response tells.
    pub(super) fn why(&self, closed: sse_proto::Closed) -> Closed {
        let content_type = || {
            let value = self.headers.get(CONTENT_TYPE)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Closed::of(closed, content_type, self.reader.stream_error())
    }

    pub(super) fn end(&mut self) {
        self.arrived = None;
        self.wire = Wire::Idle;
        self.timer = None;
        self.until = None;
        self.is_over = true;
    }

    pub(super) fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }
}
