//! `POST`: events come in, one, a batch, or one a line; and permissions that have changed.
//!
//! May enter: the hub, access. May not: sockets, streams.

mod ndjson;
pub(super) mod permissions;
pub(super) mod publish;
mod python_json;
