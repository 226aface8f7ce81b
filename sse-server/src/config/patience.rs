//! Services that do not answer at the start: which errors pass by themselves, and which never do.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::{RelayChoice, StorageChoice};
use crate::ServiceError;
use crate::arriving::{ArrivingRelay, ArrivingStorage, Attempt, Hopeless};
use crate::relay::{Relay, RelayOptions};
use crate::storage::{Retention, Storage};

/// A storage, and what tells if it can never be used, unless that is known already.
pub type OpenedStorage = (Arc<dyn Storage>, Option<Hopeless<ServiceError>>);

/// As [`OpenedStorage`].
pub type OpenedRelay = (Option<Arc<dyn Relay>>, Option<Hopeless<ServiceError>>);

impl StorageChoice {
    /// Opens it. A database that does not answer is asked again and again, and the storage fails
    /// until it does.
    ///
    /// # Errors
    ///
    /// If it can never be opened as things are: the credentials are refused, the tables are of a
    /// later version, a file cannot be written. Also if it is not a part of this build.
    pub async fn open_patiently(
        &self,
        retention: Retention,
        prefix: &str,
    ) -> Result<OpenedStorage, ServiceError> {
        let error = match self.open_with_prefix(retention, prefix).await {
            Err(error) if self.is_service() && passes(&error) => error,
            opened => return opened.map(|storage| (storage, None)),
        };
        let (this, prefix) = (self.clone(), prefix.to_owned());
        let open = move || {
            let (this, prefix) = (this.clone(), prefix.clone());
            async move { attempt(this.open_with_prefix(retention, &prefix).await) }
        };
        let (storage, hopeless) = ArrivingStorage::new(format!("the storage {self}"), &error, open);
        tracing::warn!(
            "--storage {self}: cannot {error}; will try again, and nothing is served until then"
        );
        Ok((Arc::new(storage), Some(hopeless)))
    }

    const fn is_service(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Redis(_))
    }
}

impl RelayChoice {
    /// Connects to it, if there is one. A broker that does not answer is asked again and again, and
    /// nothing is sent until it does.
    ///
    /// # Errors
    ///
    /// If it can never be used as things are, or is not a part of this build.
    pub async fn open_patiently(
        &self,
        options: &RelayOptions,
    ) -> Result<OpenedRelay, ServiceError> {
        let error = match self.open_with(options).await {
            Err(error) if passes(&error) => error,
            opened => return opened.map(|relay| (relay, None)),
        };
        let (this, options) = (self.clone(), options.clone());
        let open = move || {
            let (this, options) = (this.clone(), options.clone());
            async move {
                let opened = this.open_with(&options).await;
                attempt(opened.and_then(|relay| {
                    relay.ok_or_else(|| ServiceError::new("connect", "there is no relay"))
                }))
            }
        };
        let carries_events = matches!(self, Self::Redis(_));
        let (relay, hopeless) =
            ArrivingRelay::new(format!("the relay {self}"), carries_events, &error, open);
        tracing::warn!("--relay {self}: cannot {error}; will try again");
        Ok((Some(Arc::new(relay)), Some(hopeless)))
    }
}

fn attempt<T, E: Error + 'static>(opened: Result<T, E>) -> Attempt<T, E> {
    match opened {
        Ok(it) => Attempt::Arrived(it),
        Err(error) if passes(&error) => Attempt::Later(error),
        Err(error) => Attempt::Never(error),
    }
}

/// Whether an error is one of a service that is down, starts, is overloaded or cannot be reached,
/// so that trying again may help.
fn passes(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.into_iter().any(|cause| {
        let io = cause.downcast_ref().is_some_and(io_passes);
        io || of_postgres(cause) || of_redis(cause) || of_amqp(cause)
    })
}

fn io_passes(error: &io::Error) -> bool {
    // Certificates, keys and addresses that are wrong.
    !matches!(
        error.kind(),
        ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::Other
            | ErrorKind::Unsupported
    )
}

#[cfg(feature = "postgres")]
fn of_postgres(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(error)) => io_passes(error),
        Some(sqlx::Error::PoolTimedOut) => true,
        // Connections, resources, an operator's intervention; and a standby that is to become the
        // primary.
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            ["08", "53", "57"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        _ => false,
    }
}

#[cfg(feature = "redis")]
fn of_redis(error: &(dyn Error + 'static)) -> bool {
    use redis::{ErrorKind, RedisError, ServerErrorKind};

    let Some(error) = error.downcast_ref::<RedisError>() else { return false };
    match error.kind() {
        ErrorKind::Io => {
            let cause = error.source().and_then(|cause| cause.downcast_ref());
            let cause = cause.and_then(|cause: &Arc<dyn Error + Send + Sync>| cause.downcast_ref());
            cause.is_none_or(io_passes)
        }
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain,
        ) => true,
        _ => error.code() == Some("NOREPLICAS"),
    }
}

#[cfg(feature = "amqp")]
fn of_amqp(error: &(dyn Error + 'static)) -> bool {
    use lapin::ErrorKind;

    let Some(error) = error.downcast_ref::<lapin::Error>() else { return false };
    match error.kind() {
        ErrorKind::IOError(error) => io_passes(error),
        // The connection has ended while it was made.
        ErrorKind::InvalidConnectionState(_)
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::MissingHeartbeatError => true,
        _ => false,
    }
}

#[cfg(not(feature = "postgres"))]
fn of_postgres(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(not(feature = "redis"))]
fn of_redis(_: &(dyn Error + 'static)) -> bool {
    false
}

#[cfg(not(feature = "amqp"))]
fn of_amqp(_: &(dyn Error + 'static)) -> bool {
    false
}
