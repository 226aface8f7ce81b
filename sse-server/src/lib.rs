//! A server for Server-Sent Events: channels with durable ids, replay, and a publish API.
//!
//! `cargo install ssekit-server` installs the program `sse-server`, and `cargo add ssekit-server`
//! adds the library, once 0.1 is published; until then with
//! `--git https://github.com/ssekit/ssekit`.
//!
//! It speaks [django-eventstream](https://github.com/fanout/django_eventstream)'s protocol, so its
//! clients and this crate's work with either server.
//!
//! # A stream in five lines
//!
//! Any stream of values is a response, for axum and for every server of `http` types
//! ([`views::StreamView`]). This is a whole program, for a package with these dependencies:
//!
//! ```sh
//! cargo add axum futures-util
//! cargo add tokio --features macros,net,rt-multi-thread
//! cargo add ssekit-server --no-default-features
//! ```
//!
//! ```no_run
//! use axum::{Router, routing::get, serve};
//! use futures_util::{StreamExt, stream};
//! use sse_server::views::{Event, Resume, StreamView};
//!
//! async fn numbers(resume: Resume<u64>) -> StreamView {
//!     let first = resume.after().map_or(1, |number| number + 1);
//!     StreamView::new(stream::iter(first..=10).map(|number| Event::json(&number).id(number)))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new().route("/numbers", get(numbers));
//!     serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app).await
//! }
//! ```
//!
//! `curl http://127.0.0.1:8080/numbers` shows it.
//!
//! # Channels in an application
//!
//! [`views::EventStreams`] is a hub as a part of an axum application, or a tower service: events
//! are stored, have ids, and are read by as many as like; a reader that comes back goes on where it
//! was. Users are those of the application.
//!
//! ```
//! use axum::{Router, routing::get};
//! use sse_server::views::EventStreams;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let streams = EventStreams::builder().build();
//! let app: Router = Router::new()
//!     .route("/", get(async || "the application"))
//!     .nest("/sse", streams.router());
//! // At /sse/events/?channel=news, from any task:
//! streams.send_event("news", "message", &["hello"]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//!
//! - [`storage`] keeps events and gives them ids.
//! - [`relay`] lets several instances know of each other's events.
//! - [`hub`] delivers them: publish, subscribe, resume.
//! - [`access`] says who may read what.
//! - [`http`] is the HTTP API, as an [`axum::Router`].
//! - [`views`] makes them parts of other applications.
#![cfg_attr(
    feature = "server",
    doc = "- [`metrics`] counts, for Prometheus.\n- [`grip`] has proxies hold streams."
)]
//!
//! # Features
//!
//! Without any, it is the list above: about sixty crates, and no C compiler. `server` adds
//! connections with limits and TLS, GRIP, rules from settings, compression and metrics; `program`
//! adds what the program needs, and is on by default, as are the storages, relays and
//! queues `sqlite`, `postgres`, `redis` and `amqp`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// What the program needs stands beside what every embedder needs.
#![cfg_attr(not(feature = "program"), allow(dead_code))]

#[macro_use]
mod seams;

pub mod access;
pub mod arriving;
mod blocking;
mod caught;
#[cfg(feature = "program")]
pub mod config;
#[cfg(feature = "server")]
pub mod grip;
pub mod http;
pub mod hub;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod identity;
#[cfg(feature = "server")]
pub mod metrics;
#[cfg(not(feature = "server"))]
#[path = "metrics/uncounted.rs"]
mod metrics;
pub mod relay;
mod seldom;
mod service_error;
#[cfg(any(feature = "amqp", feature = "postgres", feature = "redis"))]
mod services;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
pub mod storage;
#[cfg(feature = "program")]
mod values;
pub mod views;

pub use service_error::ServiceError;
