//! `sse-client` beside other crates that read event streams over HTTP, its peers.
//!
//! [`OURS`] and [`PEERS`] have an adapter for each; their speed is measured in `benches`. Nothing
//! of ours may depend on this crate, because it depends on all the peers.
//!
//! An adapter uses its crate as that crate's documentation does, with its defaults, and where it
//! offers several ways, the cheapest that still yields every event.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod clients;

use std::hint::black_box;
use std::pin::Pin;

pub use clients::{LIMIT, OURS, OURS_BY_HYPER, PEERS};
pub use sse_peers::{Corpus, Count};

/// What a client says when it cannot go on.
pub type Error = Box<dyn std::error::Error>;

/// A client, and how to have it read a stream.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The crate.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// Reads this URL until the meter has seen enough, or the stream has ended.
    pub read: for<'a> fn(&'a str, &'a mut Meter) -> Reading<'a>,
}

/// A client at work.
pub type Reading<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// Counts what a client delivers.
#[derive(Debug)]
pub struct Meter {
    wanted: usize,
    count: Count,
}

impl Meter {
    /// Has seen enough after so many events.
    pub const fn new(wanted: usize) -> Self {
        Self { wanted, count: Count { events: 0, data_len: 0 } }
    }

    /// Counts an event, and makes the compiler believe that somebody reads all of it. Whether the
    /// client may stop.
    fn is_done<E>(&mut self, event: &E, data: &str) -> bool {
        black_box(event);
        self.count.events += 1;
        self.count.data_len += data.len();
        self.count.events == self.wanted
    }

    /// What has been delivered.
    pub const fn count(&self) -> Count {
        self.count
    }
}
