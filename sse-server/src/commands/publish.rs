//! `sse-server publish`: one event, or one a line.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::stream;
use reqwest::{Client, RequestBuilder, Response, StatusCode, header, redirect};
use serde_json::{Map, Value};
use sse_server::config::{ServerUrl, Token};
use tokio::sync::mpsc;

use super::visible::Visible;
use super::{EXIT_CODES, Failure, say};

/// Publishes an event to a server, and prints its id
///
/// `sse-server publish news hello` publishes the text `hello`, `sse-server publish news -` what
/// comes on standard input. With --ndjson each line of standard input is an event such as
/// `{"channel": "news", "data": 1}`, which is published when it comes; printed are the answers,
/// which tell how far the lines are and which of them were refused. If they break off, send the
/// lines again with the same --key.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Publish {
    /// The channel
    #[arg(required_unless_present = "ndjson", conflicts_with = "ndjson")]
    channel: Option<String>,

    /// The data; `-` is standard input
    #[arg(required_unless_present = "ndjson", allow_hyphen_values = true)]
    data: Option<String>,

    /// The event type [default: message]
    #[arg(long, value_name = "TYPE", conflicts_with = "ndjson")]
    event: Option<String>,

    /// The data are JSON, and sent as such; else they are text, and sent as they are
    #[arg(long, conflicts_with = "ndjson")]
    json: bool,

    /// A user who does not get it; may be given several times
    #[arg(long, value_name = "USER", conflicts_with = "ndjson")]
    skip_user: Vec<String>,

    /// Do not store it: it has no id, and reaches those who listen
    #[arg(long, conflicts_with = "ndjson")]
    no_store: bool,

    /// Publish what standard input has, an event a line, for as long as it lasts
    #[arg(long)]
    ndjson: bool,

    /// Publish once, however often this is run with the same key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// The server
    #[arg(long, env = "SSE_SERVER_URL", default_value = "http://127.0.0.1:8080")]
    url: ServerUrl,

    /// The token to publish with
    #[arg(
        long,
        env = "SSE_SERVER_PUBLISH_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        required_unless_present = "token_file"
    )]
    token: Option<Token>,

    /// A file with the token; the last line end does not count
    #[arg(
        long,
        env = "SSE_SERVER_PUBLISH_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token"
    )]
    token_file: Option<PathBuf>,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        // An event goes where it was told to go, and nowhere else: a redirect is an answer.
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .redirect(redirect::Policy::none())
            .build();
        let client = client.map_err(Failure::refused)?;
        let url = self.url.join("/publish/");
        let of_file = |path| Token::of_file(path).map_err(Failure::Refused);
        let token = self.token.clone().map(Ok).or(self.token_file.as_deref().map(of_file));
        let token = token.expect("clap wants one of them")?;
        let mut request = client.post(url).bearer_auth(token.expose());
        if let Some(key) = &self.key {
            request = request.header("Idempotency-Key", key);
        }
        if self.ndjson { lines(request).await } else { self.one(request).await }
    }

    async fn one(self, request: RequestBuilder) -> Result<(), Failure> {
        let data = self.data.unwrap_or_default();
        let data = if data == "-" {
            std::io::read_to_string(std::io::stdin())
                .map_err(|error| Failure::Refused(format!("cannot read the data: {error}")))?
        } else {
            data
        };
        let mut event = Map::new();
        event.insert("channel".to_owned(), self.channel.into());
        if let Some(event_type) = self.event {
            event.insert("event".to_owned(), event_type.into());
        }
        if !self.skip_user.is_empty() {
            event.insert("skip_users".to_owned(), self.skip_user.into());
        }
        if self.no_store {
            event.insert("store".to_owned(), false.into());
        }
        let body = if self.json {
            // Whatever its numbers are, they stay as they were written.
            let data: &serde_json::value::RawValue = serde_json::from_str(&data)
                .map_err(|error| Failure::Refused(format!("the data are no JSON: {error}")))?;
            let event = Value::from(event).to_string();
            format!("{},\"data\":{data}}}", &event[..event.len() - 1])
        } else {
            event.insert("text".to_owned(), data.into());
            Value::from(event).to_string()
        };
        let response = checked(request.body(body).send().await).await?;
        let answer = response.text().await.map_err(|error| unreachable(&error))?;
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|_| Failure::Refused(format!("this is no answer of sse-server: {answer}")))?;
        say(Visible::field(answer["id"].as_str().unwrap_or("(not stored)")))
    }
}

/// Hands on standard input, and the answers as they come.
async fn lines(request: RequestBuilder) -> Result<(), Failure> {
    let (sender, chunks) = mpsc::channel(1);
    // A thread of its own is not waited for when the server has had enough.
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let chunk = match std::io::stdin().lock().read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => Ok(buffer[..len].to_vec()),
                Err(error) => Err(error),
            };
            let is_last = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || is_last {
                break;
            }
        }
    });
    let chunks = stream::unfold(chunks, async |mut chunks| {
        let chunk = chunks.recv().await?;
        Some((chunk, chunks))
    });
    let request = request
        .header("Content-Type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(chunks));
    let mut response = checked(request.send().await).await?;
    let mut refused = 0;
    let mut decided = 0;
    let mut is_done = false;
    let mut rest = Vec::new();
    let broken_off = |decided: u64, why: &str| {
        Failure::Unavailable(format!(
            "the answer broke off, decided up to line {decided}; with a --key, all lines can be sent again{why}"
        ))
    };
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| broken_off(decided, &format!(": {}", with_causes(&error))))?
    {
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let answer: Value = serde_json::from_str(&line).unwrap_or_default();
            if answer.get("error").is_some() {
                refused += 1;
            } else {
                decided = answer["line"].as_u64().unwrap_or(decided);
            }
            is_done |= answer["done"] == true;
            say(Visible::text(line.trim_end()))?;
        }
    }
    match refused {
        0 if is_done => Ok(()),
        0 => Err(broken_off(decided, "")),
        _ => Err(Failure::Refused(format!("{refused} lines were not published; see above"))),
    }
}

/// The answer, if it is a good one.
async fn checked(answer: reqwest::Result<Response>) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    if status.is_redirection()
        && let Some(place) = answer.headers().get(header::LOCATION)
    {
        let place = String::from_utf8_lossy(place.as_bytes());
        let status = status.as_u16();
        let text = format!("the server answers {status} and points to {place}; give that to --url");
        return Err(Failure::Refused(text));
    }
    let text = answer.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or(text.trim());
    let message = format!("the server answers {}: {message}", status.as_u16());
    Err(match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Failure::Unavailable(message)
        }
        _ => Failure::Refused(message),
    })
}

fn unreachable(error: &reqwest::Error) -> Failure {
    let message = with_causes(error);
    if error.is_builder() { Failure::Refused(message) } else { Failure::Unavailable(message) }
}

fn with_causes(error: &reqwest::Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    message
}
