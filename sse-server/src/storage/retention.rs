//! Forgetting old events, in the background and in small steps.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::Storage;
use crate::ServiceError;
use crate::seams::time_of_day;

/// How many events one step removes. Small enough that an append waiting behind it does not notice.
const STEP: usize = 500;

/// How long events are kept. Both limits hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub struct Retention {
    /// How old an event becomes. Default: 24 h, as with django-eventstream. Longer lets readers
    /// come back later, and costs space.
    pub age: Duration,
    /// How many events a channel keeps. Default: `None`, as many as come within `age`.
    pub events: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_hours(24), events: None }
    }
}

impl Retention {
    /// Events become this old.
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// A channel keeps this many events.
    pub const fn events(mut self, events: u64) -> Self {
        self.events = Some(events);
        self
    }
}

/// Removes what is too old or too much, for ever. Runs beside publishing, never as part of it.
pub async fn keep_trimmed(storage: Arc<dyn Storage>, retention: Retention) {
    // Often enough that no step is large, seldom enough that an idle server is idle.
    let period = (retention.age / 100).clamp(Duration::from_secs(1), Duration::from_mins(1));
    let mut ticks = tokio::time::interval(period);
    // After a step that took long, the next is as far away as ever.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let age = if mutant!("trimmed-too-early") { retention.age / 2 } else { retention.age };
        if let Some(before) = time_of_day().checked_sub(age) {
            in_steps(|| storage.trim(before, STEP)).await;
        }
        if let Some(keep) = retention.events {
            in_steps(|| storage.shorten(keep, STEP)).await;
        }
    }
}

/// Removes until nothing is left to remove.
async fn in_steps<F: Future<Output = Result<usize, ServiceError>>>(mut step: impl FnMut() -> F) {
    loop {
        match step().await {
            Ok(0) => break,
            Ok(events) => debug!(events, "trimmed events"),
            Err(error) => {
                warn!(%error, "could not trim old events; will try again");
                break;
            }
        }
        tokio::task::yield_now().await;
    }
}
