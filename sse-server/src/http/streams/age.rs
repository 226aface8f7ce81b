//! How long a stream may last.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};

/// The time that a stream has left.
#[derive(Debug)]
pub(super) struct Age {
    /// Apart, because most servers set none, and streams are many.
    clock: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Age {
    /// None: it has no end.
    pub(super) fn new(longest: Option<Duration>) -> Self {
        Self::until(longest.map(|time| Instant::now() + time))
    }

    /// One that is over then.
    pub(super) fn until(end: Option<Instant>) -> Self {
        Self { clock: end.map(|end| Box::pin(sleep_until(end))), is_over: false }
    }

    /// When it is over, unless it is already.
    pub(super) fn end(&self) -> Option<Instant> {
        self.clock.as_ref().map(|clock| clock.deadline())
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Ready once it is over, however often it is asked.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.clock.as_mut().is_some_and(|clock| clock.poll_unpin(cx).is_ready()) {
            self.clock = None;
            self.is_over = true;
        }
        if self.is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}
