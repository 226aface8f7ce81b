//! Runs every block of the documentation as it stands there.
//!
//! Blocks in Rust are doc tests of this crate: `build.rs` writes them. All others are run by the
//! test `documents`. What a block needs and readers need not see stands in HTML comments above it;
//! see [`Mark`].
//!
//! Nothing may depend on this crate.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod expected;
mod markdown;

pub use expected::{all_fit, fits};
pub use markdown::{Block, Mark, blocks, documents};

#[cfg(doctest)]
include!(concat!(env!("OUT_DIR"), "/blocks.rs"));
