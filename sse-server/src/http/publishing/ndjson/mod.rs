//! Publishing one event a line (NDJSON): lines are published as they arrive, for as long as the
//! publisher likes, and it is told how far they are stored.
//!
//! A publisher that sends faster than the storage stores is not read from. One that does not read
//! the answers is: most clients read nothing before they have sent all.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::debug;

use answers::{Answers, End, MAX_REFUSED, Report};

use super::body::without_mark;
use super::message::{check, not_json};
use super::refused::{forbidden, refusal};
use crate::access::PublishToken;
use crate::http::app::App;
use crate::http::error::Refusal;
use crate::http::headers::{X_ACCEL_BUFFERING, essence};
use crate::hub::{PublishError, Submitted};
use crate::metrics::Metrics;
use crate::storage::RequestKey;

/// How many lines may be on their way to the storage, and after how many it is told how far they
/// are.
const WINDOW: usize = 1024;

/// How long nothing may come. Short enough that publishers who have vanished are noticed.
const IDLE: Duration = Duration::from_mins(5);

/// What a line may have beside the data of an event that is as large as allowed.
const BESIDE_DATA: usize = 256 << 10;

const CONTENT_TYPE: &str = "application/x-ndjson";

/// Whether a body with these headers is read so.
pub(super) fn is_in(headers: &HeaderMap) -> bool {
    let kind = essence(headers);
    [CONTENT_TYPE, "application/jsonl"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Publishes the lines of this body; `first` is the number of the first. With a key each line has
/// one of its own, of that and its number.
pub(super) fn publish(
    app: Arc<App>,
    token: Arc<PublishToken>,
    key: Option<String>,
    first: u64,
    body: Body,
) -> Response {
    let (listened, listening) = oneshot::channel();
    let report = Arc::new(Report::default());
    let answers = Answers::new(report.clone(), listening);
    tokio::spawn(run(Reading::new(app, token, key, first, report), listened, body));
    let answers = stream::unfold(answers, async |mut answers| {
        let chunk = answers.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), answers))
    });
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-cache")];
    (headers, [(X_ACCEL_BUFFERING, "no")], Body::from_stream(answers)).into_response()
}

/// Reads lines and adds up their results, until the end of both.
async fn run(
    (mut reading, decided): (Reading, mpsc::Receiver<Answer>),
    mut listened: oneshot::Sender<()>,
    body: Body,
) {
    let (app, report) = (reading.app.clone(), reading.report.clone());
    let metrics = app.config.operations.metrics().clone();
    let reading = async move {
        let mut closed = std::pin::pin!(app.hub.closed());
        let ended = tokio::select! {
            ended = reading.read(body) => ended,
            () = &mut closed => Ended::Because(refusal(PublishError::Closed)),
            () = listened.closed() => Ended::Early,
        };
        debug!(lines = reading.line, "published line by line");
        match ended {
            Ended::Whole => End::Whole,
            Ended::Early => End::Early,
            // About the line that is the first without an answer.
            Ended::Because(last) => {
                reading.line += u64::from(!reading.is_due);
                reading.refuse(last).await;
                End::Early
            }
        }
    };
    let (end, ()) = tokio::join!(reading, collect(decided, &report, &metrics));
    report.end(end);
}

/// Why no more lines are read.
enum Ended {
    Whole,
    /// The client is gone.
    Early,
    Because(Refusal),
}

/// The result of a line.
struct Answer {
    line: u64,
    result: Result<OnItsWay, Refusal>,
}

/// An event that was submitted, whose id is not known yet.
struct OnItsWay {
    channel: Arc<str>,
    submitted: Submitted,
}

/// Reads the body, and submits its lines.
struct Reading {
    app: Arc<App>,
    token: Arc<PublishToken>,
    key: Option<String>,
    report: Arc<Report>,
    decided: mpsc::Sender<Answer>,
    first: u64,
    /// The number of the last line that was read.
    line: u64,
    /// It has not been handed on yet.
    is_due: bool,
    /// Too much was refused: what comes is read and left.
    is_given_up: bool,
}

impl Reading {
    fn new(
        app: Arc<App>,
        token: Arc<PublishToken>,
        key: Option<String>,
        first: u64,
        report: Arc<Report>,
    ) -> (Self, mpsc::Receiver<Answer>) {
        let (sender, decided) = mpsc::channel(WINDOW);
        let line = first - 1;
        let (is_due, is_given_up) = (false, false);
        (
            Self { app, token, key, report, decided: sender, first, line, is_due, is_given_up },
            decided,
        )
    }

    /// Reads to the end.
    async fn read(&mut self, body: Body) -> Ended {
        let longest = self.app.config.max_event_len.saturating_mul(6).saturating_add(BESIDE_DATA);
        let mut body = body.into_data_stream();
        let mut buffer = BytesMut::new();
        // How much of the buffer has no line end.
        let mut looked_at = 0;
        let mut is_too_long = false;
        loop {
            let Ok(chunk) = timeout(IDLE, body.next()).await else {
                let text =
                    format!("nothing came for {} s; send what is left again", IDLE.as_secs());
                let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", text);
                return Ended::Because(refusal);
            };
            match chunk {
                Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
                None => {
                    if !is_too_long {
                        self.publish(&buffer).await;
                    }
                    return Ended::Whole;
                }
                // The last line is not whole; its publisher is gone, or has lost count.
                Some(Err(error)) => {
                    debug!(%error, "a body of lines has broken off");
                    return Ended::Early;
                }
            }
            while let Some(end) = buffer[looked_at..].iter().position(|&byte| byte == b'\n') {
                let line = buffer.split_to(looked_at + end + 1);
                looked_at = 0;
                if !std::mem::take(&mut is_too_long) {
                    self.publish(&line).await;
                }
            }
            looked_at = buffer.len();
            if is_too_long || looked_at > longest {
                if !is_too_long {
                    self.next_line();
                }
                if !is_too_long && !self.is_given_up {
                    let text = format!("the line has more than {longest} bytes");
                    self.refuse(Refusal::too_large(text)).await;
                }
                is_too_long = true;
                buffer.clear();
                looked_at = 0;
            }
        }
    }

    /// Publishes the next line. Empty ones count, and are not answered.
    async fn publish(&mut self, line: &[u8]) {
        self.next_line();
        let line = if self.line == self.first { without_mark(line) } else { line };
        let line = line.trim_ascii();
        if line.is_empty() || self.is_given_up {
            self.is_due = false;
            return;
        }
        if self.report.is_full() {
            self.is_given_up = true;
            let text = format!(
                "{MAX_REFUSED} lines were refused since somebody read an answer; nothing of this line and those \
                 after it is published"
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            return self.refuse(Refusal::new(status, "too-many-refused", text)).await;
        }
        let result = self.submit(line).await;
        self.answer(result).await;
    }

    const fn next_line(&mut self) {
        self.line += 1;
        self.is_due = true;
    }

    async fn submit(&self, line: &[u8]) -> Result<OnItsWay, Refusal> {
        let message = serde_json::from_slice(line).map_err(|error| not_json(&error))?;
        let event = check(message, self.app.config.max_event_len)?;
        if !self.token.may_publish_to(&event.channel) {
            return Err(forbidden(&event.channel));
        }
        let channel = event.channel.clone();
        // No name that a publisher can give has a space.
        let key = self.key.as_ref().map(|key| format!("{key} {}", self.line));
        let publisher = self.token.publisher();
        let key = key.map(|key| RequestKey::new(publisher, key, line));
        let submitted = self.app.hub.submit(vec![event], key).await.map_err(refusal)?;
        Ok(OnItsWay { channel, submitted })
    }

    async fn refuse(&mut self, refusal: Refusal) {
        self.answer(Err(refusal)).await;
    }

    /// Waits until there is room.
    async fn answer(&mut self, result: Result<OnItsWay, Refusal>) {
        // The receiver lives longer than this.
        self.decided.send(Answer { line: self.line, result }).await.ok();
        self.is_due = false;
    }
}

/// Adds up the results of the lines, in their order. It is told when nothing more is known for the
/// moment.
async fn collect(mut decided: mpsc::Receiver<Answer>, report: &Report, metrics: &Metrics) {
    let mut since_told = 0;
    loop {
        let answer = if let Ok(answer) = decided.try_recv() {
            Some(answer)
        } else {
            report.tell();
            decided.recv().await
        };
        let Some(Answer { line, result }) = answer else { break };
        let OnItsWay { channel, mut submitted } = match result {
            Ok(on_its_way) => on_its_way,
            Err(refusal) => {
                report.refused(line, refusal);
                continue;
            }
        };
        let result = if let Some(result) = (&mut submitted).now_or_never() {
            result
        } else {
            report.tell();
            submitted.await
        };
        match result {
            Ok(ids) => {
                metrics.published(ids.len());
                report.published(line, channel, ids.first().copied().unwrap_or_default());
            }
            Err(error) => report.refused(line, refusal(error)),
        }
        since_told += 1;
        if since_told == WINDOW {
            since_told = 0;
            report.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::app::HttpConfig;
    use crate::hub::Hub;
    use crate::storage::MemoryStorage;

    /// The answers to these lines if none is read before all lines are.
    async fn answers(lines: impl Iterator<Item = String> + Send + 'static) -> Vec<Value> {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let app = Arc::new(App::new(hub, HttpConfig::new("token")));
        let report = Arc::new(Report::default());
        let token = Arc::new(PublishToken::for_all("token"));
        let (listened, listening) = oneshot::channel();
        let reading = Reading::new(app, token, None, 1, report.clone());
        let lines = stream::iter(lines).map(Ok::<_, std::convert::Infallible>);
        run(reading, listened, Body::from_stream(lines)).await;
        let mut answers = Answers::new(report, listening);
        let mut out = Vec::new();
        while let Some(chunk) = answers.chunk().await {
            out.extend_from_slice(&chunk);
        }
        let lines = str::from_utf8(&out).expect("JSON").lines();
        lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[tokio::test]
    async fn answers_that_nobody_reads_hold_up_no_line_and_do_not_grow() {
        let line = |n| format!("{{\"channel\":\"{}\",\"data\":1}}\n", ["a", "b"][n % 2]);
        let all = answers((0..10 * WINDOW).map(line)).await;
        let half = 5 * WINDOW;
        let ids = serde_json::json!({"a": format!("a:{half}"), "b": format!("b:{half}")});
        let lines = 10 * WINDOW;
        let one = serde_json::json!({"line": lines, "published": lines, "ids": ids, "done": true});
        assert_eq!(all, [one]);
        // Each its own channel: as many as there is room for.
        let all =
            answers((0..WINDOW).map(|n| format!("{{\"channel\":\"c{n}\",\"data\":1}}\n"))).await;
        assert_eq!((all.len(), &all[0]["more-ids"]), (1, &Value::Bool(true)));
        assert_eq!(all[0]["ids"].as_object().map(serde_json::Map::len), Some(256));
    }

    #[tokio::test]
    async fn when_too_much_is_refused_it_is_said_from_where_on_nothing_is_published() {
        let good = "{\"channel\":\"a\",\"data\":1}\n".to_owned();
        let nonsense = "x".repeat(10_000) + "\n";
        let lines = (0..50 * WINDOW).map(move |n| [&good, &nonsense][n % 2].clone());
        let all = answers(lines).await;
        let (last, refused) = all.split_last().expect("answers");
        let given_up = refused.last().expect("an answer");
        assert_eq!(given_up["error"], "too-many-refused");
        let from = given_up["line"].as_u64().expect("a number");
        assert!(refused.len() <= MAX_REFUSED + WINDOW + 1);
        // Every second one of the lines before was published, and the others are all named.
        assert_eq!(refused.len() as u64, (from - 1) / 2 + 1);
        assert_eq!(last["published"].as_u64(), Some(from / 2));
        let bytes: usize = refused.iter().map(|answer| answer.to_string().len()).sum();
        assert!(bytes < 2 << 20, "the messages are short");
    }
}
