//! Bodies that last and are silent most of the time: streams.
//!
//! Any server can poll such a body for frames. A connection of HTTP/1.1 that writes the response
//! itself takes out what is in it instead, and asks that for bytes which are framed already.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;

#[cfg(feature = "server")]
use crate::http::fanout::Resting;
use crate::hub::{Framing, Outgoing};

/// What a body that lasts is made of.
pub(in crate::http) trait LongLived: Send + 'static {
    /// What is due, framed like this. `None`: that was all.
    fn poll_outgoing(
        &mut self,
        cx: &mut Context<'_>,
        framing: Framing,
    ) -> Poll<Option<io::Result<Outgoing>>>;

    /// Whether nothing more will come, as far as is known.
    fn is_ended(&self) -> bool;

    /// Whether it has nothing to write before an event or a keep-alive, and can be written by the
    /// [loop](crate::http::fanout) for such streams.
    #[cfg(feature = "server")]
    fn is_at_rest(&self) -> bool {
        false
    }

    /// What that loop has to know of it, if it is [at rest](Self::is_at_rest).
    #[cfg(feature = "server")]
    fn rest(self: Box<Self>) -> Option<Box<Resting>> {
        None
    }
}

/// An extension of a response whose body lasts, by which its source can be taken out of the body.
#[derive(Clone)]
pub(in crate::http) struct Takeable(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    source: Option<Box<dyn LongLived>>,
    /// The first frame, until it is asked for a second one.
    first: Option<Bytes>,
    is_begun: bool,
}

impl Takeable {
    /// Makes this the body of a response.
    pub(in crate::http) fn put(source: impl LongLived, response: &mut Response) {
        let slot = Slot { source: Some(Box::new(source)), ..Slot::default() };
        let takeable = Self(Arc::new(Mutex::new(slot)));
        *response.body_mut() = Body::new(SlotBody(takeable.clone()));
        response.extensions_mut().insert(takeable);
    }

    /// Takes the source out of the body that has handed out this first frame. `None` if the frame
    /// is another one: then something around the body changes what comes, and has to go on doing
    /// so.
    pub(super) fn take(&self, first: &Bytes) -> Option<Box<dyn LongLived>> {
        let mut slot = self.slot();
        let is_it = |own: &Bytes| own.as_ptr() == first.as_ptr() && own.len() == first.len();
        slot.first.take().is_some_and(|own| is_it(&own)).then(|| slot.source.take()).flatten()
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body around a source.
struct SlotBody(Takeable);

impl http_body::Body for SlotBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut slot = self.0.slot();
        slot.first = None;
        let Some(source) = &mut slot.source else { return Poll::Ready(None) };
        let outgoing = ready!(source.poll_outgoing(cx, Framing::Plain));
        let bytes = outgoing.map(|outgoing| outgoing.map(Outgoing::into_bytes));
        if let Some(Ok(bytes)) = &bytes
            && !std::mem::replace(&mut slot.is_begun, true)
        {
            slot.first = Some(bytes.clone());
        }
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.slot().source.as_ref().is_none_or(|source| source.is_ended())
    }
}

impl Drop for SlotBody {
    /// The response may live on without its body.
    fn drop(&mut self) {
        self.0.slot().source = None;
    }
}
