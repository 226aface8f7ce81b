//! Child processes, and signals that ask us to end.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// How often we look at something that cannot wake us.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Runs a command, shows what it prints, and says whether it succeeded.
pub(crate) type Run<'r> = &'r mut dyn FnMut(Command) -> bool;

/// Runs a command whose output goes where ours goes, and says whether it succeeded.
pub(crate) fn shown(mut command: Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command whose output and whose end are ours.
pub(crate) fn ended(mut command: Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot start {name}: {error}"))?;
    Ok(ExitCode::from(exit_code(status)))
}

/// What a command prints, and how it ends.
pub(crate) fn output(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| format!("cannot start {name}: {error}"))
}

/// Prints a line. Errors are ignored: even if no one reads our output any more, the work at the
/// end, such as stopping the server, must be done.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let xtask = PathBuf::from(xtask);
    xtask.parent().map_or_else(|| "..".into(), PathBuf::from)
}

/// Where cargo has put this program, and puts the others: `target/debug`, unless it was told to use
/// another place.
pub(crate) fn built() -> PathBuf {
    let this = env::current_exe().ok();
    let folder = this.and_then(|this| this.parent().map(PathBuf::from));
    folder.unwrap_or_else(|| "target/debug".into())
}

/// `target`, relative to the workspace if it lies there, because then it is short.
pub(crate) fn target() -> PathBuf {
    let built = built();
    let target = built.parent().unwrap_or(&built);
    let workspace = env::current_dir().unwrap_or_default();
    target.strip_prefix(workspace).unwrap_or(target).into()
}

/// Tells the server's build which script its live page reads with.
const PAGE_CLIENT: &str = "SSE_SERVER_PAGE_CLIENT";

/// The script, once [`wasm`](crate::wasm) has built it.
pub(crate) fn page_client() -> PathBuf {
    target().join("wasm/page-client.js")
}

/// The cargo that runs this, with an empty standard input.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).stdin(Stdio::null());
    // The same for all, because another value has the server built anew.
    if let Ok(script) = page_client().canonicalize() {
        cargo.env(PAGE_CLIENT, script);
    }
    // What is built once needs no notes for the next time.
    if env::var_os("CI").is_some() && env::var_os("CARGO_INCREMENTAL").is_none() {
        cargo.env("CARGO_INCREMENTAL", "0");
    }
    // `cargo run` describes this package to us. Some build scripts, such as ring's, take that
    // for a change of their own package, and would build it again each time.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command to its end and hands on each line that it prints, on whichever of its two
/// outputs. `None` stands for a moment without a line.
pub(crate) fn run(
    mut command: Command,
    mut on_line: impl FnMut(Option<&[u8]>),
) -> io::Result<ExitStatus> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = Running::start(&mut command)?;
    // It holds the writing ends too, and the reader sees no end before they are closed.
    drop(command);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    let mut ended = None;
    loop {
        match (lines.recv_timeout(2 * TICK), ended) {
            (Ok(line), _) => on_line(Some(&line)),
            (Err(RecvTimeoutError::Timeout), None) => {
                on_line(None);
                ended = child.ended()?;
            }
            // The end; or what the child has left running holds the pipe, and is not waited for.
            (Err(_), Some(status)) => return Ok(status),
            (Err(RecvTimeoutError::Disconnected), None) => return child.child.wait(),
        }
    }
}

/// A child that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn().map_err(|error| {
            let name = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("cannot start {name}: {error}"))
        })?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end, waits for that, and kills it if it takes longer than `patience` or if
    /// another interrupt arrives.
    pub(crate) fn stop(mut self, patience: Duration, interrupts: &Interrupts) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        if self.ended()?.is_none() {
            // It does not matter if it has just ended.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        while self.ended()?.is_none() {
            if interrupts.arrived() || Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
                return Ok(());
            }
            thread::sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither does anything to a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP. From now on they only set a flag here.
#[derive(Debug)]
pub(crate) struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    pub(crate) fn listen() -> io::Result<Self> {
        use signal_hook::consts::signal;
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal::SIGINT, signal::SIGTERM, signal::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether one has arrived since the last call.
    pub(crate) fn arrived(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The code to exit with when a child's end is our end: its own, or 128 and the signal, as in
/// shells.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    if let Some(signal) = status.signal() {
        return u8::try_from(128 + signal).unwrap_or(1);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).stdin(Stdio::null());
        sh
    }

    fn lines_of(script: &str) -> (u8, String) {
        let mut text = Vec::new();
        let status = run(sh(script), |line| {
            text.extend_from_slice(line.unwrap_or_default());
        });
        let text = String::from_utf8(text).expect("ASCII");
        (exit_code(status.expect("sh is there")), text)
    }

    #[test]
    fn both_outputs_are_handed_on_in_order() {
        let script = "echo out; echo err >&2; printf more; exit 3";
        assert_eq!(lines_of(script), (3, "out\nerr\nmore".to_owned()));
    }

    #[test]
    fn what_a_child_leaves_running_is_not_waited_for() {
        let (code, pid) = lines_of("sleep 600 & echo $!");
        assert_eq!(code, 0);
        assert_eq!(lines_of(&format!("kill {pid}")), (0, String::new()));
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed() {
        let mut child = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
        let mut child = Running::start(child.stdout(Stdio::piped())).expect("sh is there");
        let mut line = String::new();
        let stdout = child.child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let interrupts = Interrupts(Arc::default());
        child.stop(Duration::from_millis(100), &interrupts).expect("killed");
    }

    #[test]
    fn a_second_interrupt_ends_the_patience() {
        let mut child = sh("trap '' TERM; echo ready; while :; do sleep 1; done");
        let mut child = Running::start(child.stdout(Stdio::piped())).expect("sh is there");
        let mut line = String::new();
        let stdout = child.child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let interrupts = Interrupts(Arc::new(AtomicBool::new(true)));
        child.stop(Duration::from_hours(1), &interrupts).expect("killed");
    }

    #[test]
    fn a_death_by_signal_is_told_as_shells_do() {
        assert_eq!(lines_of("kill -9 $$").0, 137);
    }
}
