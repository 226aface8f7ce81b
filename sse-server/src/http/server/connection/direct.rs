//! Streams of HTTP/1.1, written to the socket without hyper.
//!
//! hyper keeps two buffers of 8 KiB for each connection, however long nothing happens on it. A stream needs
//! neither of them. So hyper reads the request, and gives the connection away for as long as the stream is
//! open; afterwards it has it back, for the requests that follow.
//!
//! May enter: how an answer of HTTP/1.1 is framed (RFC 9112). May not: what is in it.

use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::Response;
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Connections, Ended, Requests};
use crate::http::server::socket::Link;

/// What is read of the other end while a stream is open: only whether it is still there. If it sends another
/// request already, the rest of it waits in the socket.
const READ_AT_ONCE: usize = 256;

/// What is written in one go, if there is as much.
const WRITE_AT_ONCE: usize = 16 << 10;

/// An extension of responses that last, and are silent most of the time.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct LongLived;

/// A response that hyper is not to write.
#[derive(Debug)]
pub(in crate::http) struct Direct {
    response: Response,
    /// More requests may follow on the connection.
    is_kept: bool,
}

/// What has to be known of a request when its response is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    is_kept: bool,
}

impl Request {
    /// None: only hyper can answer this request as it should be.
    pub(super) fn of(request: &hyper::Request<Incoming>) -> Option<Self> {
        let is_plain = request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && request.body().is_end_stream()
            && !request.headers().contains_key(header::EXPECT);
        is_plain.then(|| Self { is_kept: !is_to_close(request.headers()) })
    }

    /// Gives the connection away to write this response, and does not come back; unless it is one that hyper can
    /// write as well.
    pub(super) async fn answer(self, response: Response, link: &Link) -> Response {
        let is_direct = response.extensions().get::<LongLived>().is_some()
            && response.status() == StatusCode::OK
            && !response.headers().contains_key(header::CONTENT_LENGTH);
        if !is_direct {
            return response;
        }
        link.give(Box::new(Direct { response, is_kept: self.is_kept }));
        pending().await
    }
}

fn is_to_close(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Connections {
    /// Speaks HTTP/1 to the end of the connection.
    pub(super) async fn speak_http1<I>(
        &self,
        io: I,
        mut requests: Requests,
        watcher: Watcher,
    ) -> Ended
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut socket = Transport { io, ahead: Bytes::new(), link: requests.link.clone() };
        loop {
            // Apart, because it is large, and streams are many.
            let taken = Box::pin(self.speak_by_hyper(socket, requests)).await?;
            let Some(taken) = taken else { break };
            (socket, requests) = (taken.socket, taken.requests);
            let is_kept = taken.direct.is_kept && !*self.is_draining.borrow();
            taken.direct.write(&mut socket, is_kept).await?;
            if !is_kept {
                socket.shutdown().await?;
                break;
            }
        }
        // Until then a shutdown waits.
        drop(watcher);
        Ok(())
    }

    /// Has hyper read requests and answer them, up to one whose response is to be written otherwise.
    async fn speak_by_hyper<I>(
        &self,
        socket: Transport<I>,
        requests: Requests,
    ) -> Result<Option<Taken<I>>, hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let link = requests.link.clone();
        let mut connection = self.http1.serve_connection(TokioIo::new(socket), requests);
        let mut draining = pin!(self.draining());
        let mut is_draining = false;
        let direct = poll_fn(|cx| {
            if !is_draining && draining.as_mut().poll(cx).is_ready() {
                is_draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let ended = Pin::new(&mut connection).poll(cx);
            match link.take_direct() {
                Some(direct) => Poll::Ready(Ok(Some(direct))),
                None => ended.map_ok(|()| None),
            }
        });
        let Some(direct) = direct.await? else { return Ok(None) };
        let parts = connection.into_parts();
        let mut socket = parts.io.into_inner();
        // A copy, so that hyper's buffer is not kept.
        socket.ahead = [&*parts.read_buf, &*socket.ahead].concat().into();
        Ok(Some(Taken { direct, socket, requests: parts.service }))
    }
}

/// A connection that hyper has given away.
struct Taken<I> {
    direct: Box<Direct>,
    socket: Transport<I>,
    requests: Requests,
}

impl Direct {
    /// Writes the response to its end, unless the other end goes away before.
    async fn write<I>(self: Box<Self>, socket: &mut Transport<I>, is_kept: bool) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let (parts, body) = self.response.into_parts();
        let mut writing =
            Writing { body, out: head(&parts.headers, is_kept), is_begun: false, is_ended: false };
        drop(parts);
        poll_fn(|cx| writing.poll(socket, cx)).await
    }
}

/// The head of a response whose body has chunks.
fn head(headers: &HeaderMap, is_kept: bool) -> BytesMut {
    let mut out = BytesMut::with_capacity(1024);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in headers {
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

/// A body on its way.
struct Writing {
    body: Body,
    /// What has not been written yet. Without memory while there is nothing.
    out: BytesMut,
    /// Something of the body has been taken.
    is_begun: bool,
    /// The last chunk is in `out`, or written.
    is_ended: bool,
}

impl Writing {
    fn poll<I>(&mut self, socket: &mut Transport<I>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let is_more = self.poll_body(socket, cx)?;
            while !self.out.is_empty() {
                match ready!(Pin::new(&mut socket.io).poll_write(cx, &self.out))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    len => self.out.advance(len),
                }
            }
            self.out = BytesMut::new();
            ready!(Pin::new(&mut socket.io).poll_flush(cx))?;
            if self.is_ended {
                return Poll::Ready(Ok(()));
            }
            if !is_more {
                ready!(socket.poll_ended(cx))?;
                // Who has no more to ask gets what is due at first, and then is taken for gone.
                if !self.is_begun {
                    return Poll::Pending;
                }
                self.out.extend_from_slice(b"0\r\n\r\n");
                self.is_ended = true;
            }
        }
    }

    /// Takes what the body has, as chunks. Whether it may have more at once.
    fn poll_body<I>(&mut self, socket: &Transport<I>, cx: &mut Context<'_>) -> io::Result<bool> {
        // Of a connection that is too slow, it still has to say so.
        while !self.is_ended && (self.out.len() < WRITE_AT_ONCE || socket.link.is_slow()) {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return Ok(false);
            };
            let Some(frame) = frame else {
                self.out.extend_from_slice(b"0\r\n\r\n");
                self.is_ended = true;
                break;
            };
            let frame = frame.map_err(io::Error::other)?;
            // A chunk of no bytes would be the last one.
            if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                self.is_begun = true;
                self.out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.out.extend_from_slice(&data);
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(true)
    }
}

/// A connection's socket, with what was read too far; it remembers whether all was flushed.
struct Transport<I> {
    io: I,
    ahead: Bytes,
    link: Arc<Link>,
}

impl<I: AsyncRead + Unpin> Transport<I> {
    /// Whether the other end sends nothing any more, so that it is gone as far as can be known; looks no further
    /// once there is something to be read.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_AT_ONCE];
        let mut bytes = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.ahead = Bytes::copy_from_slice(bytes.filled());
        Poll::Pending
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let len = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Transport<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.set_flushed(false);
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.set_flushed(false);
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has nothing left to write; and if it has answered before it had read all of
        // a request, it may go on to the next one before that.
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.link.set_flushed(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_not_given_away_before_all_is_flushed() {
        let (io, _other) = tokio::io::duplex(100);
        let link = Arc::new(Link::default());
        let mut socket = Transport { io, ahead: Bytes::new(), link: link.clone() };
        let response = Response::default();
        link.give(Box::new(Direct { response, is_kept: true }));
        socket.write_all(b"HTTP/1.1 401").await.expect("there is room");
        assert!(link.take_direct().is_none());
        socket.flush().await.expect("there is room");
        assert!(link.take_direct().is_some());
    }

    #[test]
    fn close_is_one_of_the_options_of_a_connection_in_any_case() {
        for (value, is_close) in
            [("close", true), ("keep-alive ,\tClose", true), ("closed", false), ("", false)]
        {
            let value = value.parse().expect("a value");
            let headers = [(header::CONNECTION, value)].into_iter().collect();
            assert_eq!(is_to_close(&headers), is_close, "{headers:?}");
        }
    }
}
