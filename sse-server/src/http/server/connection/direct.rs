//! Streams of HTTP/1.1, written to the socket without hyper.
//!
//! May enter: how an answer of HTTP/1.1 is framed (RFC 9112). May not: what is in it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::transport::{Io, Transport};
use crate::http::fanout::Resting;
use crate::http::server::consumer::Consumer;
use crate::http::server::long_lived::{LongLived, Takeable};
use crate::hub::{Framing, Outgoing};

/// What is written in one go, if there is as much.
const WRITE_AT_ONCE: usize = 16 << 10;

/// How many parts are written in one go.
const SLICES: usize = 64;

/// What ends a body of chunks.
pub(in crate::http) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A response under way.
pub(super) struct Open {
    writing: Writing,
    is_kept: bool,
}

/// What has become of a response.
pub(super) enum Written {
    /// All of it was written.
    Whole,
    /// It is a stream that has nothing to write now, and whose connection can be given away.
    AtRest(Box<Resting>),
}

impl Open {
    /// One of which nothing was written. `is_kept`: more requests may follow. `may_rest`: it can be
    /// given away.
    pub(super) fn new(response: Response, is_kept: bool, may_rest: bool) -> Self {
        let (mut parts, body) = response.into_parts();
        let mut out = Outgoing::new(Framing::Chunked);
        out.put_unframed(&head(&parts.headers, is_kept));
        let takeable = parts.extensions.remove();
        let source = Source::Body { body, takeable };
        let writing = Writing { source, out, may_rest, is_begun: false, is_ended: false };
        Self { writing, is_kept }
    }

    /// A stream that was at rest. `left` is written first.
    pub(super) fn resumed(
        source: Box<dyn LongLived>,
        left: &Bytes,
        is_kept: bool,
        may_rest: bool,
    ) -> Self {
        let mut out = Outgoing::new(Framing::Chunked);
        out.put_unframed(left);
        let source = Source::Taken(source);
        let writing = Writing { source, out, may_rest, is_begun: true, is_ended: false };
        Self { writing, is_kept }
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Writes it to its end, unless the other end goes away before, or it is a stream that comes to
    /// rest.
    pub(super) async fn write(
        mut self,
        socket: &mut Transport<impl Io>,
        consumer: &Consumer,
    ) -> io::Result<Written> {
        poll_fn(|cx| self.writing.poll(socket, consumer, cx)).await?;
        let resting = match self.writing.source {
            Source::Taken(source) if !self.writing.is_ended => source.rest(),
            _ => None,
        };
        Ok(resting.map_or(Written::Whole, Written::AtRest))
    }
}

/// The head of a response whose body has chunks.
fn head(headers: &HeaderMap, is_kept: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in headers.iter().filter(|(name, _)| **name != header::CONNECTION) {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    if !is_kept {
        out.extend_from_slice(b"connection: close\r\n");
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    out.extend_from_slice(format!("transfer-encoding: chunked\r\ndate: {date}\r\n\r\n").as_bytes());
    out
}

/// Where the bytes of a body come from.
enum Source {
    /// As frames.
    Body { body: Body, takeable: Option<Takeable> },
    /// As chunks.
    Taken(Box<dyn LongLived>),
}

impl Source {
    fn is_at_rest(&self) -> bool {
        matches!(self, Self::Taken(source) if source.is_at_rest())
    }

    /// What is due, as chunks. `None`: that was all.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Outgoing>>> {
        let (body, takeable) = match self {
            Self::Taken(source) => return source.poll_outgoing(cx, Framing::Chunked),
            Self::Body { body, takeable } => (body, takeable),
        };
        let Some(frame) = ready!(Pin::new(body).poll_frame(cx)) else { return Poll::Ready(None) };
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
        };
        if let Some(source) = takeable.take().and_then(|takeable| takeable.take(&data)) {
            *self = Self::Taken(source);
        }
        let mut out = Outgoing::new(Framing::Chunked);
        out.put_shared(data);
        Poll::Ready(Some(Ok(out)))
    }
}

/// A body on its way.
struct Writing {
    source: Source,
    /// What has not been written yet. Without memory while there is nothing.
    out: Outgoing,
    /// It can be given away when it comes to rest.
    may_rest: bool,
    /// Something of the body has been taken.
    is_begun: bool,
    /// The last chunk is in `out`, or written.
    is_ended: bool,
}

impl Writing {
    /// Ready when all was written, or when it can be given away.
    fn poll(
        &mut self,
        socket: &mut Transport<impl Io>,
        consumer: &Consumer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let is_more = self.poll_source(consumer, cx)?;
            while self.out.has_remaining() {
                match ready!(poll_write(&mut socket.io, &self.out, cx))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    _ if mutant!("rest-forgotten") => self.out.advance(self.out.remaining()),
                    len => self.out.advance(len),
                }
            }
            self.out = Outgoing::new(Framing::Chunked);
            ready!(Pin::new(&mut socket.io).poll_flush(cx))?;
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            if !is_more {
                if socket.poll_ended(cx)?.is_pending() {
                    let is_at_rest = self.may_rest && self.source.is_at_rest() && socket.can_rest();
                    return if is_at_rest { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
                // A client that has closed its sending side gets what is due at first, and then is
                // taken for gone.
                if !self.is_begun {
                    return Poll::Pending;
                }
                self.end();
            }
        }
    }

    /// Takes what the source has. Whether it may have more at once.
    fn poll_source(&mut self, consumer: &Consumer, cx: &mut Context<'_>) -> io::Result<bool> {
        // A stream whose connection is too slow still has to say so.
        while !self.is_ended && (self.out.remaining() < WRITE_AT_ONCE || consumer.is_slow()) {
            let Poll::Ready(outgoing) = self.source.poll_outgoing(cx) else { return Ok(false) };
            match outgoing.transpose()? {
                Some(outgoing) => {
                    self.is_begun |= !outgoing.is_empty();
                    self.out.append(outgoing);
                }
                None => self.end(),
            }
        }
        Ok(true)
    }

    fn end(&mut self) {
        self.out.put_unframed(LAST_CHUNK);
        self.is_ended = true;
    }
}

/// Writes as much as the socket takes at once.
fn poll_write<I>(io: &mut I, out: &Outgoing, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    I: AsyncWrite + Unpin,
{
    let mut slices = [IoSlice::new(&[]); SLICES];
    match out.chunks_vectored(&mut slices) {
        count if count > 1 && io.is_write_vectored() => {
            Pin::new(io).poll_write_vectored(cx, &slices[..count])
        }
        _ => Pin::new(io).poll_write(cx, out.chunk()),
    }
}
