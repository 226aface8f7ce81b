//! Events in this process's memory: for trying things out, and for events that may be lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;

use super::requests::{Requests, on_own_clock};
use super::{Batch, NewEvent, Outcome, Storage, StoredEvent};
use crate::ServiceError;

/// Keeps events until the process ends.
///
/// Ids start at 1 again in the next process, so a reader that comes back after a restart may be
/// told that it is up to date when it is not. Where that matters, use a storage that lasts.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    channels: HashMap<Arc<str>, Channel>,
    requests: Requests,
}

#[derive(Debug, Default)]
struct Channel {
    head: u64,
    /// The last events, without a gap, up to `head`.
    events: VecDeque<(Instant, StoredEvent)>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(channels: &mut HashMap<Arc<str>, Channel>, events: &[NewEvent]) -> Vec<u64> {
    let now = Instant::now();
    let append = |event: &NewEvent| {
        let channel = channels.entry(event.channel.clone()).or_default();
        channel.head += 1;
        let stored = StoredEvent::new(channel.head, &*event.event_type, &*event.data)
            .skip_users(event.skip_users.clone());
        channel.events.push_back((now, stored));
        channel.head
    };
    events.iter().map(append).collect()
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        Ok(append(&mut self.state().channels, events))
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let State { channels, requests } = &mut *self.state();
        let once = |batch| requests.append_once(batch, |events| append(channels, events));
        Ok(batches.iter().map(once).collect())
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        Ok(self.state().channels.get(channel).map_or(0, |channel| channel.head))
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let state = self.state();
        let Some(channel) = state.channels.get(channel) else {
            return Ok(Vec::new());
        };
        let start = channel.events.partition_point(|(_, event)| event.id <= after);
        let page = channel.events.iter().skip(start).take(limit);
        Ok(page.map(|(_, event)| event.clone()).collect())
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        let Some(before) = on_own_clock(before) else { return Ok(0) };
        let mut trimmed = 0;
        let State { channels, requests } = &mut *self.state();
        for channel in channels.values_mut() {
            while trimmed < limit
                && channel.events.front().is_some_and(|(created, _)| *created < before)
            {
                channel.events.pop_front();
                trimmed += 1;
            }
        }
        Ok(trimmed + requests.trim(before, limit - trimmed))
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let mut removed = 0;
        for channel in self.state().channels.values_mut() {
            let excess = channel.events.len().saturating_sub(keep).min(limit - removed);
            channel.events.drain(..excess);
            removed += excess;
        }
        Ok(removed)
    }
}
