//! The tests of the workspace, several programs of them at a time.
//!
//! `cargo test` runs one after the other. Most of them wait: for a server that is started again,
//! for a browser, for a time that has to pass. So there is a lane for each core and one more, and
//! each lane takes the next one.

use std::collections::VecDeque;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::process::{self, cargo};
use crate::report::Progress;
use crate::wasm::Trouble;

/// Those that take longest, in seconds more than half a minute. They begin first, so that the last
/// lane does not end long after the others.
const LONG: [&str; 13] = [
    "hostile",
    "queues",
    "embedding",
    "chaos",
    "behind_pushpin",
    "power",
    "sse_fuzz",
    "campaign",
    "browser",
    "documents",
    "probe",
    "trust",
    "outages",
];

/// More of them would take each other the time within which something must have happened.
const MOST: usize = 4;

/// A program with tests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Program {
    name: String,
    executable: PathBuf,
    /// The folder of its package, in which it runs.
    package: PathBuf,
}

/// One that has ended.
struct Ended {
    name: String,
    output: Vec<u8>,
    is_ok: bool,
    seconds: f64,
}

/// Builds all tests, runs them, and those in the documentation after them. `prepare` gives each
/// what is there for it.
pub(crate) fn run(
    progress: &mut Progress,
    prepare: &(dyn Fn(&mut Command) + Sync),
) -> Result<(), Trouble> {
    let programs = build(progress, prepare)?;
    let mut failed = Vec::new();
    let count = programs.len();
    let waiting = Mutex::new(VecDeque::from(programs));
    let (sender, ended) = mpsc::channel();
    let lanes = thread::available_parallelism().map_or(2, |cores| cores.get() + 1).min(MOST);
    thread::scope(|scope| {
        for _ in 0..lanes {
            let (sender, waiting) = (sender.clone(), &waiting);
            scope.spawn(move || {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(program) = next() {
                    if sender.send(test(&program, prepare)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (number, Ended { name, output, is_ok, seconds }) in ended.iter().enumerate() {
            let label =
                format!("     Running {name} ({} of {count}, {seconds:.1} s)\n", number + 1);
            progress.line(Some(label.as_bytes()));
            for line in output.split_inclusive(|byte| *byte == b'\n') {
                progress.line(Some(line));
            }
            if !is_ok {
                failed.push(name);
            }
        }
    });
    let mut documentation = cargo(&["test", "--workspace", "--no-fail-fast", "--doc"]);
    prepare(&mut documentation);
    if !progress.run(documentation) {
        failed.push("documentation".to_owned());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// Builds them all, those that take longest first.
fn build(
    progress: &mut Progress,
    prepare: &(dyn Fn(&mut Command) + Sync),
) -> Result<Vec<Program>, Trouble> {
    let format = "--message-format=json-render-diagnostics";
    let mut build = cargo(&["test", "--workspace", "--no-run", format]);
    prepare(&mut build);
    let mut programs = Vec::new();
    let ended = process::run(build, |line| {
        let Some(line) = line else { return progress.line(None) };
        if line.starts_with(b"{") {
            programs.extend(program(line));
        } else {
            progress.line(Some(line));
        }
    });
    if !ended.is_ok_and(|status| status.success()) {
        return Err(String::new().into());
    }
    if programs.is_empty() {
        return Err("cargo names no program with tests".to_owned().into());
    }
    let place = |program: &Program| {
        LONG.iter().position(|long| *long == program.name).unwrap_or(LONG.len())
    };
    programs.sort_by_key(place);
    Ok(programs)
}

/// The program of which cargo says that it is built.
fn program(message: &[u8]) -> Option<Program> {
    let message: Value = serde_json::from_slice(message).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: message["executable"].as_str()?.into(),
        package: manifest.parent()?.to_owned(),
    })
}

/// Runs one as cargo does.
fn test(program: &Program, prepare: &dyn Fn(&mut Command)) -> Ended {
    let Program { name, executable, package } = program;
    let mut command = Command::new(executable);
    command.current_dir(package).stdin(Stdio::null()).env("CARGO_MANIFEST_DIR", package);
    command.env("CARGO", env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    prepare(&mut command);
    let (start, mut output) = (Instant::now(), Vec::new());
    let ended = process::run(command, |line| output.extend_from_slice(line.unwrap_or_default()));
    let is_ok = match ended {
        Ok(status) => status.success(),
        Err(error) => {
            output.extend_from_slice(format!("{error}\n").as_bytes());
            false
        }
    };
    // Two packages may have tests of one name.
    let package = package.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{name} of {package}");
    Ended { name, output, is_ok, seconds: start.elapsed().as_secs_f64() }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_program_is_one_that_cargo_has_built_with_its_tests() {
        let message = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/here/a b/Cargo.toml",
                    "target":{{"name":"x"}},"profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = program(message(true, r#""/here/target/x-1""#).as_bytes());
        let wanted = Program {
            name: "x".into(),
            executable: "/here/target/x-1".into(),
            package: "/here/a b".into(),
        };
        assert_eq!(found, Some(wanted));
        assert_eq!(program(message(false, r#""/here/target/x-1""#).as_bytes()), None);
        assert_eq!(program(message(true, "null").as_bytes()), None);
        assert_eq!(program(b"{\"reason\":\"build-finished\",\"success\":true}"), None);
        assert_eq!(program(b"{ no JSON"), None);
    }
}
