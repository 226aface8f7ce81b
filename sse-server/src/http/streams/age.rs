//! How long a stream may last.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Sleep, sleep};

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
        Self { clock: longest.map(|time| Box::pin(sleep(time))), is_over: false }
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
