//! Connections: accepted, within limits, by TLS or plain, HTTP/1 or HTTP/2, until they end.
//!
//! May enter: sockets, and how requests and answers are framed. May not: what is asked and
//! answered, which the router knows.

pub(super) mod admission;
pub(super) mod caller;
mod connection;
pub(super) mod consumer;
pub(super) mod listener;
pub(super) mod long_lived;
pub(super) mod operations;
mod proxies;
pub(super) mod serve;
mod socket;
pub(super) mod tls;

pub(super) use connection::{Held, LAST_CHUNK};
