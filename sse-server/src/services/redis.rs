//! A connection to Redis that listens to channels of its publish/subscribe.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use redis::aio::{
    ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSubSink, PubSubStream,
};
use redis::{AsyncConnectionConfig, Client, Msg, RedisError, RedisResult, ToRedisArgs};
use tokio::time::timeout;

use super::{PATIENCE, moved, no_answer};
use crate::ServiceError;
use crate::identity::{Identity, differ, of_redis};

/// After a silence this long the connection is asked whether it is still one.
const SILENCE: Duration = Duration::from_secs(15);

/// A connection of its own, because one that listens does nothing else.
pub(crate) struct Listener {
    sink: PubSubSink,
    messages: PubSubStream,
    /// Completes if the address leads to another server by now.
    moved: Pin<Box<dyn Future<Output = ServiceError> + Send>>,
}

impl Listener {
    pub(crate) async fn connect(client: &Client) -> Result<Self, ServiceError> {
        // Before it is subscribed to: what changes later is found by the first check.
        let moved = moved_from(client).await?;
        let connected = timeout(PATIENCE, client.get_async_pubsub()).await;
        let pubsub = connected.map_err(|_| no_answer("connect"))?.map_err(failed("connect"))?;
        let (sink, messages) = pubsub.split();
        Ok(Self { sink, messages, moved })
    }

    /// Returns once Redis has confirmed it: what is published from then on arrives.
    pub(crate) async fn subscribe(&mut self, names: impl ToRedisArgs) -> Result<(), ServiceError> {
        let subscribed = timeout(PATIENCE, self.sink.subscribe(names)).await;
        subscribed.map_err(|_| no_answer("subscribe"))?.map_err(failed("subscribe"))
    }

    pub(crate) async fn unsubscribe(
        &mut self,
        names: impl ToRedisArgs,
    ) -> Result<(), ServiceError> {
        let unsubscribed = timeout(PATIENCE, self.sink.unsubscribe(names)).await;
        unsubscribed.map_err(|_| no_answer("unsubscribe"))?.map_err(failed("unsubscribe"))
    }

    /// The next message; an error means that the connection is lost. May be dropped and called
    /// again: no message is lost by that.
    pub(crate) async fn next(&mut self) -> Result<Msg, ServiceError> {
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE, self.messages.next()) => message,
                error = &mut self.moved => return Err(error),
            };
            match message {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => return Err(ServiceError::new("receive", "the connection was closed")),
                Err(_) => {
                    let ping = timeout(PATIENCE, self.sink.ping::<redis::Value>()).await;
                    ping.map_err(|_| no_answer("receive"))?.map_err(failed("receive"))?;
                }
            }
        }
    }
}

/// Connects, and completes when the address leads to another server than this one.
pub(crate) async fn moved_from(
    client: &Client,
) -> Result<Pin<Box<dyn Future<Output = ServiceError> + Send>>, ServiceError> {
    let server = identity(client).await.map_err(failed("connect"))?;
    let client = client.clone();
    let has_moved = move || -> BoxFuture<'static, bool> {
        let (client, server) = (client.clone(), server.clone());
        // If there is no answer, this one may be well all the same.
        Box::pin(async move { identity(&client).await.is_ok_and(|there| differ(&server, &there)) })
    };
    Ok(Box::pin(moved(has_moved)))
}

/// Which server a new connection leads to.
async fn identity(client: &Client) -> RedisResult<Identity> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    of_redis(&mut client.get_multiplexed_async_connection_with_config(&config).await?).await
}

/// A connection that ends when it is lost, for commands that may wait this long for their answer.
pub(crate) async fn connect_directly(
    client: &Client,
    wait: Duration,
) -> Result<MultiplexedConnection, ServiceError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE + wait));
    let connected = client.get_multiplexed_async_connection_with_config(&config).await;
    connected.map_err(failed("connect"))
}

/// Whether this user of Redis may not do what has failed.
pub(crate) fn is_forbidden(error: &ServiceError) -> bool {
    let source = std::error::Error::source(error);
    let error = source.and_then(|error| error.downcast_ref::<RedisError>());
    // Within a script it is told in the text.
    error.is_some_and(|error| {
        error.code() == Some("NOPERM") || error.detail().is_some_and(|text| text.contains("NOPERM"))
    })
}

/// A connection to send over.
pub(crate) struct Sender(Mutex<ConnectionManager>);

impl Sender {
    /// Connects, or tells why it cannot.
    pub(crate) async fn open(client: &Client) -> Result<Self, ServiceError> {
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await;
        manager.map(|manager| Self(Mutex::new(manager))).map_err(failed("connect"))
    }

    pub(crate) fn get(&self) -> ConnectionManager {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects anew when it is used next: together with a connection that receives, so that both
    /// lead to the same server.
    pub(crate) fn renew(&self, client: &Client) -> Result<(), ServiceError> {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config());
        let manager = manager.map_err(failed("connect"))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = manager;
        Ok(())
    }
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
}

pub(crate) fn failed(operation: &'static str) -> impl Fn(RedisError) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}
