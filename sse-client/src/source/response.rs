//! What an event source does with a response: its head, its body, and its end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use sse_proto::{Closed, Event, Failure, ResponseHead, nanos};

use super::attempt::Wire;
use super::{Arrived, EventSource, Head};
use crate::accepts::Taken;
use crate::coding;
use crate::error::{Error, Refusal, place};
use crate::exchange::{Answer, TryError};
use crate::item::Item;
use crate::runtime::Runtime;
use crate::send::BoxError;
use crate::transport::{Kind, Pieces as _, ResponseBody};

/// How long the text of a refusal is waited for. It only explains; the failure itself is known.
const TEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// How large a response may be that is taken as a whole, in bytes: as an event may be.
const MAX_WHOLE: usize = 16 << 20;

/// Why such a response is not taken. Another try would bring the same one.
#[derive(Debug, thiserror::Error)]
#[error("it has more than the {} MiB that are taken as a whole", MAX_WHOLE >> 20)]
struct TooLong;

/// How long, and how far, a stream is read that is complete, so that its connection can be used
/// again.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_DRAINED: usize = 64 << 10;

impl EventSource {
    pub(super) fn handle_answer(&mut self, answer: Answer) {
        let content_type = answer.content_type();
        let taken = self.options.accepts.judge(answer.status, content_type.as_deref());
        let retry_after = answer.retry_after().map(nanos);
        let Answer { url, status, headers, refusal, body } = answer;
        self.keep_headers(&url, status, &headers);
        let body = coding::decoded(&headers, body);
        self.head = Head { url, status: Some(status), headers };
        let now = self.clock.now();
        let session = self.reader.session_mut();
        let head = if taken == Taken::AsItIs {
            let content_type = content_type.as_deref().map(str::as_bytes);
            ResponseHead { status, content_type, retry_after }
        } else {
            let content_type = Some(&b"text/event-stream"[..]);
            ResponseHead { status: 200, content_type, retry_after }
        };
        let body = match body {
            Ok(body) => {
                session.handle_response(now, &head);
                body
            }
            Err(unknown) => {
                if taken == Taken::AsItIs {
                    session.handle_response(now, &head);
                } else {
                    session.handle_unreadable(now, Failure::ContentCoding);
                }
                self.attempt.cause = Some(unknown.into());
                Bytes::new().into()
            }
        };
        if !self.reader.session().is_open() {
            if let Some(refusal) = refusal {
                self.attempt.cause = Some(refusal.into());
            }
            self.attempt.refusal = Some(Refusal { status, body: String::new() });
            self.clock.set(None);
            let runtime = Arc::clone(self.clock.runtime());
            let text = text(body, self.options.max_error_body, runtime);
            self.attempt.wire = Wire::Refusal(Box::pin(text));
            return;
        }
        tracing::debug!(status, "{} is open", place(&self.head.url));
        if self.attempt.is_id_withheld {
            let id = self.reader.last_event_id().unwrap_or_default().to_owned();
            self.items.push(Err(Error::IdWithheld { id }));
        }
        self.items.push(Ok(Item::Open));
        if self.attempt.is_elsewhere(&self.head.headers) {
            self.items.push(Ok(Item::Reset { channels: Vec::new() }));
        }
        self.attempt.wire = match taken {
            Taken::Whole => Wire::Whole(body, Vec::new()),
            _ => Wire::Stream(body),
        };
        if taken == Taken::Nothing {
            self.reader.session_mut().complete();
        }
        self.publish();
        self.step();
    }

    /// Keeps what the caller wants to send again, if it comes from where it would be sent to.
    fn keep_headers(&mut self, url: &url::Url, status: u16, headers: &http::HeaderMap) {
        if !matches!(status, 200..=299) || url.origin() != self.target.url.origin() {
            return;
        }
        for name in &self.options.kept {
            if let Some(value) = headers.get(name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                self.target.headers.insert(name.clone(), value);
            }
        }
    }

    pub(super) fn handle_try_error(&mut self, error: TryError) {
        let (failure, cause) = match error {
            TryError::Headers(cause) => (Some(Failure::Headers), cause),
            TryError::Transport(error) => match error.kind {
                Kind::Unsent => (Some(Failure::Network), error.cause),
                Kind::NotConnected => (Some(Failure::ConnectTimeout), error.cause),
                Kind::Local => (Some(Failure::Local), error.cause),
                Kind::Broken => (None, error.cause),
            },
        };
        let Some(failure) = failure else {
            return self.handle_broken(cause);
        };
        self.attempt.cause = Some(cause);
        let now = self.clock.now();
        self.reader.session_mut().handle_unsent(now, failure);
        self.step();
    }

    /// The request has failed, or the body has broken off.
    pub(super) fn handle_broken(&mut self, cause: BoxError) {
        self.attempt.cause = Some(cause);
        let now = self.clock.now();
        self.reader.session_mut().handle_error(now);
        self.step();
    }

    /// Bytes of the body have arrived. They are read as events are asked for.
    pub(super) fn begin(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.attempt.excerpt.note(&bytes);
            let now = self.clock.now();
            self.reader.session_mut().handle_arrival(now);
            self.arrived = Some(Arrived::new(bytes, |bytes| self.reader.begin(bytes)));
        }
    }

    /// The body of a stream has ended.
    pub(super) fn handle_end(&mut self) {
        let now = self.clock.now();
        self.reader.session_mut().handle_end(now);
        let session = self.reader.session();
        let is_final = matches!(
            session.closed(),
            Some(Closed::Failed(Failure::Incomplete) | Closed::GaveUp(Failure::Incomplete))
        );
        if is_final || session.failure() == Some(Failure::Incomplete) {
            let body = self.attempt.excerpt.unframed();
            if !body.is_empty() {
                let status = self.head.status.unwrap_or_default();
                self.attempt.refusal = Some(Refusal { status, body });
            }
        }
        self.step();
    }

    /// Goes on with a response that is taken as a whole.
    pub(super) fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Wire::Whole(body, read) = &mut self.attempt.wire else {
            return Poll::Pending;
        };
        match ready!(body.poll_piece(cx)) {
            Some(Ok(bytes)) => {
                if read.len() + bytes.len() > MAX_WHOLE {
                    self.attempt.cause = Some(TooLong.into());
                    let now = self.clock.now();
                    self.reader.session_mut().handle_unreadable(now, Failure::ContentType);
                    self.step();
                    return Poll::Ready(());
                }
                read.extend_from_slice(&bytes);
                let now = self.clock.now();
                self.reader.session_mut().handle_arrival(now);
                self.step();
            }
            Some(Err(error)) => self.handle_broken(error),
            None => {
                let text = String::from_utf8_lossy(read);
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                if !text.is_empty() {
                    self.items.push(Ok(Item::Event(Event::new(text).into_owned())));
                }
                self.reader.session_mut().complete();
                self.step();
            }
        }
        Poll::Ready(())
    }

    /// Reads on behind a stream that is complete, for a short while and without waiting, so that
    /// its connection can be used again.
    pub(super) fn drain(&mut self) {
        if let Wire::Stream(body) = std::mem::replace(&mut self.attempt.wire, Wire::Idle) {
            let runtime = self.clock.runtime();
            let limit = runtime.sleep(DRAIN_TIMEOUT);
            runtime.spawn(Box::pin(drain(body, limit)));
        }
    }
}

async fn drain(mut body: ResponseBody, mut limit: crate::send::BoxFuture<()>) {
    let mut left = MAX_DRAINED;
    poll_fn(|cx| {
        loop {
            if limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match ready!(body.poll_piece(cx)) {
                Some(Ok(piece)) => {
                    let Some(rest) = left.checked_sub(piece.len()) else {
                        return Poll::Ready(());
                    };
                    left = rest;
                }
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// The beginning of a body, as text.
async fn text(mut body: ResponseBody, max_len: usize, runtime: Arc<dyn Runtime>) -> String {
    let mut limit = runtime.sleep(TEXT_TIMEOUT);
    let mut text = Vec::new();
    while text.len() < max_len {
        let next = poll_fn(|cx| match body.poll_piece(cx) {
            // What has come before an end of any kind is worth telling.
            Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
            piece @ Poll::Ready(_) => piece,
        });
        let Some(Ok(piece)) = next.await else {
            break;
        };
        text.extend_from_slice(&piece[..piece.len().min(max_len - text.len())]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
