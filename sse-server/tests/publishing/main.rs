//! What publishers can ask for: line by line, once, not for everyone, not stored.

mod ndjson;
mod once;
mod quick;
mod skip;
mod store;

use testkit::{access, instances, server, services};
