//! Messages over an AMQP 0-9-1 broker, such as RabbitMQ.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tracing::info;

use super::message::Origin;
use super::receiving::{Patience, hand_over, no_answer};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::seldom::Seldom;

/// The exchange that hands each message to every instance.
const EXCHANGE: &str = "sse_server";

/// How long a connection, and an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages over a fanout exchange called `sse_server`, from which each instance takes what it gets
/// by an exclusive queue of its own, which the broker removes when the instance is gone.
pub struct AmqpRelay {
    url: String,
    /// The connection to send over, if it works as far as is known.
    sender: Mutex<Option<Link>>,
    origin: Origin,
    /// Messages that were not taken in.
    refused: Seldom,
}

/// A channel ends with its connection.
struct Link {
    channel: Channel,
    _connection: Connection,
}

impl AmqpRelay {
    /// Connects to the broker with this URL (`amqp://user:password@host:port/vhost`).
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the broker does not answer.
    pub async fn open(url: &str) -> Result<Self, ServiceError> {
        Self::open_with(url, &RelayOptions::default()).await
    }

    /// As [`open`](Self::open), with these options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, options: &RelayOptions) -> Result<Self, ServiceError> {
        let sender = Mutex::new(Some(connect(url).await?));
        Ok(Self {
            url: url.to_owned(),
            sender,
            origin: Origin::new(options),
            refused: Seldom::default(),
        })
    }

    /// Receives over one connection, until it ends, which is an error, or the receiver is gone.
    async fn receive_once(&self, news: &mpsc::Sender<News>) -> Result<(), ServiceError> {
        let link = connect(&self.url).await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let consume = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let begin = async {
            let table = FieldTable::default;
            let queue = link.channel.queue_declare("".into(), options, table()).await?;
            let name = queue.name().clone();
            let bind = QueueBindOptions::default();
            link.channel
                .queue_bind(name.clone(), EXCHANGE.into(), "".into(), bind, table())
                .await?;
            link.channel.basic_consume(name, "".into(), consume, table()).await
        };
        let mut consumer = in_time("consume", begin).await?;
        info!("connected to the AMQP relay");
        if news.send(News::Connected).await.is_err() {
            return Ok(());
        }
        loop {
            let delivery = tokio::select! {
                delivery = consumer.next() => delivery,
                () = news.closed() => return Ok(()),
            };
            let Some(delivery) = delivery else {
                return Err(ServiceError::new("receive", "the connection was closed"));
            };
            let delivery = delivery.map_err(failed("receive"))?;
            if !hand_over(self.origin.decode_any(&delivery.data), news, &self.refused).await {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Relay for AmqpRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        let payloads = messages.iter().map(|message| self.origin.encode(message)).collect();
        self.publish(payloads).await
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        self.publish(vec![self.origin.encode_notice(notice)]).await
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let mut patience = Patience::new();
        while let Err(error) = self.receive_once(&news).await {
            if !patience.outlasts("AMQP", &error, &news).await {
                return;
            }
        }
    }
}

impl AmqpRelay {
    async fn publish(&self, payloads: Vec<String>) -> Result<(), ServiceError> {
        // Taken out, so that after an error the next call begins with a new connection.
        let mut sender = self.sender.lock().await;
        let link = match sender.take() {
            Some(link) => link,
            None => connect(&self.url).await?,
        };
        let publish = async {
            let mut confirmations = Vec::with_capacity(payloads.len());
            for payload in payloads {
                let publish = link.channel.basic_publish(
                    EXCHANGE.into(),
                    "".into(),
                    BasicPublishOptions::default(),
                    payload.as_bytes(),
                    BasicProperties::default(),
                );
                confirmations.push(publish.await?);
            }
            // What was written may wait in a buffer, or at a broker that takes nothing at the
            // moment.
            try_join_all(confirmations).await
        };
        let confirmed = in_time("publish", publish).await?;
        if confirmed.iter().any(Confirmation::is_nack) {
            return Err(ServiceError::new("publish", "the broker has refused it"));
        }
        *sender = Some(link);
        Ok(())
    }
}

async fn connect(url: &str) -> Result<Link, ServiceError> {
    let connect = async {
        let properties = ConnectionProperties::default().with_connection_name("sse-server".into());
        let connection = Connection::connect(&with_vhost(url), properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = ExchangeDeclareOptions::default();
        channel
            .exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, options, FieldTable::default())
            .await?;
        Ok(Link { channel, _connection: connection })
    };
    in_time("connect", connect).await
}

/// The URL, in which no virtual host and `/` alone both mean the one that is there by default, `/`.
/// By the letter it would be the one without a name, which no broker has.
fn with_vhost(url: &str) -> Cow<'_, str> {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    match place.split_once("://").and_then(|(_, rest)| rest.split_once('/')) {
        Some((_, "")) => Cow::Owned(format!("{place}%2f{}", &url[place.len()..])),
        _ => Cow::Borrowed(url),
    }
}

async fn in_time<T>(
    operation: &'static str,
    work: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, ServiceError> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(failed(operation)),
        Err(_) => Err(no_answer(operation)),
    }
}

fn failed(operation: &'static str) -> impl Fn(lapin::Error) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}

impl std::fmt::Debug for AmqpRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpRelay").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_alone_means_the_virtual_host_that_is_there_by_default() {
        for (url, expected) in [
            ("amqp://host/", "amqp://host/%2f"),
            ("amqp://me:secret@host:5672/", "amqp://me:secret@host:5672/%2f"),
            ("amqps://host/?heartbeat=10", "amqps://host/%2f?heartbeat=10"),
            ("amqp://host", "amqp://host"),
            ("amqp://host/%2f", "amqp://host/%2f"),
            ("amqp://host/staging", "amqp://host/staging"),
            ("amqp://host//", "amqp://host//"),
        ] {
            assert_eq!(with_vhost(url), expected);
        }
    }
}
