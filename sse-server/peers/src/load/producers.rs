//! Publishers in a closed loop: each connection sends its next event once the answer to the last is
//! there. All of them are in one thread.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::socket::{Sources, connect, write_all};
use super::{Answers, Mark, Request};

/// What was published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub events: u64,
    pub seconds: f64,
}

#[derive(Debug)]
struct Producer {
    socket: OwnedFd,
    answers: Answers,
    request: Request,
    waits: usize,
}

/// Publishes on so many connections for so long; they take turns with the requests, and each keeps
/// to its own. `first` is the number of the first event, and the next afterwards. Of the time, the
/// first fifth does not count; `begin` is called at its end.
///
/// # Errors
///
/// If the server refuses an event, or a connection fails.
pub fn produce(
    port: u16,
    requests: &[Request],
    connections: usize,
    time: Duration,
    first: &mut u32,
    begin: impl FnOnce(),
) -> io::Result<Published> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let sources = Sources::new();
    let mut producers = Vec::with_capacity(connections);
    for number in 0..connections {
        let socket = connect(port, sources, number)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &socket, data, epoll::EventFlags::IN)?;
        let request = requests[number % requests.len()].clone();
        producers.push(Producer { socket, answers: Answers::default(), request, waits: 0 });
    }
    for producer in &mut producers {
        producer.send(first)?;
    }
    let mut ready = Vec::with_capacity(connections);
    let mut buffer = [0; 16 << 10];
    let (warm, end) = (Instant::now() + time / 5, Instant::now() + time);
    let (mut events, mut start, mut begin) = (0, None, Some(begin));
    let (mut waiting, mut last) = (connections, warm);
    while waiting > 0 {
        ready.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut ready), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let counts = start.is_some() && now < end;
        for event in &ready {
            let number = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let producer = &mut producers[number];
            let (len, _) = recv(&producer.socket, &mut buffer[..], RecvFlags::empty())?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let ended = producer.answers.take(&buffer[..len])?;
            producer.waits -= ended;
            if producer.waits > 0 {
                continue;
            }
            // What is answered after the end was still under way then.
            if counts {
                events += producer.request.events() as u64;
                last = now;
            }
            if now < end {
                producer.send(first)?;
            } else {
                waiting -= 1;
            }
        }
        // From one answer to another, so that long requests count by what they took.
        if start.is_none() && now >= warm {
            (start, last) = (Some(now), now);
            if let Some(begin) = begin.take() {
                begin();
            }
        }
    }
    let seconds = start.map_or(0.0, |start| last.duration_since(start).as_secs_f64());
    Ok(Published { events, seconds })
}

impl Producer {
    fn send(&mut self, first: &mut u32) -> io::Result<()> {
        let from = *first;
        *first += u32::try_from(self.request.events()).map_err(io::Error::other)?;
        self.request.mark((from..*first).map(|number| Mark { due: 0, number }));
        self.waits = self.request.answers;
        write_all(&self.socket, &self.request.bytes)
    }
}
