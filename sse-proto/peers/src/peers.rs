//! Other crates, a file for each.

pub(crate) mod eventsource_client;
pub(crate) mod eventsource_stream;
pub(crate) mod sse_core;
pub(crate) mod sse_parse;
pub(crate) mod sse_stream;
pub(crate) mod sseer;
