//! `ssecat`: prints an event stream, and goes on with it when the connection is lost.
//!
//! - `args` is what the command line says.
//! - `id_file` keeps the last event ID between runs.
//! - `output` writes events, for people and for programs; `pretty` lays out their JSON.
//! - `tail` reads the stream to its end, and says what that was.
//! - `said` is the library's: what a server says, as far as a notice quotes it.
//! - `signals` notices Ctrl-C.

#![forbid(unsafe_code)]

mod args;
mod id_file;
#[cfg(feature = "manual")]
mod manual;
mod output;
mod pretty;
#[path = "../../said.rs"]
mod said;
mod signals;
mod tail;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::output::Messages;
use crate::tail::{End, Tail};

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(code) = manual::write(<Args as clap::CommandFactory>::command()) {
        return code;
    }
    let args = Args::parse();
    let messages = Messages::new(args.verbosity());
    let end = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| End::Failed(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(async { Tail::new(args, messages)?.run().await }))
        .unwrap_or_else(|end| end);
    if let Some(text) = end.message() {
        messages.error(text);
    }
    ExitCode::from(end.code())
}
