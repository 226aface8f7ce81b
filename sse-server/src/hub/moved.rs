//! Storages that have moved: after a fail-over, the address leads to another server, and the one
//! before lives on and still answers those who are connected to it.
//!
//! What it answers is out of date, and looks like a loss: fewer events than were seen, or none
//! where there is one. Before the hub believes a loss, and every few seconds, it checks whether the
//! address leads elsewhere.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Shared;
use super::pages::Stretch;
use crate::ServiceError;
use crate::storage::StoredEvent;

/// How often it is checked although nothing seems to be missing.
const PERIOD: Duration = Duration::from_secs(10);

/// After a check there is a pause, this many times as long as the check took, however many readers
/// ask for what is not there.
const SHARE: u32 = 20;
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// What the last check has found. There is one at a time; those who wait take over its answer.
#[derive(Debug, Default)]
pub(super) struct Moves(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    looked: Option<Instant>,
    pause: Duration,
    moved: Option<Instant>,
}

impl Shared {
    /// Whether the storage has moved since then, so that what was read is to be read again.
    pub(super) async fn has_moved(&self, since: Instant) -> Result<bool, ServiceError> {
        if mutant!("old-server-believed") {
            return Ok(false);
        }
        let asked = Instant::now();
        let mut state = self.moves.0.lock().await;
        let is_answered = state.looked.is_some_and(|looked| looked >= asked);
        if !is_answered && state.moved.is_none_or(|moved| moved < since) {
            if let Some(looked) = state.looked {
                sleep_until(looked + state.pause).await;
            }
            let begun = Instant::now();
            state.looked = Some(begun);
            let moved = self.storage.has_moved().await;
            state.pause = (begun.elapsed() * SHARE).min(MAX_PAUSE);
            if moved? {
                warn!("the storage's address leads to another server, which is read from now on");
                state.moved = Some(Instant::now());
            }
        }
        Ok(state.moved.is_some_and(|moved| moved >= since))
    }

    /// Checks whether the storage has moved, if that was not done for a while.
    pub(super) async fn look_for_move(&self) {
        let now = Instant::now();
        let looked = self.moves.0.lock().await.looked;
        if looked.is_none_or(|looked| now.duration_since(looked) >= PERIOD) {
            // What cannot be found out now is found out later; the connections may well do.
            self.has_moved(now).await.ok();
        }
    }

    /// Where a channel ends, which has been seen to reach this far. That it does not any more is
    /// only believed of the server that the address leads to.
    pub(super) async fn head_from(&self, channel: &str, seen: u64) -> Result<u64, ServiceError> {
        let since = Instant::now();
        let head = self.storage.head(channel).await?;
        if head >= seen || !self.has_moved(since).await? {
            return Ok(head);
        }
        self.storage.head(channel).await
    }

    /// The events after this one, of which there is at least one, unless it is lost; about so many,
    /// and at most so many bytes of them.
    pub(super) async fn stretch_from(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Stretch, ServiceError> {
        let since = Instant::now();
        let mut stretch = Stretch::read(self, channel, after, (limit, bytes)).await?;
        if !stretch.is_begun() && self.has_moved(since).await? {
            stretch = Stretch::read(self, channel, after, (limit, bytes)).await?;
            if mutant!("nothing-late-after-a-move") {
                return Ok(stretch);
            }
        }
        if stretch.is_begun() {
            return Ok(stretch);
        }
        self.read_late(channel, after, (limit, bytes), stretch).await
    }

    /// The same, as they are stored.
    pub(super) async fn read_from(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        // Whether it has moved, and what is late, is found out by this.
        self.stretch_from(channel, after, 1, 1).await?;
        self.storage.read(channel, after, limit).await
    }
}
