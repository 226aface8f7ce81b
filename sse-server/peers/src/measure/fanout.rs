//! `fanout`: what it costs to bring an event to many readers, and when the last of them has it.

use std::io;
use std::thread;
use std::time::Duration;

use testkit::daemons::Daemons;

use super::{Bench, failed, hundredth, names, stop};
use crate::load::{Crowd, Plan, publish};
use crate::report::{Column, Row};
use crate::servers::{From, Server, Traffic};
use crate::system::{Cpu, resident};

/// How long a server may take to open streams, or to deliver.
const WITHIN: Duration = Duration::from_secs(30);

pub(super) const SERVERS: [Server; 5] =
    [Server::Ours, Server::DurableStreams, Server::Nchan, Server::Axum, Server::Floor];

/// With Pushpin, whose origin takes a while to open more streams.
const FEW_SERVERS: [Server; 6] = [
    Server::Ours,
    Server::DurableStreams,
    Server::Nchan,
    Server::Pushpin,
    Server::Axum,
    Server::Floor,
];

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) readers: usize,
    /// Of each stream, and of each request.
    pub(super) traffic: Traffic,
    /// How many times.
    pub(super) requests: u32,
    pub(super) every: Duration,
}

impl Setting {
    /// Single events of one channel.
    pub(super) fn single(readers: usize, requests: u32, every: Duration) -> Self {
        Self { readers, traffic: Traffic::of(1), requests, every }
    }
}

/// The same for all: so many readers of one channel, and an event now and then.
const MANY: usize = 10_000;
const FEW: usize = 1_000;
/// How many events are under way at once, where there are several.
const IN_FLIGHT: usize = 64;
const CHANNELS: u32 = 10;

/// Runs it.
///
/// # Errors
///
/// If a server does not start, or a reader misses an event or gets one twice.
pub fn run(bench: &mut Bench<'_>) -> Result<(), String> {
    bench.report.begin("fanout");
    let quick = bench.options.quick;
    let ms = Duration::from_millis;
    let few = Setting::single(FEW, if quick { 20 } else { 100 }, ms(50));
    let many = Setting::single(MANY, if quick { 3 } else { 16 }, ms(500));
    let batches = Setting { traffic: Traffic::of(IN_FLIGHT), requests: 20, every: ms(200), ..few };
    let channels = Traffic { channels: CHANNELS, batch: 1 };
    let cases = [
        ("fanout.1000", few, &FEW_SERVERS[..]),
        ("fanout.10000", many, &SERVERS[..]),
        // nchan takes one event a request, and falls behind by seconds.
        ("fanout.64-in-flight", batches, &SERVERS),
        ("fanout.ten-channels", Setting { traffic: channels, ..few }, &[Server::Ours]),
    ];
    for _ in 0..bench.rounds() {
        for (case, setting, servers) in cases {
            for server in bench.servers(servers) {
                if server == Server::Nchan && setting.traffic.batch > 1 {
                    continue;
                }
                let got = measure(bench.daemons, server, setting);
                if let Some(got) = bench.unless_a_peer_failed(server, got)? {
                    got.keep(bench, case, server.name());
                }
            }
        }
    }
    let columns = [
        Column::new("user µs", "user", 1e-6, 2),
        Column::new("system µs", "system", 1e-6, 2),
        Column::new("p50 ms", "p50", 1e-3, 1),
        Column::new("p99 ms", "p99", 1e-3, 1),
        Column::new("last ms", "latency", 1e-3, 1),
        Column::new("RSS MB", "memory", 1e6, 1),
        Column::new("M/CPU-s", "deliveries", 1e6, 2),
    ];
    let titles = [
        "1,000 readers, an event each 50 ms",
        "10,000 readers, an event each 500 ms",
        "1,000 readers, 64 events each 200 ms",
        "1,000 readers of ten channels",
    ];
    for ((case, _, servers), title) in cases.into_iter().zip(titles) {
        let row = |who: &str| Row { label: who.into(), case: case.into(), who: who.into() };
        let rows: Vec<_> = names(servers).into_iter().map(row).collect();
        bench.report.table(title, &rows, &columns);
    }
    let peers = names(&FEW_SERVERS);
    for (case, what) in [
        ("fanout.1000", "cpu"),
        ("fanout.1000", "latency"),
        ("fanout.10000", "cpu"),
        ("fanout.10000", "latency"),
        ("fanout.64-in-flight", "cpu"),
    ] {
        bench.report.ratios(case, &peers, what);
    }
    let (ten, one) = (("fanout.ten-channels", "ours"), ("fanout.1000", "ours"));
    bench.report.ratio_of("fanout.ten-channels.one-channel.cpu", ten, one, "cpu");
    Ok(())
}

/// Times in seconds, CPU time for each delivery, memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fanout {
    pub(super) cpu: Cpu,
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Until the last receiver has an event, as the median of all events.
    pub(super) last: f64,
    pub(super) memory: f64,
}

impl Fanout {
    pub(super) fn keep(self, bench: &mut Bench<'_>, case: &str, who: &str) {
        let Self { cpu, p50, p99, last, memory } = self;
        for (what, figure) in [
            ("user", cpu.user),
            ("system", cpu.system),
            ("cpu", cpu.sum()),
            ("deliveries", 1.0 / cpu.sum()),
            ("p50", p50),
            ("p99", p99),
            ("latency", last),
            ("memory", memory),
        ] {
            bench.report.add(case, who, what, figure);
        }
    }
}

/// Starts a server, opens streams, publishes, and ends it.
pub(super) fn measure(
    daemons: &Daemons,
    server: Server,
    setting: Setting,
) -> Result<Fanout, String> {
    let Setting { readers: count, traffic, requests, every } = setting;
    let failed = failed(server);
    let running = server.start(daemons)?;
    running.make_channels().map_err(&failed)?;
    let request = server.stream(From::Now, traffic);
    let readers = server.readers(&request, 0, traffic.channels);
    let mut crowd = Crowd::new().map_err(&failed)?;
    let group = crowd.group(readers);
    crowd.open(running.port, count, readers, WITHIN).map_err(&failed)?;
    // Pushpin answers some time before it is ready to deliver.
    crowd.turn_for(Duration::from_millis(300)).map_err(&failed)?;
    let posts = server.publish(traffic);
    let publish_all = |crowd: &mut Crowd, plan: Plan| {
        // All that is under way has arrived, and what comes twice too.
        while crowd.turn(Duration::from_millis(50))? > 0 {}
        let posts = posts.clone();
        let publisher = thread::spawn(move || publish(running.port, posts, plan));
        let due = u64::from(plan.requests) * (traffic.batch * count) as u64;
        let within = WITHIN + plan.every * plan.requests;
        let read = crowd.turn_until(within, |crowd| crowd.deliveries[group].count >= due);
        publisher.join().map_err(|_| io::Error::other("the publisher panicked"))??;
        read?;
        while crowd.turn(Duration::from_millis(50))? > 0 {}
        Ok(())
    };
    // Each channel gets an event, for what is done only once.
    let warm = Plan { first: 0, requests: traffic.channels.max(2), every: Duration::ZERO };
    publish_all(&mut crowd, warm).map_err(&failed)?;
    let first = warm.requests * u32::try_from(traffic.batch).map_err(|error| error.to_string())?;
    crowd.deliveries[group].restart(first);
    let cpu = Cpu::of(running.pid).map_err(&failed)?;
    publish_all(&mut crowd, Plan { first, requests, every }).map_err(&failed)?;
    let cpu = cpu.since(running.pid).map_err(&failed)?;
    let memory = resident(running.pid).map_err(&failed)?;
    let got = &mut crowd.deliveries[group];
    got.sound().map_err(io::Error::other).map_err(&failed)?;
    got.latencies.sort_unstable();
    let mut lasts: Vec<_> = got.events.iter().map(|(last, _)| *last).collect();
    lasts.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "a few gigabytes at most")]
    let fanout = Fanout {
        cpu: cpu.each(got.count as f64),
        p50: hundredth(&got.latencies, 50),
        p99: hundredth(&got.latencies, 99),
        last: hundredth(&lasts, 50),
        memory: memory as f64,
    };
    stop(daemons);
    drop(crowd);
    Ok(fanout)
}
