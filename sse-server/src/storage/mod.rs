//! Where events are kept: one trait, and its implementations.
//!
//! A storage appends, reads forward, and forgets what is old. It gives each channel dense ids, 1,
//! 2, 3 …, and knows nothing of readers: what to do about a missing event is the
//! [hub](crate::hub)'s decision, made in one place for every storage.
//!
//! May enter: databases and their drivers. May not: HTTP, subscribers, access rules.

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "sqlite")]
mod django_sqlite;
mod memory;
mod none;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod requests;
mod retention;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::ServiceError;

#[cfg(feature = "sqlite")]
pub use django_sqlite::DjangoSqliteStorage;
pub use memory::MemoryStorage;
pub use none::NoStorage;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStorage;
#[cfg(feature = "redis")]
pub use redis::RedisStorage;
pub use requests::{Batch, Outcome, RequestKey};
pub use retention::{Retention, keep_trimmed};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStorage;

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewEvent {
    /// The channel it belongs to.
    pub channel: Arc<str>,
    /// The event type.
    pub event_type: String,
    /// The data, as they go over the wire.
    pub data: String,
    /// The users who do not get it.
    pub skip_users: Vec<String>,
    /// Whether it is stored, if its channel's events are. A storage gets only those that are.
    pub store: bool,
}

impl NewEvent {
    /// An event that is stored, for everyone who reads the channel.
    pub fn new(
        channel: impl Into<Arc<str>>,
        event_type: impl Into<String>,
        data: impl Into<String>,
    ) -> Self {
        Self {
            channel: channel.into(),
            event_type: event_type.into(),
            data: data.into(),
            skip_users: Vec::new(),
            store: true,
        }
    }

    /// The same, but not for these users. `anonymous` is everyone without a name.
    #[must_use]
    pub fn skip_users(mut self, users: Vec<String>) -> Self {
        self.skip_users = users;
        self
    }

    /// The same, but not stored: it has no id, and reaches those who listen. Default: it is stored,
    /// if its channel's events are.
    #[must_use]
    pub const fn store(mut self, store: bool) -> Self {
        self.store = store;
        self
    }
}

/// An event that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its position in the channel, from 1.
    pub id: u64,
    /// The event type.
    pub event_type: String,
    /// The data, as they go over the wire.
    pub data: String,
    /// The users who do not get it.
    pub skip_users: Vec<String>,
}

impl StoredEvent {
    /// An event for everyone who reads the channel.
    pub fn new(id: u64, event_type: impl Into<String>, data: impl Into<String>) -> Self {
        let (event_type, data) = (event_type.into(), data.into());
        Self { id, event_type, data, skip_users: Vec::new() }
    }

    /// The same, but not for these users.
    #[must_use]
    pub fn skip_users(mut self, users: Vec<String>) -> Self {
        self.skip_users = users;
        self
    }
}

impl From<EventRef<'_>> for StoredEvent {
    fn from(event: EventRef<'_>) -> Self {
        let users = event.skip_users.iter().map(|&user| user.to_owned()).collect();
        Self::new(event.id, event.event_type, event.data).skip_users(users)
    }
}

/// An event that was appended, where the storage has it: as a [`Visitor`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Its position in the channel, from 1.
    pub id: u64,
    /// The event type.
    pub event_type: &'a str,
    /// The data, as they go over the wire.
    pub data: &'a str,
    /// The users who do not get it.
    pub skip_users: &'a [&'a str],
}

/// Is shown one event after the other, and says when it has seen enough.
pub type Visitor = Box<dyn FnMut(EventRef<'_>) -> ControlFlow<()> + Send>;

/// Keeps the events of channels.
///
/// Several processes may append to what is one storage behind several of these values: everything
/// said here holds for them together. The feature `conformance` checks an implementation.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// Appends all events, or none, and returns their ids, in the same order.
    ///
    /// The ids of a channel are dense and start at 1, and events become visible in their order.
    /// When this returns, the events survive whatever the storage promises to survive, and
    /// [`read`](Self::read) finds them.
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError>;

    /// Appends these batches, as [`append`](Self::append) would their events, all or none; but not
    /// those whose key is known. No two of them have the same key.
    ///
    /// A key is stored with the events of its batch, in one step: whatever happens, both are there
    /// or neither is. It is known to all processes, and [trimmed](Self::trim) as the events are. If
    /// several append under one key at the same time, one does, and the others get its ids. A batch
    /// with a key may be empty; the key is stored all the same.
    ///
    /// By default a storage knows no keys: it appends batches that have none, and fails for others.
    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        if batches.iter().any(|batch| batch.key.is_some()) {
            return Err(ServiceError::new("append", "this storage keeps no keys of requests"));
        }
        let events: Vec<NewEvent> =
            batches.iter().flat_map(|batch| batch.events).cloned().collect();
        let mut ids = self.append(&events).await?.into_iter();
        let mut of = |batch: &Batch<'_>| ids.by_ref().take(batch.events.len()).collect();
        Ok(batches.iter().map(|batch| Outcome::Appended(of(batch))).collect())
    }

    /// Appends those of these batches that no other program stands in the way of, without waiting
    /// for long, and leaves out the others, which are left undone. Their outcome is `None`.
    /// Asked after an append that was [held](ServiceError::is_held), which no storage is by
    /// default.
    async fn append_free(
        &self,
        batches: &[Batch<'_>],
    ) -> Result<Vec<Option<Outcome>>, ServiceError> {
        Ok(self.append_once(batches).await?.into_iter().map(Some).collect())
    }

    /// The id of a channel's last event, also if it has been trimmed; 0 if there never was one.
    async fn head(&self, channel: &str) -> Result<u64, ServiceError>;

    /// The [`head`](Self::head) of each of these channels, in their order; best in one question.
    /// Asked every few seconds for all channels that somebody reads.
    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let mut heads = Vec::with_capacity(channels.len());
        for channel in channels {
            heads.push(self.head(channel).await?);
        }
        Ok(heads)
    }

    /// Events of a channel with an id greater than `after`, in ascending order, at most `limit`.
    /// The first is `after + 1`, and they are dense, as long as nothing is missing: the caller
    /// compares ids, and takes an event that was left out, or nothing before the head, for trimmed.
    /// There may be more even if fewer than `limit` are returned.
    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError>;

    /// Shows the same events, one after the other, until the visitor has seen enough; about so many
    /// are expected to be enough. Those who replay a history read it in this way: a storage that
    /// can show events where it has them saves making a [`StoredEvent`] of each. By default it
    /// [reads](Self::read) so many and shows them. It may end before the visitor has had enough,
    /// although there are more.
    async fn visit(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
        mut visitor: Visitor,
    ) -> Result<(), ServiceError> {
        for event in self.read(channel, after, limit).await? {
            let users: Vec<&str> = event.skip_users.iter().map(|user| &**user).collect();
            let StoredEvent { id, event_type, data, .. } = &event;
            let event = EventRef { id: *id, event_type, data, skip_users: &users };
            if visitor(event).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Removes at most `limit` events and keys of requests that were appended before this time,
    /// oldest first, and returns how many. Called in the background; must not hold up an append for
    /// long. A storage that lets them expire by itself has nothing to do.
    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError>;

    /// Removes at most `limit` events of channels that have more than `keep`, the oldest, and
    /// returns how many. As [`trim`](Self::trim) otherwise.
    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError>;

    /// Why this event can never be appended, if so: a limit of the database. Asked before it is
    /// stored together with others, which must not fail with it.
    fn refuse(&self, _event: &NewEvent) -> Option<String> {
        None
    }

    /// Whether anything is kept at all. If not, events have no ids, and reach those who listen.
    fn is_lasting(&self) -> bool {
        true
    }

    /// Whether something could be appended now, found out by a small write that no reader sees.
    /// Asked if an append has failed, and if there has been none for a while, so that it is known
    /// before somebody publishes. By default it is not found out.
    async fn check_writing(&self) -> Result<(), ServiceError> {
        Ok(())
    }

    /// Looks, over a new connection, whether the storage's address leads to another server than the
    /// one that was asked so far, which may live on after a fail-over. If so, everything is asked
    /// there from now on, and what was read before may be out of date. Asked before a loss of
    /// events is believed, and every few seconds. By default a storage stays where it is.
    async fn has_moved(&self) -> Result<bool, ServiceError> {
        Ok(false)
    }

    /// Whether other programs append in two steps: they take a number, and its event is there a
    /// moment later. Then an event that is missing near the head is waited for, before it is a gap.
    fn is_late(&self) -> bool {
        false
    }

    /// The id after which a channel's events go on since the storage has lost everything; those up
    /// to it are of the log that was lost, or of nothing. 0: nothing was ever lost, as far as is
    /// known. Asked when an event is missing.
    async fn begins(&self, _channel: &str) -> Result<u64, ServiceError> {
        Ok(0)
    }

    /// Whether another process appends, as the server of a database does. A commit takes longer
    /// then, and while it does requests come in: publishers who are late by some microseconds are
    /// waited for, so that they need no commit of their own. Default: no.
    fn works_apart(&self) -> bool {
        false
    }

    /// Ends cleanly: everything that was appended is where it belongs.
    async fn close(&self) {}
}
