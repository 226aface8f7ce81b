//! Nobody waits for ever: what has to be there after a while, and at the end.

use std::collections::BTreeMap;

use super::{Oracle, PROMPT, Reading};
use crate::disk::{Disk, STRANGER};
use crate::plan::Millis;

/// Who has got an event within this time does not wait for one.
const MOVING: Millis = 300;

impl Oracle {
    /// How long a stored event may take to readers.
    pub fn prompt(&self) -> Millis {
        // Readers wait for what another program has taken a number for: 5 s for each, one after the
        // other.
        if self.world.plan.is_late { PROMPT + 16_000 } else { PROMPT }
    }

    /// Readers who were here by then, and may not read since before, are not here any more.
    pub fn expect_shown_out(&self, hub: usize, by: Millis) {
        let state = self.state();
        for reading in state.readers.iter().filter(|reading| !reading.plan.rests) {
            let Some((at_hub, since)) = reading.open else { continue };
            let user = reading.plan.user;
            let revoked = reading.plan.channels.iter().find(|channel| {
                let times = state.revoked.get(&(user, **channel));
                times
                    .and_then(|times| times.last())
                    .is_some_and(|(from, until)| until.is_none() && *from < by)
            });
            let is_due = at_hub == hub && since < by && !self.is_slow(reading);
            if let Some(channel) = revoked.filter(|_| is_due) {
                let number = reading.plan.number;
                let text = format!("reader {number} (u{user}) still reads c{channel} at hub {hub}");
                self.world.violated("who is back in touch checks its streams", text);
            }
        }
    }

    /// Readers at this hub, or at all, have what could be read by then, up to this event.
    pub fn expect(&self, hub: Option<usize>, channel: usize, up_to: u64, by: Millis) {
        let state = self.state();
        let disk = self.disk();
        for reading in &state.readers {
            let Some((at_hub, since)) = reading.open else { continue };
            // Who is far behind comes nearer, and waits for nothing.
            let moved = reading.moved.get(&channel).copied().unwrap_or_default();
            let is_moving = moved > 0 && moved + MOVING > self.world.now();
            let is_slow = is_moving || self.is_slow(reading);
            if hub.is_some_and(|hub| hub != at_hub) || since > by || is_slow {
                continue;
            }
            if let Some(behind) = behind(reading, channel, &disk, up_to, by) {
                let number = reading.plan.number;
                let text =
                    format!("reader {number} at hub {at_hub} waits for {behind} of c{channel}");
                self.world.violated("what is published arrives in time", text);
            }
        }
    }

    /// At the end everybody has everything, and every request was answered.
    pub fn finish(&self) {
        let state = self.state();
        let disk = self.disk();
        for reading in &state.readers {
            let number = reading.plan.number;
            if reading.plan.begins > self.world.plan.length {
                continue;
            }
            if reading.open.is_none() {
                let text = format!("reader {number} is not connected at the end");
                self.world.violated("nobody waits for ever", text);
            }
            for channel in reading.at.keys() {
                if let Some(behind) = behind(reading, *channel, &disk, u64::MAX, Millis::MAX) {
                    let text = format!("reader {number} never got {behind} of c{channel}");
                    self.world.violated("nobody waits for ever", text);
                }
            }
        }
        self.expect_unstored(&state, &disk);
        let mut copies: BTreeMap<u64, u64> = BTreeMap::new();
        for record in disk.channels.iter().flat_map(|channel| channel.records.values()) {
            if record.serial != STRANGER && !disk.excused.contains(&record.serial) {
                *copies.entry(record.serial).or_default() += 1;
            }
        }
        for request in &state.requests {
            let first = request.serials[0];
            if request.over.is_none() {
                let text = format!("the request with #{first} was never answered");
                self.world.violated("nobody waits for ever", text);
            }
            if request.is_live {
                continue;
            }
            let counts: Vec<u64> = request
                .serials
                .iter()
                .map(|serial| copies.get(serial).copied().unwrap_or_default())
                .collect();
            let is_excused = disk.excused.contains(&first);
            if counts.iter().any(|&count| count > 1) {
                let text = format!("#{first} was stored {counts:?} times");
                self.world.violated("what is published is there once", text);
            } else if counts.iter().any(|count| *count != counts[0]) {
                let text = format!("the request with #{first} was stored in part: {counts:?}");
                self.world.violated("a request is stored as a whole", text);
            } else if request.ids.is_some() && counts[0] == 0 && !is_excused {
                let text = format!("#{first} was confirmed, and is not there");
                self.world.violated("what is confirmed is stored", text);
            }
        }
    }
}

/// The first event that a reader could have had by then and has not.
fn behind(reading: &Reading, channel: usize, disk: &Disk, up_to: u64, by: Millis) -> Option<u64> {
    let at = (*reading.at.get(&channel)?)?;
    let records = disk.channels[channel].records.range(at + 1..up_to.saturating_add(1).max(at + 1));
    let mut wanted = records.filter(|(_, record)| {
        record.at <= by && reading.wants(&record.event_type, record.skipped.as_ref())
    });
    wanted.next().map(|(id, _)| *id)
}
