//! HTTP/1 (RFC 9112), spoken by hyper; save for streams of HTTP/1.1, for which it gives the
//! connection away.
//!
//! hyper keeps two buffers of 8 KiB for each connection, however long nothing happens on it. A
//! stream needs neither of them. So hyper reads the request, and gives the connection away for as
//! long as the stream is open; afterwards it has it back, for the requests that follow.

use std::convert::Infallible;
use std::error::Error;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use super::direct::{Open, Written};
use super::requests::{Connections, Ended, Requests};
use super::takeover::{Direct, Takeover};
use super::transport::{Io, Transport};
use crate::http::fanout::{Idle, Resting, Socket};
use crate::http::publishing::quick::Quick;
use crate::http::server::long_lived::Takeable;
use crate::http::server::socket::Socket as PlainSocket;

/// What has to be known of a request when its response is there.
#[derive(Clone, Copy, Debug)]
struct Request {
    is_kept: bool,
}

impl Request {
    /// None: only hyper can answer this request as it should be.
    fn of(request: &hyper::Request<Incoming>) -> Option<Self> {
        let is_plain = request.version() == Version::HTTP_11
            && request.method() == Method::GET
            && request.body().is_end_stream()
            && !request.headers().contains_key(header::EXPECT);
        is_plain.then(|| Self { is_kept: !is_to_close(request.headers()) })
    }

    /// Gives the connection away to write this response, and does not come back; unless it is one
    /// that hyper can write as well.
    async fn answer(self, response: Response, takeover: &Takeover) -> Response {
        let is_direct = response.extensions().get::<Takeable>().is_some()
            && response.status() == StatusCode::OK
            && !response.headers().contains_key(header::CONTENT_LENGTH);
        if !is_direct {
            return response;
        }
        let is_kept = self.is_kept && !is_to_close(response.headers());
        takeover.give(Direct { response, is_kept });
        pending().await
    }
}

fn is_to_close(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Connections {
    /// Speaks HTTP/1 to the end of the connection, or until it is given to a loop of streams.
    pub(super) async fn speak_http1<S: Io>(self: &Arc<Self>, io: S, requests: Requests) -> Ended {
        let takeover = requests.takeover.clone();
        let socket = Transport { io, ahead: Bytes::new(), takeover };
        if let Some(quick) = &self.quick
            && requests.admission.is_ok()
            && socket.io.begins_as_post()
        {
            return self.give_to_publishing(quick, socket, requests);
        }
        self.go_on(socket, requests).await
    }

    /// Has the thread for publishing serve a connection, as long as it is one of a publisher.
    fn give_to_publishing<I: Io>(
        self: &Arc<Self>,
        quick: &Quick,
        socket: Transport<I>,
        requests: Requests,
    ) -> Ended {
        let first = Bytes::copy_from_slice(socket.io.first());
        let io = socket.io;
        let plain = io.into_plain().ok_or("only a plain socket is given to another thread")?;
        let (taken, runtime) = (Socket::take(plain)?, Handle::current());
        let (connections, quick) = (self.clone(), quick.clone());
        quick.thread.clone().runtime().spawn(async move {
            let (peer, consumer) = (requests.peer, requests.consumer.clone());
            let answered = connections.publish(&quick, taken, first, requests).await;
            match answered {
                Ok(Some((socket, ahead, requests))) => {
                    runtime.spawn(connections.leave_publishing(socket, ahead, requests));
                }
                Ok(None) => {}
                Err(error) => connections.report(Err(error), peer, &consumer),
            }
        });
        Ok(())
    }

    /// Answers a publisher. What is returned has other requests too.
    async fn publish(
        &self,
        quick: &Quick,
        socket: Socket,
        ahead: Bytes,
        requests: Requests,
    ) -> Result<Option<(Socket, Bytes, Requests)>, Box<dyn Error + Send + Sync>> {
        let bound = self.operations.write_timeout;
        let io = PlainSocket::resumed(socket.give()?, requests.consumer.clone(), bound);
        let takeover = requests.takeover.clone();
        let mut socket = Transport { io, ahead, takeover };
        self.answer_quickly(quick, &mut socket, &requests).await?;
        let Some(plain) = socket.io.is_plain().then(|| socket.io.into_plain()).flatten() else {
            return Ok(None);
        };
        Ok(Some((Socket::take(plain)?, socket.ahead, requests)))
    }

    /// Goes on with a connection that was a publisher's.
    async fn leave_publishing(self: Arc<Self>, socket: Socket, ahead: Bytes, requests: Requests) {
        let (peer, consumer) = (requests.peer, requests.consumer.clone());
        let ended = async {
            let bound = self.operations.write_timeout;
            let io = PlainSocket::resumed(socket.give()?, consumer.clone(), bound);
            let takeover = requests.takeover.clone();
            self.go_on(Transport { io, ahead, takeover }, requests).await
        };
        let ended: Ended = Box::pin(ended).await;
        self.report(ended, peer, &consumer);
    }

    async fn go_on<I: Io>(
        self: &Arc<Self>,
        mut socket: Transport<I>,
        mut requests: Requests,
    ) -> Ended {
        loop {
            // Apart, because it is large, and streams are many.
            let taken = Box::pin(self.speak_by_hyper(socket, requests)).await?;
            let Some(taken) = taken else { return Ok(()) };
            let is_kept = taken.direct.is_kept && !self.is_draining();
            let may_rest = I::CAN_BE_PLAIN && self.fanout.is_there();
            let open = Open::new(taken.direct.response, is_kept, may_rest);
            match self.write(open, taken.socket, taken.requests).await? {
                Some(next) => (socket, requests) = next,
                None => return Ok(()),
            }
        }
    }

    /// The same, from within a response.
    pub(super) async fn resume_http1(
        self: &Arc<Self>,
        io: impl Io,
        requests: Requests,
        open: Open,
    ) -> Ended {
        let takeover = requests.takeover.clone();
        let socket = Transport { io, ahead: Bytes::new(), takeover };
        match self.write(open, socket, requests).await? {
            Some((socket, requests)) => Box::pin(self.go_on(socket, requests)).await,
            None => Ok(()),
        }
    }

    /// Writes a response. What is returned has more requests.
    async fn write<I: Io>(
        &self,
        open: Open,
        mut socket: Transport<I>,
        requests: Requests,
    ) -> io::Result<Option<(Transport<I>, Requests)>> {
        let is_kept = open.is_kept();
        match open.write(&mut socket, &requests.consumer).await? {
            Written::Whole if is_kept => Ok(Some((socket, requests))),
            Written::Whole => {
                socket.shutdown().await?;
                Ok(None)
            }
            Written::AtRest(stream) => {
                self.give_away(stream, socket.io, requests, is_kept)?;
                Ok(None)
            }
        }
    }

    /// Gives a connection whose stream is at rest to a loop.
    fn give_away(
        &self,
        stream: Box<Resting>,
        io: impl Io,
        requests: Requests,
        is_kept: bool,
    ) -> io::Result<()> {
        let gone = || io::Error::other("only a plain socket of a connection that is not refused");
        let (plain, held) = io.into_plain().zip(requests.held()).ok_or_else(gone)?;
        let (socket, left) = (Socket::take(plain)?, Bytes::new());
        let idle = Idle { socket, stream, held, is_kept, left, may_rest: true };
        self.fanout.take(Box::new(idle)).map_err(|_| io::Error::other("the loop has ended"))
    }

    /// Has hyper read requests and answer them, up to one whose response is written without it.
    async fn speak_by_hyper<I: Io>(
        &self,
        socket: Transport<I>,
        requests: Requests,
    ) -> Result<Option<Taken<I>>, hyper::Error> {
        let takeover = requests.takeover.clone();
        let mut connection = self.http1.serve_connection(TokioIo::new(socket), requests);
        let mut draining = pin!(self.draining());
        let mut is_draining = false;
        let direct = poll_fn(|cx| {
            if !is_draining && draining.as_mut().poll(cx).is_ready() {
                is_draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            let ended = Pin::new(&mut connection).poll(cx);
            match takeover.take() {
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

impl Service<hyper::Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let answerable = Request::of(&request);
        let response = self.respond(request, &self.consumer);
        let takeover = self.takeover.clone();
        Box::pin(async move {
            let response = response.await;
            Ok(match answerable {
                Some(answerable) => answerable.answer(response, &takeover).await,
                None => response,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
