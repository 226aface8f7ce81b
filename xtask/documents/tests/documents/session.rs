//! A shell that goes through a whole document, and commands with what they print beside them.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use documents::{all_fit, fits};

use crate::inside::{built, until};

/// One `bash`, in which variables and processes stay from block to block.
pub(crate) struct Session {
    bash: Child,
    stdin: ChildStdin,
    printed: Arc<Mutex<String>>,
    /// How much of it has been looked at.
    seen: usize,
    count: usize,
    folder: PathBuf,
    staying: Vec<Child>,
}

impl Session {
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        let mut command = bash(folder);
        // A group of its own, with what it starts in the background.
        command.args(["--noprofile", "--norc"]).stdin(Stdio::piped()).process_group(0);
        let mut bash = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let mut stdin = bash.stdin.take().ok_or_else(missing)?;
        let stdout = bash.stdout.take().ok_or_else(missing)?;
        writeln!(stdin, "exec 2>&1; set -eo pipefail")?;
        let printed = collect(stdout);
        let folder = folder.to_owned();
        Ok(Self { bash, stdin, printed, seen: 0, count: 0, folder, staying: Vec::new() })
    }

    fn text(&self) -> String {
        self.printed.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// Runs a block to its end; all its commands have to succeed.
    pub(crate) fn run(&mut self, script: &str) -> Result<(), String> {
        self.count += 1;
        let file = self.folder.join(format!("target/documents/{}.sh", self.count));
        fs::write(&file, script).map_err(|error| error.to_string())?;
        let done = format!("\u{1}done {}\u{1}", self.count);
        let before = self.text().len();
        writeln!(
            self.stdin,
            ". '{}' < /dev/null; printf '\\1done {}\\1'",
            file.display(),
            self.count
        )
        .map_err(|error| format!("the shell has ended before: {error}"))?;
        let printed = Arc::clone(&self.printed);
        let text = move || printed.lock().map(|text| text.clone()).unwrap_or_default();
        let bash = &mut self.bash;
        until("its end", || {
            if text().contains(&done) {
                return Ok(true);
            }
            match bash.try_wait().map_err(|error| error.to_string())? {
                Some(status) => Err(format!("a command has failed ({status})")),
                None => Ok(false),
            }
        })
        .map_err(|why| {
            format!("{why}; it has printed:\n{}", self.text().get(before..).unwrap_or(""))
        })
    }

    /// Runs a command that does not end, in another shell, until its URL answers. The file
    /// `staying` has the number of its process.
    pub(crate) fn stay(&mut self, script: &str, url: &str) -> Result<(), String> {
        let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        if TcpStream::connect(address).is_ok() {
            return Err(format!("something else is at {url} already"));
        }
        let mut command = bash(&self.folder);
        command.args(["-c", script]).stdin(Stdio::null()).process_group(0);
        let (mut child, printed) = start(command)?;
        let outcome = until(url, || {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("it has ended ({status})"));
            }
            Ok(TcpStream::connect(address).is_ok())
        });
        let file = self.folder.join("target/documents/staying");
        fs::write(file, child.id().to_string()).map_err(|error| error.to_string())?;
        self.staying.push(child);
        outcome.map_err(|why| {
            format!(
                "{why}; it has printed:\n{}",
                printed.lock().map(|text| text.clone()).unwrap_or_default()
            )
        })
    }

    /// Whether these lines have come, in this order, since the last ones that were looked for.
    pub(crate) fn has_printed(&mut self, lines: &str) -> Result<(), String> {
        let printed = Arc::clone(&self.printed);
        let mut seen = self.seen;
        let outcome = until("what is printed", || {
            let text = printed.lock().map(|text| text.clone()).unwrap_or_default();
            let mut rest = text.get(seen..).unwrap_or_default().split_inclusive('\n');
            let mut read = seen;
            let all = lines.lines().all(|line| {
                rest.by_ref().any(|found| {
                    read += found.len();
                    fits(found.trim_end_matches('\n').rsplit('\u{1}').next().unwrap_or(""), line)
                })
            });
            if all {
                seen = read;
            }
            Ok(all)
        });
        self.seen = seen;
        outcome.map_err(|why| format!("{why}; there was:\n{}", self.text()))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        end(&mut self.bash);
        self.staying.iter_mut().for_each(end);
    }
}

/// Runs each command of `$ command` lines, and compares what it prints with the lines below it,
/// where `…` stands for anything. A command is ended once all of them have come.
pub(crate) fn console(text: &str, folder: &Path) -> Result<(), String> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            return Err(format!("a command begins with `$ `: {line:?}"));
        };
        let mut command = command.to_owned();
        while command.ends_with('\\') {
            command.push('\n');
            command.push_str(lines.next().unwrap_or_default());
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            expected.push(line);
        }
        prints(&command, &expected, folder)?;
    }
    Ok(())
}

fn prints(command: &str, expected: &[&str], folder: &Path) -> Result<(), String> {
    let mut shell = bash(folder);
    shell.args(["-c", command]).stdin(Stdio::null()).process_group(0);
    let (mut child, printed) = start(shell)?;
    let mut has_ended = false;
    let outcome = until("what is printed", || {
        // Asked first, so that what it printed at last is read.
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        let is_read = Arc::strong_count(&printed) == 1;
        let text = printed.lock().map(|text| text.clone()).unwrap_or_default();
        let found: Vec<_> = text.lines().collect();
        has_ended = ended.is_some() && is_read;
        if has_ended {
            return match ended {
                Some(status) if expected.is_empty() && !status.success() => {
                    Err(format!("it has failed ({status})"))
                }
                _ if expected.is_empty() || all_fit(&found, expected) == Some(found.len()) => {
                    Ok(true)
                }
                _ => Err("other lines were expected".to_owned()),
            };
        }
        Ok(!expected.is_empty() && text.ends_with('\n') && all_fit(&found, expected).is_some())
    });
    if !has_ended {
        end(&mut child);
    }
    outcome.map_err(|why| {
        let text = printed.lock().map(|text| text.clone()).unwrap_or_default();
        format!("$ {command}\n{text}{why}")
    })
}

/// Programs that were built come before those of the system.
pub(crate) fn bash(folder: &Path) -> Command {
    let mut bash = Command::new("bash");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [folder.join("target/documents"), built()]
        .into_iter()
        .chain(env::split_paths(&path).collect::<Vec<_>>());
    bash.current_dir(folder).env("PATH", env::join_paths(path).unwrap_or_default());
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("SSE_") || name.starts_with("CARGO") {
            bash.env_remove(name.as_ref());
        }
    }
    bash.env("SSE_SERVER_PUBLISH_TOKEN", "TOKEN").env("NO_COLOR", "1");
    bash
}

pub(crate) fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn collect(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    read_into(pipe, Arc::clone(&text));
    text
}

/// Starts it, and collects what it prints to both outputs, in the order in which it does. Once all
/// is read, nobody else holds that.
fn start(mut command: Command) -> Result<(Child, Arc<Mutex<String>>), String> {
    let start = || {
        let (pipe, both) = io::pipe()?;
        command.stdout(both.try_clone()?).stderr(both);
        let child = command.spawn()?;
        // Its ends of the pipe, or reading would not end.
        drop(command);
        Ok((child, collect(pipe)))
    };
    start().map_err(|error: io::Error| error.to_string())
}

fn read_into(mut pipe: impl Read + Send + 'static, text: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = pipe.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..len]);
            // A character may be in two pieces.
            let whole = match std::str::from_utf8(&bytes) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => bytes.len(),
            };
            let rest = bytes.split_off(whole);
            if let Ok(mut text) = text.lock() {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            bytes = rest;
        }
    });
}

/// Ends a child and those that it has started, which are its group.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    let signal = |name: &str| {
        let mut kill = Command::new("bash");
        kill.args(["-c", "kill -s \"$1\" -- \"$2\"", "bash", name, &group]);
        kill.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    signal("TERM");
    // What is apart ends with this process, which is the first one there; nobody takes note of it
    // before.
    let is_apart = env::var_os(crate::inside::ALONE).is_some();
    let asked = std::time::Instant::now();
    // Elsewhere the last of the group may end after the child.
    while matches!(child.try_wait(), Ok(None)) || (!is_apart && signal("0")) {
        if asked.elapsed().as_secs() >= 3 {
            signal("KILL");
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        thread::sleep(crate::inside::TICK);
    }
}
