//! `cargo xtask honest`: clients that are right go through `sse-fuzz hostile` again and again, and
//! servers that are right through `sse-fuzz probe`. Nobody may be accused of anything. The clients
//! are in `fuzz/peers/files/clients`; the one in Rust is this project's own,
//! `fuzz/examples/native.rs`. The servers are the rows without a fault of the probe's matrix.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use lexopt::prelude::*;

use crate::process::{self, built, cargo, ended, say, workspace};
use crate::{Failure, Outcome};

/// What is looked at, in order.
const SUBJECTS: [Subject; 5] = [
    Subject {
        name: "fetch",
        by: By::Client(
            "env NODE_EXTRA_CA_CERTS={ca} node FOLDER/fetch.mjs {url} {header} {method} {body}",
        ),
    },
    Subject {
        name: "http-client",
        by: By::Client("python3 FOLDER/http_client.py {url} {header} {method} {body} {ca}"),
    },
    Subject {
        name: "native",
        by: By::Client("BUILT/examples/native {url} {header} {method} {body} {ca}"),
    },
    Subject { name: "chromium", by: By::Browsers },
    Subject { name: "servers", by: By::Matrix },
];

#[derive(Clone, Copy)]
struct Subject {
    name: &'static str,
    by: By,
}

#[derive(Clone, Copy)]
enum By {
    /// `sse-fuzz hostile --check` gets this command.
    Client(&'static str),
    /// It brings the suite along.
    Browsers,
    /// The test of the probe's matrix, with the servers that have no fault.
    Matrix,
}

/// What came of all runs of a subject.
#[derive(Debug, Default)]
struct Tally {
    runs: u32,
    accused: u32,
    /// How often each case was a warning: advice, which a right client need not follow.
    warned: BTreeMap<String, u32>,
}

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let (mut runs, mut at_once) = (1, 1);
    let mut chosen = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("runs") => runs = args.value()?.parse::<u32>()?,
            Long("at-once") => at_once = args.value()?.parse::<u8>()?.max(1),
            Value(name) => {
                let subject = SUBJECTS.into_iter().find(|subject| name == *subject.name);
                let names = SUBJECTS.map(|subject| subject.name).join(", ");
                let unknown = || format!("there is no {}; there are {names}", name.display());
                chosen.push(subject.ok_or_else(|| Failure::Usage(unknown()))?);
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen.extend(SUBJECTS);
    }
    let built_first = ["--bin", "sse-fuzz", "--example", "native", "--test", "probe"];
    let code = ended(cargo(&[&["build", "-p", "ssekit-fuzz"], &built_first[..]].concat()))?;
    if code != ExitCode::SUCCESS {
        return Ok(code);
    }
    let queue = (1..=runs).flat_map(|run| chosen.iter().map(move |subject| (run, *subject)));
    let queue = Mutex::new(queue.collect::<VecDeque<_>>());
    let (sender, results) = mpsc::channel();
    let mut tallies = BTreeMap::<_, Tally>::new();
    thread::scope(|scope| {
        for _ in 0..at_once {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some((run, subject)) = next() {
                    let (start, mut output) = (Instant::now(), Vec::new());
                    let status = process::run(command(subject.by), |line| {
                        output.extend_from_slice(line.unwrap_or_default());
                    });
                    let output = String::from_utf8_lossy(&output).into_owned();
                    let done = (run, subject.name, status, output, start.elapsed());
                    if sender.send(done).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (run, name, status, output, time) in results {
            let is_right = status.as_ref().is_ok_and(ExitStatus::success);
            tallies.entry(name).or_default().add(is_right, &output);
            let last = match &status {
                Ok(_) => last_words(&output),
                Err(error) => format!("{error}"),
            };
            if !is_right {
                say(&output);
            }
            let word = if is_right { "" } else { "ACCUSED, see above: " };
            let time = time.as_secs();
            say(&format!("run {run} of {runs}: {name}: {word}{last} ({time} s)"));
        }
    });
    for (name, tally) in &tallies {
        say(&tally.line(name));
    }
    if tallies.values().any(|tally| tally.accused > 0) {
        return Err("somebody was accused who is right".to_owned().into());
    }
    Ok(ExitCode::SUCCESS)
}

fn command(by: By) -> Command {
    let fuzz = built().join("sse-fuzz");
    let folder = workspace().join("fuzz/peers/files/clients");
    let mut command = match by {
        By::Client(client) => {
            let client = client.replace("FOLDER", &folder.display().to_string());
            let client = client.replace("BUILT", &built().display().to_string());
            let mut hostile = Command::new(fuzz);
            hostile.args(["hostile", "--jobs", "8", "--check"]).arg(client);
            hostile
        }
        By::Browsers => {
            let mut python = Command::new("python3");
            python.arg(folder.join("chromium_run.py")).arg(&fuzz).arg("5");
            if env::var_os("SSE_CHROMEDRIVER").is_none() {
                python.env("SSE_CHROMEDRIVER", "chromedriver");
            }
            python
        }
        By::Matrix => {
            let mut test = cargo(&["test", "-q", "-p", "ssekit-fuzz", "--test", "probe"]);
            test.args(["a_server_without_fault"]).env("ONLY", "none");
            test
        }
    };
    command.stdin(Stdio::null());
    command
}

/// The numbers, with which all of them end.
fn last_words(output: &str) -> String {
    let line = output.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").trim().to_owned()
}

impl Tally {
    fn add(&mut self, is_right: bool, output: &str) {
        self.runs += 1;
        self.accused += u32::from(!is_right);
        // A warning is told as it comes, and once more with its evidence.
        let warned = output.lines().filter_map(|line| line.strip_prefix("warn "));
        let cases = warned.filter_map(|rest| rest.split_whitespace().next());
        let mut cases: Vec<_> = cases.map(|case| case.trim_end_matches(':')).collect();
        cases.sort_unstable();
        cases.dedup();
        for case in cases {
            *self.warned.entry(case.to_owned()).or_default() += 1;
        }
    }

    fn line(&self, name: &str) -> String {
        let Self { runs, accused, warned } = self;
        let warned: Vec<_> =
            warned.iter().map(|(case, count)| format!("{case} ({count})")).collect();
        let advice = if warned.is_empty() {
            String::new()
        } else {
            format!("; advice it does not follow: {}", warned.join(", "))
        };
        format!("{name}: accused in {accused} of {runs} runs{advice}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_counts_once_a_run_and_an_accusation_is_counted() {
        let output = "pass         parse.lf    0.2 s\n\
                      warn         http.redirect-header    0.7 s  it went on\n\n\
                      warn http.redirect-header: A redirect\n  advice\n\n\
                      201 pass, 0 fail, 1 warn, 2 inconclusive, 4 skipped\n";
        assert_eq!(last_words(output), "201 pass, 0 fail, 1 warn, 2 inconclusive, 4 skipped");
        let mut tally = Tally::default();
        tally.add(true, output);
        tally.add(false, output);
        let line = "x: accused in 1 of 2 runs; advice it does not follow: http.redirect-header (2)";
        assert_eq!(tally.line("x"), line);
    }
}
