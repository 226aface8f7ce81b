//! sse-server beside other servers: what its benches share. `cargo xtask bench` builds the servers,
//! and runs the benches.

#![forbid(unsafe_code)]

use std::env;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many streams as there are ports for the other end, and some to spare.
pub const MOST: usize = 25_000;

/// Descriptors for other things than streams.
pub const OTHER_DESCRIPTORS: usize = 100;

/// How many streams are measured: the argument, or 10,000.
///
/// # Errors
///
/// If it is no such number, or not alone.
pub fn count() -> Result<usize, String> {
    // cargo says that it runs a bench.
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match &args[..] {
        [] => Ok(10_000),
        [count] => match count.parse() {
            Ok(count @ 1..=MOST) => Ok(count),
            _ => Err(format!("{count:?} is not a number of streams up to {MOST}")),
        },
        [_, stray, ..] => Err(format!("a number is all it takes, not {stray:?} too")),
    }
}

/// A program in cargo's folder for releases, above which this one lies.
///
/// # Panics
///
/// If this program does not know where it is.
pub fn program(name: &str) -> PathBuf {
    let this = env::current_exe().expect("a program knows where it is");
    let release = this.parent().and_then(|deps| deps.parent());
    release.expect("target/release/deps/bench").join(name)
}

/// Has as many descriptors as are needed, for this process and for what it starts.
///
/// # Errors
///
/// If the system does not let us have as many.
pub fn enough_descriptors(count: usize) -> Result<(), String> {
    let count = u64::try_from(count).map_err(|error| error.to_string())?;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let more = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, more).map_err(|error| {
        format!("{count} open files are needed, and this system does not allow as many: {error}")
    })
}
