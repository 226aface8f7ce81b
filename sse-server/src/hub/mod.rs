//! Channels, who reads them, and what they have read.
//!
//! Every channel is an append-only log with dense ids 1, 2, 3 …; a subscriber is one position per
//! channel and nothing else. Delivering is reading forward from the position: from the end of the
//! log that is kept in memory, or, if that does not reach back far enough, from storage, in pages.
//! Replay and live delivery are the same code, so there is no moment between them in which an event
//! could be lost, repeated or overtaken.
//!
//! ```text
//!   POST /publish/                            http::publishing
//!        │ Hub::submit
//!        ▼
//!   publish: one task for all publishers
//!        │ 1. Storage::append                 durable: group commit
//!        │ 2. render, Log::append             visible: encoded once, in the order of ids
//!        │ 3. Announcer ──► relay ──► others  told
//!        ▼
//!   Log "a"   … 4 5 6 7 8 9                   the tail; what came before is in storage
//!                   ▲     ▲
//!                   │     └── Subscriber a:9    a cursor: one position per channel, no queue
//!                   └──────── Subscriber a:6
//!                                │ poll_deliver   woken by a Signal, reads forward: 7 8 9
//!                                ▼
//!                             Outgoing            shared bytes, and the reader's own between them
//!                                │
//!                                ▼
//!                             OpenStream ──► the socket      http::streams, http::server
//!
//!   relay ──► follow: a hint ──► Storage::read from the log's end ──► Log::append
//! ```
//!
//! Read along an event's way: [`publish`], [`log`], [`subscriber`], [`outgoing`]; then
//! `http::streams::stream` and `http::server::connection::direct`, which writes.
//!
//! Events become visible in one place and in one order: after [`Storage::append`] has returned, by
//! the task in [`publish`]. What a reader has seen is therefore stored.
//!
//! Other processes may append to the same storage; [`follow`] notices, told by a relay or by
//! looking.
//!
//! May enter: storage, relay. May not: HTTP, SQL; but what a subscriber hands out is the wire's
//! bytes, framed if its caller wants that, because an event is encoded once, when it becomes
//! visible.

mod allowed;
mod announce;
mod carried;
mod config;
mod crowd;
mod event;
mod filter;
mod follow;
mod health;
mod late;
mod log;
mod memory;
mod moved;
mod outgoing;
mod pages;
mod pieces;
mod publish;
mod subscriber;
mod wake;

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sse_proto::Cursor;
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::AbortHandle;

use crate::ServiceError;
use crate::relay::Relay;
use crate::seams::HashMap;
use crate::seldom::Seldom;
use crate::storage::{NewEvent, RequestKey, Storage};
pub(crate) use allowed::{
    MAX_CHANNEL_NAME, MAX_EVENT_LEN, MAX_USER, NotAllowed, check_content, check_place,
};
use announce::Announcer;
pub(crate) use carried::Tap;
#[cfg(feature = "server")]
pub(crate) use carried::{Carried, Follower};
pub use config::HubConfig;
use config::Reliable;
#[cfg(feature = "server")]
pub(crate) use crowd::put_chunk;
#[cfg(any(feature = "server", feature = "simulation"))]
pub(crate) use crowd::{Chunks, Crowd};
pub use filter::Types;
use follow::Hints;
pub use health::Unready;
use health::{Tasks, Writing};
use log::{Log, Signal};
use memory::Memory;
use moved::Moves;
pub use outgoing::{Framing, Outgoing};
use pages::Pages;
use pieces::Remembered;
use publish::Request;
pub use publish::{PublishError, PublishThread, Submitted};
use subscriber::Position;
pub(crate) use subscriber::Tally;
pub use subscriber::{Delivery, Subscriber};
#[cfg(any(feature = "server", feature = "simulation"))]
pub(crate) use wake::Bell;
#[cfg(feature = "server")]
pub(crate) use wake::{Inbox, Remote};

/// How many events a subscriber of one channel reads at a time; with more channels each gets its
/// share.
pub const PAGE: usize = 100;

/// The channels of one server process. Cloning gives another handle to the same ones.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    moves: Moves,
    /// Which channels are stored. None: all.
    reliable: Option<Reliable>,
    /// The logs of the channels that are being read. The others need no memory.
    logs: Mutex<HashMap<Arc<str>, Arc<Log>>>,
    /// What their tails take.
    memory: Arc<Memory>,
    /// What readers are within.
    remembered: Remembered,
    /// What they have replayed just now.
    pages: Pages,
    /// The channels that others have published to, perhaps.
    hints: Arc<Hints>,
    /// Tells other instances, if there is a relay.
    announcer: Option<Announcer>,
    relay: Option<Arc<dyn Relay>>,
    /// The most bytes of an event that comes over the relay.
    max_event_len: usize,
    /// Counts events from the relay that no publisher may send.
    refused: Seldom,
    /// What other instances say about other things than events.
    notices: broadcast::Sender<RelayNotice>,
    /// The relay has been connected, once at least.
    was_connected: AtomicBool,
    tasks: Tasks,
    publish_thread: Option<PublishThread>,
    writing: Arc<Writing>,
    is_closed: AtomicBool,
    closing: Notify,
    /// Who is told of what is published here.
    tap: OnceLock<Tap>,
}

/// How many notices may wait to be heard.
const NOTICES: usize = 256;

/// What comes over the relay and is not about events.
#[derive(Clone, Debug)]
pub(crate) enum RelayNotice {
    /// From now on notices arrive. Any number may have been missed before.
    Connected,
    /// Another instance has said this.
    Notice(Arc<str>),
}

impl Hub {
    /// A hub over this storage, without a relay. Must be called in a Tokio runtime: publishing is a
    /// task of its own.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self::with_config(storage, HubConfig::default())
    }

    /// A hub over this storage, one of several. Must be called in a Tokio runtime.
    pub fn with_config(storage: Arc<dyn Storage>, config: HubConfig) -> Self {
        let tasks = Tasks::default();
        let announcer = config.relay.clone().map(|relay| Announcer::start(relay, &tasks));
        let shared = Arc::new(Shared {
            moves: Moves::default(),
            storage,
            reliable: config.reliable.clone(),
            logs: Mutex::default(),
            memory: Arc::new(Memory::new(config.memory)),
            remembered: Remembered::default(),
            pages: Pages::default(),
            hints: Arc::default(),
            announcer,
            relay: config.relay.clone(),
            max_event_len: config.max_event_len,
            refused: Seldom::default(),
            notices: broadcast::Sender::new(NOTICES),
            was_connected: AtomicBool::new(false),
            tasks,
            publish_thread: config.publish_thread,
            writing: Arc::default(),
            is_closed: AtomicBool::new(false),
            closing: Notify::new(),
            tap: OnceLock::new(),
        });
        follow::start(&shared, config.relay, config.refresh);
        memory::start(&shared, config.memory_age);
        let requests = publish::start(shared.clone());
        Self { shared, requests }
    }

    /// Appends events and makes them visible, all or none, and returns their ids in the same order.
    ///
    /// When this returns the events are stored as durably as the storage promises, and readers are
    /// being woken. Dropping the future does not take the events back. If nothing is stored, every
    /// id is 0.
    ///
    /// # Errors
    ///
    /// If the storage fails; nothing has been published then, and the caller can try again. (With a
    /// database, it can be that the answer was lost, not the events; they are then published.) Or
    /// if it refuses an event for good.
    pub async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<u64>, PublishError> {
        self.submit(events, None).await?.await
    }

    /// As [`publish`](Self::publish), but returns once the events have their place in the order;
    /// the answer comes later. Waits if too many are on their way already.
    ///
    /// With a key they are published once: if they were before, under the same key, on any instance
    /// that has the same storage, the answer is that of the first time. Keys are kept as long as
    /// events.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), now or later; and if the key is that of another request.
    pub async fn submit(
        &self,
        events: Vec<NewEvent>,
        key: Option<RequestKey>,
    ) -> Result<Submitted, PublishError> {
        publish::send(&self.shared, &self.requests, events, key).await
    }

    /// Subscribes to these channels, which must be distinct, from the positions in `resume`. A
    /// channel that `resume` does not list is read from now on: everything that is published after
    /// this has returned is delivered.
    ///
    /// # Errors
    ///
    /// If the storage cannot tell where a channel ends.
    pub async fn subscribe(
        &self,
        channels: &[Arc<str>],
        resume: &Cursor<'_>,
    ) -> Result<Subscriber, ServiceError> {
        let mut subscriber = Subscriber::new(self.shared.clone(), channels);
        for channel in channels {
            let log = self.shared.join(channel, &mut subscriber);
            let position = self.shared.place(log, resume.position(channel)).await?;
            subscriber.start(position);
        }
        Ok(subscriber)
    }

    /// How many channels are being read.
    pub fn channels(&self) -> usize {
        self.shared.logs().len()
    }

    /// How many bytes of events are kept in memory.
    pub fn memory(&self) -> usize {
        self.shared.memory.bytes()
    }

    /// The channels that are being read here, in no order, and by how many subscribers each.
    pub fn readers(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.logs().values().map(|log| (log.name().clone(), log.readers())).collect()
    }

    /// Whether the hub can do its work: its tasks run, the storage answers a small question, and
    /// appending works as far as is known. If there has been no append for a while, the storage is
    /// asked to write something, at most every ten seconds.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub async fn check(&self) -> Result<(), Unready> {
        let Shared { storage, writing, .. } = &*self.shared;
        self.check_tasks()?;
        let unreadable = |error| Unready::Reading(Arc::new(error));
        storage.head("").await.map_err(unreadable)?;
        if mutant!("writing-never-checked") {
            return Ok(());
        }
        writing.check(storage).await.map_err(Unready::Writing)
    }

    /// Whether the hub's tasks run. If one has ended, nothing but a new process helps.
    ///
    /// # Errors
    ///
    /// Which has ended; or that the hub was closed.
    pub fn check_tasks(&self) -> Result<(), Unready> {
        if self.is_closed() {
            return Err(Unready::Closed);
        }
        self.shared.tasks.ended().map_or(Ok(()), |name| Err(Unready::TaskEnded(name)))
    }

    /// Counts a task to the hub's own, which have to run as long as it does.
    pub fn depends_on(&self, name: &'static str, task: AbortHandle) {
        self.shared.tasks.add(name, task);
    }

    /// The thread on which it appends, if that is not a task like others.
    pub(crate) fn publish_thread(&self) -> Option<&PublishThread> {
        self.shared.publish_thread.as_ref()
    }

    /// Whether there is a relay to other instances.
    pub(crate) fn has_relay(&self) -> bool {
        self.shared.relay.is_some()
    }

    /// Whether what this instance says comes back to it.
    pub(crate) fn relay_echoes(&self) -> bool {
        self.shared.relay.as_ref().is_some_and(|relay| relay.echoes())
    }

    /// Says something to all other instances that can hear now.
    pub(crate) async fn send_notice(&self, notice: &str) -> Result<(), ServiceError> {
        match &self.shared.relay {
            Some(relay) => relay.send_notice(notice).await,
            None => Ok(()),
        }
    }

    /// What other instances say from now on, and whether the relay was connected before.
    pub(crate) fn notices(&self) -> (broadcast::Receiver<RelayNotice>, bool) {
        let notices = self.shared.notices.subscribe();
        (notices, self.shared.was_connected.load(Ordering::SeqCst))
    }

    /// Ends all subscriptions, present and future: each is told so when it has had what was
    /// published before, as far as that is in memory.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.closing.notify_waiters();
        if !mutant!("closed-without-a-word") {
            self.shared.logs().values().for_each(|log| log.wake_all());
        }
    }

    /// Waits until other instances have been told of everything that was published here; at most
    /// 2 s, for the relay may hang. For the end of a process.
    pub async fn told(&self) {
        if let Some(announcer) = &self.shared.announcer {
            announcer.all_told().await;
        }
    }

    /// Waits until [`close`](Self::close) is called.
    pub async fn closed(&self) {
        let mut closing = std::pin::pin!(self.shared.closing.notified());
        // Before the look, so that nothing is missed between the two.
        closing.as_mut().enable();
        if !self.is_closed() {
            closing.await;
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl Shared {
    /// The log of a channel, if somebody reads it.
    fn log(&self, channel: &str) -> Option<Arc<Log>> {
        self.logs().get(channel).cloned()
    }

    /// Adds a subscriber to the readers of a channel. The first one makes the log.
    ///
    /// Joining and leaving hold the lock on the logs, so that no log is forgotten while it is
    /// joined.
    fn join(&self, channel: &Arc<str>, subscriber: &mut Subscriber) -> Arc<Log> {
        let (log, place) = self.join_log(channel, subscriber.signal());
        subscriber.joined(log.clone(), place);
        log
    }

    /// The same for a task that is woken by this signal. Returned is its place in the log.
    fn join_log(&self, channel: &Arc<str>, signal: Arc<Signal>) -> (Arc<Log>, usize) {
        let mut logs = self.logs();
        let log = logs.entry(channel.clone()).or_insert_with(|| {
            Arc::new(Log::new(channel.clone(), self.is_lasting(channel), &self.memory))
        });
        (log.clone(), log.join(signal))
    }

    /// The position to start from in a log.
    async fn place(&self, log: Arc<Log>, resume: Option<u64>) -> Result<Position, ServiceError> {
        if !log.is_lasting() {
            log.learn_head(0);
            return Ok(Position::new(log, None));
        }
        if log.head().is_none() {
            log.learn_head(self.storage.head(log.name()).await?);
        }
        let mut position = Position::new(log, resume);
        if position.is_unknown() {
            // Perhaps another instance has shown them what this one has not heard of yet.
            let head = self.head_from(position.channel(), position.at().id).await?;
            position.check(head, &self.hints);
        }
        Ok(position)
    }

    /// Removes a subscriber from the readers of a channel. The last one takes the log with it.
    fn leave(&self, log: &Log, place: usize) {
        let mut logs = self.logs();
        if let Entry::Occupied(entry) = logs.entry(log.name().clone())
            && !log.leave(place)
        {
            entry.remove();
        }
    }

    /// Whether the events of this channel are stored.
    fn is_lasting(&self, channel: &str) -> bool {
        let is_reliable = self.reliable.as_ref().is_none_or(|is_reliable| is_reliable(channel));
        is_reliable && self.storage.is_lasting()
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn logs(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Log>>> {
        // A panic between two changes leaves a map that is still in order.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("channels", &self.logs().len()).finish_non_exhaustive()
    }
}
