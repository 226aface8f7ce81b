//! What is stored, and all that ever was: the log that readers' histories are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sse_server::storage::{Batch, NewEvent, Outcome, StoredEvent};

use crate::plan::Millis;

/// What another program writes has no number of ours.
pub const STRANGER: u64 = u64::MAX;

#[derive(Default)]
pub struct Disk {
    pub channels: Vec<Channel>,
    keys: BTreeMap<String, Key>,
    /// Keys that retention has removed: sent again now, a request is a new one.
    forgotten: BTreeSet<String>,
    /// Requests that were sent again after that.
    pub excused: BTreeSet<u64>,
}

struct Key {
    at: Millis,
    fingerprint: [u8; 32],
    ids: Vec<u64>,
}

#[derive(Clone, Default)]
pub struct Channel {
    /// What readers of the storage see.
    pub stored: Stored,
    /// Every event that ever had a number, by its number.
    pub records: BTreeMap<u64, Record>,
    /// Numbers that another program has taken, and since when, for events that are not there yet.
    pub pending: BTreeMap<u64, Millis>,
}

/// One channel as a server of the database has it.
#[derive(Clone, Default)]
pub struct Stored {
    pub head: u64,
    /// Where its ids have begun anew.
    pub base: u64,
    pub events: BTreeMap<u64, (Millis, StoredEvent)>,
}

#[derive(Clone, Debug)]
pub struct Record {
    /// The publisher's number of the event.
    pub serial: u64,
    pub skipped: Option<String>,
    pub event_type: String,
    /// When it got its number, and when it could be read.
    pub numbered: Millis,
    pub at: Millis,
    /// Since when it is not there any more.
    pub gone: Option<Millis>,
}

impl Record {
    /// Whether a reader could have found that it was missing, by this time.
    pub fn was_missing(&self, now: Millis) -> bool {
        // What another program has taken a number for is waited for by readers, a second.
        self.gone.is_some() || self.at.min(now).saturating_sub(self.numbered) >= 900
    }
}

/// Which of our channels this is.
pub fn number_of(channel: &str) -> usize {
    channel.strip_prefix('c').and_then(|number| number.parse().ok()).expect("one of ours")
}

/// The publisher's number of an event.
pub fn serial_of(data: &str) -> Option<u64> {
    data.split(' ').next()?.parse().ok()
}

impl Disk {
    pub fn new(channels: usize) -> Self {
        Self { channels: vec![Channel::default(); channels], ..Self::default() }
    }

    pub fn append(&mut self, events: &[NewEvent], now: Millis) -> Vec<u64> {
        events.iter().map(|event| self.append_one(event, now)).collect()
    }

    fn append_one(&mut self, event: &NewEvent, now: Millis) -> u64 {
        let channel = &mut self.channels[number_of(&event.channel)];
        let id = channel.take_number();
        let serial = serial_of(&event.data).expect("ours have one");
        channel.put(id, (serial, &event.event_type, &event.data, &event.skip_users), now, now);
        id
    }

    pub fn append_once(&mut self, batch: &Batch<'_>, now: Millis) -> Outcome {
        let Some(key) = batch.key else { return Outcome::Appended(self.append(batch.events, now)) };
        if let Some(known) = self.keys.get(key.name()) {
            return Outcome::of_known(key, &known.fingerprint, known.ids.clone());
        }
        if self.forgotten.contains(key.name()) {
            self.excused.extend(batch.events.iter().filter_map(|event| serial_of(&event.data)));
        }
        let ids = self.append(batch.events, now);
        let known = Key { at: now, fingerprint: *key.fingerprint(), ids: ids.clone() };
        self.keys.insert(key.name().to_owned(), known);
        Outcome::Appended(ids)
    }

    /// Removes what is older than this.
    pub fn trim(&mut self, before: Millis, limit: usize, now: Millis) -> usize {
        let mut trimmed = 0;
        for channel in &mut self.channels {
            while trimmed < limit
                && let Some(first) = channel.stored.events.first_entry()
                && first.get().0 < before
            {
                let id = *first.key();
                channel.lose(id, now);
                trimmed += 1;
            }
        }
        let old = self.keys.extract_if(.., |_, key| key.at < before).take(limit - trimmed);
        let old: Vec<String> = old.map(|(name, _)| name).collect();
        trimmed += old.len();
        self.forgotten.extend(old);
        trimmed
    }

    pub fn shorten(&mut self, keep: u64, limit: usize, now: Millis) -> usize {
        let mut removed = 0;
        for channel in &mut self.channels {
            while removed < limit && channel.stored.events.len() as u64 > keep {
                let id = *channel.stored.events.first_key_value().expect("some are there").0;
                channel.lose(id, now);
                removed += 1;
            }
        }
        removed
    }

    /// Loses everything. Ids go on after a gap of so many.
    pub fn wipe(&mut self, gap: u64, now: Millis) {
        for channel in &mut self.channels {
            let ids: Vec<u64> = channel.stored.events.keys().copied().collect();
            for id in ids {
                channel.lose(id, now);
            }
            // What never was is missed by nobody.
            channel.stored.head += gap;
            channel.stored.base = channel.stored.head;
        }
        let names = std::mem::take(&mut self.keys).into_keys();
        self.forgotten.extend(names);
    }

    pub fn copy(&self) -> Vec<Stored> {
        self.channels.iter().map(|channel| channel.stored.clone()).collect()
    }
}

impl Channel {
    pub fn take_number(&mut self) -> u64 {
        self.stored.head += 1;
        self.stored.head
    }

    pub fn put(
        &mut self,
        id: u64,
        (serial, event_type, data, skip_users): (u64, &str, &str, &[String]),
        numbered: Millis,
        now: Millis,
    ) {
        let event = StoredEvent::new(id, event_type, data).skip_users(skip_users.to_vec());
        self.stored.events.insert(id, (now, event));
        self.pending.remove(&id);
        let record = Record {
            serial,
            skipped: skip_users.first().cloned(),
            event_type: event_type.to_owned(),
            numbered,
            at: now,
            gone: None,
        };
        self.records.insert(id, record);
    }

    fn lose(&mut self, id: u64, now: Millis) {
        self.stored.events.remove(&id);
        if let Some(record) = self.records.get_mut(&id) {
            record.gone.get_or_insert(now);
        }
    }
}

impl Stored {
    pub fn read(&self, after: u64, limit: usize) -> Vec<StoredEvent> {
        let events = self.events.range(after.saturating_add(1)..);
        events.take(limit).map(|(_, (_, event))| event.clone()).collect()
    }
}

/// The name of a channel.
pub fn name_of(channel: usize) -> Arc<str> {
    format!("c{channel}").into()
}
