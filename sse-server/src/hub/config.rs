//! The settings of a hub.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::{MAX_EVENT_LEN, PublishThread};
use crate::caught::caught_call;
use crate::relay::Relay;

/// Tells by a channel's name whether its events are stored.
pub(super) type Reliable = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a hub gets to know what other instances publish.
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct HubConfig {
    pub(super) relay: Option<Arc<dyn Relay>>,
    pub(super) refresh: Duration,
    pub(super) reliable: Option<Reliable>,
    pub(super) memory: usize,
    pub(super) memory_age: Duration,
    pub(super) max_event_len: usize,
    pub(super) publish_thread: Option<PublishThread>,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            relay: None,
            refresh: Duration::from_secs(5),
            reliable: None,
            memory: 64 << 20,
            memory_age: Duration::from_mins(1),
            max_event_len: MAX_EVENT_LEN,
            publish_thread: None,
        }
    }
}

impl HubConfig {
    /// Over this relay. Default: none.
    pub fn relay(mut self, relay: Arc<dyn Relay>) -> Self {
        self.relay = Some(relay);
        self
    }

    /// How often the storage is asked where the channels that somebody reads end. Default: 5 s.
    /// This is how late an event can be if the relay has lost the hint, or if there is no relay.
    /// Shorter costs a small query per 500 channels each time.
    pub const fn refresh(mut self, period: Duration) -> Self {
        self.refresh = period;
        self
    }

    /// How many bytes of events all channels together keep in memory; for a moment it may be more.
    /// Those in which nothing has happened for longest lose theirs first. Default: 64 MiB. Events
    /// that are not in memory are read from storage; more memory spares reads when many come back
    /// after a cut.
    pub const fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// How long events are kept in memory after they became visible. Default: a minute. Not longer
    /// than the storage keeps them, or some readers would still get what others are told is gone.
    pub const fn memory_age(mut self, age: Duration) -> Self {
        self.memory_age = age;
        self
    }

    /// Which channels are reliable: their events are stored and have ids. Default: all. The events
    /// of the others cost no write and reach the readers of the moment, on every instance; a reader
    /// that misses one never gets it. The answer to a name must always be the same, and quick; a
    /// panic is a yes.
    pub fn reliable(mut self, is_reliable: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.reliable = Some(Arc::new(move |channel: &str| {
            caught_call(|| is_reliable(channel)).unwrap_or_else(|problem| {
                error!(problem, channel, "the application cannot say whether it is reliable");
                true
            })
        }));
        self
    }

    /// Appends on this thread. Default: in a task of the runtime in which the hub is made. Several
    /// hubs can share one.
    pub fn publish_on(mut self, thread: PublishThread) -> Self {
        self.publish_thread = Some(thread);
        self
    }

    /// The most bytes that type and data of an event may have that comes over the relay. Others are
    /// not shown to readers. Default: 1 MiB. What is stored is shown in any case.
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.max_event_len = bytes;
        self
    }
}

impl std::fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("has_relay", &self.relay.is_some())
            .field("refresh", &self.refresh)
            .field("has_unreliable", &self.reliable.is_some())
            .field("memory", &self.memory)
            .field("memory_age", &self.memory_age)
            .field("max_event_len", &self.max_event_len)
            .field("publish_thread", &self.publish_thread)
            .finish()
    }
}
