//! Messages over Redis publish/subscribe, as django-eventstream sends them.

use async_trait::async_trait;
use redis::Client;
use tokio::sync::mpsc;
use tracing::info;

use super::message::Origin;
use super::receiving::{hand_over, outlasts};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::seldom::Seldom;
use crate::services::Patience;
use crate::services::redis::{Listener, Sender, failed};

/// The one that django-eventstream uses; all databases of a Redis server share it.
const CHANNEL: &str = "events_channel";

/// Where notices go, which are no business of Django's.
const NOTICES: &str = "sse_server";

/// Messages over a Redis server.
///
/// With `EVENTSTREAM_REDIS` set to the same server, a Django site's `send_event` reaches the
/// readers here, and what is published here reaches the readers there. An event of theirs with an
/// id is read from the storage, so it has to be the same one; an event without is delivered as it
/// is.
pub struct RedisRelay {
    client: Client,
    sender: Sender,
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
        let sender = Sender::open(&client).await?;
        let [events, notices] = [CHANNEL, NOTICES].map(|name| format!("{}{name}", options.prefix));
        Ok(Self {
            client,
            sender,
            events,
            notices,
            origin: Origin::new(options),
            refused: Seldom::default(),
        })
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
        let mut listener = Listener::connect(&self.client).await?;
        self.sender.renew(&self.client)?;
        listener.subscribe(&[&self.events, &self.notices]).await?;
        info!("connected to the Redis relay");
        if news.send(News::Connected).await.is_err() {
            return Ok(());
        }
        loop {
            let message = tokio::select! {
                message = listener.next() => message?,
                () = news.closed() => return Ok(()),
            };
            if !hand_over(self.decode(&message), news, &self.refused).await {
                return Ok(());
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
        pipe.query_async(&mut self.sender.get()).await.map_err(failed("publish"))
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.notices).arg(self.origin.encode_notice(notice));
        command.exec_async(&mut self.sender.get()).await.map_err(failed("publish"))
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let mut patience = Patience::new();
        while let Err(error) = self.receive_once(&news).await {
            if !outlasts(&mut patience, "Redis relay", &error, &news).await {
                return;
            }
        }
    }

    /// For Django processes that have nothing else.
    fn carries_events(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisRelay").finish_non_exhaustive()
    }
}
