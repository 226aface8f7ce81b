//! Runs a decoder over a case: whole, in single bytes and in every two chunks.

use std::iter;
use std::panic::catch_unwind;

use sse_peers::Codec;

use crate::cases::Case;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In every chunking.
    Agrees,
    /// In at least one.
    Differs,
    /// In at least one.
    Panics,
}

pub(crate) fn of(codec: &Codec, case: &Case) -> Verdict {
    let mut verdict = Verdict::Agrees;
    for chunks in chunkings(&case.stream) {
        match catch_unwind(|| (codec.deliver)(&chunks, &case.last_event_id)) {
            Ok(delivered) if delivered == case.expected => {}
            Ok(_) => verdict = Verdict::Differs,
            Err(_) => return Verdict::Panics,
        }
    }
    verdict
}

fn chunkings(stream: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let whole = iter::once(vec![stream]);
    let single_bytes = iter::once(stream.chunks(1).collect());
    let two = (1..stream.len()).map(|middle| {
        let (head, tail) = stream.split_at(middle);
        vec![head, tail]
    });
    whole.chain(single_bytes).chain(two)
}
