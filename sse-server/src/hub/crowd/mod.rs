//! Subscribers at rest: many that have everything there is and wait for more, in little memory.
//!
//! A [`Subscriber`] can read storage, hand out large events in pieces, and tell of gaps. One that
//! has everything needs none of that, only its positions. So it is taken apart and joins a
//! [`Crowd`], whose members are woken together: a log rings the crowd's [`Bell`] once, however many
//! of its readers are there, and what is due is put together once for all who stand at the same
//! place. A member that needs more than events from memory becomes a subscriber again.
//!
//! May enter: logs. May not: what carries the bytes.

mod chunks;
mod places;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::{Bytes, BytesMut};
pub(crate) use chunks::{Chunks, put_chunk};
use places::{Place, Places};
use slab::Slab;
use sse_proto::encode_channel;

use super::Shared;
use super::event::KeptEvent;
use super::filter::{Types, lets};
use super::log::{Ahead, At, Log, Signal};
use super::pages::{MANY, Served};
use super::subscriber::{ANONYMOUS, Parts, Position, Subscriber};
use super::wake::{Bell, Rope};

/// How many portions are remembered while the readers of a log are served.
const PORTIONS: usize = 8;

/// A subscriber that has got everything there is, taken apart.
struct Resting {
    places: Places,
    /// None: it reads as `anonymous`, events of all types.
    filter: Option<Box<Filter>>,
    /// Events were left out since the positions last went out.
    is_untold: bool,
}

struct Filter {
    types: Option<Types>,
    user: Arc<str>,
}

impl Filter {
    fn lets(&self, event: &KeptEvent) -> bool {
        lets(self.types.as_ref(), &self.user, event)
    }
}

/// Readers at rest, by channel, each with what its owner keeps of it. Their numbers are used again.
pub(crate) struct Crowd<T> {
    bell: Arc<Bell>,
    readers: Slab<Reader<T>>,
    groups: Slab<Group>,
    /// By the address of the log, which the group holds.
    by_log: HashMap<usize, u32>,
    /// Where what is a reader's own is put together.
    own: Vec<u8>,
}

struct Reader<T> {
    resting: Resting,
    kept: T,
}

/// The readers of one channel.
struct Group {
    hub: Arc<Shared>,
    log: Arc<Log>,
    /// The channel's name as it stands in an id.
    name: Box<str>,
    generation: u64,
    signal: Arc<Signal>,
    signal_place: usize,
    waker: Waker,
    members: Vec<Member>,
    portions: Vec<Portion>,
}

#[derive(Clone, Copy)]
struct Member {
    reader: u32,
    /// Which of the reader's places is in this group.
    place: u32,
}

/// What is ahead of a position, put together for all who stand there.
struct Portion {
    from: At,
    to: At,
    /// Each with whether it is one without an id. Empty: there is nothing.
    events: Vec<(KeptEvent, bool)>,
    /// Every reader gets all of them.
    is_for_all: bool,
    /// All of them, as chunks, for those who read this channel only.
    chunks: Bytes,
    content_len: usize,
}

impl<T> Crowd<T> {
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        let by_log = HashMap::new();
        Self { bell, readers: Slab::new(), groups: Slab::new(), by_log, own: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.readers.len()
    }

    /// The number of the next reader that enters.
    pub(crate) fn next(&self) -> u32 {
        index(self.readers.vacant_key())
    }

    /// Takes in a subscriber, with the [next](Self::next) number; unless it has something to do.
    /// Afterwards it has to be [served](Self::serve_one).
    pub(crate) fn enter(
        &mut self,
        subscriber: Subscriber,
        kept: T,
    ) -> Result<(), Box<(Subscriber, T)>> {
        let is_of_same_generation = |position: &Position| {
            let group = self.by_log.get(&address(position.log()));
            group.is_none_or(|&group| {
                self.groups[group as usize].generation == position.at().generation
            })
        };
        if !subscriber.is_at_rest() || !subscriber.positions().iter().all(is_of_same_generation) {
            return Err(Box::new((subscriber, kept)));
        }
        let Parts { shared, joined, positions, types, user, is_untold } = subscriber.take_apart();
        let reader = self.next();
        let places = positions.iter().zip(0..).map(|(position, place)| {
            let At { id, live, generation } = position.at();
            let group = self.group(&shared, position.log(), generation);
            let members = &mut self.groups[group as usize].members;
            let member = index(members.len());
            members.push(Member { reader, place });
            Place { group, member, at: id, live_at: live }
        });
        let places = places.collect();
        // Only now, so that at each moment somebody rings for what comes.
        for (log, place) in joined {
            log.remove_signal(place);
        }
        let is_filtered = types.is_some() || &*user != ANONYMOUS;
        let filter = is_filtered.then(|| Box::new(Filter { types, user }));
        let resting = Resting { places, filter, is_untold };
        self.readers.insert(Reader { resting, kept });
        Ok(())
    }

    /// The group of a channel. The first member makes it.
    fn group(&mut self, hub: &Arc<Shared>, log: &Arc<Log>, generation: u64) -> u32 {
        if let Some(&known) = self.by_log.get(&address(log)) {
            return known;
        }
        let vacant = self.groups.vacant_entry();
        let group = index(vacant.key());
        let waker = Waker::from(Arc::new(Rope { bell: self.bell.clone(), group }));
        let signal = Arc::new(Signal::default());
        signal.lower(&Context::from_waker(&waker));
        vacant.insert(Group {
            hub: hub.clone(),
            log: log.clone(),
            name: encode_channel(log.name()).to_string().into(),
            generation,
            signal_place: log.add_signal(signal.clone()),
            signal,
            waker,
            members: Vec::new(),
            portions: Vec::new(),
        });
        self.by_log.insert(address(log), group);
        group
    }

    pub(crate) fn get_mut(&mut self, reader: u32) -> Option<&mut T> {
        self.readers.get_mut(reader as usize).map(|reader| &mut reader.kept)
    }

    /// Removes a reader, which is a subscriber again.
    pub(crate) fn remove(&mut self, reader: u32) -> (T, Subscriber) {
        let Reader { resting, kept } = self.readers.remove(reader as usize);
        let first = &self.groups[resting.places[0].group as usize];
        let mut subscriber = Subscriber::new(first.hub.clone(), &[]);
        for place in &*resting.places {
            let Group { log, generation, .. } = &self.groups[place.group as usize];
            let at = At { id: place.at, live: place.live_at, generation: *generation };
            subscriber.rejoin(log, at);
        }
        for place in &*resting.places {
            self.leave(place);
        }
        let (types, user) = match resting.filter.map(|filter| *filter) {
            Some(Filter { types, user }) => (types, Some(user)),
            None => (None, None),
        };
        subscriber.refine(types, user, resting.is_untold);
        if self.readers.is_empty() {
            // Those who come in crowds leave no memory behind.
            self.readers.shrink_to_fit();
            self.groups.shrink_to_fit();
            self.by_log.shrink_to_fit();
        }
        (kept, subscriber)
    }

    /// Empties a place in a group. The group ends with its last member.
    fn leave(&mut self, place: &Place) {
        let group = &mut self.groups[place.group as usize];
        group.members.swap_remove(place.member as usize);
        if let Some(moved) = group.members.get(place.member as usize) {
            let reader = &mut self.readers[moved.reader as usize];
            reader.resting.places[moved.place as usize].member = place.member;
        } else if group.members.is_empty() {
            let group = self.groups.remove(place.group as usize);
            group.log.remove_signal(group.signal_place);
            self.by_log.remove(&address(&group.log));
        }
    }

    /// Gives what is due to all readers of a group whose log has grown. Removed are those whom
    /// `give` does not keep, and those who need more than events from memory, without a reason.
    pub(crate) fn serve<L>(
        &mut self,
        group: u32,
        mut give: impl FnMut(&mut T, Chunks<'_>) -> Result<(), L>,
        mut removed: impl FnMut(T, Subscriber, Option<L>),
    ) {
        let Some(of) = self.groups.get_mut(group as usize) else { return };
        // Lowered before the log is read: what comes after is a reason for another round.
        of.signal.lower(&Context::from_waker(&of.waker));
        let log = of.log.clone();
        let _served = (of.members.len() >= MANY).then(|| Served::new(&of.hub));
        let mut next = 0;
        while let Some(of) = self.groups.get(group as usize)
            && Arc::ptr_eq(&of.log, &log)
            && let Some(&member) = of.members.get(next)
        {
            match self.serve_place(member, group, &mut give) {
                Ok(()) => next += 1,
                Err(why) => {
                    // Another member has its place now.
                    let (kept, subscriber) = self.remove(member.reader);
                    removed(kept, subscriber, why);
                }
            }
        }
        self.forget(group);
    }

    /// Gives one reader what is due. An error: it is to be [removed](Self::remove).
    pub(crate) fn serve_one<L>(
        &mut self,
        reader: u32,
        mut give: impl FnMut(&mut T, Chunks<'_>) -> Result<(), L>,
    ) -> Result<(), Option<L>> {
        let places = self.readers[reader as usize].resting.places.len();
        (0..places).try_for_each(|place| {
            let group = self.readers[reader as usize].resting.places[place].group;
            let served = self.serve_place(Member { reader, place: index(place) }, group, &mut give);
            self.forget(group);
            served
        })
    }

    /// Forgets the events of a group: readers at rest hold none.
    fn forget(&mut self, group: u32) {
        if let Some(group) = self.groups.get_mut(group as usize) {
            group.portions = Vec::new();
        }
    }

    fn serve_place<L>(
        &mut self,
        member: Member,
        group: u32,
        give: &mut impl FnMut(&mut T, Chunks<'_>) -> Result<(), L>,
    ) -> Result<(), Option<L>> {
        let Self { readers, groups, own, .. } = self;
        if groups[group as usize].hub.is_closed() {
            return Err(None);
        }
        let Reader { resting, kept } = &mut readers[member.reader as usize];
        loop {
            let of = &mut groups[group as usize];
            let place = &resting.places[member.place as usize];
            let from = At { id: place.at, live: place.live_at, generation: of.generation };
            let portion = of.portion(from).ok_or(None)?;
            let of = &groups[group as usize];
            let portion = &of.portions[portion];
            if portion.events.is_empty() {
                return Ok(());
            }
            let lag = of.log.age();
            let is_shared =
                resting.places.len() == 1 && portion.is_for_all && resting.has_all_types();
            let chunks = if is_shared {
                let place = &mut resting.places[member.place as usize];
                (place.at, place.live_at) = (portion.to.id, portion.to.live);
                let (bytes, events) = (&portion.chunks, portion.events.len() as u64);
                let content_len = portion.content_len;
                Chunks { bytes, shared: Some(bytes), content_len, events, lag }
            } else {
                let place = member.place as usize;
                let (content_len, events) = resting.write(place, portion, groups, own);
                Chunks { bytes: own, shared: None, content_len, events, lag }
            };
            if !chunks.bytes.is_empty() {
                give(kept, chunks).map_err(Some)?;
            }
        }
    }

    /// Appends the positions of a reader as a block of an id alone, as a chunk, if it cannot know
    /// them because events were left out. How many bytes of content that is.
    pub(crate) fn put_untold_position(&mut self, reader: u32, out: &mut Vec<u8>) -> usize {
        let Self { readers, groups, own, .. } = self;
        let resting = &mut readers[reader as usize].resting;
        if !std::mem::take(&mut resting.is_untold) {
            return 0;
        }
        own.clear();
        own.extend_from_slice(b"id: ");
        if !resting.put_cursor(groups, own) {
            return 0;
        }
        own.extend_from_slice(b"\n\n");
        put_chunk(&[own], out)
    }
}

impl<T> Drop for Crowd<T> {
    fn drop(&mut self) {
        // The logs count their readers.
        while let Some((reader, _)) = self.readers.iter().next() {
            self.remove(index(reader));
        }
    }
}

impl Group {
    /// What is ahead of a position; which of the portions that is. None: not events from memory.
    fn portion(&mut self, from: At) -> Option<usize> {
        if let Some(known) = self.portions.iter().position(|portion| portion.from == from) {
            return Some(known);
        }
        let (events, to) = match self.log.ahead(from) {
            Ahead::Nothing => (Vec::new(), from),
            Ahead::Events(events, to) => (events, to),
            Ahead::Elsewhere => return None,
        };
        let chunks = if let [(event, _)] = &events[..] {
            event.chunk().clone()
        } else {
            let len = events.iter().map(|(event, _)| event.chunk().len()).sum();
            let mut chunks = BytesMut::with_capacity(len);
            for (event, _) in &events {
                chunks.extend_from_slice(event.chunk());
            }
            chunks.freeze()
        };
        let content_len = events.iter().map(|(event, _)| event.len()).sum();
        let is_for_all = events.iter().all(|(event, _)| event.is_for_all());
        if self.portions.len() == PORTIONS {
            self.portions.remove(0);
        }
        self.portions.push(Portion { from, to, events, is_for_all, chunks, content_len });
        Some(self.portions.len() - 1)
    }
}

impl Resting {
    fn has_all_types(&self) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.types.is_none())
    }

    /// Writes a portion as this reader gets it, and goes on behind it. How many bytes of content
    /// that is, and how many events.
    fn write(
        &mut self,
        place: usize,
        portion: &Portion,
        groups: &Slab<Group>,
        out: &mut Vec<u8>,
    ) -> (usize, u64) {
        out.clear();
        let (mut content_len, mut events) = (0, 0);
        let is_lasting = groups[self.places[place].group as usize].log.is_lasting();
        let mut id = Vec::new();
        for (event, is_live) in &portion.events {
            let at = &mut self.places[place];
            if *is_live {
                at.live_at += 1;
            } else {
                at.at += 1;
            }
            let is_wanted = match &self.filter {
                Some(filter) => filter.lets(event),
                None => lets(None, ANONYMOUS, event),
            } || mutant!("crowd-gets-all");
            if !is_live {
                self.is_untold = !is_wanted;
            }
            if !is_wanted {
                continue;
            }
            events += 1;
            // Beside channels that are stored, an event of one that is not has their positions. Not
            // with an event without an id of such a channel: it would have that of the one before.
            let has_own_id = self.places.len() > 1 && !(*is_live && is_lasting);
            if has_own_id {
                id.clear();
                id.extend_from_slice(b"id: ");
                if self.put_cursor(groups, &mut id) {
                    id.push(b'\n');
                    let tail = event.tail();
                    content_len += put_chunk(&[event.head(), &id, &tail], out);
                    self.is_untold = false;
                    continue;
                }
            }
            content_len += event.len();
            out.extend_from_slice(event.chunk());
        }
        (content_len, events)
    }

    /// Appends the positions in all channels that are stored. Whether there is one.
    fn put_cursor(&self, groups: &Slab<Group>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        for place in &*self.places {
            let group = &groups[place.group as usize];
            if group.log.is_lasting() {
                if out.len() > start {
                    out.push(b',');
                }
                out.extend_from_slice(group.name.as_bytes());
                write!(out, ":{}", place.at).expect("writing to memory cannot fail");
            }
        }
        out.len() > start
    }
}

fn address(log: &Arc<Log>) -> usize {
    Arc::as_ptr(log).addr()
}

fn index(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than the descriptors of a process")
}
