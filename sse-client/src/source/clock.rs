//! The session's clock, and the alarm that it sets.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sse_proto::{Nanos, nanos};
use tokio::time::{Instant, Sleep, sleep_until};

/// How often the socket is looked at again when a time limit has passed. If the program stood
/// still, bytes that came meanwhile are noticed only now, and pass through tasks of the HTTP
/// client, which the runtime may run after this one.
const LOOKS: u8 = 3;

/// How long to wait for each of these looks.
const LOOK_AFTER: Nanos = 10_000_000;

pub(super) struct Clock {
    /// What the session's times count from.
    start: Instant,
    timer: Option<Pin<Box<Sleep>>>,
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
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), timer: None, until: Some(0), looks: 0, next_look: 0 }
    }

    /// The time as the session counts it.
    pub(super) fn now(&self) -> Nanos {
        nanos(self.start.elapsed())
    }

    /// The session's time as others have it; `None` if they cannot count to it.
    pub(super) fn at(&self, time: Duration) -> Option<std::time::Instant> {
        self.start.into_std().checked_add(time)
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
        // A time that the clock cannot count to does not come.
        let Some(until) = self.start.checked_add(Duration::from_nanos(until)) else {
            return Poll::Pending;
        };
        // Made here because only here there is a runtime for certain.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx)
    }
}
