//! HTTP/1 (RFC 9112), spoken by hyper; save for streams of HTTP/1.1, for which it gives the
//! connection away.
//!
//! hyper keeps two buffers of 8 KiB for each connection, however long nothing happens on it. A
//! stream needs neither of them. So hyper reads the request, and gives the connection away for as
//! long as the stream is open; afterwards it has it back, for the requests that follow.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::Response;
use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::direct;
use super::requests::{Connections, Ended, Requests};
use super::takeover::{Direct, Takeover};
use super::transport::Transport;
use crate::http::server::long_lived::Takeable;

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
        let takeover = requests.takeover.clone();
        let mut socket = Transport { io, ahead: Bytes::new(), takeover };
        loop {
            // Apart, because it is large, and streams are many.
            let taken = Box::pin(self.speak_by_hyper(socket, requests)).await?;
            let Some(taken) = taken else { break };
            (socket, requests) = (taken.socket, taken.requests);
            let is_kept = taken.direct.is_kept && !self.is_draining();
            direct::write(taken.direct.response, &mut socket, &requests.consumer, is_kept).await?;
            if !is_kept {
                socket.shutdown().await?;
                break;
            }
        }
        // Until then a shutdown waits.
        drop(watcher);
        Ok(())
    }

    /// Has hyper read requests and answer them, up to one whose response is written without it.
    async fn speak_by_hyper<I>(
        &self,
        socket: Transport<I>,
        requests: Requests,
    ) -> Result<Option<Taken<I>>, hyper::Error>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
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
