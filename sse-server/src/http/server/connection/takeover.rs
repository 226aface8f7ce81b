//! A response for which hyper is to give its connection away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::Response;

/// A response that hyper does not write.
#[derive(Debug)]
pub(super) struct Direct {
    pub(super) response: Response,
    /// More requests may follow on the connection.
    pub(super) is_kept: bool,
}

/// Where such a response waits until hyper has written all that came before.
#[derive(Debug, Default)]
pub(super) struct Takeover {
    /// Something has been written since all was flushed.
    is_unflushed: AtomicBool,
    direct: Mutex<Option<Box<Direct>>>,
}

impl Takeover {
    pub(super) fn set_flushed(&self, is_flushed: bool) {
        self.is_unflushed.store(!is_flushed, Ordering::Relaxed);
    }

    pub(super) fn give(&self, direct: Direct) {
        *self.direct() = Some(Box::new(direct));
    }

    /// The response, once its turn has come.
    pub(super) fn take(&self) -> Option<Box<Direct>> {
        if self.is_unflushed.load(Ordering::Relaxed) { None } else { self.direct().take() }
    }

    fn direct(&self) -> MutexGuard<'_, Option<Box<Direct>>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
