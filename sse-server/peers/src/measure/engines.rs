//! `engines`: how many events a second become durable in each storage, from publishers of one
//! instance and of several; and how many JetStream would take from a storage that does no more
//! than it must.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Bench, stop};
use crate::engines::Engine;
use crate::floor::synced_writes;
use crate::jetstream::{Nats, Stored};
use crate::load::{Published, Request, produce};
use crate::report::{Column, Row};
use crate::servers::{Server, Traffic, instances};

/// How many publishers an instance has.
const PUBLISHERS: [usize; 4] = [1, 8, 64, 256];
/// How many instances publish to one channel.
const INSTANCES: [usize; 4] = [1, 2, 4, 8];
/// How many events a batch has.
const BATCH: usize = 10_000;
/// How many channels are published to side by side, each by its own publisher.
const CHANNELS: u32 = 64;

/// How many channels a batch has, where servers are killed, and how many commit batches.
const TOGETHER: usize = 3;
const WRITERS: usize = 4;

const THROUGHPUT: &str = "throughput";

/// Runs it.
///
/// # Errors
///
/// If an engine or a server does not start, or refuses an event.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("engines");
    let time = Duration::from_millis(if bench.options.quick { 1_000 } else { 3_000 });
    let asked = &bench.options.servers;
    let is_asked =
        |engine: &Engine| asked.is_empty() || asked.iter().any(|name| name == engine.name());
    let engines: Vec<_> = Engine::ALL.into_iter().filter(is_asked).collect();
    for _ in 0..bench.rounds() {
        for engine in &engines {
            let syncs = synced_writes(bench.daemons.folder(), time / 6);
            let syncs = syncs.map_err(|error| error.to_string())?;
            bench.report.add("syncs", engine.name(), THROUGHPUT, syncs);
            match engine {
                Engine::JetStream(servers) => {
                    let measured = bare_log(bench, *engine, *servers, time);
                    let measured = measured.and_then(|()| killed(bench, *engine, *servers));
                    // What a peer cannot do leaves holes in the tables.
                    if let Err(why) = measured {
                        stop(bench.daemons);
                        bench.report.remark(why);
                    }
                }
                _ => one_instance(bench, *engine, time)?,
            }
            // A file is for one machine, and one process at a time writes it.
            if matches!(engine, Engine::Postgres | Engine::Redis | Engine::RedisEverysec) {
                several_instances(bench, *engine, time)?;
            }
        }
    }
    let mut cases = vec![("syncs".to_owned(), "write and fdatasync alone".to_owned())];
    for count in PUBLISHERS {
        let label =
            if count == 1 { "1 publisher".to_owned() } else { format!("{count} publishers") };
        cases.push((format!("one.{count}"), label));
    }
    cases.push(("batch".to_owned(), format!("a request of {BATCH}")));
    cases.push(("channels".to_owned(), format!("{CHANNELS} publishers, a channel each")));
    cases.push(("key.1".to_owned(), "1 publisher, each event with a key".to_owned()));
    for count in INSTANCES {
        let instances = if count == 1 { "instance" } else { "instances" };
        let label = format!("{count} {instances}, a publisher each, one channel");
        cases.push((format!("instances.{count}"), label));
    }
    let (mut rows, mut ratios) = (Vec::new(), Vec::new());
    for (case, label) in cases {
        for engine in &engines {
            let who = engine.name().to_owned();
            rows.push(Row { label: format!("{label}, {who}"), case: case.clone(), who });
        }
    }
    bench.report.table("engine", &rows, &[Column::new("events/s", THROUGHPUT, 1.0, 0)]);
    // Of this server on PostgreSQL to what has none of it.
    for case in ["one.1", "channels", "key.1", "instances.1", "instances.8"] {
        let median = |engine: Engine| bench.report.median(case, engine.name(), THROUGHPUT);
        for log in [Engine::JetStream(1), Engine::JetStream(3)] {
            if let (Some(ours), Some(theirs)) = (median(Engine::Postgres), median(log)) {
                let name = format!("engines.{case}.{}.{THROUGHPUT}", log.name());
                ratios.push((name, ours / theirs));
            }
        }
    }
    for (name, ratio) in ratios {
        bench.report.ratio(&name, ratio);
    }
    let row = |engine: &Engine| Row {
        label: engine.name().to_owned(),
        case: "killed".to_owned(),
        who: engine.name().to_owned(),
    };
    let rows: Vec<_> = engines.iter().map(row).collect();
    let columns = ["kills", "answered", "lost", "in part"];
    let columns = columns.map(|title| Column::new(title, title, 1.0, 0));
    bench.report.table("killed while it commits batches", &rows, &columns);
    Ok(())
}

fn one_instance(bench: &mut Bench<'_>, engine: Engine, time: Duration) -> Result<(), String> {
    let storage = engine.start(bench.daemons)?;
    let port = instances(bench.daemons, &storage, 1)?[0];
    let mut next = 0;
    let one = Server::Ours.publish(Traffic::of(1));
    let batch = Server::Ours.publish(Traffic::of(BATCH));
    let each = Server::Ours.publish(Traffic { channels: CHANNELS, batch: 1 });
    let keyed = [one[0].clone().with_key()];
    let mut cases: Vec<(String, &[Request], usize)> = Vec::new();
    for count in PUBLISHERS {
        cases.push((format!("one.{count}"), &one, count));
    }
    cases.push(("batch".to_owned(), &batch, 1));
    cases.push(("channels".to_owned(), &each, each.len()));
    cases.push(("key.1".to_owned(), &keyed, 1));
    for (case, requests, connections) in cases {
        let published = produce(port, requests, connections, time, &mut next, || ());
        bench.keep(engine, &case, published)?;
    }
    stop(bench.daemons);
    Ok(())
}

/// Publishers of several instances that all want the next id of one channel.
fn several_instances(bench: &mut Bench<'_>, engine: Engine, time: Duration) -> Result<(), String> {
    let storage = engine.start(bench.daemons)?;
    let ports = instances(bench.daemons, &storage, INSTANCES[INSTANCES.len() - 1])?;
    let requests = Server::Ours.publish(Traffic::of(1));
    for count in INSTANCES {
        let all: io::Result<Vec<Published>> = thread::scope(|scope| {
            let publish = |port: u16| {
                let requests = &requests;
                scope.spawn(move || produce(port, requests, 1, time, &mut 0, || ()))
            };
            let threads: Vec<_> = ports[..count].iter().map(|port| publish(*port)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        let all = all.map_err(|error| format!("{}: {error}", engine.name()))?;
        #[expect(clippy::cast_precision_loss, reason = "a few millions")]
        let throughput = all.iter().map(|one| one.events as f64 / one.seconds).sum();
        bench.report.add(&format!("instances.{count}"), engine.name(), THROUGHPUT, throughput);
    }
    stop(bench.daemons);
    Ok(())
}

/// The same without a server of ours: what stands in for it asks for nothing that could be spared.
fn bare_log(
    bench: &mut Bench<'_>,
    engine: Engine,
    servers: usize,
    time: Duration,
) -> Result<(), String> {
    let port = engine.start(bench.daemons)?.parse().expect("a port");
    let failed = |error: io::Error| format!("{}: {error}", engine.name());
    Nats::create_stream(port, servers).map_err(failed)?;
    // One publisher, and one of many channels, know what is last: nobody else writes to theirs.
    for (case, writers) in [("one.1", 1), ("channels", CHANNELS as usize)] {
        let throughput = closed_loops(port, writers, time, |nats, writer, last| {
            nats.append(&format!("{case}-{writer}"), last)
        });
        bench.report.add(case, engine.name(), THROUGHPUT, throughput.map_err(failed)?);
    }
    let throughput = closed_loops(port, 1, time, |nats, _, last| nats.append_once("keyed", last));
    bench.report.add("key.1", engine.name(), THROUGHPUT, throughput.map_err(failed)?);
    // Those that write to one channel learn what is last when another one was faster.
    for count in INSTANCES {
        let throughput =
            closed_loops(port, count, time, |nats, _, last| nats.append("shared", last));
        let case = format!("instances.{count}");
        bench.report.add(&case, engine.name(), THROUGHPUT, throughput.map_err(failed)?);
    }
    stop(bench.daemons);
    Ok(())
}

/// Kills all servers while batches are committed, and looks what is there when they run again: all
/// that was answered, and of each batch all or nothing.
fn killed(bench: &mut Bench<'_>, engine: Engine, servers: usize) -> Result<(), String> {
    let kills = if bench.options.quick { 5 } else { 25 };
    let failed = |error: io::Error| format!("{}: {error}", engine.name());
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let (mut answered, mut next) = (Vec::new(), 1);
    for kill in 0..=kills {
        let port = engine.start(bench.daemons)?.parse().expect("a port");
        Nats::create_stream(port, servers).map_err(failed)?;
        let mut nats = Nats::connect(port).map_err(failed)?;
        while let Some(batch) = nats.beginning_at(next).map_err(failed)? {
            *found.entry(batch).or_default() += 1;
            next += 1;
        }
        if kill == kills {
            break;
        }
        let count = AtomicUsize::new(0);
        let write = || {
            let mut own = Vec::new();
            // Until the server is gone.
            let Ok(mut nats) = Nats::connect(port) else { return own };
            while let Ok(batch) = nats.append_to_each(TOGETHER) {
                own.push(batch);
                count.fetch_add(1, Ordering::Relaxed);
            }
            own
        };
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
            while count.load(Ordering::Relaxed) < WRITERS + kill
                && writers.iter().any(|writer| !writer.is_finished())
            {
                thread::yield_now();
            }
            bench.daemons.stop();
            let own = writers.into_iter().map(|one| one.join().expect("it does not panic"));
            answered.extend(own.flatten());
        });
    }
    stop(bench.daemons);
    let lost = answered.iter().filter(|batch| !found.contains_key(*batch)).count();
    let in_part = found.values().filter(|count| **count != TOGETHER).count();
    if lost + in_part > 0 {
        // A median would hide it.
        return Err(format!(
            "{}: {lost} batches are lost, {in_part} are there in part",
            engine.name()
        ));
    }
    for (what, figure) in
        [("kills", kills), ("answered", answered.len()), ("lost", lost), ("in part", in_part)]
    {
        #[expect(clippy::cast_precision_loss, reason = "a few thousands")]
        bench.report.add("killed", engine.name(), what, figure as f64);
    }
    Ok(())
}

/// How many events a second so many writers store, each of whom begins with the next when the last
/// is stored, and knows the last message of its channel that it was told of. As with publishers,
/// the first fifth of the time does not count.
fn closed_loops(
    port: u16,
    writers: usize,
    time: Duration,
    write: impl Fn(&mut Nats, usize, u64) -> io::Result<Stored> + Sync,
) -> io::Result<f64> {
    let (warm, end) = (Instant::now() + time / 5, Instant::now() + time);
    let write = &write;
    let counts: io::Result<Vec<u32>> = thread::scope(|scope| {
        let start = |writer| {
            scope.spawn(move || {
                let (mut nats, mut last, mut count) = (Nats::connect(port)?, 0, 0);
                while Instant::now() < end {
                    let stored = write(&mut nats, writer, last)?;
                    if let Stored::At(number) | Stored::After(Some(number)) = stored {
                        last = number;
                    }
                    let now = Instant::now();
                    count += u32::from(matches!(stored, Stored::At(_)) && now >= warm && now < end);
                }
                Ok(count)
            })
        };
        let threads: Vec<_> = (0..writers).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    Ok(f64::from(counts?.iter().sum::<u32>()) / (end - warm).as_secs_f64())
}

impl Bench<'_> {
    fn keep(
        &mut self,
        engine: Engine,
        case: &str,
        published: io::Result<Published>,
    ) -> Result<(), String> {
        let Published { events, seconds } =
            published.map_err(|error| format!("{}: {error}", engine.name()))?;
        #[expect(clippy::cast_precision_loss, reason = "a few millions")]
        self.report.add(case, engine.name(), THROUGHPUT, events as f64 / seconds);
        Ok(())
    }
}
