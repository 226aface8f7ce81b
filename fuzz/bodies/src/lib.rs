//! What each fuzz target does with its bytes.
//!
//! A body takes any bytes, and panics if something is wrong with what they lead to. libFuzzer calls
//! the bodies from `fuzz/targets` (`cargo xtask fuzz`), which needs a nightly compiler;
//! `tests/few.rs` calls them with the seeds and with random bytes, on any compiler, in every run of
//! the tests.
//!
//! The measures are those of the tests of `sse-proto`, from `testkit`: the standard written down as
//! code, and the explanations of what other decoders do differently.
//!
//! May enter: any crate of ours. May not: sockets, services, the clock of the machine where a
//! simulated one will do, for a finding must be found again.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod seeds;
mod targets;

use testkit::{additions, decoder, oracle, peers, vectors};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of its binary and of its folder of seeds.
    pub name: &'static str,
    /// Does something with bytes, and panics if it goes wrong.
    pub run: fn(&[u8]),
    /// How many random inputs are tried in every run of the tests: some targets are slow.
    pub few: usize,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "decoder", run: targets::decoder::run, few: 20_000 },
    Target { name: "peers", run: targets::peers::run, few: 10_000 },
    Target { name: "encoder", run: targets::encoder::run, few: 20_000 },
    Target { name: "cursor", run: targets::cursor::run, few: 20_000 },
    Target { name: "session", run: targets::session::run, few: 20_000 },
    Target { name: "request", run: targets::request::run, few: 2_000 },
    Target { name: "token", run: targets::token::run, few: 2_000 },
    Target { name: "relay", run: targets::relay::run, few: 1_000 },
    Target { name: "storage", run: targets::storage::run, few: 100 },
];

/// Runs the target of this name.
///
/// # Panics
///
/// If there is none, or if it finds something.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("the name of a target").run)(data);
}
