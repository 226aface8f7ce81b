mod body;
mod message;
mod ndjson;
pub(super) mod permissions;
pub(super) mod publish;
mod python_json;
mod refused;
pub(super) mod token;
