//! The log, on standard error: for people, or as JSON.
//!
//! Whoever serves never waits for whoever reads the log, and never suffers from them: a thread of its own writes
//! the lines, and a line that cannot be written, or that comes when too many wait, is lost.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use sse_server::config::LogFormat;
use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::Error;

/// The target of what is logged whatever the filter leaves out: it is told once, and nowhere else.
pub(crate) const TOLD: &str = "sse_server::told";

/// How many lines may wait to be written.
const WAITING: usize = 10_000;

/// How often it is looked whether lines were lost.
const LOOK: Duration = Duration::from_secs(10);

/// Starts the log. Dropping what is returned writes the lines that wait, if that takes no longer than a second.
pub(crate) fn start(directives: &str, format: LogFormat) -> Result<WorkerGuard, Error> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("--log: {directives:?} is no log filter: {error}"))?
        .add_directive(format!("{TOLD}=info").parse()?);
    let writing = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING);
    let (writer, guard) = writing.thread_name("log").finish(stderr());
    let lost = writer.error_counter();
    // Or a line that cannot be written would be a panic of whoever has something to say.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    std::thread::Builder::new().name("log-losses".to_owned()).spawn(move || tell_losses(&lost))?;
    Ok(guard)
}

/// Says how many lines were lost, as soon as lines are written again.
fn tell_losses(lost: &ErrorCounter) {
    let mut told = 0;
    loop {
        std::thread::sleep(LOOK);
        let lines = lost.dropped_lines() - told;
        if lines > 0 {
            warn!(lines, "lines of the log were lost, because they were not taken in time");
            told += lines;
        }
    }
}
