//! Nothing is counted: this build has no metrics, which the feature `server` adds.

#![expect(clippy::unused_self, reason = "who counts has a handle")]

use std::time::Duration;

/// Takes what others count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics;

impl Metrics {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) const fn stream(&self) {}

    pub(crate) const fn sent(&self, _: usize) {}

    pub(crate) const fn delivered(&self, _: u64, _: u64, _: Option<Duration>) {}

    pub(crate) const fn slow_consumer(&self) {}

    pub(crate) const fn stream_error(&self, _: &str) {}

    pub(crate) const fn refused(&self, _: u16, _: &'static str) {}

    pub(crate) const fn published(&self, _: usize) {}
}
