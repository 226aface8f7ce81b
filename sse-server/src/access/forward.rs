//! Asking the operator's backend, as nginx's `auth_request` does.
//!
//! What the backend says is remembered for a while. Whoever cannot be asked about is not let in; whoever is
//! in already stays for as long as the patience lasts.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use lru::LruCache;
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::debug;

use super::jwt::text;
use super::turns::Turns;
use super::{AccessError, AccessRequest, Occasion, Pattern};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// How long after a failed attempt to connect none is made. Timeouts and errors of the backend do not
/// count: one client's request may be the reason.
const PAUSE: Duration = Duration::from_millis(250);

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
    client: Client,
    answers: Mutex<Answers>,
    /// Grows when answers are to be forgotten, also those that are under way.
    generation: AtomicU64,
    turns: Turns,
    unreachable: Mutex<Option<Instant>>,
}

/// Answers by their questions, and when they were asked for.
type Answers = LruCache<Vec<u8>, (Instant, Arc<Answer>)>;

/// What the backend gets to see of whoever reads.
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

#[derive(Deserialize, Default)]
struct Body {
    user: Option<Value>,
    channels: Option<Vec<String>>,
}

impl Answer {
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
            client,
            answers: Mutex::new(LruCache::new(cache_size)),
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

    /// What of a request goes to the backend.
    pub(super) fn asker(&self, request: &AccessRequest<'_>) -> Asker {
        let mut headers = HeaderMap::new();
        for name in &self.headers {
            for value in request.headers().get_all(name) {
                headers.append(name.clone(), value.clone());
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
        if let Some((at, answer)) = self.answers().get(&key)
            && at.elapsed() < self.cache
        {
            return Ok(answer.clone());
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
            answers.put(key, (begun, answer.clone()));
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
        // The URL has the channels, and perhaps a password.
        let response = response.map_err(|error| {
            *self.unreachable() = error.is_connect().then(Instant::now);
            AccessError::Unavailable(format!(
                "the backend does not answer: {}",
                error.without_url()
            ))
        })?;
        *self.unreachable() = None;
        let status = response.status();
        debug!(%status, ?channels, "the backend has answered");
        match status {
            StatusCode::UNAUTHORIZED => Ok(Answer::default()),
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

/// Everything that a question consists of.
fn key(asker: &Asker, channels: &[Arc<str>]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for (name, value) in &asker.headers {
        parts.push(name.as_str().as_bytes());
        parts.push(value.as_bytes());
    }
    let mut channels: Vec<&[u8]> = channels.iter().map(|name| name.as_bytes()).collect();
    channels.sort_unstable();
    let mut key = Vec::new();
    for part in parts.into_iter().chain([&b""[..]]).chain(channels) {
        key.extend_from_slice(&part.len().to_be_bytes());
        key.extend_from_slice(part);
    }
    key
}
