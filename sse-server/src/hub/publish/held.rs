//! Requests that another program stands in the way of, as one that has locked the channel in the
//! database.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{GROUP, Group, PublishError, Request};
use crate::ServiceError;

/// How often it is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a request waits before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests that were set aside, in the order in which they came. Those that come later and have a
/// channel or a key in common with them wait behind them.
#[derive(Default)]
pub(super) struct Held {
    requests: VecDeque<Request>,
    channels: HashSet<Arc<str>>,
    keys: HashSet<String>,
    /// When it was tried last.
    tried: Option<Instant>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Waits until it is time to try again.
    pub(super) async fn due(&self) {
        if mutant!("held-never-tried-again") {
            std::future::pending::<()>().await;
        }
        sleep_until(self.tried.map_or_else(Instant::now, |tried| tried + PAUSE)).await;
    }

    /// Keeps a request that has to wait behind others. Another one goes where `add` puts it, and
    /// what that returns is returned.
    pub(super) fn keep_or(
        &mut self,
        request: Request,
        add: impl FnOnce(Request) -> Option<Request>,
    ) -> Option<Request> {
        let has_channel = request.events.iter().any(|event| self.channels.contains(&event.channel));
        let has_key = request.key.as_ref().is_some_and(|key| self.keys.contains(key.name()));
        if !has_channel && !has_key {
            return add(request);
        }
        if self.requests.len() < GROUP {
            self.keep(request);
        } else {
            refuse(request);
        }
        None
    }

    /// Moves as many as can be tried together.
    pub(super) fn take_into(&mut self, group: &mut Group) {
        while !group.is_full()
            && let Some(request) = self.requests.pop_front()
        {
            if let Some(request) = group.add(request) {
                self.requests.push_front(request);
                break;
            }
        }
    }

    /// Takes these, which were tried and are still held, before all others.
    pub(super) fn put(&mut self, tried: Vec<Request>) {
        let (now, was_empty) = (Instant::now(), self.channels.is_empty());
        self.tried = Some(now);
        let later = std::mem::take(&mut self.requests);
        self.channels.clear();
        self.keys.clear();
        for mut request in tried {
            let since = *request.held_since.get_or_insert(now);
            if now.duration_since(since) < PATIENCE { self.keep(request) } else { refuse(request) }
        }
        for request in later {
            self.keep(request);
        }
        match (was_empty, self.is_empty()) {
            (true, false) => {
                let channels = self.channels.len();
                warn!(channels, "another program holds channels; what is published to them waits");
            }
            (false, true) => info!("no other program holds channels any more"),
            _ => {}
        }
    }

    fn keep(&mut self, mut request: Request) {
        request.held_since.get_or_insert_with(Instant::now);
        self.channels.extend(request.events.iter().map(|event| event.channel.clone()));
        self.keys.extend(request.key.iter().map(|key| key.name().to_owned()));
        self.requests.push_back(request);
    }
}

fn refuse(request: Request) {
    let text = format!("another program has held the channel for {} s", PATIENCE.as_secs());
    let error = ServiceError::new("append", text).held();
    // The caller may be gone by now.
    request.answer.send(Err(PublishError::Storage(Arc::new(error)))).ok();
}
