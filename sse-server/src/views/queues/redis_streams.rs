//! Redis streams: logs that Redis keeps, with ids of its own.
//!
//! One connection waits for all streams that are read; what is there is read by a script, which
//! also says whether something is gone, in one step.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, Script, Value};
use serde_json::Map;
use tokio::time::timeout;
use tracing::info;

use super::feed::Feed;
use super::feeds::{Feeds, apply};
use super::payload::{Message, Payload};
use super::position::{Notation, Position};
use super::reader::Page;
use super::{QueueError, Source};
use crate::ServiceError;
use crate::services::redis::{Sender, connect_directly, failed, is_forbidden, moved_from};

/// How many entries are read at once.
const PAGE: usize = 128;

/// How long a request waits for new entries, if nobody ends it.
const BLOCK: Duration = Duration::from_secs(1);

/// After how long one that does not wait yet is to be ended again.
const AGAIN: Duration = Duration::from_millis(5);

/// Reads a stream after an id, or only where it ends, if there is none.
///
/// Whether anything after the id is gone: entries go from the front, by trimming. So nothing is
/// missing if the entry with this id is still there, or is the last that there ever was; or if as
/// many entries are there as were added since, which Redis counts from version 7 on. Else something
/// has gone that came after, or the id is of another stream of this name.
///
/// `ARGV`: the id; how many entries to read; how many had been added when the entry with this id
/// was, if that is known.
const READ: &str = "
    local kind = redis.call('TYPE', KEYS[1]).ok
    local info = {}
    if kind == 'stream' then
        local list = redis.call('XINFO', 'STREAM', KEYS[1])
        for i = 1, #list, 2 do info[list[i]] = list[i + 1] end
    elseif kind ~= 'none' then
        return {2, '0-0', '', {}}
    end
    local after, last = ARGV[1], info['last-generated-id'] or '0-0'
    local added = kind == 'none' and 0 or info['entries-added']
    local told = added and string.format('%.0f', added) or ''
    if after == '' then
        return {0, last, told, {}}
    end
    local before = tonumber(after == '0-0' and '0' or ARGV[3])
    local is_whole = after == last or #redis.call('XRANGE', KEYS[1], after, after) == 1
        or added and before and added - before == (info['length'] or 0)
    if not is_whole then
        return {1, last, told, {}}
    end
    local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', ARGV[2])
    if #entries == tonumber(ARGV[2]) then
        -- Others may follow.
        told = ''
    end
    return {0, last, told, entries}";

/// An entry as Redis tells it: its id, and names and values in turn.
type Entry = (String, Vec<Vec<u8>>);

pub(super) struct RedisStreams {
    client: Client,
    sender: Sender,
    read: Script,
    max_len: Option<usize>,
}

/// What a script has read.
struct Read {
    has_gap: bool,
    last: Position,
    /// How many entries had been added when the last one of these was; empty if unknown.
    added: String,
    entries: Vec<Entry>,
}

/// How many entries of each stream had been added when the last one was that is known.
type Added = HashMap<Arc<str>, String>;

/// Why a stream cannot be read.
enum ReadError {
    /// Nor will it be.
    Refused(QueueError),
    Lost(ServiceError),
}

impl RedisStreams {
    pub(super) async fn open(url: &str, max_len: Option<usize>) -> Result<Self, ServiceError> {
        let client = Client::open(url).map_err(failed("understand the URL"))?;
        let sender = Sender::open(&client).await?;
        Ok(Self { client, sender, read: Script::new(READ), max_len })
    }

    async fn read(
        &self,
        redis: &mut (impl ConnectionLike + Send),
        name: &str,
        after: Option<Position>,
        added: &str,
    ) -> Result<Read, ReadError> {
        let after = after.map(|after| Notation::Entry.write(after)).unwrap_or_default();
        let mut script = self.read.key(name);
        let read = script.arg(after).arg(PAGE).arg(added).invoke_async(redis).await;
        let (status, last, added, entries): (u8, String, String, Vec<Entry>) =
            read.map_err(|error| {
                let error = failed("read a stream")(error);
                if is_forbidden(&error) {
                    ReadError::Refused(QueueError::Forbidden)
                } else {
                    ReadError::Lost(error)
                }
            })?;
        if status == 2 {
            let text = format!("{name:?} is a key of Redis, but no stream");
            return Err(ReadError::Refused(QueueError::NotFound(text)));
        }
        let last = Notation::Entry.read(&last).ok_or_else(odd)?;
        Ok(Read { has_gap: status == 1, last, added, entries })
    }

    /// Hands over what is new in a stream, or finds out where it ends, if it is read for the first
    /// time.
    async fn advance(
        &self,
        redis: &mut MultiplexedConnection,
        feeds: &Feeds,
        feed: &Arc<Feed>,
        added: &mut Added,
    ) -> Result<(), ServiceError> {
        loop {
            let after = feed.has_been_open().then(|| feed.end().1);
            let before = added.get(&feed.name).map_or("", |added| added);
            let read = match self.read(redis, &feed.name, after, before).await {
                Ok(read) => read,
                Err(ReadError::Refused(error)) => {
                    feeds.refuse(feed, error);
                    return Ok(());
                }
                Err(ReadError::Lost(error)) => return Err(error),
            };
            added.insert(feed.name.clone(), read.added);
            if read.has_gap {
                feed.reset(Notation::Entry, Some(read.last));
            }
            let count = read.entries.len();
            for (id, fields) in read.entries {
                let at = Notation::Entry.read(&id).ok_or_else(odd)?;
                feeds.receive(feed, Some(at), |payload| message(payload, fields));
            }
            if count < PAGE {
                feed.opened(Notation::Entry, after.is_none().then_some(read.last), true);
                return Ok(());
            }
        }
    }

    async fn follow_once(&self, feeds: &Feeds) -> Result<Infallible, ServiceError> {
        let mut moved = moved_from(&self.client).await?;
        let mut waiting = connect_directly(&self.client, BLOCK).await?;
        let mut asking = connect_directly(&self.client, Duration::ZERO).await?;
        let mut id = redis::cmd("CLIENT");
        let id: u64 = id.arg("ID").query_async(&mut waiting).await.map_err(failed("connect"))?;
        self.sender.renew(&self.client)?;
        info!("connected to the Redis streams");
        let mut followed: HashMap<Arc<str>, Arc<Feed>> = HashMap::new();
        let mut added = Added::new();
        let mut changes = Vec::new();
        loop {
            let (new, gone) = apply(&mut followed, std::mem::take(&mut changes));
            for name in gone {
                added.remove(&name);
            }
            for feed in new {
                // Of another one of this name it says nothing.
                added.remove(&feed.name);
                self.advance(&mut asking, feeds, &feed, &mut added).await?;
            }
            followed.retain(|_, feed| !feed.is_refused());
            if followed.is_empty() {
                changes = tokio::select! {
                    changes = feeds.changes() => changes,
                    error = &mut moved => return Err(error),
                };
                continue;
            }
            let news = {
                let mut news = pin!(wait(&mut waiting, &followed));
                tokio::select! {
                    news = &mut news => news?,
                    error = &mut moved => return Err(error),
                    more = feeds.changes() => {
                        changes = more;
                        // It is another request then.
                        loop {
                            let mut unblock = redis::cmd("CLIENT");
                            unblock.arg("UNBLOCK").arg(id);
                            // If that is not allowed, it ends by itself.
                            unblock.exec_async(&mut asking).await.ok();
                            if let Ok(news) = timeout(AGAIN, &mut news).await {
                                break news?;
                            }
                        }
                    }
                }
            };
            for name in news {
                if let Some(feed) = followed.get(&*name) {
                    self.advance(&mut asking, feeds, feed, &mut added).await?;
                }
            }
        }
    }
}

/// Waits until there is something new in any of these, and says in which.
async fn wait(
    redis: &mut MultiplexedConnection,
    followed: &HashMap<Arc<str>, Arc<Feed>>,
) -> Result<Vec<String>, ServiceError> {
    let mut read = redis::cmd("XREAD");
    read.arg("COUNT").arg(1).arg("BLOCK").arg(BLOCK.as_millis().to_string()).arg("STREAMS");
    let feeds: Vec<&Arc<Feed>> = followed.values().collect();
    for feed in &feeds {
        read.arg(&*feed.name);
    }
    for feed in &feeds {
        read.arg(Notation::Entry.write(feed.end().1));
    }
    let news: Option<Vec<(String, Value)>> =
        read.query_async(redis).await.map_err(failed("wait for entries"))?;
    Ok(news.unwrap_or_default().into_iter().map(|(name, _)| name).collect())
}

/// What an entry says: its field `data`, of the type in its field `event`; or all of it, as JSON.
fn message(payload: Payload, fields: Vec<Vec<u8>>) -> Result<Message, String> {
    let mut fields = fields.into_iter();
    let mut named = Vec::with_capacity(fields.len() / 2);
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        named.push((String::from_utf8_lossy(&name).into_owned(), value));
    }
    let of = |wanted: &str| named.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let event_type = of("event").map(|name| text(name));
    if let Some(data) = of("data") {
        return payload.read(data, event_type);
    }
    let all: Map<String, serde_json::Value> =
        named.iter().map(|(name, value)| (name.clone(), text(value).into())).collect();
    let data = serde_json::Value::from(all).to_string();
    Ok(Message { event_type: None, data })
}

fn odd() -> ServiceError {
    ServiceError::new("read a stream", "an id that is none")
}

impl From<ServiceError> for ReadError {
    fn from(error: ServiceError) -> Self {
        Self::Lost(error)
    }
}

#[async_trait]
impl Source for RedisStreams {
    fn kind(&self) -> &'static str {
        "Redis streams"
    }

    fn notation(&self) -> Notation {
        Notation::Entry
    }

    async fn follow(&self, feeds: &Feeds) -> ServiceError {
        let Err(error) = self.follow_once(feeds).await;
        error
    }

    async fn send(
        &self,
        channel: &str,
        payload: Payload,
        message: &Message,
    ) -> Result<Option<Position>, QueueError> {
        let mut add = redis::cmd("XADD");
        add.arg(channel);
        if let Some(max_len) = self.max_len {
            add.arg("MAXLEN").arg("~").arg(max_len);
        }
        add.arg("*");
        if let Some(event_type) = &message.event_type {
            add.arg("event").arg(event_type);
        }
        add.arg("data").arg(payload.write(message, true)?);
        let added = add.query_async(&mut self.sender.get()).await;
        let id: String = added.map_err(failed("add to a stream"))?;
        Ok(Notation::Entry.read(&id))
    }

    fn has_history(&self) -> bool {
        true
    }

    async fn history(
        &self,
        feeds: &Feeds,
        channel: &str,
        after: Position,
    ) -> Result<Page, ServiceError> {
        let read = match self.read(&mut self.sender.get(), channel, Some(after), "").await {
            Ok(read) => read,
            // The channel itself is told of it.
            Err(ReadError::Refused(_)) => return Ok(Page::gap()),
            Err(ReadError::Lost(error)) => return Err(error),
        };
        if read.has_gap {
            return Ok(Page::gap());
        }
        let mut page = Page::default();
        for (id, fields) in read.entries {
            let at = Notation::Entry.read(&id).ok_or_else(odd)?;
            page.add(feeds, at, |payload| message(payload, fields));
        }
        Ok(page)
    }
}
