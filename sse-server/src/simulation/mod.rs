//! For `sse-server/sim`: the server in simulated time, with everything from one seed, and with
//! faults that a simulator has to find. Not for programs: nothing here is stable.
//!
//! A simulation is what runs on one thread, in tokio's paused time. See `docs/proof.md`.

mod stand;

use std::cell::{Cell, RefCell};
use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use tokio::time::Instant;

#[cfg(feature = "server")]
pub use crate::http::{SimulatedListener, serve_simulated};
pub use stand::{Seat, Stand};

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
    static MUTANT: Cell<Option<&'static str>> = const { Cell::new(None) };
}

struct Run {
    began: Instant,
    random: Rng,
}

/// When a simulation begins, in seconds from 1970: any time will do.
const BEGINNING: u64 = 1_800_000_000;

/// A simulation that runs on this thread, until this is dropped.
#[derive(Debug)]
pub struct Simulation(());

impl Simulation {
    /// Begins one: time of day and random numbers are this seed's from now on, and this fault is in
    /// the server. Must be called where tokio's time is paused.
    pub fn begin(seed: u64, mutant: Option<&'static str>) -> Self {
        fastrand::seed(seed);
        let run = Run { began: Instant::now(), random: Rng::with_seed(seed) };
        RUN.set(Some(run));
        MUTANT.set(mutant);
        Self(())
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        RUN.set(None);
        MUTANT.set(None);
    }
}

/// Whether this fault is to be there.
pub(crate) fn has_mutant(name: &str) -> bool {
    MUTANT.get() == Some(name)
}

/// The time of day, if it is simulated.
pub(crate) fn time_of_day() -> Option<SystemTime> {
    let began = RUN.with_borrow(|run| run.as_ref().map(|run| run.began))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING) + began.elapsed())
}

/// Random numbers, if they are simulated.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    RUN.with_borrow_mut(|run| run.as_mut().map(|run| run.random.fill(bytes)).is_some())
}

/// The order of a hash map: always the same in a simulation.
#[derive(Clone, Debug)]
pub struct Order(Option<RandomState>);

impl Default for Order {
    fn default() -> Self {
        let is_simulated = RUN.with_borrow(Option::is_some);
        Self((!is_simulated).then(RandomState::new))
    }
}

impl BuildHasher for Order {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        self.0.as_ref().map_or_else(DefaultHasher::new, BuildHasher::build_hasher)
    }
}
