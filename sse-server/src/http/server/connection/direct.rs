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
use bytes::Buf;
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};

use super::transport::Transport;
use crate::http::server::consumer::Consumer;
use crate::http::server::long_lived::{LongLived, Takeable};
use crate::hub::{Framing, Outgoing};

/// What is written in one go, if there is as much.
const WRITE_AT_ONCE: usize = 16 << 10;

/// How many parts are written in one go.
const SLICES: usize = 64;

/// What ends a body of chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Writes a response to its end, unless the other end goes away before.
pub(super) async fn write<I>(
    response: Response,
    socket: &mut Transport<I>,
    consumer: &Consumer,
    is_kept: bool,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (mut parts, body) = response.into_parts();
    let mut out = Outgoing::new(Framing::Chunked);
    out.put_unframed(&head(&parts.headers, is_kept));
    let takeable = parts.extensions.remove();
    let source = Source::Body { body, takeable };
    drop(parts);
    let mut writing = Writing { source, out, is_begun: false, is_ended: false };
    poll_fn(|cx| writing.poll(socket, consumer, cx)).await
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
    /// Something of the body has been taken.
    is_begun: bool,
    /// The last chunk is in `out`, or written.
    is_ended: bool,
}

impl Writing {
    fn poll<I>(
        &mut self,
        socket: &mut Transport<I>,
        consumer: &Consumer,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let is_more = self.poll_source(consumer, cx)?;
            while self.out.has_remaining() {
                match ready!(poll_write(&mut socket.io, &self.out, cx))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    len => self.out.advance(len),
                }
            }
            self.out = Outgoing::new(Framing::Chunked);
            ready!(Pin::new(&mut socket.io).poll_flush(cx))?;
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            if !is_more {
                ready!(socket.poll_ended(cx))?;
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
