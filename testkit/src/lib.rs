//! What the tests of several crates share. It is never published.
//!
//! | module | feature | |
//! |---|---|---|
//! | `oracle` | `decoding` | the standard, written down as code, over the whole stream at once |
//! | `additions` | `decoding` | what this project adds to the standard: limits and comments |
//! | `vectors` | `decoding` | reads `sse-proto/vectors/*.json` |
//! | `decoder` | `decoding` | the decoder under test, in the words of the vectors |
//! | `peers` | `decoding` | other decoders, and each difference from the oracle explained |
//! | `browser` | `browser` | a real browser without a window |
//! | `server` | `server` | a server process on its own port, and a client that shows raw bytes |
//! | `access` | `server` | servers with rules for who may read what, and tokens for them |
//! | `instances` | `server` | several servers in the test's own process |
//! | `traffic` | `server` | publishers and readers, and the record of what they have seen |
//! | `services` | `server` | Redis, PostgreSQL and RabbitMQ, shared or a test's own |
//! | `django` | `server` | a site with django-eventstream of a test's own |
//! | `pushpin` | `server` | a GRIP proxy of a test's own |
//! | `port` | `server` | a port that stays a test's own while nothing listens at it |
//! | `processes` | `server` | other processes, by their numbers |
//! | `wait` | `browser`, `server` | waiting with a deadline |
//! | `daemons` | `daemons` | programs that serve until they are stopped, and leave nothing behind |
//! | `postgres` | `daemons` | PostgreSQL as one of these |
//! | [`programs`] | | where programs of the system are |
//! | [`rabbitmq`] | | what RabbitMQ must be told to keep to itself |
//!
//! May not enter: what only one crate's tests need. The measure stays apart from what is measured:
//! of the modules with the feature `decoding`, only `decoder` may name our decoder.

#![forbid(unsafe_code)]
#![allow(
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "tests fail by a panic, and say why in it"
)]

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "decoding")]
pub mod additions;
#[cfg(feature = "browser")]
pub mod browser;
#[cfg(feature = "daemons")]
pub mod daemons;
#[cfg(feature = "decoding")]
pub mod decoder;
#[cfg(feature = "server")]
pub mod django;
#[cfg(feature = "server")]
pub mod instances;
#[cfg(feature = "decoding")]
pub mod oracle;
#[cfg(feature = "decoding")]
pub mod peers;
#[cfg(feature = "server")]
pub mod port;
#[cfg(feature = "daemons")]
pub mod postgres;
#[cfg(feature = "server")]
pub mod processes;
pub mod programs;
#[cfg(feature = "server")]
pub mod pushpin;
pub mod rabbitmq;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod services;
#[cfg(feature = "server")]
pub mod traffic;
#[cfg(feature = "decoding")]
pub mod vectors;
#[cfg(any(feature = "browser", feature = "server"))]
pub mod wait;
