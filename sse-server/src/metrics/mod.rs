//! What is counted and measured, and how Prometheus gets it.
//!
//! Each server has its own numbers: there is no global registry, so several servers in one process
//! do not mix. None of them is labelled with a channel, a user or an address, so their number does
//! not grow with use.
//!
//! May enter: the traits of storage and relay, to measure them from outside. May not: HTTP.

mod lag;
mod process;
mod timed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use lag::Lags;
pub(crate) use lag::Tally;
use process::Process;
pub use timed::{TimedRelay, TimedStorage};

/// From a fifth of a millisecond, which is a local commit without waiting for the disk, to ten
/// seconds.
const SECONDS: [f64; 15] =
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// What one server counts. Cloning gives another handle to the same numbers.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    /// What does not bear the server's name.
    process: Registry,
    connections: Gauge,
    streams: Gauge,
    channels: Gauge,
    connections_total: Counter,
    streams_total: Counter,
    delivered: Counter,
    bytes: Counter,
    lag: Lags,
    resets: Counter,
    slow_consumers: Counter,
    stream_errors: Family<Condition, Counter>,
    refusals: Family<Reason, Counter>,
    published: Counter,
    storage: Family<Operation, Histogram>,
    storage_errors: Family<Operation, Counter>,
    relay: Family<Operation, Histogram>,
    relay_errors: Family<Operation, Counter>,
    proxy_errors: Family<Trouble, Counter>,
}

/// What can go wrong with a GRIP proxy, in the word that the metrics have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// It did not answer for too long: it is asked to recover when it is there again.
    GivenUp,
    /// It does not want something, such as an event that is too long for it.
    Refused,
    /// Events without an id did not reach it. Nobody can ask for them.
    Missed,
}

impl ProxyError {
    const ALL: [Self; 3] = [Self::GivenUp, Self::Refused, Self::Missed];

    const fn word(self) -> &'static str {
        match self {
            Self::GivenUp => "given-up",
            Self::Refused => "refused",
            Self::Missed => "missed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Condition {
    condition: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    status: u16,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Trouble {
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

type Times = Family<Operation, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut shared = Shared {
            registry: Registry::with_prefix("sse_server"),
            process: Registry::default(),
            connections: Gauge::default(),
            streams: Gauge::default(),
            channels: Gauge::default(),
            connections_total: Counter::default(),
            streams_total: Counter::default(),
            delivered: Counter::default(),
            bytes: Counter::default(),
            lag: Lags::default(),
            resets: Counter::default(),
            slow_consumers: Counter::default(),
            stream_errors: Family::default(),
            refusals: Family::default(),
            published: Counter::default(),
            storage: Family::new_with_constructor(histogram as fn() -> Histogram),
            storage_errors: Family::default(),
            relay: Family::new_with_constructor(histogram as fn() -> Histogram),
            relay_errors: Family::default(),
            proxy_errors: Family::default(),
        };
        shared.register();
        shared.begin_at_zero();
        shared.process.register_collector(Box::new(Process::new()));
        Self { shared: Arc::new(shared) }
    }

    /// All numbers, in the text format of `OpenMetrics`, which Prometheus reads.
    pub(crate) fn encode(&self, connections: usize, streams: usize, channels: usize) -> String {
        let set = |gauge: &Gauge, count: usize| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.shared.connections, connections);
        set(&self.shared.streams, streams);
        set(&self.shared.channels, channels);
        let mut text = String::new();
        encode_registry(&mut text, &self.shared.process)
            .and_then(|()| encode(&mut text, &self.shared.registry))
            .expect("a text takes everything");
        text
    }

    /// Whether these are the same numbers.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub(crate) fn connection(&self) {
        self.shared.connections_total.inc();
    }

    pub(crate) fn stream(&self) {
        self.shared.streams_total.inc();
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.shared.bytes.inc_by(bytes as u64);
    }

    /// Events went out; the last of them after so long, if that is known.
    pub(crate) fn delivered(&self, events: u64, resets: u64, lag: Option<Duration>) {
        self.shared.delivered.inc_by(events);
        if resets > 0 {
            self.shared.resets.inc_by(resets);
        }
        if let Some(lag) = lag {
            self.shared.lag.observe(lag);
        }
    }

    pub(crate) fn slow_consumer(&self) {
        self.shared.slow_consumers.inc();
    }

    pub(crate) fn stream_error(&self, condition: &str) {
        let condition = Condition { condition: condition.to_owned() };
        self.shared.stream_errors.get_or_create(&condition).inc();
    }

    pub(crate) fn refused(&self, status: u16, error: &'static str) {
        self.shared.refusals.get_or_create(&Reason { status, error }).inc();
    }

    /// Something went wrong with a proxy, with so many events, or once.
    pub(crate) fn proxy_error(&self, error: ProxyError, times: usize) {
        let error = Trouble { error: error.word() };
        self.shared.proxy_errors.get_or_create(&error).inc_by(times as u64);
    }

    pub(crate) fn published(&self, events: usize) {
        self.shared.published.inc_by(events as u64);
    }
}

impl Shared {
    /// Labelled counters exist before the first error, or it would not show as one more than
    /// before.
    fn begin_at_zero(&self) {
        let begin = |operations: &[&'static str], times: &Times, errors: &Family<_, Counter>| {
            for &operation in operations {
                drop(times.get_or_create(&Operation { operation }));
                drop(errors.get_or_create(&Operation { operation }));
            }
        };
        begin(&timed::STORAGE_OPERATIONS, &self.storage, &self.storage_errors);
        begin(&timed::RELAY_OPERATIONS, &self.relay, &self.relay_errors);
        for error in ProxyError::ALL {
            drop(self.proxy_errors.get_or_create(&Trouble { error: error.word() }));
        }
    }

    fn register(&mut self) {
        let mut add = Adder(&mut self.registry);
        add.plain("connections", "Open connections", &self.connections);
        add.plain("streams", "Open streams", &self.streams);
        add.plain("channels", "Channels that somebody reads", &self.channels);
        add.plain("accepted_connections", "Connections since the start", &self.connections_total);
        add.plain("opened_streams", "Streams since the start", &self.streams_total);
        let help = "Events written to streams, once for each stream";
        add.plain("delivered_events", help, &self.delivered);
        let help = "Bytes of streams, before they are compressed";
        add.bytes("stream", help, &self.bytes);
        let help = "From when the newest event of a channel could be read until a stream took it";
        add.seconds("delivery_lag", help, &self.lag);
        let help = "Streams were told by a stream-reset that events are missing";
        add.plain("stream_resets", help, &self.resets);
        let help = "Connections closed because nothing could be written for too long";
        add.plain("slow_consumers_closed", help, &self.slow_consumers);
        let help = "Streams ended or refused by a stream-error, by its condition";
        add.plain("stream_errors", help, &self.stream_errors);
        let help = "Requests and connections refused, by status and the word of the answer";
        add.plain("refusals", help, &self.refusals);
        add.plain("published_events", "Events published by way of this server", &self.published);
        add.seconds("storage", "Time that the storage took, by operation", &self.storage);
        let help = "Operations that failed in the storage";
        add.plain("storage_errors", help, &self.storage_errors);
        add.seconds("relay", "Time that the relay took, by operation", &self.relay);
        add.plain("relay_errors", "Operations that failed in the relay", &self.relay_errors);
        let help = "GRIP proxies given up, and events that they refused or missed";
        add.plain("proxy_errors", help, &self.proxy_errors);
    }
}

/// Registers handles to numbers.
struct Adder<'a>(&'a mut Registry);

impl Adder<'_> {
    fn plain(
        &mut self,
        name: &str,
        help: &str,
        metric: &(impl prometheus_client::registry::Metric + Clone),
    ) {
        self.0.register(name, help, metric.clone());
    }

    fn seconds(
        &mut self,
        name: &str,
        help: &str,
        metric: &(impl prometheus_client::registry::Metric + Clone),
    ) {
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
    }

    fn bytes(
        &mut self,
        name: &str,
        help: &str,
        metric: &(impl prometheus_client::registry::Metric + Clone),
    ) {
        self.0.register_with_unit(name, help, Unit::Bytes, metric.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
