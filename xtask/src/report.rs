//! What `cargo xtask test` says: progress while it runs, a table and a sum at the end.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, say};

/// How a step has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    /// The reason, unless the output says it.
    Failed(String),
    /// Not run. The reason.
    Skipped(String),
}

/// A step that is over.
#[derive(Debug)]
pub(crate) struct Entry {
    name: &'static str,
    verdict: Verdict,
    tests: Tests,
    time: Duration,
}

/// The numbers of cargo's `test result:` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tests {
    lines: u64,
    passed: u64,
    failed: u64,
}

impl Tests {
    fn count(&mut self, line: &[u8]) {
        let Some(rest) = line.strip_prefix(b"test result: ") else {
            return;
        };
        // test result: ok. 8 passed; 0 failed; 0 ignored; …
        let rest = String::from_utf8_lossy(rest);
        let words = rest.split([' ', ';']).filter(|word| !word.is_empty());
        let mut before = "";
        self.lines += 1;
        for word in words {
            let number = || before.parse::<u64>().unwrap_or(0);
            match word {
                "passed" => self.passed += number(),
                "failed" => self.failed += number(),
                _ => {}
            }
            before = word;
        }
    }
}

/// Shows one step while it runs. On a terminal that is a single line, and the whole output only if
/// the step fails; where a log is kept, everything.
#[derive(Debug)]
pub(crate) struct Progress {
    tidy: bool,
    label: String,
    started: Instant,
    output: Vec<u8>,
    tests: Tests,
}

impl Progress {
    pub(crate) fn start(number: usize, of: usize, name: &str) -> Self {
        let progress = Self {
            tidy: io::stdout().is_terminal() && env::var_os("CI").is_none(),
            label: format!("[{number}/{of}] {name}"),
            started: Instant::now(),
            output: Vec::new(),
            tests: Tests::default(),
        };
        if progress.tidy {
            progress.show_status("");
        } else {
            say(&format!("{} …", progress.label));
        }
        progress
    }

    /// Runs a command as a part of this step.
    pub(crate) fn run(&mut self, command: Command) -> bool {
        match process::run(command, |line| self.line(line)) {
            Ok(status) => status.success(),
            Err(error) => {
                self.line(Some(format!("{error}\n").as_bytes()));
                false
            }
        }
    }

    /// Takes in a line of output, or shows that time passes.
    pub(crate) fn line(&mut self, line: Option<&[u8]>) {
        if let Some(line) = line {
            self.tests.count(line);
            if self.tidy {
                self.output.extend_from_slice(line);
            } else {
                write_out(line);
            }
        }
        if self.tidy {
            let last = self.output.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
            let last = String::from_utf8_lossy(last.unwrap_or_default()).trim().to_owned();
            self.show_status(&last);
        }
    }

    fn show_status(&self, doing: &str) {
        // Short enough for a terminal of 80 columns: a line that wraps cannot be overwritten.
        let room = 70_usize.saturating_sub(self.label.chars().count());
        let doing: String = doing.chars().filter(|c| !c.is_control()).take(room).collect();
        write_out(format!("\r\x1b[K{} … \x1b[2m{doing}\x1b[0m", self.label).as_bytes());
    }

    /// Ends the step.
    pub(crate) fn end(self, name: &'static str, verdict: Verdict) -> Entry {
        let entry = Entry { name, verdict, tests: self.tests, time: self.started.elapsed() };
        let mut end = String::new();
        if self.tidy {
            end.push_str("\r\x1b[K");
        }
        let _ = write!(end, "{} … ", self.label);
        match &entry.verdict {
            Verdict::Ok => end.push_str(&coloured("32", "ok")),
            Verdict::Failed(_) => end.push_str(&coloured("31", "FAILED")),
            Verdict::Skipped(why) => {
                let _ = write!(end, "skipped: {why}");
            }
        }
        if !matches!(entry.verdict, Verdict::Skipped(_)) {
            let _ = write!(end, " {:.1} s", entry.time.as_secs_f64());
        }
        say(&end);
        if let Verdict::Failed(why) = &entry.verdict {
            write_out(&self.output);
            if !why.is_empty() {
                say(why);
            }
        }
        entry
    }
}

fn write_out(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

fn coloured(colour: &str, text: &str) -> String {
    if io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The table of all steps, the sum as its last line, and whether all is well.
///
/// The sum counts tests, and as one failure each step that failed without a failed test: a
/// compiler's error is not a test, but must count. What is skipped is a step.
pub(crate) fn summary(entries: &[Entry]) -> (String, bool) {
    let mut table = format!("\n{:<24} {:>7} {:>7} {:>9}\n", "step", "passed", "failed", "seconds");
    let mut passed = 0;
    let mut failed = 0;
    let mut skipped = 0;
    for entry in entries {
        let Tests { lines, .. } = entry.tests;
        let number = |number: u64| {
            if lines > 0 { number.to_string() } else { String::new() }
        };
        let verdict = match entry.verdict {
            Verdict::Ok => "ok",
            Verdict::Failed(_) => "FAILED",
            Verdict::Skipped(ref why) => &format!("skipped: {why}"),
        };
        let _ = writeln!(
            table,
            "{:<24} {:>7} {:>7} {:>9.1}  {verdict}",
            entry.name,
            number(entry.tests.passed),
            number(entry.tests.failed),
            entry.time.as_secs_f64(),
        );
        passed += entry.tests.passed;
        skipped += usize::from(matches!(entry.verdict, Verdict::Skipped(_)));
        failed += match entry.verdict {
            Verdict::Failed(_) => entry.tests.failed.max(1),
            _ => entry.tests.failed,
        };
    }
    let _ = write!(table, "\n{passed} passed, {failed} failed");
    if skipped > 0 {
        let _ = write!(table, ", {skipped} skipped");
    }
    (table, failed == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &'static str, verdict: Verdict, output: &str) -> Entry {
        let mut tests = Tests::default();
        output.lines().for_each(|line| tests.count(line.as_bytes()));
        let time = Duration::from_millis(1234);
        Entry { name, verdict, tests, time }
    }

    #[test]
    fn tests_are_counted_from_cargos_own_lines() {
        let output = "\
running 3 tests
test a ... ok
test result: ok. 8 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.23s
    test result: ok. 100 passed; 0 failed; (not cargo's)
test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.23s
";
        let tests = entry("x", Verdict::Ok, output).tests;
        assert_eq!((tests.lines, tests.passed, tests.failed), (2, 9, 2));
    }

    #[test]
    fn the_last_line_is_the_sum() {
        let eight = "test result: ok. 8 passed; 0 failed; 0 ignored";
        let well = [entry("fmt", Verdict::Ok, ""), entry("test", Verdict::Ok, eight)];
        let (table, all_well) = summary(&well);
        assert!(all_well);
        assert_eq!(
            table,
            "
step                      passed  failed   seconds
fmt                                            1.2  ok
test                           8       0       1.2  ok

8 passed, 0 failed"
        );
    }

    #[test]
    fn a_step_that_fails_without_a_failed_test_is_one_failure() {
        let failed = || Verdict::Failed(String::new());
        let two = "test result: FAILED. 8 passed; 2 failed; 0 ignored";
        let entries = [
            entry("fmt", failed(), ""),
            entry("test", failed(), two),
            entry("doc", Verdict::Skipped("the build failed".to_owned()), ""),
        ];
        let (table, all_well) = summary(&entries);
        assert!(!all_well);
        assert!(table.contains("1.2  skipped: the build failed\n"), "{table}");
        assert_eq!(table.lines().last(), Some("8 passed, 3 failed, 1 skipped"));
    }
}
