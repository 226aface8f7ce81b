//! What an event source does with its socket and its clock. The session decides; here it is done.
//!
//! One rule shapes the code: **bytes first, clock second**. Time is told to the session only when
//! there is nothing to read. An application that is slow to ask, or a program that stood still,
//! must not take its own slowness for the server's silence.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use sse_proto::{Event, Failure, Nanos, ResponseHead, Step, nanos};

use super::attempt::{Attempt, Wire};
use super::{Arrived, EventSource, Head};
use crate::error::{Cause, ClosedError, Error, Refusal, place};
use crate::handle::{Command, Status};
use crate::item::{self, Item};
use crate::state::{Closed, State};
use crate::transport::{self, Answer, TryError};

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

    /// Reads the next event in what has arrived. `None` at its end, and for an item of another
    /// kind, which goes into the queue.
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
        let now = self.clock.now();
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
        match &mut self.attempt.wire {
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
                    let now = self.clock.now();
                    self.reader.session_mut().handle_end(now);
                    self.step();
                }
            },
            Wire::Refusal(text) => {
                let body = ready!(text.as_mut().poll(cx));
                if let Some(refusal) = &mut self.attempt.refusal {
                    refusal.body = body;
                }
                self.step();
            }
        }
        self.clock.hear();
        Poll::Ready(())
    }

    fn handle_answer(&mut self, answer: Answer) {
        let content_type = answer.content_type();
        let head = ResponseHead {
            status: answer.status,
            content_type: content_type.as_deref().map(str::as_bytes),
            retry_after: answer.retry_after().map(nanos),
        };
        let now = self.clock.now();
        self.reader.session_mut().handle_response(now, &head);
        self.head = Head { url: answer.url, headers: answer.headers };
        if !self.reader.session().is_open() {
            self.attempt.cause = answer.refusal.map(Cause::from);
            self.attempt.refusal = Some(Refusal { status: answer.status, body: String::new() });
            self.clock.set(None);
            let text = transport::text(answer.body, self.target.max_error_body);
            self.attempt.wire = Wire::Refusal(Box::pin(text));
            return;
        }
        tracing::debug!("{} is open", place(&self.head.url));
        if self.attempt.is_id_withheld {
            let id = self.reader.last_event_id().unwrap_or_default().to_owned();
            self.items.push(Err(Error::IdWithheld { id }));
        }
        self.items.push(Ok(Item::Open));
        if self.attempt.is_elsewhere(&self.head.headers) {
            self.items.push(Ok(Item::Reset { channels: Vec::new() }));
        }
        self.attempt.wire = Wire::Stream(answer.body);
        self.publish();
        self.step();
    }

    fn handle_error(&mut self, error: TryError) {
        let now = self.clock.now();
        match error {
            TryError::Headers(cause) => {
                self.attempt.cause = Some(cause);
                self.reader.session_mut().handle_unsent(now, Failure::Headers);
            }
            TryError::Unsent(error) => {
                self.attempt.note_cause(error);
                self.reader.session_mut().handle_unsent(now, Failure::Network);
            }
            TryError::Broken(error) => {
                self.attempt.note_cause(error);
                self.reader.session_mut().handle_error(now);
            }
        }
        self.step();
    }

    /// Bytes of the body have arrived. They are read as events are asked for.
    fn begin(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.arrived = Some(Arrived::new(bytes, |bytes| self.reader.begin(bytes)));
        }
    }

    /// Does what the session says.
    pub(super) fn step(&mut self) {
        let now = self.clock.now();
        match self.reader.session_mut().poll(now) {
            Step::Connect(request) => {
                // The session has seen to it that a header can carry it.
                let id = self.reader.last_event_id().filter(|_| request.sends_id);
                let id = id.and_then(|id| HeaderValue::from_bytes(id.as_bytes()).ok());
                tracing::debug!(?id, "connecting to {}", place(&self.target.url));
                let sending = Box::pin(self.target.request(id.clone(), request.by_get));
                self.attempt = Attempt::new(sending, id, request.id_withheld);
                self.publish();
                self.step();
            }
            Step::Read => {
                let until = self.reader.session().until();
                self.clock.set((until != Nanos::MAX).then_some(until));
            }
            Step::Sleep => {
                let until = self.reader.session().until();
                self.clock.set(Some(until));
                self.attempt.wire = Wire::Idle;
                self.note_failure(Duration::from_nanos(until.saturating_sub(now)));
            }
            Step::Stop(closed) => self.stop(self.why(closed)),
        }
    }

    fn note_failure(&mut self, delay: Duration) {
        let Some(failure) = self.reader.session().failure() else {
            return;
        };
        let (failure, _) = self.attempt.fail(&failure);
        tracing::info!("{}: reconnecting in {delay:.1?}: {}", place(&self.head.url), failure.text);
        self.last_failure = Some(failure);
        self.publish();
    }

    fn stop(&mut self, reason: Closed) {
        self.end();
        if reason.is_normal() {
            tracing::debug!("{}: {reason}", place(&self.head.url));
        } else {
            self.fail(reason);
        }
        self.publish();
    }

    fn fail(&mut self, reason: Closed) {
        let (failure, source) = self.attempt.fail(&reason);
        tracing::info!("{}: {}", place(&self.head.url), failure.text);
        let body = failure.refusal.as_ref().map(Refusal::body).unwrap_or_default().to_owned();
        let error = ClosedError { reason, url: self.head.url.clone(), body, source };
        self.last_failure = Some(failure);
        self.items.push(Err(Error::Closed(Box::new(error))));
    }

    /// Waits until the session wants to be asked again, and asks. Ready when that has been done.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.clock.poll(cx, self.attempt.is_under_way()));
        self.step();
        Poll::Ready(())
    }

    /// Tells the handles where the session stands.
    pub(super) fn publish(&self) {
        self.controls.publish(match self.state() {
            State::Connecting => Status::Connecting,
            State::Open => Status::Open,
            State::Waiting { until, failure } => {
                let until = self.clock.at(until);
                let until = until.unwrap_or_else(|| std::time::Instant::now() + FAR);
                let why = self.last_failure().unwrap_or_default().into();
                Status::Waiting { until, failure, why }
            }
            State::Closed(reason) => Status::Closed(reason),
        });
    }

    /// Why it is over, with what only the last response tells.
    pub(super) fn why(&self, closed: sse_proto::Closed) -> Closed {
        let content_type = || {
            let value = self.head.headers.get(CONTENT_TYPE)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Closed::of(closed, content_type, self.reader.stream_error())
    }

    pub(super) fn end(&mut self) {
        self.arrived = None;
        self.attempt.wire = Wire::Idle;
        self.clock.stop();
        self.is_over = true;
    }
}
