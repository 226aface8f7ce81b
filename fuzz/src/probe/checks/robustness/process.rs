//! The server's process, as Linux shows it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::probe::context::{Probe, after};
use crate::probe::finding::{Finding, Judged};
use crate::probe::lines::{Line, lines};
use crate::wire::tape::End;

/// Why there is nothing to see.
const UNSEEN: &str = "the process cannot be looked at: is it there, yours, and this Linux?";

/// How many descriptors it has.
pub(super) fn descriptors(probe: &Probe) -> Result<usize, Finding> {
    let pid = probe.settings.pid.unwrap_or_default();
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    entries.map(Iterator::count).map_err(|_| Finding::skip(UNSEEN))
}

/// How much memory it holds, in bytes.
pub(super) fn memory(probe: &Probe) -> Result<u64, Finding> {
    let pid = probe.settings.pid.unwrap_or_default();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.map_err(|_| Finding::skip(UNSEEN))?;
    let held = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let held = held.and_then(|held| held.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    held.map(|kilobytes| kilobytes << 10).ok_or_else(|| Finding::skip(UNSEEN))
}

/// Waits until the process has no more descriptors than before, and a few; how many it has then.
pub(super) async fn released(
    probe: &Probe,
    before: usize,
    time: Duration,
) -> Result<usize, Finding> {
    let deadline = Instant::now() + time;
    loop {
        let now = descriptors(probe)?;
        if now <= before + 3 || Instant::now() > deadline {
            return Ok(now);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ends the server, and looks how its streams end.
pub(super) async fn terminate(probe: &Probe) -> Judged {
    let pid = probe.settings.pid.unwrap_or_default();
    end(pid)?;
    let witness = probe.watched();
    let ended = witness.until(after(Duration::from_secs(10)), |tape| tape.end.is_some()).await;
    let tape = witness.tape();
    if !ended {
        let text = "10 s after SIGTERM the stream is still open";
        return Ok(Finding::fault(text).saw(&probe.target, &tape));
    }
    let is_clean = matches!(tape.end, Some((_, End::Complete | End::Closed)));
    let lines = lines(&tape.body);
    // The end of a long stream is not kept.
    let is_kept = tape.total <= tape.body.len() as u64;
    let is_whole = !is_kept || lines.last().is_none_or(Line::is_blank);
    let fault = (!is_clean || !is_whole).then(|| "the stream was broken off".to_owned());
    Ok(Finding::of(fault).saw(&probe.target, &tape))
}

#[cfg(unix)]
fn end(pid: u32) -> Result<(), Finding> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let sent = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
    match sent {
        Some(Ok(())) => Ok(()),
        _ => Err(Finding::skip("SIGTERM could not be sent: is the process there, and yours?")),
    }
}

#[cfg(not(unix))]
fn end(_: u32) -> Result<(), Finding> {
    Err(Finding::skip("there is no SIGTERM here"))
}
