//! The channels of a queue that are read here, and what the connection is to subscribe to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::feed::{Feed, Item};
use super::payload::{Message, Payload};
use super::position::{Notation, Position};
use super::{QueueError, Settings};
use crate::seldom::Seldom;
use crate::views::Event;

/// All channels of a queue that are read here.
pub(super) struct Feeds {
    settings: Settings,
    notation: Notation,
    state: Mutex<State>,
    has_changed: Notify,
    /// Messages that were not taken in.
    refused: Seldom,
}

#[derive(Default)]
struct State {
    feeds: HashMap<Arc<str>, Arc<Feed>>,
    /// Who has come or gone since the connection was asked last.
    changed: HashSet<Arc<str>>,
    /// Without readers, since when, in this order. Some have readers again.
    idle: VecDeque<(Instant, Arc<Feed>)>,
}

/// A channel to subscribe to, or not any more.
pub(super) struct Change {
    pub(super) name: Arc<str>,
    /// None: nobody wants it.
    pub(super) feed: Option<Arc<Feed>>,
}

/// What a message was.
enum Received {
    Event(Event),
    /// Readers are told that something is missing.
    TooLarge,
    /// No event.
    Nothing,
}

impl Feeds {
    pub(super) fn new(settings: Settings, notation: Notation) -> Self {
        Self {
            settings,
            notation,
            state: Mutex::default(),
            has_changed: Notify::new(),
            refused: Seldom::default(),
        }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) const fn notation(&self) -> Notation {
        self.notation
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more reader of a channel, which has to [leave](Self::leave) it.
    pub(super) fn join(&self, name: &str) -> Result<Arc<Feed>, QueueError> {
        let mut state = self.state();
        if let Some(feed) = state.feeds.get(name) {
            let feed = feed.clone();
            feed.join();
            return Ok(feed);
        }
        if state.feeds.len() >= self.settings.max_channels {
            return Err(QueueError::TooMany(self.settings.max_channels));
        }
        let feed = Arc::new(Feed::new(name));
        state.feeds.insert(feed.name.clone(), feed.clone());
        state.changed.insert(feed.name.clone());
        drop(state);
        self.has_changed.notify_one();
        Ok(feed)
    }

    pub(super) fn leave(&self, feed: &Arc<Feed>) {
        let mut state = self.state();
        let now = Instant::now();
        if !feed.leave(now) {
            return;
        }
        if feed.is_refused() || self.settings.linger.is_zero() {
            state.remove(feed);
        } else {
            state.idle.push_back((now, feed.clone()));
        }
        drop(state);
        self.has_changed.notify_one();
    }

    /// Every channel that is read, for a connection that is new.
    pub(super) fn all_anew(&self) {
        let mut state = self.state();
        state.changed = state.feeds.keys().cloned().collect();
        drop(state);
        self.has_changed.notify_one();
    }

    /// Waits until there is something to subscribe to, or not any more. May be dropped and called
    /// again.
    pub(super) async fn changes(&self) -> Vec<Change> {
        loop {
            let changed = self.has_changed.notified();
            let due = {
                let mut state = self.state();
                let due = state.remove_idle(self.settings.linger);
                if !state.changed.is_empty() {
                    return state.take_changes();
                }
                due
            };
            match due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// A message has arrived, at this position if the queue has any. `read` says what it means.
    pub(super) fn receive(
        &self,
        feed: &Feed,
        at: Option<Position>,
        read: impl FnOnce(Payload) -> Result<Message, String>,
    ) {
        match self.event_of(read) {
            Received::Event(event) => feed.add(at, self.notation, event, self.settings.tail),
            Received::TooLarge => feed.reset(self.notation, at),
            Received::Nothing => feed.passed(at),
        }
    }

    /// The same of a message that is older than those.
    pub(super) fn item_of(
        &self,
        at: Position,
        read: impl FnOnce(Payload) -> Result<Message, String>,
    ) -> Option<Item> {
        match self.event_of(read) {
            Received::Event(event) => Item::event(at, self.notation, event),
            Received::TooLarge => Some(Item::reset(at, self.notation)),
            Received::Nothing => None,
        }
    }

    /// What a message is for readers.
    fn event_of(&self, read: impl FnOnce(Payload) -> Result<Message, String>) -> Received {
        let (problem, received) = match read(self.settings.payload) {
            Ok(message) if message.len() > self.settings.max_event_len => {
                (format!("it has {} bytes", message.len()), Received::TooLarge)
            }
            Ok(message) => match message.checked(usize::MAX) {
                Ok(Message { event_type, data }) => {
                    let event_type = event_type.or_else(|| self.settings.event_type.clone());
                    return Received::Event(
                        Event::text(data).event_type(event_type.unwrap_or_default()),
                    );
                }
                Err(error) => (error.to_string(), Received::Nothing),
            },
            Err(problem) => (problem, Received::Nothing),
        };
        if let Some(times) = self.refused.happened() {
            warn!(%problem, times, "a message of a queue is not taken in");
        }
        received
    }

    /// The connection is lost: nothing arrives.
    pub(super) fn lost(&self, why: &str) {
        self.state().feeds.values().for_each(|feed| feed.lost(why));
    }

    /// This channel cannot be read. Its readers are told, and who comes later asks again.
    #[cfg_attr(
        not(any(feature = "amqp", feature = "redis")),
        allow(dead_code, reason = "of others")
    )]
    pub(super) fn refuse(&self, feed: &Arc<Feed>, error: QueueError) {
        let mut state = self.state();
        feed.refuse(error);
        state.remove(feed);
    }
}

impl State {
    fn remove(&mut self, feed: &Arc<Feed>) {
        // Another one may have its name by now.
        if self.feeds.get(&feed.name).is_some_and(|known| Arc::ptr_eq(known, feed)) {
            self.feeds.remove(&feed.name);
            self.changed.insert(feed.name.clone());
        }
    }

    /// Removes those that have had no readers for so long. Returns when to look again.
    fn remove_idle(&mut self, linger: Duration) -> Option<Instant> {
        let now = Instant::now();
        while let Some((since, feed)) = self.idle.front().cloned() {
            let due = since.checked_add(linger)?;
            if due > now {
                return Some(due);
            }
            self.idle.pop_front();
            if feed.is_idle_since(since) {
                self.remove(&feed);
            }
        }
        None
    }

    fn take_changes(&mut self) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed);
        let with_feed = |name: Arc<str>| Change { feed: self.feeds.get(&name).cloned(), name };
        changed.into_iter().map(with_feed).collect()
    }
}

/// What of these changes is to be subscribed to, and what not any more. `subscribed` is what is.
pub(super) fn apply(
    subscribed: &mut HashMap<Arc<str>, Arc<Feed>>,
    changes: Vec<Change>,
) -> (Vec<Arc<Feed>>, Vec<Arc<str>>) {
    let (mut new, mut gone) = (Vec::new(), Vec::new());
    for Change { name, feed } in changes {
        match feed {
            Some(feed) => {
                let before = subscribed.insert(name, feed.clone());
                // Of the same name there may be another one by now.
                if before.is_none_or(|before| !Arc::ptr_eq(&before, &feed)) {
                    new.push(feed);
                }
            }
            None => {
                if subscribed.remove(&name).is_some() {
                    gone.push(name);
                }
            }
        }
    }
    (new, gone)
}
