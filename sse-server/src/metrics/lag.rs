//! What was delivered, and how late, counted without a lock: many threads deliver at once.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

use super::{Metrics, SECONDS};

/// The last is for those that took longer than all bounds.
const BUCKETS: usize = SECONDS.len() + 1;

/// A histogram of delays, in seconds. Cloning gives another handle to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Lags(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Lags {
    pub(super) fn observe(&self, lag: Duration) {
        self.0.buckets[bucket(lag)].fetch_add(1, Ordering::Relaxed);
        self.0.nanoseconds.fetch_add(nanoseconds(lag), Ordering::Relaxed);
    }
}

fn bucket(lag: Duration) -> usize {
    let seconds = lag.as_secs_f64();
    SECONDS.iter().position(|&bound| seconds <= bound).unwrap_or(SECONDS.len())
}

fn nanoseconds(lag: Duration) -> u64 {
    u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX)
}

impl TypedMetric for Lags {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Lags {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = SECONDS.into_iter().chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Deliveries of one thread that are counted together: a number that threads share costs each of
/// them a wait for the others' memory.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Where they count. None: there are none.
    metrics: Option<Metrics>,
    events: u64,
    bytes: u64,
    lags: [u64; BUCKETS],
    nanoseconds: u64,
}

impl Tally {
    /// Events went out to one reader; the last of them after so long, if that is known.
    pub(crate) fn delivered(
        &mut self,
        metrics: &Metrics,
        events: u64,
        bytes: usize,
        lag: Option<Duration>,
    ) {
        if !self.metrics.as_ref().is_some_and(|known| known.is(metrics)) {
            self.count();
            self.metrics = Some(metrics.clone());
        }
        self.events += events;
        self.bytes += bytes as u64;
        if let Some(lag) = lag {
            self.lags[bucket(lag)] += 1;
            self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds(lag));
        }
    }

    /// Adds them to the numbers of their server.
    pub(crate) fn count(&mut self) {
        let Some(metrics) = self.metrics.take() else { return };
        let Metrics { shared } = &metrics;
        shared.delivered.inc_by(self.events);
        shared.bytes.inc_by(self.bytes);
        let lags = &shared.lag.0;
        for (bucket, count) in lags.buckets.iter().zip(self.lags) {
            if count > 0 {
                bucket.fetch_add(count, Ordering::Relaxed);
            }
        }
        lags.nanoseconds.fetch_add(self.nanoseconds, Ordering::Relaxed);
        (self.events, self.bytes, self.nanoseconds) = (0, 0, 0);
        self.lags = array::from_fn(|_| 0);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_together_is_the_same_as_what_is_counted_alone() {
        let (alone, other, together) = (Metrics::new(), Metrics::new(), Metrics::new());
        let mut tally = Tally::default();
        for n in 1..200_u32 {
            let lag = (n % 7 > 0).then(|| Duration::from_micros(70) * n * n);
            alone.delivered(u64::from(n), 0, lag);
            alone.sent(n as usize * 10);
            tally.delivered(&together, u64::from(n), n as usize * 10, lag);
            // Between them those of another server.
            tally.delivered(&other, 1, 1, None);
        }
        tally.count();
        let text = |metrics: &Metrics| {
            let what = ["sse_server_delivered", "sse_server_delivery", "sse_server_stream_bytes"];
            let is_ours = |line: &&str| what.iter().any(|what| line.starts_with(what));
            let text = metrics.encode(0, 0, 0);
            text.lines().filter(is_ours).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(text(&alone), text(&together));
        let text = text(&other);
        assert!(text.contains("sse_server_delivered_events_total 199"), "{text}");
    }

    #[test]
    fn each_delay_is_in_the_bucket_of_the_next_bound() {
        let metrics = Metrics::new();
        for lag in [200_u64, 201, 10_000_000, 10_000_001] {
            metrics.delivered(1, 0, Some(Duration::from_micros(lag)));
        }
        let text = metrics.encode(0, 0, 0);
        for line in [
            "bucket{le=\"0.0002\"} 1",
            "bucket{le=\"0.0005\"} 2",
            "bucket{le=\"5.0\"} 2",
            "bucket{le=\"10.0\"} 3",
            "bucket{le=\"+Inf\"} 4",
            "count 4",
            "sum 20.000402",
        ] {
            assert!(text.contains(&format!("delivery_lag_seconds_{line}\n")), "{line}: {text}");
        }
    }
}
