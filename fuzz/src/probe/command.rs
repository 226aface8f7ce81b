//! `sse-fuzz probe`: the command line.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::checks::checks;
use super::expected::{self, NoSuchCheck};
use super::outcome::Outcome;
use super::publish::{Hook, HookError};
use super::report::{self, Report, forms, html, terminal};
use super::run::{RunError, chosen, run};
use super::settings::{Profile, Settings};
use crate::command::{self, Believed, header};
use crate::interruption::Interruption;
use crate::report_file;
use crate::wire::target::{Target, TargetError};
use crate::wire::tls::TrustError;

/// Tests a server of event streams
///
/// Give the URL of one or more streams, and the checks to run: ids such as `res.loss`, or sections
/// such as `res`; by default all of them. A check that cannot run is skipped, and one that saw too
/// little is inconclusive: publish events (--publish, --publish-url) to see more of a quiet stream.
///
/// It exits with 0 if nothing failed, 1 if something did, 2 for wrong usage, 3 if a server cannot
/// be reached or sends no event stream, and 4 if nothing could be judged.
#[derive(Args, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "these are switches of a command line")]
pub struct Command {
    /// URLs, and ids of checks or sections
    #[arg(value_name = "URL|CHECK")]
    words: Vec<String>,
    /// Prints the checks, and ends
    #[arg(long)]
    list: bool,
    /// The server's name in reports, beside its URL
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What kind of server it is; some expectations depend on it
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// A header for each request, `Name: value`; may be given again. Its value is in no report
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// A header of a second user, who may not read the stream. It replaces the first user's header
    /// of that name; may be given again
    #[arg(long, value_name = "HEADER", value_parser = header)]
    second_header: Vec<(String, String)>,
    #[command(flatten)]
    believed: Believed,
    /// Sends this as JSON, with POST instead of GET
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// A command that publishes. {data}, {event}, {id}, {retry}, {comment} and {topic} stand for
    /// the fields, {data:json} and so on for the same as JSON; without {data} the command gets the
    /// data on standard input
    #[arg(long, value_name = "COMMAND")]
    publish: Option<String>,
    /// Where to POST `{"channel":…,"event":…,"text":…}` to publish
    #[arg(long, value_name = "URL", conflicts_with = "publish")]
    publish_url: Option<String>,
    /// The token for --publish-url, sent as `Authorization: Bearer`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SSE_FUZZ_PUBLISH_TOKEN",
        hide_env_values = true,
        requires = "publish_url"
    )]
    publish_token: Option<String>,
    /// A header for --publish-url, `Name: value`; may be given again
    #[arg(long, value_name = "HEADER", value_parser = header, requires = "publish_url")]
    publish_header: Vec<(String, String)>,
    /// The channel for --publish-url; by default the one in the stream's URL
    #[arg(long, value_name = "NAME", requires = "publish_url")]
    publish_channel: Option<String>,
    /// How long to wait for events, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// How many events must come before resumption is judged
    #[arg(long, value_name = "N", default_value = "8",
        value_parser = clap::value_parser!(u64).range(3..=10_000))]
    min_events: u64,
    /// Looks at eight times as much before it says that nothing is lost, repeated or out of order:
    /// for faults that are rare. It waits for a minute at least
    #[arg(long)]
    thorough: bool,
    /// Believes the first look, and does not ask again for what did not come in time
    #[arg(long)]
    once: bool,
    /// The seed that decides where connections are cut
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How long probing one server may take, in seconds; by default 120, 600 with --thorough, and
    /// more with a longer --wait
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: Option<u64>,
    /// Also runs checks that may harm a server; on loopback only
    #[arg(long)]
    aggressive: bool,
    /// I own the server: allows --aggressive wherever it is
    #[arg(long, requires = "aggressive")]
    i_own_target: bool,
    /// The server's process id, to look at its memory and descriptors (Linux)
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Warnings count as failures
    #[arg(long)]
    strict: bool,
    /// Ids of checks that are known to fail, one per line. They do not count as failures; one that
    /// no longer fails does
    #[arg(long, value_name = "FILE")]
    expected_failures: Option<PathBuf>,
    /// Adds the servers of a report that --json has written; may be given again
    #[arg(long, value_name = "FILE")]
    merge: Vec<PathBuf>,
    /// Writes the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as XML in the form of `JUnit`
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Writes the report as one HTML file, with a matrix of all servers
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    forms: forms::Forms,
}

/// Why it could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("give the URL of an event stream, or --list, or --merge")]
    NoUrl,
    #[error("--name is for one server; there are {0} URLs")]
    Names(usize),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("--ca: {0}")]
    Ca(#[from] TrustError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("--publish-url: {0} has no channel in its URL; give --publish-channel")]
    NoChannel(String),
    #[error("--aggressive is for servers on loopback; for {0} say --i-own-target, if that is true")]
    NotMine(String),
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no report of sse-fuzz probe: {source}", path.display())]
    Merge { path: PathBuf, source: serde_json::Error },
    #[error(transparent)]
    Expected(#[from] NoSuchCheck),
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
        let is_url = |word: &&String| word.contains("://");
        let names: Vec<String> = self.words.iter().filter(|word| !is_url(word)).cloned().collect();
        if self.list {
            let checks = chosen(&names)?;
            return Ok(command::list(checks.iter().map(|check| (check.id(), check.title())))?);
        }
        chosen(&names)?;
        let urls = self.words.iter().filter(is_url);
        let trust = self.believed.trust()?;
        let target = |url: &String| Target::new(url).map(|target| target.trusting(trust.clone()));
        let targets = urls.map(target).collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() && self.merge.is_empty() {
            return Err(Error::NoUrl);
        }
        if self.name.is_some() && targets.len() > 1 {
            return Err(Error::Names(targets.len()));
        }
        let mut others = targets.iter().filter(|target| !target.is_loopback());
        if self.aggressive
            && !self.i_own_target
            && let Some(target) = others.next()
        {
            return Err(Error::NotMine(target.shown()));
        }
        let known = self.known_failures()?;
        let mut reports = self.merged()?;
        let settings = targets
            .iter()
            .map(|target| self.settings(target, &names))
            .collect::<Result<Vec<_>, _>>()?;
        let interruption = Interruption::new()?;
        let probing = async {
            for (target, settings) in targets.into_iter().zip(settings) {
                let tell = |outcome: &Outcome| {
                    drop(terminal::line(&mut anstream::stdout(), outcome));
                };
                let start = Instant::now();
                let mut report = run(target, settings, tell).await?;
                report.name.clone_from(&self.name);
                report.seconds = start.elapsed().as_secs_f32();
                expected::apply(&mut report.checks, &known, self.strict);
                report.count();
                terminal::summary(&mut anstream::stdout(), &report, self.strict)?;
                reports.push(report);
            }
            Ok::<_, Error>(reports)
        };
        let reports = tokio::select! {
            reports = probing => reports?,
            // Dropping the run closes its connections and ends its commands.
            () = interruption.wait() => return Ok(ExitCode::from(130)),
        };
        if reports.len() > 1 {
            terminal::table(&mut anstream::stdout(), &reports)?;
        }
        report_file::write(self.json.as_deref(), |file| report::json(file, &reports))?;
        report_file::write(self.junit.as_deref(), |file| {
            report::junit(file, &reports, self.strict)
        })?;
        report_file::write(self.html.as_deref(), |file| html::html(file, &reports))?;
        self.forms.write(&reports, self.strict)?;
        let codes = reports.iter().map(|report| report.exit_code(self.strict));
        // The gravest first: unreachable, failed, clean. Inconclusive only if all servers are.
        let codes: Vec<u8> = codes.collect();
        let code = [3, 1, 0, 4].into_iter().find(|code| codes.contains(code)).unwrap_or(4);
        Ok(ExitCode::from(code))
    }

    fn known_failures(&self) -> Result<Vec<String>, Error> {
        let Some(path) = &self.expected_failures else { return Ok(Vec::new()) };
        let read = |source| Error::Read { path: path.clone(), source };
        Ok(expected::read(&fs::read_to_string(path).map_err(read)?, &checks())?)
    }

    fn merged(&self) -> Result<Vec<Report>, Error> {
        let mut reports = Vec::new();
        for path in &self.merge {
            let bytes =
                fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let merge = |source| Error::Merge { path: path.clone(), source };
            reports.extend(report::from_json(&bytes).map_err(merge)?);
        }
        Ok(reports)
    }

    fn settings(&self, target: &Target, names: &[String]) -> Result<Settings, Error> {
        let publish = match (&self.publish, &self.publish_url) {
            (Some(line), _) => Some(Hook::command(line)?),
            (None, Some(url)) => {
                let channel = self.publish_channel.clone().or_else(|| target.channel());
                let channel = channel.ok_or_else(|| Error::NoChannel(target.shown()))?;
                Some(Hook::Url {
                    target: Target::new(url)
                        .map_err(HookError::Url)?
                        .trusting(target.trust().clone()),
                    token: self.publish_token.clone(),
                    headers: self.publish_header.clone(),
                    channel,
                })
            }
            (None, None) => None,
        };
        let wait = if self.thorough { self.wait.max(60) } else { self.wait };
        let least = if self.thorough { 600 } else { 120 };
        let deadline = self.deadline.unwrap_or_else(|| least.max(wait + 60));
        Ok(Settings {
            profile: self.profile,
            checks: names.to_vec(),
            headers: self.header.clone(),
            second_headers: self.second_header.clone(),
            body: self.body.clone(),
            publish,
            wait: Duration::from_secs(wait),
            min_events: usize::try_from(self.min_events).unwrap_or(usize::MAX),
            thorough: self.thorough,
            once: self.once,
            seed: self.seed,
            aggressive: self.aggressive,
            pid: self.pid,
            deadline: Duration::from_secs(deadline),
        })
    }
}
