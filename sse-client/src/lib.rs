//! A Server-Sent Events client that reconnects and resumes by itself, for native programs.
//!
//! An [`EventSource`] is a [`Stream`](futures_core::Stream) of what one URL sends. This program
//! prints the data of all events, and says when the server is down:
//!
//! ```no_run
//! use sse_client::{EventSource, Status};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let source = EventSource::get("https://example.com/events/?channel=news").build()?;
//!     let mut handle = source.handle();
//!     tokio::spawn(async move {
//!         while let Some(status) = handle.changed().await {
//!             if let Status::Waiting { why, .. } = status {
//!                 eprintln!("{why}; trying again");
//!             }
//!         }
//!     });
//!     let mut events = source.events();
//!     while let Some(event) = events.next().await {
//!         println!("{}", event?.data());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Install
//!
//! `cargo add ssekit-client`, once 0.1 is published; until then
//! `cargo add ssekit-client --git https://github.com/ssekit/ssekit`. It needs Rust 1.85.
//!
//! # What it does
//!
//! - **Resumes.** After a lost connection, the end of the stream, silence, or a status that may
//!   pass, it waits (longer each time, with jitter, as the server asks) and sends the last event
//!   ID. None of this is an item: it shows in [`state`](EventSource::state),
//!   [`last_failure`](EventSource::last_failure) and, for other tasks, in a [`Handle`], and in the
//!   log of the `tracing` crate.
//! - **Stops** when trying again is useless: the last item is [`Error::Closed`], which says why,
//!   with the beginning of the response's body. The [`Policy`] says what counts as useless. A
//!   stream that ends as it should just ends.
//! - **Asks twice only what may be asked twice.** Any method but `GET` is asked
//!   [once](Policy::Once), unless the caller says otherwise.
//! - **Says what is missing.** [`Item::Reset`], [`Error::Decode`] and [`Error::IdWithheld`] are
//!   gaps; the stream goes on after them.
//! - **Does nothing unless polled.** There is no task in the background and no queue: at most the
//!   items of one chunk are held, and a slow reader slows down the server. Dropping the source
//!   aborts the request.
//!
//! What happens when is decided by [`sse_proto::Session`]; this crate adds the socket and the
//! clock. It must be polled in a tokio runtime with I/O and time enabled.
//!
//! # Streams of other servers
//!
//! What to set, by server. A setting of [`SessionConfig`], such as `error_events`, is set by
//! [`Builder::session`].
//!
//! - `sse-server`, django-eventstream: [`EventSource::channels`]; [`Item::Reset`] is the gap
//! - OpenAI and its kin: [`EventSource::post`], [`must_end_with("[DONE]")`](Builder::must_end_with)
//!   or, for servers that may leave it out, [`until`](Builder::until)
//! - Anthropic: [`EventSource::post`], [`must_end_with`](Builder::must_end_with) a
//!   [`Terminator::EventType`] of `message_stop`,
//!   [`error_events(["error"])`](SessionConfig::error_events): an error comes with status 200
//! - Gemini: [`EventSource::post`]; it ends without a mark
//! - MCP 2025-11-25: [`Policy::Resume`], `Mcp-Session-Id` by [`header`](Builder::header): a `POST`
//!   is resumed by `GET`, not before its `retry` is over; the end of a stream that has ids means to
//!   ask again; [`Closed::Status`] of 404 asks for a new session, of 405 on `GET` says that the
//!   server has nothing to resume
//! - Mercure: `Mercure-Last-Event-ID` is understood: [`Item::Reset`] without channels
//! - Wikimedia: nothing; ids are JSON, and are sent back byte for byte
//! - Firebase: the token in the query (`auth=…`), since it redirects to another host, where no
//!   header goes; [`error_events(["cancel", "auth_revoked"])`](SessionConfig::error_events)
//!
//! # Features
//!
//! - `rustls` (default): TLS by rustls.
//! - `native-tls`: TLS by the system's library.
//! - `http2`: HTTP/2, where TLS negotiates it.
//! - `json`: `Builder::json`, `EventSource::json`, `Events::json`.
//! - `cli`: the program `ssecat`, which prints a stream and resumes it. It adds nothing to the
//!   library.
//!
//! Without TLS the default client speaks plain `http` only.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accepts;
#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
mod blocking;
mod builder;
mod coding;
mod error;
mod events;
mod exchange;
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
mod extension;
mod handle;
mod item;
#[cfg(feature = "json")]
mod json;
mod redirect;
mod request;
pub mod runtime;
mod send;
mod source;
mod state;
pub mod transport;

#[cfg(all(feature = "blocking", not(target_family = "wasm")))]
pub use blocking::Blocking;
pub use builder::Builder;
#[cfg(feature = "json")]
pub use error::JsonError;
pub use error::{BuildError, ClosedError, Error, Refusal};
pub use events::Events;
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
pub use extension::RequestBuilderExt;
pub use handle::{Handle, Status};
pub use http;
pub use item::Item;
#[cfg(feature = "json")]
pub use json::Json;
pub use request::TryRequest;
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
pub use reqwest;
pub use send::{BoxError, BoxFuture, MaybeSend, MaybeSync};
pub use source::EventSource;
pub use sse_proto::{
    Backoff, Decision, DecodeError, DecoderConfig, Event, Failure, Outcome, Policy, SessionConfig,
    Stage, StreamError, Terminator,
};
pub use state::{Closed, State};
pub use url::Url;
