//! How many may be here at once: counted when they come, and when they go.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use crate::http::error::Refusal;

/// What is open.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connections: AtomicUsize,
    streams: AtomicUsize,
    /// Connections and streams by origin; only if there is a limit for these.
    origins: Mutex<HashMap<u64, [usize; 2]>>,
}

/// A limit that has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Limit {
    kind: Kind,
    most: usize,
    is_per_address: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Stream,
}

/// One of those that may be here. Dropped, it makes room.
#[derive(Debug)]
pub(in crate::http) struct Permit {
    counts: Arc<Counts>,
    /// 0: not counted by origin.
    origin: u64,
    kind: Kind,
}

impl Counts {
    pub(super) fn open(&self) -> (usize, usize) {
        (self.connections.load(Ordering::Relaxed), self.streams.load(Ordering::Relaxed))
    }

    fn all(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Connection => &self.connections,
            Kind::Stream => &self.streams,
        }
    }
}

impl Permit {
    pub(super) fn connection(
        counts: &Arc<Counts>,
        most: usize,
        peer: IpAddr,
        per_address: Option<usize>,
    ) -> Result<Self, Limit> {
        Self::new(counts, Kind::Connection, most, per_address.map(|most| (origin(peer), most)))
    }

    pub(super) fn stream(
        counts: &Arc<Counts>,
        most: usize,
        client: Option<IpAddr>,
        per_address: Option<usize>,
    ) -> Result<Self, Limit> {
        Self::new(counts, Kind::Stream, most, client.map(origin).zip(per_address))
    }

    fn new(
        counts: &Arc<Counts>,
        kind: Kind,
        most: usize,
        per_origin: Option<(u64, usize)>,
    ) -> Result<Self, Limit> {
        let all = counts.all(kind);
        if all.fetch_add(1, Ordering::Relaxed) >= most {
            all.fetch_sub(1, Ordering::Relaxed);
            return Err(Limit { kind, most, is_per_address: false });
        }
        // From here on dropping it takes the count back.
        let mut permit = Self { counts: counts.clone(), origin: 0, kind };
        if let Some((origin, most)) = per_origin {
            let mut origins = counts.origins.lock().unwrap_or_else(PoisonError::into_inner);
            let count = &mut origins.entry(origin).or_default()[kind as usize];
            if *count >= most {
                // Dropping it does not lock: its origin is not set yet.
                return Err(Limit { kind, most, is_per_address: true });
            }
            *count += 1;
            permit.origin = origin;
        }
        Ok(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.all(self.kind).fetch_sub(1, Ordering::Relaxed);
        if self.origin == 0 {
            return;
        }
        let mut origins = self.counts.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = origins.get_mut(&self.origin) {
            counts[self.kind as usize] -= 1;
            if *counts == [0, 0] {
                origins.remove(&self.origin);
            }
        }
    }
}

/// What counts as one origin: an IPv4 address, or the first half of an IPv6 address. Never 0.
fn origin(address: IpAddr) -> u64 {
    match address.to_canonical() {
        // As no IPv6 network begins.
        IpAddr::V4(address) => u64::from(u32::from(address)) | 1 << 63 | 1 << 62,
        IpAddr::V6(address) => ((u128::from(address) >> 64) as u64).max(1),
    }
}

impl Limit {
    /// In a word, for programs.
    pub(super) const fn name(self) -> &'static str {
        match self.kind {
            Kind::Connection => "too-many-connections",
            Kind::Stream => "too-many-streams",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Connection => "connections",
            Kind::Stream => "streams",
        };
        let (most, from, setting) = if self.is_per_address {
            (self.most, " from one address", "--max-per-address")
        } else {
            (self.most, "", "--max-connections")
        };
        write!(f, "there are {most} {what}{from} already, the most that {setting} allows")
    }
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Self {
        let text = format!("{limit}; try again later");
        // Not all at the same time.
        let later = fastrand::u32(5..=15);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, limit.name(), text).retry_after(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_origin_and_a_mapped_address_is_its_ipv4_address() {
        let origin = |text: &str| origin(text.parse().expect("an address"));
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_ne!(origin("::1"), 0);
    }

    #[test]
    fn what_was_refused_is_not_counted() {
        let counts = Arc::new(Counts::default());
        let client = "192.0.2.1".parse().expect("an address");
        let stream = |most| Permit::stream(&counts, 3, Some(client), Some(most));
        let first = stream(1).expect("the first");
        for _ in 0..5 {
            assert!(stream(1).expect_err("the second").is_per_address);
        }
        assert_eq!(counts.open(), (0, 1));
        let more = [stream(9).expect("room"), stream(9).expect("room")];
        assert!(!stream(9).expect_err("the fourth").is_per_address);
        drop((first, more));
        assert_eq!(counts.open(), (0, 0));
        assert!(counts.origins.lock().expect("no panic").is_empty());
    }
}
