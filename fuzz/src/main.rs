//! `sse-fuzz`: looks at event streams, at servers that send them and at clients that read them.
//!
//! This file is the table of commands; each has a file of its own.

#![forbid(unsafe_code)]

mod decode;
#[cfg(feature = "manual")]
mod manual;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sse_fuzz::{campaign, grip, hostile, probe, site};

/// Looks at Server-Sent Events.
#[derive(Parser)]
#[command(name = "sse-fuzz", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it, at the start")]
enum Command {
    Decode(decode::Decode),
    Fuzz(campaign::Command),
    Grip(grip::Command),
    Hostile(hostile::Command),
    Probe(probe::Command),
    Replay(campaign::Replay),
    Site(site::Command),
}

fn main() -> ExitCode {
    #[cfg(feature = "manual")]
    if let Some(code) = manual::write(<Cli as clap::CommandFactory>::command()) {
        return code;
    }
    let result = match Cli::parse().command {
        Command::Decode(decode) => decode.run().map(|()| ExitCode::SUCCESS),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Grip(grip) => grip.run(),
        Command::Hostile(hostile) => hostile.run(),
        Command::Probe(probe) => probe.run(),
        Command::Replay(replay) => replay.run(),
        Command::Site(site) => site.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sse-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}
