//! Messages over PostgreSQL's notifications.

use std::pin::pin;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::info;

use super::message::Origin;
use super::receiving::{Patience, hand_over, moved, no_answer};
use super::{Message, News, Relay, RelayOptions};
use crate::ServiceError;
use crate::identity::{Identity, differ, of_postgres};
use crate::seldom::Seldom;

/// The channel of notifications.
const CHANNEL: &str = "sse_server";

/// PostgreSQL's limit for what a notification carries, in bytes, is 8000, exclusive.
const MAX_PAYLOAD: usize = 7999;

/// How long a connection, and an answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Messages over `NOTIFY` and `LISTEN` of a PostgreSQL database, which may be the one that events
/// are stored in. A pooler in front of it must not be in transaction mode.
///
/// Without a storage, events of more than some 7,900 bytes do not reach other instances.
#[derive(Debug)]
pub struct PostgresRelay {
    options: PgConnectOptions,
    pool: Mutex<PgPool>,
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
        let options = PgConnectOptions::from_str(url).map_err(failed("understand the URL"))?;
        // PgBouncer, as it comes, refuses a parameter that it does not know; no floats are read
        // here.
        let options = options.extra_float_digits(None).disable_statement_logging();
        let first = timeout(PATIENCE, options.connect()).await;
        first.map_err(|_| no_answer("connect"))?.map_err(failed("connect")).map(drop)?;
        let pool = Mutex::new(connect(&options));
        Ok(Self { options, pool, origin: Origin::new(relay), refused: Seldom::default() })
    }

    fn pool(&self) -> PgPool {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a new connection leads to another server than this one. If there is no answer, this
    /// one may be well all the same.
    async fn has_moved(&self, from: &Identity) -> bool {
        let ask = async {
            let mut new = self.options.connect().await?;
            let there = of_postgres(&mut new).await?;
            new.close().await?;
            Ok::<_, sqlx::Error>(there)
        };
        matches!(timeout(PATIENCE, ask).await, Ok(Ok(there)) if differ(from, &there))
    }

    /// Receives over one connection, until it ends, which is an error, or the receiver is gone.
    async fn receive_once(&self, news: &mpsc::Sender<News>) -> Result<(), ServiceError> {
        // Both connections anew, so that they lead to the same server.
        let pool = connect(&self.options);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failed("connect"))?;
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = pool;
        // Connecting again is done in one place, whatever has happened.
        listener.eager_reconnect(false);
        let server = of_postgres(&mut listener).await.map_err(failed("connect"))?;
        listener.listen(CHANNEL).await.map_err(failed("listen"))?;
        info!("connected to the PostgreSQL relay");
        if news.send(News::Connected).await.is_err() {
            return Ok(());
        }
        let mut moved = pin!(moved(|| self.has_moved(&server)));
        loop {
            let notification = tokio::select! {
                notification = listener.try_recv() => notification.map_err(failed("receive"))?,
                error = &mut moved => return Err(error),
                () = news.closed() => return Ok(()),
            };
            let Some(notification) = notification else {
                return Err(ServiceError::new("receive", "the connection was closed"));
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
        let pool = self.pool();
        let notify =
            sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
                .bind(CHANNEL)
                .bind(payloads)
                .execute(&pool);
        timeout(2 * PATIENCE, notify)
            .await
            .map_err(|_| ServiceError::new("notify", "no answer"))?
            .map_err(failed("notify"))?;
        if fitting < all {
            let text = "an event is too large for a notification; use a storage or another relay";
            return Err(ServiceError::new("notify", text));
        }
        Ok(())
    }

    async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        let pool = self.pool();
        let notify = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(CHANNEL)
            .bind(self.origin.encode_notice(notice))
            .execute(&pool);
        timeout(2 * PATIENCE, notify)
            .await
            .map_err(|_| ServiceError::new("notify", "no answer"))?
            .map_err(failed("notify"))
            .map(drop)
    }

    fn echoes(&self) -> bool {
        true
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        let mut patience = Patience::new();
        while let Err(error) = self.receive_once(&news).await {
            if !patience.outlasts("PostgreSQL", &error, &news).await {
                return;
            }
        }
    }
}

/// One connection to listen, the other to notify.
fn connect(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.clone())
}

fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}
