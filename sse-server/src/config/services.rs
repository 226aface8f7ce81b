//! The storages and relays that can be chosen: what the settings call them, and how they are opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::ConfigError;
use crate::relay::{Relay, RelayError};
use crate::storage::{MemoryStorage, NoStorage, Retention, Storage, StorageError};

/// The storages that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageChoice {
    /// [`NoStorage`]
    None,
    /// [`MemoryStorage`]
    Memory,
    /// [`SqliteStorage`](crate::storage::SqliteStorage) in this file.
    Sqlite(PathBuf),
    /// [`PostgresStorage`](crate::storage::PostgresStorage) in this database.
    Postgres(ServiceUrl),
    /// [`RedisStorage`](crate::storage::RedisStorage) in this server.
    Redis(ServiceUrl),
}

/// The relays that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayChoice {
    /// None: this is the only instance, or others are noticed by the regular look into the storage.
    None,
    /// Redis publish/subscribe.
    Redis(ServiceUrl),
    /// PostgreSQL notifications.
    Postgres(ServiceUrl),
    /// An AMQP broker, such as RabbitMQ.
    Amqp(ServiceUrl),
}

/// Where a service is. Shown, it keeps its password to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl StorageChoice {
    /// Understands what the setting says.
    ///
    /// # Errors
    ///
    /// If it is none of those that there are.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        match text.split_once(':') {
            None if text == "none" => return Ok(Self::None),
            None if text == "memory" => return Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => return Ok(Self::Sqlite(path.into())),
            _ => {}
        }
        let url = ServiceUrl(text.to_owned());
        match url.scheme() {
            Some("postgres" | "postgresql") => Ok(Self::Postgres(url)),
            Some("redis" | "rediss") => Ok(Self::Redis(url)),
            _ => Err(ConfigError::new(
                "--storage",
                format!(
                    "there is no storage {url}; use none, memory, sqlite:PATH, \
                     postgres://USER:PASSWORD@HOST/DATABASE or redis://HOST:PORT"
                ),
            )),
        }
    }

    /// Opens it. `retention` is for a storage that lets events expire by itself.
    ///
    /// # Errors
    ///
    /// If the storage cannot be opened, or is not a part of this build.
    #[allow(clippy::unused_async, reason = "a build without drivers has nothing to wait for")]
    pub async fn open(&self, retention: Retention) -> Result<Arc<dyn Storage>, StorageError> {
        // Not every build has a storage that wants to know.
        let _ = retention;
        match self {
            Self::None => Ok(Arc::new(NoStorage::new())),
            Self::Memory => Ok(Arc::new(MemoryStorage::new())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => Ok(Arc::new(crate::storage::SqliteStorage::open(path).await?)),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                Ok(Arc::new(crate::storage::PostgresStorage::open(&url.0).await?))
            }
            #[cfg(feature = "redis")]
            Self::Redis(url) => {
                Ok(Arc::new(crate::storage::RedisStorage::open(&url.0, retention).await?))
            }
            #[allow(unreachable_patterns, reason = "only if all features are on")]
            _ => Err(StorageError::new(
                "open",
                "this build lacks the feature of that name; build it with --features",
            )),
        }
    }
}

impl RelayChoice {
    /// Understands what the setting says.
    ///
    /// # Errors
    ///
    /// If it is none of those that there are.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text == "none" {
            return Ok(Self::None);
        }
        let url = ServiceUrl(text.to_owned());
        match url.scheme() {
            Some("redis" | "rediss") => Ok(Self::Redis(url)),
            Some("postgres" | "postgresql") => Ok(Self::Postgres(url)),
            Some("amqp" | "amqps") => Ok(Self::Amqp(url)),
            _ => Err(ConfigError::new(
                "--relay",
                format!(
                    "there is no relay {url}; use none, redis://HOST:PORT, \
                     postgres://USER:PASSWORD@HOST/DATABASE or amqp://USER:PASSWORD@HOST"
                ),
            )),
        }
    }

    /// Connects to it, if there is one.
    ///
    /// # Errors
    ///
    /// If it does not answer, or is not a part of this build.
    #[allow(clippy::unused_async, reason = "a build without drivers has nothing to wait for")]
    pub async fn open(&self) -> Result<Option<Arc<dyn Relay>>, RelayError> {
        match self {
            Self::None => Ok(None),
            #[cfg(feature = "redis")]
            Self::Redis(url) => Ok(Some(Arc::new(crate::relay::RedisRelay::open(&url.0).await?))),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                Ok(Some(Arc::new(crate::relay::PostgresRelay::open(&url.0).await?)))
            }
            #[cfg(feature = "amqp")]
            Self::Amqp(url) => Ok(Some(Arc::new(crate::relay::AmqpRelay::open(&url.0).await?))),
            #[allow(unreachable_patterns, reason = "only if all features are on")]
            _ => Err(RelayError::new(
                "open",
                "this build lacks the feature of that name; build it with --features",
            )),
        }
    }
}

impl ServiceUrl {
    fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }
}

impl fmt::Display for StorageChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) | Self::Redis(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for RelayChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Redis(url) | Self::Postgres(url) | Self::Amqp(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A password can have an @, a host cannot; and a query can hold a password too.
        let shown = self.0.split(['?', '#']).next().unwrap_or_default();
        match shown.split_once("://").zip(shown.rsplit_once('@')) {
            Some(((scheme, _), (credentials, rest))) => {
                let user = credentials[scheme.len() + 3..].split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:…@{rest}")
            }
            None => f.write_str(shown),
        }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let shown = |url: &str| ServiceUrl(url.to_owned()).to_string();
        assert_eq!(shown("redis://localhost:6379/1"), "redis://localhost:6379/1");
        assert_eq!(shown("postgres://me:s@cr:et@host/db?password=x"), "postgres://me:…@host/db");
        assert_eq!(shown("redis://:secret@host"), "redis://:…@host");
    }

    #[test]
    fn an_address_that_is_no_storage_or_relay_is_refused_by_name() {
        for text in ["", "nono", "sqlite:", "mysql://me:secret@host", "redis:host", "amqp://host"] {
            let error = StorageChoice::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("--storage: "), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = RelayChoice::parse("memory").expect_err("no relay").to_string();
        assert!(error.starts_with("--relay: there is no relay memory; use none, "), "{error}");
    }
}
