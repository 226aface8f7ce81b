//! Who is woken, and when: where threads meet in the hub without a lock around all of it.
//!
//! Each has one rule on which it depends that nobody sleeps while there is something to do. `loom`
//! tries all orders of threads on these very files, with its own atomics in place of
//! [`sync`](self::sync): `tests/models/wake.rs`.
//!
//! May enter: atomics, locks, wakers, queues. May not: logs, readers, sockets.

mod bell;
mod inbox;
mod signal;
mod sync;

pub(crate) use bell::{Bell, Rope};
#[cfg(feature = "server")]
pub(crate) use inbox::{Inbox, Remote};
pub(crate) use signal::Signal;
