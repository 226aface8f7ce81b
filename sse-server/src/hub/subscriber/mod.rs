//! A position in each of some channels, and reading forward from there.

mod history;
mod large;
mod rest;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sse_proto::Cursor;
use tracing::debug;

use super::event::KeptEvent;
use super::filter::Types;
use super::follow::Hints;
use super::log::{At, Log, Read, Signal};
use super::outgoing::Outgoing;
use super::pages::{Extent, Loading, Page, Replaying};
use super::pieces::{Begun, ROUND_BYTES};
use super::{PAGE, Shared};
pub(super) use rest::Parts;

/// How many events are read from the storage at first, when it is not known how large they are.
const FIRST_PAGE: usize = 16;

/// How many bytes of what is in memory go out at the end. Who keeps up has less to come; for others
/// the end would not come.
const LAST_BYTES: usize = 1 << 20;

/// The name of readers without a name, for events that are not for everyone.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Reads some channels forward, from the positions it started from.
///
/// Held by whatever writes the stream to a client. It has no queue: as long as it is not asked for
/// more, it stands still, and costs what its positions cost.
pub struct Subscriber {
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    /// The logs it is a reader of, with its place in each.
    joined: Vec<(Arc<Log>, usize)>,
    positions: Vec<Position>,
    /// The types of events that go out. None: all.
    types: Option<Types>,
    /// Events were left out since the positions last went out.
    is_untold: bool,
    /// The reader's name.
    user: Arc<str>,
    /// The round under way: every channel is asked once, and what was found goes out together, or
    /// as much as may at once.
    round: Round,
    /// The stretch of history after the one that goes out.
    ahead: Option<Loading>,
    /// It replays, and is counted.
    replaying: Option<Replaying>,
    /// How many bytes of history it has had since others had their turn.
    had: usize,
    /// A large event that has gone out in part.
    begun: Option<Begun>,
    /// It is to end, though the hub is not closed.
    is_ending: bool,
    /// How far the channels reached when it was to end, once that has been seen; and how many bytes
    /// of that may still go out.
    ends: Option<Box<[At]>>,
    last_bytes: usize,
    tally: Tally,
}

/// What has gone out since it was asked last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) resets: u64,
    /// How long the newest event of a channel had been there by then. None: there may be newer
    /// ones.
    pub(crate) lag: Option<Duration>,
}

/// How far one channel has been read.
#[derive(Debug)]
pub(super) struct Position {
    log: Arc<Log>,
    /// The id of the last event that has gone out, here or on another instance.
    at: u64,
    /// Whether the position is one that the channel does not know, so that nothing can be
    /// continued.
    is_unknown: bool,
    /// The generation of ids that the position belongs to.
    generation: u64,
    /// How many of the events without an id have gone out.
    live_at: u64,
    /// How many events are read from the storage at a time, as large as they have been so far. Of
    /// each channel, for those of another may be large, or come one by one.
    page: usize,
}

#[derive(Default)]
struct Round {
    /// The channels that have been asked.
    asked: usize,
    /// What each of them had, if anything, and how many bytes that is.
    found: Vec<(usize, Found)>,
    bytes: usize,
    /// What the next channel waits for.
    reading: Option<Loading>,
}

enum Found {
    Events(Vec<KeptEvent>),
    /// Events of a page.
    Page(Arc<Page>, Range<usize>),
    /// Events without an id.
    Live(Vec<KeptEvent>),
    /// History is missing after the position; the channel continues from here.
    Gap {
        head: u64,
        generation: u64,
        live_head: u64,
    },
}

/// What there is for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Events have been written.
    Events,
    /// There were events, and none of them is of a [type](Subscriber::only) that is wanted, and for
    /// this [user](Subscriber::read_as). The positions are behind them now.
    LeftOut,
    /// An event that has gone out in part is gone, as it has become too old. The stream must end
    /// [within](Subscriber::is_within_event) it, so that what is there of it is no event.
    Lost,
    /// The hub was closed, or the subscriber was to end, and what was there has been delivered;
    /// nothing will follow.
    Closed,
}

impl Subscriber {
    pub(super) fn new(shared: Arc<Shared>, channels: &[Arc<str>]) -> Self {
        Self {
            shared,
            signal: Arc::default(),
            joined: Vec::with_capacity(channels.len()),
            positions: Vec::with_capacity(channels.len()),
            types: None,
            is_untold: false,
            user: ANONYMOUS.into(),
            round: Round::default(),
            ahead: None,
            replaying: None,
            had: 0,
            begun: None,
            is_ending: false,
            ends: None,
            last_bytes: LAST_BYTES,
            tally: Tally::default(),
        }
    }

    /// What has gone out since this was called last.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Leaves out events of all other types from now on. Their numbers count: the position goes on
    /// past them.
    pub fn only(&mut self, types: Types) {
        self.types = Some(types);
    }

    /// Reads as this user from now on, and leaves out [what is not for
    /// them](crate::storage::NewEvent::skip_users). Before it is as `anonymous`.
    pub fn read_as(&mut self, user: &str) {
        self.user = user.into();
    }

    /// The positions, in the form of an event's id, if events were left out since they went out
    /// last: as the id of a block without data they tell a client where it is. None if nothing is
    /// stored.
    ///
    /// A client that is not told loses nothing. It resumes further back, and the same events are
    /// left out again.
    pub fn take_untold_position(&mut self) -> Option<String> {
        let is_untold = std::mem::take(&mut self.is_untold);
        if let Some(position) = self.positions.first_mut()
            && mutant!("position-before-the-event")
            && is_untold
        {
            position.at += 1;
        }
        is_untold.then(|| self.cursor().to_string()).filter(|id| !id.is_empty())
    }

    pub(super) fn signal(&self) -> Arc<Signal> {
        self.signal.clone()
    }

    pub(super) fn joined(&mut self, log: Arc<Log>, place: usize) {
        self.joined.push((log, place));
    }

    pub(super) fn start(&mut self, position: Position) {
        self.positions.push(position);
    }

    /// The positions of all its channels, as they go into an event's id. Empty if nothing is
    /// stored.
    pub fn cursor(&self) -> Cursor<'_> {
        let lasting = self.positions.iter().filter(|position| position.log.is_lasting());
        lasting.map(|position| (&**position.log.name(), position.at)).collect()
    }

    /// Whether it waits for the storage, not for something to be published.
    pub fn is_reading(&self) -> bool {
        self.round.reading.is_some()
    }

    /// Whether an event has gone out in part, so that nothing else may be written. A stream that
    /// ends there has a line end before its last words, and no blank line: what is there of the
    /// event is then no event.
    pub const fn is_within_event(&self) -> bool {
        self.begun.is_some()
    }

    /// Appends what is due to `out`: at most a page, and not more than some 24 KiB, preceded
    /// by a stream-reset if events are missing. Of an event that is larger it is a
    /// [piece](Self::is_within_event). Pending if nothing is due.
    ///
    /// If storage fails the subscriber stays where it is and tries again: an outage delays events,
    /// it loses none.
    ///
    /// When the hub is closed, what was published before goes out first, as far as it is in memory,
    /// some mebibyte at most. Who is still reading history, or within a large event that is stored,
    /// is told at once: it goes on where it connects next.
    pub fn poll_deliver(&mut self, cx: &mut Context<'_>, out: &mut Outgoing) -> Poll<Delivery> {
        loop {
            if (self.is_ending || self.shared.is_closed()) && !self.has_last_round() {
                return Poll::Ready(Delivery::Closed);
            }
            if self.begun.is_some() {
                return self.poll_piece(cx, out);
            }
            // Lowered before the logs are read: what comes after is a reason for another round.
            let was_raised = self.round.asked > 0 || self.ends.is_some() || self.signal.lower(cx);
            let is_whole = self.round.asked == 0;
            // What is left of the round comes next time, if that is much.
            while self.round.asked < self.positions.len() && self.round.bytes < ROUND_BYTES / 2 {
                let found = ready!(self.poll_ask(cx));
                self.round.found.extend(found.map(|found| (self.round.asked, found)));
                self.round.asked += 1;
            }
            self.round.bytes = 0;
            if self.round.asked == self.positions.len() {
                self.round.asked = 0;
            }
            if !self.round.found.is_empty() {
                let len = out.content_len();
                self.write_round(out);
                let written = out.content_len() - len;
                let is_written = written > 0;
                if self.ends.is_some() {
                    self.last_bytes = self.last_bytes.saturating_sub(written);
                }
                let delivery = if is_written { Delivery::Events } else { Delivery::LeftOut };
                return Poll::Ready(delivery);
            }
            if self.ends.is_some() && is_whole {
                return Poll::Ready(Delivery::Closed);
            }
            if !was_raised {
                (self.ahead, self.replaying) = (None, None);
                return Poll::Pending;
            }
        }
    }

    /// Ends it as if the hub were closed.
    pub(crate) const fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether it still delivers what was there when it was to end. Takes note, the first time, of
    /// what that is.
    fn has_last_round(&mut self) -> bool {
        if self.ends.is_some() {
            return self.last_bytes > 0 || self.begun.is_some();
        }
        if mutant!("closed-before-the-last") {
            return false;
        }
        let is_stored = |begun: &Begun| begun.live.is_none();
        if self.begun.as_ref().is_some_and(is_stored) || self.is_reading() {
            return false;
        }
        self.ends = Some(self.positions.iter().map(Position::end).collect());
        self.round = Round::default();
        true
    }

    /// Asks the next channel of the round for what comes after the position.
    fn poll_ask(&mut self, cx: &mut Context<'_>) -> Poll<Option<Found>> {
        let limit = (PAGE / self.positions.len()).max(1);
        let position = &mut self.positions[self.round.asked];
        let (_, generation) = position.log.end();
        if position.generation != generation && position.log.is_of_present(position.at()) {
            position.generation = generation;
        }
        if position.is_unknown || position.generation != generation {
            self.round.reading = None;
            return Poll::Ready(Some(position.gap()));
        }
        let end = self.ends.as_ref().map(|ends| ends[self.round.asked]);
        if end.is_some_and(|end| position.at >= end.id && position.live_at >= end.live) {
            return Poll::Ready(None);
        }
        let is_reading = self.round.reading.is_some();
        let ahead = match position.log.read_live(position.live_at, position.at, limit) {
            (Read::Events(events), ahead) if events.is_empty() => ahead,
            // What is being read comes before them.
            (_, ahead) if is_reading => ahead,
            (Read::Events(mut events), _) => {
                self.round.bytes += shorten(&mut events, ROUND_BYTES - self.round.bytes);
                return Poll::Ready(Some(Found::Live(events)));
            }
            // It was too slow, and they are nowhere else; but those with an id are.
            (Read::NotInMemory, _) => return Poll::Ready(Some(position.live_gap())),
        };
        if !is_reading {
            match position.log.read(position.at, limit.min(ahead)) {
                Read::Events(events) if events.is_empty() => return Poll::Ready(None),
                Read::Events(mut events) => {
                    self.round.bytes += shorten(&mut events, ROUND_BYTES - self.round.bytes);
                    return Poll::Ready(Some(Found::Events(events)));
                }
                Read::NotInMemory if end.is_some() => return Poll::Ready(None),
                Read::NotInMemory => {}
            }
        }
        // Who reads one channel has as many as have room.
        let limit = if self.positions.len() == 1 { usize::MAX } else { limit };
        self.poll_history(limit.min(ahead), cx).map(Some)
    }
}

impl Position {
    /// The position to resume from in a log; the end, if none is given.
    pub(super) fn new(log: Arc<Log>, resume: Option<u64>) -> Self {
        // Both in one look: if the log begins anew after it, the position is one of before.
        let (head, generation) = log.end();
        let at = resume.map_or(head, |at| at + u64::from(mutant!("resume-one-too-far")));
        let live_at = if mutant!("unstored-of-before") { 0 } else { log.live_head() };
        let is_unknown = at > head;
        Self { log, at, is_unknown, generation, live_at, page: FIRST_PAGE }
    }

    /// Goes on from here in a log that counts its reader already.
    fn again(log: Arc<Log>, at: At) -> Self {
        let At { id, live, generation } = at;
        Self { log, at: id, is_unknown: false, generation, live_at: live, page: FIRST_PAGE }
    }

    pub(super) fn channel(&self) -> &Arc<str> {
        self.log.name()
    }

    pub(super) const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) const fn at(&self) -> At {
        At { id: self.at, live: self.live_at, generation: self.generation }
    }

    /// Where its channel ends now.
    fn end(&self) -> At {
        let (id, generation) = self.log.end();
        At { id, live: self.log.live_head(), generation }
    }

    /// Whether the log does not reach as far.
    pub(super) const fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Compares with where the channel ends in the storage. If that is beyond the log, the log has
    /// nothing for this position until it has caught up, which it is told to do.
    pub(super) fn check(&mut self, head: u64, hints: &Hints) {
        self.is_unknown = self.at > head;
        hints.add(self.channel(), head, Some(head) < self.log.head());
    }

    /// Takes note of how many events there were room for: as many are asked for the next time, or
    /// more if more would have found room. Fewer are no sign of large ones if another reader had
    /// asked for no more.
    fn learn(&mut self, extent: Extent) {
        let events = extent.events().max(1);
        let more = self.page.max(2 * extent.limit).min(PAGE);
        self.page = if events < extent.limit { events } else { more };
    }

    /// What is found if nothing can be continued.
    fn gap(&self) -> Found {
        let (head, generation) = self.log.end();
        // After a loss nothing of what has come since is left out.
        let is_same = generation == self.generation || mutant!("reset-to-the-end");
        let head = if is_same { head } else { self.log.base() };
        Found::Gap { head, generation, live_head: self.log.live_head() }
    }

    /// What is found if events without an id are gone, and the others are not.
    fn live_gap(&self) -> Found {
        let (head, generation) = (self.at, self.generation);
        Found::Gap { head, generation, live_head: self.log.live_head() }
    }
}

/// Leaves out the last of these events, if together they have more than so many bytes, and says how
/// many bytes are left. One is in any case; if it is large, alone.
fn shorten(events: &mut Vec<KeptEvent>, most: usize) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take_while(|event| {
        bytes += event.len();
        bytes <= most
    });
    let count = fits.count().max(1);
    events.truncate(count);
    events.iter().map(KeptEvent::len).sum()
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // One that rests has been taken apart.
        if !self.joined.is_empty() {
            debug!(subscriber = ?self, "a subscriber leaves");
        }
        for (log, place) in self.joined.drain(..) {
            self.shared.leave(&log, place);
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.positions.iter().map(|position| (position.log.name(), position.at));
        f.debug_map().entries(channels).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::hub::Hub;
    use crate::storage::{MemoryStorage, NewEvent};

    #[tokio::test]
    async fn one_that_is_to_end_delivers_what_is_there_and_others_go_on() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let publish = async |text: &str| {
            let event = NewEvent::new("a", "message", text).store(text == "stored");
            hub.publish(vec![event]).await.expect("published");
        };
        let subscribe = async || hub.subscribe(&["a".into()], &Cursor::new()).await;
        let mut ending = subscribe().await.expect("a subscriber");
        let mut other = subscribe().await.expect("a subscriber");
        for text in ["first", "stored", "last"] {
            publish(text).await;
        }
        ending.end();
        let mut out = Outgoing::default();
        let delivery = poll_fn(|cx| ending.poll_deliver(cx, &mut out)).await;
        assert_eq!(delivery, Delivery::Events);
        publish("too late").await;
        while poll_fn(|cx| ending.poll_deliver(cx, &mut out)).await != Delivery::Closed {}
        let seen = String::from_utf8(out.into_bytes().to_vec()).expect("text");
        let data: Vec<_> = seen.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data[..3], ["first", "stored", "last"], "what comes meanwhile may come too");
        let mut out = Outgoing::default();
        while out.content_len() == 0 {
            let delivery = poll_fn(|cx| other.poll_deliver(cx, &mut out)).await;
            assert_eq!(delivery, Delivery::Events);
        }
    }
}
