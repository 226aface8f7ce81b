//! A connection to PostgreSQL that listens to notifications, and one that notifies.

mod kept;

use std::pin::Pin;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::{PATIENCE, moved, no_answer};
use crate::ServiceError;
use crate::identity::{Identity, differ, of_postgres};
pub(crate) use kept::{FRESH, Kept, Lent};

/// PostgreSQL's limit for what a notification carries, in bytes, is 8000, exclusive.
pub(crate) const MAX_PAYLOAD: usize = 7999;

/// A connection of its own, so that what others do does not hold it up.
pub(crate) struct Listener {
    listener: PgListener,
    /// Completes if the address leads to another server by now.
    moved: Pin<Box<dyn Future<Output = ServiceError> + Send>>,
}

impl Listener {
    /// Connects, and returns a connection to notify by, which leads to the same server.
    pub(crate) async fn connect(
        options: &PgConnectOptions,
    ) -> Result<(Self, Notifier), ServiceError> {
        let pool = two(options);
        let mut listener = PgListener::connect_with(&pool).await.map_err(failed("connect"))?;
        // Connecting again is done in one place, whatever has happened.
        listener.eager_reconnect(false);
        let server = of_postgres(&mut listener).await.map_err(failed("connect"))?;
        let options = options.clone();
        let has_moved = move || -> BoxFuture<'static, bool> {
            let (options, server) = (options.clone(), server.clone());
            Box::pin(async move { has_moved(&options, &server).await })
        };
        let notifier = Notifier(Kept::new(pool));
        Ok((Self { listener, moved: Box::pin(moved(has_moved)) }, notifier))
    }

    /// Returns once it is so: what is notified from then on arrives.
    pub(crate) async fn listen(&mut self, names: &[&str]) -> Result<(), ServiceError> {
        let listening = timeout(PATIENCE, self.listener.listen_all(names.iter().copied())).await;
        listening.map_err(|_| no_answer("listen"))?.map_err(failed("listen"))
    }

    pub(crate) async fn unlisten(&mut self, name: &str) -> Result<(), ServiceError> {
        let unlistening = timeout(PATIENCE, self.listener.unlisten(name)).await;
        unlistening.map_err(|_| no_answer("unlisten"))?.map_err(failed("unlisten"))
    }

    /// The next notification; an error means that the connection is lost. May be dropped and called
    /// again: none is lost by that.
    pub(crate) async fn next(&mut self) -> Result<PgNotification, ServiceError> {
        let notification = tokio::select! {
            notification = self.listener.try_recv() => notification.map_err(failed("receive"))?,
            error = &mut self.moved => return Err(error),
        };
        notification.ok_or_else(|| ServiceError::new("receive", "the connection was closed"))
    }
}

/// Whether a new connection leads to another server than this one. If there is no answer, this one
/// may be well all the same.
async fn has_moved(options: &PgConnectOptions, from: &Identity) -> bool {
    let ask = async {
        let mut new = options.connect().await?;
        let there = of_postgres(&mut new).await?;
        new.close().await?;
        Ok::<_, sqlx::Error>(there)
    };
    matches!(timeout(PATIENCE, ask).await, Ok(Ok(there)) if differ(from, &there))
}

/// How to connect to the database with this URL, which answers.
pub(crate) async fn answering(url: &str) -> Result<PgConnectOptions, ServiceError> {
    let options = PgConnectOptions::from_str(url).map_err(failed("understand the URL"))?;
    // PgBouncer, as it comes, refuses a parameter that it does not know; no floats are read here.
    let options = options.extra_float_digits(None).disable_statement_logging();
    let first = timeout(PATIENCE, options.connect()).await;
    first.map_err(|_| no_answer("connect"))?.map_err(failed("connect")).map(drop)?;
    Ok(options)
}

/// A connection to notify by, one statement after the other. Cloning gives another handle to the
/// same one.
#[derive(Clone, Debug)]
pub(crate) struct Notifier(Kept);

impl Notifier {
    /// Connects when it is used.
    pub(crate) fn new(options: &PgConnectOptions) -> Self {
        Self(Kept::new(two(options)))
    }

    /// Notifies who listens to this name of all of these, in this order.
    pub(crate) async fn notify(&self, name: &str, payloads: &[String]) -> Result<(), ServiceError> {
        let notify = async {
            let mut lent = self.0.take().await?;
            sqlx::query("SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload")
                .bind(name)
                .bind(payloads)
                .execute(lent.connection())
                .await?;
            lent.keep();
            Ok(())
        };
        let notified = timeout(2 * PATIENCE, notify).await;
        notified.map_err(|_| no_answer("notify"))?.map_err(failed("notify"))
    }
}

/// One connection to listen, the other to notify.
fn two(options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(PATIENCE)
        .connect_lazy_with(options.clone())
}

pub(crate) fn failed(operation: &'static str) -> impl Fn(sqlx::Error) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}
