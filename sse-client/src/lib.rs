//! A Server-Sent Events client that reconnects and resumes by itself, for native programs and for
//! pages in Rust.
//!
//! An [`EventSource`] is a [`Stream`](futures_core::Stream) of what one URL sends. This program
//! prints the data of all events, and says when the server is down:
//!
//! ```no_run
//! use sse_client::{EventSource, Item};
//!
//! # #[cfg(feature = "tokio-runtime")]
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut source = EventSource::get("https://example.com/events/?channel=news").build()?;
//!     while let Some(item) = source.next().await {
//!         match item? {
//!             Item::Event(event) => println!("{}", event.data()),
//!             // It tries again for as long as the server is down; this says so.
//!             Item::Waiting { why, .. } => eprintln!("{why}; trying again"),
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//! # #[cfg(not(feature = "tokio-runtime"))]
//! # fn main() {}
//! ```
//!
//! A server that never answers is told after
//! [`response_timeout`](SessionConfig::response_timeout), 5 minutes. [`Builder::events`] gives the
//! events and nothing else, and `Events::json` their values.
//!
//! # Install
//!
//! `cargo add ssekit-client`, once 0.1 is published; until then
//! `cargo add ssekit-client --git https://github.com/ssekit/ssekit`. The program above also needs
//! `cargo add tokio --features macros,rt`. It needs Rust 1.85.
//!
//! # What it does
//!
//! - **Resumes.** After a lost connection, the end of the stream, silence, or a status that may
//!   pass, it waits (longer each time, with jitter, as the server asks) and sends the last event
//!   ID. That is told by [`Item::Waiting`], in [`state`](EventSource::state) and
//!   [`last_failure`](EventSource::last_failure), for other tasks in a [`Handle`], and in the log
//!   of the `tracing` crate, with a span for each try.
//! - **Waits as long as it makes sense.** There is a limit for each phase: connecting, sending the
//!   body, the head, the first event, silence. The defaults suit servers that have nothing to say
//!   for minutes, and models that think; [`SessionConfig`] has them. A connection that is dead is
//!   noticed by TCP's and HTTP/2's keep-alives, too.
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
//! clock. With reqwest and hyper it must be polled in a tokio runtime with I/O and time enabled.
//!
//! # Transports
//!
//! Requests go by a [`Transport`](transport::Transport): reqwest (the default; [`Builder::client`]
//! takes yours, and `RequestBuilderExt` makes sources of its requests), hyper-util's client, a
//! `tower::Service`, the browser's `fetch`, or one of your own. Redirects, secrets, content
//! codings and all else are the same with each. On wasm32 futures need not be `Send`.
//!
//! reqwest takes proxies from the variables `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`; hyper takes none.
//!
//! # Streams of other servers
//!
//! Constructors that set what such servers need; what they return is an ordinary [`Builder`].
//!
//! - [`EventSource::django`][]: django-eventstream, and `sse-server`; [`Item::Reset`] is the gap
//! - [`EventSource::openai`][]: OpenAI and its kin
//! - [`EventSource::anthropic`][]: Anthropic
//! - [`EventSource::mcp`][], [`EventSource::mcp_listen`][]: MCP 2025-11-25
//! - [`EventSource::mercure`][]: Mercure; [`Item::Reset`] without channels is the gap
//! - [`EventSource::wikimedia`][]: Wikimedia's streams
//!
//! And of others:
//!
//! - Gemini: [`EventSource::post`]; it ends without a mark
//! - Firebase: the token in the query (`auth=…`), since it redirects to another host, where no
//!   header goes, made anew by [`Builder::request_with`];
//!   [`error_events(["cancel", "auth_revoked"])`](SessionConfig::error_events)
//! - Ably: [`Builder::position_in_query`] of `lastEvent`
//! - `PocketBase`: nothing; the subscriptions are tied to the id in its first event, so send them
//!   anew after each [`Item::Open`]
//! - Servers that are wrong about it: [`Builder::accepts_stream_as`] for another media type or
//!   none, [`Builder::accepts_status`] for another status
//!
//! # Features
//!
//! - `reqwest` (default), with TLS by `rustls` (default) or `native-tls`
//! - `fetch` (default): the browser's `fetch`, on wasm32 only
//! - `json` (default): `Builder::json`, `EventSource::json`, `Events::json`
//! - `hyper`: hyper-util's client, without reqwest; `hyper-rustls`: the same with TLS
//! - `tower`: any `tower::Service`
//! - `http2`: HTTP/2, where TLS negotiates it
//! - `gzip`, `brotli`, `zstd`, `deflate`: content codings that are asked for and decoded; without
//!   any, `identity` is asked for, and another one is refused by name
//! - `blocking`: `Builder::blocking`, an iterator for programs without `async`
//! - `cli`: the program `ssecat`, which prints a stream and resumes it. It adds nothing to the
//!   library.
//!
//! Without TLS the default transports speak plain `http` only.

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
mod profile;
mod redirect;
mod request;
pub mod runtime;
mod said;
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
