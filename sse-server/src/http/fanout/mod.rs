//! Streams of HTTP/1.1 that have nothing to write: out of tokio, on a loop of their own.
//!
//! An open stream is silent most of the time, and then needs a socket, its positions, and a place
//! in the order of keep-alives; no task, no timer, no buffer. So a connection whose stream is [at
//! rest](Resting) is given to one of a few loops, one for each core. When a log grows, the loop is
//! woken once, and writes the same bytes to one socket after the other.
//!
//! A loop does only what is the same for all: events from memory that a socket takes at once, and
//! keep-alives. For everything else the stream goes back to a task of its connection, as it was
//! before: a socket that takes no more, an event that is to be read from storage or goes out in
//! pieces, a permission that ends, a client that leaves or that asks for something else, the end of
//! the server.
//!
//! ```text
//!   connection (tokio) ── at rest ──► Fanout ──► one of the loops: Crowd<Entry>, epoll
//!        ▲                                             │
//!        └──────────── anything but the usual ─────────┘
//! ```
//!
//! May enter: sockets, crowds of subscribers. May not: what is in an event.

mod deadlines;
mod entry;
mod reactor;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::either::Either;
use tracing::warn;

use super::app::App;
use super::server::Held;
use super::server::admission::Permit;
use super::server::consumer::Consumer;
use super::server::listener::Stream;
use super::server::long_lived::LongLived;
use crate::access::Guard;
use crate::hub::Subscriber;
use reactor::{Message, Reactor, Remote};

/// A stream that has nothing to write.
pub(in crate::http) struct Resting {
    pub(in crate::http) subscriber: Subscriber,
    pub(in crate::http) app: Arc<App>,
    /// Held as long as the stream is open.
    pub(in crate::http) permit: Permit,
    pub(in crate::http) guard: Option<Guard>,
    /// When the next keep-alive is due.
    pub(in crate::http) keep_alive: Instant,
    /// When it has lasted long enough, if ever.
    pub(in crate::http) end: Option<Instant>,
    pub(in crate::http) resume: Resume,
}

/// Makes of one that has been at rest what it was before.
pub(in crate::http) type Resume = fn(Resting, Arc<Consumer>) -> Box<dyn LongLived>;

/// A connection and its stream, on the way to a loop or back.
pub(in crate::http) struct Idle {
    pub(in crate::http) socket: Socket,
    pub(in crate::http) stream: Box<Resting>,
    pub(in crate::http) held: Held,
    /// More requests may follow on the connection.
    pub(in crate::http) is_kept: bool,
    /// What is to be written before the stream goes on.
    pub(in crate::http) left: Bytes,
    /// It can come back when it is at rest again.
    pub(in crate::http) may_rest: bool,
}

/// A socket outside tokio.
pub(in crate::http) enum Socket {
    Tcp(OwnedFd),
    Unix(OwnedFd),
}

impl Socket {
    /// Takes a socket out of tokio.
    pub(in crate::http) fn take(stream: Stream) -> io::Result<Self> {
        Ok(match stream {
            Either::Left(stream) => Self::Tcp(stream.into_std()?.into()),
            Either::Right(stream) => Self::Unix(stream.into_std()?.into()),
        })
    }

    /// Gives it back. Must be called in a Tokio runtime.
    pub(in crate::http) fn give(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(socket) => Either::Left(tokio::net::TcpStream::from_std(socket.into())?),
            Self::Unix(socket) => Either::Right(tokio::net::UnixStream::from_std(socket.into())?),
        })
    }

    fn fd(&self) -> &OwnedFd {
        match self {
            Self::Tcp(socket) | Self::Unix(socket) => socket,
        }
    }
}

/// The loops of a server. They are started with the first stream.
#[derive(Default)]
pub(in crate::http) struct Fanout {
    loops: OnceLock<Vec<Loop>>,
    next: AtomicUsize,
}

/// One of them. It ends when this is dropped.
struct Loop(Remote);

impl Fanout {
    /// Whether there are loops. Must be called in a Tokio runtime.
    pub(in crate::http) fn is_there(&self) -> bool {
        !self.loops.get_or_init(start).is_empty()
    }

    /// Takes a stream, or gives it back if there is no loop. Must be called in a Tokio runtime.
    pub(in crate::http) fn take(&self, idle: Box<Idle>) -> Result<(), Box<Idle>> {
        let loops = self.loops.get_or_init(start);
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = Message::Take(idle);
        // One that has ended, by a fault, is passed over.
        for one in loops.iter().cycle().skip(next % loops.len().max(1)).take(loops.len()) {
            match one.0.send(message) {
                Ok(()) => return Ok(()),
                Err(returned) => message = returned,
            }
        }
        match message {
            Message::Take(idle) => Err(idle),
            _ => unreachable!("it is what was to be sent"),
        }
    }
}

/// One for each core. None if the system does not allow it: then streams stay with their tasks.
fn start() -> Vec<Loop> {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let runtime = Handle::current();
    let start = |_| {
        let (reactor, remote, inbox) = Reactor::new(runtime.clone())?;
        thread::Builder::new().name("streams".to_owned()).spawn(move || reactor.run(&inbox))?;
        io::Result::Ok(Loop(remote))
    };
    (0..count).map(start).collect::<Result<_, _>>().unwrap_or_else(|error| {
        warn!(%error, "there is no loop for streams at rest; each costs a few kilobytes more");
        Vec::new()
    })
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It may have ended by a panic.
        self.0.send(Message::Stop).ok();
    }
}
