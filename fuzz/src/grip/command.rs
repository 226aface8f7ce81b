//! `sse-fuzz grip`: the command line.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::check::Check;
use super::run::{RunError, chosen, run};
use super::settings::Settings;
use super::signer::{KeyError, Signer};
use crate::command::{self, Believed, header};
use crate::interruption::Interruption;
use crate::probe::report::{self, terminal};
use crate::probe::{Hook, HookError, Outcome};
use crate::report_file;
use crate::wire::target::{Target, TargetError};
use crate::wire::tls::TrustError;

/// Tests an origin behind a GRIP proxy such as Pushpin or Fastly Fanout
///
/// It asks the origin as the proxy would, with its signature, and as others would who are not the
/// proxy. No proxy is needed, and none is used. Give the URL of a stream at the origin itself, the
/// key that the proxy signs with, and the checks to run: ids such as `rec.gap`, or sections such
/// as `rec`; by default all of them.
///
/// It exits with 0 if nothing failed, 1 if something did, 2 for wrong usage, 3 if the origin cannot
/// be reached, and 4 if nothing could be judged.
#[derive(Args, Debug)]
pub struct Command {
    /// The URL, and ids of checks or sections
    #[arg(value_name = "URL|CHECK")]
    words: Vec<String>,
    /// Prints the checks, and ends
    #[arg(long)]
    list: bool,
    /// What the proxy signs with (`sig_key` of Pushpin): a text, `base64:` and bytes, or `file:`
    /// and the path of a key; a private key in PEM signs RS256 or ES256
    #[arg(
        long,
        value_name = "KEY",
        env = "SSE_FUZZ_GRIP_KEY",
        hide_env_values = true,
        default_value = "changeme"
    )]
    key: String,
    /// In whose name it signs (`sig_iss` of Pushpin)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// What the origin verifies with, if --key is a private key: a file in PEM
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// The origin's name in reports, beside its URL
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A header of the client, `Name: value`, such as its cookie; may be given again. Its value is
    /// in no report
    #[arg(long, value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,
    /// A header of a second user, whose stream is another one. It replaces the first user's header
    /// of that name; may be given again
    #[arg(long, value_name = "HEADER", value_parser = header)]
    second_header: Vec<(String, String)>,
    #[command(flatten)]
    believed: Believed,
    /// A command that publishes to the origin, with places as for `sse-fuzz probe`
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
    /// The channel for --publish-url; by default the one in the stream's URL
    #[arg(long, value_name = "NAME", requires = "publish_url")]
    publish_channel: Option<String>,
    /// How long to wait until what was published is in answers, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// How long all of it may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    deadline: u64,
    /// Warnings count as failures
    #[arg(long)]
    strict: bool,
    /// Writes the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the report as XML in the form of `JUnit`
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Why it could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("give the URL of one stream at the origin, or --list; there are {0}")]
    Urls(usize),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("--key: {0}")]
    Key(#[from] KeyError),
    #[error("--public-key: cannot read {}: {source}", path.display())]
    PublicKey { path: PathBuf, source: io::Error },
    #[error("--ca: {0}")]
    Ca(#[from] TrustError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error("--publish-url: {0} has no channel in its URL; give --publish-channel")]
    NoChannel(String),
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
        let (urls, names): (Vec<_>, Vec<_>) = self.words.iter().partition(is_url);
        let names: Vec<String> = names.into_iter().cloned().collect();
        let checks = chosen(&names)?;
        if self.list {
            return Ok(command::list(checks.iter().map(|it: &Check| (it.id(), it.title())))?);
        }
        let [url] = urls[..] else { return Err(Error::Urls(urls.len())) };
        let target = Target::new(url)?.trusting(self.believed.trust()?);
        let settings = self.settings(&target, names)?;
        let interruption = Interruption::new()?;
        let tell = |outcome: &Outcome| drop(terminal::line(&mut anstream::stdout(), outcome));
        let start = Instant::now();
        let mut report = tokio::select! {
            report = run(target, settings, tell) => report?,
            // Dropping the run closes its connections and ends its commands.
            () = interruption.wait() => return Ok(ExitCode::from(130)),
        };
        report.name.clone_from(&self.name);
        report.seconds = start.elapsed().as_secs_f32();
        terminal::summary(&mut anstream::stdout(), &report, self.strict)?;
        let reports = [report];
        report_file::write(self.json.as_deref(), |file| report::json(file, &reports))?;
        report_file::write(self.junit.as_deref(), |file| {
            report::junit(file, &reports, self.strict)
        })?;
        let [report] = reports;
        Ok(ExitCode::from(report.exit_code(self.strict)))
    }

    fn settings(&self, target: &Target, checks: Vec<String>) -> Result<Settings, Error> {
        let public = self.public_key.as_ref().map(|path| {
            fs::read_to_string(path)
                .map_err(|source| Error::PublicKey { path: path.clone(), source })
        });
        let signer =
            Signer::new(&self.key)?.issuer(self.issuer.clone()).public(public.transpose()?);
        let publish = match (&self.publish, &self.publish_url) {
            (Some(line), _) => Some(Hook::command(line)?),
            (None, Some(url)) => {
                let channel = self.publish_channel.clone().or_else(|| target.channel());
                let channel = channel.ok_or_else(|| Error::NoChannel(target.shown()))?;
                let to = Target::new(url).map_err(HookError::Url)?;
                let target = to.trusting(target.trust().clone());
                let token = self.publish_token.clone();
                Some(Hook::Url { target, token, headers: Vec::new(), channel })
            }
            (None, None) => None,
        };
        Ok(Settings {
            checks,
            headers: self.header.clone(),
            second_headers: self.second_header.clone(),
            publish,
            wait: Duration::from_secs(self.wait),
            deadline: Duration::from_secs(self.deadline),
            ..Settings::new(signer)
        })
    }
}
