//! A connection of turmoil's network, with what that does not have: windows that get full, links
//! that are slow, writes that are taken in part, and peers that are given up.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrand::Rng;
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use turmoil::net::TcpStream;

use crate::world::World;

/// How much may be on its way while nothing is confirmed.
const WINDOW: usize = 4 << 10;

/// After what time the system gives up a connection of which something was lost.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// How often a socket that takes nothing is looked at again.
const LOOK: Duration = Duration::from_millis(40);

/// How long a peer may take nothing: the server's own bound, its grace, and a moment.
const STUCK: Duration = Duration::from_secs(10 + 5 + 1);

/// After what time it is let go when it has closed its sending side.
const GONE: Duration = Duration::from_secs(3);

/// What becomes of what one address sends to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) is_lost: bool,
    pub(crate) is_held: bool,
    /// A second.
    pub(crate) bytes: Option<u64>,
}

/// All of them that are not as they should be, by who sends and who receives.
#[derive(Default)]
pub(crate) struct Links(Mutex<HashMap<(IpAddr, IpAddr), Link>>);

impl Links {
    pub(crate) fn set(&self, from: IpAddr, to: IpAddr, link: Link) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((from, to), link);
    }

    fn get(&self, from: IpAddr, to: IpAddr) -> Link {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(&(from, to)).copied().unwrap_or_default()
    }
}

pub(crate) struct Wire {
    stream: TcpStream,
    world: Arc<World>,
    from: IpAddr,
    to: IpAddr,
    is_server: bool,
    random: Rng,
    unconfirmed: usize,
    /// Since when something is missing that never comes.
    lost: Option<Instant>,
    /// Until when it has used up what the link has room for.
    busy: Instant,
    stuck: Option<Instant>,
    ended: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, world: &Arc<World>, is_server: bool) -> io::Result<Self> {
        let (from, to) = (stream.local_addr()?.ip(), stream.peer_addr()?.ip());
        let random = world.random();
        if is_server {
            world.opened(1);
        }
        let world = world.clone();
        Ok(Self {
            stream,
            world,
            from,
            to,
            is_server,
            random,
            unconfirmed: 0,
            lost: None,
            busy: Instant::now(),
            stuck: None,
            ended: None,
            timer: None,
        })
    }

    /// How many of so many bytes find room now.
    fn room(&mut self, len: usize) -> usize {
        let link = self.world.links.get(self.from, self.to);
        let now = Instant::now();
        if link.is_lost {
            self.lost.get_or_insert(now);
        }
        let mut room = len;
        if self.lost.is_some() || link.is_held {
            room = room.min(WINDOW - self.unconfirmed);
            self.unconfirmed += room;
        } else {
            self.unconfirmed = 0;
            if let Some(bytes) = link.bytes {
                if now < self.busy {
                    return 0;
                }
                // What a tenth of a second has room for, and then nothing for so long.
                let most = usize::try_from(bytes / 10).unwrap_or(usize::MAX).max(1);
                room = room.min(most);
                self.busy = now
                    + Duration::from_secs(1) * u32::try_from(room).unwrap_or(u32::MAX)
                        / u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
            } else if self.is_server && self.ended.is_some_and(|ended| now - ended > GONE) {
                self.world.violated("who has gone is let go");
            }
            if room > 1 && self.random.u8(0..4) == 0 {
                room = self.random.usize(1..room);
            }
        }
        room
    }

    fn is_given_up(&self) -> bool {
        self.lost.is_some_and(|since| since.elapsed() >= GIVEN_UP)
    }

    /// Has the task woken then.
    fn wake_at(&mut self, time: Instant, cx: &mut Context<'_>) {
        let mut timer = Box::pin(sleep_until(time));
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.timer = Some(timer);
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_given_up() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = this.room(bytes.len());
        if room == 0 {
            let since = *this.stuck.get_or_insert_with(Instant::now);
            if this.is_server && since.elapsed() > STUCK {
                this.world.violated("who takes nothing is given up");
            }
            this.wake_at(Instant::now() + LOOK, cx);
            return Poll::Pending;
        }
        this.stuck = None;
        Pin::new(&mut this.stream).poll_write(cx, &bytes[..room])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_given_up() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let (Poll::Pending, Some(lost)) = (&read, this.lost) {
            this.wake_at(lost + GIVEN_UP, cx);
        }
        ready!(read)?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            this.ended.get_or_insert_with(Instant::now);
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.is_server {
            self.world.opened(-1);
        }
    }
}
