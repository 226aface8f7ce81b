//! What is printed: items on standard output, for people or for programs, and what happens to the
//! connection on standard error.

use std::fmt::{self, Display, Write as _};
use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use sse_client::Event;

use crate::args::{Args, Verbosity};
use crate::pretty::{Layout, lay_out};

/// So much is written at once, if it comes at once.
const BUFFER: usize = 64 << 10;

const TYPE: Style = AnsiColor::Cyan.on_default().bold();
const ID: Style = Style::new().dimmed();
const COMMENT: Style = AnsiColor::Green.on_default();

/// In which form events are printed.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Data,
    Human { layout: Layout, colours: bool },
}

/// Standard output. What is printed is kept until it is [flushed](Self::flush), or is much.
pub(crate) struct Output {
    form: Form,
    out: BufWriter<StdoutLock<'static>>,
    line: String,
}

/// The lines of `--json`; those that `sse-fuzz decode` has too are the same.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Event { event: &'a str, data: &'a str, id: &'a str },
    Reset { reset: &'a [String] },
    Comment { comment: &'a str },
    Error { error: &'a str },
}

impl Output {
    pub(crate) fn new(args: &Args) -> Self {
        let form = if args.json {
            Form::Json
        } else if args.data {
            Form::Data
        } else {
            let layout = if args.pretty { Layout::Pretty } else { Layout::Compact };
            let colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
            Form::Human { layout, colours }
        };
        let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        Self { form, out, line: String::new() }
    }

    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let (name, id, data) = (event.event_type(), event.last_event_id(), event.data());
        match self.form {
            Form::Json => self.json(&Line::Event { event: name, data, id }),
            Form::Data => {
                self.out.write_all(data.as_bytes())?;
                self.out.write_all(b"\n")
            }
            Form::Human { layout, colours } => {
                let line = &mut self.line;
                line.clear();
                styled(line, colours, TYPE, name);
                line.push(' ');
                styled(line, colours, ID, if id.is_empty() { "-" } else { id });
                match lay_out(data, layout) {
                    Some(data) => put_data(line, &data),
                    None => put_data(line, data),
                }
                line.push('\n');
                self.out.write_all(line.as_bytes())
            }
        }
    }

    pub(crate) fn reset(&mut self, channels: &[String]) -> io::Result<()> {
        match self.form {
            Form::Json => self.json(&Line::Reset { reset: channels }),
            Form::Data | Form::Human { .. } => Ok(()),
        }
    }

    pub(crate) fn error(&mut self, error: &str) -> io::Result<()> {
        match self.form {
            Form::Json => self.json(&Line::Error { error }),
            Form::Data | Form::Human { .. } => Ok(()),
        }
    }

    pub(crate) fn comment(&mut self, comment: &str) -> io::Result<()> {
        match self.form {
            Form::Json => self.json(&Line::Comment { comment }),
            Form::Data => Ok(()),
            Form::Human { colours, .. } => {
                self.line.clear();
                styled(&mut self.line, colours, COMMENT, &format!(": {comment}"));
                self.line.push('\n');
                self.out.write_all(self.line.as_bytes())
            }
        }
    }

    fn json(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Data on the same line, or if they are several lines, below it and indented.
fn put_data(line: &mut String, data: &str) {
    let separator = if data.contains('\n') { "\n    " } else { " " };
    for part in data.split('\n') {
        line.push_str(separator);
        put(line, Visible(part));
    }
}

fn styled(line: &mut String, colours: bool, style: Style, text: &str) {
    if colours {
        put(line, format_args!("{style}{}{style:#}", Visible(text)));
    } else {
        put(line, Visible(text));
    }
}

fn put(line: &mut String, text: impl Display) {
    write!(line, "{text}").expect("a string takes all text");
}

/// Text of a server's, as people are shown it: control characters would be commands to a terminal,
/// so they are written out. Tabs are let through.
struct Visible<'a>(&'a str);

impl Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_command = |c: char| c.is_control() && c != '\t';
        let mut rest = self.0;
        while let Some(start) = rest.find(is_command) {
            let (text, control) = rest.split_at(start);
            f.write_str(text)?;
            let mut chars = control.chars();
            chars.next().map_or(Ok(()), |c| write!(f, "{}", c.escape_default()))?;
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

/// Standard error: a line for each thing that is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages(Verbosity);

impl Messages {
    pub(crate) const fn new(verbosity: Verbosity) -> Self {
        Self(verbosity)
    }

    /// What ends the program.
    pub(crate) fn error(self, text: &str) {
        self.say(Verbosity::Quiet, text);
    }

    /// What happens to the stream.
    pub(crate) fn notice(self, text: &str) {
        self.say(Verbosity::Normal, text);
    }

    /// What helps to find a fault.
    pub(crate) fn detail(self, text: &str) {
        self.say(Verbosity::Verbose, text);
    }

    fn say(self, from: Verbosity, text: &str) {
        if self.0 >= from {
            // If standard error is gone, there is nowhere to report that.
            drop(writeln!(io::stderr(), "ssecat: {}", Visible(text)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_cannot_command_a_terminal() {
        let text = Visible("a\u{1b}[2Jb\tc\rd\u{9b}é").to_string();
        assert_eq!(text, "a\\u{1b}[2Jb\tc\\rd\\u{9b}é");
    }

    #[test]
    fn several_lines_of_data_are_indented() {
        let mut line = "message -".to_owned();
        put_data(&mut line, "a\nb");
        assert_eq!(line, "message -\n    a\n    b");
    }
}
