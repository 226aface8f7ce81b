//! `publish`: how many events a second a server takes and makes durable, from publishers that each
//! wait for the answer to their last event, and in requests of 10,000 events.

use std::time::Duration;

use testkit::daemons::Daemons;

use super::sql::Database;
use super::{Bench, failed, stop};
use crate::floor::{bare_sqlite, synced_writes};
use crate::load::{Published, Request, produce};
use crate::report::{Column, Row};
use crate::servers::{Running, Server, Traffic};
use crate::system::Cpu;

/// How many publishers there are at once.
const CONNECTIONS: [usize; 4] = [1, 8, 64, 256];
/// How many events a batch has.
const BATCH: usize = 10_000;
/// Those that answer once an event is on disk.
const SERVERS: [Server; 3] = [Server::Ours, Server::DurableStreams, Server::Django];

/// Ours with PostgreSQL, alone and where it tells other instances; and the database without it.
const POSTGRES: &str = "postgres";
const RELAYED: &str = "postgres, relay";
const SQL: &str = "sse_publish";
const SQL_MANY: &str = "sse_publish, 64 channels";
/// Rows that one client inserts into a table of the same kind, as many in a transaction as there
/// are publishers.
const PGBENCH: &str = "pgbench";
const SQL_QUIET: &str = "sse_publish, 64 channels, notify off";

/// Runs it.
///
/// # Errors
///
/// If a server does not start, or refuses an event.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("publish");
    let servers = bench.servers(&SERVERS);
    let time = Duration::from_millis(if bench.options.quick { 500 } else { 1_000 });
    for _ in 0..bench.rounds() {
        for server in &servers {
            let all = all_cases(bench.daemons, *server, time);
            for (case, got) in bench.unless_a_peer_failed(*server, all)?.into_iter().flatten() {
                got.keep(bench, &case, server.name());
            }
            stop(bench.daemons);
        }
        on_postgres(bench, time)?;
        floors(bench, time / 4)?;
    }
    let cases = CONNECTIONS.map(|connections| connections.to_string());
    let cases: Vec<_> = cases.into_iter().chain(["batch".to_owned()]).collect();
    let mut rows = Vec::new();
    for case in &cases {
        let (label, case) = match case.as_str() {
            "batch" => (format!("a request of {BATCH}"), "publish.batch".to_owned()),
            "1" => ("1 publisher".to_owned(), "publish.1".to_owned()),
            count => (format!("{count} publishers"), format!("publish.{count}")),
        };
        for who in [
            "ours",
            "durable-streams",
            "django",
            "floor",
            POSTGRES,
            RELAYED,
            PGBENCH,
            SQL,
            SQL_MANY,
            SQL_QUIET,
        ] {
            let who = who.to_owned();
            rows.push(Row { label: format!("{label}, {who}"), case: case.clone(), who });
        }
    }
    let (label, case, who) = ("write and fdatasync", "publish.write", "floor");
    rows.push(Row { label: label.to_owned(), case: case.to_owned(), who: who.to_owned() });
    let columns = [
        Column::new("events/s", "throughput", 1.0, 0),
        Column::new("user µs each", "user", 1e-6, 1),
        Column::new("system µs each", "system", 1e-6, 1),
    ];
    bench.report.table("publishing", &rows, &columns);
    for case in &cases {
        let case = format!("publish.{case}");
        bench.report.ratios(&case, &["durable-streams", "django", "floor"], "throughput");
        for (one, other, name) in [(POSTGRES, PGBENCH, PGBENCH), (SQL, POSTGRES, "http")] {
            let name = format!("{case}.{one}.{name}");
            bench.report.ratio_of(&name, (&case, one), (&case, other), "throughput");
        }
    }
    Ok(())
}

/// The same on PostgreSQL, by HTTP and by SQL, or by what was asked for. Nothing of this server
/// fails if PostgreSQL is not there.
fn on_postgres(bench: &mut Bench<'_>, time: Duration) -> Result<(), String> {
    let asked = &bench.options.servers;
    let is_asked = |who: &str| asked.is_empty() || asked.iter().any(|name| name == who);
    let (http, sql) = (is_asked(POSTGRES), is_asked(SQL));
    if !http && !sql {
        return Ok(());
    }
    let Some(database) = Database::start(bench.daemons)? else {
        if bench.report.remarks_of("PostgreSQL") == 0 {
            bench.report.remark("PostgreSQL is not there, or has no pgbench".to_owned());
        }
        return Ok(());
    };
    // A commit of PostgreSQL takes longer.
    let time = time.max(Duration::from_secs(3));
    let mut publishers = Publishers { running: database.alone, next: 0 };
    let mut relayed = Publishers { running: database.relayed, next: 0 };
    for connections in CONNECTIONS {
        let case = format!("publish.{connections}");
        if http {
            publishers.single(connections, time)?.keep(bench, &case, POSTGRES);
            relayed.single(connections, time)?.keep(bench, &case, RELAYED);
            bench.report.add(&case, PGBENCH, "throughput", database.insert(connections)?);
        }
        let by_sql = [(SQL, 1, true), (SQL_MANY, 64, true), (SQL_QUIET, 64, false)];
        for (who, channels, is_notified) in by_sql.into_iter().filter(|_| sql) {
            let throughput = database.publish(connections, channels, is_notified)?;
            bench.report.add(&case, who, "throughput", throughput);
        }
    }
    if http {
        publishers.batches(2 * time)?.keep(bench, "publish.batch", POSTGRES);
    }
    stop(bench.daemons);
    Ok(())
}

fn all_cases(
    daemons: &Daemons,
    server: Server,
    time: Duration,
) -> Result<Vec<(String, Publishing)>, String> {
    let mut publishers = Publishers::start(server, daemons)?;
    let mut all = Vec::new();
    for connections in CONNECTIONS {
        // It takes one event a request, a few hundred of them a second.
        if server == Server::Django && connections > 8 {
            continue;
        }
        let got = publishers.single(connections, time)?;
        all.push((format!("publish.{connections}"), got));
    }
    if server != Server::Django {
        all.push(("publish.batch".to_owned(), publishers.batches(2 * time)?));
    }
    Ok(all)
}

/// Events a second, and the server's CPU seconds for each.
#[derive(Clone, Copy, Debug)]
struct Publishing {
    throughput: f64,
    user: f64,
    system: f64,
}

impl Publishing {
    fn keep(self, bench: &mut Bench<'_>, case: &str, who: &str) {
        bench.report.add(case, who, "throughput", self.throughput);
        bench.report.add(case, who, "user", self.user);
        bench.report.add(case, who, "system", self.system);
    }
}

/// A server that is published to, and the number of the next event.
#[derive(Debug)]
struct Publishers {
    running: Running,
    next: u32,
}

impl Publishers {
    fn start(server: Server, daemons: &Daemons) -> Result<Self, String> {
        let running = server.start(daemons)?;
        running.make_channels().map_err(failed(server))?;
        Ok(Self { running, next: 0 })
    }

    fn single(&mut self, connections: usize, time: Duration) -> Result<Publishing, String> {
        self.produce(&self.running.server.publish(Traffic::of(1))[0], connections, time)
    }

    fn batches(&mut self, time: Duration) -> Result<Publishing, String> {
        self.produce(&self.running.server.publish(Traffic::of(BATCH))[0], 1, time)
    }

    fn produce(
        &mut self,
        request: &Request,
        connections: usize,
        time: Duration,
    ) -> Result<Publishing, String> {
        let Running { server, port, pid } = self.running;
        let failed = failed(server);
        let mut cpu = Cpu::default();
        let begin = || cpu = Cpu::of(pid).unwrap_or_default();
        let published =
            produce(port, std::slice::from_ref(request), connections, time, &mut self.next, begin);
        let Published { events, seconds } = published.map_err(&failed)?;
        if events == 0 {
            return Err(format!("{}: no answer within {} s", server.name(), time.as_secs_f64()));
        }
        let cpu = cpu.since(pid).map_err(&failed)?;
        #[expect(clippy::cast_precision_loss, reason = "a few millions")]
        let events = events as f64;
        Ok(Publishing {
            throughput: events / seconds,
            user: cpu.user / events,
            system: cpu.system / events,
        })
    }
}

/// What the disk, and SQLite alone, can do. SQLite has as many rows in a transaction as there are
/// publishers, who could not have more events under way; for batches it has the most of these.
fn floors(bench: &mut Bench<'_>, time: Duration) -> Result<(), String> {
    let folder = bench.daemons.folder();
    let writes = synced_writes(folder, time).map_err(|error| error.to_string())?;
    bench.report.add("publish.write", "floor", "throughput", writes);
    for each in CONNECTIONS {
        let rows = u32::try_from(each).map_err(|error| error.to_string())?;
        let throughput = bare_sqlite(folder, rows, time).map_err(|error| error.to_string())?;
        bench.report.add(&format!("publish.{each}"), "floor", "throughput", throughput);
        if each == CONNECTIONS[CONNECTIONS.len() - 1] {
            bench.report.add("publish.batch", "floor", "throughput", throughput);
        }
    }
    Ok(())
}
