//! A server for Server-Sent Events: channels with durable ids, replay, and a publish API.
//!
//! `cargo install ssekit-server` installs the program `sse-server`, and `cargo add ssekit-server`
//! adds the library, once 0.1 is published; until then with
//! `--git https://github.com/ssekit/ssekit`.
//!
//! It speaks [django-eventstream](https://github.com/fanout/django_eventstream)'s protocol, so its
//! clients and this crate's work with either server. Mostly it is used as a program; as a library
//! it is seven parts, each usable without the next:
//!
//! - [`storage`] keeps events and gives them ids.
//! - [`relay`] lets several instances know of each other's events.
//! - [`hub`] delivers them: publish, subscribe, resume.
//! - [`access`] says who may read what.
//! - [`metrics`] counts, for Prometheus.
//! - [`grip`] has proxies hold streams.
//! - [`http`] is the HTTP API, as an [`axum::Router`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use sse_server::{http, hub::Hub, storage::MemoryStorage};
//!
//! # async fn run() -> std::io::Result<()> {
//! let hub = Hub::new(Arc::new(MemoryStorage::new()));
//! let router = http::router(hub.clone(), http::HttpConfig::new("a secret to publish with"));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! http::serve(listener, router, &hub, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod access;
pub mod arriving;
mod blocking;
pub mod config;
pub mod grip;
pub mod http;
pub mod hub;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod identity;
pub mod metrics;
pub mod relay;
mod seldom;
mod service_error;
pub mod storage;
mod values;

pub use service_error::ServiceError;
