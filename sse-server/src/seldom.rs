//! Saying something in the log that others can make happen as often as they like.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often it is said at most.
const PAUSE: Duration = Duration::from_secs(10);

/// One thing to say, at once when it happens first, then no more often than every ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// It has happened. Returns how often since the last time, if it should be said now.
    pub(crate) fn happened(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.since += 1;
        if said.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        said.last = Some(Instant::now());
        Some(std::mem::take(&mut said.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_said_seldom_and_counted() {
        let seldom = Seldom::default();
        assert_eq!([(); 4].map(|()| seldom.happened()), [Some(1), None, None, None]);
        tokio::time::advance(PAUSE).await;
        assert_eq!([(); 2].map(|()| seldom.happened()), [Some(4), None]);
    }
}
