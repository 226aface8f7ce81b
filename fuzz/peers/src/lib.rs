//! Servers of others beside ours: how each is started on a port of its own, and how to publish to
//! it.
//!
//! `cargo xtask probe` sets up what they need and calls the program of this package, which probes
//! them one after the other. The benches of the server use some of them too.
//!
//! May not enter: dependencies that take long to build, and what installs programs, which is
//! xtask's.

#![forbid(unsafe_code)]

pub mod servers;
