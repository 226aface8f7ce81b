//! Messages over an AMQP 0-9-1 broker, such as RabbitMQ.

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, ExchangeKind};
use tokio::sync::mpsc;
use tracing::info;

use super::message::Origin;
use super::receiving::{hand_over, outlasts};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::seldom::Seldom;
use crate::services::Patience;
use crate::services::amqp::{Sender, connection, failed, in_time};

/// The exchange that hands each message to every instance.
const EXCHANGE: &str = "sse_server";

/// Messages over a fanout exchange called `sse_server`, from which each instance takes what it gets
/// by an exclusive queue of its own, which the broker removes when the instance is gone.
pub struct AmqpRelay {
    url: String,
    sender: Sender,
    origin: Origin,
    /// Messages that were not taken in.
    refused: Seldom,
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
        let sender = Sender::open(url, Some(EXCHANGE)).await?;
        Ok(Self {
            url: url.to_owned(),
            sender,
            origin: Origin::new(options),
            refused: Seldom::default(),
        })
    }

    /// Receives over one connection, until it ends, which is an error, or the receiver is gone.
    async fn receive_once(&self, news: &mpsc::Sender<News>) -> Result<(), ServiceError> {
        let connection = in_time("connect", connection(&self.url)).await?;
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let consume = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let begin = async {
            let table = FieldTable::default;
            let channel = connection.create_channel().await?;
            let queue = channel.queue_declare("".into(), options, table()).await?;
            let name = queue.name().clone();
            let bind = QueueBindOptions::default();
            // The first that sends or receives declares it.
            let (kind, declare) = (ExchangeKind::Fanout, ExchangeDeclareOptions::default());
            channel.exchange_declare(EXCHANGE.into(), kind, declare, table()).await?;
            channel.queue_bind(name.clone(), EXCHANGE.into(), "".into(), bind, table()).await?;
            channel.basic_consume(name, "".into(), consume, table()).await
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
            if !outlasts(&mut patience, "AMQP relay", &error, &news).await {
                return;
            }
        }
    }
}

impl AmqpRelay {
    async fn publish(&self, payloads: Vec<String>) -> Result<(), ServiceError> {
        let messages = payloads.into_iter();
        let messages = messages.map(|text| (text.into_bytes(), BasicProperties::default()));
        self.sender.publish(EXCHANGE, "", messages.collect(), false).await.map(drop)
    }
}

impl std::fmt::Debug for AmqpRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AmqpRelay").finish_non_exhaustive()
    }
}
