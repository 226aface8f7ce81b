//! `sse-fuzz`: looks at event streams and at those who send and read them.
//!
//! This file is the table of commands; each has a file of its own.

#![forbid(unsafe_code)]

mod decode;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Looks at Server-Sent Events.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Decode(decode::Decode),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Decode(decode) => decode.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sse-fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}
