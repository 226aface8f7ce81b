//! The session's clock, and the alarm that it sets.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sse_proto::{Nanos, nanos};
use web_time::Instant;

use crate::runtime::Runtime;
use crate::send::BoxFuture;

/// How often the socket is looked at again when a time limit has passed. If the program stood
/// still, bytes that came meanwhile are noticed only now, and pass through tasks of the HTTP
/// client, which the runtime may run after this one.
const LOOKS: u8 = 3;

/// How long to wait for each of these looks.
const LOOK_AFTER: Nanos = 10_000_000;

/// The longest that a timer is set for. It is set anew when it rings.
const LONGEST: Nanos = 24 * 60 * 60 * 1_000_000_000;

/// How far away a time is put that others cannot count to.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Whether the time is read for each question.
#[derive(Clone, Copy)]
enum Held {
    No,
    Unread,
    At(Nanos),
}

pub(super) struct Clock {
    runtime: Arc<dyn Runtime>,
    /// What the session's times count from.
    start: Instant,
    /// The time that is taken for the whole of what is being done.
    held: Cell<Held>,
    /// Rings at the time beside it, and perhaps for nothing: it is not set anew as long as it rings
    /// in time, since nearly every chunk moves the alarm.
    timer: Option<(BoxFuture<()>, Nanos)>,
    /// When the session wants to be asked again; `None`: not before something has happened.
    until: Option<Nanos>,
    /// How many looks beyond `until` have been arranged, when that has passed in the middle of an
    /// attempt.
    looks: u8,
    /// When the last of them is due.
    next_look: Nanos,
}

impl Clock {
    /// Starts now, and rings at once.
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        let start = runtime.now();
        let held = Cell::new(Held::No);
        Self { runtime, start, held, timer: None, until: Some(0), looks: 0, next_look: 0 }
    }

    /// The time as the session counts it.
    pub(super) fn now(&self) -> Nanos {
        match self.held.get() {
            Held::At(now) => now,
            Held::No => self.read(),
            Held::Unread => {
                let now = self.read();
                self.held.set(Held::At(now));
                now
            }
        }
    }

    /// Takes one time for all that is done up to [`release`](Self::release), if one is needed: to
    /// read a clock takes as long as a short event.
    pub(super) fn hold(&self) {
        self.held.set(Held::Unread);
    }

    pub(super) fn release(&self) {
        self.held.set(Held::No);
    }

    fn read(&self) -> Nanos {
        nanos(self.runtime.now().saturating_duration_since(self.start))
    }

    /// The session's time as others have it; `None` if they cannot count to it.
    pub(super) fn at(&self, time: Duration) -> Option<Instant> {
        self.start.checked_add(time)
    }

    /// In place of a time that others cannot count to.
    pub(super) fn far(&self) -> Instant {
        self.runtime.now() + FAR
    }

    pub(super) const fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Sets the alarm, or none.
    pub(super) const fn set(&mut self, until: Option<Nanos>) {
        self.until = until;
    }

    /// Sets no alarm any more.
    pub(super) fn stop(&mut self) {
        self.timer = None;
        self.until = None;
    }

    /// Something has come in time.
    pub(super) const fn hear(&mut self) {
        self.looks = 0;
    }

    /// Waits for the alarm. In the middle of an attempt it rings only when some more looks at the
    /// socket have found nothing.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_amid: bool) -> Poll<()> {
        let Some(mut until) = self.until else {
            return Poll::Pending;
        };
        loop {
            let now = self.now();
            if now >= until && is_amid && self.looks < LOOKS {
                if self.looks == 0 || now >= self.next_look {
                    self.looks += 1;
                    self.next_look = now.saturating_add(LOOK_AFTER);
                }
                until = self.next_look;
            }
            if now >= until {
                self.looks = 0;
                return Poll::Ready(());
            }
            // Made here because only here there is a runtime for certain.
            if self.timer.as_ref().is_none_or(|(_, rings)| *rings > until) {
                let rings = until.min(now.saturating_add(LONGEST));
                let time = Duration::from_nanos(rings - now);
                self.timer = Some((self.runtime.sleep(time), rings));
            }
            if let Some((timer, _)) = &mut self.timer {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.timer = None;
                self.hold();
            }
        }
    }
}
