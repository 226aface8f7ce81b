//! What threads meet by: loom's, which tries all orders.

use std::task::Waker;

pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
pub(super) use loom::sync::{Mutex, MutexGuard, mpsc};

#[derive(Debug)]
pub(super) struct AtomicWaker(loom::future::AtomicWaker);

impl Default for AtomicWaker {
    fn default() -> Self {
        Self(loom::future::AtomicWaker::new())
    }
}

impl AtomicWaker {
    pub(super) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(super) fn wake(&self) {
        self.0.wake();
    }
}
