//! What receiving has in common, whatever it is that messages come from.

use tokio::sync::mpsc;
use tracing::warn;

use super::News;
use crate::ServiceError;
use crate::seldom::Seldom;
use crate::services::Patience;

/// Waits after a relay was lost by this error. Whether anybody still listens then.
pub(super) async fn outlasts(
    patience: &mut Patience,
    relay: &str,
    error: &ServiceError,
    news: &mpsc::Sender<News>,
) -> bool {
    patience.wait_after(relay, error).await;
    !news.is_closed()
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
