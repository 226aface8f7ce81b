//! Sends a server odd requests, and sees whether it bears them.
//!
//! A [`Case`] is a request that departs from the plain one for the stream in a few ways; cases are
//! drawn from a seed (`generate`). After each one the server has to answer the plain request still,
//! and a witness, a reader that does nothing wrong, has to get what it gets (`subject`). What goes
//! wrong is played again, made as small as it can be (`shrink`), put into a bucket, and written to
//! a file that [`Replay`] plays ([`Reproducer`]).
//!
//! Nothing here may know this project's server or clients.

mod case;
mod command;
mod generate;
mod replay;
mod reproducer;
mod run;
mod shrink;
mod subject;

pub use case::{Case, Raw};
pub use command::Command;
pub use replay::Replay;
pub use reproducer::Reproducer;
pub use run::{Finding, Report, Settings, run};
pub use subject::Kind;
