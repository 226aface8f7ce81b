//! Connections: accepted, within limits, by TLS or plain, HTTP/1 or HTTP/2, until they end.
//!
//! May enter: sockets, and how requests and answers are framed. May not: what is asked and
//! answered, which the router knows.

pub(super) mod admission;
pub(super) mod caller;
#[cfg(feature = "server")]
mod connection;
pub(super) mod consumer;
#[cfg(feature = "server")]
pub(super) mod listener;
pub(super) mod long_lived;
pub(super) mod operations;
#[cfg(feature = "server")]
mod proxies;
#[cfg(feature = "server")]
pub(super) mod serve;
#[cfg(all(feature = "server", feature = "simulation"))]
pub(super) mod simulated;
#[cfg(feature = "server")]
mod socket;
#[cfg(feature = "server")]
pub(super) mod tls;

#[cfg(feature = "server")]
pub(super) use connection::{Held, LAST_CHUNK};
