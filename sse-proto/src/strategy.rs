//! Strategies for [`proptest`](mod@proptest): event streams, to test any parser with.
//!
//! - [`stream`] makes hostile streams, rich in CR, LF, CRLF, colons, NUL, numbers too large, pieces
//!   of byte order marks and ill-formed UTF-8.
//! - [`well_formed_stream`] makes streams as a server would send them.
//! - [`chunking`] cuts a stream into chunks, within line ends and characters too.
//! - [`event`] makes events that can be sent, [`event_type`] and [`id`] valid fields of them, and
//!   [`text`] whatever someone may try to put into a field.
//! - [`expected`] is what this crate's decoder makes of a stream.
//!
//! All of them shrink: to fewer pieces, fewer cuts, shorter text.
//!
//! ```
//! use proptest::prelude::*;
//! use sse_proto::strategy;
//!
//! # mod my { // A stand-in for the parser under test.
//! #     #[derive(Default)]
//! #     pub struct Parser(sse_proto::Decoder);
//! #     impl Parser {
//! #         pub fn feed(&mut self, chunk: &[u8]) -> Vec<(String, String)> {
//! #             let mut events = Vec::new();
//! #             let mut frames = self.0.decode(chunk);
//! #             while let Some(frame) = frames.next_frame() {
//! #                 if let Ok(sse_proto::Frame::Event(event)) = frame {
//! #                     events.push((event.event_type().to_owned(), event.data().to_owned()));
//! #                 }
//! #             }
//! #             events
//! #         }
//! #     }
//! # }
//! proptest! {
//! # /*
//!     #[test]
//! # */
//!     fn my_parser_agrees(stream in strategy::stream(), chunking in strategy::chunking()) {
//!         let mut parser = my::Parser::default();
//!         let mut events = Vec::new();
//!         for chunk in chunking.chunks(&stream) {
//!             events.extend(parser.feed(chunk));
//!         }
//!         let expected = strategy::expected(&stream);
//!         let expected: Vec<_> = expected
//!             .iter()
//!             .map(|event| (event.event_type().into(), event.data().into()))
//!             .collect();
//!         prop_assert_eq!(events, expected);
//!     }
//! }
//! # my_parser_agrees();
//! ```

use std::borrow::ToOwned;
use std::format;
use std::mem;
use std::string::String;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{Decoder, DecoderConfig, Event, EventBuilder, Frame};

/// Whole lines, so that blocks get finished and events come out.
pub(crate) const LINES: &[&[u8]] = &[
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
pub(crate) const PIECES: &[&[u8]] = &[
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
pub(crate) const BROKEN: &[&[u8]] = &[
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

/// Any stream at all, up to a few hundred bytes; more than half of them are well-formed UTF-8.
/// Every sequence of bytes is an event stream, so there is one right reading of each.
pub fn stream() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![3 => select(LINES), 1 => select(PIECES)];
    let any = prop_oneof![4 => select(LINES), 4 => select(PIECES), 1 => select(BROKEN)];
    let pieces = prop_oneof![vec(whole, 0..32), vec(any, 0..32)];
    (byte_order_mark(), pieces).prop_map(|(start, pieces)| [start, &pieces.concat()].concat())
}

/// A stream of events, comments and reconnection times, with line ends of every kind, that is UTF-8
/// and ends with a blank line.
pub fn well_formed_stream() -> impl Strategy<Value = Vec<u8>> {
    let comment = text().prop_map(|text| encoded(|out| crate::encode_comment(&text, out)));
    let retry = any::<u32>().prop_map(|milliseconds| format!("retry: {milliseconds}\n"));
    let event = event().prop_map(|event| encoded(|out| event.encode_into(out)));
    let part = prop_oneof![6 => event, 1 => comment, 1 => retry];
    let part = (part, select(&["\n", "\r", "\r\n"][..]));
    let part = part.prop_map(|(part, line_end)| part.replace('\n', line_end));
    (byte_order_mark(), vec(part, 0..8)).prop_map(|(start, parts)| {
        let parts = parts.concat();
        [start, parts.as_bytes(), b"\n\n"].concat()
    })
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    encode(&mut out);
    String::from_utf8(out).expect("what is made of text is text")
}

fn byte_order_mark() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![9 => Just(&b""[..]), 1 => Just("\u{FEFF}".as_bytes())]
}

/// An event that can be sent. Its data may have line breaks of every kind, which arrive as LF.
pub fn event() -> impl Strategy<Value = Event<'static>> {
    (event_type(), option::of(id()), text()).prop_map(|(event_type, id, data)| {
        let event = Event::builder(&data).event_type(&event_type);
        build(if let Some(id) = &id { event.id(id) } else { event })
    })
}

fn build(event: EventBuilder<'_>) -> Event<'static> {
    event.build().expect("the type and the id have only what they may have").into_owned()
}

/// An event type that can be sent, often empty: text without CR and LF.
pub fn event_type() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\r', '\n'], ""))
}

/// An id that can be sent, often empty: text without CR, LF and NUL.
pub fn id() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(['\r', '\n', '\0'], ""))
}

/// Any text, rich in what would mean something in a stream. Only data and comments may hold all of
/// it.
pub fn text() -> impl Strategy<Value = String> {
    let special = ["\r", "\n", "\r\n", "\n\n", "\0", "\u{FEFF}", "\u{2028}"];
    let injected = ["data: x", "\nid: 5", "\nevent: e", "\rretry: 1", "\n: c"];
    let piece = prop_oneof![
        3 => "[a-z :]{0,4}",
        1 => select([&special[..], &injected].concat()).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// A way to cut a stream of any length: not at all, into single bytes, or at up to a dozen places.
pub fn chunking() -> impl Strategy<Value = Chunking> {
    prop_oneof![
        1 => Just(Chunking(Cuts::At(Vec::new()))),
        1 => Just(Chunking(Cuts::Everywhere)),
        6 => vec(any::<Index>(), 0..12).prop_map(|cuts| Chunking(Cuts::At(cuts))),
    ]
}

/// Where to cut a stream; made by [`chunking`].
#[derive(Clone, Debug)]
pub struct Chunking(Cuts);

#[derive(Clone, Debug)]
enum Cuts {
    Everywhere,
    At(Vec<Index>),
}

impl Chunking {
    /// The stream in chunks. Some may be empty, which a parser must bear.
    pub fn chunks<'a>(&self, stream: &'a [u8]) -> Vec<&'a [u8]> {
        let cuts = match &self.0 {
            Cuts::Everywhere => return stream.chunks(1).collect(),
            Cuts::At(cuts) => cuts,
        };
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let mut start = 0;
        ends.into_iter().map(|end| &stream[mem::replace(&mut start, end)..end]).collect()
    }
}

/// The events of a whole stream.
///
/// This runs the crate's own [`Decoder`], without limits: it is a measure for other parsers, and
/// none for that one.
pub fn expected(stream: &[u8]) -> Vec<Event<'static>> {
    let no_limits = DecoderConfig::default().max_event_len(usize::MAX).max_line_len(usize::MAX);
    let mut decoder = Decoder::with_config(no_limits);
    let mut frames = decoder.decode(stream);
    let mut events = Vec::new();
    while let Some(frame) = frames.next_frame() {
        if let Ok(Frame::Event(event)) = frame {
            events.push(event.into_owned());
        }
    }
    events
}
