//! Channels of Redis' publish/subscribe.

use async_trait::async_trait;
use redis::Client;
use tracing::info;

use super::channels::{Listens, follow};
use super::feeds::Feeds;
use super::payload::{Message, Payload};
use super::position::Position;
use super::{QueueError, Source};
use crate::ServiceError;
use crate::services::redis::{Listener, Sender, failed, is_forbidden};

pub(super) struct RedisChannels {
    client: Client,
    sender: Sender,
}

impl RedisChannels {
    pub(super) async fn open(url: &str) -> Result<Self, ServiceError> {
        let client = Client::open(url).map_err(failed("understand the URL"))?;
        let sender = Sender::open(&client).await?;
        Ok(Self { client, sender })
    }
}

impl Listens for Listener {
    async fn subscribe(&mut self, names: &[&str]) -> Result<(), ServiceError> {
        Self::subscribe(self, names).await
    }

    async fn unsubscribe(&mut self, names: &[&str]) -> Result<(), ServiceError> {
        Self::unsubscribe(self, names).await
    }

    async fn next(&mut self) -> Result<(String, Vec<u8>), ServiceError> {
        let message = Self::next(self).await?;
        Ok((message.get_channel_name().to_owned(), message.get_payload_bytes().to_vec()))
    }

    fn is_forbidden(error: &ServiceError) -> bool {
        is_forbidden(error)
    }
}

#[async_trait]
impl Source for RedisChannels {
    fn kind(&self) -> &'static str {
        "Redis publish/subscribe"
    }

    async fn follow(&self, feeds: &Feeds) -> ServiceError {
        let listener = Listener::connect(&self.client).await;
        match listener.and_then(|listener| self.sender.renew(&self.client).map(|()| listener)) {
            Ok(listener) => {
                info!("connected to Redis publish/subscribe");
                let Err(error) = follow(listener, feeds).await;
                error
            }
            Err(error) => error,
        }
    }

    async fn send(
        &self,
        channel: &str,
        payload: Payload,
        message: &Message,
    ) -> Result<Option<Position>, QueueError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload.write(message, false)?);
        publish.exec_async(&mut self.sender.get()).await.map_err(failed("publish"))?;
        Ok(None)
    }
}
