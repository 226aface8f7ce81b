//! sse-server beside other servers: a load generator, what it measures, and the limits that this
//! machine sets.
//!
//! `cargo xtask bench` builds the servers and runs the program of this crate, `sse-bench`.

#![forbid(unsafe_code)]

pub mod engines;
pub mod floor;
pub mod jetstream;
pub mod load;
pub mod measure;
pub mod page;
pub mod plot;
pub mod report;
pub mod servers;
pub mod system;
