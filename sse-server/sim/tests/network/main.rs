//! The server's own connections and native clients, over a simulated network that loses, holds,
//! delays and throttles what is sent, under servers that are killed and shut down.
//!
//! `SSE_NETWORK_SEEDS=1000` runs more of them, `SSE_NETWORK_FROM=77` begins elsewhere; a seed that
//! fails tells its story.

mod parties;
mod plan;
mod run;
mod wire;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use sse_server_sim::mutants::NETWORK;

use crate::plan::{Plan, What};
use crate::run::{Report, run};

/// How many seeds are run unless more are asked for.
const SEEDS: u64 = 50;

/// In how many seeds a fault must be found.
const WITHIN: u64 = 100;

#[test]
fn every_event_arrives_once_and_in_order_whatever_the_network_does() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = number("SSE_NETWORK_SEEDS").unwrap_or(SEEDS);
    let from = number("SSE_NETWORK_FROM").unwrap_or(1);
    let next = AtomicU64::new(from);
    let all: Mutex<Vec<(u64, Report)>> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            let report = run(seed, None);
            all.lock().unwrap_or_else(PoisonError::into_inner).push((seed, report));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (seed, report) in &all {
        assert_eq!(report.violation, None, "seed {seed}:\n{}", report.lines.join("\n"));
    }
    let sum = |what: fn(&Report) -> u64| all.iter().map(|(_, report)| what(report)).sum::<u64>();
    let (delivered, connections) = (sum(|it| it.delivered), sum(|it| it.connections));
    let seconds = sum(|it| it.simulated) / 1000;
    println!("{seeds} seeds: {delivered} events, {connections} connections, {seconds} s simulated");
    assert!(delivered > 50 * seeds, "{delivered} events were delivered");
    assert!(connections > 3 * seeds, "{connections} connections were made");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    // A server that is killed lets go of its connections in no certain order.
    let kills = |seed: u64| {
        Plan::of(seed).troubles.iter().any(|trouble| matches!(trouble.what, What::Crash(_)))
    };
    for seed in (1..=100).filter(|seed| !kills(*seed)).take(2) {
        let [one, other] = [(); 2].map(|()| run(seed, None).lines);
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(run(1, None).lines, run(2, None).lines);
}

#[test]
fn faults_of_connections_are_found() {
    // Answers and positions that are lost are of the hub: here real requests and clients lose them.
    let of_the_hub = ["key-forgotten", "resume-one-too-far"];
    for mutant in NETWORK.iter().map(|mutant| mutant.name).chain(of_the_hub) {
        let found = (1..=WITHIN).find_map(|seed| Some((seed, run(seed, Some(mutant)).violation?)));
        let (seed, why) = found.unwrap_or_else(|| panic!("{mutant} is not found"));
        println!("{mutant}: seed {seed}, {why}");
        assert_eq!(run(seed, None).violation, None, "it was {mutant}, not seed {seed}");
    }
}
