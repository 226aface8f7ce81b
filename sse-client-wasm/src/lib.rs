//! The part of the browser's client that is not JavaScript: [`Source`] drives one event source, and
//! speaks in numbers and rows of bytes, because these cross the border between WebAssembly and
//! JavaScript cheaply.
//!
//! - `source` joins a [`Session`](sse_proto::Session), which decides when to connect and when to
//!   stop, and `rows`. It is safe code and tested as any other.
//! - `rows` reads a stream. It makes one text of all events of a chunk, with a CR after each part,
//!   so that a string crosses the border once for each chunk and not for each event.
//! - `abi` is what JavaScript calls, and exists only in WebAssembly.
//!
//! What needs a browser (requests, timers, listeners) is done by `js/`.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![deny(missing_docs)]

extern crate alloc;

// Elsewhere clippy alone looks at it.
#[cfg(any(target_arch = "wasm32", clippy))]
mod abi;
mod rows;
mod source;

pub use source::{Settings, Source, flag, happening, reason, state, step};
