//! `cargo xtask api`: the public API of sse-proto, as a file that changes whenever the API does.
//!
//! This is not a step of `cargo xtask test`: it reads rustdoc's JSON, which only nightly writes.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use crate::process::{cargo, output, say};
use crate::{Outcome, files, setup};

const FILE: &str = "sse-proto/api.txt";

/// Traits that no stable program can name, and that come and go with the toolchain.
const UNSTABLE: [&str; 2] =
    ["impl core::marker::Freeze for ", "impl core::marker::UnsafeUnpin for "];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut update = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("update") => update = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let api = public_api()?;
    if update {
        files::write(Path::new(FILE), api)?;
        say(&format!("{FILE} is written"));
        return Ok(ExitCode::SUCCESS);
    }
    let recorded = files::read(Path::new(FILE))?;
    let changes = changes(&recorded, &api);
    if changes.is_empty() {
        say(&format!("the public API is what {FILE} says"));
        return Ok(ExitCode::SUCCESS);
    }
    for change in changes {
        say(&change);
    }
    let different = format!("the public API is not what {FILE} says");
    Err(format!("{different}; if that is meant, run\n    cargo xtask api --update").into())
}

/// The public API, an item a line.
fn public_api() -> Result<String, String> {
    if !succeeds(cargo(&["public-api", "--version"])) {
        return Err("cargo-public-api is missing; get it with\n    \
                    cargo install cargo-public-api --locked"
            .to_owned());
    }
    setup::nightly()?;
    // Blanket implementations say nothing about this crate.
    let flags = ["--all-features", "--omit", "blanket-impls", "--color", "never"];
    let mut command = Command::new("cargo");
    command.args(["public-api", "-p", "ssekit-proto"]).args(flags).stdin(Stdio::null());
    // Not the cargo that runs this: it has another toolchain.
    command.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").stderr(Stdio::inherit());
    let output = output(&mut command)?;
    if !output.status.success() {
        return Err("cargo public-api has failed; it says above why".to_owned());
    }
    Ok(stable(&String::from_utf8_lossy(&output.stdout)))
}

fn succeeds(mut command: Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn stable(api: &str) -> String {
    let is_stable = |line: &&str| !UNSTABLE.iter().any(|unstable| line.contains(unstable));
    api.lines().filter(is_stable).flat_map(|line| [line, "\n"]).collect()
}

/// The lines that only the old text has (`-`), and those that only the new one has (`+`).
fn changes(old: &str, new: &str) -> Vec<String> {
    let only = |sign: char, these: &str, those: &str| {
        let mut others: Vec<_> = those.lines().collect();
        let mut only = Vec::new();
        for line in these.lines() {
            // The same line may stand under several items.
            match others.iter().position(|other| *other == line) {
                Some(position) => drop(others.swap_remove(position)),
                None => only.push(format!("{sign} {line}")),
            }
        }
        only
    };
    [only('-', old, new), only('+', new, old)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_is_new_or_gone_is_a_change() {
        assert_eq!(changes("a\nb\nb\nc\n", "a\nb\nc\nd\n"), ["- b", "+ d"]);
        assert_eq!(changes("a\nb\n", "a\nb\n"), [""; 0]);
    }

    #[test]
    fn what_is_stable_stays() {
        let api = "pub struct A\nimpl core::marker::Freeze for A\nimpl core::marker::Send for A\n";
        assert_eq!(stable(api), "pub struct A\nimpl core::marker::Send for A\n");
    }
}
