//! The connection to Redis, and another one when it leads to the wrong server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
};
use tracing::warn;

use crate::identity::{differ, of_redis};

/// How long a connection, and an answer, may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a new connection is given before there is another one.
const PAUSE: Duration = Duration::from_secs(1);

/// What a server answers that is not, or not yet, the one that takes writes. Behind the same
/// address there may be another one by now.
const WRONG_SERVER: [&str; 4] = ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS"];

/// Connects again by itself when the connection is lost, and when it leads to the wrong server.
pub(super) struct Connection {
    client: Client,
    current: Mutex<Current>,
}

struct Current {
    manager: ConnectionManager,
    /// When it took the place of another one.
    since: Option<Instant>,
}

impl Connection {
    /// Connects, or tells why it cannot.
    pub(super) async fn open(client: Client) -> RedisResult<Self> {
        let manager = ConnectionManager::new_with_config(client.clone(), config()).await?;
        Ok(Self { client, current: Mutex::new(Current { manager, since: None }) })
    }

    pub(super) fn get(&self) -> ConnectionManager {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).manager.clone()
    }

    /// Runs a script; over a new connection if the first one leads to the wrong server, where a
    /// script has done nothing.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> RedisResult<T> {
        match script.invoke_async(&mut self.get()).await {
            Err(error) if self.is_replaced(&error) => script.invoke_async(&mut self.get()).await,
            result => result,
        }
    }

    /// Takes note of an error. If it comes from the wrong server, the next request goes over a new
    /// connection; whether that is so now.
    pub(super) fn is_replaced(&self, error: &RedisError) -> bool {
        if !is_of_wrong_server(error) {
            return false;
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.since.is_some_and(|since| since.elapsed() < PAUSE) {
            return false;
        }
        let is_replaced = current.replace(&self.client);
        if is_replaced {
            warn!(%error, "this Redis takes no writes; will connect again");
        }
        is_replaced
    }

    /// Whether a new connection leads to another server. If so, the next request goes over a new
    /// one.
    pub(super) async fn has_moved(&self) -> RedisResult<bool> {
        let new = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let mut new = self.client.get_multiplexed_async_connection_with_config(&new).await?;
        let (there, here) = (of_redis(&mut new).await?, of_redis(&mut self.get()).await?);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(differ(&there, &here) && current.replace(&self.client))
    }
}

impl Current {
    fn replace(&mut self, client: &Client) -> bool {
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config());
        let Ok(manager) = manager else { return false };
        *self = Self { manager, since: Some(Instant::now()) };
        true
    }
}

fn config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_connection_timeout(Some(CONNECT_PATIENCE))
        .set_response_timeout(Some(PATIENCE))
}

fn is_of_wrong_server(error: &RedisError) -> bool {
    let is_code = |code: &str| WRONG_SERVER.contains(&code);
    // Before version 7, what happens within a script is told in the text.
    let is_told = |text: &str| WRONG_SERVER.iter().any(|code| text.contains(&format!("-{code} ")));
    error.code().is_some_and(is_code) || error.detail().is_some_and(is_told)
}
