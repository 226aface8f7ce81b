//! What those who run the server ask: is it well, what has it counted, who reads what.
//!
//! May enter: the hub's numbers, the metrics. May not: events.

pub(super) mod count;
pub(super) mod health;
#[cfg(feature = "server")]
pub(super) mod metrics;
pub(super) mod presence;
