//! Where events are kept: one trait, and its implementations.
//!
//! A storage appends, reads forward, and forgets what is old. It gives each channel dense ids, 1, 2,
//! 3 …, and knows nothing of readers: what to do about a missing event is the [hub](crate::hub)'s
//! decision, made in one place for every storage.
//!
//! May enter: databases and their drivers. May not: HTTP, subscribers, access rules.

mod memory;
mod retention;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

pub use memory::MemoryStorage;
pub use retention::keep_trimmed;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStorage;

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The channel it belongs to.
    pub channel: Arc<str>,
    /// The event type.
    pub event_type: String,
    /// The data, as they go over the wire.
    pub data: String,
}

/// An event that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its position in the channel, from 1.
    pub id: u64,
    /// The event type.
    pub event_type: String,
    /// The data, as they go over the wire.
    pub data: String,
}

/// A storage failed. The operation can be tried again; nothing of it was done.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct StorageError {
    operation: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl StorageError {
    /// An error of a driver, with what was being done, such as `append`.
    pub fn new(
        operation: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { operation, source: source.into() }
    }
}

/// Keeps the events of channels.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Appends all events, or none, and returns their ids, in the same order.
    ///
    /// The ids of a channel are dense and start at 1. When this returns, the events survive whatever
    /// the storage promises to survive, and [`read`](Self::read) finds them.
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, StorageError>;

    /// The id of a channel's last event, also if it has been trimmed; 0 if there never was one.
    async fn head(&self, channel: &str) -> Result<u64, StorageError>;

    /// The first `limit` events of a channel with an id greater than `after`, in ascending order.
    /// Those that have been trimmed are left out: the caller compares ids.
    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError>;

    /// Removes at most `limit` events that were appended before `cutoff`, oldest first, and returns
    /// how many. Called in the background; must not hold up an append for long.
    async fn trim(&self, cutoff: SystemTime, limit: usize) -> Result<usize, StorageError>;

    /// Ends cleanly: everything that was appended is where it belongs.
    async fn close(&self) {}
}
