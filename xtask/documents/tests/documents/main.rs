//! Runs the blocks of the documents, all but those in Rust, which are doc tests.
//!
//! Each document has a throw-away folder, a shell, and, where the system lets anyone make one, a
//! network of its own with nothing on it: so 127.0.0.1:8080 can stand in all of them. Elsewhere
//! documents are run one after the other, and these ports have to be free. Words as arguments
//! choose documents.
//!
//! The programs are those that `cargo test --workspace` has built.

#![forbid(unsafe_code)]

mod cargo;
mod files;
mod github;
mod http;
mod inside;
mod links;
mod session;
mod typescript;

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use documents::{Block, blocks, documents};
use serde::{Deserialize, Serialize};

/// What has become of one block.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Report {
    line: usize,
    language: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Outcome {
    Ok,
    /// It was left out, and why.
    Ignored(String),
    Failed(String),
}

/// The argument with which this program is the one that runs a document.
const INSIDE: &str = "--inside";

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().collect();
    if Path::new(&args[0]).file_name().is_some_and(|name| name == "cargo") {
        return cargo::stand_in(&args[1..]);
    }
    if args.get(1).is_some_and(|arg| arg == INSIDE) {
        return inside::run(Path::new(&args[2]));
    }
    args.retain(|arg| !arg.starts_with('-'));
    match outside(&args[1..]) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("documents: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The project's folder.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

fn outside(words: &[String]) -> Result<bool, String> {
    let started = Instant::now();
    let mut found = documents(&root()).map_err(|error| error.to_string())?;
    found.retain(|path| {
        let path = path.to_string_lossy();
        words.is_empty() || words.iter().any(|word| path.contains(word.as_str()))
    });
    let mut all: Vec<(PathBuf, Vec<Block>)> = Vec::new();
    let mut texts = Vec::new();
    for path in found {
        let text = fs::read_to_string(root().join(&path)).map_err(|error| error.to_string())?;
        all.push((path.clone(), blocks(&text)));
        texts.push((path, text));
    }
    let metadata = cargo::metadata()?;
    let is_alone = has_networks();
    if !is_alone {
        println!("no networks of their own here: the ports that documents name have to be free");
    }
    let counts = Mutex::new([0; 3]);
    let report = |path: &Path, reports: &[Report]| print(path, reports, &counts);
    for (path, reports) in typescript::check(&all)? {
        report(&path, &reports);
    }
    for (path, reports) in links::check(&texts).into_iter().chain(github::check()) {
        report(&path, &reports);
    }
    // Those that take long are sooner begun.
    all.sort_by_key(|(_, blocks)| Reverse(blocks.iter().filter(|block| in_shell(block)).count()));
    let queue = Mutex::new(all.into_iter());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    thread::scope(|scope| {
        for _ in 0..if is_alone { 3 } else { 1 } {
            scope.spawn(|| {
                while let Some((path, blocks)) = next() {
                    if blocks.iter().any(|block| !is_compiled(block)) {
                        report(&path, &run_inside(&path, is_alone, &metadata));
                    }
                }
            });
        }
    });
    let [passed, failed, ignored] = counts.into_inner().unwrap_or_default();
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; \
         finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    Ok(failed == 0)
}

fn in_shell(block: &Block) -> bool {
    matches!(block.language.as_str(), "sh" | "console")
}

/// Whether another part sees to it: rustdoc, or the compiler for TypeScript.
fn is_compiled(block: &Block) -> bool {
    block.language == "rust" || typescript::is_script(block)
}

fn print(document: &Path, reports: &[Report], counts: &Mutex<[usize; 3]>) {
    let mut out = io::stdout().lock();
    for Report { line, language, outcome } in reports {
        let (index, verdict, why) = match outcome {
            Outcome::Ok => (0, "ok".to_owned(), None),
            Outcome::Failed(why) => (1, "FAILED".to_owned(), Some(why)),
            Outcome::Ignored(why) => (2, format!("ignored, {why}"), None),
        };
        if let Ok(mut counts) = counts.lock() {
            counts[index] += 1;
        }
        let place = document.display();
        let _ = writeln!(out, "test {place}:{line} ({language}) ... {verdict}");
        if let Some(why) = why {
            let _ = writeln!(out, "{}\n", why.trim_end());
        }
    }
}

/// Makes a network, and processes that end with the first one.
const APART: [&str; 7] =
    ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "sh"];
const UP: &str = "ip link set lo up && exec \"$@\"";

/// Whether anyone may have a network of their own: Linux, unless it was forbidden.
fn has_networks() -> bool {
    let mut probe = Command::new(APART[0]);
    probe.args(&APART[1..]).args(["-c", UP, "sh", "true"]).stdin(Stdio::null());
    probe.output().is_ok_and(|output| output.status.success())
}

/// Runs a document in a process of its own, which tells a line of JSON for each block.
fn run_inside(document: &Path, is_alone: bool, metadata: &str) -> Vec<Report> {
    let failed = |why: String| {
        vec![Report { line: 1, language: "document".to_owned(), outcome: Outcome::Failed(why) }]
    };
    let Ok(this) = env::current_exe() else { return failed("this program is gone".to_owned()) };
    let mut command = if is_alone {
        let mut apart = Command::new(APART[0]);
        apart.args(&APART[1..]).args(["-c", UP, "sh"]).arg(this).env(inside::ALONE, "1");
        apart
    } else {
        Command::new(this)
    };
    command.arg(INSIDE).arg(document).stdin(Stdio::null()).stdout(Stdio::piped());
    command.env(cargo::METADATA, metadata);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("cannot start {command:?}: {error}")),
    };
    let mut reports = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        match line.map_err(|error| error.to_string()).and_then(|line| {
            serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))
        }) {
            Ok(report) => reports.push(report),
            Err(error) => reports.extend(failed(error)),
        }
    }
    match child.wait() {
        Ok(status) if status.success() => {}
        status => reports.extend(failed(format!("its process has ended: {status:?}"))),
    }
    reports
}
