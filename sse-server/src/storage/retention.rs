//! Forgetting old events, in the background and in small steps.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracing::{debug, warn};

use super::Storage;

/// How many events one step removes. Small enough that an append waiting behind it does not notice.
const STEP: usize = 500;

/// Removes events older than `retention`, for ever. Runs beside publishing, never as part of it.
pub async fn keep_trimmed(storage: Arc<dyn Storage>, retention: Duration) {
    // Often enough that no step is large, seldom enough that an idle server is idle.
    let period = (retention / 100).clamp(Duration::from_secs(1), Duration::from_mins(1));
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        let Some(cutoff) = SystemTime::now().checked_sub(retention) else {
            continue;
        };
        loop {
            match storage.trim(cutoff, STEP).await {
                Ok(0) => break,
                Ok(events) => debug!(events, "trimmed events past their retention"),
                Err(error) => {
                    warn!(%error, "could not trim old events; will try again");
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}
