//! What wakes the owner of a crowd.

use std::sync::{Arc, PoisonError};
use std::task::Wake;

use super::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Rung when a log has grown that members of a crowd read. Rung any number of times, it is heard
/// once.
pub(crate) struct Bell {
    is_rung: AtomicBool,
    /// The groups whose logs have grown.
    grown: Mutex<Vec<u32>>,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    /// A bell that does this when it is rung.
    pub(crate) fn new(ring: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let (is_rung, grown) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        Arc::new(Self { is_rung, grown, ring: Box::new(ring) })
    }

    /// Rings it.
    pub(crate) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            (self.ring)();
        }
    }

    /// Takes note that it was heard. What comes from now on rings again; what came before, so that
    /// it did not ring, is seen.
    pub(crate) fn hear(&self) {
        // No mere store: that could be done after what is looked at next.
        self.is_rung.swap(false, Ordering::AcqRel);
    }

    /// Whether it was rung after it was heard last. If not, there is no message that was sent
    /// before anything that the caller has seen.
    pub(crate) fn is_rung(&self) -> bool {
        self.is_rung.load(Ordering::Acquire)
    }

    /// Moves the groups whose logs have grown to `groups`, which is empty.
    pub(crate) fn take_grown(&self, groups: &mut Vec<u32>) {
        std::mem::swap(&mut *self.grown(), groups);
    }

    fn grown(&self) -> MutexGuard<'_, Vec<u32>> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rings for one group.
pub(crate) struct Rope {
    pub(crate) bell: Arc<Bell>,
    pub(crate) group: u32,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if mutant!("crowd-not-rung") && self.group > 0 {
            return;
        }
        self.bell.grown().push(self.group);
        self.bell.ring();
    }
}
