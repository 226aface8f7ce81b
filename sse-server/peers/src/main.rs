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
//! `durable-streams-server` than `target/durable-streams/bin/durable-streams-server`. Servers are
//! named as in the tables: ours, durable-streams, nchan, axum, floor.

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use sse_server_peers::floor;
use sse_server_peers::measure::fanout::{self, Setting};
use sse_server_peers::measure::publish::{self, CONNECTIONS, Publishers};
use sse_server_peers::measure::replay;
use sse_server_peers::rounds::Rounds;
use sse_server_peers::servers::Server;
use sse_server_peers::system::enough_descriptors;
use testkit::daemons::Daemons;

/// What the arguments say.
struct Options {
    quick: bool,
    servers: Vec<String>,
}

impl Options {
    /// Those of these servers that are to be measured.
    fn of(&self, servers: &[Server]) -> Vec<Server> {
        let asked = |server: &&Server| {
            self.servers.is_empty() || self.servers.iter().any(|name| name == server.name())
        };
        servers.iter().filter(asked).copied().collect()
    }

    fn rounds(&self) -> u32 {
        if self.quick { 1 } else { 5 }
    }
}

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
    let mut args = env::args().skip(1);
    let command = args.next().ok_or("say what to measure: publish, fanout, replay")?;
    let mut options = Options { quick: false, servers: Vec::new() };
    if command == "floor" {
        let port = args.next().and_then(|port| port.parse().ok()).ok_or("floor needs a port")?;
        return floor::serve(port).map_err(|error| error.to_string());
    }
    for arg in args {
        match arg.as_str() {
            "--quick" => options.quick = true,
            _ => options.servers.push(arg),
        }
    }
    // Each server has as many connections as we do.
    enough_descriptors(19_900)?;
    let daemons = Daemons::new("sse-bench").map_err(|error| error.to_string())?;
    match command.as_str() {
        "publish" => publish_all(&daemons, &options),
        "fanout" => fanout_all(&daemons, &options),
        "replay" => replay_all(&daemons, &options),
        _ => Err(format!("there is no bench {command:?}: publish, fanout, replay")),
    }
}

fn publish_all(daemons: &Daemons, options: &Options) -> Result<(), String> {
    let servers = options.of(&[Server::Ours, Server::DurableStreams]);
    let time = Duration::from_millis(if options.quick { 700 } else { 1_000 });
    let mut rounds = Rounds::default();
    for _ in 0..options.rounds() {
        for server in &servers {
            let name = server.name();
            let mut publishers = Publishers::start(*server, daemons)?;
            for connections in CONNECTIONS {
                let got = publishers.single(connections, time)?;
                let key = format!("{name} {connections}");
                println!(
                    "{key:32}{:>12.0}/s {:6.1} + {:.1} us",
                    got.a_second, got.user, got.system
                );
                rounds.add(&key, got.a_second);
            }
            let got = publishers.batches(2 * time)?;
            let key = format!("{name} batch");
            println!("{key:32}{:>12.0}/s {:6.2} + {:.2} us", got.a_second, got.user, got.system);
            rounds.add(&key, got.a_second);
            daemons.stop();
        }
        for (name, floor) in publish::floors(daemons, time / 4)? {
            println!("{name:32}{floor:>12.0}/s");
            rounds.add(&name, floor);
        }
    }
    for case in ["1", "8", "64", "256", "batch"] {
        let ours = rounds.median(&format!("ours {case}"));
        let peers = [
            ("durable-streams", format!("durable-streams {case}")),
            ("floor", format!("SQLite, {} a commit", if case == "batch" { "256" } else { case })),
        ];
        for (peer, key) in peers {
            if let (Some(ours), Some(theirs)) = (ours, rounds.median(&key)) {
                println!("ratio publish.{case}.{peer}.throughput {:.2}", ours / theirs);
            }
        }
    }
    Ok(())
}

fn fanout_all(daemons: &Daemons, options: &Options) -> Result<(), String> {
    let all = [Server::Ours, Server::DurableStreams, Server::Nchan, Server::Axum, Server::Floor];
    let servers = options.of(&all);
    let mut rounds = Rounds::default();
    let ms = Duration::from_millis;
    let settings = [
        (1_000, 1, 1, 40, ms(50)),
        (10_000, 1, 1, 8, ms(500)),
        (1_000, 1, 64, 10, ms(300)),
        (1_000, 10, 1, 40, ms(50)),
    ];
    for _ in 0..options.rounds() {
        for (readers, channels, batch, requests, every) in settings {
            for server in &servers {
                // nchan takes one event a request, and falls behind by seconds.
                let fits = (channels == 1 || *server == Server::Ours)
                    && (batch == 1 || *server != Server::Nchan);
                if !fits {
                    continue;
                }
                let setting = Setting { readers, channels, batch, requests, every };
                let got = fanout::measure(daemons, *server, setting)?;
                let key = format!("{} {readers} {channels} {batch}", server.name());
                println!(
                    "{key:28}{:6.2} + {:5.2} us  p50 {:7.2} p99 {:7.2} last {:7.2} ms  {:6.1} MB  {:.2} M/s",
                    got.user,
                    got.system,
                    got.p50,
                    got.p99,
                    got.last,
                    got.memory / 1e6,
                    got.a_cpu_second / 1e6
                );
                rounds.add(&format!("{key} cpu"), got.user + got.system);
                rounds.add(&format!("{key} latency"), got.last);
            }
        }
    }
    for (readers, what) in [(1_000, "cpu"), (10_000, "cpu"), (10_000, "latency")] {
        let ours = rounds.median(&format!("ours {readers} 1 1 {what}"));
        for peer in &all[1..] {
            let theirs = rounds.median(&format!("{} {readers} 1 1 {what}", peer.name()));
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                println!("ratio fanout.{readers}.{}.{what} {:.2}", peer.name(), ours / theirs);
            }
        }
    }
    Ok(())
}

fn replay_all(daemons: &Daemons, options: &Options) -> Result<(), String> {
    const THOUSANDS: u32 = 200;
    let servers = options.of(&[Server::Ours, Server::DurableStreams]);
    let mut rounds = Rounds::default();
    for _ in 0..options.rounds() {
        for server in &servers {
            let running = replay::filled(daemons, *server, THOUSANDS)?;
            for _ in 0..3 {
                let got = replay::one(running, u64::from(THOUSANDS) * 1_000)?;
                println!(
                    "{:20}{:>12.0} events/s {:8.1} MB/s  {:.2} + {:.2} us",
                    server.name(),
                    got.events,
                    got.bytes / 1e6,
                    got.user,
                    got.system
                );
                rounds.add(&format!("{} bytes", server.name()), got.bytes);
            }
            daemons.stop();
        }
    }
    for server in &servers {
        let with = replay::crowded(daemons, *server, (1_000, 100, 100), 0.0)?;
        let without = replay::crowded(daemons, *server, (1_000, 0, 100), 4.0)?;
        println!(
            "{:20}live p50 {:.1} p99 {:.1} ms while 100 replay ({:.1} s), {:.1} and {:.1} ms without",
            server.name(),
            with.p50,
            with.p99,
            with.seconds,
            without.p50,
            without.p99
        );
    }
    let (ours, theirs) = (rounds.median("ours bytes"), rounds.median("durable-streams bytes"));
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        println!("ratio replay.1.durable-streams.throughput {:.2}", ours / theirs);
    }
    Ok(())
}
