//! Measures all contestants in one cell.

use std::time::{Duration, Instant};

/// A measurement is at least this long, so that the clock and an interrupt weigh little.
const ROUND: Duration = Duration::from_millis(20);

/// Who takes longer than this for the work of a cell, or for a part of it, is left out: some
/// decoders take time that grows with the square of an event's length.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The limits: what nobody can beat who looks for line ends with memchr, or copies.
pub(crate) const MEMCHR2: &str = "limit: memchr2_iter";
pub(crate) const MEMCPY: &str = "limit: memcpy";

/// The work of a cell, which each contestant does in its way.
pub(crate) trait Work {
    /// How many bytes go through, so that there is a speed.
    fn len(&self) -> usize;

    /// Who they are. Elsewhere they are known by their places in this list.
    fn contestants(&self) -> Vec<(&'static str, Role)>;

    /// Has one do the work once, and checks it. Tells how long it took.
    fn try_out(&self, index: usize) -> Result<Duration, Refused>;

    /// Has one do the work once. Tells how long it took.
    fn run(&self, index: usize) -> Duration;
}

/// Whom a contestant is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Ours,
    Peer {
        /// Whether what it makes can be kept, and does not borrow.
        keeps: bool,
    },
    Limit,
}

/// Why a contestant does not take part.
pub(crate) enum Refused {
    TooSlow(LeftOut),
    /// It does not do what it should: that is an error of the bench.
    Wrong(String),
}

/// How long it took for how many bytes.
pub(crate) struct LeftOut {
    pub(crate) len: usize,
    pub(crate) time: Duration,
}

/// One cell, and how fast everyone got through it.
pub(crate) struct Contest {
    /// `a-64k` and so on.
    pub(crate) cell: String,
    pub(crate) entries: Vec<Entry>,
}

/// A contestant in one cell.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) result: Result<Speed, LeftOut>,
}

/// How fast a contestant was, in MB/s, a MB being 10^6 bytes.
pub(crate) struct Speed {
    /// In each round.
    rounds: Vec<f64>,
    pub(crate) median: f64,
    /// Half the distance between the quartiles, as a part of the median.
    pub(crate) spread: f64,
}

/// One that goes round after round.
struct Runner {
    /// How often it does the work in a round.
    passes: u32,
    /// MB/s of each round.
    speeds: Vec<f64>,
}

impl Contest {
    /// Has all contestants run so many rounds. It is an error if one does not do its work.
    pub(crate) fn hold(cell: &str, work: &dyn Work, rounds: usize) -> Result<Self, String> {
        let contestants = work.contestants();
        let mut runners = Vec::new();
        for (index, (name, _)) in contestants.iter().enumerate() {
            runners.push(match work.try_out(index) {
                Ok(time) => Ok(Runner { passes: passes(time), speeds: Vec::with_capacity(rounds) }),
                Err(Refused::TooSlow(left_out)) => Err(left_out),
                Err(Refused::Wrong(wrong)) => return Err(format!("{cell}: {name} {wrong}")),
            });
        }
        let mut order: Vec<_> =
            (0..runners.len()).filter(|index| runners[*index].is_ok()).collect();
        for round in 0..=rounds {
            fastrand::shuffle(&mut order);
            for index in &order {
                let Ok(runner) = &mut runners[*index] else {
                    continue;
                };
                let time = (0..runner.passes).map(|_| work.run(*index)).sum::<Duration>();
                // The first one warms up.
                if round > 0 {
                    let len = u32::try_from(work.len()).expect("a corpus has a few MiB");
                    let bytes = f64::from(len) * f64::from(runner.passes);
                    runner.speeds.push(bytes / 1e6 / time.as_secs_f64());
                }
            }
        }
        let entries = contestants.into_iter().zip(runners).map(|((name, role), runner)| Entry {
            name,
            role,
            result: runner.map(|runner| Speed::of(runner.speeds)),
        });
        Ok(Self { cell: cell.to_owned(), entries: entries.collect() })
    }
}

/// How long something takes.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// How often to do the work in a round, if it takes so long once.
fn passes(time: Duration) -> u32 {
    let passes = ROUND.as_nanos().div_ceil(time.as_nanos().max(1));
    u32::try_from(passes).unwrap_or(u32::MAX)
}

impl Speed {
    fn of(rounds: Vec<f64>) -> Self {
        let [first, median, third] = quartiles(rounds.clone());
        Self { rounds, median, spread: (third - first) / 2.0 / median }
    }

    /// How often as fast this is as the other: the median of all rounds, each of which compares
    /// what was measured within a moment. A machine that is slow for some seconds changes little in
    /// it, unlike in the ratio of two medians.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        let ratios = self.rounds.iter().zip(&other.rounds).map(|(this, other)| this / other);
        let [_, median, _] = quartiles(ratios.collect());
        median
    }
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarters| values[(values.len() - 1) * quarters / 4])
}
