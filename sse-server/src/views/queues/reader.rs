//! One reader of a channel: a place in its tail, or in what the queue still has.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tracing::debug;

use super::Shared;
use super::feed::{Feed, Found, Item};
use super::feeds::Feeds;
use super::payload::{Message, Payload};
use super::position::Position;
use crate::services::Patience;
use crate::views::Event;

/// What comes after a position, of what a queue still has.
#[derive(Default)]
pub(super) struct Page {
    /// Something after the position is gone, or the position is none of this queue's. Nothing else
    /// counts then.
    has_gap: bool,
    items: Vec<Item>,
    /// Up to where this is all; none if there is nothing after the position.
    end: Option<Position>,
}

impl Page {
    pub(super) fn gap() -> Self {
        Self { has_gap: true, ..Self::default() }
    }

    /// A message comes next.
    pub(super) fn add(
        &mut self,
        feeds: &Feeds,
        at: Position,
        read: impl FnOnce(Payload) -> Result<Message, String>,
    ) {
        self.end = Some(at);
        self.items.extend(feeds.item_of(at, read));
    }
}

/// Leaves the channel when it is dropped.
pub(super) struct Reader {
    queue: Arc<Shared>,
    feed: Arc<Feed>,
    moved: watch::Receiver<()>,
    place: Place,
    last: Position,
    /// The place at which it has come, until it goes on from another one. What has come since is
    /// for it, too: it may be what a queue has handed out, which comes only once.
    joined: Option<u64>,
    /// Sent before anything else.
    first: Option<Event>,
}

enum Place {
    Tail(u64),
    /// To be asked for after the last position, once these are taken.
    History(VecDeque<Item>),
    /// The last event has gone out.
    End,
}

/// Where a reader begins.
pub(super) enum Start {
    /// With what comes next.
    New,
    /// After this position.
    After(Position),
    /// After something that is not known: the reader is told that it has missed something.
    Unknown,
}

impl Reader {
    /// A reader of a channel that it has joined.
    pub(super) fn new(queue: Arc<Shared>, feed: Arc<Feed>) -> Self {
        let (moved, (end, last)) = (feed.moved(), feed.end());
        let place = Place::Tail(end);
        Self { queue, feed, moved, place, last, joined: Some(end), first: None }
    }

    pub(super) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// From here on. To be called when the channel is open.
    pub(super) fn start(&mut self, start: &Start) {
        match *start {
            Start::New => {
                self.begin();
                // So that a reader which leaves before the first event can go on, too.
                let id = self.queue.feeds.notation().write(self.last);
                self.first = Some(Event::position(&id));
            }
            Start::After(position) => {
                self.last = position;
                self.place = match self.feed.place_after(position) {
                    Some(place) => {
                        self.joined = None;
                        Place::Tail(place)
                    }
                    None => Place::History(VecDeque::new()),
                };
            }
            Start::Unknown => self.first = Some(self.reset()),
        }
    }

    /// The reader has missed something.
    fn reset(&mut self) -> Event {
        self.begin();
        Event::reset_at(&self.queue.feeds.notation().write(self.last))
    }

    /// Goes on with what has come since it is here, or else at the end.
    fn begin(&mut self) {
        let joined = self.joined.take();
        let joined = joined.and_then(|place| Some((place, self.feed.position_before(place)?)));
        let (place, last) = joined.unwrap_or_else(|| self.feed.end());
        (self.place, self.last) = (Place::Tail(place), last);
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = Event> + Send {
        stream::unfold(self, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let has_history = self.queue.source.has_history();
        let mut patience = Patience::new();
        loop {
            let place = match &mut self.place {
                Place::End => return None,
                Place::Tail(place) => place,
                Place::History(items) => {
                    if let Some(item) = items.pop_front() {
                        self.last = item.at;
                        return Some(Event::encoded(item.bytes));
                    }
                    match self
                        .queue
                        .source
                        .history(&self.queue.feeds, &self.feed.name, self.last)
                        .await
                    {
                        Ok(page) if page.has_gap => return Some(self.reset()),
                        Ok(page) => self.turn(page),
                        Err(error) => patience.wait_after("history of a queue", &error).await,
                    }
                    continue;
                }
            };
            match self.feed.find(*place) {
                Found::Item(item) => {
                    *place += 1;
                    // It has been in the history already.
                    let notation = self.queue.feeds.notation();
                    let is_had = has_history && notation.is_behind(item.at, self.last);
                    if is_had && !item.is_reset {
                        continue;
                    }
                    self.last = item.at;
                    return Some(Event::encoded(item.bytes));
                }
                // The sender is a part of the channel.
                Found::Nothing => drop(self.moved.changed().await),
                Found::Gone if has_history => self.place = Place::History(VecDeque::new()),
                Found::Gone => {
                    debug!("a reader of a queue is too slow");
                    return Some(self.reset());
                }
                Found::Refused(error) => {
                    self.place = Place::End;
                    return Some(Event::error(error.to_stream_error()));
                }
            }
        }
    }

    /// Goes on with this page, or with the tail where it has all that follows.
    fn turn(&mut self, page: Page) {
        self.joined = None;
        let place = self.feed.place_after(self.last).or_else(|| self.feed.place_from(self.last));
        self.place = if let Some(place) = place {
            Place::Tail(place)
        } else if let Some(end) = page.end {
            if page.items.is_empty() {
                self.last = end;
            }
            Place::History(page.items.into())
        } else {
            // There is nothing before the tail begins.
            let (place, after) = self.feed.start();
            self.last = after;
            Place::Tail(place)
        };
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.feeds.leave(&self.feed);
    }
}
