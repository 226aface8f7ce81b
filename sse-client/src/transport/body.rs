//! The bodies of requests and responses.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::send::{BoxError, BoxPieces, MaybeSend};

/// How much of a request's body a connection is given at once, in bytes.
const PIECE: usize = 64 << 10;

/// The body of a request. It is given to the connection in pieces, so that the source sees that a
/// long upload goes on.
#[derive(Clone, Debug, Default)]
pub struct RequestBody {
    rest: Bytes,
    sent: Arc<AtomicUsize>,
}

impl RequestBody {
    pub(crate) fn new(body: Bytes, sent: Arc<AtomicUsize>) -> Self {
        Self { rest: body, sent }
    }

    /// All of it, for a transport that takes it whole.
    pub fn into_bytes(self) -> Bytes {
        self.rest
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether it is sent at once, so that there is nothing to see.
    pub(crate) fn is_short(len: usize) -> bool {
        len <= PIECE
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        this.sent.fetch_add(piece.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// What the body of a response is made from: its bytes, piece by piece. This is all of
/// [`http_body::Body`] that an event stream has a use for.
pub(crate) trait Pieces {
    /// The next piece, which may be empty; `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>>;
}

/// The body of a response: bytes as they arrive.
pub struct ResponseBody(BoxPieces);

impl ResponseBody {
    /// Of any body. Trailers are passed over.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + MaybeSend + 'static,
        B::Error: Into<BoxError>,
    {
        Self::of(Frames(Box::pin(body)))
    }

    pub(crate) fn of(pieces: impl Pieces + MaybeSend + 'static) -> Self {
        Self(Box::new(pieces))
    }
}

impl From<Bytes> for ResponseBody {
    /// A body that is there already.
    fn from(bytes: Bytes) -> Self {
        Self::new(RequestBody::new(bytes, Arc::default()))
    }
}

impl From<&'static str> for ResponseBody {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}

impl Pieces for ResponseBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        self.0.poll_piece(cx)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.poll_piece(cx).map_ok(Frame::data)
    }
}

/// The pieces of a body that is somebody else's.
struct Frames<B>(Pin<Box<B>>);

impl<B: Body<Data = Bytes>> Pieces for Frames<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        let frame = self.0.as_mut().poll_frame(cx);
        frame.map_ok(|frame| frame.into_data().unwrap_or_default()).map_err(Into::into)
    }
}
