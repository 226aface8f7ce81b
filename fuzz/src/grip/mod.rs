//! Tests anyone's origin behind a GRIP proxy, from where the proxy stands: what it answers to
//! signed requests and to forged ones, whether its holds can be kept, and whether what a connection
//! has missed comes by the next link: all of it, once, in order.
//!
//! A [`Check`] is a value, as in [`probe`](crate::probe), with which this room shares findings and
//! reports. No proxy is needed: the [`Signer`] has its key.
//!
//! Nothing here may know this project's server.

mod answer;
mod check;
mod checks;
mod command;
mod hold;
mod origin;
mod run;
mod settings;
mod signer;

pub use check::{Check, Needs};
pub use checks::{checks, table};
pub use command::Command;
pub use run::{RunError, run};
pub use settings::Settings;
pub use signer::{KeyError, Signer};
