//! How instances tell each other that there is something new: one trait, and its implementations.
//!
//! A message is a hint. With a storage, an instance that gets one reads the storage; a hint that is
//! lost, late, repeated or wrong costs time, never an event. Without a storage the message is all
//! there is: it carries the event, and an instance that misses it never gets it.
//!
//! May enter: brokers and their drivers. May not: HTTP, subscribers, SQL of events.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(all(feature = "fuzzing", any(feature = "amqp", feature = "postgres", feature = "redis")))]
pub mod fuzzing;
#[cfg(any(feature = "amqp", feature = "postgres", feature = "redis"))]
mod message;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "amqp", feature = "postgres", feature = "redis"))]
mod receiving;
#[cfg(feature = "redis")]
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::ServiceError;

#[cfg(feature = "amqp")]
pub use amqp::AmqpRelay;
#[cfg(feature = "postgres")]
pub use postgres::PostgresRelay;
#[cfg(feature = "redis")]
pub use redis::RedisRelay;

/// An event was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// In this channel.
    pub channel: Arc<str>,
    /// The id that it has in the storage. None: it is not stored.
    pub id: Option<u64>,
    /// Its type and data, if they are needed: because it is not stored, or because the relay
    /// [carries events](Relay::carries_events).
    pub event: Option<(String, String)>,
    /// The users who do not get it. Of no meaning without the event: with an id, the storage knows.
    pub skip_users: Vec<String>,
    /// It is from an instance of this server, as far as that can be known: if instances sign what
    /// they [send](RelayOptions::secret), everything that is not signed is not. Default: yes.
    pub is_trusted: bool,
}

impl Message {
    /// There is something new in this channel, up to this id.
    pub fn new(channel: impl Into<Arc<str>>, id: Option<u64>) -> Self {
        Self { channel: channel.into(), id, event: None, skip_users: Vec::new(), is_trusted: true }
    }

    /// The same, with the event's type and data, and who does not get it.
    #[must_use]
    pub fn with_event(
        mut self,
        event_type: impl Into<String>,
        data: impl Into<String>,
        skip_users: Vec<String>,
    ) -> Self {
        self.event = Some((event_type.into(), data.into()));
        self.skip_users = skip_users;
        self
    }

    /// About how many bytes it has.
    pub(crate) fn size(&self) -> usize {
        let event = self.event.as_ref().map_or(0, |(kind, data)| kind.len() + data.len());
        let users: usize = self.skip_users.iter().map(String::len).sum();
        self.channel.len() + event + users
    }
}

/// What [`Relay::receive`] hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// From now on messages arrive. Any number may have been missed before.
    Connected,
    /// Somebody has published.
    Message(Message),
    /// An instance has [said](Relay::send_notice) something about other things than events: another
    /// one, or, if the relay [echoes](Relay::echoes), this one.
    Notice(String),
}

/// What instances that talk to each other have to agree on.
#[derive(Clone, Default)]
#[non_exhaustive]
#[must_use]
pub struct RelayOptions {
    #[cfg_attr(
        not(any(feature = "amqp", feature = "postgres", feature = "redis")),
        allow(dead_code, reason = "for relays only")
    )]
    pub(crate) secret: Option<Vec<u8>>,
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for Redis only"))]
    pub(crate) prefix: String,
}

impl RelayOptions {
    /// Signs what is sent, and believes what is signed, by HMAC-SHA-256 with this secret. Default:
    /// none, and everyone who can write to the broker is believed.
    ///
    /// Without a signature nothing but an event is taken in. If it has an id, it is a reason to
    /// read the storage. If it has none, it is shown to readers of channels only that are not
    /// stored.
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// What the names of Redis' channels begin with, which all databases of a Redis server share.
    /// Default: nothing, as django-eventstream has it.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

impl std::fmt::Debug for RelayOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayOptions")
            .field("has_secret", &self.secret.is_some())
            .field("prefix", &self.prefix)
            .finish()
    }
}

/// Carries messages between instances.
#[async_trait]
pub trait Relay: Send + Sync + 'static {
    /// Sends these messages to all other instances, in this order. Those that are not connected now
    /// do not get them.
    ///
    /// # Errors
    ///
    /// If it is not known that all were sent. They are not sent again.
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError>;

    /// Sends a text to all other instances of this server, and to no other program that uses the
    /// same service. Unlike a [message](Self::send) it counts: the caller learns if it was not
    /// sent.
    ///
    /// # Errors
    ///
    /// If it is not known that it was sent. A relay that only carries messages, which is the
    /// default, always fails.
    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        let _ = notice;
        Err(ServiceError::new("send a notice", "this relay carries events only"))
    }

    /// Hands over what arrives, until the receiver is gone. When the connection is lost it makes
    /// another one, for as long as that takes.
    async fn receive(&self, news: mpsc::Sender<News>);

    /// Whether every event is sent whole, for others than instances of this server. If not, it is
    /// enough to send the last id of a channel.
    fn carries_events(&self) -> bool {
        false
    }

    /// Whether an instance's own [notices](Self::send_notice) come back to it. Then a relay that
    /// takes notices and brings none is noticed.
    fn echoes(&self) -> bool {
        false
    }
}
