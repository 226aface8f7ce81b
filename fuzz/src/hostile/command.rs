//! `sse-fuzz hostile`: serves the cases, or runs a client through them.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::case::Case;
use super::catalogue;
use super::check::{self, Client, CommandError};
use super::doubles::Double;
use super::report;
use super::serve::Server;
use crate::command;
use crate::interruption::Interruption;
use crate::report_file;
use crate::verdict::Summary;

/// Misbehaves on purpose, for testing clients
///
/// Without --check it serves the cases, each at a URL of its own, until it is interrupted. Add
/// ?run=ANY-WORD to a URL to start the case again.
///
/// With --check it runs a client's command for each case and says what the client did wrong. The
/// command prints each event as a line of JSON, {"event":"message","data":"…","id":"…"}; other
/// lines are passed over. It exits with 0 if nothing failed, 1 if something did, 2 for wrong usage,
/// and 4 if nothing failed and nothing passed.
#[derive(Args, Debug)]
pub struct Command {
    /// Ids of cases, or sections such as `parse`; by default all cases
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Prints the cases, and ends
    #[arg(long)]
    list: bool,
    /// Is a service's double instead, which misbehaves as its URL asks: prints the URLs to give to
    /// the service's client
    #[arg(long, value_enum, conflicts_with_all = ["cases", "check", "list"])]
    dialect: Option<Double>,
    /// Where to listen; two more ports, for other origins and for TLS, are chosen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The client's command. {url} stands for the URL, {header} for a header `Name: value`,
    /// {method} and {body} for what to send, {ca} for a file with a certificate to trust. Cases
    /// that need a placeholder that the command lacks are skipped
    #[arg(long, value_name = "COMMAND")]
    check: Option<String>,
    /// How many cases run at once
    #[arg(long, value_name = "N", default_value = "4", requires = "check",
        value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Believes what it sees once; otherwise what goes wrong is run again, and a client is accused
    /// of what it gets wrong both times
    #[arg(long, requires = "check")]
    once: bool,
    /// Counts warnings as failures: what no standard asks for, but practice
    #[arg(long, requires = "check")]
    strict: bool,
    /// Writes the report as JSON
    #[arg(long, value_name = "FILE", requires = "check")]
    json: Option<PathBuf>,
    /// Writes the report as XML in the form of `JUnit`
    #[arg(long, value_name = "FILE", requires = "check")]
    junit: Option<PathBuf>,
}

/// Why it could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no case {0:?}; --list shows them")]
    NoCase(String),
    #[error(transparent)]
    Client(#[from] CommandError),
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// If no runtime can be started. All else is told on standard error and by the exit code.
    pub fn run(&self) -> io::Result<ExitCode> {
        command::run(self.run_here())
    }

    async fn run_here(&self) -> Result<ExitCode, Error> {
        let cases = command::chosen(catalogue::cases(), &self.cases, Case::id);
        let cases = cases.map_err(Error::NoCase)?;
        let mut out = anstream::stdout();
        if self.list {
            return Ok(command::list(cases.iter().map(|case| (case.id(), case.title())))?);
        }
        let client = self.check.as_deref().map(Client::new).transpose()?;
        let interruption = Interruption::new()?;
        let server = Server::bind(self.listen).await;
        let server = server.map_err(|error| Error::Listen(self.listen, error))?;
        if let Some(double) = self.dialect {
            write!(out, "{}", double.listed(server.address()))?;
            writeln!(out, "\nA word behind it has requests counted anew. Interrupt to end.")?;
            out.flush()?;
            interruption.wait().await;
            return Ok(ExitCode::SUCCESS);
        }
        let Some(mut client) = client else {
            for case in cases {
                writeln!(out, "{} {}", case.method(), server.url(&case.id, ""))?;
                writeln!(out, "  {}", case.title)?;
                writeln!(out, "  A correct client: {} ({})", case.correct, case.reference)?;
            }
            let address = server.address();
            writeln!(
                out,
                "\nhttp://{address}/ lists them, too; http://{address}/ca.pem is the authority of"
            )?;
            writeln!(out, "those with https. Interrupt to end.")?;
            out.flush()?;
            interruption.wait().await;
            return Ok(ExitCode::SUCCESS);
        };
        client.believe(server.authority())?;
        let pace = check::Pace { jobs: usize::from(self.jobs), is_once: self.once };
        let tell = |outcome: &check::Outcome| drop(report::line(&mut anstream::stdout(), outcome));
        let run = check::run(Arc::new(server), client, cases, pace, tell);
        let outcomes = tokio::select! {
            outcomes = run => outcomes?,
            // Dropping the run ends the clients.
            () = interruption.wait() => return Ok(ExitCode::from(130)),
        };
        report::summary(&mut out, &outcomes)?;
        let client = self.check.as_deref().unwrap_or_default();
        report_file::write(self.json.as_deref(), |file| report::json(file, client, &outcomes))?;
        report_file::write(self.junit.as_deref(), |file| report::junit(file, &outcomes))?;
        Ok(match Summary::of(report::verdicts(&outcomes)) {
            Summary { fail: 1.., .. } => ExitCode::from(1),
            Summary { warn: 1.., .. } if self.strict => ExitCode::from(1),
            Summary { pass: 0, warn: 0, .. } => ExitCode::from(4),
            _ => ExitCode::SUCCESS,
        })
    }
}
