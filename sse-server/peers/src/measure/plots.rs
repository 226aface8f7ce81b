//! `plots`: CPU time, memory and latency against the number of readers, events per second, and
//! channels of a connection. One round: they show shapes.

use std::time::Duration;

use super::fanout::{SERVERS, Setting, measure};
use super::{Bench, names};
use crate::plot::{Panel, Picture, Series};
use crate::report::Report;
use crate::servers::{Server, Traffic};

/// Readers; so many events; the milliseconds between two. The less an event costs, the more of them
/// are needed to see it in the server's CPU time.
const READERS: [(usize, u32, u64); 7] = [
    (1, 800, 2),
    (10, 400, 4),
    (100, 100, 20),
    (1_000, 30, 60),
    (5_000, 8, 250),
    (10_000, 6, 500),
    (19_000, 4, 1_000),
];

/// Events a second.
const RATES: [u32; 4] = [10, 100, 500, 1_000];
/// How many readers get them.
const RATE_READERS: usize = 100;

/// Channels of a connection, of which there are a thousand.
const CHANNELS: [u32; 3] = [1, 10, 100];
const CHANNEL_READERS: usize = 1_000;

/// What is shown of each.
const PANELS: [(&str, &str, f64); 3] = [
    ("CPU time of a delivery, µs", "cpu", 1e-6),
    ("resident memory, MB", "memory", 1e6),
    ("last receiver, ms", "latency", 1e-3),
];

/// Measures all, and returns the pictures by name.
///
/// # Errors
///
/// If a server does not start, or a reader misses an event or gets one twice.
pub fn run(bench: &mut Bench<'_>) -> Result<Vec<(&'static str, String)>, String> {
    bench.report.begin("plots");
    let servers = bench.servers(&SERVERS);
    let quick = bench.options.quick;
    let readers = &READERS[if quick { 3..5 } else { 0..READERS.len() }];
    let rates = &RATES[..if quick { 2 } else { RATES.len() }];
    let mut settings = Vec::new();
    for (count, events, every) in readers {
        let setting = Setting::single(*count, *events, Duration::from_millis(*every));
        settings.push((format!("readers.{count}"), setting, &servers[..]));
    }
    for rate in rates {
        let setting = Setting::single(RATE_READERS, 2 * rate, Duration::from_secs(1) / *rate);
        settings.push((format!("rate.{rate}"), setting, &servers));
    }
    let ours = bench.servers(&[Server::Ours]);
    for channels in CHANNELS {
        let traffic = Traffic { channels, batch: 1 };
        let setting = Setting::single(CHANNEL_READERS, 30, Duration::from_millis(60));
        settings.push((format!("channels.{channels}"), Setting { traffic, ..setting }, &ours));
    }
    for (case, setting, servers) in settings {
        for server in servers {
            eprintln!("plots: {case}, {}", server.name());
            let got = measure(bench.daemons, *server, setting);
            if let Some(got) = bench.unless_a_peer_failed(*server, got)? {
                got.keep(bench, &case, server.name());
            }
        }
    }
    let readers: Vec<_> = readers.iter().map(|(count, ..)| *count).collect();
    let rates: Vec<_> = rates.iter().map(|rate| *rate as usize).collect();
    let report = &*bench.report;
    [
        ("readers", "readers", readers, &SERVERS[..]),
        ("rates", "events a second, 100 readers", rates, &SERVERS),
        ("channels", "channels of each of 1,000 connections", vec![1, 10, 100], &SERVERS[..1]),
    ]
    .into_iter()
    .map(|(name, along, values, servers)| {
        let case = if name == "rates" { "rate" } else { name };
        Ok((name, picture(report, case, along, &values, &names(servers)).draw()?))
    })
    .collect()
}

fn picture(
    report: &Report,
    case: &str,
    along: &str,
    values: &[usize],
    names: &[&'static str],
) -> Picture {
    let panels = PANELS.map(|(title, what, unit)| {
        let series = names.iter().map(|name| {
            let point = |value: &usize| {
                let figure = report.median(&format!("{case}.{value}"), name, what)?;
                #[expect(clippy::cast_precision_loss, reason = "19,000 at most")]
                Some((*value as f64, figure / unit))
            };
            Series { name, points: values.iter().filter_map(point).collect() }
        });
        let falls = what == "cpu" && case != "channels";
        Panel { title, falls, series: series.filter(|series| !series.points.is_empty()).collect() }
    });
    Picture { along: along.to_owned(), panels: panels.into() }
}
