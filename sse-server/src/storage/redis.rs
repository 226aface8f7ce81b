//! Events in Redis, under django-eventstream's own keys.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{NewEvent, Retention, Storage, StorageError, StoredEvent};

/// Appends a batch: all of it or, if a counter is not a number, nothing. Redis runs a script as one
/// step, so ids have no holes, and who sees a counter sees the events up to it.
///
/// `ARGV`: milliseconds until an event expires; how many events a channel keeps, or 0 for all; then
/// channel and value of each event.
const APPEND: &str = "
    local heads = {}
    for i = 3, #ARGV, 2 do
        local channel = ARGV[i]
        if not heads[channel] then
            local head = tonumber(redis.call('GET', 'event_counter:' .. channel) or 0)
            if not head then
                return redis.error_reply('ERR a key event_counter:… holds no number')
            end
            heads[channel] = head
        end
    end
    local keep = tonumber(ARGV[2])
    local ids = {}
    for i = 3, #ARGV, 2 do
        local channel = ARGV[i]
        local id = heads[channel] + 1
        heads[channel] = id
        local key = 'event:' .. channel .. ':'
        redis.call('SET', key .. string.format('%.0f', id), ARGV[i + 1], 'PX', ARGV[1])
        if keep > 0 and id > keep then
            redis.call('UNLINK', key .. string.format('%.0f', id - keep))
        end
        ids[#ids + 1] = id
    end
    for channel, head in pairs(heads) do
        redis.call('SET', 'event_counter:' .. channel, string.format('%.0f', head))
    end
    return ids";

/// The most events that are read at once, whatever is asked for.
const MAX_PAGE: usize = 1000;

/// How long a connection, and an answer, may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps events in Redis.
///
/// The keys are those of django-eventstream's `RedisStorage`, so a Django site can append and read
/// while this server does; but what it appends is two steps there, between which this server may see a
/// gap. Redis expires events by itself: [`trim`](Storage::trim) has nothing to do.
///
/// Events are as durable as Redis is configured to be: by default it loses the last seconds, or
/// everything, when it ends. If a channel is then shorter than a reader has seen, the reader is told
/// with a stream-reset. Not noticed is only what looks like a continuation: a reader who comes back
/// after Redis has lost the channel *and* more events have been published since than it had seen.
/// Evicted events (`maxmemory-policy`) are gaps, and told.
///
/// One Redis server, or one with replicas; not a Redis Cluster.
pub struct RedisStorage {
    connection: ConnectionManager,
    append: Script,
    retention: Retention,
}

/// The value of an event's key.
#[derive(Serialize, Deserialize)]
struct Value<T> {
    #[serde(rename = "type")]
    event_type: T,
    data: T,
}

impl RedisStorage {
    /// Connects to the server with this URL (`redis://:password@host:port/database`). Events expire by
    /// `retention`.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the server does not answer.
    pub async fn open(url: &str, retention: Retention) -> Result<Self, StorageError> {
        let client = Client::open(url).map_err(failed("understand the URL"))?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_connection_timeout(Some(CONNECT_PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection =
            ConnectionManager::new_with_config(client, config).await.map_err(failed("connect"))?;
        Ok(Self { connection, append: Script::new(APPEND), retention })
    }
}

#[async_trait]
impl Storage for RedisStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, StorageError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut append = self.append.prepare_invoke();
        let expiry = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        // What Redis takes for a time at most is far more than anyone waits for.
        append.arg(expiry.clamp(1, 1 << 50)).arg(self.retention.events.unwrap_or(0));
        for event in events {
            let value = Value { event_type: &*event.event_type, data: &*event.data };
            append.arg(&*event.channel);
            append.arg(serde_json::to_string(&value).expect("two strings are JSON"));
        }
        append.invoke_async(&mut self.connection.clone()).await.map_err(failed("append"))
    }

    async fn head(&self, channel: &str) -> Result<u64, StorageError> {
        Ok(self.heads(&[channel]).await?[0])
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, StorageError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = redis::cmd("MGET");
        for channel in channels {
            get.arg(format!("event_counter:{channel}"));
        }
        let heads: Result<Vec<Option<u64>>, _> =
            get.query_async(&mut self.connection.clone()).await;
        let heads = heads.map_err(failed("read where channels end"))?;
        Ok(heads.into_iter().map(Option::unwrap_or_default).collect())
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StorageError> {
        let last = after.saturating_add(limit.min(MAX_PAGE) as u64);
        let ids: Vec<u64> = (after.saturating_add(1)..=last).collect();
        if ids.is_empty() || after == u64::MAX {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        // Before the events: what is there beyond it is left from a log that was lost.
        pipe.cmd("GET").arg(format!("event_counter:{channel}"));
        pipe.cmd("MGET");
        for id in &ids {
            pipe.arg(format!("event:{channel}:{id}"));
        }
        let read: Result<(Option<u64>, Vec<Option<String>>), _> =
            pipe.query_async(&mut self.connection.clone()).await;
        let (head, values) = read.map_err(failed("read events"))?;
        let known = ids.into_iter().zip(values).take_while(|(id, _)| *id <= head.unwrap_or(0));
        let present = known.filter_map(|(id, value)| value.map(|value| (id, value)));
        let event = |(id, value): (u64, String)| match serde_json::from_str(&value) {
            Ok(Value { event_type, data }) => Some(StoredEvent { id, event_type, data }),
            // As good as missing: no later attempt would find anything else.
            Err(error) => {
                warn!(channel, id, %error, "a stored event cannot be understood");
                None
            }
        };
        Ok(present.filter_map(event).collect())
    }

    /// Redis does it.
    async fn trim(&self, _before: SystemTime, _limit: usize) -> Result<usize, StorageError> {
        Ok(0)
    }

    /// Appending does it, by one key for each.
    async fn shorten(&self, _keep: u64, _limit: usize) -> Result<usize, StorageError> {
        Ok(0)
    }
}

fn failed(operation: &'static str) -> impl Fn(RedisError) -> StorageError + Copy {
    move |error| StorageError::new(operation, error)
}

impl std::fmt::Debug for RedisStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStorage").field("retention", &self.retention).finish_non_exhaustive()
    }
}
