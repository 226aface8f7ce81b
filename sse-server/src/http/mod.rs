//! What the server answers over HTTP: streams, the publish API, the live page, health.
//!
//! May enter: the hub. May not: SQL, and any decision about what a subscriber has missed. The bytes
//! of the stream are django-eventstream's; `docs/protocol.md` describes them.

mod admin;
mod app;
#[cfg(feature = "server")]
mod coding;
#[cfg(feature = "server")]
mod cors;
mod error;
mod fallbacks;
#[cfg(feature = "server")]
mod fanout;
mod headers;
mod hosts;
mod limits;
mod publishing;
mod routes;
mod server;
mod streams;

#[cfg(feature = "server")]
pub use admin::metrics::metrics_router;
pub use app::HttpConfig;
#[cfg(feature = "server")]
pub use coding::Coding;
#[cfg(feature = "server")]
pub use cors::{Cors, CorsError};
#[cfg(any(feature = "amqp", feature = "postgres", feature = "redis"))]
pub(crate) use error::Refusal;
pub use limits::Limits;
pub(crate) use routes::embedded;
pub use routes::router;
pub use server::caller::Peer;
#[cfg(feature = "server")]
pub use server::listener::{Listener, ListenerAddress, listen, listen_at};
pub use server::operations::Operations;
pub(crate) use server::operations::reconnection_time;
#[cfg(feature = "server")]
pub use server::serve::{serve, serve_alone, serve_with};
#[cfg(all(feature = "server", feature = "simulation"))]
#[doc(hidden)]
pub use server::simulated::{SimulatedListener, serve_simulated};
#[cfg(feature = "server")]
pub use server::tls::{Tls, TlsError};
pub use streams::endpoint::{Endpoint, EndpointError, Endpoints};
pub(crate) use streams::events::{after_error, event_stream, resume_id};
