//! Measures all contestants in one cell.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sse_peers::{CODECS, Chunks, Codec, Count};

/// A measurement is at least this long, so that the clock and an interrupt weigh little.
const ROUND: Duration = Duration::from_millis(20);

/// Who takes longer than this for the corpus, or for a part of it, is left out: some decoders take
/// time that grows with the square of an event's length.
const PATIENCE: Duration = Duration::from_secs(1);

/// The part of a corpus that a contestant is tried with first.
const FIRST_TRY: usize = 64 << 10;

/// The limits: what no decoder can beat that looks for line ends with memchr, or copies.
pub(crate) const MEMCHR2: &str = "limit: memchr2_iter";
const MEMCPY: &str = "limit: memcpy";

/// One corpus in chunks of one size, and how fast everyone got through it.
pub(crate) struct Contest {
    /// `a-64k` and so on.
    pub(crate) cell: String,
    pub(crate) entries: Vec<Entry>,
}

/// A contestant in one cell.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// `None` for a limit.
    pub(crate) codec: Option<Codec>,
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

/// How long it took for how many bytes.
pub(crate) struct LeftOut {
    pub(crate) len: usize,
    pub(crate) time: Duration,
}

struct Contestant {
    name: &'static str,
    codec: Option<Codec>,
    run: fn(&Chunks) -> Count,
}

/// One that goes round after round.
struct Runner {
    run: fn(&Chunks) -> Count,
    /// How often it goes through the corpus in a round.
    passes: u32,
    /// MB/s of each round.
    speeds: Vec<f64>,
}

impl Contest {
    /// Has all contestants run so many rounds. It is an error if a decoder does not find what there is.
    pub(crate) fn hold(
        cell: String,
        chunks: &Chunks,
        expected: Count,
        rounds: usize,
    ) -> Result<Self, String> {
        let contestants = contestants();
        let mut runners = Vec::new();
        for contestant in &contestants {
            runners.push(match try_out(contestant.run, chunks) {
                Err(left_out) => Err(left_out),
                Ok((count, _)) if contestant.codec.is_some() && count != expected => {
                    let name = contestant.name;
                    return Err(format!("{name} finds {count:?} in {cell}, not {expected:?}"));
                }
                Ok((_, time)) => Ok(Runner {
                    run: contestant.run,
                    passes: passes(time),
                    speeds: Vec::with_capacity(rounds),
                }),
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
                let speed = runner.round(chunks);
                // The first one warms up.
                if round > 0 {
                    runner.speeds.push(speed);
                }
            }
        }
        let entries = contestants.into_iter().zip(runners).map(|(contestant, runner)| Entry {
            name: contestant.name,
            codec: contestant.codec,
            result: runner.map(|runner| Speed::of(runner.speeds)),
        });
        Ok(Self { cell, entries: entries.collect() })
    }
}

fn contestants() -> Vec<Contestant> {
    let codecs =
        CODECS.map(|codec| Contestant { name: codec.name, codec: Some(codec), run: codec.count });
    let limits = [
        Contestant { name: MEMCHR2, codec: None, run: line_ends },
        Contestant { name: MEMCPY, codec: None, run: copy },
    ];
    codecs.into_iter().chain(limits).collect()
}

fn line_ends(chunks: &Chunks) -> Count {
    let lines = chunks.slices().map(|chunk| memchr::memchr2_iter(b'\n', b'\r', chunk).count());
    Count { events: lines.sum(), data_len: 0 }
}

fn copy(chunks: &Chunks) -> Count {
    let mut buffer = Vec::new();
    for chunk in chunks.slices() {
        buffer.clear();
        buffer.extend_from_slice(chunk);
        black_box(&mut buffer);
    }
    Count::default()
}

/// Runs once over more and more of the corpus, so that one who is far too slow is found out early.
fn try_out(run: fn(&Chunks) -> Count, chunks: &Chunks) -> Result<(Count, Duration), LeftOut> {
    let mut len = FIRST_TRY;
    loop {
        len = len.min(chunks.stream_len());
        let part = chunks.prefix(len);
        let start = Instant::now();
        let count = run(&part);
        let time = start.elapsed();
        if time > PATIENCE {
            return Err(LeftOut { len, time });
        }
        if len == chunks.stream_len() {
            return Ok((count, time));
        }
        len *= 2;
    }
}

/// How often to go through the corpus in a round, if it takes so long once.
fn passes(time: Duration) -> u32 {
    let passes = ROUND.as_nanos().div_ceil(time.as_nanos().max(1));
    u32::try_from(passes).unwrap_or(u32::MAX)
}

impl Runner {
    /// One round, in MB/s.
    fn round(&self, chunks: &Chunks) -> f64 {
        let start = Instant::now();
        for _ in 0..self.passes {
            black_box((self.run)(black_box(chunks)));
        }
        let seconds = start.elapsed().as_secs_f64();
        let len = u32::try_from(chunks.stream_len()).expect("a corpus has a few MiB");
        f64::from(len) * f64::from(self.passes) / 1e6 / seconds
    }
}

impl Speed {
    fn of(rounds: Vec<f64>) -> Self {
        let [first, median, third] = quartiles(rounds.clone());
        Self { rounds, median, spread: (third - first) / 2.0 / median }
    }

    /// How often as fast this is as the other: the median of all rounds, each of which compares what was
    /// measured within a moment. A machine that is slow for some seconds changes little in it, unlike in
    /// the ratio of two medians.
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
