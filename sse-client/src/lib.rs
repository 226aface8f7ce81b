//! A Server-Sent Events client that reconnects and resumes by itself, for native programs.
//!
//! An [`EventSource`] is a [`Stream`](futures_core::Stream) of what one URL sends:
//!
//! ```no_run
//! use sse_client::EventSource;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut source = EventSource::get("https://example.com/events/?channel=news")?;
//!     while let Some(item) = source.next().await {
//!         let Some(event) = item?.into_event() else { continue };
//!         println!("{}: {}", event.event_type(), event.data());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # What it does
//!
//! - **Resumes.** After a lost connection, the end of the stream, silence, or a status that may
//!   pass, it waits (longer each time, with jitter, as the server asks) and sends the last event ID.
//!   None of this is an item: it shows in [`state`](EventSource::state) and
//!   [`last_failure`](EventSource::last_failure), and in the log of the `tracing` crate.
//! - **Stops** when trying again is useless: the last item is [`Error::Closed`], which says why, with
//!   the beginning of the response's body. [`SessionConfig`] says what counts as useless.
//! - **Says what is missing.** [`Item::Reset`], [`Error::Decode`] and [`Error::IdWithheld`] are gaps;
//!   the stream goes on after them.
//! - **Does nothing unless polled.** There is no task in the background and no queue: at most the
//!   items of one chunk are held, and a slow reader slows down the server. Dropping the source aborts
//!   the request.
//!
//! What happens when is decided by [`sse_proto::Session`]; this crate adds the socket and the clock.
//! It must be polled in a tokio runtime with I/O and time enabled.
//!
//! # Features
//!
//! - `rustls` (default): TLS by rustls.
//! - `native-tls`: TLS by the system's library.
//!
//! With neither, the default client speaks plain `http` only.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod builder;
mod error;
mod events;
mod handle;
mod item;
#[cfg(feature = "json")]
mod json;
mod source;
mod transport;

pub use builder::{BuildError, Builder};
pub use error::{ClosedError, Error, Refusal};
pub use events::Events;
pub use handle::{Handle, Status};
pub use item::Item;
#[cfg(feature = "json")]
pub use json::{Json, JsonError};
pub use reqwest;
pub use source::EventSource;
pub use sse_proto::{
    Backoff, Closed, Decision, DecodeError, DecoderConfig, Event, Failure, Outcome, Policy,
    SessionConfig, Stage, State, StreamError, Terminator,
};
