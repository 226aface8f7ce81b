//! Channels that are followed for somebody who carries their events elsewhere, as a publisher to
//! proxies does: events as they are, with their numbers, and none of them twice.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::event::KeptEvent;
use super::log::{Log, Read, Signal};
use super::publish::{render_live, render_stored};
use super::{Hub, PAGE, Shared};
use crate::ServiceError;
use crate::storage::NewEvent;

/// How long to wait before storage that has failed is read again.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// An event to be carried.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// Its number in the channel. 0: it has none.
    pub(crate) id: u64,
    event: KeptEvent,
}

impl Carried {
    /// An event that is not stored.
    pub(crate) fn live(event: &NewEvent) -> Self {
        let NewEvent { event_type, data, skip_users, .. } = event;
        Self { id: 0, event: render_live(event_type, data, skip_users) }
    }

    /// What comes before the `id` line, and what comes after it.
    pub(crate) fn parts(&self) -> (&[u8], Bytes) {
        (self.event.head(), self.event.tail())
    }

    /// The users who do not get it.
    pub(crate) fn skip_users(&self) -> &[String] {
        self.event.skip_users()
    }
}

/// A place in a channel. Dropped, the channel is left.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    log: Arc<Log>,
    place: usize,
    signal: Arc<Signal>,
    at: u64,
    generation: u64,
}

impl Hub {
    /// Follows a channel whose events are stored, from after this event, or from now on.
    pub(crate) async fn follow(
        &self,
        channel: &Arc<str>,
        after: Option<u64>,
    ) -> Result<Follower, ServiceError> {
        let signal = Arc::<Signal>::default();
        let (log, place) = self.shared.join_log(channel, signal.clone());
        let shared = self.shared.clone();
        // Left again, should the storage fail.
        let mut follower = Follower { shared, log, place, signal, at: 0, generation: 0 };
        if follower.log.head().is_none() {
            let head = self.shared.storage.head(channel).await?;
            follower.log.learn_head(head);
        }
        let (head, generation) = follower.log.end();
        follower.at = after.map_or(head, |after| after.min(head));
        follower.generation = generation;
        Ok(follower)
    }

    /// Whether the events of this channel are stored.
    pub(crate) fn is_lasting(&self, channel: &str) -> bool {
        self.shared.is_lasting(channel)
    }

    /// Has this called with all events that are published here, right after they have been stored.
    /// It must not take long. Only the first one counts.
    pub(crate) fn on_published(&self, tap: Tap) {
        self.shared.tap.set(tap).ok();
    }
}

/// Takes events that were published here, with their ids.
pub(crate) type Tap = Box<dyn Fn(&[(&NewEvent, u64)]) + Send + Sync>;

impl Follower {
    /// How far it has come.
    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    /// The next events, in order; at least one. Those that are gone from the storage are passed
    /// over: who misses them finds out by the numbers.
    pub(crate) async fn next(&mut self) -> Vec<Carried> {
        loop {
            let signal = self.signal.clone();
            let mut was_raised = poll_fn(|cx| Poll::Ready(signal.lower(cx))).await;
            let (head, generation) = self.log.end();
            if generation != self.generation {
                (self.at, self.generation) = (self.log.base(), generation);
                continue;
            }
            let events = match self.log.read(self.at, PAGE) {
                Read::Events(events) => events,
                Read::NotInMemory => {
                    let channel = self.log.name();
                    let Ok(events) = self.shared.read_from(channel, self.at, PAGE).await else {
                        tokio::time::sleep(STORAGE_PAUSE).await;
                        continue;
                    };
                    let dense = events.iter().zip(self.at + 1..);
                    let dense = dense.take_while(|(event, id)| event.id == *id);
                    let events: Vec<_> =
                        dense.map(|(event, id)| render_stored(channel, id, event)).collect();
                    if events.is_empty() {
                        self.at = head.max(self.at);
                        continue;
                    }
                    events
                }
            };
            if !events.is_empty() {
                let first = self.at + 1;
                self.at += events.len() as u64;
                let carried = events.into_iter().zip(first..);
                return carried.map(|(event, id)| Carried { id, event }).collect();
            }
            poll_fn(|cx| {
                was_raised |= signal.lower(cx);
                if was_raised { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Passes over what is there by now.
    pub(crate) fn skip(&mut self) {
        (self.at, self.generation) = self.log.end();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.leave(&self.log, self.place);
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, at, .. } = self;
        f.debug_struct("Follower").field("channel", log.name()).field("at", at).finish()
    }
}
