//! Conformance of event stream decoders.
//!
//! * `oracle` is the standard, written down as code, over the whole stream at once.
//! * `additions` is what this project adds to the standard: limits and comments.
//! * `vectors` reads `vectors/*.json`; `vectors_check` holds them against the two above.
//! * `decoder_check` runs a decoder over the vectors in every chunking, and beside the oracle.
//! * `peers` runs other crates' decoders, and explains every difference from the oracle.
//!
//! The measure stays apart from what is measured: only `decoder_check` may name our decoder.

mod additions;
mod decoder_check;
mod oracle;
mod peers;
mod streams;
mod vectors;
mod vectors_check;
