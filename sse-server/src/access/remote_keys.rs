//! A JWK set (RFC 7517) at a URL, as the issuer of tokens publishes it, fetched again now and then.
//!
//! It is fetched when a token needs it: at first, when what is known is old, and when a token names
//! a key that is not known. Keys that are known stay when it cannot be fetched.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};
use tokio::sync;
use tokio::time::Instant;
use tracing::{info, warn};

use super::AccessError;
use super::jwt::Key;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const MAX_SET: usize = 1 << 20;

/// How long after a try there is no other one, whatever tokens strangers send.
const PAUSE: Duration = Duration::from_secs(5);

/// Those in use, so that settings that are read again keep what is known.
static IN_USE: LazyLock<Mutex<HashMap<Url, Weak<RemoteKeys>>>> = LazyLock::new(Mutex::default);

/// The keys at one URL.
#[derive(Debug)]
pub(super) struct RemoteKeys {
    url: Url,
    client: Client,
    known: Mutex<Known>,
    /// Held while they are fetched.
    fetching: sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    keys: Option<Arc<[Key]>>,
    /// When they were fetched, and when that was tried last.
    at: Option<Instant>,
    tried: Option<Instant>,
}

impl RemoteKeys {
    /// Those at this URL, which must be one of https, or of this machine.
    pub(super) fn at(url: &str) -> Result<Arc<Self>, String> {
        let url = match Url::parse(url) {
            Ok(url) if url.scheme() == "https" && url.has_host() => url,
            Ok(url) if url.scheme() == "http" && is_here(&url) => url,
            Ok(url) if url.scheme() == "http" => {
                return Err(
                    "without encryption others could replace the keys; use https".to_owned()
                );
            }
            _ => {
                return Err("this is no URL; write for example \
                            https://login.example.com/.well-known/jwks.json"
                    .to_owned());
            }
        };
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = in_use.get(&url).and_then(Weak::upgrade) {
            return Ok(keys);
        }
        in_use.retain(|_, keys| keys.strong_count() > 0);
        let client = Client::builder()
            // Where it leads to has not been looked at.
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .user_agent(concat!("sse-server/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let (known, fetching) = (Mutex::default(), sync::Mutex::default());
        let keys = Arc::new(Self { url: url.clone(), client, known, fetching });
        in_use.insert(url, Arc::downgrade(&keys));
        Ok(keys)
    }

    /// The keys, not older than this if they can be had; fetched anew if none of them `is_meant`.
    pub(super) async fn keys(
        &self,
        refresh: Duration,
        is_meant: impl Fn(&Key) -> bool,
    ) -> Result<Arc<[Key]>, AccessError> {
        let has = |known: &Known| known.keys.iter().flat_map(|keys| keys.iter()).any(&is_meant);
        let is_due = |known: &Known| {
            let is_old = known.at.is_none_or(|at| at.elapsed() >= refresh);
            (is_old || !has(known)) && known.tried.is_none_or(|at| at.elapsed() >= PAUSE)
        };
        let known = self.known().clone();
        if is_due(&known) || !has(&known) {
            // Who comes while they are fetched goes on with what is known, if it will do.
            let turn = match self.fetching.try_lock() {
                Err(_) if has(&known) => None,
                Err(_) => Some(self.fetching.lock().await),
                Ok(turn) => Some(turn),
            };
            let is_due = is_due(&self.known());
            if turn.is_some() && is_due {
                self.fetch().await;
            }
        }
        let keys = self.known().keys.clone();
        keys.ok_or_else(|| {
            AccessError::Unavailable("the keys of tokens cannot be fetched".to_owned())
        })
    }

    async fn fetch(&self) {
        self.known().tried = Some(Instant::now());
        match self.ask().await {
            Ok((keys, left_out)) => {
                for problem in left_out {
                    warn!("access.jwt.jwks-url: {problem}; the key is left out");
                }
                let mut known = self.known();
                if known.keys.is_none() {
                    info!(keys = keys.len(), "the keys of tokens were fetched");
                }
                known.keys = Some(keys.into());
                known.at = Some(Instant::now());
            }
            Err(problem) => {
                let kept =
                    if self.known().keys.is_some() { "; those that are known stay" } else { "" };
                warn!("access.jwt.jwks-url: the keys cannot be fetched: {problem}{kept}");
            }
        }
    }

    async fn ask(&self) -> Result<(Vec<Key>, Vec<String>), String> {
        let reason = super::forward::reason;
        let mut answer = self.client.get(self.url.clone()).send().await.map_err(reason)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let mut json = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reason)? {
            json.extend_from_slice(&chunk);
            if json.len() > MAX_SET {
                return Err(format!("there are more than {MAX_SET} bytes"));
            }
        }
        let set = Key::of_jwks(&json)?;
        // Everybody can read what is there, and could sign with it.
        let (keys, secrets): (Vec<_>, Vec<_>) = set.keys.into_iter().partition(Key::is_public);
        let mut left_out = set.left_out;
        left_out.extend(secrets.iter().map(|_| "a secret is no secret at a URL".to_owned()));
        if keys.is_empty() {
            return Err("the set has no public key".to_owned());
        }
        Ok((keys, left_out))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody can be between.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
