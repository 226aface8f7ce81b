//! What a loop keeps of a stream, beside its positions.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::time::Instant;

use super::deadlines::Key;
use super::reactor::{Message, Remote};
use super::{Idle, Resting, Resume, Socket};
use crate::access::Guard;
use crate::http::app::App;
use crate::http::server::admission::Permit;
use crate::http::server::{Held, LAST_CHUNK};
use crate::hub::{Bell, Chunks, Subscriber};
use crate::metrics::{Metrics, Tally};

/// A stream at rest.
pub(super) struct Entry {
    socket: Socket,
    is_kept: bool,
    /// Tells it from others that have had its number.
    pub(super) stamp: u32,
    /// When the next keep-alive is due, in the loop's milliseconds.
    pub(super) due: u64,
    app: Arc<App>,
    permit: Permit,
    guarded: Option<Box<Guarded>>,
    end: Option<Instant>,
    resume: Resume,
    held: Held,
}

/// Whether a stream may go on, and what wakes the loop when that changes.
struct Guarded {
    guard: Guard,
    waker: Waker,
}

/// Why a stream leaves its loop.
pub(super) enum Leaves {
    /// The socket takes no more now, and this is left.
    Left(Bytes),
    /// It has to end, or its client sends nothing any more.
    Ends,
    /// The client is gone.
    Broken,
}

/// What is known of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Silent,
    /// It sends nothing any more.
    HasEnded,
    Broken,
}

impl Entry {
    /// What is kept, and what is not.
    pub(super) fn take_apart(
        idle: Idle,
        stamp: u32,
        due: u64,
        waker: impl FnOnce() -> Waker,
    ) -> Parts {
        let Idle { socket, stream, held, is_kept, left, .. } = idle;
        debug_assert!(left.is_empty(), "it is at rest");
        let Resting { subscriber, app, permit, guard, end, resume, .. } = *stream;
        let guarded = guard.map(|guard| Box::new(Guarded { guard, waker: waker() }));
        let entry = Self { socket, is_kept, stamp, due, app, permit, guarded, end, resume, held };
        Parts { subscriber, entry }
    }

    /// The stream as it came, with what is left to be written.
    pub(super) fn into_idle(
        self,
        subscriber: Subscriber,
        left: Bytes,
        keep_alive: Instant,
    ) -> Idle {
        let Self { socket, is_kept, app, permit, guarded, end, resume, held, .. } = self;
        let guard = guarded.map(|guarded| guarded.guard);
        let stream = Resting { subscriber, app, permit, guard, keep_alive, end, resume };
        let stream = Box::new(stream);
        Idle { socket, stream, held, is_kept, left, may_rest: true }
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn keep_alive(&self) -> Duration {
        self.app.config.keep_alive
    }

    /// When it is to end, if ever.
    pub(super) const fn end(&self) -> Option<Instant> {
        self.end
    }

    pub(super) fn metrics(&self) -> &Metrics {
        self.app.config.operations.metrics()
    }

    /// Whether it may go on. If so, the loop is woken when it may not any more.
    pub(super) fn may_go_on(&mut self) -> bool {
        self.guarded.as_mut().is_none_or(|guarded| {
            guarded.guard.poll_ending(&mut Context::from_waker(&guarded.waker)).is_pending()
        })
    }

    /// Writes events, which are counted there.
    ///
    /// What ends a stream rings the loop's bell. As long as that is silent, none has to end of
    /// those that the loop has looked at.
    pub(super) fn give(
        &mut self,
        chunks: &Chunks<'_>,
        bell: &Bell,
        tally: &mut Tally,
        now: u64,
    ) -> Result<(), Leaves> {
        // After the events were read: as soon as it is confirmed that a permission is gone, events
        // may follow that its reader must not get.
        if bell.is_rung() && !self.has_no_end() {
            return Err(Leaves::Ends);
        }
        tally.delivered(self.metrics(), chunks.events, chunks.content_len, chunks.lag);
        self.write(chunks.bytes(), |written| chunks.rest(written), now)
    }

    #[cold]
    fn has_no_end(&self) -> bool {
        self.guarded.as_ref().is_none_or(|guarded| guarded.guard.ending().is_none())
    }

    /// Writes all of it, which puts off the next keep-alive; unless the socket takes less.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        rest: impl FnOnce(usize) -> Bytes,
        now: u64,
    ) -> Result<(), Leaves> {
        loop {
            return match send(self.socket.fd(), bytes, SendFlags::NOSIGNAL) {
                Ok(written) if written == bytes.len() => {
                    let interval = self.keep_alive().as_millis();
                    self.due = now.saturating_add(u64::try_from(interval).unwrap_or(u64::MAX));
                    Ok(())
                }
                Ok(written) => Err(Leaves::Left(rest(written))),
                Err(Errno::AGAIN) => Err(Leaves::Left(rest(0))),
                Err(Errno::INTR) => continue,
                Err(_) => Err(Leaves::Broken),
            };
        }
    }

    /// Ends the response, if the socket takes that.
    pub(super) fn say_goodbye(&self) {
        send(self.socket.fd(), LAST_CHUNK, SendFlags::NOSIGNAL).ok();
    }

    /// Whether the other end is still there. What it sends stays in the socket.
    pub(super) fn other(&self) -> Other {
        let mut byte = [0; 1];
        match recv(self.socket.fd(), &mut byte, RecvFlags::PEEK) {
            Ok((_, 0)) => Other::HasEnded,
            // Another request, which is read when this one has ended.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Other::Silent,
            Err(_) => Other::Broken,
        }
    }
}

/// A stream taken apart.
pub(super) struct Parts {
    pub(super) subscriber: Subscriber,
    pub(super) entry: Entry,
}

/// Has the loop look at a reader.
pub(super) struct Look {
    pub(super) remote: Remote,
    pub(super) key: Key,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The loop may have ended.
        self.remote.send(Message::Look(self.key)).ok();
    }
}
