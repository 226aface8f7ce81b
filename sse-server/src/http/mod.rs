//! What the server answers over HTTP: streams, the publish API, the live page, health.
//!
//! May enter: the hub. May not: SQL, and any decision about what a subscriber has missed. The bytes
//! of the stream are django-eventstream's; `docs/protocol.md` describes them.

mod admin;
mod app;
mod coding;
mod cors;
mod error;
mod fallbacks;
mod fanout;
mod headers;
mod hosts;
mod limits;
mod publishing;
mod routes;
mod server;
mod streams;

pub use admin::metrics::metrics_router;
pub use app::HttpConfig;
pub use coding::Coding;
pub use cors::{Cors, CorsError};
pub use limits::Limits;
pub use routes::router;
pub use server::caller::Peer;
pub use server::listener::{Listener, ListenerAddress, listen, listen_at};
pub use server::operations::Operations;
pub use server::serve::{serve, serve_alone, serve_with};
pub use server::tls::{Tls, TlsError};
pub use streams::endpoint::{Endpoint, EndpointError, Endpoints};
