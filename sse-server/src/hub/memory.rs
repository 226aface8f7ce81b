//! What the tails of all channels take together: bounded in bytes, and by age.
//!
//! A tail spares reading the storage, and is of use for those who read now or come back soon. Each
//! is bounded by itself; but there may be a channel for each user.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::log::Log;

/// The bytes of events in all tails.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: AtomicUsize,
    most: usize,
    is_over: Notify,
}

impl Memory {
    pub(super) fn new(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most, is_over: Notify::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn grows(&self, by: usize) {
        let bytes = self.bytes.fetch_add(by, Ordering::Relaxed) + by;
        if bytes > self.most && !mutant!("memory-without-bound") {
            self.is_over.notify_one();
        }
    }

    pub(super) fn shrinks(&self, by: usize) {
        self.bytes.fetch_sub(by, Ordering::Relaxed);
    }
}

/// Starts the task that keeps to the bounds. It ends when the hub is gone.
pub(super) fn start(hub: &Arc<Shared>, age: Duration) {
    let shared = Arc::downgrade(hub);
    let memory = hub.memory.clone();
    let keeping = tokio::spawn(async move {
        let period = (age / 10).clamp(Duration::from_millis(10), Duration::from_secs(5));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                biased;
                _ = ticks.tick() => false,
                () = memory.is_over.notified() => true,
            };
            let Some(shared) = shared.upgrade() else { return };
            shared.pages.forget();
            let mut logs: Vec<Arc<Log>> = shared.logs().values().cloned().collect();
            if is_over {
                // Those in which nothing happens first. Down to less than the most, or it would be
                // done for each event.
                logs.sort_by_cached_key(|log| std::cmp::Reverse(log.age()));
                for log in logs {
                    if memory.bytes() <= memory.most / 4 * 3 {
                        break;
                    }
                    log.forget(Duration::ZERO);
                }
            } else if !mutant!("memory-never-ages") {
                for log in logs {
                    log.forget(age);
                }
            }
        }
    });
    hub.tasks.add("keeping to the memory", keeping.abort_handle());
}
