//! What wakes a reader of a log.

use std::task::Context;

use super::sync::{AtomicBool, AtomicWaker, Ordering};

/// Tells a subscriber that one of its logs has grown. Raised any number of times, it wakes once.
///
/// The rule: it is raised after the log has grown, and lowered before the log is read.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_raised: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    pub(crate) fn raise(&self) {
        if !self.is_raised.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether it has been raised since it was lowered the last time. If not, `cx` is woken when it
    /// is.
    pub(crate) fn lower(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.is_raised.swap(false, Ordering::AcqRel)
    }
}
