//! `sse-fuzz replay`: plays a finding again.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::case::Case;
use super::command::{Error, describe, own};
use super::reproducer::Reproducer;
use super::subject::Subject;
use crate::command::{self, Believed, header};
use crate::interruption::Interruption;
use crate::wire::shown::shown;

/// Replays a finding of `sse-fuzz fuzz`, or a request that was saved as bytes
///
/// It exits with 1 if the same failure happens again, 0 if not, 2 for wrong usage, and 3 if the
/// server cannot be reached or sends no event stream. For a request as bytes, any failure counts.
#[derive(Args, Debug)]
pub struct Replay {
    /// A file of `sse-fuzz fuzz`, or a request as it is on the wire
    file: PathBuf,
    /// The URL of the stream, if it is not the one in the file; with the secrets of its query
    url: Option<String>,
    /// A header for each request, `Name: value`; may be given again
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    #[command(flatten)]
    believed: Believed,
    /// How long an answer may take, in milliseconds
    #[arg(long, value_name = "MS", default_value = "3000",
        value_parser = clap::value_parser!(u64).range(50..=60_000))]
    patience: u64,
    /// I own the server: allows one that is not on loopback
    #[arg(long)]
    i_own_target: bool,
}

impl Replay {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// If no runtime can be started. All else is told on standard error and by the exit code.
    pub fn run(&self) -> io::Result<ExitCode> {
        command::run(self.run_here())
    }

    async fn run_here(&self) -> Result<ExitCode, Error> {
        let (reproducer, cases) = Reproducer::read(&self.file)?;
        let of_file = reproducer.as_ref().map(|reproducer| reproducer.url.as_str());
        let url = self.url.as_deref().or(of_file).ok_or(Error::NoUrl)?;
        let target = own(url, &self.believed, self.i_own_target)?;
        let patience = Duration::from_millis(self.patience);
        let subject = Subject::new(target, self.header.clone(), patience);
        let interruption = Interruption::new()?;
        tokio::select! {
            code = play(subject, reproducer, &cases) => code,
            () = interruption.wait() => Ok(ExitCode::from(130)),
        }
    }
}

async fn play(
    mut subject: Subject,
    reproducer: Option<Reproducer>,
    cases: &[Case],
) -> Result<ExitCode, Error> {
    let mut out = anstream::stdout();
    if let Err(problem) = subject.begin().await {
        writeln!(out, "{problem}")?;
        return Ok(ExitCode::from(3));
    }
    let Some(reproducer) = reproducer else {
        let mut code = ExitCode::SUCCESS;
        for case in cases {
            match subject.play(case).await {
                Ok(tape) => {
                    let head = tape.head.map(|head| head.text).unwrap_or_default();
                    writeln!(out, "{}{}", head, shown(&tape.body))?;
                }
                Err(fault) => {
                    writeln!(out, "{}: {}", fault.kind.word(), fault.reason)?;
                    code = ExitCode::from(1);
                }
            }
        }
        if !subject.is_alive().await {
            writeln!(out, "dead: it does not answer the plain request any more")?;
            code = ExitCode::from(1);
        }
        return Ok(code);
    };
    for case in cases {
        writeln!(out, "{}", describe(case))?;
    }
    if let Some(witness) = subject.witness().await {
        // How lively it is says how long a silence means something.
        let lively = tokio::time::Instant::now() + Duration::from_secs(2);
        witness.until(lively, |tape| tape.marks.len() > 8).await;
        subject.learn_silence(&witness);
    }
    let is_seen = subject.shows(reproducer.kind, cases).await;
    let word = reproducer.kind.word();
    if is_seen {
        writeln!(out, "{word}: {}", reproducer.reason)?;
        return Ok(ExitCode::from(1));
    }
    writeln!(out, "not seen again: {word}: {}", reproducer.reason)?;
    Ok(ExitCode::SUCCESS)
}
