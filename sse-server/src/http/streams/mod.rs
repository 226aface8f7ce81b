//! `GET` where streams are: which channels a request names, what it accepts, and the stream or the
//! live page that answers it.
//!
//! May enter: the hub, access. May not: sockets, the framing of HTTP, publishing.

mod accept;
mod age;
#[cfg(feature = "server")]
pub(super) mod compression;
pub(super) mod endpoint;
pub(super) mod events;
#[cfg(feature = "server")]
pub(super) mod held;
mod original;
pub(super) mod page;
pub(super) mod state;
mod stream;
