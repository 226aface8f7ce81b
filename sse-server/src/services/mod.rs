//! Connections to services that tell of something new: how they are made, found to be lost, and
//! made again. Relays and queue views have them in common. The storage in PostgreSQL has the
//! connection that is kept from here, too.
//!
//! May enter: drivers. May not: what messages mean.

#[cfg(feature = "amqp")]
pub(crate) mod amqp;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::ServiceError;

/// How long a connection, and an answer, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before the next attempt to connect: at first hardly, then longer. After a
/// connection that lasted, anew.
#[derive(Debug)]
pub(crate) struct Patience {
    next: Duration,
    last: Instant,
}

impl Patience {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST, last: Instant::now() }
    }

    /// Whether this is the first attempt after a connection, and so worth a word in the log.
    fn is_new(&mut self) -> bool {
        if self.last.elapsed() > 5 * Self::LONGEST {
            self.next = Self::FIRST;
        }
        self.next == Self::FIRST
    }

    /// Waits after a connection was lost by this error. `what` is for the log.
    pub(crate) async fn wait_after(&mut self, what: &str, error: &ServiceError) {
        if self.is_new() {
            warn!(%error, "the {what} is lost; will connect again");
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        self.last = Instant::now();
    }
}

/// How often it is checked whether the address leads to another server.
#[cfg(any(feature = "postgres", feature = "redis"))]
const MOVED_PERIOD: Duration = Duration::from_secs(10);

/// Completes when the address leads to another server, as after a fail-over: the one before may
/// live on, and nothing comes from it any more. Beside it messages are received.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) async fn moved<F: Future<Output = bool>>(has_moved: impl Fn() -> F) -> ServiceError {
    loop {
        tokio::time::sleep(MOVED_PERIOD).await;
        if has_moved().await {
            return ServiceError::new("receive", "the address leads to another server");
        }
    }
}

/// The error of a service that has not answered in time.
pub(crate) fn no_answer(operation: &'static str) -> ServiceError {
    ServiceError::new(operation, std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer"))
}
