//! How a server is run: its limits and bounds, and what is counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use ipnet::IpNet;

use super::admission::{Counts, Limit, Permit};
use super::proxies;
use super::tls::Tls;
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
    pub(crate) drain_time: Duration,
    pub(crate) reconnect_spread: Duration,
    pub(super) tls: Option<Tls>,
    codings: Arc<[Coding]>,
    metrics: Metrics,
    counts: Arc<Counts>,
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
            drain_time: Duration::from_secs(10),
            reconnect_spread: Duration::from_secs(5),
            tls: None,
            codings: Arc::default(),
            metrics: Metrics::new(),
            counts: Arc::default(),
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
    pub fn tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Compress streams in one of these ways, if the client wants it. Default: never. It saves
    /// bytes where events resemble each other, and costs each stream some 300 kB and its own share
    /// of the work, for what is compressed cannot be shared.
    pub fn compression(mut self, codings: impl Into<Arc<[Coding]>>) -> Self {
        self.codings = codings.into();
        self
    }

    pub(crate) fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// What is counted.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The settings of TLS, if it is spoken.
    pub const fn tls_settings(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// The client's address, as far as it can be trusted.
    pub(in crate::http) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        proxies::client(peer, headers, &self.trusted_proxies)
    }

    /// Lets a connection in, or says which limit is against it.
    pub(super) fn admit_connection(&self, peer: IpAddr) -> Result<Permit, Limit> {
        let is_proxy = proxies::is_trusted(peer, &self.trusted_proxies);
        let per_address = self.max_per_address.filter(|_| !is_proxy);
        Permit::connection(&self.counts, self.max_connections, peer, per_address)
    }

    /// Lets a stream in, or says which limit is against it.
    pub(in crate::http) fn admit_stream(&self, client: Option<IpAddr>) -> Result<Permit, Limit> {
        Permit::stream(&self.counts, self.max_connections, client, self.max_per_address)
    }

    /// How many connections and streams are open.
    pub(in crate::http) fn open(&self) -> (usize, usize) {
        self.counts.open()
    }

    /// How long one reader is to wait before it comes back.
    pub(in crate::http) fn reconnection_time(&self) -> Duration {
        let spread = self.reconnect_spread.saturating_sub(LEAST_RECONNECTION_TIME);
        LEAST_RECONNECTION_TIME + spread.mul_f64(fastrand::f64())
    }
}
