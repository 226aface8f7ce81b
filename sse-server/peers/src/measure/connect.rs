//! `connect`: how long 10,000 clients take that come as fast as the server answers, as after its
//! restart: until all have the head of their answer and its first bytes. `storm`: the same with
//! readers that come back and have 100 events to catch up, until all have their last event.

use std::time::{Duration, Instant};

use super::{Bench, failed, names, stop};
use crate::load::{Crowd, Plan, publish};
use crate::report::{Column, Row};
use crate::servers::{From, Server, Traffic};

const WITHIN: Duration = Duration::from_mins(1);

/// How many events each has missed in the storm.
const EVENTS: u32 = 100;

const CONNECT: [Server; 4] = [Server::Ours, Server::DurableStreams, Server::Nchan, Server::Axum];
/// axum keeps no events.
const STORM: [Server; 3] = [Server::Ours, Server::DurableStreams, Server::Nchan];

/// Runs the first.
///
/// # Errors
///
/// If a server does not start, or refuses a stream.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    together(bench, "connect", &CONNECT)
}

/// Runs the second.
///
/// # Errors
///
/// If a server does not start, or a reader misses an event or gets one twice.
pub fn storm(bench: &mut Bench<'_>) -> Result<(), String> {
    together(bench, "storm", &STORM)
}

fn together(bench: &mut Bench<'_>, name: &'static str, servers: &[Server]) -> Result<(), String> {
    bench.report.begin(name);
    let count = bench.streams();
    let case = format!("{name}.{count}");
    for _ in 0..bench.rounds() {
        for server in bench.servers(servers) {
            let time = measure(bench, server, count, if name == "storm" { EVENTS } else { 0 });
            if let Some(time) = bench.unless_a_peer_failed(server, time)? {
                bench.report.add(&case, server.name(), "time", time);
            }
        }
    }
    let row = |who: &str| Row { label: who.to_owned(), case: case.clone(), who: who.to_owned() };
    let rows: Vec<_> = names(servers).into_iter().map(row).collect();
    let title = match name {
        "storm" => format!("{count} readers, {EVENTS} events to catch up"),
        _ => format!("{count} streams at once"),
    };
    bench.report.table(&title, &rows, &[Column::new("seconds", "time", 1.0, 2)]);
    bench.report.ratios(&case, &names(servers), "time");
    Ok(())
}

/// The seconds until all have what they came for.
fn measure(bench: &Bench<'_>, server: Server, count: usize, events: u32) -> Result<f64, String> {
    let failed = failed(server);
    let running = server.start(bench.daemons)?;
    running.make_channels().map_err(&failed)?;
    let from = if events == 0 { From::Now } else { From::Start };
    let plan = Plan { first: 0, requests: events, every: Duration::ZERO };
    publish(running.port, server.publish(Traffic::of(1)), plan).map_err(&failed)?;
    let request = server.stream(from, Traffic::of(1));
    let readers = server.readers(&request, 0, 1);
    let mut crowd = Crowd::new().map_err(&failed)?;
    let group = crowd.group(readers);
    let all = u64::from(events) * count as u64;
    let start = Instant::now();
    crowd.open(running.port, count, readers, WITHIN).map_err(&failed)?;
    let is_done = |crowd: &Crowd| crowd.deliveries[group].count >= all;
    crowd.turn_until(WITHIN, is_done).map_err(&failed)?;
    let seconds = start.elapsed().as_secs_f64();
    crowd.deliveries[group].sound().map_err(std::io::Error::other).map_err(&failed)?;
    stop(bench.daemons);
    drop(crowd);
    Ok(seconds)
}
