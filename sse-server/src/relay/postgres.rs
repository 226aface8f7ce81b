//! Messages over PostgreSQL's notifications.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::mpsc;
use tracing::info;

use super::message::Origin;
use super::receiving::{hand_over, outlasts};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::seldom::Seldom;
use crate::services::Patience;
use crate::services::postgres::{Listener, MAX_PAYLOAD, Notifier, answering};

/// The channel of notifications.
const CHANNEL: &str = "sse_server";

/// Messages over `NOTIFY` and `LISTEN` of a PostgreSQL database, which may be the one that events
/// are stored in. A pooler in front of it must not be in transaction mode.
///
/// Without a storage, events of more than some 7,900 bytes do not reach other instances.
#[derive(Debug)]
pub struct PostgresRelay {
    options: PgConnectOptions,
    /// It leads to where notifications come from.
    notifier: Mutex<Notifier>,
    origin: Origin,
    /// Messages that were not taken in.
    refused: Seldom,
}

impl PostgresRelay {
    /// Connects to the database with this URL (`postgres://user:password@host:port/database`).
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the database does not answer.
    pub async fn open(url: &str) -> Result<Self, ServiceError> {
        Self::open_with(url, &RelayOptions::default()).await
    }

    /// As [`open`](Self::open), with these options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(url: &str, relay: &RelayOptions) -> Result<Self, ServiceError> {
        let options = answering(url).await?;
        let notifier = Mutex::new(Notifier::new(&options));
        Ok(Self { options, notifier, origin: Origin::new(relay), refused: Seldom::default() })
    }

    fn notifier(&self) -> Notifier {
        self.notifier.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Receives over one connection, until it ends, which is an error, or the receiver is gone.
    async fn receive_once(&self, news: &mpsc::Sender<News>) -> Result<(), ServiceError> {
        let (mut listener, notifier) = Listener::connect(&self.options).await?;
        *self.notifier.lock().unwrap_or_else(PoisonError::into_inner) = notifier;
        listener.listen(&[CHANNEL]).await?;
        info!("connected to the PostgreSQL relay");
        if news.send(News::Connected).await.is_err() {
            return Ok(());
        }
        loop {
            let notification = tokio::select! {
                notification = listener.next() => notification?,
                () = news.closed() => return Ok(()),
            };
            if !hand_over(
                self.origin.decode_any(notification.payload().as_bytes()),
                news,
                &self.refused,
            )
            .await
            {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Relay for PostgresRelay {
    async fn send(&self, messages: &[Message]) -> Result<(), ServiceError> {
        let mut payloads: Vec<String> =
            messages.iter().map(|message| self.origin.encode(message)).collect();
        let all = payloads.len();
        payloads.retain(|payload| payload.len() <= MAX_PAYLOAD);
        let fitting = payloads.len();
        self.notifier().notify(CHANNEL, &payloads).await?;
        if fitting < all {
            let text = "an event is too large for a notification; use a storage or another relay";
            return Err(ServiceError::new("notify", text));
        }
        Ok(())
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        self.notifier().notify(CHANNEL, &[self.origin.encode_notice(notice)]).await
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let mut patience = Patience::new();
        while let Err(error) = self.receive_once(&news).await {
            if !outlasts(&mut patience, "PostgreSQL relay", &error, &news).await {
                return;
            }
        }
    }
}
