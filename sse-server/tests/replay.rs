//! History from the storage: who replays the same part shares it, and everyone gets their own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use sse_proto::{Cursor, Decoder, Frame};
use sse_server::ServiceError;
use sse_server::hub::{Delivery, Framing, Hub, HubConfig, Outgoing, Subscriber};
use sse_server::storage::{
    EventRef, MemoryStorage, NewEvent, SqliteStorage, Storage, StoredEvent, Visitor,
};

/// Counts the events that are read from another storage, and how often it is asked for those of the
/// channel `a`.
struct Counted {
    storage: Arc<dyn Storage>,
    read: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Counted {
    fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, read: Arc::default(), asked: Arc::default() }
    }
}

#[async_trait]
impl Storage for Counted {
    async fn append(&self, events: &[NewEvent]) -> Result<Vec<u64>, ServiceError> {
        self.storage.append(events).await
    }

    async fn head(&self, channel: &str) -> Result<u64, ServiceError> {
        self.storage.head(channel).await
    }

    async fn read(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, ServiceError> {
        let events = self.storage.read(channel, after, limit).await?;
        self.read.fetch_add(events.len(), Ordering::SeqCst);
        Ok(events)
    }

    async fn visit(
        &self,
        channel: &str,
        after: u64,
        limit: usize,
        mut visitor: Visitor,
    ) -> Result<(), ServiceError> {
        self.asked.fetch_add(usize::from(channel == "a"), Ordering::SeqCst);
        let read = self.read.clone();
        let counting = move |event: EventRef<'_>| -> ControlFlow<()> {
            read.fetch_add(1, Ordering::SeqCst);
            visitor(event)
        };
        self.storage.visit(channel, after, limit, Box::new(counting)).await
    }

    async fn trim(&self, before: SystemTime, limit: usize) -> Result<usize, ServiceError> {
        self.storage.trim(before, limit).await
    }

    async fn shorten(&self, keep: u64, limit: usize) -> Result<usize, ServiceError> {
        self.storage.shorten(keep, limit).await
    }
}

/// A hub over a storage that has these events, of which nobody has read any.
async fn hub(storage: Arc<dyn Storage>, events: &[NewEvent]) -> (Hub, Arc<AtomicUsize>) {
    for batch in events.chunks(500) {
        storage.append(batch).await.expect("appended");
    }
    let counted = Counted::new(storage);
    let read = counted.read.clone();
    (Hub::new(Arc::new(counted)), read)
}

async fn sqlite() -> (Arc<dyn Storage>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let storage = SqliteStorage::open(folder.path().join("events.db")).await.expect("it opens");
    (Arc::new(storage), folder)
}

async fn subscribe(hub: &Hub, channels: &[&str], resume: &str) -> Subscriber {
    let channels: Vec<Arc<str>> = channels.iter().map(|&name| name.into()).collect();
    let resume: Cursor<'static> = resume.parse().expect("a cursor");
    hub.subscribe(&channels, &resume).await.expect("subscribed")
}

/// All that there is for a subscriber, each event as its id, type and data, without framing.
async fn replayed(subscriber: &mut Subscriber) -> Vec<String> {
    let mut seen = Vec::new();
    let mut decoder = Decoder::new();
    loop {
        let mut out = Outgoing::new(Framing::Plain);
        let next = std::future::poll_fn(|cx| match subscriber.poll_deliver(cx, &mut out) {
            Poll::Pending if subscriber.is_reading() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(delivery) => Poll::Ready(Some(delivery)),
        });
        match next.await {
            None => return seen,
            Some(Delivery::Events | Delivery::LeftOut) => {}
            Some(other) => panic!("unexpected {other:?}"),
        }
        let out = out.into_bytes();
        let mut frames = decoder.decode(&out);
        while let Some(frame) = frames.next_frame() {
            let Ok(Frame::Event(event)) = frame else { panic!("unexpected {frame:?}") };
            let data = event.data().trim_end_matches('x');
            seen.push(format!("{} {} {data}", event.last_event_id(), event.event_type()));
        }
    }
}

fn event(channel: &str, n: u64, len: usize) -> NewEvent {
    NewEvent::new(channel, "t", format!("{n} {}", "x".repeat(len)))
}

// What is shared is forgotten after a while, so time stands still, whatever else the machine does.
#[tokio::test(start_paused = true)]
async fn a_storm_that_comes_back_to_the_same_place_reads_it_once() {
    let events: Vec<_> = (1..=150).map(|n| event("a", n, 300)).collect();
    let (hub, read) = hub(Arc::new(MemoryStorage::new()), &events).await;
    let mut readers = Vec::new();
    for n in 0..1000 {
        // Some have seen a little more than others.
        readers.push((n % 5, subscribe(&hub, &["a"], &format!("a:{}", 45 + n % 5)).await));
    }
    let replays = readers.iter_mut().map(|(more, reader)| async move {
        let first = 46 + *more;
        let expected: Vec<_> = (first..=150).map(|n| format!("a:{n} t {n} ")).collect();
        assert_eq!(replayed(reader).await, expected);
    });
    join_all(replays).await;
    let read = read.load(Ordering::SeqCst);
    assert!(read < 5 * 105 + 5 * 105, "{read} events were read for 1,000 readers");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_replay_a_long_history_together_read_it_together() {
    let events: Vec<_> = (1..=5000).map(|n| event("a", n, 200)).collect();
    let (storage, _folder) = sqlite().await;
    let (hub, read) = hub(storage, &events).await;
    let expected: Arc<[String]> = (1..=5000).map(|n| format!("a:{n} t {n} ")).collect();
    let mut replays = Vec::new();
    for _ in 0..20 {
        let (hub, expected) = (hub.clone(), expected.clone());
        replays.push(tokio::spawn(async move {
            let mut reader = subscribe(&hub, &["a"], "a:0").await;
            let seen = replayed(&mut reader).await;
            assert!(seen[..] == expected[..], "{} events", seen.len());
        }));
    }
    for replay in replays {
        replay.await.expect("all of it");
    }
    let read = read.load(Ordering::SeqCst);
    assert!(read < 3 * 5000, "{read} events were read for 20 times 5,000");
}

/// What is shared is the same for all; what of it a reader gets is not.
#[tokio::test]
async fn types_users_and_other_channels_are_the_readers_own() {
    let large = 40_000;
    let events: Vec<_> = (1..=600)
        .flat_map(|n| {
            let len = if n % 100 == 0 { large } else { 20 * (n % 40) };
            let (event_type, user) = (["t", "u", ""][n % 3], ["u1", "u2"][n % 2]);
            let data = format!("{n} {}", "x".repeat(len));
            let skipped = if n.is_multiple_of(7) { vec![user.to_owned()] } else { Vec::new() };
            [
                NewEvent::new("a", event_type, data.clone()).skip_users(skipped),
                NewEvent::new("b b", event_type, data),
            ]
        })
        .collect();
    let is_for = |n: usize, user: &str| !n.is_multiple_of(7) || ["u1", "u2"][n % 2] != user;
    let seen_type = |n: usize| ["t", "u", "message"][n % 3];
    let (sqlite, _folder) = sqlite().await;
    let storages: [Arc<dyn Storage>; 2] = [Arc::new(MemoryStorage::new()), sqlite];
    for storage in storages {
        let (hub, _) = hub(storage, &events).await;
        for user in ["u1", "u2", "u3"] {
            for types in [&["t", "u", "message"][..], &["t"], &["message", "u"]] {
                let mut reader = subscribe(&hub, &["a"], "a:10").await;
                reader.read_as(user);
                reader.only(types.iter().copied().collect());
                let wanted =
                    (11..=600).filter(|&n| types.contains(&seen_type(n)) && is_for(n, user));
                let expected: Vec<_> =
                    wanted.map(|n| format!("a:{n} {} {n} ", seen_type(n))).collect();
                assert_eq!(replayed(&mut reader).await, expected, "{user} {types:?}");
            }
        }
        let mut reader = subscribe(&hub, &["b b", "a"], "a:300,b%20b:20").await;
        reader.read_as("u1");
        let (mut a, mut b) = (300, 20);
        for seen in replayed(&mut reader).await {
            let (id, seen) = seen.split_once(' ').expect("an id");
            let cursor: Cursor<'_> = id.parse().expect("a cursor");
            let at = |name| cursor.position(name).and_then(|at| usize::try_from(at).ok());
            let [at_a, at_b] = ["a", "b b"].map(|name| at(name).expect("a position"));
            let (of, number) = if at_b > b { (&mut b, at_b) } else { (&mut a, at_a) };
            *of = number;
            assert_eq!(seen, format!("{} {number} ", seen_type(number)));
        }
        assert_eq!((a, b), (600, 600));
    }
}

/// A page is no promise: what the storage has lost is lost for everyone soon, and told.
#[tokio::test]
async fn what_is_missing_in_the_middle_of_history_is_told() {
    let storage = Arc::new(MemoryStorage::new());
    let events: Vec<_> = (1..=300).map(|n| event("a", n, 10)).collect();
    let (hub, _) = hub(storage.clone(), &events).await;
    storage.shorten(100, usize::MAX).await.expect("shortened");
    let mut reader = subscribe(&hub, &["a"], "a:150").await;
    assert_eq!(replayed(&mut reader).await, [r#"a:300 stream-reset {"channels": ["a"]}"#]);
    let mut reader = subscribe(&hub, &["a"], "a:200").await;
    assert_eq!(replayed(&mut reader).await.len(), 100);
}

/// Publishes an event that can be read from the storage only.
async fn publish_beyond_memory(hub: &Hub, event: &NewEvent) {
    loop {
        hub.publish(vec![event.clone()]).await.expect("published");
        for _ in 0..100 {
            if hub.memory() == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// How much is read at a time is a matter of each channel: history comes in pages, also beside
/// channels whose events come one at a time, or are large.
#[tokio::test]
async fn history_comes_in_pages_whatever_comes_in_other_channels() {
    let events: Vec<_> = (1..=600).map(|n| event("a", n, 10)).collect();
    for (others, len) in [(&["b"][..], 1), (&["b"], 40_000), (&["b", "c"], 1)] {
        let storage = Arc::new(MemoryStorage::new());
        storage.append(&events).await.expect("appended");
        let counted = Counted::new(storage);
        let asked = counted.asked.clone();
        let hub = Hub::with_config(Arc::new(counted), HubConfig::default().memory(0));
        let channels: Vec<_> = ["a"].iter().chain(others).copied().collect();
        let resume: Vec<_> = channels.iter().map(|channel| format!("{channel}:0")).collect();
        let mut reader = subscribe(&hub, &channels, &resume.join(",")).await;
        let mut rounds = 0;
        while reader.cursor().position("a") < Some(600) {
            for other in others {
                publish_beyond_memory(&hub, &event(other, 1, len)).await;
            }
            let mut out = Outgoing::new(Framing::Plain);
            let next = std::future::poll_fn(|cx| reader.poll_deliver(cx, &mut out)).await;
            assert_eq!(next, Delivery::Events);
            rounds += 1;
        }
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked < 60, "asked {asked} times for 600 events, in {rounds} rounds");
    }
}

/// What the next part of a stream has is written, if there is one before this event.
async fn deliver(reader: &mut Subscriber, last: u64) {
    if reader.cursor().position("a") < Some(last) || reader.is_within_event() {
        let mut out = Outgoing::new(Framing::Plain);
        let next = std::future::poll_fn(|cx| reader.poll_deliver(cx, &mut out)).await;
        assert_eq!(next, Delivery::Events);
    }
}

/// After a large event each reader asks for one event first. Who waits for what another one has
/// asked for does not take the one event for all that there was room for.
#[tokio::test]
async fn those_who_replay_side_by_side_do_not_keep_each_other_to_small_pages() {
    let small = (2..=600).map(|n| event("a", n, 10));
    let events: Vec<_> = [event("a", 1, 40_000)].into_iter().chain(small).collect();
    for channels in [&["a"][..], &["a", "b"], &["b", "a", "c"]] {
        let storage = Arc::new(MemoryStorage::new());
        storage.append(&events).await.expect("appended");
        let counted = Counted::new(storage);
        let asked = counted.asked.clone();
        let hub = Hub::new(Arc::new(counted));
        let mut one = subscribe(&hub, channels, "a:0").await;
        let mut other = subscribe(&hub, channels, "a:0").await;
        while one.cursor().position("a") < Some(1) || one.is_within_event() {
            join(deliver(&mut one, 1), deliver(&mut other, 1)).await;
        }
        // One asks the storage, the other one finds that.
        deliver(&mut one, 600).await;
        deliver(&mut other, 600).await;
        while one.cursor().position("a") < Some(600) {
            std::mem::swap(&mut one, &mut other);
            join(deliver(&mut one, 600), deliver(&mut other, 600)).await;
        }
        let asked = asked.load(Ordering::SeqCst);
        assert!(asked < 60, "{channels:?}: asked {asked} times for 600 events");
    }
}
