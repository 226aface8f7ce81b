//! Publishing one event a line (NDJSON): lines are published as they arrive, and answered as they are
//! stored, for as long as the publisher likes.
//!
//! A line is taken in only when there is room for its answer. So whoever sends faster than the storage
//! stores, or does not read the answers, is not read from; and nothing grows.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;
use sse_proto::event_id;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use super::App;
use super::error::Refusal;
use super::events::X_ACCEL_BUFFERING;
use super::publish::{check, essence, forbidden, not_json, refusal, without_mark};
use crate::access::PublishToken;
use crate::hub::{PublishError, Submitted};
use crate::storage::RequestKey;

/// How many lines may be on their way to the storage, or to the publisher as answers.
const WINDOW: usize = 1024;

/// How long nothing may come. Short enough that publishers who have vanished are noticed.
const IDLE: Duration = Duration::from_mins(5);

/// How much one write has at most, answers of one line aside.
const CHUNK: usize = 16 << 10;

/// What a line may have beside the data of an event that is as large as allowed.
const BESIDE_DATA: usize = 256 << 10;

const CONTENT_TYPE: &str = "application/x-ndjson";

/// Whether a body with these headers is read so.
pub(super) fn are_in(headers: &HeaderMap) -> bool {
    let kind = essence(headers);
    [CONTENT_TYPE, "application/jsonl"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// Publishes the lines of this body. With a key each line has one of its own, of that and its number.
pub(super) fn publish(
    app: Arc<App>,
    token: Arc<PublishToken>,
    key: Option<String>,
    body: Body,
) -> Response {
    let (sender, answers) = mpsc::channel(WINDOW);
    let reading = Reading { app, token, key, answers: sender, line: 0, is_due: false };
    tokio::spawn(reading.run(body));
    let answers = stream::unfold(Answers { answers, next: None }, async |mut answers| {
        let chunk = answers.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), answers))
    });
    let headers = [(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-cache")];
    (headers, [(X_ACCEL_BUFFERING, "no")], Body::from_stream(answers)).into_response()
}

/// What becomes of a line.
struct Answer {
    line: u64,
    is: Is,
}

enum Is {
    Submitted { channel: Arc<str>, submitted: Submitted },
    Refused(Refusal),
}

/// The way in.
struct Reading {
    app: Arc<App>,
    token: Arc<PublishToken>,
    key: Option<String>,
    answers: mpsc::Sender<Answer>,
    /// How many lines have been read.
    line: u64,
    /// The last of them has no answer yet.
    is_due: bool,
}

impl Reading {
    async fn run(mut self, body: Body) {
        let hub = self.app.hub.clone();
        let mut closed = std::pin::pin!(hub.closed());
        let answers = self.answers.clone();
        let last = tokio::select! {
            last = self.read(body) => last,
            () = &mut closed => Some(refusal(PublishError::Closed)),
            () = answers.closed() => None,
        };
        // About the line that is the first without an answer.
        if let Some(last) = last {
            self.line += u64::from(!self.is_due);
            self.refuse(last).await;
        }
        debug!(lines = self.line, "published line by line");
    }

    /// Reads to the end, or until it must end for this reason.
    async fn read(&mut self, body: Body) -> Option<Refusal> {
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
                return Some(Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", text));
            };
            match chunk {
                Some(Ok(bytes)) => buffer.extend_from_slice(&bytes),
                None => {
                    if !is_too_long {
                        self.publish(&buffer).await;
                    }
                    return None;
                }
                // The last line is not whole; whoever sent it is gone, or has lost count.
                Some(Err(error)) => {
                    debug!(%error, "a body of lines has broken off");
                    return None;
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
        let line = if self.line == 0 { without_mark(line) } else { line };
        let line = line.trim_ascii();
        self.next_line();
        if line.is_empty() {
            self.is_due = false;
            return;
        }
        match self.submit(line).await {
            Ok(is) => self.answer(is).await,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    const fn next_line(&mut self) {
        self.line += 1;
        self.is_due = true;
    }

    async fn submit(&self, line: &[u8]) -> Result<Is, Refusal> {
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
        Ok(Is::Submitted { channel, submitted })
    }

    async fn refuse(&mut self, refusal: Refusal) {
        self.answer(Is::Refused(refusal)).await;
    }

    /// Waits until there is room. If nobody waits for answers any more, that is seen elsewhere.
    async fn answer(&mut self, is: Is) {
        self.answers.send(Answer { line: self.line, is }).await.ok();
        self.is_due = false;
    }
}

/// The way out.
struct Answers {
    answers: mpsc::Receiver<Answer>,
    /// It was there, but not yet known.
    next: Option<Answer>,
}

impl Answers {
    /// The answers that are known, at least one, in the order of the lines. `None`: that was all.
    async fn chunk(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        while out.len() < CHUNK {
            let answer = match self.next.take() {
                Some(answer) => Some(answer),
                None if out.is_empty() => self.answers.recv().await,
                None => self.answers.try_recv().ok(),
            };
            let Some(Answer { line, mut is }) = answer else { break };
            let known = match &mut is {
                Is::Refused(_) => None,
                Is::Submitted { submitted, .. } if out.is_empty() => Some(submitted.await),
                Is::Submitted { submitted, .. } => {
                    let known = submitted.now_or_never();
                    if known.is_none() {
                        self.next = Some(Answer { line, is });
                        break;
                    }
                    known
                }
            };
            let result = match (is, known) {
                (Is::Refused(refusal), _) => Err(refusal),
                (Is::Submitted { channel, .. }, Some(Ok(ids))) => {
                    Ok(ids.first().filter(|id| **id > 0).map(|&id| event_id(&channel, id)))
                }
                (_, known) => Err(refusal(known.and_then(Result::err).expect("known above"))),
            };
            write(&mut out, line, result);
        }
        (!out.is_empty()).then(|| out.into())
    }
}

/// `{"line":1,"id":"a:1"}` or `{"line":1,"error":"bad-request","message":"…"}`
fn write(out: &mut Vec<u8>, line: u64, result: Result<Option<String>, Refusal>) {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Line {
        Published {
            line: u64,
            id: Option<String>,
        },
        Refused {
            line: u64,
            #[serde(flatten)]
            why: super::error::Body,
        },
    }
    let line = match result {
        Ok(id) => Line::Published { line, id },
        Err(refusal) => Line::Refused { line, why: refusal.into_body() },
    };
    serde_json::to_writer(&mut *out, &line).expect("texts and numbers are JSON");
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::HttpConfig;
    use super::*;
    use crate::hub::Hub;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn no_more_lines_are_taken_than_there_is_room_for_answers() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let app = Arc::new(App { hub, config: HttpConfig::new("token") });
        let read = Arc::new(AtomicUsize::new(0));
        let lines = stream::iter(0..10 * WINDOW).map({
            let read = read.clone();
            move |_| {
                read.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>("{\"channel\":\"a\",\"data\":1}\n")
            }
        });
        let (sender, answers) = mpsc::channel(WINDOW);
        let token = Arc::new(PublishToken::for_all("token"));
        let reading = Reading { app, token, key: None, answers: sender, line: 0, is_due: false };
        let mut reading = std::pin::pin!(reading.run(Body::from_stream(lines)));
        // Until it does not get on; it may pause for others in between.
        let mut before = usize::MAX;
        while read.load(Ordering::Relaxed) != before {
            before = read.load(Ordering::Relaxed);
            for _ in 0..100 {
                assert!(reading.as_mut().now_or_never().is_none(), "all were taken");
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(read.load(Ordering::Relaxed), WINDOW + 1);
        // Each that is taken away makes room for one.
        let mut answers = Answers { answers, next: None };
        let count = async {
            let mut lines = 0;
            while let Some(chunk) = answers.chunk().await {
                lines += str::from_utf8(&chunk).expect("JSON").lines().count();
            }
            lines
        };
        let ((), lines) = tokio::join!(reading, count);
        assert_eq!((lines, read.load(Ordering::Relaxed)), (10 * WINDOW, 10 * WINDOW));
    }
}
