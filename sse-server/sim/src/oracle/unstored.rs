//! Events that are not stored. One that is confirmed reaches those who read then, also right before
//! a server shuts down; none comes more often than it was shown, or out of order.

use super::{Got, Oracle, PROMPT, Reading, Request, State, user_name};
use crate::disk::Disk;
use crate::plan::Millis;
use crate::world::World;

/// A hub was closed.
pub(super) struct Ends {
    time: Millis,
    /// The last event of each channel.
    heads: Vec<u64>,
}

impl Oracle {
    /// A hub is about to be closed.
    pub fn closes(&self, hub: usize) {
        let ends = Ends::now(&self.disk(), self.world.now());
        self.state().closed.insert(hub, ends);
    }

    /// A reader's stream has come to its end. If its hub was closed, it has got what is stored
    /// nowhere, unless it was still reading history.
    pub fn ended(&self, reader: usize) {
        let state = self.state();
        let reading = &state.readers[reader];
        let Some((hub, since)) = reading.open else { return };
        let Some(ends) = state.closed.get(&hub).filter(|ends| ends.time >= since) else { return };
        if let Some(serial) = missed(&self.world, &state, reading, ends) {
            let text = format!(
                "reader {reader} never got #{serial}, which is not stored, and was confirmed before hub {hub} was closed"
            );
            self.world.violated("what is confirmed before the end is delivered", text);
        }
    }

    /// A reader has got an event that is not stored.
    pub(super) fn got_live(
        &self,
        state: &mut State,
        reader: usize,
        got: &Got<'_>,
        asked: Millis,
        skipped: Option<&String>,
    ) {
        self.check_permission(state, reader, got.channel, asked, got.serial);
        let reading = &mut state.readers[reader];
        if !reading.wants(got.event_type, skipped) {
            let text = format!("reader {reader} got #{}, which is for others", got.serial);
            self.world.violated("nobody gets what is for others", text);
        }
        let is_first = !reading.live.contains_key(&got.serial);
        if let Some(later) = is_first.then(|| overtaken(&self.world, state, reader, got)).flatten()
        {
            let text = format!(
                "reader {reader} got #{} after #{later}, neither of which is stored",
                got.serial
            );
            self.world.violated("nothing comes twice or out of order", text);
        }
        let reading = &mut state.readers[reader];
        *reading.live.entry(got.serial).or_default() += 1;
        if !reading.could_get(&self.world, got.serial) {
            let text = format!(
                "reader {reader} got #{}, which is not stored, more often than its hub had it",
                got.serial
            );
            self.world.violated("nothing comes twice or out of order", text);
        }
    }

    /// At the end of the run nobody waits for what is not stored.
    pub(super) fn expect_unstored(&self, state: &State, disk: &Disk) {
        let ends = Ends::now(disk, self.world.now().saturating_sub(PROMPT));
        for reading in state.readers.iter().filter(|reading| !self.is_slow(reading)) {
            if let Some(serial) = missed(&self.world, state, reading, &ends) {
                let reader = reading.plan.number;
                let text = format!(
                    "reader {reader} never got #{serial}, which is not stored, and was confirmed"
                );
                self.world.violated("what is confirmed is delivered", text);
            }
        }
    }
}

impl Ends {
    fn now(disk: &Disk, time: Millis) -> Self {
        Self { time, heads: disk.channels.iter().map(|channel| channel.stored.head).collect() }
    }
}

/// An event that is not stored, and that a reader must have got from its hub by then. Not one that
/// still reads history, or may not read all that it asks for.
fn missed(world: &World, state: &State, reading: &Reading, ends: &Ends) -> Option<u64> {
    let (hub, opened) = reading.open?;
    let (user, channels) = (reading.plan.user, &reading.plan.channels);
    let is_behind = reading.at.iter().any(|(channel, at)| *at < Some(ends.heads[*channel]));
    let revoked = Oracle::was_revoked(state, user, channels, opened.saturating_sub(5_000));
    if is_behind || revoked || reading.plan.is_choosy {
        return None;
    }
    let since = opened.max(reading.told);
    let is_for_it = |request: &&Request| request.skipped.as_ref() != Some(&user_name(user));
    let unstored = state.requests.iter().filter(|request| request.is_live).filter(is_for_it);
    let mut events = unstored.flat_map(|request| request.serials.iter().zip(&request.channels));
    let is_missed = |(serial, channel): &(&u64, &usize)| {
        channels.contains(channel)
            && reading.has_got(**serial)
                < world.unstored.surely_shown(hub, **serial, since, ends.time)
    };
    events.find(is_missed).map(|(serial, _)| *serial)
}

/// An event of the same channel that a reader has got already, though it was published after this
/// one; neither is stored.
fn overtaken(world: &World, state: &State, reader: usize, got: &Got<'_>) -> Option<u64> {
    let reading = &state.readers[reader];
    let (hub, _) = reading.open?;
    let is_of_channel = |serial: u64| {
        let request = state.serials.get(&serial).map(|request| &state.requests[*request]);
        request.is_some_and(|request| {
            let mut all = request.serials.iter().zip(&request.channels);
            all.any(|(of, channel)| *of == serial && *channel == got.channel)
        })
    };
    // Those that a reader has got twice may have come before as well.
    let once = reading.live.iter().filter(|(_, times)| **times == 1).map(|(serial, _)| *serial);
    let mut others = once.filter(|serial| is_of_channel(*serial));
    others.find(|other| {
        let is_one_request = state.serials.get(other) == state.serials.get(&got.serial);
        world.unstored.is_before(hub, got.serial, *other, is_one_request)
    })
}
