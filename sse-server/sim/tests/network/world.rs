//! What all parts of a run share, and what must be so.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use sse_proto::Cursor;
use sse_server::storage::{MemoryStorage, Storage};

use crate::plan::{Millis, Plan, SERVERS};
use crate::wire::Links;

/// The channels that every reader reads.
pub(crate) const CHANNELS: [&str; 2] = ["a", "b"];

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) links: Links,
    pub(crate) storage: Arc<MemoryStorage>,
    /// Servers that are to shut down.
    pub(crate) drains: [AtomicBool; SERVERS],
    /// Clients are to leave.
    pub(crate) is_over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    random: Rng,
    lines: Vec<String>,
    violation: Option<String>,
    /// For each reader and channel, the id of the last event.
    at: Vec<BTreeMap<String, u64>>,
    /// Which event an id is.
    known: BTreeMap<(String, u64), u64>,
    next_serial: u64,
    /// Requests that are not answered yet.
    waiting: usize,
    delivered: u64,
    connections: u64,
    open: i64,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Arc<Self> {
        let first = || CHANNELS.iter().map(|&channel| (channel.to_owned(), 0)).collect();
        let state = State {
            random: Rng::with_seed(plan.seed),
            lines: Vec::new(),
            violation: None,
            at: (0..plan.readers).map(|_| first()).collect(),
            known: BTreeMap::new(),
            next_serial: 1,
            waiting: 0,
            delivered: 0,
            connections: 0,
            open: 0,
        };
        Arc::new(Self {
            plan,
            links: Links::default(),
            storage: Arc::new(MemoryStorage::new()),
            drains: Default::default(),
            is_over: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Random numbers for a part that begins now.
    pub(crate) fn random(&self) -> Rng {
        let seed = self.state().random.u64(..);
        Rng::with_seed(seed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Takes note of what happens.
    pub(crate) fn say(&self, what: fmt::Arguments<'_>) {
        let now = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        self.note(Millis::try_from(now).expect("runs are short"), what);
    }

    pub(crate) fn note(&self, now: Millis, what: fmt::Arguments<'_>) {
        self.state().lines.push(format!("{:>3}.{:03} s  {what}", now / 1000, now % 1000));
    }

    /// Something has happened that must not. The first counts.
    pub(crate) fn violated(&self, rule: &str) {
        self.say(format_args!("!! {rule}"));
        self.state().violation.get_or_insert_with(|| rule.to_owned());
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.state().violation.is_some()
    }

    /// A connection of a server is there, or is no more.
    pub(crate) fn opened(&self, change: i64) {
        let mut state = self.state();
        state.open += change;
        state.connections += u64::from(change > 0);
    }

    pub(crate) fn open(&self) -> i64 {
        self.state().open
    }

    /// The number of an event that is about to be published.
    pub(crate) fn serial(&self) -> u64 {
        let mut state = self.state();
        state.next_serial += 1;
        state.next_serial
    }

    /// A request is about to be made, or has been answered with these ids.
    pub(crate) fn asks(&self) {
        self.state().waiting += 1;
    }

    pub(crate) fn answered(&self, serials: &[u64], ids: &[(String, u64)]) {
        self.state().waiting -= 1;
        if serials.len() != ids.len() {
            return self.violated("each event of a request gets an id");
        }
        for (serial, (channel, id)) in serials.iter().zip(ids) {
            self.is(channel, *id, *serial);
        }
    }

    /// An id is of this event, and of no other.
    fn is(&self, channel: &str, id: u64, serial: u64) {
        let known = *self.state().known.entry((channel.to_owned(), id)).or_insert(serial);
        if known != serial {
            self.say(format_args!("{channel}:{id} is #{known} and #{serial}"));
            self.violated("an id is of one event");
        }
    }

    /// A reader has got an event.
    pub(crate) fn got(&self, reader: usize, data: &str, last_event_id: &str) {
        self.say(format_args!("reader {reader} gets {data:.20}, and is at {last_event_id}"));
        let mut words = data.split(' ');
        let serial = words.next().and_then(|word| word.parse().ok());
        let (Some(serial), Some(channel)) = (serial, words.next()) else {
            return self.violated("what arrives is what was published");
        };
        if words.next().is_none_or(|word| word.len() != length(serial)) {
            return self.violated("events are whole");
        }
        let cursor = Cursor::parse(last_event_id).unwrap_or_default();
        let id = cursor.position(channel).unwrap_or_default();
        let before = {
            let mut state = self.state();
            state.delivered += 1;
            state.at[reader].insert(channel.to_owned(), id)
        };
        if before.is_none_or(|before| before + 1 != id) {
            self.violated("each event arrives once and in order");
        }
        self.is(channel, id, serial);
    }

    /// Nothing goes wrong any more, for long enough: what is true now.
    pub(crate) async fn finish(&self) {
        if self.state().waiting > 0 {
            return self.violated("every request is answered");
        }
        for channel in CHANNELS {
            let head = self.storage.head(channel).await.unwrap_or_default();
            let at: Vec<u64> = self.state().at.iter().map(|at| at[channel]).collect();
            if at.iter().any(|&at| at != head) {
                self.say(format_args!("{channel} ends at {head}, and readers are at {at:?}"));
                return self.violated("everything arrives everywhere");
            }
        }
        let known = self.state().known.clone();
        let mut serials: Vec<&u64> = known.values().collect();
        serials.sort_unstable();
        serials.dedup();
        if serials.len() != known.len() {
            self.violated("what is published is there once");
        }
    }

    /// What it has come to: lines, violation, events and connections.
    pub(crate) fn take(&self) -> (Vec<String>, Option<String>, u64, u64) {
        let state = &mut *self.state();
        let lines = std::mem::take(&mut state.lines);
        (lines, state.violation.take(), state.delivered, state.connections)
    }
}

/// How long the data of an event are, beside its number and its channel.
pub(crate) fn length(serial: u64) -> usize {
    let len = match serial % 23 {
        0 => 30_000,
        1..=4 => 2_500,
        short => short * 7,
    };
    usize::try_from(len + 1).expect("it is small")
}
