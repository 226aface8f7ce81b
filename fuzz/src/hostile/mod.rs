//! A server that misbehaves on purpose, and the judge of the clients that have met it.
//!
//! A [`Case`] is one misbehaviour: what the server does on each request, and what a correct client
//! does then. [`Server`] plays the cases and records the requests; [`judge`] compares the record,
//! and what the client has printed, with the case. [`Command`] is `sse-fuzz hostile`, which does
//! all of it for a client in any language.
//!
//! A test in Rust can use the server alone:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! use sse_fuzz::hostile::Server;
//!
//! let server = Server::start().await?;
//! let url = server.url("cut.mid-event", "my-test");
//! // … let a client read `url`, then look at what it has asked for:
//! assert!(server.requests("cut.mid-event", "my-test").is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here may know the client crates: their tests use this.

mod answer;
mod basis;
mod blame;
mod case;
mod catalogue;
mod certificate;
mod check;
mod command;
mod dialect;
mod doubles;
mod flood;
mod group;
mod http1;
mod http2;
mod judge;
mod play;
mod record;
mod report;
mod request;
mod serve;
#[cfg(test)]
mod simulation;

pub use crate::verdict::Verdict;
pub use case::{Case, Expected};
pub use catalogue::{cases, table};
pub use command::Command;
pub use dialect::{Dialect, dialects};
pub use doubles::{Double, TROUBLES};
pub use judge::{Judgement, Memory, Observation, Printed, judge};
pub use request::Request;
pub use serve::Server;
