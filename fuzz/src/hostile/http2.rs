//! A script's bytes as the answer to a request of HTTP/2. A library makes the frames; what the
//! scripts get wrong is when they come, and what does not come.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream, server};
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, Request as HttpRequest, Response};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::Stage;
use super::play::{End, Outlet};
use super::record::Origin;
use super::request::{MAX_BODY, REQUEST_TIMEOUT, Request};
use crate::wire::socket::Socket;

/// What a script wants done to the whole connection.
enum Order {
    GoAway,
    Abandon,
}

/// Answers what comes on a connection until it ends.
pub(super) async fn serve(stage: &Arc<Stage>, socket: Socket) {
    let Ok(Ok(mut connection)) = timeout(REQUEST_TIMEOUT, server::handshake(socket)).await else {
        return;
    };
    let (orders, mut ordered) = mpsc::channel(1);
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { break };
                let exchange = Exchange { respond, stream: None, orders: orders.clone() };
                answering.spawn(answer(Arc::clone(stage), request, exchange));
            }
            Some(order) = ordered.recv() => match order {
                Order::GoAway => connection.graceful_shutdown(),
                Order::Abandon => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
            },
        }
    }
    // Answers that are not done yet see the end by this, and put it on record.
    drop(connection);
    while answering.join_next().await.is_some() {}
}

async fn answer(stage: Arc<Stage>, request: HttpRequest<RecvStream>, exchange: Exchange) {
    let (parts, body) = request.into_parts();
    if let Ok(Some(request)) = timeout(REQUEST_TIMEOUT, read(&parts, body)).await {
        stage.respond(request, Origin::Secure, exchange).await;
    }
}

async fn read(parts: &Parts, mut body: RecvStream) -> Option<Request> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        let len = data.len().min(MAX_BODY - bytes.len());
        bytes.extend_from_slice(&data[..len]);
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    Some(Request::by_http2(parts, bytes))
}

/// A request that is answered.
struct Exchange {
    respond: SendResponse<Bytes>,
    /// There is one once the head has been sent.
    stream: Option<SendStream<Bytes>>,
    orders: mpsc::Sender<Order>,
}

impl Exchange {
    async fn order(&self, order: Order) {
        // If the receiver is gone, the connection has ended.
        drop(self.orders.send(order).await);
    }

    /// Waits until the client takes the answer back, or the connection ends.
    async fn gone(&mut self) {
        let reset = poll_fn(|cx| match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        });
        drop(reset.await);
    }
}

impl Outlet for Exchange {
    async fn head(&mut self, text: &str) -> io::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(text.as_bytes()).map_err(io::Error::other)?;
        let httparse::Status::Complete(len) = parsed else {
            return Err(io::Error::other("HTTP/2 has no half of a head"));
        };
        let mut response = Response::builder().status(head.code.unwrap_or_default());
        for header in head.headers {
            let name = HeaderName::try_from(header.name).map_err(io::Error::other)?;
            // Those of a connection are not for an answer (RFC 9113, section 8.2.2).
            if name != CONNECTION && name != TRANSFER_ENCODING {
                response = response.header(name, header.value);
            }
        }
        let response = response.body(()).map_err(io::Error::other)?;
        let stream = self.respond.send_response(response, false).map_err(io::Error::other)?;
        self.stream = Some(stream);
        self.send(&text.as_bytes()[len..]).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let none = || io::Error::other("a head comes before the body");
        let stream = self.stream.as_mut().ok_or_else(none)?;
        let mut rest = Bytes::copy_from_slice(bytes);
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
            let len = match capacity {
                Some(Ok(len)) => len.min(rest.len()),
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            stream.send_data(rest.split_to(len), false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn gone_within(&mut self, time: Duration) -> bool {
        timeout(time, self.gone()).await.is_ok()
    }

    async fn go_away(&mut self) {
        self.order(Order::GoAway).await;
    }

    async fn end(&mut self, end: End) {
        match (end, &mut self.stream) {
            (End::Closed, Some(stream)) => drop(stream.send_data(Bytes::new(), true)),
            (End::Reset, Some(stream)) => stream.send_reset(Reason::INTERNAL_ERROR),
            (End::Abandoned, _) => {
                self.order(Order::Abandon).await;
                // An answer that is dropped before would be taken back in order.
                self.gone().await;
            }
            _ => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}
