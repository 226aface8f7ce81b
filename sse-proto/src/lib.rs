//! Server-Sent Events without I/O: the event-stream codec and the state machines of the protocol.
//!
//! - [`Decoder`] turns the bytes of a stream, in whatever chunks they come, into [`Event`]s that
//!   borrow from the chunk.
//! - [`Event`] encodes itself; [`Rendered`] is an event encoded once for many streams.
//! - [`Session`] decides everything about one client connection that can be decided without a
//!   socket or a clock: when to connect, with which headers, what to deliver, when to give up.
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
//! `cargo add ssekit-proto --git https://github.com/ssekit/ssekit`. The crate is `no_std` and needs an
//! allocator, and Rust 1.85.
//!
//! # Features
//!
//! Each adds something and changes nothing that is there without it. Only `std` is on by default.
//!
//! - `std`: chooses the widest vector instructions at run time. Changes speed only; those that find line ends
//!   need Rust 1.89. With it, two files have
//!   a little `unsafe` (`scan/avx2.rs` and `avx512.rs` say why); without it, there is none.
//! - `simdutf8`: validates UTF-8 with vector instructions. Changes speed only.
//! - `stream`: the module `stream`, which makes a stream of events out of a stream of bytes.
//! - `codec`: the module `codec`, for `Framed` and its kin of tokio-util. Needs std.
//! - `serde`: `Serialize` and `Deserialize` for [`Event`].
//! - `proptest`: the module `strategy`, with which others test their parsers. Needs std.
//!
//! What is "the standard" here is WHATWG HTML, chapter 9.2, "Server-sent events".

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

pub use control::{Control, ERROR_ID, KEEP_ALIVE, OPENING, PADDING_LEN, StreamError, stream_reset};
pub use cursor::{Cursor, CursorError, encode_channel, event_id};
pub use decoder::{Chunk, DecodeError, Decoder, DecoderConfig, Frame, Frames};
pub use encoder::{Rendered, encode_comment, encode_retry};
pub use event::{DEFAULT_EVENT_TYPE, Event, EventBuilder, InvalidField};
pub use session::{
    Backoff, Closed, Decision, Failure, Item, Items, Outcome, Policy, Request, ResponseHead,
    RowClosed, RowConfig, RowSession, RowStep, Session, SessionConfig, Stage, State, Step,
    Terminator,
};
