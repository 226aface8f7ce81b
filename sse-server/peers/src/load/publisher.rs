//! A publisher in an open loop: events are due at fixed times, whatever the server does.
//!
//! The latency of an event counts from when it was due, so a server that holds the publisher up
//! does not look fast by it.

use std::io;
use std::thread;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

use super::socket::{Sources, connect, write_all};
use super::{Answers, Mark, Request};
use crate::system::now;

/// When which events are due.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The number of the first event.
    pub first: u32,
    /// How many requests are sent, each with all its events.
    pub requests: u32,
    /// The time between two requests.
    pub every: Duration,
}

/// Publishes as planned, on one connection that stays open, with these requests in turns. Ends when
/// the last answer is there.
///
/// # Errors
///
/// If the server refuses an event, or the connection fails.
pub fn publish(port: u16, mut requests: Vec<Request>, plan: Plan) -> io::Result<()> {
    let socket = connect(port, Sources::new(), 0)?;
    let mut answers = Answers::default();
    let mut buffer = [0; 16 << 10];
    let every = u64::try_from(plan.every.as_nanos()).map_err(io::Error::other)?;
    // The crowd must be waiting.
    let start = now() + 5_000_000;
    let mut number = plan.first;
    for turn in 0..plan.requests {
        let due = start + every * u64::from(turn);
        let wait = due.saturating_sub(now());
        if wait > 0 {
            thread::sleep(Duration::from_nanos(wait));
        }
        // In a closed loop there is nothing to be late for.
        let due = if every == 0 { now() } else { due };
        let each = u32::try_from(requests[0].events()).map_err(io::Error::other)?;
        let index = (number / each) as usize % requests.len();
        let request = &mut requests[index];
        request.mark((number..).map(|number| Mark { due, number }));
        number += each;
        write_all(&socket, &request.bytes)?;
        let mut ended = 0;
        while ended < request.answers {
            let (len, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            ended += answers.take(&buffer[..len])?;
        }
    }
    Ok(())
}
