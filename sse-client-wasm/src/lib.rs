//! The browser's client, as far as it is not JavaScript: [`Source`], a [`Session`](sse_proto::Session)
//! that speaks to its driver in numbers and in stretches of text, because that is what crosses the
//! border between WebAssembly and JavaScript cheaply.
//!
//! One instance of the module drives one event source. What is decided, is decided by the session;
//! what needs a browser (requests, timers, listeners) is done by `js/`. Strings cross once for each
//! chunk, not for each event: the text of all its events is one piece, and a table says where in it
//! each of them is.
//!
//! `source` is safe code and tested as any other. `abi` is what JavaScript calls, and exists only in
//! WebAssembly.

#![cfg_attr(target_arch = "wasm32", no_std)]
#![deny(missing_docs)]

extern crate alloc;

// Elsewhere clippy alone looks at it.
#[cfg(any(target_arch = "wasm32", clippy))]
mod abi;
mod source;

pub use source::{Settings, Source, flag, happening, reason, state, step};
