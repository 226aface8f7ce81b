//! Channels of PostgreSQL's `NOTIFY`.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;
use tracing::info;

use super::channels::{Listens, follow};
use super::feeds::Feeds;
use super::payload::{Message, Payload};
use super::position::Position;
use super::{QueueError, Source};
use crate::ServiceError;
use crate::services::postgres::{Listener, MAX_PAYLOAD, Notifier, answering};

/// PostgreSQL cuts longer names.
const MAX_NAME: usize = 63;

pub(super) struct PostgresChannels {
    options: PgConnectOptions,
    /// To notify by; it leads to where notifications come from.
    notifier: Mutex<Notifier>,
}

impl PostgresChannels {
    pub(super) async fn open(url: &str) -> Result<Self, ServiceError> {
        let options = answering(url).await?;
        let notifier = Mutex::new(Notifier::new(&options));
        Ok(Self { options, notifier })
    }
}

impl Listens for Listener {
    async fn subscribe(&mut self, names: &[&str]) -> Result<(), ServiceError> {
        self.listen(names).await
    }

    async fn unsubscribe(&mut self, names: &[&str]) -> Result<(), ServiceError> {
        for name in names {
            self.unlisten(name).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<(String, Vec<u8>), ServiceError> {
        let notification = Self::next(self).await?;
        Ok((notification.channel().to_owned(), notification.payload().as_bytes().to_vec()))
    }
}

#[async_trait]
impl Source for PostgresChannels {
    fn kind(&self) -> &'static str {
        "PostgreSQL NOTIFY"
    }

    fn max_name_len(&self) -> usize {
        MAX_NAME
    }

    async fn follow(&self, feeds: &Feeds) -> ServiceError {
        match Listener::connect(&self.options).await {
            Ok((listener, notifier)) => {
                *self.notifier.lock().unwrap_or_else(PoisonError::into_inner) = notifier;
                info!("connected to PostgreSQL, for NOTIFY");
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
        let bytes = payload.write(message, false)?;
        if bytes.len() > MAX_PAYLOAD {
            let text = format!(
                "a notification of PostgreSQL has at most {MAX_PAYLOAD} bytes, and this one {}; \
                 send where to find it",
                bytes.len()
            );
            return Err(QueueError::NotAllowed(text));
        }
        let text = String::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains('\0'))
            .ok_or_else(|| QueueError::NotAllowed("PostgreSQL has no U+0000".to_owned()))?;
        let notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner).clone();
        notifier.notify(channel, &[text]).await?;
        Ok(None)
    }
}
