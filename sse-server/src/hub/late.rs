//! Events that are not there yet, although their numbers are taken.
//!
//! Another program may append in two steps: django-eventstream raises a counter in Redis, and
//! stores the event then. And it may tell of an event before it has committed it. What is missing
//! for such a reason is waited for, for a while; what stays away is a gap.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Shared;
use super::pages::Stretch;
use crate::ServiceError;

/// How long an event is waited for that somebody has spoken of.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a reader waits that comes back to a place where an event is missing: it is more likely
/// that it has expired.
const READER: Duration = Duration::from_secs(1);

/// Where a channel is further on than this, what is missing is not on its way.
const NEAR: u64 = 64;

/// The next look comes after a part of the time that has been waited, within these bounds.
const SHARE: u32 = 4;
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// An event that is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    id: u64,
    since: Instant,
    /// When to look again.
    pub(super) due: Instant,
}

impl Wait {
    /// Waits for this event, on or anew. `None`: for long enough.
    pub(super) fn for_event(id: u64, before: Option<Self>) -> Option<Self> {
        let now = Instant::now();
        let since = before.filter(|wait| wait.id == id).map_or(now, |wait| wait.since);
        let waited = now.duration_since(since);
        (waited < PATIENCE || mutant!("late-for-ever")).then(|| Self {
            id,
            since,
            due: now + pause(waited),
        })
    }
}

fn pause(waited: Duration) -> Duration {
    (waited / SHARE).clamp(PAUSES[0], PAUSES[1])
}

impl Shared {
    /// Reads again what `stretch`, read after `after`, lacks at its beginning, for as long as that
    /// may be on its way.
    pub(super) async fn read_late(
        &self,
        channel: &str,
        after: u64,
        bounds: (usize, usize),
        mut stretch: Stretch,
    ) -> Result<Stretch, ServiceError> {
        let since = Instant::now();
        while self.storage.is_late() && since.elapsed() < READER && !mutant!("late-is-gone") {
            let ahead = self.storage.head(channel).await?.checked_sub(after);
            if ahead.is_none_or(|ahead| ahead == 0 || ahead > NEAR) {
                break;
            }
            sleep(pause(since.elapsed())).await;
            stretch = Stretch::read(self, channel, after, bounds).await?;
            if stretch.is_begun() {
                break;
            }
        }
        Ok(stretch)
    }
}
