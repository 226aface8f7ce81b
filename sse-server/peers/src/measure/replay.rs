//! `replay`: how fast a reader gets what it has missed, and whether others notice when many do.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use testkit::daemons::Daemons;

use super::{Bench, failed, hundredth, stop};
use crate::load::{Crowd, Plan, publish};
use crate::report::{Column, Row};
use crate::servers::{From, Running, Server, Traffic};
use crate::system::Cpu;

const WITHIN: Duration = Duration::from_mins(3);

/// Those that keep events on disk.
const SERVERS: [Server; 2] = [Server::Ours, Server::DurableStreams];

/// How many events there are to replay, in thousands.
const THOUSANDS: u32 = 200;

/// How many replay in the crowd, and how much, while so many read live.
const REPLAYING: usize = 100;
const REPLAYED: u32 = 100;
const LIVE: usize = 1_000;

/// How events come to be there.
const FILLING: Traffic = Traffic { channels: 1, batch: 1_000 };
/// What live readers get, and how often. Two a request, because single events are another stream of
/// durable-streams.
const LIVELY: Traffic = Traffic { channels: 1, batch: 2 };
const EVERY: Duration = Duration::from_millis(50);

/// The nice value of the thread of those who replay.
const LEAST_PRIORITY: i32 = 19;

/// Runs it.
///
/// # Errors
///
/// If a server does not start, or a reader misses an event or gets one twice.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("replay");
    for _ in 0..bench.rounds() {
        for server in bench.servers(&SERVERS) {
            let running = filled(bench.daemons, server, THOUSANDS)?;
            for _ in 0..2 {
                one(running, u64::from(THOUSANDS) * 1_000)?.keep(bench, server.name());
            }
            stop(bench.daemons);
        }
    }
    let columns = [
        Column::new("events/s", "events", 1.0, 0),
        Column::new("MB/s", "throughput", 1e6, 1),
        Column::new("user µs", "user", 1e-6, 2),
        Column::new("system µs", "system", 1e-6, 2),
    ];
    let rows = SERVERS.map(|server| row("replay.1", server));
    bench.report.table("200,000 events to one reader", &rows, &columns);
    bench.report.ratios("replay.1", &["durable-streams"], "throughput");
    // durable-streams closes the stream of a reader that is 8 MiB behind, so all but a few of its
    // readers would have to come back: there is nothing to compare.
    let replayed = if bench.options.quick { REPLAYED / 4 } else { REPLAYED };
    for _ in 0..bench.rounds() {
        for server in bench.servers(&SERVERS[..1]) {
            let with = crowded(bench.daemons, server, (LIVE, REPLAYING, replayed), None)?;
            let time = Duration::from_secs_f64(with.seconds).min(Duration::from_secs(6));
            let without = crowded(bench.daemons, server, (LIVE, 0, replayed), Some(time))?;
            for (case, got) in [("replay.live", with), ("replay.alone", without)] {
                let who = server.name();
                bench.report.add(case, who, "p50", got.p50);
                bench.report.add(case, who, "latency", got.p99);
                bench.report.add(case, who, "time", got.seconds);
            }
        }
    }
    let columns = [
        Column::new("p50 ms", "p50", 1e-3, 1),
        Column::new("p99 ms", "latency", 1e-3, 1),
        Column::new("seconds", "time", 1.0, 1),
    ];
    let busy = format!("{REPLAYING} replay {replayed},000 events");
    let rows = [("replay.alone", "nobody replays"), ("replay.live", &busy)];
    let rows = rows.map(|(case, label)| Row { label: label.into(), ..row(case, Server::Ours) });
    bench.report.table("1,000 live readers while …", &rows, &columns);
    let (with, without) = (("replay.live", "ours"), ("replay.alone", "ours"));
    bench.report.ratio_of("replay.live.alone.latency", with, without, "latency");
    Ok(())
}

fn row(case: &str, server: Server) -> Row {
    Row { label: server.name().to_owned(), case: case.to_owned(), who: server.name().to_owned() }
}

/// By the second; CPU seconds for each event.
#[derive(Clone, Copy, Debug)]
struct Replay {
    events: f64,
    bytes: f64,
    cpu: Cpu,
}

impl Replay {
    fn keep(self, bench: &mut Bench<'_>, who: &str) {
        bench.report.add("replay.1", who, "events", self.events);
        bench.report.add("replay.1", who, "throughput", self.bytes);
        bench.report.add("replay.1", who, "user", self.cpu.user);
        bench.report.add("replay.1", who, "system", self.cpu.system);
    }
}

/// Starts a server and publishes so many events, in thousands.
fn filled(daemons: &Daemons, server: Server, thousands: u32) -> Result<Running, String> {
    let failed = failed(server);
    let running = server.start(daemons)?;
    running.make_channels().map_err(&failed)?;
    let plan = Plan { first: 0, requests: thousands, every: Duration::ZERO };
    publish(running.port, server.publish(FILLING), plan).map_err(&failed)?;
    Ok(running)
}

/// One reader gets all events from the first.
fn one(running: Running, events: u64) -> Result<Replay, String> {
    let Running { server, port, pid } = running;
    let failed = failed(server);
    let request = server.stream(From::Start, FILLING);
    let readers = server.readers(&request, 0, 1);
    let mut crowd = Crowd::new().map_err(&failed)?;
    let group = crowd.group(readers);
    crowd.deliveries[group].timed = false;
    let cpu = Cpu::of(pid).map_err(&failed)?;
    let start = Instant::now();
    crowd.connect(port, 1, readers).map_err(&failed)?;
    let all = |crowd: &Crowd| crowd.deliveries[group].count >= events;
    crowd.turn_until(WITHIN, all).map_err(&failed)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu.since(pid).map_err(&failed)?;
    let got = &crowd.deliveries[group];
    got.sound().map_err(io::Error::other).map_err(&failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a few millions")]
    let (count, bytes) = (got.count as f64, got.bytes as f64);
    Ok(Replay { events: count / seconds, bytes: bytes / seconds, cpu: cpu.each(count) })
}

/// The live readers' latencies, and the time until the last of the others has caught up. Seconds.
#[derive(Clone, Copy, Debug)]
struct Crowded {
    p50: f64,
    p99: f64,
    seconds: f64,
}

/// `live` readers, while `replaying` others get so many thousands of events each, or for a time.
fn crowded(
    daemons: &Daemons,
    server: Server,
    (live, replaying, thousands): (usize, usize, u32),
    time: Option<Duration>,
) -> Result<Crowded, String> {
    let failed = failed(server);
    let running = filled(daemons, server, thousands)?;
    let [now, from_start] = [From::Now, From::Start].map(|from| server.stream(from, FILLING));
    let first = thousands * 1_000;
    let readers = server.readers(&now, first, 1);
    let mut crowd = Crowd::new().map_err(&failed)?;
    let group = crowd.group(readers);
    crowd.open(running.port, live, readers, WITHIN).map_err(&failed)?;
    while crowd.turn(Duration::from_millis(50)).map_err(&failed)? > 0 {}
    // They take a thread of their own, and one that leaves the processor to the others: elsewhere
    // they are other machines, and what they read must not hold up the live readers' clock.
    let catching_up = thread::spawn(move || -> io::Result<f64> {
        setpriority_process(Some(gettid()), LEAST_PRIORITY)?;
        let start = Instant::now();
        if let Some(time) = time {
            thread::sleep(time);
        } else {
            let readers = server.readers(&from_start, 0, 1);
            let mut crowd = Crowd::new()?;
            let group = crowd.group(readers);
            crowd.deliveries[group].timed = false;
            crowd.connect(running.port, replaying, readers)?;
            let all = u64::from(first) * replaying as u64;
            crowd.turn_until(WITHIN, |crowd| crowd.deliveries[group].count >= all)?;
            crowd.deliveries[group].sound().map_err(io::Error::other)?;
        }
        Ok(start.elapsed().as_secs_f64())
    });
    let posts = server.publish(LIVELY);
    let mut next = first;
    while !catching_up.is_finished() {
        let (plan, posts) = (Plan { first: next, requests: 10, every: EVERY }, posts.clone());
        let publisher = thread::spawn(move || publish(running.port, posts, plan));
        next += 20;
        let due = u64::from(next - first) * live as u64;
        crowd.turn_until(WITHIN, |crowd| crowd.deliveries[group].count >= due).map_err(&failed)?;
        publisher.join().map_err(|_| "the publisher panicked")?.map_err(&failed)?;
    }
    let seconds = catching_up.join().map_err(|_| "a reader panicked")?.map_err(&failed)?;
    let got = &mut crowd.deliveries[group];
    got.sound().map_err(io::Error::other).map_err(&failed)?;
    got.latencies.sort_unstable();
    let [p50, p99] = [50, 99].map(|part| hundredth(&got.latencies, part));
    stop(daemons);
    drop(crowd);
    Ok(Crowded { p50, p99, seconds })
}
