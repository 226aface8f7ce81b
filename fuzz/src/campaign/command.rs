//! `sse-fuzz fuzz`: the command line.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Args;

use super::case::Case;
use super::run::{Finding, Report, Settings, run};
use crate::command::{self, Believed, header};
use crate::interruption::Interruption;
use crate::probe::{Hook, HookError, Target, TargetError, TrustError};
use crate::report_file;
use crate::wire::shown::shown;

/// Sends a server odd requests, and sees whether it survives them
///
/// After each one the server must still answer the plain request, and a reader that does nothing
/// wrong must get events or keep-alives as before. A failure is played again, made as small as
/// possible, and written to a file for `sse-fuzz replay`.
///
/// It exits with 0 if nothing was found, 1 if something was, 2 for wrong usage, 3 if the server
/// cannot be reached or sends no event stream.
#[derive(Args, Debug)]
pub struct Command {
    /// The URL of a stream
    url: String,
    /// A header for each request, `Name: value`; may be given again. It is in no file
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    #[command(flatten)]
    believed: Believed,
    /// The seed: the same seed makes the same cases
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How many cases to send at most; a plain request follows each
    #[arg(long, value_name = "N", default_value = "1000",
        value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    cases: u64,
    /// How long it may take, in seconds; the last finding may take longer
    #[arg(long, value_name = "SECONDS", default_value = "60",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    time: u64,
    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value = "3000",
        value_parser = clap::value_parser!(u64).range(50..=60_000))]
    patience: u64,
    /// A command that starts the server, and starts it again after a crash; split as a shell would
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// A command that publishes, so that the reader gets something; {data} and {event} stand for
    /// the fields
    #[arg(long, value_name = "COMMAND")]
    publish: Option<String>,
    /// The folder for the files of the findings
    #[arg(long, value_name = "FOLDER", default_value = "sse-fuzz-findings")]
    out: PathBuf,
    /// Writes the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// I own the server: allows one that is not on loopback
    #[arg(long)]
    i_own_target: bool,
}

/// Why it could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("--ca: {0}")]
    Ca(#[from] TrustError),
    #[error("this is for servers on loopback; for {0} say --i-own-target, if that is true")]
    NotMine(String),
    #[error("the command of --start cannot be read ({0}); see to its quotes")]
    Start(#[from] shell_words::ParseError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Read(#[from] super::reproducer::ReadError),
    #[error("the file does not say where the server is; give its URL")]
    NoUrl,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A server that may be treated like this.
pub(super) fn own(url: &str, believed: &Believed, i_own_target: bool) -> Result<Target, Error> {
    let target = Target::new(url)?.trusting(believed.trust()?);
    if target.is_loopback() || i_own_target {
        Ok(target)
    } else {
        Err(Error::NotMine(target.shown()))
    }
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
        let target = own(&self.url, &self.believed, self.i_own_target)?;
        let settings = Settings {
            headers: self.header.clone(),
            publish: self.publish.as_deref().map(Hook::command).transpose()?,
            start: self.start.as_deref().map(shell_words::split).transpose()?,
            seed: self.seed,
            cases: self.cases,
            time: Duration::from_secs(self.time),
            patience: Duration::from_millis(self.patience),
            folder: Some(self.out.clone()),
            ..Settings::default()
        };
        let report = Mutex::new(Report::default());
        let interruption = Interruption::new()?;
        let tell = |finding: &Finding| drop(told(&mut anstream::stdout(), finding));
        let is_interrupted = tokio::select! {
            () = run(target, &settings, &report, tell) => false,
            // Dropping it closes its connections, and ends the server if it has started it.
            () = interruption.wait() => true,
        };
        let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary(&mut anstream::stdout(), &report)?;
        report_file::write(self.json.as_deref(), |file| {
            Ok(serde_json::to_writer_pretty(file, &report)?)
        })?;
        Ok(ExitCode::from(match (is_interrupted, report.confirmed(), &report.problem) {
            (true, ..) => 130,
            (_, 0, Some(_)) if report.findings.is_empty() => 3,
            (_, 0, None) => 0,
            _ => 1,
        }))
    }
}

/// A finding, with what to do about it.
fn told(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let reproducer = &finding.reproducer;
    let parts: Vec<_> = reproducer.parts().into_iter().collect();
    let seen = if finding.is_confirmed { "" } else { " (seen once, and not again)" };
    writeln!(out, "{}: {}{seen}", reproducer.kind.word(), reproducer.reason)?;
    writeln!(
        out,
        "    by: {}",
        if parts.is_empty() { "nothing odd".into() } else { parts.join(", ") }
    )?;
    for case in reproducer.cases.iter().take(3) {
        writeln!(out, "    {}", describe(case))?;
    }
    if let Some(file) = &finding.file {
        writeln!(out, "    sse-fuzz replay {}", shell_words::quote(&file.display().to_string()))?;
    }
    out.flush()
}

/// What is odd about a case, with the values.
pub(super) fn describe(case: &Case) -> String {
    serde_json::to_string(case).map(|text| shown(text.as_bytes())).unwrap_or_default()
}

fn summary(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if let Some(problem) = &report.problem {
        writeln!(out, "{problem}")?;
    }
    let unsure = report.findings.len() - report.confirmed();
    writeln!(
        out,
        "{} cases (seed {}), {} findings, {unsure} not seen again",
        report.cases,
        report.seed,
        report.confirmed(),
    )
}
