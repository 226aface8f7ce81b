//! One loop: it waits for sockets, logs and time, and writes to all that are concerned.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use sse_proto::KEEP_ALIVE;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{debug, error};

use super::deadlines::{Deadlines, Key};
use super::entry::{Entry, Leaves, Look, Other, Parts};
use super::{Idle, Socket};
use crate::hub::{Bell, Crowd, Inbox, Subscriber, put_chunk};
use crate::metrics::Tally;

/// How many events of sockets are taken at a time.
const EVENTS: usize = 1024;

/// What wakes the loop that is no socket.
const BELL: Token = Token(usize::MAX);

/// What a loop is told.
pub(super) enum Message {
    /// Here is a stream.
    Take(Box<Idle>),
    /// Whether this reader may go on has perhaps changed.
    Look(Key),
    /// No stream will come any more.
    Stop,
}

/// Tells a loop something.
pub(super) type Remote = crate::hub::Remote<Message>;

pub(super) struct Reactor {
    poll: Poll,
    runtime: Handle,
    remote: Remote,
    bell: Arc<Bell>,
    crowd: Crowd<Entry>,
    tally: Tally,
    deadlines: Deadlines,
    /// From when time is counted.
    start: Instant,
    stamp: u32,
    is_stopped: bool,
}

impl Reactor {
    /// What tells it something, and what [`run`](Self::run) takes.
    pub(super) fn new(runtime: Handle) -> io::Result<(Self, Remote, Inbox<Message>)> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), BELL)?;
        let bell = Bell::new(move || {
            if let Err(error) = waker.wake() {
                error!(%error, "the loop of streams cannot be woken");
            }
        });
        let (remote, inbox) = Inbox::new(bell.clone());
        let this = Self {
            poll,
            runtime,
            remote: remote.clone(),
            crowd: Crowd::new(bell.clone()),
            bell,
            tally: Tally::default(),
            deadlines: Deadlines::default(),
            start: Instant::now(),
            stamp: 0,
            is_stopped: false,
        };
        Ok((this, remote, inbox))
    }

    pub(super) fn run(mut self, inbox: &Inbox<Message>) {
        let runtime = self.runtime.clone();
        // For the timers of guards.
        let _context = runtime.enter();
        let mut events = Events::with_capacity(EVENTS);
        let mut grown = Vec::new();
        while !self.is_stopped || self.crowd.len() > 0 {
            let wait = self.deadlines.next().map(|due| self.until(due));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    error!(%error, "the loop of streams cannot wait for its sockets");
                    break;
                }
            }
            for event in events.iter().filter(|event| event.token() != BELL) {
                self.look_at_socket(event.token().0);
            }
            inbox.hear(&mut grown, |message| match message {
                Message::Take(idle) => self.take(*idle),
                Message::Look(key) => self.look(key),
                Message::Stop => self.is_stopped = true,
            });
            for group in grown.drain(..) {
                self.serve(group);
            }
            self.keep_time();
        }
    }

    /// How long it is until then.
    fn until(&self, due: u64) -> Duration {
        (self.start + Duration::from_millis(due)).saturating_duration_since(Instant::now())
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in a stream.
    fn take(&mut self, idle: Idle) {
        let reader = self.crowd.next();
        self.stamp = self.stamp.wrapping_add(1);
        let key = Key { reader, stamp: self.stamp };
        let due = self.at(idle.stream.keep_alive);
        let waker = || Waker::from(Arc::new(Look { remote: self.remote.clone(), key }));
        let Parts { subscriber, entry } = Entry::take_apart(idle, key.stamp, due, waker);
        if let Err(error) = self.register(entry.socket(), reader) {
            debug!(%error, "a stream stays with its task");
            let mut idle = self.idle(entry, subscriber, Bytes::new());
            idle.may_rest = false;
            return self.give_back(idle);
        }
        let (interval, end) = (entry.keep_alive(), entry.end());
        if let Err(refused) = self.crowd.enter(subscriber, entry) {
            let (subscriber, entry) = *refused;
            self.deregister(&entry);
            return self.give_back(self.idle(entry, subscriber, Bytes::new()));
        }
        self.deadlines.add_keep_alive(interval, due, key);
        if let Some(end) = end {
            self.deadlines.add_end(self.at(end), key);
        }
        self.look(key);
        // What has come since it had everything.
        let now = self.now();
        if self.entry(key).is_some() {
            let Self { crowd, bell, tally, .. } = self;
            let served = crowd.serve_one(reader, |entry, it| entry.give(&it, bell, tally, now));
            tally.count();
            if let Err(why) = served {
                self.remove(reader, why.unwrap_or(Leaves::Ends));
            }
        }
    }

    /// Writes what has come to those who read a channel.
    fn serve(&mut self, group: u32) {
        let (now, mut removed) = (self.now(), Vec::new());
        let Self { crowd, bell, tally, .. } = self;
        crowd.serve(
            group,
            |entry, chunks| entry.give(&chunks, bell, tally, now),
            |entry, subscriber, why| removed.push((entry, subscriber, why)),
        );
        tally.count();
        for (entry, subscriber, why) in removed {
            self.end(entry, subscriber, why.unwrap_or(Leaves::Ends));
        }
    }

    /// Writes keep-alives that are due, and ends what has lasted long enough.
    fn keep_time(&mut self) {
        let now = self.now();
        while let Some((interval, key)) = self.deadlines.take_keep_alive(now) {
            let Some(entry) = self.entry(key) else { continue };
            if entry.due <= now {
                self.keep_alive(key.reader, now);
            }
            if let Some(entry) = self.entry(key) {
                let due = entry.due;
                self.deadlines.add_keep_alive(interval, due, key);
            }
        }
        while let Some(key) = self.deadlines.take_end(now) {
            if self.entry(key).is_some() {
                self.remove(key.reader, Leaves::Ends);
            }
        }
    }

    fn keep_alive(&mut self, reader: u32, now: u64) {
        let mut chunks = Vec::new();
        let position = self.crowd.put_untold_position(reader, &mut chunks);
        let content_len = position + put_chunk(&[KEEP_ALIVE], &mut chunks);
        let Some(entry) = self.crowd.get_mut(reader) else { return };
        entry.metrics().sent(content_len);
        let rest = |written| Bytes::copy_from_slice(&chunks[written..]);
        if let Err(why) = entry.write(&chunks, rest, now) {
            self.remove(reader, why);
        }
    }

    /// Looks whether a reader may go on.
    fn look(&mut self, key: Key) {
        if self.entry(key).is_some_and(|entry| !entry.may_go_on()) {
            self.remove(key.reader, Leaves::Ends);
        }
    }

    /// Something has happened to a socket.
    fn look_at_socket(&mut self, reader: usize) {
        let Ok(reader) = u32::try_from(reader) else { return };
        let Some(entry) = self.crowd.get_mut(reader) else { return };
        match entry.other() {
            Other::Silent => {}
            Other::HasEnded => {
                // A client that sends nothing any more is taken for gone; it may still listen.
                entry.say_goodbye();
                self.remove(reader, Leaves::Broken);
            }
            Other::Broken => self.remove(reader, Leaves::Broken),
        }
    }

    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        self.crowd.get_mut(key.reader).filter(|entry| entry.stamp == key.stamp)
    }

    fn remove(&mut self, reader: u32, why: Leaves) {
        let (entry, subscriber) = self.crowd.remove(reader);
        self.end(entry, subscriber, why);
    }

    /// Gives a stream back to its connection, or closes it.
    fn end(&self, entry: Entry, subscriber: Subscriber, why: Leaves) {
        let left = match why {
            Leaves::Broken => {
                debug!(?subscriber, "a client is gone");
                return;
            }
            Leaves::Left(left) => left,
            Leaves::Ends => Bytes::new(),
        };
        self.deregister(&entry);
        self.give_back(self.idle(entry, subscriber, left));
    }

    fn idle(&self, entry: Entry, subscriber: Subscriber, left: Bytes) -> Idle {
        let keep_alive = self.start + Duration::from_millis(entry.due);
        entry.into_idle(subscriber, left, keep_alive)
    }

    fn give_back(&self, idle: Idle) {
        self.runtime.spawn(idle.held.connections.clone().resume(idle));
    }

    fn register(&self, socket: &Socket, reader: u32) -> io::Result<()> {
        let fd = socket.fd().as_raw_fd();
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&fd), Token(reader as usize), Interest::READABLE)
    }

    fn deregister(&self, entry: &Entry) {
        let fd = entry.socket().fd().as_raw_fd();
        // It was registered; and if it were not, there were nothing to do.
        self.poll.registry().deregister(&mut SourceFd(&fd)).ok();
    }
}
