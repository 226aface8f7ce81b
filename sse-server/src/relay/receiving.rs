//! What receiving has in common, whatever it is that messages come from.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::News;
use crate::ServiceError;
use crate::seldom::Seldom;

/// How long to wait before the next attempt to connect: at first hardly, then longer. After a
/// connection that lasted, anew.
#[derive(Debug)]
pub(super) struct Patience {
    next: Duration,
    last: Instant,
}

impl Patience {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST, last: Instant::now() }
    }

    /// Whether this is the first attempt after a connection, and so worth a word in the log.
    fn is_new(&mut self) -> bool {
        if self.last.elapsed() > 5 * Self::LONGEST {
            self.next = Self::FIRST;
        }
        self.next == Self::FIRST
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(Self::LONGEST);
        self.last = Instant::now();
    }

    /// Waits after a relay was lost by this error. Whether anybody still listens then.
    pub(super) async fn outlasts(
        &mut self,
        relay: &str,
        error: &ServiceError,
        news: &mpsc::Sender<News>,
    ) -> bool {
        if self.is_new() {
            warn!(%error, "the {relay} relay is lost; will connect again");
        }
        self.wait().await;
        !news.is_closed()
    }
}

/// How often it is checked whether the address leads to another server.
const MOVED_PERIOD: Duration = Duration::from_secs(10);

/// Completes when the address leads to another server, as after a fail-over: the one before may
/// live on, and nothing comes from it any more. Beside it messages are received.
pub(super) async fn moved<F: Future<Output = bool>>(has_moved: impl Fn() -> F) -> ServiceError {
    loop {
        tokio::time::sleep(MOVED_PERIOD).await;
        if has_moved().await {
            return ServiceError::new("receive", "the address leads to another server");
        }
    }
}

/// Hands over what has arrived, if it is something for us. Whether anybody still listens.
pub(super) async fn hand_over(
    arrived: Result<Option<News>, serde_json::Error>,
    news: &mpsc::Sender<News>,
    refused: &Seldom,
) -> bool {
    match arrived {
        Ok(Some(message)) => return news.send(message).await.is_ok(),
        Ok(None) => {}
        Err(error) => {
            if let Some(times) = refused.happened() {
                warn!(%error, times, "a message of the relay is not taken in");
            }
        }
    }
    true
}

/// The error of a service that has not answered in time.
#[cfg(any(feature = "amqp", feature = "postgres"))]
pub(super) fn no_answer(operation: &'static str) -> ServiceError {
    ServiceError::new(operation, std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer"))
}
