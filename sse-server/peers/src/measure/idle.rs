//! `idle`: how much memory an open stream costs while nothing happens, and how much a server gives
//! back when all are closed.
//!
//! Each server is a process of its own, and its resident memory is measured. That excludes what the
//! kernel keeps for a socket, and includes what the allocator keeps for itself. The first streams
//! do not count, so that what a server has only once is not in the result. CPU time is that of
//! opening a stream.

use std::thread;
use std::time::Duration;

use super::{Bench, failed, names, stop};
use crate::load::Crowd;
use crate::report::{Column, Row};
use crate::servers::{From, Server, Traffic};
use crate::system::{Cpu, calm};

/// How many are open already when the measurement begins.
const FIRST: usize = 500;

/// As many as 20,000 descriptors allow.
const MOST: usize = 19_000;

/// How long a server may take to notice that streams are closed, before we look.
const TO_CLOSE: Duration = Duration::from_secs(3);

const WITHIN: Duration = Duration::from_secs(30);

const SERVERS: [Server; 9] = [
    Server::Ours,
    Server::DurableStreams,
    Server::Nchan,
    Server::Pushpin,
    Server::Axum,
    Server::AxumBeside,
    Server::Stream,
    Server::View,
    Server::Embedded,
];

/// Runs it.
///
/// # Errors
///
/// If a server does not start, or refuses a stream.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("idle");
    let counts = match bench.options.streams {
        Some(count) => vec![count],
        None if bench.options.quick => vec![10_000],
        None => vec![10_000, MOST],
    };
    let rounds = bench.rounds().min(3);
    for round in 0..rounds {
        for count in &counts {
            for server in bench.servers(&SERVERS) {
                // Its origin, in Python, takes a while for so many.
                if server == Server::Pushpin && (round > 0 || *count > 10_000) {
                    continue;
                }
                let got = measure(bench, server, *count);
                bench.unless_a_peer_failed(server, got)?;
            }
        }
    }
    let columns = [
        Column::new("bytes a stream", "memory", 1.0, 0),
        Column::new("open MB", "open", 1e6, 1),
        Column::new("closed MB", "closed", 1e6, 1),
        Column::new("before MB", "before", 1e6, 1),
        Column::new("CPU µs to open", "cpu", 1e-6, 1),
    ];
    for count in counts {
        let case = format!("idle.{count}");
        let row = |who: &str| Row { label: who.into(), case: case.clone(), who: who.into() };
        let rows: Vec<_> = names(&SERVERS).into_iter().map(row).collect();
        bench.report.table(&format!("{count} idle streams"), &rows, &columns);
        bench.report.ratios(&case, &names(&SERVERS), "memory");
    }
    Ok(())
}

fn measure(bench: &mut Bench<'_>, server: Server, count: usize) -> Result<(), String> {
    let failed = failed(server);
    let running = server.start(bench.daemons)?;
    running.make_channels().map_err(&failed)?;
    let request = server.stream(From::Now, Traffic::of(1));
    let readers = server.readers(&request, 0, 1);
    let mut crowd = Crowd::new().map_err(&failed)?;
    crowd.group(readers);
    let before = calm(running.pid).map_err(&failed)?;
    crowd.open(running.port, FIRST, readers, WITHIN).map_err(&failed)?;
    let few = calm(running.pid).map_err(&failed)?;
    let cpu = Cpu::of(running.pid).map_err(&failed)?;
    crowd.open(running.port, count, readers, WITHIN).map_err(&failed)?;
    let open = calm(running.pid).map_err(&failed)?;
    let cpu = cpu.since(running.pid).map_err(&failed)?.sum();
    drop(crowd);
    thread::sleep(TO_CLOSE);
    let closed = calm(running.pid).map_err(&failed)?;
    stop(bench.daemons);
    #[expect(clippy::cast_precision_loss, reason = "a few gigabytes at most")]
    let figures = [
        ("memory", (open as f64 - few as f64) / count as f64),
        ("open", open as f64),
        ("closed", closed as f64),
        ("before", before as f64),
        ("cpu", cpu / count as f64),
    ];
    for (what, figure) in figures {
        bench.report.add(&format!("idle.{count}"), server.name(), what, figure);
    }
    Ok(())
}
