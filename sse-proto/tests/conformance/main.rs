//! Conformance of event stream decoders.
//!
//! * `oracle` is the standard, written down as code, over the whole stream at once.
//! * `additions` is what this project adds to the standard: limits and comments.
//! * `vectors` reads `vectors/*.json`; `vectors_check` holds them against the two above.
//! * `decoder` is the decoder under test, in the words of the vectors.
//! * `decoder_check` runs it over the vectors in every chunking, and beside the oracle.
//! * `long_run` runs it beside the oracle for as long as one likes.
//! * `peers` runs other crates' decoders, and explains every difference from the oracle.
//!
//! The measure stays apart from what is measured: only `decoder` and `decoder_check` may name our decoder.

mod additions;
mod decoder;
mod decoder_check;
mod long_run;
mod oracle;
mod peers;
mod vectors;
mod vectors_check;

/// The crate's own file: it is public there with the feature `proptest`, and these tests run without.
#[path = "../../src/strategy.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests need only a part of it")]
mod strategy;

// What the strategies are made with, where they expect it.
use sse_proto::{Decoder, DecoderConfig, Event, EventBuilder, Frame, encode_comment};
