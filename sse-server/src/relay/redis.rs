//! Messages over Redis publish/subscribe, as django-eventstream sends them.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::info;

use super::message::Origin;
use super::receiving::{Patience, hand_over, moved};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::identity::{Identity, differ, of_redis};
use crate::seldom::Seldom;

/// The one that django-eventstream uses; all databases of a Redis server share it.
const CHANNEL: &str = "events_channel";

/// Where notices go, which are no business of Django's.
const NOTICES: &str = "sse_server";

/// How long a connection, and an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// After a silence this long the connection is asked whether it is still one.
const SILENCE: Duration = Duration::from_secs(15);

/// Messages over a Redis server.
///
/// With `EVENTSTREAM_REDIS` set to the same server, a Django site's `send_event` reaches the
/// readers here, and what is published here reaches the readers there. An event of theirs with an
/// id is read from the storage, so it has to be the same one; an event without is delivered as it
/// is.
pub struct RedisRelay {
    client: Client,
    sender: Mutex<ConnectionManager>,
    /// The names of the two channels.
    events: String,
    notices: String,
    origin: Origin,
    /// Messages that were not taken in.
    refused: Seldom,
}

impl RedisRelay {
    /// Connects to the server with this URL (`redis://:password@host:port`).
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the server does not answer.
    pub async fn open(url: &str) -> Result<Self, ServiceError> {
        Self::open_with(url, &RelayOptions::default()).await
    }

    /// As [`open`](Self::open), with these options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, options: &RelayOptions) -> Result<Self, ServiceError> {
        let client = Client::open(url).map_err(failed("understand the URL"))?;
        let sender = ConnectionManager::new_with_config(client.clone(), config())
            .await
            .map_err(failed("connect"))?;
        let [events, notices] = [CHANNEL, NOTICES].map(|name| format!("{}{name}", options.prefix));
        Ok(Self {
            client,
            sender: Mutex::new(sender),
            events,
            notices,
            origin: Origin::new(options),
            refused: Seldom::default(),
        })
    }

    fn sender(&self) -> ConnectionManager {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which server a new connection leads to.
    async fn identity(&self) -> RedisResult<Identity> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut new = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        of_redis(&mut new).await
    }

    /// Whether it is another one than this. If there is no answer, this one may be well all the
    /// same.
    async fn has_moved(&self, from: &Identity) -> bool {
        self.identity().await.is_ok_and(|there| differ(from, &there))
    }

    /// Who writes to the channel for events must not be taken for an instance.
    fn decode(&self, message: &redis::Msg) -> Result<Option<News>, serde_json::Error> {
        let payload = message.get_payload_bytes();
        if message.get_channel_name() == self.notices {
            return self.origin.decode_any(payload);
        }
        Ok(self.origin.decode(payload)?.map(News::Message))
    }

    /// Receives over one connection, until it ends, which is an error, or the receiver is gone.
    async fn receive_once(&self, news: &mpsc::Sender<News>) -> Result<(), ServiceError> {
        let lost = |text: &'static str| ServiceError::new("receive", text);
        // Before it is subscribed to: what changes later is found by the first check.
        let server = self.identity().await.map_err(failed("connect"))?;
        let sender = ConnectionManager::new_lazy_with_config(self.client.clone(), config());
        let sender = sender.map_err(failed("connect"))?;
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender;
        let connect = async {
            let mut pubsub = self.client.get_async_pubsub().await?;
            pubsub.subscribe(&[&self.events, &self.notices]).await?;
            Ok(pubsub)
        };
        let connected = timeout(PATIENCE, connect).await;
        let pubsub = connected.map_err(|_| lost("no answer"))?.map_err(failed("subscribe"))?;
        let (mut sink, mut messages) = pubsub.split();
        info!("connected to the Redis relay");
        if news.send(News::Connected).await.is_err() {
            return Ok(());
        }
        let mut moved = pin!(moved(|| self.has_moved(&server)));
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE, messages.next()) => message,
                error = &mut moved => return Err(error),
                () = news.closed() => return Ok(()),
            };
            match message {
                Ok(Some(message)) => {
                    if !hand_over(self.decode(&message), news, &self.refused).await {
                        return Ok(());
                    }
                }
                Ok(None) => return Err(lost("the connection was closed")),
                Err(_) => {
                    let ping = timeout(PATIENCE, sink.ping::<redis::Value>()).await;
                    ping.map_err(|_| lost("no answer"))?.map_err(failed("receive"))?;
                }
            }
        }
    }
}

#[async_trait]
impl Relay for RedisRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        let mut pipe = redis::pipe();
        for message in messages {
            pipe.cmd("PUBLISH").arg(&self.events).arg(self.origin.encode(message)).ignore();
        }
        pipe.query_async(&mut self.sender()).await.map_err(failed("publish"))
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.notices).arg(self.origin.encode_notice(notice));
        command.exec_async(&mut self.sender()).await.map_err(failed("publish"))
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let mut patience = Patience::new();
        while let Err(error) = self.receive_once(&news).await {
            if !patience.outlasts("Redis", &error, &news).await {
                return;
            }
        }
    }

    /// For Django processes that have nothing else.
    fn carries_events(&self) -> bool {
        true
    }
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
}

fn failed(operation: &'static str) -> impl Fn(RedisError) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}

impl std::fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisRelay").finish_non_exhaustive()
    }
}
