//! What publishers can ask for: line by line, once, not for everyone, not stored.

#[path = "../access/mod.rs"]
mod access;
#[path = "../instances/mod.rs"]
mod instances;
mod ndjson;
mod once;
#[path = "../port/mod.rs"]
mod port;
#[path = "../server/mod.rs"]
mod server;
#[path = "../services/mod.rs"]
mod services;
mod skip;
mod store;
