//! The command line.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sse_client::http::Method;
use sse_client::{Builder, EventSource, Policy, SessionConfig};

/// Prints an event stream (Server-Sent Events), and goes on with it when the connection is lost
///
/// An event is a line: its type, its id ("-" if it has none) and its data. What happens to the
/// connection is said on standard error.
#[derive(Debug, Parser)]
#[command(name = "ssecat", version, after_help = EXIT_CODES)]
#[expect(clippy::struct_excessive_bools, reason = "a flag each")]
pub(crate) struct Args {
    /// Where the stream is: http://… or https://…
    pub(crate) url: String,

    /// Print one JSON object a line: {"event":"…","data":"…","id":"…"}; {"reset":["CHANNEL",…]}
    /// where events are missing; {"error":"…"} for one that cannot be had
    #[arg(long, conflicts_with_all = ["data", "pretty"], help_heading = "Output")]
    pub(crate) json: bool,

    /// Print the data and nothing else, exactly as they came
    #[arg(long, conflicts_with = "pretty", help_heading = "Output")]
    pub(crate) data: bool,

    /// Lay out JSON data over several lines
    #[arg(long, help_heading = "Output")]
    pub(crate) pretty: bool,

    /// Print only events of this type; may be repeated
    #[arg(long, value_name = "TYPE", help_heading = "Output")]
    pub(crate) event: Vec<String>,

    /// Print comments too
    #[arg(long, conflicts_with = "data", help_heading = "Output")]
    pub(crate) comments: bool,

    /// Say more about the connection
    #[arg(short, long, conflicts_with = "quiet", help_heading = "Output")]
    verbose: bool,

    /// Say only what ends the program with an error
    #[arg(short, long, help_heading = "Output")]
    quiet: bool,

    /// Add a header to the request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = "Request",
        value_parser = header)]
    header: Vec<(String, String)>,

    /// Send `Authorization: Bearer TOKEN`
    #[arg(
        long,
        value_name = "TOKEN",
        help_heading = "Request",
        env = "SSECAT_BEARER",
        hide_env_values = true
    )]
    bearer: Option<String>,

    /// The method of the request [default: GET, or POST if there is a body]
    #[arg(short = 'X', long, help_heading = "Request")]
    method: Option<Method>,

    /// The body of the request: a text, @FILE, or - for standard input. If it is JSON it is sent as
    /// such, unless a header says otherwise
    #[arg(short, long, value_name = "TEXT", help_heading = "Request", allow_hyphen_values = true)]
    body: Option<String>,

    /// Read this channel of a server that speaks the protocol of django-eventstream, as sse-server
    /// does; may be repeated
    #[arg(short, long, help_heading = "Request")]
    channel: Vec<String>,

    /// Continue after this id
    #[arg(long, value_name = "ID", help_heading = "Resuming")]
    last_event_id: Option<String>,

    /// Continue after the id in this file, if there is one, and keep in it the id of the last event
    /// that was printed. It comes before --last-event-id
    #[arg(long, value_name = "FILE", help_heading = "Resuming")]
    pub(crate) id_file: Option<PathBuf>,

    /// End with success when an event has exactly these data, such as `[DONE]`; it is not printed
    #[arg(long, value_name = "TEXT", help_heading = "Ending")]
    until: Option<String>,

    /// End with success after so many events have been printed
    #[arg(short = 'n', long, value_name = "N", help_heading = "Ending",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_events: Option<u64>,

    /// Which failures end the program [default: resilient for GET, once for all else]
    #[arg(long, help_heading = "Ending")]
    policy: Option<PolicyName>,

    /// Give up after so many failures in a row [default: never]
    #[arg(long, value_name = "N", help_heading = "Ending",
        value_parser = clap::value_parser!(u32).range(1..))]
    max_failures: Option<u32>,

    /// How long the stream may be silent before it counts as dead, such as `90s`, or `none`
    /// [default: 45s]
    #[arg(long, value_name = "TIME", help_heading = "Ending", value_parser = limit)]
    idle_timeout: Option<Limit>,

    /// How long to wait for a response, such as `5s` [default: 30s]
    #[arg(long, value_name = "TIME", help_heading = "Ending",
        value_parser = humantime::parse_duration)]
    connect_timeout: Option<Duration>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    ended as asked: --until, --max-events, a stream that is complete, or a closed output
  1    the server refused, or has closed the stream for good
  2    the command line is wrong, or a file that it names cannot be read
  3    gave up: --max-failures, or a failure that the policy does not retry
  4    the output or the id file cannot be written
  130  interrupted (Ctrl-C); the id file is up to date
  143  terminated (SIGTERM); the same

Colours are for terminals; NO_COLOR turns them off.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyName {
    /// Try again after whatever may pass
    Resilient,
    /// Try again after network errors and the end of the stream only, as browsers do
    Strict,
    /// Ask once
    Once,
    /// Ask once, then only resume: for MCP
    Resume,
}

/// A time limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<Duration>);

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

impl Args {
    pub(crate) const fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }

    /// The event source that they ask for. `stored_id` is from the id file.
    pub(crate) fn source(&self, stored_id: Option<&str>) -> Result<EventSource, String> {
        let mut builder = EventSource::builder(&self.url)
            .query(self.channel.iter().map(|channel| ("channel", channel)))
            .session(|config| self.session(config));
        for (name, value) in &self.header {
            builder = builder.header(name, value);
        }
        if let Some(token) = &self.bearer {
            builder = builder.bearer_token(token);
        }
        if let Some(id) = stored_id.or(self.last_event_id.as_deref()) {
            builder = builder.last_event_id(id);
        }
        let builder = self.with_body(builder)?;
        builder.build().map_err(|error| format!("{error}; see ssecat --help"))
    }

    fn session(&self, config: SessionConfig) -> SessionConfig {
        let mut config = config.comments(self.comments).max_failures(self.max_failures);
        if let Some(text) = &self.until {
            config = config.until(text.as_str());
        }
        if let Some(policy) = self.policy {
            config = config.policy(match policy {
                PolicyName::Resilient => Policy::Resilient,
                PolicyName::Strict => Policy::Strict,
                PolicyName::Once => Policy::Once,
                PolicyName::Resume => Policy::Resume,
            });
        }
        if let Some(Limit(timeout)) = self.idle_timeout {
            config = config.idle_timeout(timeout);
        }
        if let Some(timeout) = self.connect_timeout {
            config = config.connect_timeout(timeout);
        }
        config
    }

    fn with_body(&self, mut builder: Builder) -> Result<Builder, String> {
        if let Some(method) = &self.method {
            builder = builder.method(method.clone());
        } else if self.body.is_some() {
            builder = builder.method(Method::POST);
        }
        let Some(body) = &self.body else {
            return Ok(builder);
        };
        let body = match body.strip_prefix('@') {
            Some(path) => fs::read(path)
                .map_err(|error| format!("--body: cannot read {path:?}: {error}; name a file"))?,
            None if body == "-" => standard_input()?,
            None => body.clone().into_bytes(),
        };
        let is_named =
            self.header.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !is_named && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
            builder = builder.header("Content-Type", "application/json");
        }
        Ok(builder.body(body))
    }
}

fn standard_input() -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    io::stdin()
        .read_to_end(&mut body)
        .map_err(|error| format!("--body: cannot read standard input: {error}"))?;
    Ok(body)
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is `NAME: VALUE`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn limit(text: &str) -> Result<Limit, humantime::DurationError> {
    Ok(Limit(match text {
        "none" => None,
        time => Some(humantime::parse_duration(time)?),
    }))
}
