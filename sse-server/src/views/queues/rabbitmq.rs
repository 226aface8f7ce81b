//! Queues, topics and streams of RabbitMQ, over AMQP 0-9-1.
//!
//! All are read over one connection, each channel by one consumer, with an AMQP channel of its own:
//! what is wrong with one of them ends its AMQP channel, and no other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer, ErrorKind};
use tokio::time::timeout;
use tracing::info;

use super::feed::Feed;
use super::feeds::{Change, Feeds};
use super::payload::{Message, Payload};
use super::position::{Notation, Position};
use super::reader::Page;
use super::{QueueError, Source};
use crate::ServiceError;
use crate::services::amqp::{Sender, connection, failed, in_time};
use crate::services::{PATIENCE, no_answer};

/// How many messages the broker sends ahead, and how many a page has.
const AHEAD: u16 = 256;

/// After such a silence a page of a stream is handed over.
const SILENCE: Duration = Duration::from_millis(20);

/// Within what time the broker sends what it has of a stream to a reader that asks for it. Later it
/// is taken for gone, which the reader is told: with offsets that are yet to come, nothing is sent.
const SENT_WITHIN: Duration = Duration::from_secs(2);

/// Messages that are kept when the broker ends.
const PERSISTENT: u8 = 2;

/// How many AMQP channels RabbitMQ lets a connection have.
const MOST: usize = 2047;

/// What a channel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A queue: a message is for one who reads it.
    Queue,
    /// A binding to this exchange: a message is for all.
    Topic(String),
    /// A stream, which keeps messages.
    Stream,
}

pub(super) struct RabbitMq {
    url: String,
    kind: Kind,
    sender: Sender,
    /// What messages come by, for those who want older ones.
    connection: Mutex<Option<Arc<Connection>>>,
}

/// A consumer of a channel. Dropped, it is ended.
struct Follower {
    feed: Arc<Feed>,
    channel: Channel,
}

/// What consumers bring: a message, or the end of one of them.
type Arrival = (Arc<Feed>, Option<Result<Delivery, lapin::Error>>);
type Arrivals = SelectAll<BoxStream<'static, Arrival>>;

/// Where a stream is read from.
enum From {
    /// With what comes next.
    Next,
    /// From this offset on.
    Offset(u64),
}

impl RabbitMq {
    pub(super) async fn open(url: &str, kind: Kind) -> Result<Self, ServiceError> {
        let sender = Sender::open(url, None).await?;
        Ok(Self { url: url.to_owned(), kind, sender, connection: Mutex::default() })
    }

    /// Begins to consume a channel.
    async fn consume(
        &self,
        connection: &Connection,
        name: &str,
        from: From,
    ) -> Result<(Channel, Consumer), lapin::Error> {
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        let mut queue = ShortString::from(name);
        match &self.kind {
            Kind::Queue => {}
            Kind::Stream => {
                let offset = match from {
                    From::Next => AMQPValue::LongString("next".into()),
                    From::Offset(offset) => {
                        AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
                    }
                };
                arguments.insert("x-stream-offset".into(), offset);
            }
            Kind::Topic(exchange) => {
                let options = QueueDeclareOptions {
                    exclusive: true,
                    auto_delete: true,
                    ..QueueDeclareOptions::default()
                };
                let declared = channel.queue_declare("".into(), options, FieldTable::default());
                let key = std::mem::replace(&mut queue, declared.await?.name().clone());
                let (exchange, none) = (exchange.as_str().into(), FieldTable::default());
                let options = QueueBindOptions::default();
                channel.queue_bind(queue.clone(), exchange, key, options, none).await?;
            }
        }
        channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions {
            no_ack: matches!(self.kind, Kind::Topic(_)),
            ..BasicConsumeOptions::default()
        };
        let consumer = channel.basic_consume(queue, "".into(), options, arguments).await?;
        Ok((channel, consumer))
    }

    /// Begins to consume a stream after this position, or from the next message on. None: what is
    /// at the position is not there any more.
    async fn consume_after(
        &self,
        connection: &Connection,
        name: &str,
        after: Position,
        within: Duration,
    ) -> Result<Option<(Channel, Consumer)>, lapin::Error> {
        // What is there and is not missing begins with what the reader has already.
        let Some(offset) = after.offset() else { return Ok(None) };
        let (channel, mut consumer) = self.consume(connection, name, From::Offset(offset)).await?;
        match timeout(within, consumer.next()).await {
            Ok(Some(Ok(delivery))) if offset_of(&delivery) == Some(offset) => {
                delivery.acker.ack(BasicAckOptions::default()).await?;
                Ok(Some((channel, consumer)))
            }
            Ok(Some(Err(error))) => Err(error),
            _ => Ok(None),
        }
    }

    /// Begins to hand over what arrives in a channel.
    async fn begin(
        &self,
        connection: &Connection,
        feeds: &Feeds,
        feed: &Arc<Feed>,
    ) -> Result<(Channel, Consumer), lapin::Error> {
        if self.kind == Kind::Stream && feed.has_been_open() {
            let last = feed.end().1;
            let whole = self.consume_after(connection, &feed.name, last, PATIENCE).await?;
            if let Some(consumed) = whole {
                feed.opened(feeds.notation(), None, true);
                return Ok(consumed);
            }
        }
        let consumed = self.consume(connection, &feed.name, From::Next).await?;
        let start = (self.kind == Kind::Stream).then(Position::before_all_that_comes);
        feed.opened(feeds.notation(), start, false);
        Ok(consumed)
    }

    async fn follow_once(&self, feeds: &Feeds) -> Result<Infallible, ServiceError> {
        let connection = Arc::new(in_time("connect", connection(&self.url)).await?);
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        info!("connected to RabbitMQ");
        let mut followers: HashMap<Arc<str>, Follower> = HashMap::new();
        let mut arrivals: Arrivals = SelectAll::new();
        loop {
            tokio::select! {
                Some((feed, arrival)) = arrivals.next() => {
                    let current = followers.get(&feed.name);
                    if !current.is_some_and(|follower| Arc::ptr_eq(&follower.feed, &feed)) {
                        continue;
                    }
                    match arrival {
                        Some(Ok(delivery)) => self.receive(feeds, &feed, delivery).await?,
                        Some(Err(error)) if refusal(&error).is_none() => {
                            return Err(failed("receive")(error));
                        }
                        _ if !connection.status().connected() => {
                            return Err(ServiceError::new("receive", "the connection was closed"));
                        }
                        _ => {
                            let text = format!("the queue of {:?} was deleted", feed.name);
                            feeds.refuse(&feed, QueueError::NotFound(text));
                        }
                    }
                }
                changes = feeds.changes() => for Change { name, feed } in changes {
                    if let Some(follower) = followers.remove(&name) {
                        // What it has not acknowledged goes back to its queue.
                        let closing = follower.channel.close(200, "nobody reads it".into());
                        timeout(PATIENCE, closing).await.ok();
                    }
                    let Some(feed) = feed else { continue };
                    let begun = timeout(2 * PATIENCE, self.begin(&connection, feeds, &feed)).await;
                    match begun.map_err(|_| no_answer("consume"))? {
                        Ok((channel, consumer)) => {
                            followers.insert(name, Follower { feed: feed.clone(), channel });
                            arrivals.push(arrivals_of(feed, consumer));
                        }
                        Err(error) => match refusal(&error) {
                            Some(refusal) => feeds.refuse(&feed, refusal),
                            None => return Err(failed("consume")(error)),
                        },
                    }
                }
            }
        }
    }

    async fn receive(
        &self,
        feeds: &Feeds,
        feed: &Arc<Feed>,
        delivery: Delivery,
    ) -> Result<(), ServiceError> {
        let at = match self.kind {
            Kind::Stream => Some(position_of(&delivery)?),
            Kind::Queue | Kind::Topic(_) => None,
        };
        feeds.receive(feed, at, |payload| message(payload, &delivery));
        if !matches!(self.kind, Kind::Topic(_)) {
            let acknowledged = delivery.acker.ack(BasicAckOptions::default()).await;
            acknowledged.map_err(failed("acknowledge"))?;
        }
        Ok(())
    }
}

fn arrivals_of(feed: Arc<Feed>, consumer: Consumer) -> BoxStream<'static, Arrival> {
    let arrivals = consumer.map(Some).chain(stream::once(async { None }));
    arrivals.map(move |arrival| (feed.clone(), arrival)).boxed()
}

/// What a message says; its type may be in the property `type`.
fn message(payload: Payload, delivery: &Delivery) -> Result<Message, String> {
    let event_type = delivery.properties.kind().as_ref().map(ToString::to_string);
    payload.read(&delivery.data, event_type.filter(|name| !name.is_empty()))
}

fn offset_of(delivery: &Delivery) -> Option<u64> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}

fn position_of(delivery: &Delivery) -> Result<Position, ServiceError> {
    let offset = offset_of(delivery).map(Position::of_offset);
    offset.ok_or_else(|| {
        ServiceError::new("receive", "a message without an offset; is this queue a stream?")
    })
}

/// What the broker refuses for good, and not because it is away.
fn refusal(error: &lapin::Error) -> Option<QueueError> {
    let told = match error.kind() {
        ErrorKind::ProtocolError(told) => told,
        ErrorKind::ChannelsLimitReached => return Some(QueueError::TooMany(MOST)),
        _ => return None,
    };
    match told.get_id() {
        403 => Some(QueueError::Forbidden),
        // Not found; used by one alone; not of that kind; nothing that this broker does.
        404..=406 | 540 => Some(QueueError::NotFound(told.get_message().to_string())),
        _ => None,
    }
}

#[async_trait]
impl Source for RabbitMq {
    fn kind(&self) -> &'static str {
        "RabbitMQ"
    }

    fn notation(&self) -> Notation {
        match self.kind {
            Kind::Stream => Notation::Offset,
            Kind::Queue | Kind::Topic(_) => Notation::Subscription,
        }
    }

    /// What is taken out of a queue for nobody is lost.
    fn lingers(&self) -> bool {
        self.kind != Kind::Queue
    }

    async fn follow(&self, feeds: &Feeds) -> ServiceError {
        let Err(error) = self.follow_once(feeds).await;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        error
    }

    async fn send(
        &self,
        channel: &str,
        payload: Payload,
        message: &Message,
    ) -> Result<Option<Position>, QueueError> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let properties = match &message.event_type {
            // It is looked at before: an event's type may be longer than this property.
            Some(event_type) if event_type.len() > 255 => {
                let text = "RabbitMQ carries types of at most 255 bytes".to_owned();
                return Err(QueueError::NotAllowed(text));
            }
            Some(event_type) => properties.with_type(event_type.as_str().into()),
            None => properties,
        };
        let (exchange, must_arrive) = match &self.kind {
            Kind::Topic(exchange) => (exchange.as_str(), false),
            Kind::Queue | Kind::Stream => ("", true),
        };
        let body = payload.write(message, true)?;
        let is_taken =
            self.sender.publish(exchange, channel, vec![(body, properties)], must_arrive);
        if is_taken.await? {
            Ok(None)
        } else {
            Err(QueueError::NotFound(format!("there is no queue {channel:?}; declare it")))
        }
    }

    fn has_history(&self) -> bool {
        self.kind == Kind::Stream
    }

    /// Waits until there is something.
    async fn history(
        &self,
        feeds: &Feeds,
        channel: &str,
        after: Position,
    ) -> Result<Page, ServiceError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection =
            connection.ok_or_else(|| ServiceError::new("read a stream", "no connection"))?;
        let begun = self.consume_after(&connection, channel, after, SENT_WITHIN).await;
        let Some((_channel, mut consumer)) = begun.map_err(failed("read a stream"))? else {
            return Ok(Page::gap());
        };
        let mut page = Page::default();
        let mut next = consumer.next().map(Ok).boxed();
        for _ in 0..AHEAD {
            let Ok(delivery) = next.await else { break };
            let delivery = delivery
                .ok_or_else(|| ServiceError::new("read a stream", "the connection was closed"))?;
            let delivery = delivery.map_err(failed("read a stream"))?;
            page.add(feeds, position_of(&delivery)?, |payload| message(payload, &delivery));
            let acknowledged = delivery.acker.ack(BasicAckOptions::default()).await;
            acknowledged.map_err(failed("read a stream"))?;
            next = timeout(SILENCE, consumer.next()).boxed();
        }
        Ok(page)
    }
}
