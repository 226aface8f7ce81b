//! Tests anyone's event stream server, from outside, and says what it found and why it matters.
//!
//! A [`Check`] is a value: an id that never changes, the section of the standard that it rests on,
//! what it needs, and what runs. [`run`] puts a server to the checks over connections of its own,
//! whose bytes and times it notes; everything is judged by those notes, and they are the evidence
//! in the [`Report`]. What was not observed is not passed.
//!
//! The idea for resumption: a witness stays connected throughout. A second subscriber is cut and
//! resumed again and again, and whatever the witness got between the first and the last id that
//! both have, the second must have got, too: once, in the same order, and alike.
//!
//! Nothing here may know this project's server or clients.

pub(crate) mod again;
pub(crate) mod ask;
mod check;
mod checks;
mod command;
mod context;
mod expected;
pub(crate) mod finding;
mod lines;
pub(crate) mod outcome;
mod pages;
mod payload;
pub(crate) mod publish;
pub(crate) mod report;
mod run;
pub(crate) mod secrets;
mod settings;

pub use crate::verdict::{Summary, Verdict};
pub use crate::wire::target::{Target, TargetError};
pub use crate::wire::tls::{Trust, TrustError};
pub use check::{Check, Needs, Severity};
pub use checks::{checks, table};
pub use command::Command;
pub use finding::Exchange;
pub use outcome::Outcome;
pub use pages::{Page, pages};
pub use publish::{Hook, HookError};
pub use report::Report;
pub use run::{RunError, run};
pub use settings::{Profile, Settings};
