//! What the program does when it is not told to serve: a file for each command, and how they end.
//!
//! May enter: clients of a server, settings, terminals. May not: anything that serving needs.

mod check_config;
mod publish;
#[cfg(feature = "tail")]
mod tail;
mod token;
mod visible;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use sse_server::config::{Settings, without_empty_variables};

use self::visible::Visible;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  it could not be done; the message says why
  2  the command line, or a variable of the environment, is wrong
  3  the server could not be reached, or cannot do it now; trying again may help";

/// A Server-Sent Events server: channels, durable ids, replay. Speaks django-eventstream's
/// protocol.
///
/// Without a command it serves. Every flag can also be given as an environment variable
/// (`SSE_SERVER_LISTEN`) or as a key of the file named by `--config` (`listen = "…"`). A flag beats
/// the environment, which beats the file.
#[derive(Debug, Parser)]
#[command(name = "sse-server", version, args_conflicts_with_subcommands = true)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// Reads the command line and the environment, or ends with what is wrong with them.
    pub(crate) fn read() -> (Self, ArgMatches) {
        let command = without_empty_variables(Self::command());
        let first = std::env::args_os().nth(1).unwrap_or_default();
        // The variables for serving do not get into the way of other commands.
        let serves = !command.get_subcommands().any(|other| *other.get_name() == *first);
        let command = if serves { command } else { command.mut_args(|arg| arg.env(None::<&str>)) };
        let matches = command.get_matches();
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        (cli, matches)
    }
}

/// Without a command it serves.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Publish(publish::Publish),
    #[cfg(feature = "tail")]
    Tail(tail::Tail),
    CheckConfig(check_config::CheckConfig),
    Token(token::Token),
}

/// Why a command has not done what it was asked for.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot be done.
    Refused(String),
    /// It cannot be done now.
    Unavailable(String),
    /// The output is no longer read: `head -1` has seen enough.
    Unread,
}

impl Failure {
    fn refused(error: impl fmt::Display) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Refused(format!("cannot write the output: {error}")),
        }
    }
}

impl Command {
    /// Does it, and says what went wrong.
    pub(crate) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match (self, runtime) {
            (_, Err(error)) => Err(Failure::refused(error)),
            (Self::Publish(publish), Ok(runtime)) => runtime.block_on(publish.run()),
            #[cfg(feature = "tail")]
            (Self::Tail(tail), Ok(runtime)) => runtime.block_on(tail.run()),
            (Self::CheckConfig(check), Ok(_)) => check.run(),
            (Self::Token(token), Ok(_)) => token.run(),
        };
        let (code, message) = match done {
            Ok(()) | Err(Failure::Unread) => return ExitCode::SUCCESS,
            Err(Failure::Refused(message)) => (1, message),
            Err(Failure::Unavailable(message)) => (3, message),
        };
        complain(format_args!("error: {}", Visible::text(&message)));
        ExitCode::from(code)
    }
}

/// Prints a line, at once.
fn say(line: impl fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Says something about what is printed, on standard error.
fn complain(line: impl fmt::Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}
