//! Events in this process's memory: for trying things out, and for events that may be lost.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;

use super::{NewEvent, Storage, StorageError, StoredEvent};

/// Keeps events until the process ends.
///
/// Ids start at 1 again in the next process, so a reader that comes back after a restart may be told
/// that it is up to date when it is not. Where that matters, use a storage that lasts.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    channels: Mutex<HashMap<Arc<str>, Channel>>,
}

#[derive(Debug, Default)]
struct Channel {
    head: u64,
    /// The last events, without a gap, up to `head`.
    events: VecDeque<(SystemTime, StoredEvent)>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        // Every change below is complete before anything in it can panic.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, StorageError> {
        let now = SystemTime::now();
        let mut channels = self.channels();
        let append = |event: &NewEvent| {
            let channel = channels.entry(event.channel.clone()).or_default();
            channel.head += 1;
            let NewEvent { event_type, data, .. } = event.clone();
            channel.events.push_back((now, StoredEvent { id: channel.head, event_type, data }));
            channel.head
        };
        Ok(events.iter().map(append).collect())
    }

    async fn head(&self, channel: &str) -> Result<u64, StorageError> {
        Ok(self.channels().get(channel).map_or(0, |channel| channel.head))
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let channels = self.channels();
        let Some(channel) = channels.get(channel) else {
            return Ok(Vec::new());
        };
        let start = channel.events.partition_point(|(_, event)| event.id <= after);
        let page = channel.events.iter().skip(start).take(limit);
        Ok(page.map(|(_, event)| event.clone()).collect())
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, StorageError> {
        let mut trimmed = 0;
        for channel in self.channels().values_mut() {
            while trimmed < limit
                && channel.events.front().is_some_and(|(created, _)| *created < before)
            {
                channel.events.pop_front();
                trimmed += 1;
            }
        }
        Ok(trimmed)
    }
    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, StorageError> {
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        let mut removed = 0;
        for channel in self.channels().values_mut() {
            let excess = channel.events.len().saturating_sub(keep).min(limit - removed);
            channel.events.drain(..excess);
            removed += excess;
        }
        Ok(removed)
    }
}
