//! Whether a server keeps its streams alive, as far as it has shown.

use super::backoff::{Nanos, SECOND};

/// So many in a row show it. Two would be a chance: a server may say a word or two when a stream
/// begins.
const BEATS: u8 = 3;

/// What comes sooner after something else is a part of that, as the pieces of a long event are.
const MIN_PAUSE: Nanos = SECOND;

/// Beats that are farther apart leave too little to [`super::config`]'s limit for streams that are
/// kept alive.
const MAX_PAUSE: Nanos = 30 * SECOND;

/// Counts beats: arrivals without an event. They count only if nothing else is between them, for
/// then they are as far apart as the server's timer lets them be.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    keeps_alive: bool,
    /// How many in a row.
    beats: u8,
    last_beat: Nanos,
    /// The last arrival. It is known when the next one comes whether it was a beat.
    arrival: Nanos,
    /// It was none, since it had an event.
    is_interrupted: bool,
    /// It was a part of what came before.
    is_part: bool,
}

impl Pulse {
    /// A stream begins.
    pub(super) const fn start(&mut self, now: Nanos) {
        self.arrival = now;
        self.is_interrupted = true;
    }

    /// Something arrives.
    pub(super) const fn beat(&mut self, now: Nanos) {
        let pause = self.arrival.saturating_sub(self.last_beat);
        if self.is_interrupted {
            self.beats = 0;
        } else if !self.is_part {
            let is_late = pause > MAX_PAUSE;
            self.beats = if is_late { 1 } else { self.beats.saturating_add(1) };
            self.last_beat = self.arrival;
        }
        if self.beats >= BEATS {
            self.keeps_alive = true;
        }
        self.is_part = now.saturating_sub(self.arrival) < MIN_PAUSE;
        self.arrival = now;
        self.is_interrupted = false;
    }

    /// What has arrived has an event.
    pub(super) const fn interrupt(&mut self) {
        self.is_interrupted = true;
    }

    /// The server was silent for too long, so it has not shown anything.
    pub(super) const fn forget(&mut self) {
        self.keeps_alive = false;
        self.beats = 0;
    }

    pub(super) const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }
}
