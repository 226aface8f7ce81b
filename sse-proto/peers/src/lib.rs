//! `sse-proto` beside other crates that decode event streams, its peers.
//!
//! [`CODECS`] has an adapter for each, [`ADAPTERS`] the streams of events that some of them make.
//! What is measured of them is elsewhere: conformance in `tests`, speed in `benches`. Nothing of
//! ours may depend on this crate, because it depends on all the peers.
//!
//! An adapter uses its crate as that crate's documentation does, and where it offers several ways,
//! the cheapest that still yields every event. It adds nothing that could be called decoding,
//! except where its crate says that it leaves something to the reader; then the adapter says so
//! too.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod adapters;
mod chunks;
mod corpus;
mod ours;
mod peers;

use std::hint::black_box;

pub use adapters::{ADAPTERS, Adapter, FRAMED, STREAM};
pub use chunks::{CHUNK_LENS, Chunks};
pub use corpus::Corpus;
pub use ours::{BORROWED, OWNED};

/// All decoders, ours first.
pub const CODECS: [Codec; 8] = [
    BORROWED,
    OWNED,
    peers::sse_core::CODEC,
    peers::sse_parse::CODEC,
    peers::sse_stream::CODEC,
    peers::sseer::CODEC,
    peers::eventsource_client::CODEC,
    peers::eventsource_stream::CODEC,
];

/// A decoder, and how to run it.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// The crate; for ours, also in which of its forms.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// Whether this is `sse-proto`.
    pub ours: bool,
    /// What its events hold on to.
    pub form: Form,
    /// Decodes a stream that comes in these chunks and goes on after this last event ID, and keeps
    /// all that is told. It may panic.
    pub deliver: fn(&[&[u8]], &str) -> Delivered,
    /// Decodes a stream, looks at each event and keeps none.
    pub count: fn(&Chunks) -> Count,
}

/// What events hold on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// They borrow from the chunk or the decoder, and are gone with the next one.
    Borrowed,
    /// They own copies of their text.
    Owned,
    /// They share ownership of the chunk that they came in. They can be kept as owned ones can, and
    /// keep the whole chunk with them.
    Shared,
}

/// What a decoder makes of a whole stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The last event ID at the end. Of a decoder that does not tell it, that of the last event.
    pub last_event_id: String,
    /// The last reconnection time that was told, in milliseconds.
    pub retry: Option<u64>,
}

/// An event, as every decoder can tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` if the stream names none.
    pub event_type: String,
    /// Its data.
    pub data: String,
    /// The last event ID that it was dispatched with.
    pub last_event_id: String,
}

/// What came out of a stream, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many events.
    pub events: usize,
    /// How many bytes their data have together.
    pub data_len: usize,
}

impl Count {
    /// Counts an event, and makes the compiler believe that somebody reads all of it. Otherwise it
    /// could leave out the making of what is not looked at.
    fn add<E>(&mut self, event: &E, data: &str) {
        black_box(event);
        self.events += 1;
        self.data_len += data.len();
    }
}
