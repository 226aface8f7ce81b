//! What is known of how fast the other end reads, and whether it is to come back by another
//! connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the other end of a connection takes what is written to it: its socket knows, and its
/// streams ask. On HTTP/2 each stream has its own, because each has a window of its own.
#[derive(Debug, Default)]
pub(in crate::http) struct Consumer {
    /// That of the whole connection, if this is a stream's.
    connection: Option<Arc<Consumer>>,
    is_slow: AtomicBool,
    was_closed: AtomicBool,
    is_retired: AtomicBool,
}

impl Consumer {
    /// One stream among those of a connection.
    pub(super) fn of_stream(connection: Arc<Self>) -> Self {
        Self { connection: Some(connection), ..Self::default() }
    }

    /// Whether nothing could be written for too long, so that streams are to end.
    pub(in crate::http) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
            || self.connection.as_ref().is_some_and(|connection| connection.is_slow())
    }

    /// Nothing could be written for too long.
    pub(super) fn set_slow(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    /// A request has come: the other end starts afresh.
    pub(super) fn has_asked(&self) {
        self.is_slow.store(false, Ordering::Relaxed);
    }

    /// The whole connection is to end, as soon as nothing is under way on it.
    pub(in crate::http) fn retire(&self) {
        self.connection.as_deref().unwrap_or(self).is_retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether this is the first time that it is closed for being slow. A connection counts once,
    /// however many streams it has.
    pub(in crate::http) fn close(&self) -> bool {
        match &self.connection {
            Some(connection) if connection.is_slow() => connection.close(),
            _ => !self.was_closed.swap(true, Ordering::Relaxed),
        }
    }
}
