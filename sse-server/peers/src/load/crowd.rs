//! Readers: many streams in one thread, each checked for gaps and for events that come twice.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::mark::{Carry, Mark};
use super::socket::{Sources, begin_to_connect};
use crate::system::now;

/// How many readiness events are taken at once.
const AT_ONCE: usize = 512;

/// How many wait for their answer at once. With more, the queues of the kernel decide how long it
/// takes: a connection that finds no place tries again after a second, then after two.
const AT_THE_DOOR: usize = 100;

/// How much is read at once.
const BUFFER: usize = 256 << 10;

/// What a group of readers asks for.
#[derive(Clone, Copy, Debug)]
pub struct Readers<'r> {
    pub request: &'r str,
    /// What its answer has before the stream falls silent: only then a reader counts as open.
    pub ready: &'static [u8],
    /// The number of the first event that they must get.
    pub first: u32,
    /// Events of so many channels take turns; order is promised within each.
    pub channels: u32,
}

#[derive(Debug)]
struct Reader {
    /// None once the server has closed it.
    socket: Option<OwnedFd>,
    carry: Carry,
    /// What has come, until the reader is open.
    head: Vec<u8>,
    ready: Option<&'static [u8]>,
    /// It is not connected yet, and its request not sent.
    connecting: bool,
    group: u16,
}

#[derive(Debug)]
struct Group {
    request: String,
    /// The number of its first reader, and the place of that reader's channels.
    first: usize,
    next: usize,
    channels: u32,
}

/// Streams that are read by one thread.
pub struct Crowd {
    epoll: OwnedFd,
    sources: Sources,
    readers: Vec<Reader>,
    /// The next event of each channel of each reader.
    next: Vec<u32>,
    groups: Vec<Group>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    open: usize,
    pub deliveries: Vec<Deliveries>,
}

/// What the readers of a group have got.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// From when an event was due until a reader had it, in microseconds: all of them.
    pub latencies: Vec<u32>,
    /// For each event, the latency of its last receiver, and how many have it.
    pub events: Vec<(u32, u32)>,
    pub count: u64,
    /// All that was read, heads too.
    pub bytes: u64,
    pub gaps: u64,
    pub duplicates: u64,
    pub broken: u64,
    pub closed: u64,
    /// Latencies cost memory: without this, only `count` and faults are kept.
    pub timed: bool,
    first: u32,
}

impl Deliveries {
    fn got(&mut self, mark: Mark, next: &mut u32, step: u32, now: u64) {
        if mark.number < *next {
            self.duplicates += 1;
            return;
        }
        if mark.number > *next {
            self.gaps += 1;
        }
        *next = mark.number + step;
        self.count += 1;
        if !self.timed {
            return;
        }
        let latency = u32::try_from(now.saturating_sub(mark.due) / 1_000).unwrap_or(u32::MAX);
        self.latencies.push(latency);
        let at = mark.number.saturating_sub(self.first) as usize;
        if self.events.len() <= at {
            self.events.resize(at + 1, (0, 0));
        }
        let (last, receivers) = &mut self.events[at];
        *last = latency.max(*last);
        *receivers += 1;
    }

    /// Forgets what has come so far, but not faults.
    pub fn restart(&mut self, first: u32) {
        self.latencies.clear();
        self.events.clear();
        (self.count, self.bytes, self.first) = (0, 0, first);
    }

    /// What went wrong, if anything did.
    ///
    /// # Errors
    ///
    /// If a reader missed an event, got one twice or broken, or lost its stream.
    pub fn sound(&self) -> Result<(), String> {
        let Self { gaps, duplicates, broken, closed, .. } = self;
        if gaps + duplicates + broken + closed == 0 {
            return Ok(());
        }
        Err(format!(
            "readers had {gaps} gaps, {duplicates} duplicates, {broken} broken events; {closed} \
             streams were closed"
        ))
    }
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    ///
    /// If there are no descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sources: Sources::new(),
            readers: Vec::new(),
            next: Vec::new(),
            groups: Vec::new(),
            buffer: vec![0; BUFFER],
            events: Vec::with_capacity(AT_ONCE),
            open: 0,
            deliveries: Vec::new(),
        })
    }

    /// A group, which has no readers yet. Only the newest gets any.
    pub fn group(&mut self, readers: Readers<'_>) -> usize {
        self.groups.push(Group {
            request: readers.request.to_owned(),
            first: self.readers.len(),
            next: self.next.len(),
            channels: readers.channels,
        });
        let deliveries = Deliveries { timed: true, first: readers.first, ..Deliveries::default() };
        self.deliveries.push(deliveries);
        self.groups.len() - 1
    }

    /// Connects so many, all at once. Their requests are sent as soon as they are connected.
    ///
    /// # Errors
    ///
    /// If there are not as many descriptors.
    pub fn connect(&mut self, port: u16, count: usize, readers: Readers<'_>) -> io::Result<()> {
        let group = u16::try_from(self.groups.len() - 1).map_err(io::Error::other)?;
        for _ in 0..count {
            let number = self.readers.len();
            let socket = begin_to_connect(port, self.sources, number)?;
            let data = epoll::EventData::new_u64(number as u64);
            let both = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            epoll::add(&self.epoll, &socket, data, both)?;
            self.readers.push(Reader {
                socket: Some(socket),
                carry: Carry::default(),
                head: Vec::new(),
                ready: Some(readers.ready),
                connecting: true,
                group,
            });
            self.next.extend((0..readers.channels).map(|channel| readers.first + channel));
        }
        Ok(())
    }

    /// Connects so many, and waits until all are open. At most [`AT_THE_DOOR`] wait for their
    /// answer at a time.
    ///
    /// # Errors
    ///
    /// If the server does not accept them, refuses them, or takes too long.
    pub fn open(
        &mut self,
        port: u16,
        count: usize,
        readers: Readers<'_>,
        within: Duration,
    ) -> io::Result<()> {
        let total = self.readers.len() + count;
        loop {
            let waiting = self.readers.len() - self.open;
            let more = (total - self.readers.len()).min(AT_THE_DOOR - waiting);
            self.connect(port, more, readers)?;
            if self.open == total {
                return Ok(());
            }
            let open = self.open;
            self.turn_until(within, |crowd| crowd.open > open)?;
        }
    }

    /// Reads what is there, or waits so long for something.
    ///
    /// # Errors
    ///
    /// If a stream is refused, or reading fails.
    pub fn turn(&mut self, within: Duration) -> io::Result<usize> {
        let timeout = Timespec {
            tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: within.subsec_nanos().into(),
        };
        self.events.clear();
        let spare = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, spare, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let events = std::mem::take(&mut self.events);
        for event in &events {
            self.read(usize::try_from(event.data.u64()).unwrap_or(usize::MAX))?;
        }
        let count = events.len();
        self.events = events;
        Ok(count)
    }

    /// Reads for so long.
    ///
    /// # Errors
    ///
    /// As [`Crowd::turn`].
    pub fn turn_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(time)?;
        }
        Ok(())
    }

    /// Reads until something is so.
    ///
    /// # Errors
    ///
    /// As [`Crowd::turn`]; or if it takes longer.
    pub fn turn_until(
        &mut self,
        within: Duration,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> io::Result<()> {
        let deadline = Instant::now() + within;
        while !is_so(self) {
            if self.turn(Duration::from_millis(200))? == 0 && Instant::now() > deadline {
                let total: u64 = self.deliveries.iter().map(|group| group.count).sum();
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!(
                        "{} of {} readers are open, and have {total} events, after {} s",
                        self.open,
                        self.readers.len(),
                        within.as_secs()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn read(&mut self, number: usize) -> io::Result<()> {
        let reader = &mut self.readers[number];
        let Some(socket) = &reader.socket else { return Ok(()) };
        let deliveries = &mut self.deliveries[usize::from(reader.group)];
        let group = &self.groups[usize::from(reader.group)];
        if reader.connecting {
            match send(socket, group.request.as_bytes(), SendFlags::NOSIGNAL) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            reader.connecting = false;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.epoll, socket, data, epoll::EventFlags::IN)?;
            return Ok(());
        }
        let len = match recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((len, _)) => len,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        let bytes = &self.buffer[..len];
        if let Some(ready) = reader.ready {
            let from = reader.head.len().saturating_sub(ready.len());
            reader.head.extend_from_slice(bytes);
            // Ours says 200 first, as a browser must read why.
            let refused = reader.head.get(9..12).is_some_and(|status| status != b"200")
                || memchr::memmem::find(&reader.head, b"event: stream-error").is_some();
            if refused || len == 0 {
                let answer = String::from_utf8_lossy(&reader.head).into_owned();
                return Err(io::Error::other(format!("a stream was refused: {answer:?}")));
            }
            if memchr::memmem::find(&reader.head[from..], ready).is_some() {
                (reader.ready, reader.head) = (None, Vec::new());
                self.open += 1;
            }
        }
        if len == 0 {
            // Closed, by which it leaves the epoll.
            reader.socket = None;
            deliveries.closed += 1;
            return Ok(());
        }
        deliveries.bytes += len as u64;
        let channels = group.channels;
        let next = group.next + (number - group.first) * channels as usize;
        let next = &mut self.next[next..next + channels as usize];
        let now = now();
        let sound = reader.carry.scan(bytes, |mark| {
            let channel = (mark.number % channels) as usize;
            deliveries.got(mark, &mut next[channel], channels, now);
        });
        deliveries.broken += u64::from(!sound);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;
    use crate::load::MARK;

    const WITHIN: Duration = Duration::from_secs(20);
    const READERS: Readers<'_> =
        Readers { request: "GET / HTTP/1.1\r\n\r\n", ready: b":\n\n", first: 0, channels: 1 };

    /// A server that sends events of these numbers to one reader, in small parts, and closes.
    fn served(numbers: &'static [u32], readers: Readers<'static>) -> Deliveries {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a reader");
            let len = socket.read(&mut [0; 256]).expect("a request");
            assert_eq!(len, readers.request.len());
            let mut stream = b"HTTP/1.1 200 OK\r\n\r\n:\n\n".to_vec();
            for number in numbers {
                let mut mark = [0; MARK];
                Mark { due: 1, number: *number }.write(&mut mark);
                stream.extend_from_slice(b"data: x");
                stream.extend_from_slice(&mark);
                stream.extend_from_slice(b"\n\n");
            }
            for part in stream.chunks(11) {
                socket.write_all(part).expect("a reader");
            }
        });
        let mut crowd = Crowd::new().expect("descriptors");
        let group = crowd.group(readers);
        crowd.open(port, 1, readers, WITHIN).expect("open");
        crowd.turn_until(WITHIN, |crowd| crowd.deliveries[group].closed == 1).expect("the end");
        server.join().expect("sent");
        crowd.deliveries.remove(group)
    }

    #[test]
    fn what_comes_in_order_is_sound_but_for_the_end() {
        let got = served(&[0, 1, 2, 3], READERS);
        assert_eq!((got.count, got.gaps, got.duplicates, got.broken, got.closed), (4, 0, 0, 0, 1));
        assert_eq!(got.events.len(), 4);
        assert!(got.sound().is_err(), "a stream that ends is a fault");
    }

    #[test]
    fn a_missing_event_and_one_that_comes_twice_are_counted() {
        let got = served(&[0, 2, 2, 3], READERS);
        assert_eq!((got.count, got.gaps, got.duplicates), (3, 1, 1));
        let got = served(&[1, 0], READERS);
        assert_eq!((got.count, got.gaps, got.duplicates), (1, 1, 1), "in another order");
    }

    #[test]
    fn order_is_asked_for_within_each_channel() {
        let two = Readers { channels: 2, ..READERS };
        let got = served(&[1, 0, 2, 3], two);
        assert_eq!((got.count, got.gaps, got.duplicates), (4, 0, 0));
        let got = served(&[0, 1, 4], two);
        assert_eq!((got.count, got.gaps), (3, 1));
    }

    #[test]
    fn a_refusal_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a reader");
            let _ = socket.read(&mut [0; 256]).expect("a request");
            socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").expect("a reader");
        });
        let mut crowd = Crowd::new().expect("descriptors");
        crowd.group(READERS);
        let error = crowd.open(port, 1, READERS, WITHIN).expect_err("refused");
        assert!(error.to_string().contains("503"), "{error}");
        server.join().expect("sent");
    }
}
