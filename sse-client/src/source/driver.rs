//! What an event source does with its socket and its clock. The session decides; here it is done.
//!
//! One rule shapes the code: **bytes first, clock second**. Time is told to the session only when
//! there is nothing to read. An application that is slow to ask, or a program that stood still,
//! must not take its own slowness for the server's silence.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sse_proto::{Event, Failure, Nanos, Policy, Request, Step};

use super::EventSource;
use super::attempt::{Attempt, Upload, Wire};
use crate::error::{ClosedError, Error, Refusal, place};
use crate::exchange::{Try, content_type};
use crate::handle::{Command, Status};
use crate::item::{self, Item};
use crate::said::Said;
use crate::state::{Closed, State};
use crate::transport::{Pieces as _, RequestBody};

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

    /// The next event in what has arrived, if it has nothing but data, as those of an LLM. `None`
    /// says nothing.
    #[expect(clippy::inline_always, reason = "returned through memory, an event costs more")]
    #[inline(always)]
    pub(super) fn read_data(&mut self) -> Option<Event<'static>> {
        let Self { reader, arrived, .. } = self;
        let arrived = arrived.as_mut()?;
        let data: Option<Box<str>> =
            arrived.with_dependent_mut(|_, chunk| reader.next_data(chunk).map(Box::from));
        data.map(Event::from)
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
        self.reader.session_mut().handle_read(now);
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
        let span = self.attempt.span.clone();
        let _entered = span.enter();
        match &mut self.attempt.wire {
            Wire::Idle => return Poll::Pending,
            Wire::Request(request, upload) => {
                let answer = request.as_mut().poll(cx);
                // Such a request may cost or change something, and is made once.
                if upload.is_other.load(Ordering::Relaxed) {
                    self.reader.session_mut().set_default_policy(Policy::Once);
                }
                match ready!(answer) {
                    Ok(answer) => self.handle_answer(answer),
                    Err(error) => self.handle_try_error(error),
                }
            }
            Wire::Stream(body) => match ready!(body.poll_piece(cx)) {
                Some(Ok(piece)) => self.begin(piece),
                Some(Err(error)) => self.handle_broken(error),
                None => self.handle_end(),
            },
            Wire::Whole(..) => ready!(self.poll_whole(cx)),
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

    /// Does what the session says.
    pub(super) fn step(&mut self) {
        let now = self.clock.now();
        match self.reader.session_mut().poll(now) {
            Step::Connect(request) => {
                self.connect(request);
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

    /// Sends a request.
    fn connect(&mut self, request: Request) {
        // The session has seen to it that a header can carry it.
        let id = self.reader.last_event_id().filter(|_| request.sends_id).map(str::to_owned);
        self.tries = self.tries.saturating_add(1);
        let (number, url) = (self.tries, place(&self.target.url));
        let span = tracing::debug_span!("try", number, %url);
        let said = id.as_deref().map(Said);
        span.in_scope(|| tracing::debug!(id = ?said, by_get = request.by_get, "connecting"));
        let upload = Upload::default();
        let this_try = Try {
            number,
            id: id.clone(),
            by_get: request.by_get,
            sent: Arc::clone(&upload.sent),
            is_other: Arc::clone(&upload.is_other),
        };
        let sending = self.target.request(this_try);
        let len = self.target.body.as_ref().map_or(0, bytes::Bytes::len);
        let upload = if request.by_get || RequestBody::is_short(len) {
            upload
        } else {
            let now = self.clock.now();
            self.reader.session_mut().handle_sending(now);
            Upload { total: len, ..upload }
        };
        let wire = Wire::Request(sending, upload);
        self.attempt = Attempt::new(wire, id, request.id_withheld, span);
    }

    /// Tells the session how far the body of the request is sent, if it is farther than before.
    fn watch_upload(&mut self) {
        let Wire::Request(_, upload) = &mut self.attempt.wire else {
            return;
        };
        let sent = upload.sent.load(Ordering::Relaxed);
        if sent != upload.seen {
            upload.seen = sent;
            let is_all = sent >= upload.total;
            let now = self.clock.now();
            match self.reader.session_mut() {
                session if is_all => session.handle_sent(now),
                session => session.handle_sending(now),
            }
        }
    }

    fn note_failure(&mut self, delay: Duration) {
        let Some(failure) = self.reader.session().failure() else {
            return;
        };
        let (last_failure, _) = self.attempt.fail(&failure);
        let why = Arc::clone(&last_failure.text);
        self.last_failure = Some(last_failure);
        if failure != Failure::ByCaller {
            self.attempt.span.in_scope(|| {
                tracing::warn!("{}: reconnecting in {delay:.1?}: {why}", place(&self.head.url));
            });
            let until = self.due().unwrap_or_else(|| self.clock.far());
            self.items.push(Ok(Item::Waiting { until, failure, why }));
        }
        self.publish();
    }

    fn stop(&mut self, reason: Closed) {
        if reason == Closed::Complete {
            self.drain();
        }
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
        tracing::warn!("{}: {}", place(&self.head.url), failure.text);
        let body = failure.refusal.as_ref().map(Refusal::body).unwrap_or_default().to_owned();
        let error = ClosedError { reason, url: self.head.url.clone(), body, source };
        self.last_failure = Some(failure);
        self.items.push(Err(Error::Closed(Box::new(error))));
    }

    /// Waits until the session wants to be asked again, and asks. Ready when that has been done.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.clock.poll(cx, self.attempt.is_under_way()));
        self.watch_upload();
        self.step();
        Poll::Ready(())
    }

    /// When the next try is due; `None` if the clock cannot count to it.
    fn due(&self) -> Option<web_time::Instant> {
        self.clock.at(Duration::from_nanos(self.reader.session().until()))
    }

    /// Tells the handles where the session stands.
    pub(super) fn publish(&self) {
        self.controls.publish(match self.state() {
            State::Connecting => Status::Connecting,
            State::Open => Status::Open,
            State::Waiting { failure, .. } => {
                let until = self.due().unwrap_or_else(|| self.clock.far());
                let why = self.last_failure().unwrap_or_default().into();
                Status::Waiting { until, failure, why }
            }
            State::Closed(reason) => Status::Closed(reason),
        });
    }

    /// Why it is over, with what only the last response tells.
    pub(super) fn why(&self, closed: sse_proto::Closed) -> Closed {
        let content_type = || content_type(&self.head.headers);
        Closed::of(closed, content_type, self.reader.stream_error())
    }

    pub(super) fn end(&mut self) {
        self.arrived = None;
        self.attempt.wire = Wire::Idle;
        self.clock.stop();
        self.is_over = true;
    }
}
