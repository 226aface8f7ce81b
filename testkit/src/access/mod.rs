//! Servers with rules for who may read what, tokens for them, and what they answer.

pub mod keys;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sse_server::access::{Access, AccessError, AccessRequest, ChannelManager, Principal};
use sse_server::http::{self, HttpConfig};
use sse_server::hub::{Hub, HubConfig};
use sse_server::storage::Storage;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::server::{Response, Server, TOKEN, send};

pub const SECRET: &str = "a secret of more than thirty-two bytes";

/// What a server answers with on `GET`.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Opened,
    /// By a stream-error with this text.
    Refused(String),
    /// By a status, with its challenge, if any.
    Status(u16, String),
}

/// A server process with these settings in its file.
pub async fn configured(toml: &str) -> (Server, TempDir) {
    configured_with(toml, &[]).await
}

/// The same, with these flags too.
pub async fn configured_with(toml: &str, flags: &[&str]) -> (Server, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, toml).expect("writable");
    let path = path.display().to_string();
    let server = Server::start(&[&["--config", &path], flags].concat()).await;
    (server, folder)
}

/// What became of a request for a stream.
pub async fn answer(mut response: Response) -> Answer {
    if response.status != 200 {
        let challenge = response.header("www-authenticate").unwrap_or_default().to_owned();
        return Answer::Status(response.status, challenge);
    }
    if response.header("content-length").is_none() {
        response.opening().await;
        return Answer::Opened;
    }
    let start = response.body().await;
    let error = start.strip_prefix("event: stream-error\nid: error\ndata: ").expect(&start);
    let error = error.strip_suffix("\n\n").expect("one event");
    let error: Value = serde_json::from_str(error).expect("JSON");
    assert_eq!(error["condition"], "forbidden");
    Answer::Refused(error["text"].as_str().expect("a text").to_owned())
}

pub fn refused(channels: &str) -> Answer {
    Answer::Refused(format!("Permission denied to channels: {channels}"))
}

pub fn invalid(description: &str) -> Answer {
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{description}\"");
    Answer::Status(401, challenge)
}

pub fn no_credentials() -> Answer {
    Answer::Status(401, "Bearer".to_owned())
}

/// The time in so many seconds.
pub fn after(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("before the end of time") + seconds
}

/// These claims and an hour to live.
pub fn claims(claims: Value) -> Value {
    let mut all = json!({"exp": after(3600)});
    let Value::Object(members) = claims else { panic!("no claims: {claims}") };
    all.as_object_mut().expect("an object").extend(members);
    all
}

pub fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).expect("a key of the algorithm")
}

/// A token of HS256 with these claims and an hour to live.
pub fn token(more: Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign(Algorithm::HS256, &key, &claims(more))
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Who may read what, as tests change it. The user is whom the header `X-User` names.
#[derive(Default)]
pub struct Grants {
    pub granted: Mutex<HashSet<(Option<String>, String)>>,
    pub recheck: Option<Duration>,
    pub patience: Option<Duration>,
    /// The longest time from an answer's being made up to its being given.
    pub delay: Option<Duration>,
    /// How often it was asked about each channel.
    pub asked: Mutex<Vec<String>>,
    pub is_down: std::sync::atomic::AtomicBool,
}

impl Grants {
    pub fn grant(&self, user: Option<&str>, channel: &str) {
        let entry = (user.map(str::to_owned), channel.to_owned());
        self.granted.lock().expect("no panic").insert(entry);
    }

    pub fn revoke(&self, user: Option<&str>, channel: &str) {
        let entry = (user.map(str::to_owned), channel.to_owned());
        assert!(self.granted.lock().expect("no panic").remove(&entry));
    }

    pub fn asked(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

#[async_trait]
impl ChannelManager for Grants {
    async fn authenticate(&self, request: &AccessRequest<'_>) -> Result<Principal, AccessError> {
        assert!(request.peer().is_some_and(|peer| peer.ip().is_loopback()));
        let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
        Ok(user.map_or_else(Principal::anonymous, Principal::user))
    }

    async fn can_read(&self, principal: &Principal, channel: &str) -> Result<bool, AccessError> {
        self.asked.lock().expect("no panic").push(channel.to_owned());
        if self.is_down.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(AccessError::Unavailable("down".to_owned()));
        }
        let entry = (principal.name().map(str::to_owned), channel.to_owned());
        let is_granted = self.granted.lock().expect("no panic").contains(&entry);
        if let Some(delay) = self.delay {
            tokio::time::sleep(delay.mul_f64(fastrand::f64())).await;
        }
        Ok(is_granted)
    }

    fn recheck(&self) -> Option<Duration> {
        self.recheck
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or(Duration::from_mins(1))
    }
}

/// A server in this process.
pub struct Site {
    pub address: SocketAddr,
    pub access: Access,
    pub hub: Hub,
    shutdown: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Site {
    pub async fn start(
        storage: Arc<dyn Storage>,
        config: HubConfig,
        manager: Arc<dyn ChannelManager>,
    ) -> Self {
        let hub = Hub::with_config(storage, config);
        let access = Access::new(manager, &hub);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (shutdown, ended) = tokio::sync::oneshot::channel();
        let router = http::router(hub.clone(), HttpConfig::new(TOKEN).access(access.clone()));
        let served = hub.clone();
        tokio::spawn(async move {
            http::serve(listener, router, &served, async { drop(ended.await) }).await;
        });
        Self { address, access, hub, shutdown: Some(shutdown) }
    }

    pub async fn get(&self, path: &str, headers: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        send(self.address, request.as_bytes()).await
    }

    /// Opens a stream for a user, or for an anonymous reader.
    pub async fn open(&self, query: &str, user: Option<&str>) -> Response {
        let headers = user.map(|user| format!("X-User: {user}\r\n")).unwrap_or_default();
        let mut stream = self.get(&format!("/events/?{query}"), &headers).await;
        stream.opening().await;
        stream
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let len = body.len();
        let auth = bearer(TOKEN);
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n{auth}\r\n{body}"
        );
        let mut response = send(self.address, request.as_bytes()).await;
        let body = response.body().await;
        (response.status, serde_json::from_str(&body).expect("JSON"))
    }

    pub async fn publish(&self, channel: &str, data: impl Into<Value>) {
        let event = json!({"channel": channel, "data": data.into()});
        assert_eq!(self.post("/publish/", &event).await.0, 200);
    }

    pub async fn changed(&self, user: Option<&str>, channel: &str) -> (u16, Value) {
        self.post("/permissions/changed", &json!({"user": user, "channel": channel})).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.take();
    }
}
