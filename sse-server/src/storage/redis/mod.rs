//! Events in Redis, under django-eventstream's own keys.

mod connection;
mod scripts;

use std::fmt::{Display, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use connection::Connection;
use redis::{Client, RedisError, Script, ScriptInvocation};
use scripts::{APPEND, HEADS, LOG, prefixed};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Batch, NewEvent, Outcome, RequestKey, Retention, Storage, StoredEvent};
use crate::ServiceError;

/// The most events that are read at once, whatever is asked for.
const MAX_PAGE: usize = 1000;

/// Keeps events in Redis.
///
/// The keys are those of django-eventstream's `RedisStorage`, so a Django site can append and read
/// while this server does. What it appends is two steps there; an event whose number is taken is
/// [waited for](Storage::is_late). Redis expires events by itself: [`trim`](Storage::trim) has
/// nothing to do.
///
/// Events are as durable as Redis is configured to be: by default it loses the last seconds, or
/// everything, when it ends. Who has seen what was lost is told with a stream-reset, and ids go on
/// from a number that none has reached before: microseconds since 1970, if everything is gone. That
/// needs an instance which has seen Redis before and after. Without one, and if only the last
/// seconds are gone, ids are used again, and who comes back with an id that has been reached again
/// is not told. Evicted events (`maxmemory-policy`) are gaps, and told; so is the loss of a
/// channel's counter.
///
/// One Redis server, or one with replicas; not a Redis Cluster. If the one that is connected to
/// says that it takes no writes, as after a fail-over, a new connection is made to the same
/// address.
pub struct RedisStorage {
    connection: Connection,
    heads: Script,
    append: Script,
    prefix: String,
    retention: Retention,
    /// The mark of the log that this one has found, and what its own begin with.
    mark: Mutex<String>,
    own_mark: String,
}

/// Its mark and floor, and how many of a channel's events after the floor are under their number
/// after it.
type Log = (Option<String>, Option<u64>, Option<u64>);

/// What scripts return: the mark of the log, and an id for each channel or event.
type Ids = (String, Vec<u64>);

/// The value of an event's key.
#[derive(Serialize, Deserialize)]
struct Value<T> {
    #[serde(rename = "type")]
    event_type: T,
    data: T,
    /// Django does not look at it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skip_user_ids: Vec<T>,
}

impl RedisStorage {
    /// Connects to the server with this URL (`redis://:password@host:port/database`). Events expire
    /// by `retention`.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood, or the server does not answer.
    pub async fn open(url: &str, retention: Retention) -> Result<Self, ServiceError> {
        Self::open_with_prefix(url, retention, "").await
    }

    /// As [`open`](Self::open), with names of keys that begin with this: several servers can then
    /// share a database, and none of them can share it with Django.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with_prefix(
        url: &str,
        retention: Retention,
        prefix: &str,
    ) -> Result<Self, ServiceError> {
        let client = Client::open(url).map_err(failed("understand the URL"))?;
        let connection = Connection::open(client).await.map_err(failed("connect"))?;
        let mut mark = [0; 16];
        getrandom::fill(&mut mark)
            .map_err(|error| ServiceError::new("begin", error.to_string()))?;
        let this = Self {
            connection,
            heads: Script::new(&[&prefixed(prefix), LOG, HEADS].concat()),
            append: Script::new(&[&prefixed(prefix), LOG, APPEND].concat()),
            prefix: prefix.to_owned(),
            retention,
            mark: Mutex::default(),
            own_mark: format!("{:032x}", u128::from_be_bytes(mark)),
        };
        this.ask_heads(&[]).await?;
        Ok(this)
    }

    /// Begins a script's arguments with what [`LOG`] needs.
    fn prepare<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        let floor = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        invocation.arg(&*self.mark()).arg(&self.own_mark).arg(floor.to_string());
        invocation
    }

    /// Asks where channels end, and settles in which log we are.
    async fn ask_heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        let mut heads = self.prepare(&self.heads);
        for channel in channels {
            heads.arg(channel);
        }
        let heads: Result<Ids, _> = self.connection.invoke(&heads).await;
        let (mark, heads) = heads.map_err(failed("read where channels end"))?;
        self.is_in(mark);
        Ok(heads)
    }

    /// An error, which may be one of the connection.
    fn failed(&self, operation: &'static str) -> impl Fn(RedisError) -> ServiceError {
        move |error| {
            self.connection.is_replaced(&error);
            failed(operation)(error)
        }
    }

    /// Reads those of these events that are the first ones of the log, and under the keys that
    /// Django has given them.
    async fn read_first(
        &self,
        channel: &str,
        (floor, count): (u64, u64),
        ids: &[u64],
        values: &mut [Option<String>],
    ) -> Result<(), ServiceError> {
        let first = |(id, value): (&u64, &mut Option<String>)| {
            value.is_none() && (floor + 1..=floor + count).contains(id)
        };
        let mut missing: Vec<_> = ids
            .iter()
            .zip(values)
            .filter_map(|(id, value)| first((id, value)).then_some((id, value)))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut read = redis::cmd("MGET");
        for (id, _) in &missing {
            read.arg(self.key(format_args!("event:{channel}:{}", *id - floor)));
        }
        let found: Result<Vec<Option<String>>, _> =
            read.query_async(&mut self.connection.get()).await;
        for ((_, value), found) in
            missing.iter_mut().zip(found.map_err(self.failed("read events"))?)
        {
            **value = found;
        }
        Ok(())
    }

    /// The name of a key.
    fn key(&self, name: impl Display) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Takes note of the log that there is.
    fn is_in(&self, mark: String) {
        let mut known = self.mark();
        if *known != mark {
            if !known.is_empty() {
                warn!("Redis has lost everything; ids go on from a number that none has reached");
            }
            *known = mark;
        }
    }

    fn mark(&self) -> MutexGuard<'_, String> {
        // A panic cannot leave half a mark.
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for RedisStorage {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        let mut outcomes = self.append_once(&[Batch { events, key: None }]).await?;
        match outcomes.pop() {
            Some(Outcome::Appended(ids)) => Ok(ids),
            _ => Err(ServiceError::new("append", "the answer is of no such form")),
        }
    }

    async fn append_once(&self, batches: &[Batch<'_>]) -> Result<Vec<Outcome>, ServiceError> {
        let mut append = self.prepare(&self.append);
        let expiry = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        // What Redis takes for a time at most is far more than anyone waits for.
        append.arg(expiry.clamp(1, 1 << 50)).arg(self.retention.events.unwrap_or(0));
        for batch in batches {
            append.arg(batch.key.map_or("", RequestKey::name));
            append.arg(batch.key.map(fingerprint).unwrap_or_default()).arg(batch.events.len());
            for event in batch.events {
                let skip_user_ids = event.skip_users.iter().map(String::as_str).collect();
                let value =
                    Value { event_type: &*event.event_type, data: &*event.data, skip_user_ids };
                append.arg(&*event.channel);
                append.arg(serde_json::to_string(&value).expect("strings are JSON"));
            }
        }
        let appended: Result<(String, Vec<String>), _> = self.connection.invoke(&append).await;
        let (mark, answers) = appended.map_err(failed("append"))?;
        self.is_in(mark);
        if answers.len() != batches.len() {
            return Err(ServiceError::new("append", "there is not an answer for each batch"));
        }
        let outcomes = batches.iter().zip(&answers).map(|(batch, answer)| {
            let malformed = || ServiceError::new("append", format!("{answer:?} is no answer"));
            outcome(batch, answer).ok_or_else(malformed)
        });
        outcomes.collect()
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        Ok(self.heads(&[channel]).await?[0])
    }

    async fn heads(&self, channels: &[&str]) -> Result<Vec<u64>, ServiceError> {
        if channels.is_empty() {
            return Ok(Vec::new());
        }
        self.ask_heads(channels).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let last = after.saturating_add(limit.min(MAX_PAGE) as u64);
        let ids: Vec<u64> = (after.saturating_add(1)..=last).collect();
        if ids.is_empty() || after == u64::MAX {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        pipe.cmd("HMGET").arg(self.key("sse_server:log")).arg("mark").arg("floor");
        pipe.arg(format!("first:{channel}"));
        // Before the events: what is there beyond it is left from a log that was lost.
        pipe.cmd("GET").arg(self.key(format_args!("event_counter:{channel}")));
        pipe.cmd("MGET");
        for id in &ids {
            pipe.arg(self.key(format_args!("event:{channel}:{id}")));
        }
        let read: Result<(Log, Option<u64>, Vec<Option<String>>), _> =
            pipe.query_async(&mut self.connection.get()).await;
        let ((mark, floor, first), head, mut values) = read.map_err(self.failed("read events"))?;
        if mark.as_ref() != Some(&*self.mark()) {
            // What was read may be of another log, which the caller would not notice.
            self.ask_heads(&[]).await?;
            return Ok(Vec::new());
        }
        let floor = floor.unwrap_or(0);
        if let Some(first) = first {
            self.read_first(channel, (floor, first), &ids, &mut values).await?;
        }
        let range = floor + 1..=head.unwrap_or(0);
        let known = ids.into_iter().zip(values).filter(|(id, _)| range.contains(id));
        let present = known.filter_map(|(id, value)| value.map(|value| (id, value)));
        let event = |(id, value): (u64, String)| match serde_json::from_str::<Value<String>>(&value)
        {
            Ok(value) => Some(
                StoredEvent::new(id, value.event_type, value.data).skip_users(value.skip_user_ids),
            ),
            // As good as missing: no later attempt would find anything else.
            Err(error) => {
                warn!(channel, id, %error, "a stored event cannot be understood");
                None
            }
        };
        Ok(present.filter_map(event).collect())
    }

    /// Redis does it. But now and then it is checked whether it still takes writes, for an
    /// instance that only reads.
    async fn trim(&self, _before: SystemTime, _limit: usize) -> Result<usize, ServiceError> {
        self.check_writing().await?;
        Ok(0)
    }

    /// Django takes a number, and stores the event with a second command.
    fn is_late(&self) -> bool {
        true
    }

    async fn begins(&self, _channel: &str) -> Result<u64, ServiceError> {
        let mut floor = redis::cmd("HGET");
        floor.arg(self.key("sse_server:log")).arg("floor");
        let floor = floor.query_async(&mut self.connection.get()).await;
        floor.map(Option::unwrap_or_default).map_err(self.failed("read where the log begins"))
    }

    async fn has_moved(&self) -> Result<bool, ServiceError> {
        self.connection.has_moved().await.map_err(self.failed("look for the server"))
    }

    async fn check_writing(&self) -> Result<(), ServiceError> {
        // It expires at once. A replica refuses it, and so does a Redis that is full.
        let mut write = redis::cmd("SET");
        write.arg(self.key("sse_server:probe")).arg("").arg("PX").arg(1);
        write.exec_async(&mut self.connection.get()).await.map_err(self.failed("write"))
    }

    /// Appending does it, by one key for each.
    async fn shorten(&self, _keep: u64, _limit: usize) -> Result<usize, ServiceError> {
        Ok(0)
    }
}

fn fingerprint(key: &RequestKey) -> String {
    key.fingerprint().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// What the script says about a batch.
fn outcome(batch: &Batch<'_>, answer: &str) -> Option<Outcome> {
    let (state, answer) = answer.split_once(':')?;
    let (print, ids) = answer.split_once(':')?;
    let ids = ids.split(',').filter(|id| !id.is_empty());
    let ids: Vec<u64> = ids.map(str::parse).collect::<Result<_, _>>().ok()?;
    match (state, batch.key) {
        ("new", _) => Some(Outcome::Appended(ids)),
        ("known", Some(key)) if print == fingerprint(key) => Some(Outcome::Known(ids)),
        ("known", Some(_)) => Some(Outcome::Reused),
        _ => None,
    }
}

fn failed(operation: &'static str) -> impl Fn(RedisError) -> ServiceError + Copy {
    move |error| ServiceError::new(operation, error)
}

impl std::fmt::Debug for RedisStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStorage").field("retention", &self.retention).finish_non_exhaustive()
    }
}
