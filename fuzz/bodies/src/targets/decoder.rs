//! The decoder beside the standard written down as code: any bytes, any cuts, any limits.

use sse_proto::{Decoder, DecoderConfig};

use crate::additions::{self, Delivery, Wanted};
use crate::decoder::{as_by_rows, by_rows, by_session, decode, delivery, interrupted};
use crate::oracle::{self, Item};

/// The bytes before the stream: flags, two limits, three cuts.
pub(crate) const HEAD: usize = 8;

/// The id from before the stream.
const SEED: u8 = 1;
const COMMENTS: u8 = 2;
const EVENT_LIMIT: u8 = 4;
const LINE_LIMIT: u8 = 8;

/// The least limit of a line: a byte order mark counts for none, but is held.
const LEAST_LINE: usize = 3;

pub(crate) fn run(data: &[u8]) {
    let (head, stream) = split(data);
    let is = |flag: u8| head[0] & flag != 0;
    let limit = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let wanted = Wanted {
        comments: is(COMMENTS),
        event_limit: is(EVENT_LIMIT).then(|| limit(1)),
        line_limit: is(LINE_LIMIT).then(|| limit(3).max(LEAST_LINE)),
    };
    let seed = if is(SEED) { "seed" } else { "" };
    let expected = if wanted.is_plain() {
        let (items, id) = oracle::parse(stream, seed);
        (items.into_iter().map(Delivery::Item).collect(), id)
    } else {
        additions::parse(stream, seed, wanted)
    };
    let cut = chunks(stream, &head[5..]);
    let bytes: Vec<_> = stream.chunks(1).collect();
    for chunks in [&[stream][..], &bytes, &cut] {
        assert_eq!(decode(chunks, seed, wanted), expected, "in {} chunks", chunks.len());
    }
    if wanted.is_plain() {
        assert_eq!(stopping(stream, seed), expected, "stopped after each frame");
        assert_eq!(interrupted(stream, seed, wanted), expected, "with other chunks begun");
    }
    // A session acts on these, and keeps reconnection times to itself.
    let controls = [&b"stream-reset"[..], b"stream-error"];
    if !controls.iter().any(|name| stream.windows(name.len()).any(|part| part == *name)) {
        let rows = (as_by_rows(expected.0.clone()), expected.1.clone());
        assert_eq!(by_rows(&cut, seed, wanted), rows, "by rows");
        let (mut items, id) = expected;
        items.retain(|item| !matches!(item, Delivery::Item(Item::Retry(_))));
        assert_eq!(by_session(&cut, seed, wanted), (items, id), "by a session");
    }
}

/// Reads one frame at a time, and what is left with a new call.
fn stopping(stream: &[u8], seed: &str) -> (Vec<Delivery>, String) {
    let mut decoder = Decoder::with_config(DecoderConfig::default());
    decoder.set_last_event_id((!seed.is_empty()).then(|| seed.to_owned()));
    let mut delivered = Vec::new();
    let mut rest = stream;
    loop {
        let mut frames = decoder.decode(rest);
        let Some(frame) = frames.next_frame() else { break };
        delivered.push(delivery(frame));
        rest = frames.rest();
    }
    (delivered, decoder.last_event_id().unwrap_or_default().to_owned())
}

/// The head, of zeros where there is none, and the stream.
pub(crate) fn split(data: &[u8]) -> ([u8; HEAD], &[u8]) {
    let len = data.len().min(HEAD);
    let mut head = [0; HEAD];
    head[..len].copy_from_slice(&data[..len]);
    (head, &data[len..])
}

/// A stream cut at these parts of 256.
pub(crate) fn chunks<'a>(stream: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|&cut| stream.len() * usize::from(cut) / 255).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &stream[std::mem::replace(&mut start, end)..end]).collect()
}

/// A stream as input: with a seed or not, with these limits or without, in two chunks.
pub(crate) fn input(stream: &[u8], with_id: bool, wanted: Wanted) -> Vec<u8> {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(with_id, SEED)
        | flag(wanted.comments, COMMENTS)
        | flag(wanted.event_limit.is_some(), EVENT_LIMIT)
        | flag(wanted.line_limit.is_some(), LINE_LIMIT);
    let limit = |limit: Option<usize>| u16::try_from(limit.unwrap_or(0)).unwrap_or(u16::MAX);
    let mut input = vec![flags];
    input.extend(limit(wanted.event_limit).to_le_bytes());
    input.extend(limit(wanted.line_limit).to_le_bytes());
    input.extend([0, 128, 255]);
    input.extend(stream);
    input
}
