//! The command line.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sse_client::http::Method;
use sse_client::reqwest::Certificate;
use sse_client::transport::Reqwest;
use sse_client::{Builder, EventSource, Policy, SessionConfig, Terminator};

/// Prints an event stream (Server-Sent Events), and goes on with it when the connection is lost
///
/// An event is a line: its type, its id ("-" if it has none) and its data. What happens to the
/// connection is said on standard error.
#[derive(Debug, Parser)]
#[command(name = "ssecat", version, after_help = AFTER_HELP)]
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

    /// Believe the certificates in this file too, in PEM
    #[arg(long, value_name = "FILE", help_heading = "Request")]
    ca: Option<PathBuf>,

    /// Believe any certificate. An attacker in between can read and change everything
    #[arg(long, help_heading = "Request")]
    insecure: bool,

    /// Take answers of this media type as a whole, as one event, such as `application/json`; may be
    /// repeated
    #[arg(long, value_name = "TYPE", help_heading = "Request")]
    accept: Vec<String>,

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

    /// End with success when an event has exactly these data, such as `[DONE]`; it is not printed.
    /// With `type:NAME`, when an event is of this type; it is printed. May be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Ending")]
    until: Vec<String>,

    /// The same, and it is an error if the stream ends without any such event; may be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Ending")]
    must_end_with: Vec<String>,

    /// Events of this type report errors: end with one; may be repeated
    #[arg(long, value_name = "TYPE", help_heading = "Ending")]
    pub(crate) error_event: Vec<String>,

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
    /// [default: 45s if the server has shown that it keeps streams alive, else 10m]
    #[arg(long, value_name = "TIME", help_heading = "Ending", value_parser = limit)]
    idle_timeout: Option<Limit>,

    /// How long to wait for a connection, such as `5s` [default: 30s], and, without
    /// --response-timeout, for the response
    #[arg(long, value_name = "TIME", help_heading = "Ending",
        value_parser = time)]
    connect_timeout: Option<Duration>,

    /// How long to wait for the response once the request is sent [default: 5m, or 10m if it is
    /// asked once]
    #[arg(long, value_name = "TIME", help_heading = "Ending",
        value_parser = time)]
    response_timeout: Option<Duration>,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    ended as asked: --until, --max-events, a stream that is complete, or a closed output
  1    the server refused, has reported an error (--error-event), or has closed the stream for good
  2    the command line is wrong, or a file that it names cannot be read
  3    gave up: --max-failures, a failure that the policy does not retry, or an end without
       --must-end-with
  4    the output or the id file cannot be written
  130  interrupted (Ctrl-C); the id file is up to date
  143  terminated (SIGTERM); the same

Proxies are taken from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY. Colours are for terminals;
NO_COLOR turns them off.";

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
        for media_type in &self.accept {
            builder = builder.accepts(media_type);
        }
        builder = self.with_client(builder)?;
        let builder = self.with_body(builder)?;
        builder.build().map_err(|error| format!("{error}; see ssecat --help"))
    }

    fn session(&self, config: SessionConfig) -> SessionConfig {
        let mut config = config.comments(self.comments).max_failures(self.max_failures);
        config = config.error_events(self.error_event.iter());
        for text in &self.until {
            config = config.until(terminator(text));
        }
        for text in &self.must_end_with {
            config = config.must_end_with(terminator(text));
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
        if let Some(timeout) = self.response_timeout {
            config = config.response_timeout(timeout);
        }
        config
    }

    /// With a client of its own, which is named for the program and believes whom it shall.
    fn with_client(&self, builder: Builder) -> Result<Builder, String> {
        let timeout = self.connect_timeout.unwrap_or(Duration::from_secs(30));
        let mut client = Reqwest::client_builder(timeout)
            .user_agent(concat!("ssecat/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(self.insecure);
        if let Some(path) = &self.ca {
            let shown = path.display();
            let pem = fs::read(path)
                .map_err(|error| format!("--ca: cannot read {shown}: {error}; name a file"))?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("--ca: {shown} has no certificates in PEM: {error}"))?;
            if certificates.is_empty() {
                return Err(format!("--ca: {shown} has no certificates in PEM; name another file"));
            }
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(builder.client(client))
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

/// The data of an event, or `type:` and its type.
fn terminator(text: &str) -> Terminator {
    match text.strip_prefix("type:") {
        Some(name) => Terminator::EventType(name.to_owned()),
        None => Terminator::Data(text.to_owned()),
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

/// A time limit. Nothing comes of a stream for which there is no time at all.
fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("nothing happens in no time; give more".to_owned()),
        time => time.map_err(|error| error.to_string()),
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        text => time(text).map(|time| Limit(Some(time))).map_err(|why| format!("{why}, or `none`")),
    }
}
