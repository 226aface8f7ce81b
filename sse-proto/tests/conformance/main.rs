//! Conformance of event stream decoders.
//!
//! * `vectors_check` holds the vectors against the standard, written down as code.
//! * `decoder_check` runs the decoder over the vectors in every chunking, and beside the standard.
//! * `long_run` runs it beside the standard for as long as you like.
//!
//! What they measure with is in `testkit`, where other crates' tests find it too: `oracle`,
//! `additions`, `vectors`, and `decoder`, which is the decoder under test in the words of the
//! vectors. Other crates' decoders are held against the standard there, in `testkit::peers`.

mod decoder_check;
mod long_run;
mod vectors_check;

use testkit::{additions, decoder, oracle, vectors};

/// The crate's own file: it is public there with the feature `proptest`, and these tests run
/// without.
#[path = "../../src/strategy.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests need only a part of it")]
mod strategy;

// What the strategies are made with, where they expect it.
use sse_proto::{Decoder, DecoderConfig, Event, EventBuilder, Frame, encode_comment};
