//! `sse-bench`: this server beside others, and beside what the machine allows.
//!
//! `cargo xtask bench publish` and so on build everything and run it. By hand:
//!
//! ```sh
//! cargo build --release -p sse-server-peers -p ssekit-server
//! cargo build --release -p ssekit-fuzz --example axum_sse
//! cargo install durable-streams --version 0.1.5 --root target/durable-streams
//! target/release/sse-bench publish                  # all servers, five rounds
//! target/release/sse-bench fanout --quick ours      # one round, of this server alone
//! SSE_BENCH_SERVER=/some/where/sse-server target/release/sse-bench replay ours
//! ```
//!
//! `SSE_BENCH_SERVER` names another build of this server, `SSE_BENCH_DURABLE_STREAMS` another
//! `durable-streams-server` than `target/durable-streams/bin/durable-streams-server`, and
//! `SSE_TEST_DJANGO` a Python with django-eventstream and daphne. Servers have their names in the
//! tables: ours, durable-streams, nchan, pushpin, axum, view, embedded, django, postgres,
//! `sse_publish`, floor.
//! `--rounds N` takes another number of rounds than five. `--minutes N` is how long `soak` takes.
//! A number alone is one of streams, for connect, storm, idle and soak.
//!
//! `engines` needs `initdb` and `postgres` in the folder `SSE_TEST_POSTGRES_BIN`, the program
//! `SSE_TEST_REDIS_SERVER`, and `SSE_BENCH_NATS_SERVER`, a nats-server of 2.12 or later.

#![forbid(unsafe_code)]

use std::env;
use std::path::Path;
use std::process::ExitCode;

use sse_server_peers::floor;
use sse_server_peers::measure::{
    Bench, Options, connect, engines, fanout, idle, plots, publish, replay, soak,
};
use sse_server_peers::page;
use sse_server_peers::report::Report;
use sse_server_peers::system::enough_descriptors;
use testkit::daemons::Daemons;

/// A bench, without what all of them share.
type Run = fn(&mut Bench<'_>) -> Result<(), String>;

/// In the order of the page.
const BENCHES: [(&str, Run); 6] = [
    ("publish", publish::run),
    ("fanout", fanout::run),
    ("replay", replay::run),
    ("connect", connect::run),
    ("storm", connect::storm),
    ("idle", idle::run),
];

/// Those that are not on it.
const OTHERS: [(&str, Run); 2] = [("engines", engines::run), ("soak", soak::run)];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("sse-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let benches = || BENCHES.iter().chain(&OTHERS);
    let names = || benches().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let mut args = env::args().skip(1);
    let command = args.next().ok_or_else(|| format!("say what to measure: {}, all", names()))?;
    if command == "floor" {
        let port = args.next().and_then(|port| port.parse().ok()).ok_or("floor needs a port")?;
        return floor::serve(port).map_err(|error| error.to_string());
    }
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--rounds" => {
                let rounds = args.next().and_then(|rounds| rounds.parse().ok());
                options.rounds =
                    Some(rounds.filter(|rounds| *rounds > 0).ok_or("how many rounds?")?);
            }
            "--minutes" => {
                let minutes = args.next().and_then(|minutes| minutes.parse().ok());
                options.minutes =
                    Some(minutes.filter(|minutes| *minutes > 0).ok_or("how many minutes?")?);
            }
            flag if flag.starts_with('-') => return Err(format!("there is no {flag}")),
            _ => match arg.parse() {
                Ok(streams @ 1..=19_000) => options.streams = Some(streams),
                Ok(_) => return Err(format!("{arg} is not a number of streams up to 19000")),
                Err(_) => options.servers.push(arg),
            },
        }
    }
    // Each server has as many connections as we do.
    enough_descriptors(19_900)?;
    let daemons = Daemons::new("sse-bench").map_err(|error| error.to_string())?;
    let mut report = Report::default();
    let mut bench = Bench { daemons: &daemons, options: &options, report: &mut report };
    if let Some((_, run)) = benches().find(|(name, _)| *name == command) {
        return run(&mut bench);
    }
    if command != "all" && command != "plots" {
        return Err(format!("there is no bench {command:?}: {}, plots, all", names()));
    }
    // One that fails must not take the others' quarter of an hour with it.
    let mut failures = Vec::new();
    for (name, run) in BENCHES.into_iter().filter(|_| command == "all") {
        if let Err(why) = run(&mut bench) {
            bench.report.remark(why.clone());
            failures.push(format!("{name}: {why}"));
            bench.clear();
        }
    }
    let pictures = plots::run(&mut bench)?;
    // Less than all of it is to be looked at, not to be shown.
    let folder = if options.quick || command == "plots" { "target/performance" } else { "docs" };
    page::write(Path::new(folder), &report, options.rounds(), &pictures)?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
