//! `cargo xtask …`: what contributors, and people who try the project, run.
//!
//! This file is the table of commands; each has a file of its own. It is built before anything else
//! can begin, so it depends on a few small crates only.

#![forbid(unsafe_code)]

mod api;
mod apt;
mod bench;
mod checks;
mod demo;
mod dist;
mod django;
mod fuzz;
mod msrv;
mod node;
mod oracle;
mod packages;
mod probe;
mod process;
mod proof;
mod python;
mod report;
mod services;
mod setup;
mod tool;
mod wasm;

use std::env;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

const HELP: &str = "\
cargo xtask demo [--listen 127.0.0.1:8080] [--fresh]
    Builds and starts the server, and prints the address of the live page and a command that
    publishes. Ctrl-C ends it. --fresh forgets the events of earlier demos.
cargo xtask test [--quick] [--no-browser] [--no-services] [FILTER…]
    Sets up what is needed and runs every check and test. --quick leaves out the slow ones,
    --no-browser those of the live page and of the npm package, which need a browser, --no-services
    those that need Redis, PostgreSQL, RabbitMQ or Django; with FILTERs only the steps with one of these
    words in their name are run.
cargo xtask services
    Starts Redis, PostgreSQL and RabbitMQ as `test` does, and prints the variables with which plain
    `cargo test` uses them. Ctrl-C ends them.
cargo xtask proof --kills N [--seed S]
    Kills the server N times while it is written to, and checks that nothing is lost.
cargo xtask proof --instances [--rounds 100] [--seed S] [--relay redis|postgres|amqp]
    The same with three servers on one PostgreSQL, told by each relay in turn, or by one. Each round kills
    one of them, the database or the relay, which are its own and disturb nobody.
cargo xtask bench NAME [ARG…]
    Runs a bench and prints its tables, and a line `ratio …` for each comparison. Without a NAME it
    lists the benches and their arguments.
cargo xtask oracle --cases N [--seed S]
    Reads N random event streams, each in three chunkings, with the decoder and with the standard
    written down as code, and prints the first that they read differently.
cargo xtask fuzz [TARGET…] [--time SECONDS]
    Runs the fuzz targets, or these, with libFuzzer for 60 seconds each, or as long as is said, and
    prints how to see again what they find. Needs a nightly toolchain, and gets cargo-fuzz itself.
cargo xtask probe [SERVER…] [--html FILE] [--strict] [--aggressive]
    Starts this server and others (ours, django, nchan, pushpin, axum; or those that are named), runs
    `sse-fuzz probe` on each, and puts all that was found side by side into one HTML file. Gets what it
    needs: packages of Debian's, and of Python's.
cargo xtask wasm [--in FOLDER]
    Builds the npm package of the browser's client, and prints how large it is. Gets what it needs: a
    compiler for WebAssembly (SSE_WASM_TOOLCHAIN=auto, rustup or debian), and tools from npm; and keeps
    it in target/wasm, or in FOLDER.
cargo xtask dist [--dev]
    Builds what people install, into target/dist: the programs, their man pages and shell completions, and
    a Debian package of the server. --dev builds quickly, to look at it.
cargo xtask api [--update]
    Compares the public API of sse-proto with sse-proto/api.txt, or writes it there. Needs
    cargo-public-api and a nightly toolchain, and says so if one is missing.
cargo xtask help
    Prints this.
";

/// How a command has ended that could do its work.
type Outcome = Result<ExitCode, Failure>;

/// Why a command could not do its work.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// It was called with something that it does not know.
    Usage(String),
    Failed(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

fn main() -> ExitCode {
    run(&mut Parser::from_env()).unwrap_or_else(|failure| match failure {
        Failure::Usage(problem) => {
            eprintln!("xtask: {problem}; `cargo xtask help` lists the commands");
            ExitCode::from(2)
        }
        Failure::Failed(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    })
}

fn run(args: &mut Parser) -> Outcome {
    let workspace = process::workspace();
    env::set_current_dir(&workspace)
        .map_err(|error| format!("cannot enter {}: {error}", workspace.display()))?;
    let command = match args.next()? {
        Some(Arg::Value(command)) => command.to_string_lossy().into_owned(),
        None | Some(Arg::Long("help") | Arg::Short('h')) => "help".to_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "api" => api::run(args),
        "bench" => bench::run(args),
        "demo" => demo::run(args),
        "dist" => dist::run(args),
        "fuzz" => fuzz::run(args),
        "oracle" => oracle::run(args),
        "probe" => probe::run(args),
        "proof" => proof::run(args),
        "services" => services::run(args),
        "test" => checks::run(args),
        "wasm" => wasm::run(args),
        "help" => {
            process::say(HELP.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure::Usage(format!("there is no command {command:?}"))),
    }
}

/// For commands without arguments: complains of the first that is there.
fn nothing_more(args: &mut Parser) -> Result<(), lexopt::Error> {
    args.next()?.map_or(Ok(()), |arg| Err(arg.unexpected()))
}
