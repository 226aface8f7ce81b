//! Random streams: bytes that are likely to mean something to a parser, cut at random.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// Whole lines, so that blocks get finished and events come out.
const LINES: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"data: a\n",
    b"data:b\r",
    b"data:  c\r\n",
    b"data\n",
    b"event: e\n",
    b"event\r",
    b"id: 1\n",
    b"id:2\r\n",
    b"id\n",
    b"id: \0\n",
    b"retry: 5\n",
    b"retry: +5\r",
    b"retry: 4294967296\n",
    b"retry: 99999999999999999999\r\n",
    b": comment\n",
    b"Data: A\n",
];

/// Pieces of lines. What is rare on the wire is common here.
const PIECES: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\r\r",
    b":",
    b" ",
    b"\t",
    b"data",
    b"data:",
    b"event",
    b"event:",
    b"id",
    b"id:",
    b"retry",
    b"retry:",
    b"0",
    b"7",
    b"+",
    b"-",
    b"x",
    b"\0",
    b"\x0B",
    b"\x0C",
    "\u{85}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{e9}".as_bytes(),
    "\u{1F600}".as_bytes(),
    "\u{FEFF}".as_bytes(),
];

/// Bytes that make a stream ill-formed, or put together a character out of pieces.
const BROKEN: &[&[u8]] = &[
    b"\xEF",
    b"\xBB",
    b"\xBF",
    b"\xEF\xBB",
    b"\xC3",
    b"\xA9",
    b"\xE2\x82",
    b"\xF0\x9F",
    b"\x98",
    b"\x80",
    b"\xC0\xAF",
    b"\xED\xA0\x80",
    b"\xF4\x90\x80\x80",
    b"\xFF",
];

/// A stream; more than half of them are well-formed UTF-8.
pub(crate) fn stream() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![3 => select(LINES), 1 => select(PIECES)];
    let any = prop_oneof![4 => select(LINES), 4 => select(PIECES), 1 => select(BROKEN)];
    let start = prop_oneof![9 => Just(&b""[..]), 1 => Just("\u{FEFF}".as_bytes())];
    let pieces = prop_oneof![vec(whole, 0..32), vec(any, 0..32)];
    (start, pieces).prop_map(|(start, pieces)| [start, &pieces.concat()].concat())
}

/// A last event ID from before the stream, more often none.
pub(crate) fn seed() -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 1 => Just("seed".to_owned())]
}

/// Where to cut a stream; resolved by [`chunks`].
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// Cuts a stream. Two cuts at one place make an empty chunk, which a decoder must bear.
pub(crate) fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}
