//! Whose turn it is: those who replay let those who listen go first.
//!
//! A replay can use all cores for as long as it takes. What is published meanwhile would reach each
//! reader at rest later, by what the replays do in between. So a replay begins no further part
//! while many readers at rest are being served, but waits for that, or for [`MOST`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::super::Shared;

/// How many readers at rest are many: to serve fewer takes less time than to wait for it.
pub(in crate::hub) const MANY: usize = 64;

/// How long to wait before looking again; Tokio's clock knows nothing shorter.
const PAUSE: Duration = Duration::from_millis(1);

/// How often a replay looks before it goes on in any case: it has 24 KiB in 20 ms at least.
const MOST: usize = 20;

/// How many loops serve many readers at rest right now.
#[derive(Debug, Default)]
pub(super) struct Serving(AtomicUsize);

/// Many readers at rest are being served, until it is dropped.
pub(in crate::hub) struct Served(Arc<Shared>);

impl Served {
    pub(in crate::hub) fn new(shared: &Arc<Shared>) -> Self {
        shared.pages.serving.0.fetch_add(1, Ordering::Relaxed);
        Self(shared.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.pages.serving.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Waits for the turn of a replay.
pub(in crate::hub) async fn turn(shared: &Shared) {
    for _ in 0..MOST {
        if shared.pages.serving.0.load(Ordering::Relaxed) == 0 {
            return;
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Buf;
    use sse_proto::Cursor;
    use tokio::time::Instant;

    use super::*;
    use crate::hub::crowd::{Chunks, Crowd};
    use crate::hub::wake::Bell;
    use crate::hub::{Framing, Hub, Outgoing};
    use crate::storage::{MemoryStorage, NewEvent};

    const EVENTS: usize = 2_000;

    async fn filled() -> Hub {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let events = (0..EVENTS).map(|_| NewEvent::new("a", "message", "x".repeat(500)));
        hub.publish(events.collect()).await.expect("memory takes it");
        hub
    }

    /// How long it takes to replay all.
    async fn replay(hub: &Hub) -> Duration {
        let start = Instant::now();
        let from_start = "a:0".parse::<Cursor<'_>>().expect("a position");
        let mut subscriber =
            hub.subscribe(&[Arc::from("a")], &from_start).await.expect("it answers");
        while !subscriber.cursor().to_string().ends_with(&EVENTS.to_string()) {
            let mut out = Outgoing::new(Framing::Plain);
            poll_fn(|cx| subscriber.poll_deliver(cx, &mut out)).await;
            assert!(out.remaining() > 0, "there is more");
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replay_waits_for_those_who_listen_and_goes_on_in_any_case() {
        let hub = filled().await;
        assert_eq!(replay(&hub).await, Duration::ZERO, "there is nobody to wait for");
        let served = Served::new(&hub.shared);
        let bytes = EVENTS * 500;
        let parts = u32::try_from(bytes / (24 << 10)).expect("a few");
        let longest = PAUSE * u32::try_from(MOST).expect("a few");
        let taken = replay(&hub).await;
        assert!(taken > longest * parts / 2, "each part waits: {taken:?}");
        assert!(taken < longest * parts * 2, "none waits longer: {taken:?}");
        drop(served);
        assert_eq!(replay(&hub).await, Duration::ZERO, "nobody is served any more");
    }

    #[tokio::test]
    async fn many_readers_at_rest_are_waited_for_while_they_are_served() {
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let serving = || hub.shared.pages.serving.0.load(Ordering::Relaxed);
        let bell = Bell::new(|| {});
        let mut crowd = Crowd::new(bell.clone());
        for count in 1..=MANY {
            let mut subscriber =
                hub.subscribe(&[Arc::from("a")], &Cursor::new()).await.expect("it answers");
            let mut out = Outgoing::new(Framing::Plain);
            let nothing =
                poll_fn(|cx| std::task::Poll::Ready(subscriber.poll_deliver(cx, &mut out)));
            assert!(nothing.await.is_pending(), "it has everything");
            crowd.enter(subscriber, ()).map_err(drop).expect("it has everything");
            hub.publish(vec![NewEvent::new("a", "message", "x")]).await.expect("memory takes it");
            bell.hear();
            let mut groups = Vec::new();
            bell.take_grown(&mut groups);
            let mut served = 0;
            let give = |(): &mut (), _: Chunks<'_>| {
                served += 1;
                assert_eq!(serving(), usize::from(count == MANY), "of {count}");
                Ok::<(), ()>(())
            };
            crowd.serve(groups[0], give, |(), _, _| panic!("all stay"));
            assert_eq!((served, serving()), (count, 0));
        }
    }
}
