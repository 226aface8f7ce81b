//! The publish hook: how the probe makes a stream lively, and puts odd things into it.

use std::fmt::Write as _;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::wire::connection::{Connection, USER_AGENT};
use crate::wire::target::{Target, TargetError};

/// How long publishing may take.
const DEADLINE: Duration = Duration::from_secs(8);

/// A way to publish.
#[derive(Clone, Debug)]
pub enum Hook {
    /// A command's words, with places such as `{data}`.
    Command(Vec<String>),
    /// A URL that takes this project's JSON.
    Url {
        /// Where to.
        target: Target,
        /// For `Authorization: Bearer`.
        token: Option<String>,
        /// Other headers.
        headers: Vec<(String, String)>,
        /// The channel that the probed stream shows.
        channel: String,
    },
}

/// Why a hook cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The quotes are not closed.
    #[error("the command of --publish cannot be read ({0}); see to its quotes")]
    Quotes(#[from] shell_words::ParseError),
    /// There is no word in it.
    #[error("the command of --publish is empty")]
    Empty,
    /// The URL cannot be used.
    #[error("--publish-url: {0}")]
    Url(#[from] TargetError),
}

/// Places of a published event that text can be put in.
pub(super) const FIELDS: [&str; 6] = ["data", "event", "id", "retry", "comment", "topic"];

/// Fields of an event. What is not set is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields([Option<Vec<u8>>; 6]);

impl Fields {
    pub(crate) fn with(mut self, field: &str, value: impl AsRef<[u8]>) -> Self {
        if let Some(index) = FIELDS.iter().position(|name| *name == field) {
            self.0[index] = Some(value.as_ref().to_vec());
        }
        self
    }

    fn get(&self, field: &str) -> Option<&[u8]> {
        let index = FIELDS.iter().position(|name| *name == field)?;
        self.0[index].as_deref()
    }
}

/// What the publisher said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    Accepted,
    /// It was refused, as far as one can see for the event's sake.
    Refused(String),
    /// It cannot be said this way, whatever the server thinks of it.
    Unsayable(&'static str),
}

impl Hook {
    /// A command line, split as a shell would, and run without one.
    ///
    /// # Errors
    ///
    /// If it cannot be split.
    pub fn command(line: &str) -> Result<Self, HookError> {
        let words = shell_words::split(line)?;
        if words.is_empty() { Err(HookError::Empty) } else { Ok(Self::Command(words)) }
    }

    /// Whether it can set a field.
    pub(super) fn takes(&self, field: &str) -> bool {
        match self {
            Self::Command(words) => {
                let places = [format!("{{{field}}}"), format!("{{{field}:json}}")];
                let has = |place: &String| words.iter().any(|word| word.contains(place));
                places.iter().any(has) || field == "data"
            }
            Self::Url { .. } => matches!(field, "data" | "event"),
        }
    }

    /// Whether it says bytes as they are, so that text in them is not taken for escapes of JSON.
    pub(super) fn is_json(&self, field: &str) -> bool {
        match self {
            Self::Command(words) => {
                words.iter().any(|word| word.contains(&format!("{{{field}:json}}")))
            }
            Self::Url { .. } => true,
        }
    }

    pub(crate) async fn publish(&self, fields: &Fields) -> io::Result<Published> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "publishing took more than 8 s");
        match self {
            Self::Command(words) => timeout(DEADLINE, run(words, fields)).await.map_err(late)?,
            Self::Url { target, token, headers, channel } => {
                let post = post(target, token.as_deref(), headers, channel, fields);
                timeout(DEADLINE, post).await.map_err(late)?
            }
        }
    }
}

/// A text as JSON, in which the six characters `\ud800` stay the escape that they look like.
fn json_text(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(bytes).ok()?;
    let quoted = serde_json::to_string(text).ok()?;
    Some(quoted.replace("\\\\ud800", "\\ud800").into_bytes())
}

async fn run(words: &[String], fields: &Fields) -> io::Result<Published> {
    let mut filled = Vec::new();
    let mut has_data = false;
    for word in words {
        let mut word = word.clone().into_bytes();
        for field in FIELDS {
            for (place, is_json) in
                [(format!("{{{field}}}"), false), (format!("{{{field}:json}}"), true)]
            {
                while let Some(at) = find(&word, place.as_bytes()) {
                    has_data |= field == "data";
                    let value = fields.get(field).unwrap_or_default();
                    let value = if is_json { json_text(value) } else { Some(value.to_vec()) };
                    let Some(value) = value else {
                        return Ok(Published::Unsayable("JSON is UTF-8"));
                    };
                    word.splice(at..at + place.len(), value);
                }
            }
        }
        if word.contains(&0) {
            return Ok(Published::Unsayable("an argument of a command has no NUL"));
        }
        if word.len() > 100 << 10 {
            return Ok(Published::Unsayable("an argument of a command is not that long"));
        }
        filled.push(word);
    }
    let mut words = filled.into_iter().map(os_string);
    let Some(program) = words.next() else { return Err(io::Error::other("no command")) };
    let mut command = Command::new(program);
    command.args(words).kill_on_drop(true);
    command.stdin(if has_data { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read it says so by its exit code, if it minds.
        drop(stdin.write_all(fields.get("data").unwrap_or_default()).await);
    }
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(2000).read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    if status.success() {
        return Ok(Published::Accepted);
    }
    let said = String::from_utf8_lossy(&said);
    Ok(Published::Refused(format!("the command ended with {status}: {}", said.trim())))
}

#[cfg(unix)]
fn os_string(bytes: Vec<u8>) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> std::ffi::OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

async fn post(
    target: &Target,
    token: Option<&str>,
    headers: &[(String, String)],
    channel: &str,
    fields: &Fields,
) -> io::Result<Published> {
    let mut body = format!("{{\"channel\":{}", json!(channel)).into_bytes();
    for (field, name) in [("event", "event"), ("data", "text")] {
        if let Some(value) = fields.get(field) {
            let Some(value) = json_text(value) else {
                return Ok(Published::Unsayable("JSON is UTF-8"));
            };
            body.extend_from_slice(format!(",\"{name}\":").as_bytes());
            body.extend_from_slice(&value);
        }
    }
    body.push(b'}');
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n",
        target.path(),
        target.authority(),
        USER_AGENT,
        body.len()
    );
    if let Some(token) = token {
        let _ = write!(head, "Authorization: Bearer {token}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let request = [head.as_bytes(), b"\r\n", &body].concat();
    let mut connection = Connection::open(target, request).await?;
    connection.read_message(Instant::now() + DEADLINE).await;
    let tape = connection.close();
    match tape.status() {
        Some(200..300) => Ok(Published::Accepted),
        Some(status @ 400..500) => {
            Ok(Published::Refused(format!("{status}: {}", tape.text().trim())))
        }
        Some(status) => Err(io::Error::other(format!("publishing was answered with {status}"))),
        None if tape.is_unanswered() => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "publishing was not answered"))
        }
        None => Err(io::Error::other("the connection was closed, and publishing not answered")),
    }
}
