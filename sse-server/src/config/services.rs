//! The storages and relays that can be chosen: what the settings call them, and how they are
//! opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;

use super::ConfigError;
use crate::ServiceError;
use crate::relay::{Relay, RelayOptions};
#[cfg(feature = "sqlite")]
use crate::storage::DjangoSqliteStorage;
use crate::storage::{MemoryStorage, NoStorage, Retention, Storage};
use crate::values::{Token, Value, readable};

/// The longest prefix of names in Redis.
const LONGEST_PREFIX: usize = 64;

/// The shortest secret that instances may share.
const SHORTEST_SECRET: usize = 16;

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

readable!(StorageChoice, RelayChoice);

impl Value for StorageChoice {
    const EXAMPLE: &'static str = "\"sqlite:events.db\"";

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.problem)
    }
}

impl Value for RelayChoice {
    const EXAMPLE: &'static str = "\"redis://localhost:6379\"";

    fn read(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.problem)
    }
}

impl StorageChoice {
    /// Understands what the setting says.
    ///
    /// # Errors
    ///
    /// If it names no storage or relay that this server knows.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        match text.split_once(':') {
            None if text == "none" => return Ok(Self::None),
            None if text == "memory" => return Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => return sqlite(path),
            _ => {}
        }
        let url = ServiceUrl(text.to_owned());
        url.has_one_host("--storage")?;
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

    /// Looks whether it could be opened, as far as that is known without opening it: whether the
    /// folder of a file is there and can be written to.
    ///
    /// # Errors
    ///
    /// The folder, and what is the matter with it.
    pub fn check(&self) -> Result<(), String> {
        let Self::Sqlite(path) = self else { return Ok(()) };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let name = folder.display();
        match folder.metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!(
                    "the folder {name} does not exist; create it, or name another"
                ));
            }
            Err(error) => return Err(format!("the folder {name} cannot be looked at: {error}")),
            Ok(metadata) if !metadata.is_dir() => return Err(format!("{name} is no folder")),
            Ok(_) => {}
        }
        // SQLite makes files beside its own.
        rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            format!("the folder {name} cannot be written to by this user: {error}")
        })
    }

    /// Opens it. `retention` is for a storage that lets events expire by itself.
    ///
    /// # Errors
    ///
    /// If the storage cannot be opened, or is not a part of this build.
    pub async fn open(&self, retention: Retention) -> Result<Arc<dyn Storage>, ServiceError> {
        self.open_with_prefix(retention, "").await
    }

    /// The same, with keys in Redis whose names begin with this.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[allow(clippy::unused_async, reason = "a build without drivers has nothing to wait for")]
    pub async fn open_with_prefix(
        &self,
        retention: Retention,
        prefix: &str,
    ) -> Result<Arc<dyn Storage>, ServiceError> {
        // Not every build has a storage that wants to know.
        let _ = (retention, prefix);
        match self {
            Self::None => Ok(Arc::new(NoStorage::new())),
            Self::Memory => Ok(Arc::new(MemoryStorage::new())),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                self.check().map_err(|problem| ServiceError::new("open", problem))?;
                if DjangoSqliteStorage::is_one(path) {
                    return Ok(Arc::new(DjangoSqliteStorage::open(path).await?));
                }
                Ok(Arc::new(crate::storage::SqliteStorage::open(path).await?))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                Ok(Arc::new(crate::storage::PostgresStorage::open(&url.0).await?))
            }
            #[cfg(feature = "redis")]
            Self::Redis(url) => {
                let open = crate::storage::RedisStorage::open_with_prefix;
                Ok(Arc::new(open(&url.0, retention, prefix).await?))
            }
            #[allow(unreachable_patterns, reason = "only if all features are on")]
            _ => Err(ServiceError::new(
                "open",
                "this build lacks the feature of that name; build it with --features",
            )),
        }
    }
}

/// The file that is meant, also if it is written as a URL: `sqlite://events.db` is in the current
/// folder, `sqlite:///srv/events.db` is not. What SQLite would take for something else than a file
/// is refused.
fn sqlite(path: &str) -> Result<StorageChoice, ConfigError> {
    let refuse =
        |problem: &str| Err(ConfigError::new("--storage", format!("sqlite:{path}: {problem}")));
    let file = path.strip_prefix("//").unwrap_or(path);
    if file.contains(":memory:") {
        return refuse("each connection would have a memory of its own; use memory");
    }
    if file.starts_with("file:") || file.contains('?') {
        return refuse("parameters are not understood; use sqlite:PATH with the path of a file");
    }
    if file.is_empty() || file.ends_with('/') {
        return refuse("this is no file; use sqlite:PATH, such as sqlite:events.db");
    }
    Ok(StorageChoice::Sqlite(file.into()))
}

impl RelayChoice {
    /// Understands what the setting says.
    ///
    /// # Errors
    ///
    /// If it names no storage or relay that this server knows.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text == "none" {
            return Ok(Self::None);
        }
        let url = ServiceUrl(text.to_owned());
        url.has_one_host("--relay")?;
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
    pub async fn open(&self) -> Result<Option<Arc<dyn Relay>>, ServiceError> {
        self.open_with(&RelayOptions::default()).await
    }

    /// The same, with these options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[allow(clippy::unused_async, reason = "a build without drivers has nothing to wait for")]
    pub async fn open_with(
        &self,
        options: &RelayOptions,
    ) -> Result<Option<Arc<dyn Relay>>, ServiceError> {
        // Not every build has a relay that wants to know.
        let _ = options;
        match self {
            Self::None => Ok(None),
            #[cfg(feature = "redis")]
            Self::Redis(url) => {
                Ok(Some(Arc::new(crate::relay::RedisRelay::open_with(&url.0, options).await?)))
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                Ok(Some(Arc::new(crate::relay::PostgresRelay::open_with(&url.0, options).await?)))
            }
            #[cfg(feature = "amqp")]
            Self::Amqp(url) => {
                Ok(Some(Arc::new(crate::relay::AmqpRelay::open_with(&url.0, options).await?)))
            }
            #[allow(unreachable_patterns, reason = "only if all features are on")]
            _ => Err(ServiceError::new(
                "open",
                "this build lacks the feature of that name; build it with --features",
            )),
        }
    }
}

/// What names in Redis begin with.
pub(super) fn redis_prefix(text: Option<&str>) -> Result<String, ConfigError> {
    let text = text.unwrap_or_default();
    if text.len() > LONGEST_PREFIX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!(
            "{text:?} has more than {LONGEST_PREFIX} characters, or others than ASCII letters, digits and \
             signs; write for example staging:"
        );
        return Err(ConfigError::new("--redis-prefix", problem));
    }
    Ok(text.to_owned())
}

/// What instances have to agree on to use a relay.
pub(super) fn relay_options(
    secret: Option<&Token>,
    prefix: &str,
) -> Result<RelayOptions, ConfigError> {
    let options = RelayOptions::default().prefix(prefix);
    match secret.map(Token::expose) {
        None => Ok(options),
        Some(secret) if secret.len() < SHORTEST_SECRET => {
            let problem = format!(
                "it has fewer than {SHORTEST_SECRET} characters; `sse-server token --publish` makes one"
            );
            Err(ConfigError::new("--relay-secret", problem))
        }
        Some(secret) => Ok(options.secret(secret)),
    }
}

impl ServiceUrl {
    fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }

    /// The drivers would take `one,two` for a name, which has no address, and the server would wait
    /// for it.
    fn has_one_host(&self, setting: &str) -> Result<(), ConfigError> {
        let place = self.0.split_once("://").and_then(|(_, rest)| understood(rest));
        let hosts = place.and_then(|(_, place)| place.split('/').next()).unwrap_or_default();
        if !hosts.contains(',') {
            return Ok(());
        }
        let problem = format!(
            "{self}: several hosts are not possible; name one address that always leads to the one that takes writes"
        );
        Err(ConfigError::new(setting, problem))
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
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // A word that was mistyped, or the beginning of something that has a password
            // somewhere.
            let is_word = self.0.bytes().all(|byte| byte.is_ascii_lowercase());
            return f.write_str(if is_word { &self.0 } else { "…" });
        };
        let is_scheme =
            scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        if !is_scheme {
            return f.write_str("…");
        }
        // A password that is not escaped may have any of `@/?#` in it: then it is not known where
        // it ends.
        match understood(rest) {
            Some((Some(user), place)) => write!(f, "{scheme}://{user}:…@{place}"),
            Some((None, place)) => write!(f, "{scheme}://{place}"),
            None => write!(f, "{scheme}://…"),
        }
    }
}

/// The user, if there are credentials, and the host and path of a URL behind `://`, if there is no
/// doubt which is which.
fn understood(rest: &str) -> Option<(Option<&str>, &str)> {
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    if credentials.is_some_and(|text| text.contains(['/', '?', '#'])) {
        return None;
    }
    // A query can hold a password as well.
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let (hosts, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, ""),
    };
    let is_plain = |text: &str, more: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let are_hosts = hosts.split(',').all(|host| {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, ""),
        };
        let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_host = match v6 {
            Some(address) => is_plain(address, b":.%"),
            // Sockets of Unix are hosts with `%2F`.
            None => is_plain(name, b"-._%"),
        };
        is_host && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !are_hosts || !is_plain(path, b"/-._%~+") {
        return None;
    }
    // Without a colon it may be the password that stands there.
    let user = credentials.map(|text| text.split_once(':').map_or("", |(user, _)| user));
    Some((user, place))
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
    fn passwords_are_not_shown_whatever_else_is_wrong_with_the_url() {
        let shown = |url: &str| ServiceUrl(url.to_owned()).to_string();
        for (url, expected) in [
            ("redis://localhost:6379/1", "redis://localhost:6379/1"),
            ("redis://[::1]:6379", "redis://[::1]:6379"),
            ("postgres://me:s@cr:et@host/db?password=x", "postgres://me:…@host/db"),
            ("postgres://me:x@a:1,b:2/db?sslmode=require", "postgres://me:…@a:1,b:2/db"),
            ("postgres://%2Frun%2Fpostgresql/db?user=me", "postgres://%2Frun%2Fpostgresql/db"),
            ("redis://:secret@host", "redis://:…@host"),
            ("redis://secret@host", "redis://:…@host"),
            ("postgres://me:s3cr#et@host/db", "postgres://…"),
            ("postgres://me:s3cr?et@host/db", "postgres://…"),
            ("postgres://me:s3cr/et@host/db", "postgres://…"),
            ("postgres://me:123#x@host", "postgres://…"),
            ("redis://:s3cr#et", "redis://…"),
            ("postgres://me:s3cret", "postgres://…"),
            ("amqp://me:s3cret@host/a b", "amqp://…"),
            ("host=db user=me password=s3cret", "…"),
            ("postgres:me:s3cret@host", "…"),
            ("s3cret", "…"),
            ("password=x://y", "…"),
            ("floppy", "floppy"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn a_sqlite_file_is_meant_however_it_is_written() {
        for (text, file) in [
            ("sqlite:events.db", "events.db"),
            ("sqlite:./a/events.db", "./a/events.db"),
            ("sqlite:/srv/events.db", "/srv/events.db"),
            ("sqlite://events.db", "events.db"),
            ("sqlite:///srv/events.db", "/srv/events.db"),
        ] {
            assert_eq!(
                StorageChoice::parse(text),
                Ok(StorageChoice::Sqlite(file.into())),
                "{text}"
            );
        }
    }

    #[test]
    fn what_sqlite_would_not_take_for_a_file_is_refused() {
        for text in [
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:events.db?mode=rwc",
            "sqlite:file:events.db?mode=memory&cache=shared",
            "sqlite://",
            "sqlite:/srv/",
        ] {
            let error = StorageChoice::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("--storage: {text}: ")), "{error}");
            assert!(error.contains("; use "), "{error}");
        }
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
