//! The settings: flags, environment, file, in this order of precedence; and what they stand for.
//!
//! The only place that knows every storage.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::Deserialize;

use crate::storage::{MemoryStorage, Storage, StorageError};

/// A Server-Sent Events server: channels, durable ids, replay. Speaks django-eventstream's protocol.
///
/// Every flag can also be given as an environment variable (`SSE_SERVER_LISTEN`) or as a key of the
/// file named by `--config` (`listen = "…"`). A flag beats the environment, which beats the file.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[command(name = "sse-server", version)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Settings {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "SSE_SERVER_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,

    /// Where events are kept: `memory` or `sqlite:PATH` [default: sqlite:sse-server.db]
    #[arg(long, env = "SSE_SERVER_STORAGE", value_name = "STORAGE")]
    pub storage: Option<String>,

    /// How instances tell each other about events: `none` [default: none]
    #[arg(long, env = "SSE_SERVER_RELAY", value_name = "RELAY")]
    pub relay: Option<String>,

    /// Who has this token may publish [default: a random one, printed at start]
    #[arg(long, env = "SSE_SERVER_PUBLISH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub publish_token: Option<String>,

    /// How long events are kept, such as `90m` or `7d` [default: 24h]
    #[arg(long, env = "SSE_SERVER_RETENTION", value_name = "TIME")]
    pub retention: Option<String>,

    /// Silence after which a keep-alive is sent [default: 20s]
    #[arg(long, env = "SSE_SERVER_KEEP_ALIVE", value_name = "TIME")]
    pub keep_alive: Option<String>,

    /// Most bytes of a published event, type and data together [default: 1048576]
    #[arg(long, env = "SSE_SERVER_MAX_EVENT_SIZE", value_name = "BYTES")]
    pub max_event_size: Option<usize>,

    /// Let everyone who can reach a public address read every channel
    #[arg(long, env = "SSE_SERVER_OPEN_ACCESS", num_args = 0..=1, default_missing_value = "true")]
    pub open_access: Option<bool>,

    /// What to log, such as `debug` or `warn,sse_server=debug` [default: info]
    #[arg(long, env = "SSE_SERVER_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// A TOML file with more settings
    #[arg(long, env = "SSE_SERVER_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Settings that were read and make sense.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The addresses to listen on; the first that works is taken.
    pub listen: Vec<SocketAddr>,
    /// Where events are kept.
    pub storage: StorageChoice,
    /// The token for publishing, if one was given.
    pub publish_token: Option<String>,
    /// How long events are kept.
    pub retention: Duration,
    /// Silence after which a keep-alive is sent.
    pub keep_alive: Duration,
    /// Most bytes of a published event.
    pub max_event_size: usize,
    /// What to log, as `tracing` filter directives.
    pub log: String,
}

/// The storages that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageChoice {
    /// [`MemoryStorage`]
    Memory,
    /// [`SqliteStorage`](crate::storage::SqliteStorage) in this file.
    Sqlite(PathBuf),
}

/// A setting that cannot be used: which one, why, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    setting: String,
    problem: String,
}

impl ConfigError {
    fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl Settings {
    /// Adds the file, if one is named, and checks everything.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first setting that cannot be used.
    pub fn resolve(mut self) -> Result<Config, ConfigError> {
        if let Some(path) = self.config.take() {
            self = self.or(Self::of_file(&path)?);
        }
        let listen = addresses(self.listen.as_deref().unwrap_or("127.0.0.1:8080"))?;
        let is_public = listen.iter().any(|address| !address.ip().is_loopback());
        if is_public && self.open_access != Some(true) {
            let problem = "this is not a loopback address, and there is no rule for who may read; \
                           add --open-access if everyone who can reach it may read every channel";
            return Err(ConfigError::new("--listen", problem));
        }
        if let Some(relay) = self.relay.filter(|relay| relay != "none") {
            let problem = format!("{relay:?} is not available in this version; use none");
            return Err(ConfigError::new("--relay", problem));
        }
        if self.publish_token.as_ref().is_some_and(|token| token.trim().is_empty()) {
            let problem =
                "the token is empty, so everyone could publish; leave it out for a random one";
            return Err(ConfigError::new("--publish-token", problem));
        }
        Ok(Config {
            listen,
            storage: StorageChoice::parse(
                self.storage.as_deref().unwrap_or("sqlite:sse-server.db"),
            )?,
            publish_token: self.publish_token,
            retention: duration("--retention", self.retention.as_deref().unwrap_or("24h"))?,
            keep_alive: duration("--keep-alive", self.keep_alive.as_deref().unwrap_or("20s"))?,
            max_event_size: self.max_event_size.unwrap_or(1 << 20),
            log: self.log.unwrap_or_else(|| "info".to_owned()),
        })
    }

    fn of_file(path: &Path) -> Result<Self, ConfigError> {
        let error = |problem| ConfigError::new(format!("--config {}", path.display()), problem);
        let text = std::fs::read_to_string(path).map_err(|problem| error(problem.to_string()))?;
        toml::from_str(&text).map_err(|problem| error(problem.to_string().trim_end().to_owned()))
    }

    /// These settings, and those of `other` where these have none.
    fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            storage: self.storage.or(other.storage),
            relay: self.relay.or(other.relay),
            publish_token: self.publish_token.or(other.publish_token),
            retention: self.retention.or(other.retention),
            keep_alive: self.keep_alive.or(other.keep_alive),
            max_event_size: self.max_event_size.or(other.max_event_size),
            open_access: self.open_access.or(other.open_access),
            log: self.log.or(other.log),
            config: self.config.or(other.config),
        }
    }
}

fn addresses(text: &str) -> Result<Vec<SocketAddr>, ConfigError> {
    let error = |problem: String| {
        ConfigError::new("--listen", format!("{text:?} is no address and port: {problem}"))
    };
    let addresses: Vec<_> = text.to_socket_addrs().map_err(|e| error(e.to_string()))?.collect();
    if addresses.is_empty() {
        Err(error("the name has no address".to_owned()))
    } else {
        Ok(addresses)
    }
}

fn duration(setting: &str, text: &str) -> Result<Duration, ConfigError> {
    let error = |problem: String| ConfigError::new(setting, format!("{text:?}: {problem}"));
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(error("must be longer than nothing".to_owned())),
        Ok(duration) => Ok(duration),
        Err(problem) => Err(error(format!("{problem}; write for example 30s, 15m or 24h"))),
    }
}

impl StorageChoice {
    fn parse(text: &str) -> Result<Self, ConfigError> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => {
                let problem = format!("{text:?} is not available; use memory or sqlite:PATH");
                Err(ConfigError::new("--storage", problem))
            }
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// If the storage cannot be opened.
    pub async fn open(&self) -> Result<Arc<dyn Storage>, StorageError> {
        match self {
            Self::Memory => Ok(Arc::new(MemoryStorage::new())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => Ok(Arc::new(crate::storage::SqliteStorage::open(path).await?)),
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => {
                Err(StorageError::new("open", "this build does not have the feature `sqlite`"))
            }
        }
    }
}

impl fmt::Display for StorageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}
