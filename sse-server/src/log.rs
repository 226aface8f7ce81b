//! The log, on standard error: for people, or as JSON.
//!
//! Serving never waits for the reader of the log: a thread of its own writes
//! the lines, and a line that cannot be written, or that comes when too many wait, is lost.

use std::fmt::{self, Write};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use sse_server::config::LogFormat;
use tracing::warn;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::Error;

/// The target of what is logged whatever the filter leaves out: it is told once, and nowhere else.
pub(crate) const TOLD: &str = "sse_server::told";

/// How many lines may wait to be written.
const WAITING: usize = 10_000;

/// How often it is looked whether lines were lost.
const LOOK: Duration = Duration::from_secs(10);

/// Starts the log. Dropping what is returned writes the lines that wait, if that takes no longer
/// than a second.
pub(crate) fn start(directives: &str, format: LogFormat) -> Result<WorkerGuard, Error> {
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| format!("--log: {directives:?} is no log filter: {error}"))?
        .add_directive(format!("{TOLD}=info").parse()?);
    let writing = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING);
    let (writer, guard) = writing.thread_name("log").finish(stderr());
    let lost = writer.error_counter();
    // Or a line that cannot be written would be a panic where it is logged.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            let log = log.fmt_fields(text_fields());
            log.with_ansi(stderr().is_terminal()).with_target(false).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    std::thread::Builder::new().name("log-losses".to_owned()).spawn(move || tell_losses(&lost))?;
    Ok(guard)
}

/// The message and the fields, with spaces between them.
fn text_fields() -> impl for<'writer> FormatFields<'writer> + 'static {
    debug_fn(|out, field, value| write_field(out, field.name(), value)).delimited(" ")
}

/// Writes a field, or the message. Whatever others have put into it, it stays on its line and
/// commands no terminal.
fn write_field(out: &mut Writer<'_>, name: &str, value: &dyn fmt::Debug) -> fmt::Result {
    match name {
        "message" => {}
        // What a line of the crate `log` brings with it is told elsewhere in the line.
        _ if name.starts_with("log.") => return Ok(()),
        _ => write!(out, "{name}=")?,
    }
    write!(Escaping(out), "{value:?}")
}

/// Writes control characters as escapes.
struct Escaping<'a, 'b>(&'a mut Writer<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| {
            if c.is_control() {
                write!(self.0, "{}", c.escape_default())
            } else {
                self.0.write_char(c)
            }
        })
    }
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_others_have_written_stays_on_its_line_and_commands_no_terminal() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(text_fields())
            .with_writer(move || writer.clone())
            .finish();
        let hostile = "z\n2026 INFO forged \u{1b}[31m\u{9b}2J";
        tracing::subscriber::with_default(log, || {
            let error = io::Error::other(hostile);
            warn!(channel = %hostile, "displayed");
            warn!(?hostile, hostile, %error, "as it is");
            warn!("in the message: {hostile}");
        });
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("UTF-8");
        let escaped = r"z\n2026 INFO forged \u{1b}[31m\u{9b}2J";
        assert_eq!(
            text,
            format!(
                " WARN displayed channel={escaped}\n \
                 WARN as it is hostile=\"{escaped}\" hostile=\"{escaped}\" error={escaped}\n \
                 WARN in the message: {escaped}\n"
            )
        );
    }
}
