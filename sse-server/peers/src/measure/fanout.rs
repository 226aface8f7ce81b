//! `fanout`: what it costs to bring an event to many readers, and when the last of them has it.

use std::io;
use std::thread;
use std::time::Duration;

use testkit::daemons::Daemons;

use crate::load::{Crowd, Plan, publish};
use crate::servers::{From, Server};
use crate::system::{Cpu, resident};

/// How long a server may take to open streams, or to deliver.
const WITHIN: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub readers: usize,
    /// Of each stream. Events take turns.
    pub channels: u32,
    /// How many events are published at once.
    pub batch: usize,
    /// How many times.
    pub requests: u32,
    pub every: Duration,
}

/// Times are in milliseconds, CPU time in microseconds for each delivery, memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fanout {
    pub user: f64,
    pub system: f64,
    pub p50: f64,
    pub p99: f64,
    /// Until the last receiver has an event, as the median of all events.
    pub last: f64,
    pub memory: f64,
    pub a_cpu_second: f64,
}

/// Starts a server, opens streams, publishes, and ends it.
///
/// # Errors
///
/// If the server fails, or a reader misses an event or gets one twice.
pub fn measure(daemons: &Daemons, server: Server, setting: Setting) -> Result<Fanout, String> {
    let failed = |error: io::Error| format!("{}: {error}", server.name());
    let running = server.start(daemons)?;
    running.make_channel().map_err(failed)?;
    let (request, channels) = (server.stream(From::Now, setting.channels), setting.channels);
    let readers = server.readers(&request, 0, channels);
    let mut crowd = Crowd::new().map_err(failed)?;
    let group = crowd.group(readers);
    crowd.open(running.port, setting.readers, readers, WITHIN).map_err(failed)?;
    // All there is to say at first has been said.
    while crowd.turn(Duration::from_millis(100)).map_err(failed)? > 0 {}
    let requests = server.publish(setting.batch, channels);
    // Once through for what is done only once.
    let warm = Plan { first: 0, requests: channels.max(2), every: Duration::ZERO };
    let first = warm.requests * u32::try_from(setting.batch).map_err(|error| error.to_string())?;
    let events = |requests: u32| u64::from(requests) * setting.batch as u64;
    let all = |requests: u32| events(requests) * setting.readers as u64;
    let run = |crowd: &mut Crowd, plan: Plan| {
        let requests = requests.clone();
        let publisher = thread::spawn(move || publish(running.port, requests, plan));
        let count = all(plan.requests);
        let within = WITHIN + plan.every * plan.requests;
        let read = crowd.turn_until(within, |crowd| crowd.deliveries[group].count >= count);
        publisher.join().map_err(|_| io::Error::other("the publisher panicked"))??;
        read
    };
    run(&mut crowd, warm).map_err(failed)?;
    while crowd.turn(Duration::from_millis(50)).map_err(failed)? > 0 {}
    crowd.deliveries[group].restart(first);
    let cpu = Cpu::of(running.pid).map_err(failed)?;
    let plan = Plan { first, requests: setting.requests, every: setting.every };
    run(&mut crowd, plan).map_err(failed)?;
    // Something that comes twice comes soon.
    while crowd.turn(Duration::from_millis(50)).map_err(failed)? > 0 {}
    let cpu = cpu.since(running.pid).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a few gigabytes at most")]
    let memory = resident(running.pid).map_err(failed)? as f64;
    let got = &mut crowd.deliveries[group];
    got.sound().map_err(|why| format!("{}: {why}", server.name()))?;
    #[expect(clippy::cast_precision_loss, reason = "a few millions")]
    let count = got.count as f64;
    got.latencies.sort_unstable();
    let mut lasts: Vec<_> = got.events.iter().map(|(last, _)| *last).collect();
    lasts.sort_unstable();
    let at = |sorted: &[u32], part: usize| {
        let index = (sorted.len() * part / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
    };
    let fanout = Fanout {
        user: cpu.user * 1e6 / count,
        system: cpu.system * 1e6 / count,
        p50: at(&got.latencies, 50),
        p99: at(&got.latencies, 99),
        last: at(&lasts, 50),
        memory,
        a_cpu_second: count / cpu.sum(),
    };
    drop(crowd);
    daemons.stop();
    Ok(fanout)
}
