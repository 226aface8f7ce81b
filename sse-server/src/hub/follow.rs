//! Noticing what others have published: by a hint from the relay, or by looking.
//!
//! Nothing here is believed that the storage does not confirm (what it does not confirm yet is
//! [waited for](super::late)). A hint, a relay that is connected
//! again, the clock, an own event that came after others': each is only a reason to read the
//! storage. What is new is read once and becomes visible to all readers as if it had been published
//! here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::late::Wait;
use super::log::{Appended, Log};
use super::publish::{render, render_live, render_stored};
use super::{NotAllowed, PAGE, RelayNotice, Shared, check_content, check_place};
use crate::ServiceError;
use crate::relay::{Message, News, Relay};
use crate::seams::HashMap;

/// How many messages may wait to be read.
const QUEUE: usize = 1024;

/// How many channels are read from the storage at the same time.
const PARALLEL: usize = 4;

/// How many channels' heads are asked for in one question.
const HEADS: usize = 500;

/// A log that is further behind than this is not caught up with in memory: its readers read the
/// storage.
const FAR: u64 = 500;

/// How long to wait before storage that has failed is read again.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// Channels that may have news in the storage.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// For each the id that is said to exist.
    channels: Mutex<HashMap<Arc<str>, Hint>>,
    /// Any of them, for it is not known what was missed.
    all: AtomicBool,
    added: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hint {
    /// There is said to be an event with this id.
    head: u64,
    /// There may be fewer events than there were, or others.
    is_shorter: bool,
    /// It was looked at, and an event is not there yet.
    wait: Option<Wait>,
}

impl Hints {
    pub(super) fn add(&self, channel: &Arc<str>, head: u64, is_shorter: bool) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = channels.entry(channel.clone()).or_default();
        known.head = known.head.max(head);
        known.is_shorter |= is_shorter;
        // Now, although it may have to wait on.
        known.wait.iter_mut().for_each(|wait| wait.due = Instant::now());
        drop(channels);
        self.added.notify_one();
    }

    /// Keeps a hint that came to nothing yet.
    fn wait(&self, channel: &Arc<str>, hint: Hint) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let known = channels.entry(channel.clone()).or_default();
        known.head = known.head.max(hint.head);
        known.wait = known.wait.or(hint.wait);
    }

    /// Completes when a hint that waits is to be looked at again; never, if there is none.
    async fn due(&self) {
        let due = {
            let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
            channels.values().filter_map(|hint| hint.wait).map(|wait| wait.due).min()
        };
        match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn add_all(&self) {
        self.all.store(true, Ordering::SeqCst);
        self.added.notify_one();
    }

    /// Those that are to be looked at now.
    fn take(&self) -> HashMap<Arc<str>, Hint> {
        let now = Instant::now();
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.extract_if(|_, hint| hint.wait.is_none_or(|wait| wait.due <= now)).collect()
    }
}

/// Starts the tasks that follow what others do. They end when the hub is gone.
pub(super) fn start(shared: &Arc<Shared>, relay: Option<Arc<dyn Relay>>, refresh: Duration) {
    let listening = relay.map(|relay| start_listening(shared, relay));
    let hub = shared;
    let shared = Arc::downgrade(hub);
    let following = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(refresh);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_failing = false;
        // Upgraded for each round only, so that this task does not keep the hub alive.
        while let Some(hints) = shared.upgrade().map(|shared| shared.hints.clone()) {
            let mut look_at_all = false;
            tokio::select! {
                biased;
                _ = ticks.tick() => look_at_all = !mutant!("heads-never-compared"),
                () = hints.added.notified() => {}
                () = hints.due() => {}
            }
            let Some(shared) = shared.upgrade() else { break };
            look_at_all |= hints.all.swap(false, Ordering::SeqCst);
            let looked = shared.look(look_at_all).await;
            report(&looked, &mut was_failing);
            if looked.is_err() {
                if look_at_all {
                    hints.add_all();
                }
                drop(shared);
                tokio::time::sleep(STORAGE_PAUSE).await;
            }
        }
        if let Some(listening) = listening {
            listening.abort();
        }
    });
    hub.tasks.add("following others", following.abort_handle());
}

/// Starts the task that takes in what the relay brings. It never waits for the storage, so that
/// notices are heard at once.
fn start_listening(shared: &Arc<Shared>, relay: Arc<dyn Relay>) -> JoinHandle<()> {
    let (sender, mut news) = mpsc::channel(QUEUE);
    let receiving = tokio::spawn(async move { relay.receive(sender).await });
    let hub = shared;
    let shared = Arc::downgrade(hub);
    let listening = tokio::spawn(async move {
        while let Some(news) = news.recv().await {
            let Some(shared) = shared.upgrade() else { return };
            match news {
                News::Connected => {
                    if !mutant!("connection-means-nothing") {
                        shared.hints.add_all();
                    }
                    shared.was_connected.store(true, Ordering::SeqCst);
                    // Without rules there is no receiver.
                    shared.notices.send(RelayNotice::Connected).ok();
                }
                News::Message(message) => shared.hear(message),
                News::Notice(text) => {
                    shared.notices.send(RelayNotice::Notice(text.into())).ok();
                }
            }
        }
    });
    hub.tasks.add("receiving from the relay", receiving.abort_handle());
    hub.tasks.add("listening to the relay", listening.abort_handle());
    listening
}

impl Shared {
    /// Takes in a message of the relay.
    fn hear(&self, message: Message) {
        let Some(log) = self.log(&message.channel) else { return };
        if let Some(id) = message.id.filter(|_| mutant!("hint-taken-for-the-event")) {
            log.learn_head(id);
        }
        match (message.id, message.event) {
            (Some(id), event) if log.is_lasting() => {
                // Another one than that with its number: ids have begun anew.
                let is_stranger = event.is_some_and(|(event_type, data)| {
                    let users = &message.skip_users;
                    log.is_stranger(id, || render(log.name(), id, &event_type, &data, users))
                });
                if !mutant!("hint-ignored") {
                    self.hints.add(log.name(), id, is_stranger);
                }
            }
            // Not stored here or anywhere: now or never.
            (_, Some((event_type, data))) => {
                let users = &message.skip_users;
                let is_known = message.is_trusted || !log.is_lasting();
                match self.check(log.name(), &event_type, &data, users) {
                    Ok(()) if mutant!("unstored-not-shown") => {}
                    Ok(()) if is_known => {
                        let event = render_live(&event_type, &data, users);
                        if mutant!("unstored-twice") {
                            log.append_live(event.clone());
                        }
                        log.append_live(event);
                    }
                    Ok(()) => self.refused_from_relay("it has no id and is not signed"),
                    Err(why) => self.refused_from_relay(&why.to_string()),
                }
            }
            (_, None) => {}
        }
    }

    /// Whether an event that came over the relay is one that a publisher could have sent.
    fn check(
        &self,
        channel: &str,
        event_type: &str,
        data: &str,
        skip_users: &[String],
    ) -> Result<(), NotAllowed> {
        check_place(channel, event_type)?;
        check_content(event_type, data, skip_users, self.max_event_len)
    }

    fn refused_from_relay(&self, why: &str) {
        if let Some(times) = self.refused.happened() {
            warn!(why, times, "an event from the relay is not shown to readers");
        }
    }

    /// Looks at the channels that are suspect, or at all.
    async fn look(&self, at_all: bool) -> Result<(), ServiceError> {
        if !self.storage.is_lasting() {
            return Ok(());
        }
        if at_all {
            self.look_for_move().await;
            self.look_at_heads().await?;
        }
        let hints = self.hints.take();
        let looks = hints.into_iter().filter_map(|(channel, hint)| {
            let log = self.log(&channel)?;
            Some(async move {
                let result = self.catch_up(&log, hint).await;
                match result {
                    Ok(None) => {}
                    Ok(wait) => self.hints.wait(&channel, Hint { wait, ..hint }),
                    Err(_) if mutant!("hint-lost-by-a-failure") => {}
                    Err(_) => self.hints.add(&channel, hint.head, hint.is_shorter),
                }
                result.map(drop)
            })
        });
        let results: Vec<_> = stream::iter(looks).buffer_unordered(PARALLEL).collect().await;
        results.into_iter().collect()
    }

    /// Compares where each log ends with what the storage says.
    async fn look_at_heads(&self) -> Result<(), ServiceError> {
        let logs = self.logs().values().filter(|log| log.is_lasting()).cloned().collect::<Vec<_>>();
        for logs in logs.chunks(HEADS) {
            // Before the question: what was visible then has to be in the answer.
            let known: Vec<_> = logs.iter().map(|log| log.head()).collect();
            let names: Vec<&str> = logs.iter().map(|log| &**log.name()).collect();
            let heads = self.storage.heads(&names).await?;
            for ((log, known), head) in logs.iter().zip(known).zip(heads) {
                if known.is_some_and(|known| known != head) {
                    self.hints.add(log.name(), head, known > Some(head));
                }
            }
        }
        Ok(())
    }

    /// Makes visible what is new in a channel. Returned is what has to be waited for.
    async fn catch_up(&self, log: &Log, mut hint: Hint) -> Result<Option<Wait>, ServiceError> {
        let name = log.name();
        // A reader that has just joined is about to ask too; its answer may be from before the
        // hint.
        let Some(known) = log.head() else {
            log.learn_head(self.storage.head(name).await?);
            return Ok(None);
        };
        if hint.is_shorter {
            let head = self.head_from(name, known).await?;
            if head < known {
                lost(log, head, false);
                return Ok(None);
            }
            hint.head = hint.head.max(head);
        }
        while let Some(at) = log.head()
            && at < hint.head
        {
            if hint.head - at > FAR {
                let head = self.storage.head(name).await?;
                if self.has_begun_anew(log, at).await? {
                    continue;
                }
                if head.saturating_sub(at) > FAR {
                    log.learn_head(head);
                    return Ok(None);
                }
            }
            let events = self.storage.read(name, at, PAGE).await?;
            let dense = events.iter().zip(at + 1..).take_while(|(event, id)| event.id == *id);
            let mut is_next = false;
            for (event, id) in dense {
                is_next = true;
                if log.append(id, render_stored(name, id, event)) == Appended::AfterOthers {
                    break;
                }
            }
            if !is_next {
                // Not visible yet, or no longer there. That the storage may have moved is thought
                // of once.
                let seen = if hint.wait.is_none() { hint.head } else { at };
                let head = self.head_from(name, seen).await?;
                if head < at {
                    lost(log, head, false);
                    return Ok(None);
                }
                if head > at && self.has_begun_anew(log, at).await? {
                    continue;
                }
                if (head == at || self.storage.is_late()) && !mutant!("late-is-gone") {
                    let wait = Wait::for_event(at + 1, hint.wait);
                    if wait.is_some() {
                        return Ok(wait);
                    }
                }
                if head > at {
                    log.learn_head(head);
                }
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Whether the storage has lost everything since a log was at this id. Then readers are told,
    /// and get all that has come since.
    async fn has_begun_anew(&self, log: &Log, at: u64) -> Result<bool, ServiceError> {
        if mutant!("loss-not-looked-for") {
            return Ok(false);
        }
        let base = self.storage.begins(log.name()).await?;
        if base > at {
            lost(log, base, true);
        }
        Ok(base > at)
    }
}

/// The storage has fewer events than were seen: it was emptied, or restored from a backup.
fn lost(log: &Log, head: u64, goes_on: bool) {
    warn!(channel = &**log.name(), head, "the storage has lost events; readers start anew");
    log.begin_anew(head, goes_on);
}

fn report(looked: &Result<(), ServiceError>, was_failing: &mut bool) {
    match looked {
        Err(error) if !*was_failing => {
            warn!(%error, "cannot see what other instances have published; will retry");
        }
        Ok(()) if *was_failing => info!("what other instances publish can be seen again"),
        _ => {}
    }
    *was_failing = looked.is_err();
}
