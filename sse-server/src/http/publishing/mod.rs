mod body;
mod message;
mod ndjson;
pub(super) mod permissions;
pub(super) mod publish;
mod python_json;
#[cfg(feature = "server")]
pub(super) mod quick;
mod refused;
pub(super) mod token;
