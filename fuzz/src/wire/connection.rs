//! An HTTP/1.1 client that sends exactly the bytes it is given, and notes what comes back and when.
//! Libraries hide too much: here connections are cut in the middle, closed by halves, read slowly.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::socket::{CONNECT, Socket, is_reset};
use super::tape::Tape;
use super::target::Target;

/// What requests say that they come from.
pub(crate) const USER_AGENT: &str = concat!("sse-fuzz/", env!("CARGO_PKG_VERSION"));

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Ended,
    TimedOut,
}

/// One connection, and what has been seen of it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    start: Instant,
    pub(crate) tape: Tape,
}

impl Connection {
    /// Connects and sends a request.
    pub(crate) async fn open(target: &Target, request: Vec<u8>) -> io::Result<Self> {
        Self::open_with(target, request, None).await
    }

    /// The same, where no more than so many bytes are buffered for a reader that does not read.
    pub(crate) async fn open_with(
        target: &Target,
        request: Vec<u8>,
        buffer: Option<u32>,
    ) -> io::Result<Self> {
        let start = Instant::now();
        let socket = Socket::open(target, b"http/1.1", buffer).await?;
        let mut connection = Self { socket, start, tape: Tape::new(request.clone()) };
        connection.send(&request).await?;
        Ok(connection)
    }

    /// Sends more bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writing = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        match timeout_at(Instant::now() + CONNECT, writing).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read")),
        }
    }

    /// Reads once.
    pub(crate) async fn more(&mut self, deadline: Instant) -> Progress {
        if self.tape.end.is_some() {
            return Progress::Ended;
        }
        let mut buffer = vec![0; 64 << 10];
        let read = timeout_at(deadline, self.socket.read(&mut buffer)).await;
        let at = self.start.elapsed();
        match read {
            Err(_) => return Progress::TimedOut,
            Ok(Ok(0)) => self.tape.close(at, false),
            Ok(Ok(len)) => self.tape.put(&buffer[..len], at),
            Ok(Err(error)) => self.tape.close(at, is_reset(&error)),
        }
        if self.tape.end.is_some() { Progress::Ended } else { Progress::More }
    }

    /// Reads until something is there, or the end, or the deadline; whether it is there.
    pub(crate) async fn until(
        &mut self,
        deadline: Instant,
        is_there: impl Fn(&Tape) -> bool,
    ) -> bool {
        while !is_there(&self.tape) {
            if self.more(deadline).await != Progress::More {
                return is_there(&self.tape);
            }
        }
        true
    }

    /// Reads to the end of the message, or the deadline; whether it has ended.
    pub(crate) async fn read_message(&mut self, deadline: Instant) -> bool {
        self.until(deadline, |tape| tape.end.is_some()).await
    }

    /// Reads the answer's head.
    pub(crate) async fn read_head(&mut self, deadline: Instant) -> bool {
        self.until(deadline, |tape| tape.head.is_some()).await
    }

    /// Sends no more, but reads on.
    pub(crate) async fn half_close(&mut self) -> io::Result<()> {
        self.socket.shutdown().await
    }

    /// Ends it with a TCP reset.
    pub(crate) fn reset(mut self) -> Tape {
        // If it cannot be, the connection is closed in order, and the server sees an end all the
        // same.
        drop(self.socket.tcp().set_zero_linger());
        self.tape
    }

    /// How many more bytes come after the end of the message.
    pub(crate) async fn surplus(&mut self, deadline: Instant) -> usize {
        let mut surplus = self.tape.surplus().len();
        let mut buffer = vec![0; 4096];
        while surplus < 4096 {
            match timeout_at(deadline, self.socket.read(&mut buffer)).await {
                Ok(Ok(len @ 1..)) => surplus += len,
                _ => break,
            }
        }
        surplus
    }

    /// For callers that read it to the end.
    pub(crate) fn into_parts(self) -> (Socket, Instant, Tape) {
        (self.socket, self.start, self.tape)
    }

    /// Ends it in order, and is seen to: a socket with something unread in it is reset when it is
    /// closed.
    pub(crate) async fn leave(mut self) -> Tape {
        drop(self.socket.shutdown().await);
        let moment = Instant::now() + Duration::from_millis(20);
        let mut buffer = vec![0; 64 << 10];
        while matches!(timeout_at(moment, self.socket.read(&mut buffer)).await, Ok(Ok(1..))) {}
        self.tape
    }

    /// Ends it one way or the other.
    pub(crate) fn close(self) -> Tape {
        self.tape
    }
}
