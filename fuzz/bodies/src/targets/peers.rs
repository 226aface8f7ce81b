//! Other decoders beside the standard: each difference has a name, or somebody has a bug that
//! nobody knows.

use super::decoder::{chunks, split};
use crate::peers::{eventsource_stream, sse_core};

/// More than this is too much for one of them, by its own limit.
const MAX_LEN: usize = 256 << 10;

pub(crate) fn run(data: &[u8]) {
    let (head, stream) = split(data);
    if stream.len() > MAX_LEN {
        return;
    }
    let seed = if head[0] & 1 == 1 { "seed" } else { "" };
    let cut = chunks(stream, &head[5..]);
    assert_eq!(
        sse_core::decode(&cut, seed),
        sse_core::explain(stream, seed).outcome,
        "sse-core has a new difference, or the oracle an error"
    );
    // It panics at a byte order mark, which is known, and would end the fuzzer.
    if !stream.starts_with(b"\xEF") {
        assert_eq!(
            eventsource_stream::decode(&cut, seed),
            eventsource_stream::explain(stream, seed).outcome,
            "eventsource-stream has a new difference, or the oracle an error"
        );
    }
}
