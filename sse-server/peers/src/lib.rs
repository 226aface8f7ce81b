//! sse-server beside other servers: a load generator, what it measures, and the limits that this
//! machine sets.
//!
//! `cargo xtask bench` builds the servers and runs the program of this crate, `sse-bench`.

#![forbid(unsafe_code)]

pub mod floor;
pub mod load;
pub mod measure;
pub mod rounds;
pub mod servers;
pub mod system;

use std::env;

pub use servers::program;
pub use system::enough_descriptors;

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
