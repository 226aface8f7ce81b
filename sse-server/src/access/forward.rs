//! Asking the operator's backend, as nginx's `auth_request` does.
//!
//! What the backend says is remembered for a while. A reader the backend cannot be asked about is
//! not let in; one who is in already stays for as long as the patience lasts.

use std::error::Error;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lru::LruCache;
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use super::jwt::text;
use super::turns::Turns;
use super::{AccessError, AccessRequest, Occasion, Pattern};

/// The most bytes of all answers that are remembered.
const MAX_REMEMBERED: usize = 16 << 20;

/// What is beside the text in an answer and in a pattern, about.
const OVERHEAD: usize = 128;

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// How long after a failed attempt to connect none is made. Timeouts and errors of the backend do
/// not count: one client's request may be the reason.
const PAUSE: Duration = Duration::from_millis(250);

/// What the backend is told of the request itself, as Traefik and nginx do it.
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

const USER: HeaderName = HeaderName::from_static("x-sse-user");
const CHANNELS: HeaderName = HeaderName::from_static("x-sse-channels");

/// The operator's backend.
#[derive(Debug)]
pub(super) struct ForwardAuth {
    pub(super) url: Url,
    pub(super) headers: Vec<HeaderName>,
    pub(super) cache: Duration,
    pub(super) recheck: Duration,
    pub(super) patience: Duration,
    pub(super) forwarded: bool,
    client: Client,
    answers: Mutex<Answers>,
    /// Grows when answers must be forgotten, also those that are under way.
    generation: AtomicU64,
    turns: Turns,
    unreachable: Mutex<Option<Instant>>,
}

/// Answers by their questions, and when they were asked for. Their size in all is bounded by count
/// and by [`MAX_REMEMBERED`]: neither a long question nor a long answer makes room for itself.
#[derive(Debug)]
struct Answers {
    by_question: LruCache<Question, (Instant, Arc<Answer>)>,
    bytes: usize,
}

/// A hash of whatever a question consists of, which clients can make as long as they like.
type Question = [u8; 32];

/// What the backend gets to see of a reader.
#[derive(Clone, Debug, Default)]
pub(super) struct Asker {
    headers: HeaderMap,
    /// Where the request came from.
    origin: Option<IpAddr>,
}

/// What the backend has said.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) user: Option<String>,
    /// The backend knows who it is: it has not asked for credentials.
    pub(super) is_known: bool,
    is_allowed: bool,
    /// Which channels may be read, if it says so; otherwise those that were asked about.
    channels: Option<Vec<Pattern>>,
}

impl Answers {
    fn new(most: NonZeroUsize) -> Self {
        Self { by_question: LruCache::new(most), bytes: 0 }
    }

    /// The answer to this question, if it is not older than this.
    fn get(&mut self, question: &Question, age: Duration) -> Option<Arc<Answer>> {
        let (at, answer) = self.by_question.get(question)?;
        (at.elapsed() < age).then(|| answer.clone())
    }

    /// Remembers an answer, and forgets those that are older than this, or too much.
    fn put(&mut self, question: Question, at: Instant, answer: Arc<Answer>, age: Duration) {
        if age.is_zero() {
            return;
        }
        self.bytes += answer.bytes();
        if let Some((_, (_, old))) = self.by_question.push(question, (at, answer)) {
            self.bytes -= old.bytes();
        }
        let is_over = |(at, _): &(Instant, _)| at.elapsed() >= age;
        while self.bytes > MAX_REMEMBERED
            || self.by_question.peek_lru().is_some_and(|(_, answer)| is_over(answer))
        {
            let Some((_, (_, old))) = self.by_question.pop_lru() else { break };
            self.bytes -= old.bytes();
        }
    }

    fn clear(&mut self) {
        self.by_question.clear();
        self.bytes = 0;
    }
}

#[derive(Deserialize, Default)]
struct Body {
    user: Option<Value>,
    channels: Option<Vec<String>>,
}

impl Answer {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let patterns = self.channels.iter().flatten();
        let patterns: usize = patterns.map(|pattern| OVERHEAD + pattern.size()).sum();
        OVERHEAD + self.user.as_ref().map_or(0, String::len) + patterns
    }

    /// Whether one of the channels that were asked about may be read.
    pub(super) fn allows(&self, channel: &str) -> bool {
        let is_named = |all: &Vec<Pattern>| all.iter().any(|it| it.matches(channel, |_| None));
        self.is_allowed && self.channels.as_ref().is_none_or(is_named)
    }
}

impl ForwardAuth {
    pub(super) fn new(
        url: Url,
        headers: Vec<HeaderName>,
        timeout: Duration,
        cache_size: NonZeroUsize,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .no_proxy()
            .user_agent(concat!("sse-server/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            url,
            headers,
            cache: Duration::from_secs(10),
            recheck: Duration::from_secs(30),
            patience: Duration::from_mins(1),
            forwarded: true,
            client,
            answers: Mutex::new(Answers::new(cache_size)),
            generation: AtomicU64::new(0),
            turns: Turns::new(),
            unreachable: Mutex::default(),
        })
    }

    pub(super) const fn recheck(&self) -> Duration {
        self.recheck
    }

    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    /// The part of a request that goes to the backend.
    pub(super) fn asker(&self, request: &AccessRequest<'_>) -> Asker {
        let mut headers = HeaderMap::new();
        for name in &self.headers {
            if *name == header::COOKIE {
                headers.extend(cookies(request.headers()).map(|value| (name.clone(), value)));
                continue;
            }
            for value in request.headers().get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        // In place of what the client itself may have sent under these names.
        let original = request.original().filter(|_| self.forwarded);
        let client = request.client().filter(|_| self.forwarded).map(|client| client.to_string());
        for (name, value) in [
            (METHOD, original.map(|it| it.method)),
            (PROTO, original.map(|it| it.scheme)),
            (HOST, original.map(|it| it.host)),
            (URI, original.map(|it| it.uri)),
            (FOR, client.as_deref()),
        ] {
            match value.and_then(|value| HeaderValue::from_str(value).ok()) {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(name)),
            }
        }
        Asker { headers, origin: request.client() }
    }

    /// Asks about these channels, unless the answer is remembered.
    pub(super) async fn ask(
        &self,
        asker: &Asker,
        channels: &[Arc<str>],
        occasion: Occasion,
    ) -> Result<Arc<Answer>, AccessError> {
        let generation = self.generation.load(Ordering::SeqCst);
        let key = key(asker, channels);
        if let Some(answer) = self.answers().get(&key, self.cache) {
            return Ok(answer);
        }
        if self.unreachable().is_some_and(|at| at.elapsed() < PAUSE) {
            return Err(AccessError::Unavailable("the backend cannot be reached".to_owned()));
        }
        let turn = self.turns.wait(occasion, asker.origin).await.map_err(|_| AccessError::Busy)?;
        let begun = Instant::now();
        let response = self.request(asker, channels).await;
        turn.answered(!matches!(&response, Err(error) if error.is_timeout()));
        let answer = Arc::new(self.read(response, channels).await?);
        let mut answers = self.answers();
        // An answer from before a change must not be remembered beyond it.
        if self.generation.load(Ordering::SeqCst) == generation {
            answers.put(key, begun, answer.clone(), self.cache);
        }
        Ok(answer)
    }

    /// Forgets all answers.
    pub(super) fn forget(&self) {
        let mut answers = self.answers();
        self.generation.fetch_add(1, Ordering::SeqCst);
        answers.clear();
    }

    async fn request(
        &self,
        asker: &Asker,
        channels: &[Arc<str>],
    ) -> Result<Response, reqwest::Error> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(channels.iter().map(|name| ("channel", &**name)));
        self.client.get(url).headers(asker.headers.clone()).send().await
    }

    /// What the backend has said, if it has.
    async fn read(
        &self,
        response: Result<Response, reqwest::Error>,
        channels: &[Arc<str>],
    ) -> Result<Answer, AccessError> {
        let response = response.map_err(|error| {
            *self.unreachable() = error.is_connect().then(Instant::now);
            AccessError::Unavailable(format!("the backend does not answer: {}", reason(error)))
        })?;
        *self.unreachable() = None;
        let status = response.status();
        debug!(%status, ?channels, "the backend has answered");
        match status {
            StatusCode::UNAUTHORIZED => Ok(Answer::default()),
            // To the page where people log in.
            status if status.is_redirection() => Ok(Answer::default()),
            StatusCode::FORBIDDEN => Ok(Answer { is_known: true, ..Answer::default() }),
            status if status.is_success() => answer(response).await,
            status => Err(AccessError::Unavailable(format!("the backend has answered {status}"))),
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreachable(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unreachable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a successful response says.
async fn answer(mut response: Response) -> Result<Answer, AccessError> {
    let failed = |what: &str| AccessError::Unavailable(format!("the backend's answer {what}"));
    let header = |name: &HeaderName| {
        let value = response.headers().get(name)?;
        String::from_utf8(value.as_bytes().to_vec()).ok().filter(|text| !text.is_empty())
    };
    let mut user = header(&USER);
    let mut channels = header(&CHANNELS).map(|list| {
        let names = list.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.map(Pattern::without_claims).collect()
    });
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| failed("ends early"))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(failed("is too long"));
            }
        }
        if !body.trim_ascii().is_empty() {
            let body: Option<Body> = serde_json::from_slice(&body)
                .map_err(|_| failed("is not the JSON it should be"))?;
            let body = body.unwrap_or_default();
            user = body.user.as_ref().and_then(text).or(user);
            let patterns = |names: Vec<String>| {
                let names = names.iter().filter(|name| !name.is_empty());
                names.map(|name| Pattern::without_claims(name)).collect()
            };
            channels = body.channels.map(patterns).or(channels);
        }
    }
    Ok(Answer { user, is_known: true, is_allowed: true, channels })
}

/// The cookies, as one header: HTTP/2 may have each in one of its own (RFC 9113, section 8.2.3),
/// and a backend of HTTP/1.1 would take several for one with commas.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(header::COOKIE).iter();
    let first = all.next()?.clone();
    let joined = all.fold(first.as_bytes().to_vec(), |mut joined, next| {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(next.as_bytes());
        joined
    });
    Some(HeaderValue::from_bytes(&joined).expect("values and a separator are a value"))
}

/// What went wrong, down to the cause. Not the URL, which has the channels, and perhaps a password.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Everything that a question consists of, hashed.
fn key(asker: &Asker, channels: &[Arc<str>]) -> Question {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    };
    for (name, value) in &asker.headers {
        add(name.as_str().as_bytes());
        add(value.as_bytes());
    }
    add(b"");
    let mut channels: Vec<&[u8]> = channels.iter().map(|name| name.as_bytes()).collect();
    channels.sort_unstable();
    channels.into_iter().for_each(add);
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Arc<Answer> {
        Arc::new(Answer { user: Some("x".repeat(bytes)), ..Answer::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_by_count_size_and_time() {
        let age = Duration::from_secs(10);
        let mut answers = Answers::new(NonZeroUsize::new(1000).expect("not 0"));
        let question = |n: usize| {
            let mut question = [0; 32];
            question[..8].copy_from_slice(&n.to_be_bytes());
            question
        };
        for n in 0..2000 {
            answers.put(question(n), Instant::now(), answer(1000), age);
        }
        assert_eq!(answers.by_question.len(), 1000);
        assert_eq!(answers.bytes, 1000 * answer(1000).bytes());
        for n in 0..1000 {
            answers.put(question(n), Instant::now(), answer(MAX_ANSWER), age);
            assert!(answers.bytes <= MAX_REMEMBERED);
        }
        assert!(answers.get(&question(999), age).is_some(), "the last is remembered");
        assert!(answers.get(&question(0), age).is_none(), "the first is not");
        tokio::time::advance(age).await;
        assert!(answers.get(&question(999), age).is_none(), "it is too old");
        answers.put(question(0), Instant::now(), answer(1), age);
        assert_eq!((answers.by_question.len(), answers.bytes), (1, answer(1).bytes()));
        answers.put(question(0), Instant::now(), answer(7), age);
        assert_eq!(answers.bytes, answer(7).bytes(), "another one in its place");
        answers.clear();
        assert_eq!((answers.by_question.len(), answers.bytes), (0, 0));
    }
}
