//! Measures all clients on one corpus.

use sse_client_peers::{Client, Corpus, Count, LIMIT};

use crate::reader::{Reader, Round};
use crate::server::{Chunks, Server};

/// How many passes each client reads before it is measured.
const WARM_UP: usize = 4;

/// One client on one corpus.
pub(crate) struct Entry {
    pub(crate) client: Client,
    rounds: Vec<Round>,
}

/// Has all clients read so many streams of this length, in a new random order each round.
pub(crate) fn hold(
    server: &Server,
    (corpus, chunks): (&Corpus, Chunks),
    clients: &[Client],
    rounds: usize,
    passes: usize,
) -> Result<Vec<Entry>, String> {
    let url = server.url(corpus, chunks, passes);
    let Count { events, data_len } = corpus.count;
    let expected = Count { events: events * passes, data_len: data_len * passes };
    let start = |client: &Client| Reader::start(client).map_err(|error| error.to_string());
    let mut readers = clients.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    let mut entries: Vec<_> = clients
        .iter()
        .map(|&client| Entry { client, rounds: Vec::with_capacity(rounds) })
        .collect();
    let mut order: Vec<_> = (0..entries.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &index in &order {
            let Entry { client, rounds } = &mut entries[index];
            let wrong = |wrong: String| format!("{}, {}: {wrong}", client.name, corpus.name);
            // A processor that has slept, and a cache that has held other things, are no client's.
            let warm_up =
                readers[index].read(&server.url(corpus, chunks, WARM_UP), events * WARM_UP);
            warm_up.map_err(wrong)?;
            let (measured, count) = readers[index].read(&url, expected.events).map_err(wrong)?;
            if client.name != LIMIT.name && count != expected {
                return Err(wrong(format!("{count:?} delivered, not {expected:?}")));
            }
            rounds.push(measured);
        }
    }
    Ok(entries)
}

impl Entry {
    /// Streams per second, by the clock: the median, and half the distance between the quartiles as
    /// a part of it.
    pub(crate) fn speed(&self) -> (f64, f64) {
        let [first, median, third] = quartiles(self.rounds.iter().map(|round| 1.0 / round.time));
        (median, (third - first) / 2.0 / median)
    }

    /// Seconds of the processor's time for a stream: the median.
    pub(crate) fn cpu(&self) -> f64 {
        quartiles(self.rounds.iter().map(|round| round.cpu))[1]
    }

    /// How often as fast this is as the other, by the clock: the median of all rounds, each of
    /// which compares what was measured within a moment. A machine that is slow for some seconds
    /// changes little in it, unlike in the ratio of two medians.
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
