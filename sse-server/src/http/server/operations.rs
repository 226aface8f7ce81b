//! How a server is run: its limits and bounds, and what is counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(feature = "server")]
use axum::http::HeaderMap;
use ipnet::IpNet;

use super::admission::{Counts, Limit, Permit};
#[cfg(feature = "server")]
use super::listener::Remote;
#[cfg(feature = "server")]
use super::proxies;
#[cfg(feature = "server")]
use super::tls::Tls;
#[cfg(feature = "server")]
use crate::http::coding::Coding;
use crate::metrics::Metrics;

/// The least time that a reader is told to wait. It keeps to that for as long as its page is open:
/// told 3 ms, a browser asks a server that is away hundreds of times a second.
const LEAST_RECONNECTION_TIME: Duration = Duration::from_millis(250);

/// Limits, time bounds and counters of a server. The router and the connections of one server share
/// them: give clones of the same value to
/// [`HttpConfig::operations`](crate::http::HttpConfig::operations) and to
/// [`serve_with`](crate::http::serve_with).
#[derive(Clone, Debug)]
#[must_use]
pub struct Operations {
    pub(crate) max_connections: usize,
    pub(crate) max_per_address: Option<usize>,
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    pub(crate) hosts: Arc<[String]>,
    pub(crate) head_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_time: Duration,
    pub(crate) max_stream_age: Option<Duration>,
    pub(crate) reconnect_spread: Duration,
    #[cfg(feature = "server")]
    pub(in crate::http) tls: Option<Tls>,
    #[cfg(feature = "server")]
    codings: Arc<[Coding]>,
    metrics: Metrics,
    counts: Arc<Counts>,
    is_ending: Arc<AtomicBool>,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_per_address: None,
            trusted_proxies: Arc::default(),
            hosts: Arc::default(),
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            drain_time: Duration::from_secs(10),
            max_stream_age: None,
            reconnect_spread: Duration::from_secs(5),
            #[cfg(feature = "server")]
            tls: None,
            #[cfg(feature = "server")]
            codings: Arc::default(),
            metrics: Metrics::new(),
            counts: Arc::default(),
            is_ending: Arc::default(),
        }
    }
}

impl Operations {
    /// The most connections, and the most streams, for one HTTP/2 connection can have many.
    /// Default: 100,000. One costs a file descriptor and a few kilobytes; a client that comes when
    /// all are taken is answered with 503, instead of everyone suffering.
    pub const fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// The most connections, and the most streams, from one address; IPv6 addresses count by their
    /// first 64 bits, which is what one customer gets. Default: no limit, because everyone behind a
    /// proxy that is not [trusted](Self::trusted_proxies), and everyone in an office, has the same
    /// address.
    pub const fn max_per_address(mut self, count: Option<usize>) -> Self {
        self.max_per_address = count;
        self
    }

    /// The proxies whose `X-Forwarded-For` is believed. Default: none, because anyone can send this
    /// header.
    pub fn trusted_proxies(mut self, networks: impl Into<Arc<[IpNet]>>) -> Self {
        self.trusted_proxies = networks.into();
        self
    }

    /// The names by which streams and numbers may be asked for while everyone may read them, beside
    /// those of this machine itself. Default: none, and only requests from this machine are looked
    /// at. A web page can have its own name resolved to this machine's address, and would read
    /// everything in its visitors' browsers.
    pub fn hosts(mut self, names: impl Into<Arc<[String]>>) -> Self {
        self.hosts = names.into();
        self
    }

    /// How long a client may take to send a request's head, and so also how long a connection may
    /// be idle. Default: 30 s. Shorter frees connections sooner; publishers keep theirs open, and
    /// lose a request if it is closed under them.
    pub const fn head_timeout(mut self, bound: Duration) -> Self {
        self.head_timeout = bound;
        self
    }

    /// How long a client may take nothing of what is written to it. Default: 30 s. Shorter frees
    /// connections sooner; longer spares those who pass through a tunnel. A client that is closed
    /// resumes where it was.
    pub const fn write_timeout(mut self, bound: Duration) -> Self {
        self.write_timeout = bound;
        self
    }

    /// How long everything goes on at shutdown while `/health/ready` says 503, so that load
    /// balancers send nobody any more before the listener is closed. Default: not at all.
    pub const fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// The longest age of a stream, give or take a tenth at random. Then it ends with a comment
    /// between two events, and so does its connection, so that its reader comes to another server
    /// if there is one by now. Default: none.
    pub const fn max_stream_age(mut self, age: Option<Duration>) -> Self {
        self.max_stream_age = age;
        self
    }

    /// How long requests that are under way may take to finish at shutdown. Default: 10 s.
    pub const fn drain_time(mut self, bound: Duration) -> Self {
        self.drain_time = bound;
        self
    }

    /// Within what time the readers of a server that shuts down are to come back, to it or to
    /// another one. Default: 5 s. Each is told a random time up to this, and at least 250 ms;
    /// longer spares the server they come to.
    pub const fn reconnect_spread(mut self, spread: Duration) -> Self {
        self.reconnect_spread = spread;
        self
    }

    /// Talk TLS, with this certificate. Default: plain HTTP.
    #[cfg(feature = "server")]
    pub fn tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Compress streams in one of these ways, if the client wants it. Default: never. It saves
    /// bytes where events resemble each other, and costs each stream some 300 kB and its own share
    /// of the work, for what is compressed cannot be shared.
    #[cfg(feature = "server")]
    pub fn compression(mut self, codings: impl Into<Arc<[Coding]>>) -> Self {
        self.codings = codings.into();
        self
    }

    #[cfg(feature = "server")]
    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// What is counted.
    #[cfg(feature = "server")]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    #[cfg(not(feature = "server"))]
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The settings of TLS, if it is spoken.
    #[cfg(feature = "server")]
    pub const fn tls_settings(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The client's address, as far as it can be trusted.
    #[cfg(feature = "server")]
    pub(in crate::http) fn client(&self, peer: Remote, headers: &HeaderMap) -> IpAddr {
        let is_trusted = self.is_trusted(peer);
        proxies::client(peer.address().ip(), is_trusted, headers, &self.trusted_proxies)
    }

    /// Whether it is a proxy, or may speak for others as one.
    #[cfg(feature = "server")]
    pub(super) fn is_trusted(&self, peer: Remote) -> bool {
        match peer {
            Remote::At(address) => proxies::is_trusted(address.ip(), &self.trusted_proxies),
            Remote::Local => true,
        }
    }

    /// Lets a connection in, or says which limit is against it.
    #[cfg(feature = "server")]
    pub(super) fn admit_connection(&self, peer: Remote) -> Result<Permit, Limit> {
        let per_address = self.max_per_address.filter(|_| !self.is_trusted(peer));
        Permit::connection(&self.counts, self.max_connections, peer.address().ip(), per_address)
    }

    /// Lets a stream in, or says which limit is against it.
    pub(in crate::http) fn admit_stream(&self, client: Option<IpAddr>) -> Result<Permit, Limit> {
        Permit::stream(&self.counts, self.max_connections, client, self.max_per_address)
    }

    /// How many connections and streams are open.
    pub(in crate::http) fn open(&self) -> (usize, usize) {
        self.counts.open()
    }

    /// The server is to end: from now on it is not ready for more.
    pub(crate) fn set_ending(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(in crate::http) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// The longest age of one stream, so that many that were opened together do not end together.
    pub fn stream_age(&self) -> Option<Duration> {
        self.max_stream_age.map(|age| age.mul_f64(0.9 + 0.2 * fastrand::f64()))
    }

    /// How long one reader is to wait before it comes back.
    pub(in crate::http) fn reconnection_time(&self) -> Duration {
        reconnection_time(self.reconnect_spread)
    }
}

/// A random time within this one, and at least 250 ms.
pub(crate) fn reconnection_time(spread: Duration) -> Duration {
    let spread = spread.saturating_sub(LEAST_RECONNECTION_TIME);
    LEAST_RECONNECTION_TIME + spread.mul_f64(fastrand::f64())
}
