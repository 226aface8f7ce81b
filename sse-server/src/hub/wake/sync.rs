//! What threads meet by.

pub(super) use std::sync::atomic::{AtomicBool, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, mpsc};

pub(super) use futures_util::task::AtomicWaker;
