//! The adapters, a file for each crate.

mod eventsource_client;
mod eventsource_stream;
mod limit;
mod ours;
mod reqwest_eventsource;
mod sse_reqwest_client;

use crate::Client;

/// `sse-client`.
pub const OURS: Client = ours::CLIENT;

/// The same on hyper-util's client, in place of reqwest.
pub const OURS_BY_HYPER: Client = ours::BY_HYPER;

/// All others.
pub const PEERS: [Client; 4] = [
    sse_reqwest_client::CLIENT,
    eventsource_client::CLIENT,
    reqwest_eventsource::CLIENT,
    eventsource_stream::CLIENT,
];

/// What no client can beat that is built on reqwest: the bytes of the body, unread. It delivers
/// nothing.
pub const LIMIT: Client = limit::CLIENT;
