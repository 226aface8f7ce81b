//! `cargo run -p sse-fuzz-bodies`: writes the seeds for libFuzzer, and runs a body with one input.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use sse_fuzz_bodies::{TARGETS, seeds};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["seeds", folder] => TARGETS
            .iter()
            .try_for_each(|target| seeds::write(target.name, &Path::new(folder).join(target.name))),
        ["run", name, file] if TARGETS.iter().any(|target| target.name == name) => fs::read(file)
            .map(|input| {
                sse_fuzz_bodies::run(name, &input);
                println!("{name} finds nothing in {file}");
            }),
        _ => {
            eprintln!("usage: seeds FOLDER | run TARGET FILE");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sse-fuzz-bodies: {error}");
            ExitCode::FAILURE
        }
    }
}
