//! What readers and publishers must see, whatever goes wrong.

mod unstored;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sse_server::storage::NewEvent;

use sse_proto::Cursor;

use crate::disk::{Disk, Record, name_of};
use crate::plan::{Class, Millis, PATIENCE, RECHECK, Reader, What};
use crate::run::overlapping;
use crate::world::World;
use unstored::Ends;

/// How long anything may take while nothing is wrong, beside what is waited for.
pub const PROMPT: Millis = 3_000;

/// How long a page of a replay may wait for a backend that hangs, also when that is back meanwhile:
/// the server's bound for a check.
pub const HUNG: Millis = 10_000;

pub struct Oracle {
    pub world: Arc<World>,
    pub disk: Arc<Mutex<Disk>>,
    state: Mutex<State>,
}

struct State {
    readers: Vec<Reading>,
    requests: Vec<Request>,
    /// By the publisher's number of an event: its request.
    serials: BTreeMap<u64, usize>,
    next_serial: u64,
    /// When users could not read a channel, by what the backend says.
    revoked: BTreeMap<(usize, usize), Vec<Span>>,
    /// Since when that is confirmed, and to which hubs it applies at once.
    confirmed: BTreeMap<(usize, usize), (Millis, Vec<bool>)>,
    delivered: u64,
    /// When hubs were closed the last time, and where their channels ended then.
    closed: BTreeMap<usize, Ends>,
}

/// From when, and until when if that is over.
type Span = (Millis, Option<Millis>);

/// How far a reader has come.
pub struct Reading {
    plan: Reader,
    /// For each of its channels. None: it does not know yet.
    at: BTreeMap<usize, Option<u64>>,
    /// When it has got an event of each.
    moved: BTreeMap<usize, Millis>,
    /// The hub that it reads from, and since when.
    open: Option<(usize, Millis)>,
    /// When its last connection was made, or tried.
    asked: Millis,
    /// Events that are not stored, each as often as it has got it from this connection.
    live: BTreeMap<u64, usize>,
    /// When it was last told that events are missing.
    told: Millis,
}

struct Request {
    serials: Vec<u64>,
    channels: Vec<usize>,
    is_live: bool,
    skipped: Option<String>,
    asked: Millis,
    /// When it was answered, or given up.
    over: Option<Millis>,
    ids: Option<Vec<Option<u64>>>,
}

impl Reading {
    fn wants(&self, event_type: &str, skipped: Option<&String>) -> bool {
        (!self.plan.is_choosy || event_type == "t") && skipped != Some(&user_name(self.plan.user))
    }

    /// How often its hub has shown an event that is not stored, since it asked to be let in.
    fn was_shown(&self, world: &World, serial: u64) -> usize {
        self.open.map_or(0, |(hub, _)| world.unstored.shown_since(hub, serial, self.asked))
    }

    fn has_got(&self, serial: u64) -> usize {
        self.live.get(&serial).copied().unwrap_or_default()
    }

    /// Whether its hub has shown an event that is not stored as often as it has got it.
    fn could_get(&self, world: &World, serial: u64) -> bool {
        self.has_got(serial) <= self.was_shown(world, serial)
    }

    /// Whether it may have missed an event that is not stored, or a copy of one: it is told so.
    fn misses_live(&self, world: &World, requests: &[Request], channel: usize) -> bool {
        requests.iter().filter(|request| request.is_live).any(|request| {
            let mut all = request.serials.iter().zip(&request.channels);
            all.any(|(serial, of)| {
                *of == channel && self.has_got(*serial) < self.was_shown(world, *serial)
            })
        })
    }
}

/// The name of a user.
pub fn user_name(user: usize) -> String {
    format!("u{user}")
}

/// An event as a reader gets it.
pub struct Got<'a> {
    pub channel: usize,
    pub serial: u64,
    pub event_type: &'a str,
    pub id: &'a str,
}

impl Oracle {
    pub fn new(world: &Arc<World>, disk: &Arc<Mutex<Disk>>) -> Arc<Self> {
        let readers = world.plan.readers.iter().map(|plan| {
            let first = plan.from_first.then_some(0);
            let at = plan.channels.iter().map(|&channel| (channel, first)).collect();
            let (plan, moved, live) = (plan.clone(), BTreeMap::new(), BTreeMap::new());
            Reading { plan, at, moved, open: None, asked: 0, live, told: 0 }
        });
        let state = State {
            readers: readers.collect(),
            requests: Vec::new(),
            serials: BTreeMap::new(),
            next_serial: 1,
            revoked: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            delivered: 0,
            closed: BTreeMap::new(),
        };
        Arc::new(Self { world: world.clone(), disk: disk.clone(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events readers have got.
    pub fn delivered(&self) -> u64 {
        self.state().delivered
    }

    // --- publishers

    /// A request is about to be made for the first time. Its number.
    pub fn request(&self, events: &mut [NewEvent]) -> usize {
        let mut state = self.state();
        let number = state.requests.len();
        let mut serials = Vec::new();
        for event in events.iter_mut() {
            let serial = state.next_serial;
            state.next_serial += 1;
            state.serials.insert(serial, number);
            serials.push(serial);
            event.data = format!("{serial} {} {}", event.channel, event.data);
        }
        let channels = events.iter().map(|event| crate::disk::number_of(&event.channel)).collect();
        state.requests.push(Request {
            serials,
            channels,
            is_live: !events[0].store,
            skipped: events[0].skip_users.first().cloned(),
            asked: self.world.now(),
            over: None,
            ids: None,
        });
        number
    }

    /// It was answered, or given up. Returned is which is the last of its events in each channel,
    /// and since when.
    pub fn answered(
        &self,
        request: usize,
        ids: Option<Vec<Option<u64>>>,
    ) -> Vec<(usize, u64, Millis)> {
        let mut state = self.state();
        let request = &mut state.requests[request];
        request.over = Some(self.world.now());
        let Some(ids) = ids else { return Vec::new() };
        let mut stored = BTreeMap::new();
        if !request.is_live {
            let disk = self.disk();
            let all = request.serials.iter().zip(&request.channels).zip(&ids);
            for ((serial, channel), id) in all {
                let id = id.unwrap_or_default();
                let record = disk.channels[*channel].records.get(&id);
                if let Some(record) = record.filter(|record| record.serial == *serial) {
                    stored.insert(*channel, (id, record.at));
                } else {
                    let text = format!("#{serial} was confirmed as {id} of c{channel}");
                    self.world.violated("what is confirmed is stored", text);
                }
            }
        }
        request.ids = Some(ids);
        stored.into_iter().map(|(channel, (id, at))| (channel, id, at)).collect()
    }

    // --- permissions

    /// From now on the backend says that this user may not read the channel, or may.
    pub fn permit(&self, user: usize, channel: usize, may: bool) {
        let now = self.world.now();
        let mut state = self.state();
        let times = state.revoked.entry((user, channel)).or_default();
        match times.last_mut() {
            Some((_, until @ None)) if may => *until = Some(now),
            None | Some((_, Some(_))) if !may => times.push((now, None)),
            _ => {}
        }
        if may {
            state.confirmed.remove(&(user, channel));
        }
    }

    pub fn may_read(&self, user: usize, channel: usize) -> bool {
        let state = self.state();
        let times = state.revoked.get(&(user, channel));
        times.and_then(|times| times.last()).is_none_or(|(_, until)| until.is_some())
    }

    /// A hub that was asked then has confirmed it; for the hubs in `at_once` the next event
    /// already.
    pub fn confirm(&self, user: usize, channel: usize, asked: Millis, at_once: Vec<bool>) {
        let now = self.world.now();
        let mut state = self.state();
        let last = state.revoked.get(&(user, channel)).and_then(|times| times.last());
        // Who was told of a change before this one knows nothing of this one.
        if last.is_some_and(|(from, until)| until.is_none() && *from <= asked) {
            state.confirmed.insert((user, channel), (now, at_once));
        }
    }

    /// Whether a user could not read one of these at some time since then.
    fn was_revoked(state: &State, user: usize, channels: &[usize], since: Millis) -> bool {
        channels.iter().any(|channel| {
            let times = state.revoked.get(&(user, *channel));
            times.is_some_and(|times| {
                times.iter().any(|(_, until)| until.is_none_or(|until| until >= since))
            })
        })
    }

    // --- readers

    /// A reader asks to be let in.
    pub fn asks(&self, reader: usize) {
        let reading = &mut self.state().readers[reader];
        reading.asked = self.world.now();
        reading.live.clear();
    }

    /// A reader's stream is open, or it has none.
    pub fn opened(&self, reader: usize, hub: Option<usize>) {
        let now = self.world.now();
        self.state().readers[reader].open = hub.map(|hub| (hub, now));
    }

    /// Whether a reader takes nothing, or did so until a moment ago.
    fn is_slow(&self, reading: &Reading) -> bool {
        let since = self.world.now().saturating_sub(PROMPT);
        overlapping(&self.world, since).any(|what| *what == What::Lag(reading.plan.number))
    }

    pub fn is_reading_from(&self, hub: usize, since: Millis) -> Option<usize> {
        let state = self.state();
        let reads = |reading: &&Reading| {
            reading.open.is_some_and(|(at, from)| at == hub && from <= since)
                && !self.is_slow(reading)
        };
        state.readers.iter().find(reads).map(|reading| reading.plan.number)
    }

    /// A reader was shown out.
    pub fn shown_out(&self, reader: usize) {
        let state = self.state();
        let reading = &state.readers[reader];
        let (user, channels) = (reading.plan.user, &reading.plan.channels);
        let since = reading.asked.saturating_sub(5_000);
        if !Self::was_revoked(&state, user, channels, since) {
            let text = format!("reader {reader} was shown out, who is u{user} and may read");
            self.world.violated("who may read is let in", text);
        }
    }

    /// A reader has got an event.
    pub fn got(&self, reader: usize, got: &Got<'_>) {
        let Got { channel, serial, event_type, .. } = *got;
        let mut state = self.state();
        state.delivered += 1;
        let request = state.serials.get(&serial).map(|request| &state.requests[*request]);
        let (is_live, skipped) =
            request.map_or((false, None), |it| (it.is_live, it.skipped.clone()));
        let asked = request.map_or(0, |request| request.asked);
        if is_live {
            return self.got_live(&mut state, reader, got, asked, skipped.as_ref());
        }
        let cursor = Cursor::parse(got.id).unwrap_or_default();
        let disk = self.disk();
        let all = &disk.channels[channel].records;
        let id = cursor.position(&name_of(channel)).unwrap_or_default();
        let Some(record) = all.get(&id).filter(|record| record.serial == serial) else {
            let text = format!("reader {reader} got #{serial} as {id} of c{channel}");
            drop((disk, state));
            return self.world.violated("what is seen is stored", text);
        };
        self.check_permission(&state, reader, channel, record.at.min(record.numbered), serial);
        let reading = &mut state.readers[reader];
        if !reading.wants(event_type, record.skipped.as_ref()) {
            let text = format!("reader {reader} got #{serial}, which is for others");
            self.world.violated("nobody gets what is for others", text);
        }
        let Some(at) = reading.at.get(&channel).copied() else {
            let text =
                format!("reader {reader} got #{serial} of c{channel}, which it did not ask for");
            return self.world.violated("nobody gets what is for others", text);
        };
        match at {
            Some(at) if id <= at => {
                let text = format!("reader {reader} got {id} of c{channel} after {at}");
                self.world.violated("nothing comes twice or out of order", text);
            }
            _ => self.check_gap(reading, channel, all, id - 1),
        }
        reading.at.insert(channel, Some(id));
        reading.moved.insert(channel, self.world.now());
    }

    /// Nothing that was published after a confirmed revocation reaches the user.
    fn check_permission(
        &self,
        state: &State,
        reader: usize,
        channel: usize,
        published: Millis,
        serial: u64,
    ) {
        let reading = &state.readers[reader];
        if reading.plan.rests {
            return;
        }
        let user = reading.plan.user;
        let Some((since, at_once)) = state.confirmed.get(&(user, channel)) else { return };
        let hub = reading.open.map_or(0, |(hub, _)| hub);
        // Other hubs find out when they check again, or cannot for too long.
        let millis = |time: std::time::Duration| time.as_secs() * 1000;
        // A check begins within a tenth of the period, and an answer is remembered for 5 s.
        let mut grace = millis(RECHECK) / 10 * 11 + 5_000 + PROMPT;
        if !self.world.is_quiet_since(*since, &[Class::Backend, Class::Instance]) {
            grace += millis(RECHECK) + millis(PATIENCE) + 10_000;
        }
        let since = if at_once[hub] { *since } else { since + grace };
        if published > since {
            let text =
                format!("reader {reader} (u{user}) got #{serial} of c{channel} at hub {hub}");
            self.world.violated("nothing comes after a confirmed revocation", text);
        }
    }

    /// Nothing that a reader wants lies between where it is and this.
    fn check_gap(
        &self,
        reading: &Reading,
        channel: usize,
        all: &BTreeMap<u64, Record>,
        up_to: u64,
    ) {
        let (at, opened) = match reading.at[&channel] {
            Some(at) => (at, 0),
            // It reads from when it was let in.
            None => (0, reading.open.map_or(Millis::MAX, |(_, since)| since.saturating_add(1))),
        };
        if at >= up_to {
            return;
        }
        let missed = all.range(at + 1..=up_to).find(|(_, record)| {
            // What another program had taken a number for by then is from before.
            record.at.min(record.numbered) >= opened
                && reading.wants(&record.event_type, record.skipped.as_ref())
        });
        if let Some((id, record)) = missed {
            let number = reading.plan.number;
            let gone = if record.gone.is_some() { ", which is gone" } else { "" };
            let text = format!(
                "reader {number} was at {at} of c{channel}, then beyond {id}{gone}; nothing told it"
            );
            self.world.violated("no gap without a reset", text);
        }
    }

    /// Takes note of a reader's last event ID.
    pub fn stands(&self, reader: usize, id: &str) {
        let Ok(cursor) = Cursor::parse(id) else { return };
        let mut state = self.state();
        let disk = self.disk();
        let reading = &mut state.readers[reader];
        let channels: Vec<usize> = reading.at.keys().copied().collect();
        for channel in channels {
            let Some(position) = cursor.position(&name_of(channel)) else { continue };
            let at = reading.at[&channel];
            if at.is_some_and(|at| position < at) {
                let text =
                    format!("reader {reader} was at {at:?} of c{channel}, then at {position}");
                self.world.violated("positions never go back", text);
            }
            self.check_gap(reading, channel, &disk.channels[channel].records, position);
            reading.at.insert(channel, Some(position));
        }
    }

    /// A reader was told that events are missing, and where it goes on.
    pub fn reset(&self, reader: usize, channels: &[String], id: &str) {
        let now = self.world.now();
        let Ok(cursor) = Cursor::parse(id) else { return };
        let state = &mut *self.state();
        let disk = self.disk();
        let reading = &mut state.readers[reader];
        reading.told = now;
        for name in channels {
            let channel = crate::disk::number_of(name);
            let position = cursor.position(name).unwrap_or_default();
            let channel_of = &disk.channels[channel];
            let (stored, records) = (&channel_of.stored, &channel_of.records);
            if position > stored.head {
                let text = format!("reader {reader} was told to go on at {position} of c{channel}");
                self.world.violated("a reset leads to where the channel is", text);
            }
            let Some(at) = reading.at.get(&channel).copied().flatten() else {
                reading.at.insert(channel, Some(position));
                continue;
            };
            let last = stored.head.min(at + 100_000);
            let is_gone = |id| match records.get(&id) {
                Some(record) => record.was_missing(now),
                // A number without an event: lost, or another program's, for which readers wait.
                None => channel_of.pending.get(&id).is_none_or(|since| now - since >= 900),
            };
            let misses_live = || reading.misses_live(&self.world, &state.requests, channel);
            if !(at + 1..=last).any(is_gone) && !misses_live() {
                let text =
                    format!("reader {reader} was at {at} of c{channel}, and nothing is missing");
                self.world.violated("a reset only where history is gone", text);
            }
            if position < at {
                let text = format!("reader {reader} was at {at} of c{channel}, then at {position}");
                self.world.violated("positions never go back", text);
            }
            // Who was there goes on with the first event after the loss.
            let is_after_loss = at < stored.base && position > stored.base;
            let loss = records.range(..=stored.base).filter_map(|(_, record)| record.gone).max();
            let was_there = reading.open.is_some_and(|(_, since)| Some(since) < loss);
            if is_after_loss && was_there {
                let text = format!(
                    "reader {reader} was told to go on at {position} of c{channel}, which begins after {}",
                    stored.base
                );
                self.world.violated("nothing is left out after a loss", text);
            }
            reading.at.insert(channel, Some(position));
        }
    }
}
