//! `replay`: how fast a reader gets what it has missed, and whether others notice.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use testkit::daemons::Daemons;

use crate::load::{Crowd, Plan, publish};
use crate::servers::{From, Running, Server};
use crate::system::Cpu;

const WITHIN: Duration = Duration::from_mins(1);

/// Speeds are by the second, CPU time in microseconds for each event.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    pub events: f64,
    pub bytes: f64,
    pub user: f64,
    pub system: f64,
}

/// Starts a server and publishes so many events, in thousands.
///
/// # Errors
///
/// If the server fails.
pub fn filled(daemons: &Daemons, server: Server, thousands: u32) -> Result<Running, String> {
    let failed = |error: io::Error| format!("{}: {error}", server.name());
    let running = server.start(daemons)?;
    running.make_channel().map_err(failed)?;
    let plan = Plan { first: 0, requests: thousands, every: Duration::ZERO };
    publish(running.port, server.publish(1_000, 1), plan).map_err(failed)?;
    Ok(running)
}

/// One reader gets all events from the first.
///
/// # Errors
///
/// If the server fails, or an event is missing or comes twice.
pub fn one(running: Running, events: u64) -> Result<Replay, String> {
    let Running { server, port, pid } = running;
    let failed = |error: io::Error| format!("{}: {error}", server.name());
    let request = server.stream(From::Start, 1);
    let readers = server.readers(&request, 0, 1);
    let mut crowd = Crowd::new().map_err(failed)?;
    let group = crowd.group(readers);
    crowd.deliveries[group].timed = false;
    let cpu = Cpu::of(pid).map_err(failed)?;
    let start = Instant::now();
    crowd.connect(port, 1, readers).map_err(failed)?;
    let all = |crowd: &Crowd| crowd.deliveries[group].count >= events;
    crowd.turn_until(WITHIN, all).map_err(failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu.since(pid).map_err(failed)?;
    let got = &crowd.deliveries[group];
    got.sound().map_err(|why| format!("{}: {why}", server.name()))?;
    #[expect(clippy::cast_precision_loss, reason = "a few millions")]
    let (count, bytes) = (got.count as f64, got.bytes as f64);
    Ok(Replay {
        events: count / seconds,
        bytes: bytes / seconds,
        user: cpu.user * 1e6 / count,
        system: cpu.system * 1e6 / count,
    })
}

/// Many replay what there is, while others read what is published now. The live readers' latencies
/// in milliseconds, and the seconds until the last has caught up.
#[derive(Clone, Copy, Debug)]
pub struct Crowded {
    pub p50: f64,
    pub p99: f64,
    pub seconds: f64,
}

/// How often events are published to live readers.
const EVERY: Duration = Duration::from_millis(50);

/// `live` readers, while `replaying` others get so many thousands of events each. Without these, it
/// takes as long as `seconds`.
///
/// # Errors
///
/// If the server fails, or an event is missing or comes twice.
pub fn crowded(
    daemons: &Daemons,
    server: Server,
    (live, replaying, thousands): (usize, usize, u32),
    seconds: f64,
) -> Result<Crowded, String> {
    let failed = |error: io::Error| format!("{}: {error}", server.name());
    let running = filled(daemons, server, thousands)?;
    let (now, from_start) = (server.stream(From::Now, 1), server.stream(From::Start, 1));
    let first = thousands * 1_000;
    let readers = server.readers(&now, first, 1);
    let mut crowd = Crowd::new().map_err(failed)?;
    let group = crowd.group(readers);
    crowd.open(running.port, live, readers, WITHIN).map_err(failed)?;
    while crowd.turn(Duration::from_millis(100)).map_err(failed)? > 0 {}
    // They take a thread of their own: what they read must not hold up the others' clock.
    let catching_up = thread::spawn(move || -> io::Result<f64> {
        let start = Instant::now();
        if replaying == 0 {
            thread::sleep(Duration::from_secs_f64(seconds));
            return Ok(seconds);
        }
        let readers = server.readers(&from_start, 0, 1);
        let mut crowd = Crowd::new()?;
        let group = crowd.group(readers);
        crowd.deliveries[group].timed = false;
        crowd.connect(running.port, replaying, readers)?;
        let all = u64::from(first) * replaying as u64;
        crowd.turn_until(WITHIN, |crowd| crowd.deliveries[group].count >= all)?;
        let seconds = start.elapsed().as_secs_f64();
        crowd.deliveries[group].sound().map_err(io::Error::other)?;
        Ok(seconds)
    });
    let post = server.publish(1, 1);
    let mut number = first;
    while !catching_up.is_finished() {
        let (plan, post) = (Plan { first: number, requests: 10, every: EVERY }, post.clone());
        let publisher = thread::spawn(move || publish(running.port, post, plan));
        number += plan.requests;
        let count = u64::from(number - first) * live as u64;
        crowd.turn_until(WITHIN, |crowd| crowd.deliveries[group].count >= count).map_err(failed)?;
        publisher.join().map_err(|_| "the publisher panicked")?.map_err(failed)?;
    }
    let seconds = catching_up.join().map_err(|_| "a reader panicked")?.map_err(failed)?;
    let got = &mut crowd.deliveries[group];
    got.sound().map_err(|why| format!("{}: {why}", server.name()))?;
    got.latencies.sort_unstable();
    let at = |part: usize| {
        let index = got.latencies.len() * part / 100;
        got.latencies.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    };
    let crowded = Crowded { p50: at(50), p99: at(99), seconds };
    drop(crowd);
    daemons.stop();
    Ok(crowded)
}
