//! The requests of a publisher, read and answered without hyper.
//!
//! A publisher sends one small request after the other, and what hyper and the router do for each
//! costs more than publishing does. So as long as they are [the usual ones](Quick), a request is
//! read in one read and answered in one write. The first that is anything else, and all that come
//! after it on the connection, are hyper's.

use std::io;
use std::pin::{Pin, pin};
use std::time::SystemTime;

use axum::body::{Body, to_bytes};
use axum::http::header;
use axum::response::IntoResponse;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

use super::awake::Pace;
use super::requests::{Connections, Requests};
use super::transport::{Io, Transport};
use crate::http::app::MAX_REQUEST;
use crate::http::error::{ErrorCode, Refusal};
use crate::http::publishing::quick::{Permitted, Quick};

/// The longest head, and the most headers, of a usual request.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 32;

/// What is read at a time, at least.
const READ: usize = 4 << 10;

/// A larger buffer is given back when its request has been answered.
const KEPT: usize = 16 << 10;

/// What comes of what was read.
enum Next {
    /// The head or the body is not whole. So many bytes more are known to follow.
    More(usize),
    /// A request: the length of its head, and what it may.
    Request(usize, Permitted),
    /// Not a usual request.
    Other,
}

impl Connections {
    /// Answers requests as long as they are usual ones. What was read of another is read again.
    pub(super) async fn answer_quickly(
        &self,
        quick: &Quick,
        socket: &mut Transport<impl Io>,
        requests: &Requests,
    ) -> io::Result<()> {
        let mut read = BytesMut::from(&*std::mem::take(&mut socket.ahead));
        let mut draining = pin!(self.draining());
        let mut patience = pin!(tokio::time::sleep(self.operations.head_timeout));
        let mut pace = Pace::new(quick.thread.clone());
        loop {
            match next(quick, &read) {
                Next::Other => break,
                Next::More(more) => {
                    read.reserve(more.max(READ));
                    let is_more = if let Some(len) = pace.wait_awake(socket, &mut read).await {
                        len? > 0
                    } else {
                        tokio::select! {
                            biased;
                            len = socket.read_buf(&mut read) => len? > 0,
                            () = &mut draining => false,
                            () = &mut patience => false,
                        }
                    };
                    pace.has_received();
                    if !is_more {
                        // What is there is hyper's, and so is the answer to it.
                        break;
                    }
                }
                Next::Request(head, permitted) => {
                    requests.consumer.has_asked();
                    let body = &read[head..head + permitted.len];
                    let answer = match quick.publish(&permitted, body).await {
                        Ok(json) => ok(&json),
                        Err(refusal) => refused(quick, refusal).await,
                    };
                    socket.write_all(&answer).await?;
                    socket.flush().await?;
                    pace.has_answered();
                    read.advance(head + permitted.len);
                    if read.is_empty() && read.capacity() > KEPT {
                        read = BytesMut::new();
                    }
                    wait_anew(patience.as_mut(), self);
                }
            }
        }
        socket.ahead = read.freeze();
        Ok(())
    }
}

fn wait_anew(patience: Pin<&mut Sleep>, connections: &Connections) {
    patience.reset(Instant::now() + connections.operations.head_timeout);
}

/// Looks at what was read.
fn next(quick: &Quick, read: &[u8]) -> Next {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(read) {
        Ok(httparse::Status::Complete(head)) => match quick.permit(&request) {
            Some(permitted) if permitted.len > MAX_REQUEST => Next::Other,
            Some(permitted) if permitted.len > read.len() - head => {
                Next::More(permitted.len - (read.len() - head))
            }
            Some(permitted) => Next::Request(head, permitted),
            None => Next::Other,
        },
        Ok(httparse::Status::Partial) if read.len() < MAX_HEAD && is_post(read) => Next::More(0),
        _ => Next::Other,
    }
}

/// Whether it begins, as far as is known, as a request that publishes.
fn is_post(read: &[u8]) -> bool {
    let len = read.len().min(5);
    read[..len] == b"POST "[..len]
}

fn ok(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() + 128);
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
    finish(&mut out, json);
    out
}

/// Appends the headers that each answer has, and the body.
fn finish(out: &mut Vec<u8>, body: &[u8]) {
    let date = httpdate::HttpDate::from(SystemTime::now());
    let length = format!("content-length: {}\r\ndate: {date}\r\n\r\n", body.len());
    out.extend_from_slice(length.as_bytes());
    out.extend_from_slice(body);
}

/// A refusal as hyper would write it.
async fn refused(quick: &Quick, refusal: Refusal) -> Vec<u8> {
    let (parts, body) = refusal.into_response().into_parts();
    let code = parts.extensions.get::<ErrorCode>().map_or("", |code| code.0);
    quick.refused(parts.status.as_u16(), code);
    let body = body_of(body).await;
    let mut out = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    let headers = parts.headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH);
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    finish(&mut out, &body);
    out
}

async fn body_of(body: Body) -> Bytes {
    to_bytes(body, MAX_REQUEST).await.expect("a refusal is in memory, and short")
}
