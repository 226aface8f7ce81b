//! Streams that are fed by a queue which other programs write to: Redis' publish/subscribe and
//! streams, PostgreSQL's notifications, RabbitMQ.
//!
//! A [`Queue`] is one connection to such a service, for all readers of this process. Which of its
//! channels a request reads is said by the application: [`Queue::view`] makes the response in a
//! handler, and [`QueueView`] is a whole service, with a closure that is given the head of each
//! request.
//!
//! What a reader gets is what the queue has, in its order. After an outage, and for a reader that
//! comes back, the queue is asked what was missed. A queue that cannot say so is one after which
//! the reader gets a `stream-reset`: its page has to read the present state anew.
//!
//! | queue | a reader that comes back | after an outage of the service |
//! |---|---|---|
//! | Redis channel | goes on, if this process has what it missed; else a reset | a reset |
//! | PostgreSQL channel (`NOTIFY`) | the same | a reset |
//! | Redis stream | goes on, if Redis has what it missed; else a reset | the same |
//! | RabbitMQ topic | as a Redis channel | a reset |
//! | RabbitMQ queue | a reset, then what waits in the queue | a reset, then what waits |
//! | RabbitMQ stream | goes on, if the broker has what it missed; else a reset | the same |
//!
//! Readers of a channel share its newest events ([`tail`](QueueBuilder::tail)); a reader that is
//! slower than that gets a `stream-reset`, where the queue does not keep events.
//!
//! May enter: drivers of queues. May not: channels of the hub, which have a storage of their own.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod channels;
mod error;
mod feed;
mod feeds;
mod payload;
mod position;
#[cfg(feature = "postgres")]
mod postgres_channels;
#[cfg(feature = "amqp")]
mod rabbitmq;
mod reader;
#[cfg(feature = "redis")]
mod redis_channels;
#[cfg(feature = "redis")]
mod redis_streams;
mod view;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use serde::Serialize;
use sse_proto::DEFAULT_EVENT_TYPE;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use self::feeds::Feeds;
use self::payload::Message;
use self::position::{Notation, Position};
use self::reader::{Page, Reader, Start};
use super::{Resume, StreamView};
use crate::ServiceError;
use crate::hub::MAX_EVENT_LEN;
use crate::services::{PATIENCE, Patience};

pub use error::QueueError;
pub use payload::Payload;
pub use view::QueueView;

/// Channels of a service for messages, to be read as event streams. Cloning gives another handle to
/// the same connection, which ends with the last handle and the last reader.
///
#[cfg_attr(feature = "redis", doc = "```no_run")]
#[cfg_attr(not(feature = "redis"), doc = "```ignore")]
/// use axum::extract::{Path, State};
/// use axum::{Router, routing::get};
/// use sse_server::views::{Resume, StreamView};
/// use sse_server::views::queues::{Queue, QueueError};
///
/// async fn prices(
///     State(queue): State<Queue>,
///     Path(symbol): Path<String>,
///     resume: Resume,
/// ) -> Result<StreamView, QueueError> {
///     queue.view(&format!("prices.{symbol}"), &resume).await
/// }
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let queue = Queue::builder().redis_channels("redis://127.0.0.1").await?;
/// let app: Router = Router::new().route("/prices/{symbol}", get(prices)).with_state(queue);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn Source>,
    feeds: Arc<Feeds>,
    /// What fills the channels.
    following: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// A service that messages come from.
#[async_trait]
trait Source: Send + Sync + 'static {
    /// What it is, for the log.
    fn kind(&self) -> &'static str;

    fn notation(&self) -> Notation {
        Notation::Subscription
    }

    /// The most bytes that the name of a channel has.
    fn max_name_len(&self) -> usize {
        255
    }

    /// Subscribes to what is wanted, and hands over what arrives, until the connection is lost.
    async fn follow(&self, feeds: &Feeds) -> ServiceError;

    /// Sends a message. Returns its position, if the queue says where it is.
    async fn send(
        &self,
        channel: &str,
        payload: Payload,
        message: &Message,
    ) -> Result<Option<Position>, QueueError>;

    /// Whether a channel stays subscribed to for a while when its last reader has gone.
    fn lingers(&self) -> bool {
        true
    }

    /// Whether the queue can be asked for what was before.
    fn has_history(&self) -> bool {
        false
    }

    /// What comes after this position in the queue.
    async fn history(
        &self,
        feeds: &Feeds,
        channel: &str,
        after: Position,
    ) -> Result<Page, ServiceError> {
        let _ = (feeds, channel, after);
        Ok(Page::gap())
    }
}

/// What holds for all channels of a queue.
#[derive(Clone, Debug)]
struct Settings {
    payload: Payload,
    event_type: Option<String>,
    tail: usize,
    linger: Duration,
    max_channels: usize,
    max_event_len: usize,
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "for Redis only"))]
    max_stream_len: Option<usize>,
}

impl Queue {
    /// Begins with the defaults.
    pub fn builder() -> QueueBuilder {
        QueueBuilder::default()
    }

    fn new(mut settings: Settings, source: impl Source) -> Self {
        if !source.lingers() {
            settings.linger = Duration::ZERO;
        }
        let feeds = Arc::new(Feeds::new(settings, source.notation()));
        let source: Arc<dyn Source> = Arc::new(source);
        let following = tokio::spawn(follow(source.clone(), feeds.clone())).abort_handle();
        Self { shared: Arc::new(Shared { source, feeds, following }) }
    }

    /// The events of a channel from now on, or after the one that the reader has got. Returns once
    /// the queue has confirmed the subscription: what is sent from then on arrives.
    ///
    /// Every event has an id, by which a reader goes on: do not take ids of other streams.
    ///
    /// # Errors
    ///
    /// If there can be no such channel, or the queue does not answer within 5 s.
    pub async fn view(&self, channel: &str, resume: &Resume) -> Result<StreamView, QueueError> {
        self.check(channel)?;
        let shared = &self.shared;
        let feed = shared.feeds.join(channel)?;
        // From here on it is left again, whatever happens.
        let mut reader = Reader::new(shared.clone(), feed);
        match timeout(PATIENCE, reader.feed().is_open()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error.again()),
            Err(_) => {
                let problem = reader.feed().problem();
                return Err(ServiceError::new("subscribe", problem).into());
            }
        }
        reader.start(&match resume {
            Resume::New => Start::New,
            Resume::After(id) => {
                shared.feeds.notation().read(id).map_or(Start::Unknown, Start::After)
            }
            Resume::Unknown(_) => Start::Unknown,
        });
        Ok(StreamView::new(reader.into_stream()))
    }

    /// Sends a value as JSON to the readers of a channel: here, and wherever else it is read.
    /// Returns the id that the event has, if the queue tells it.
    ///
    /// # Errors
    ///
    /// If the value, the type or the channel cannot be sent, or the queue does not answer; only in
    /// the last case it may have been sent all the same.
    pub async fn send_event(
        &self,
        channel: &str,
        event_type: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Option<String>, QueueError> {
        self.send_text(channel, event_type, serde_json::to_string(value)?).await
    }

    /// The same with a text in the place of JSON.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub async fn send_text(
        &self,
        channel: &str,
        event_type: &str,
        text: impl Into<String>,
    ) -> Result<Option<String>, QueueError> {
        self.check(channel)?;
        let settings = self.shared.feeds.settings();
        let default = settings.event_type.as_deref().unwrap_or(DEFAULT_EVENT_TYPE);
        let event_type = (event_type != default).then(|| event_type.to_owned());
        let message = Message { event_type, data: text.into() }.checked(settings.max_event_len)?;
        let sent = self.shared.source.send(channel, settings.payload, &message).await?;
        Ok(sent.map(|position| self.shared.feeds.notation().write(position)))
    }

    fn check(&self, channel: &str) -> Result<(), QueueError> {
        let most = self.shared.source.max_name_len();
        if channel.is_empty() || channel.len() > most || channel.contains(char::is_control) {
            let text = format!(
                "the name of a channel of {} has 1 to {most} bytes and no control characters",
                self.shared.source.kind()
            );
            return Err(QueueError::Name(text));
        }
        Ok(())
    }
}

/// Follows a source over one connection after the other.
async fn follow(source: Arc<dyn Source>, feeds: Arc<Feeds>) {
    let mut patience = Patience::new();
    loop {
        feeds.all_anew();
        let following = AssertUnwindSafe(source.follow(&feeds)).catch_unwind().await;
        let error = following.unwrap_or_else(|_| {
            ServiceError::new("receive", "the driver has panicked about what has arrived")
        });
        feeds.lost(&error.to_string());
        patience.wait_after(source.kind(), &error).await;
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("kind", &self.shared.source.kind()).finish_non_exhaustive()
    }
}

/// How a [`Queue`] is read.
#[derive(Clone, Debug)]
#[must_use]
pub struct QueueBuilder(Settings);

impl Default for QueueBuilder {
    fn default() -> Self {
        Self(Settings {
            payload: Payload::default(),
            event_type: None,
            tail: 1024,
            linger: Duration::from_secs(5),
            max_channels: 10_000,
            max_event_len: MAX_EVENT_LEN,
            max_stream_len: None,
        })
    }
}

impl QueueBuilder {
    /// What messages have in them. Default: [`Payload::Text`].
    pub const fn payload(mut self, payload: Payload) -> Self {
        self.0.payload = payload;
        self
    }

    /// The type of events whose messages name none. Default: `message`.
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.0.event_type = Some(event_type.into());
        self
    }

    /// How many events of a channel are kept here, for readers that are slow or come back: this
    /// many, and at most 4 MiB. Default: 1,024.
    pub const fn tail(mut self, events: usize) -> Self {
        self.0.tail = if events == 0 { 1 } else { events };
        self
    }

    /// How long a channel stays subscribed to after its last reader has gone, so that one that
    /// comes back misses nothing. Default: 5 s, within which an `EventSource` is back.
    pub const fn linger(mut self, time: Duration) -> Self {
        self.0.linger = time;
        self
    }

    /// How many channels are read at once, of those that requests can name. Default: 10,000.
    pub const fn max_channels(mut self, most: usize) -> Self {
        self.0.max_channels = most;
        self
    }

    /// The most bytes that the type and the data of an event have. A message that has more is not
    /// sent; if it comes from elsewhere, readers get a `stream-reset` in its place. Default: 1 MiB.
    pub const fn max_event_len(mut self, bytes: usize) -> Self {
        self.0.max_event_len = bytes;
        self
    }

    /// About how many entries a Redis stream keeps when something is sent to it from here
    /// (`MAXLEN ~`). Default: all of them; who writes to it elsewhere decides for himself.
    #[cfg(feature = "redis")]
    pub const fn max_stream_len(mut self, entries: usize) -> Self {
        self.0.max_stream_len = Some(entries);
        self
    }

    /// Channels of Redis' publish/subscribe, of the server with this URL
    /// (`redis://:password@host:port`). Nothing is kept: a message that nobody reads is gone.
    ///
    /// All channels are read over one connection, and one subscription each, however many readers
    /// there are.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the server does not answer.
    #[cfg(feature = "redis")]
    pub async fn redis_channels(self, url: &str) -> Result<Queue, ServiceError> {
        let source = redis_channels::RedisChannels::open(url).await?;
        Ok(Queue::new(self.0, source))
    }

    /// Redis streams, of the server with this URL: a channel is a key. A reader that comes back
    /// goes on by the ids of entries, as long as Redis has those that it missed.
    ///
    /// The data of an event is the field `data` of its entry, and its type the field `event`; an
    /// entry without a field `data` is a JSON object of all its fields. A stream that is not there
    /// is an empty one.
    ///
    /// All streams are waited for over one connection, whatever the number of readers. The user of
    /// Redis needs the commands `XREAD`, `XRANGE`, `XINFO`, `XADD`, `TYPE` and `EVALSHA`, and
    /// should have `CLIENT UNBLOCK`, without which new streams are waited for a second later. A
    /// reader that comes back after its last entry was trimmed gets a `stream-reset`, even if
    /// nothing after it was: Redis does not say so.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the server does not answer.
    #[cfg(feature = "redis")]
    pub async fn redis_streams(self, url: &str) -> Result<Queue, ServiceError> {
        let source = redis_streams::RedisStreams::open(url, self.0.max_stream_len).await?;
        Ok(Queue::new(self.0, source))
    }

    /// Channels of PostgreSQL's `NOTIFY`, of the database with this URL
    /// (`postgres://user:password@host:port/database`). Nothing is kept; a notification is sent
    /// when its transaction is committed, and has at most 7,999 bytes. The name of a channel has at
    /// most 63 bytes, in which upper and lower case differ: `NOTIFY "Prices"`. A pooler in front of
    /// the database must not be in transaction mode.
    ///
    /// All channels are read over one connection, however many readers there are.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the database does not answer.
    #[cfg(feature = "postgres")]
    pub async fn postgres_channels(self, url: &str) -> Result<Queue, ServiceError> {
        let source = postgres_channels::PostgresChannels::open(url).await?;
        Ok(Queue::new(self.0, source))
    }

    /// Queues of RabbitMQ, of the broker with this URL (`amqp://user:password@host:port/vhost`): a
    /// channel is a queue that is there.
    ///
    /// A message leaves the queue when the readers here can take it: all readers of this process
    /// get it, and no other process does. Messages wait while nobody reads. One that was taken out
    /// for a connection that breaks, or by a process that ends, is lost; so a reader that comes
    /// back gets a `stream-reset`, and then what waits.
    ///
    /// All queues are read over one connection, which has room for some 2,000.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the broker does not answer.
    #[cfg(feature = "amqp")]
    pub async fn rabbitmq_queues(self, url: &str) -> Result<Queue, ServiceError> {
        let source = rabbitmq::RabbitMq::open(url, rabbitmq::Kind::Queue).await?;
        Ok(Queue::new(self.0, source))
    }

    /// Topics of RabbitMQ: a channel is what binds to this exchange, which is there: `prices.*`, if
    /// it is one of topics. Nothing is kept. Events are sent with the name of the channel as their
    /// routing key.
    ///
    /// All are read over one connection, which has room for some 2,000, with a queue each, which
    /// the broker removes when nobody reads it any more.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the broker does not answer.
    #[cfg(feature = "amqp")]
    pub async fn rabbitmq_topics(self, url: &str, exchange: &str) -> Result<Queue, ServiceError> {
        if exchange.len() > 255 {
            return Err(ServiceError::new("open", "the name of an exchange has at most 255 bytes"));
        }
        let kind = rabbitmq::Kind::Topic(exchange.to_owned());
        Ok(Queue::new(self.0, rabbitmq::RabbitMq::open(url, kind).await?))
    }

    /// Streams of RabbitMQ: a channel is a queue that was declared with `x-queue-type: stream`. A
    /// reader that comes back goes on by offsets, as long as the broker has what it missed.
    ///
    /// All are read over one connection, which has room for some 2,000 streams and readers that
    /// catch up.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the broker does not answer.
    #[cfg(feature = "amqp")]
    pub async fn rabbitmq_streams(self, url: &str) -> Result<Queue, ServiceError> {
        let source = rabbitmq::RabbitMq::open(url, rabbitmq::Kind::Stream).await?;
        Ok(Queue::new(self.0, source))
    }
}
