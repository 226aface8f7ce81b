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
mod doubles;
mod files;
mod fuzz;
mod honest;
mod lanes;
mod layout;
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
mod sim;
mod tool;
mod vectors;
mod wasm;

use std::env;
use std::io;
use std::process::ExitCode;

use lexopt::{Arg, Parser};

const HELP: &str = "\
cargo xtask demo [--listen 127.0.0.1:8080] [--fresh]
    Builds and starts the server. Prints the address of the live page and a command that publishes.
    Ctrl-C ends it. --fresh forgets the events of earlier demos.
cargo xtask test [--quick] [--no-browser] [--no-services] [FILTER…]
    Sets up what is needed, and runs every check and test. --quick leaves out the slow ones.
    --no-browser leaves out the tests of the live page and of the npm package, --no-services those that
    need Redis, PostgreSQL, RabbitMQ or Django. With FILTERs, only the steps run that have one of these
    words in their name.
cargo xtask services
    Starts Redis, PostgreSQL and RabbitMQ as `test` does, and prints the variables with which plain
    `cargo test` uses them. Ctrl-C ends them.
cargo xtask proof --kills N [--seed S] [--embedded]
    Kills the server N times while events are published, and checks that nothing is lost. --embedded kills an
    application instead, which has channels in it.
cargo xtask proof --instances [--rounds 100] [--seed S] [--relay redis|postgres|amqp]
    The same with three servers on one PostgreSQL, with each relay in turn, or with one. Each round kills
    a server, the database or the relay. They are its own; yours are not touched.
cargo xtask proof --power [--rounds 100] [--seed S] [--storage sqlite|postgres|redis]
    Records what a server and its storage write and sync, so many times, and cuts the power at many places
    of each record: what was not synced is lost, torn or out of order. Checks that nothing is missing that
    had been promised. Needs strace.
cargo xtask sim --seeds N [--from S] | --seed S | --mutants [--seconds N] | --forever [--mutant NAME]
    Runs several hubs in simulated time, while storage, relay, backend and connections fail, once for each
    seed, and compares what readers see with what they must. --seed tells the story of one, made smaller if
    it fails. --mutants puts faults into the server, which must all be found; --seconds begins with no
    more of them after that time; --mutant NAME puts in just one.
cargo xtask bench NAME [ARG…]
    Runs a bench. Prints its tables, and a line `ratio …` for each comparison. Without a NAME it lists
    the benches and their arguments.
cargo xtask oracle --cases N [--seed S]
    Reads N random event streams, each in three chunkings, with the decoder and with the standard
    written down as code. Prints the first stream that they read differently.
cargo xtask fuzz [TARGET…] [--time SECONDS]
    Runs all fuzz targets, or these, with libFuzzer: each for 60 seconds, or for --time. Prints how to
    reproduce what they find. Needs a nightly toolchain, and gets cargo-fuzz itself.
cargo xtask honest [NAME…] [--runs N] [--at-once N]
    Runs clients that are right through `sse-fuzz hostile`, N times: fetch in Node, http.client of
    Python, native (this project's), Chromium's own EventSource; and servers, those of the probe's
    matrix that have no fault, through `sse-fuzz probe`. Fails if one is accused of anything. --at-once
    says how many run beside each other.

cargo xtask probe [SERVER…] [--html FILE] [--strict] [--aggressive]
    Starts this server and others (ours, django, nchan, pushpin, axum; or those that you name), runs
    `sse-fuzz probe` on each, and writes all findings side by side into one HTML file. Gets what it
    needs from Debian's and Python's packages.
cargo xtask vectors [--update]
    Makes the npm and the PyPI package of sse-proto/vectors, checks the cases against their schemas, and runs
    parsers of npm and PyPI through them. Compares the table with docs/vectors.md; --update writes it. Needs
    Python and Node, and gets the parsers.
cargo xtask wasm [--in FOLDER]
    Builds the npm package of the browser's client, and prints its size. Gets what it needs: a compiler
    for WebAssembly (SSE_WASM_TOOLCHAIN=auto, rustup or debian), and tools from npm. Keeps them in
    target/wasm, or in FOLDER.
cargo xtask dist [--dev]
    Builds what people install, into target/dist: the programs, their man pages and shell completions,
    Debian packages of the server and of sse-fuzz, and sse-fuzz for pip and npm. --dev builds quickly, to
    look at the result.
cargo xtask pack PROGRAM [--target TRIPLE]
    Makes the wheel and the npm packages of an sse-fuzz that has been built, also one for another platform.
cargo xtask api [--update]
    Compares the public API of sse-proto with sse-proto/api.txt. --update writes the file. Needs
    cargo-public-api and a nightly toolchain, and says so if one is missing.
cargo xtask help
    Prints this.
";

/// How a command has ended, if it could do its work.
type Outcome = Result<ExitCode, Failure>;

/// Why a command could not do its work.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    /// Its arguments make no sense.
    Usage(String),
    Failed(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
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
        "pack" => dist::pack(args),
        "honest" => honest::run(args),
        "probe" => probe::run(args),
        "proof" => proof::run(args),
        "services" => services::run(args),
        "sim" => sim::run(args),
        "test" => checks::run(args),
        "vectors" => vectors::run(args),
        "wasm" => wasm::run(args),
        "help" => {
            process::say(HELP.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        _ => Err(Failure::Usage(format!("there is no command {command:?}"))),
    }
}

/// For commands without arguments: an error if there is one.
fn nothing_more(args: &mut Parser) -> Result<(), lexopt::Error> {
    args.next()?.map_or(Ok(()), |arg| Err(arg.unexpected()))
}
