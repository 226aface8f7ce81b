//! For those who write HTTP servers: a hub as a part of their application, and any stream of values
//! as an event stream.
//!
//! - [`EventStreams`] is a hub with its routes, to nest in an axum application or to call as a
//!   tower service: channels, ids, replay, permissions. Values are sent with
//!   [`send_event`](EventStreams::send_event), and users are those of the application.
//! - [`StreamView`] answers one request with a stream that the application makes for it, without a
//!   channel. [`Resume`] is where such a stream goes on.
//! - [`Runs`] are work that is done once, and recorded in a channel for all who read it: answers of
//!   language models, jobs.
//! - [`Event`] is what both are made of.
#![cfg_attr(
    any(feature = "amqp", feature = "postgres", feature = "redis"),
    doc = "- [`queues`] are streams that are fed by Redis, PostgreSQL or RabbitMQ."
)]
//!
//! May enter: `http`, `access`, the hub. May not: settings as text, flags, anything global.

mod emitter;
mod error;
mod event;
mod host;
mod lag;
#[cfg(any(feature = "amqp", feature = "postgres", feature = "redis"))]
pub mod queues;
mod reading;
mod resume;
mod runs;
mod streams;
mod view;

pub use emitter::{Emitter, Gone};
pub use error::SendError;
pub use event::Event;
pub use lag::Lag;
pub use reading::{Missed, Received};
pub use resume::{NoResume, Resume};
pub use runs::{Recorder, RunEnd, Runs};
pub use streams::{EventStreams, EventStreamsBuilder};
pub use view::{StreamView, ViewBody};
