//! Measures all clients on one corpus.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sse_client_peers::{Client, Corpus, Count, LIMIT, Meter};
use tokio::runtime::{Builder, Runtime};

use crate::server::Server;

/// One client on one corpus.
pub(crate) struct Entry {
    pub(crate) client: Client,
    rounds: Vec<Round>,
}

/// One stream, from the request to its last event.
#[derive(Clone, Copy)]
struct Round {
    /// By the clock, in seconds.
    time: f64,
    /// What the client's thread has spent, in seconds.
    cpu: f64,
}

/// Has all clients read so many streams of this length, in a new random order each round.
pub(crate) fn hold(
    server: &Server,
    corpus: &Corpus,
    clients: &[Client],
    rounds: usize,
    passes: usize,
) -> Result<Vec<Entry>, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let url = server.url(corpus, passes);
    let Count { events, data_len } = corpus.count;
    let expected = Count { events: events * passes, data_len: data_len * passes };
    let mut entries: Vec<_> = clients
        .iter()
        .map(|&client| Entry { client, rounds: Vec::with_capacity(rounds) })
        .collect();
    let mut order: Vec<_> = (0..entries.len()).collect();
    for round in 0..=rounds {
        fastrand::shuffle(&mut order);
        for &index in &order {
            let entry = &mut entries[index];
            let measured = measure(&runtime, &entry.client, &url, expected)
                .map_err(|wrong| format!("{}, {}: {wrong}", entry.client.name, corpus.name))?;
            // The first one warms up.
            if round > 0 {
                entry.rounds.push(measured);
            }
        }
    }
    Ok(entries)
}

fn measure(
    runtime: &Runtime,
    client: &Client,
    url: &str,
    expected: Count,
) -> Result<Round, String> {
    let mut meter = Meter::new(expected.events);
    let cpu = cpu_time();
    let start = Instant::now();
    let read = runtime.block_on((client.read)(url, &mut meter));
    let round = Round {
        time: start.elapsed().as_secs_f64(),
        cpu: cpu_time().saturating_sub(cpu).as_secs_f64(),
    };
    read.map_err(|error| error.to_string())?;
    if client.name != LIMIT.name && meter.count() != expected {
        return Err(format!("{:?} delivered, not {expected:?}", meter.count()));
    }
    Ok(round)
}

/// Of this thread, on which a client does all its work.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).expect("time goes forward");
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

impl Entry {
    /// Streams per second, by the clock: the median, and half the distance between the quartiles as a
    /// part of it.
    pub(crate) fn speed(&self) -> (f64, f64) {
        let [first, median, third] = quartiles(self.rounds.iter().map(|round| 1.0 / round.time));
        (median, (third - first) / 2.0 / median)
    }

    /// Seconds of the processor's time for a stream: the median.
    pub(crate) fn cpu(&self) -> f64 {
        quartiles(self.rounds.iter().map(|round| round.cpu))[1]
    }

    /// How often as fast this is as the other, by the clock: the median of all rounds, each of which
    /// compares what was measured within a moment. A machine that is slow for some seconds changes
    /// little in it, unlike in the ratio of two medians.
    pub(crate) fn speed_ratio(&self, other: &Self) -> f64 {
        self.ratio(other, |round| 1.0 / round.time)
    }

    /// How much of the other's processor time this takes, in the same way.
    pub(crate) fn cpu_ratio(&self, other: &Self) -> f64 {
        self.ratio(other, |round| round.cpu)
    }

    fn ratio(&self, other: &Self, of: impl Fn(&Round) -> f64) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        quartiles(pairs.map(|(this, other)| of(this) / of(other)))[1]
    }
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarters| values[(values.len() - 1) * quarters / 4])
}
