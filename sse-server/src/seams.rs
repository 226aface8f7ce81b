//! What is different each time: the clock on the wall, random numbers, the order of hash maps.
//!
//! Here, and not where it is needed, because a simulation has to have it from a seed. Without the
//! feature `simulation` each seam is what stands behind it; with it too, unless a simulation runs
//! on this thread. All other time is tokio's, which can be paused.

use std::collections::HashMap as StdHashMap;
use std::time::SystemTime;

/// Whether a fault is there that the simulator has to find, and is looking for now. Never without
/// the feature `simulation`. The list is `sse-server/sim/src/mutants.rs`.
macro_rules! mutant {
    ($name:literal) => {{
        #[cfg(feature = "simulation")]
        let is_there = $crate::simulation::has_mutant($name);
        #[cfg(not(feature = "simulation"))]
        let is_there = false;
        is_there
    }};
}

/// A map whose entries have an order that must not matter, and that a simulation knows.
#[cfg(feature = "simulation")]
pub(crate) type HashMap<K, V> = StdHashMap<K, V, crate::simulation::Order>;
#[cfg(not(feature = "simulation"))]
pub(crate) type HashMap<K, V> = StdHashMap<K, V>;

/// The time of day.
pub(crate) fn time_of_day() -> SystemTime {
    #[cfg(feature = "simulation")]
    if let Some(time) = crate::simulation::time_of_day() {
        return time;
    }
    SystemTime::now()
}

/// Fills these with random numbers that nobody can guess.
pub(crate) fn fill_randomly(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    #[cfg(feature = "simulation")]
    if crate::simulation::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes)
}
