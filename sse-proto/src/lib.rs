//! Server-Sent Events without I/O: the event-stream codec and the state machines of the protocol.
//!
//! ```text
//!  chunk                   any bytes, cut anywhere
//!    │  decoder            finds line ends, holds what the end of a chunk cuts, keeps limits
//!    ▼
//!  line     id: 7          without its end
//!    │  grammar            section 9.2.5: blank, comment, or field
//!    ▼
//!  field    Id, "7"        one of event, data, id, retry, and its value
//!    │  interpret          section 9.2.6: fills the buffers; a blank line dispatches them
//!    ▼
//!  event                   type, data, last event ID; borrowed from the chunk where it can be
//!    │  reader             asks the session what an event means for the connection
//!    ▼
//!  item                    for the application: an event, a gap, a reported error, a comment
//!
//!  session                 sections 9.2.2 to 9.2.4: connect, read, sleep, or stop; sees no bytes
//! ```
//!
//! To learn how Server-Sent Events work, read [`grammar`] and [`interpret`]: the standard's words
//! stand beside the lines that do what they say. The decoder here and the client for browsers read
//! every line by them.
//!
//! - [`Decoder`] turns the bytes of a stream, in whatever chunks they come, into [`Event`]s that
//!   borrow from the chunk.
//! - [`Event`] encodes itself; [`Rendered`] is an event encoded once for many streams.
//! - [`Session`] decides everything about one client connection that can be decided without a
//!   socket or a clock: when to connect, with which headers, when to give up. [`Reader`] is a
//!   session and a decoder together, for clients.
//! - [`Cursor`] is the last event ID of a stream of many channels; [`Control`] knows the control
//!   events. Both are django-eventstream's.
//!
//! ```
//! use sse_proto::{Decoder, Frame};
//!
//! let mut decoder = Decoder::new();
//! let mut seen = Vec::new();
//! for chunk in [&b"data: hel"[..], b"lo\n\ndata: world\n\n"] {
//!     let mut frames = decoder.decode(chunk);
//!     while let Some(frame) = frames.next_frame() {
//!         if let Frame::Event(event) = frame? {
//!             seen.push(event.data().to_owned());
//!         }
//!     }
//! }
//! assert_eq!(seen, ["hello", "world"]);
//! # Ok::<(), sse_proto::DecodeError>(())
//! ```
//!
//! # Install
//!
//! `cargo add ssekit-proto`, once 0.1 is published; until then
//! `cargo add ssekit-proto --git https://github.com/ssekit/ssekit`. The crate is `no_std`, and
//! needs an allocator and Rust 1.85.
//!
//! # Features
//!
//! Each adds something and changes nothing that is there without it. Only `std` is on by default.
//!
//! - `std`: chooses the widest vector instructions at run time. Changes speed only; those that find
//!   line ends need Rust 1.89. With it, two files have a little `unsafe` (`scan/avx2.rs` and
//!   `scan/avx512.rs` say why); without it, there is none.
//! - `simdutf8`: validates UTF-8 with vector instructions. Changes speed only.
//! - `stream`: the module `stream`, which makes a stream of events out of a stream of bytes.
//! - `codec`: the module `codec`, for tokio-util's `Framed`. Needs std.
//! - `serde`: `Serialize` and `Deserialize` for [`Event`].
//! - `proptest`: the module `strategy`, with which others test their parsers. Needs std.
//!
//! "The standard" is WHATWG HTML, chapter 9.2, "Server-sent events".

#![no_std]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod grammar;
pub mod interpret;

mod decoder;
mod encoder;
mod event;
mod scan;

mod control;
mod cursor;

mod reader;
mod session;

#[cfg(feature = "codec")]
pub mod codec;
#[cfg(any(feature = "codec", feature = "stream"))]
mod owned;
#[cfg(feature = "serde")]
mod serde;
#[cfg(feature = "proptest")]
pub mod strategy;
#[cfg(feature = "stream")]
pub mod stream;

pub use control::{
    Control, ControlKind, ERROR_ID, KEEP_ALIVE, OPENING, PADDING_LEN, StreamError, stream_reset,
};
pub use cursor::{Cursor, CursorError, encode_channel, event_id};
pub use decoder::{Chunk, DecodeError, Decoder, DecoderConfig, Frame, Frames};
pub use encoder::{Rendered, encode_comment, encode_retry};
pub use event::{DEFAULT_EVENT_TYPE, Event, EventBuilder, InvalidField};
pub use reader::{Item, Items, Reader};
pub use session::{
    Backoff, Closed, Decision, Failure, Nanos, Outcome, Policy, Request, ResponseHead, Session,
    SessionConfig, Stage, State, Step, Terminator, mime_essence, nanos,
};
