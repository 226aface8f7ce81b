//! A reader at rest gets the same bytes as a subscriber, whatever comes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Buf;
use fastrand::Rng;
use sse_proto::Cursor;
use tokio::time::sleep;

use super::super::{Delivery, Framing, Hub, HubConfig, Outgoing, Subscriber};
use super::{At, Bell, Crowd, Parts};
use crate::storage::{MemoryStorage, NewEvent};

/// What a subscriber gets now, as chunks.
async fn take(subscriber: &mut Subscriber) -> Vec<u8> {
    let mut out = Outgoing::new(Framing::Chunked);
    let mut next = async || {
        poll_fn(|cx| match subscriber.poll_deliver(cx, &mut out) {
            Poll::Ready(delivery) => Poll::Ready(Some(delivery)),
            Poll::Pending if subscriber.is_reading() => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
        })
        .await
    };
    while let Some(delivery) = next().await {
        assert!(matches!(delivery, Delivery::Events | Delivery::LeftOut), "{delivery:?}");
    }
    let mut bytes = vec![0; out.remaining()];
    out.copy_to_slice(&mut bytes);
    bytes
}

/// What is in chunks. How much of it there is in each depends on what else was read lately.
fn content(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = str::from_utf8(&chunks[..end]).expect("hexadecimal digits");
        let (chunk, rest) =
            chunks[end + 2..].split_at(usize::from_str_radix(size, 16).expect("a size"));
        content.extend_from_slice(chunk);
        chunks = rest.strip_prefix(b"\r\n").expect("the end of a chunk");
    }
    assert!(chunks.is_empty(), "nothing is there but chunks");
    content
}

/// A reader in a crowd of one, or what it is while that does not serve it.
struct Rested {
    crowd: Crowd<Vec<u8>>,
    bell: Arc<Bell>,
    risen: Option<Subscriber>,
}

impl Rested {
    async fn new(subscriber: Subscriber) -> Self {
        let bell = Bell::new(|| {});
        let crowd = Crowd::new(bell.clone());
        let mut this = Self { crowd, bell, risen: Some(subscriber) };
        this.take().await;
        this
    }

    /// What it gets now. Whether it has risen for that.
    async fn take(&mut self) -> (Vec<u8>, bool) {
        self.bell.hear();
        let (mut got, mut groups) = (Vec::new(), Vec::new());
        self.bell.take_grown(&mut groups);
        for group in groups {
            let mut risen = Vec::new();
            let give = |kept: &mut Vec<u8>, chunks: super::Chunks<'_>| {
                kept.extend_from_slice(chunks.bytes());
                Ok::<(), ()>(())
            };
            let removed = |kept: Vec<u8>, subscriber, _| risen.push((kept, subscriber));
            self.crowd.serve(group, give, removed);
            for (kept, subscriber) in risen {
                got.extend(kept);
                self.risen = Some(subscriber);
            }
        }
        if let Some(kept) = self.crowd.get_mut(0) {
            got.append(kept);
        }
        let Some(mut subscriber) = self.risen.take() else { return (got, false) };
        got.extend(take(&mut subscriber).await);
        self.crowd.enter(subscriber, Vec::new()).map_err(drop).expect("it has everything");
        let served = self.crowd.serve_one(0, |_, _| Err::<(), ()>(()));
        assert_eq!(served, Ok(()), "nothing came meanwhile");
        (got, true)
    }
}

/// Something that happens in a channel.
fn events(rng: &mut Rng, channel: &str) -> Vec<NewEvent> {
    let event = |rng: &mut Rng| {
        let event_type = rng.choice(["message", "a", "b"]).expect("there are some");
        // Now and then too large to go out at once.
        let len = if rng.u8(..40) == 0 { 40_000 } else { rng.usize(..600) };
        let event = NewEvent::new(channel, event_type, "x\n".repeat(len / 2));
        let event = event.store(rng.u8(..4) > 0);
        match rng.u8(..4) {
            0 => event.skip_users(vec!["u".to_owned()]),
            1 => event.skip_users(vec!["anonymous".to_owned()]),
            _ => event,
        }
    };
    // Now and then more than a tail keeps.
    let count = if rng.u8(..50) == 0 { 1100 } else { rng.usize(1..5) };
    (0..count).map(|_| event(rng)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_at_rest_gets_what_a_subscriber_gets() {
    let risings = AtomicUsize::new(0);
    let mut rounds = 0;
    for seed in 0..15 {
        let mut rng = Rng::with_seed(seed);
        let config = HubConfig::default().reliable(|channel| !channel.starts_with("live"));
        let hub = Hub::with_config(Arc::new(MemoryStorage::new()), config);
        let all = ["a b", "c,d:é%", "live 1"].map(Arc::<str>::from);
        let channels = &all[..rng.usize(1..=all.len())];
        let user = rng.bool().then_some("u");
        let types: Option<Vec<&str>> = rng.bool().then(|| vec!["a", "message"]);
        let subscriber = async || {
            let mut subscriber =
                hub.subscribe(channels, &Cursor::new()).await.expect("memory answers");
            if let Some(user) = user {
                subscriber.read_as(user);
            }
            if let Some(types) = &types {
                subscriber.only(types.iter().copied().collect());
            }
            subscriber
        };
        let mut plain = subscriber().await;
        take(&mut plain).await;
        let mut rested = Rested::new(subscriber().await).await;
        for _ in 0..30 {
            rounds += 1;
            let channel = channels[rng.usize(..channels.len())].clone();
            hub.publish(events(&mut rng, &channel)).await.expect("memory takes it");
            let (got, has_risen) = rested.take().await;
            risings.fetch_add(usize::from(has_risen), Ordering::Relaxed);
            // Now and then pages that one has read are forgotten before the other reads them.
            sleep(Duration::from_millis(rng.u64(..2_500))).await;
            let expected = take(&mut plain).await;
            let [got, expected] = [&got, &expected].map(|chunks| content(chunks));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(got == expected, "seed {seed}:\n{}\n{}", text(&got), text(&expected));
            assert_eq!(hub.readers().iter().map(|(_, readers)| readers).max(), Some(&2));
        }
        drop(rested);
        drop(plain);
        assert_eq!(hub.channels(), 0, "who leaves leaves nothing behind");
    }
    let risen = risings.into_inner();
    assert!(risen > 5 && risen < rounds / 2, "{risen} of {rounds}: both ways are tried");
}

/// Seed 24 of the simulator: such a reader left its crowd, and came back at once, without end.
#[tokio::test]
async fn a_reader_that_is_ahead_of_its_hub_rests_until_the_hub_has_caught_up() {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let subscriber = hub.subscribe(&[Arc::from("a")], &Cursor::new()).await.expect("it answers");
    // As one that has got the first event from another instance, of which this one knows nothing.
    let Parts { shared, mut joined, .. } = subscriber.take_apart();
    let (log, place) = joined.remove(0);
    log.remove_signal(place);
    let mut subscriber = Subscriber::new(shared, &[]);
    subscriber.rejoin(&log, At { id: 1, live: 0, generation: 0 });
    assert_eq!(take(&mut subscriber).await, b"");
    let mut rested = Rested::new(subscriber).await;
    for _ in 0..3 {
        log.wake_all();
        assert_eq!(rested.take().await, (Vec::new(), false), "it stays where it is");
    }
    for (data, is_due) in [("had", false), ("new", true)] {
        let event = NewEvent::new("a", "message", data);
        hub.publish(vec![event]).await.expect("memory takes it");
        let (got, has_risen) = rested.take().await;
        let got = String::from_utf8(got).expect("text");
        assert_eq!(got.contains(data), is_due, "{got}");
        assert_eq!(got.is_empty(), !is_due, "{got}");
        assert!(!has_risen, "memory has it");
    }
}

#[tokio::test]
async fn all_readers_of_a_channel_are_served_and_may_leave_meanwhile() {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let channels = [Arc::from("a")];
    let bell = Bell::new(|| {});
    let mut crowd = Crowd::new(bell.clone());
    for number in 0..50_u32 {
        let mut subscriber = hub.subscribe(&channels, &Cursor::new()).await.expect("it answers");
        take(&mut subscriber).await;
        assert_eq!(crowd.next(), number);
        crowd.enter(subscriber, number).map_err(drop).expect("it has everything");
    }
    let mut left: Vec<u32> = (0..50).collect();
    for round in 0..5 {
        hub.publish(vec![NewEvent::new("a", "message", "x")]).await.expect("memory takes it");
        bell.hear();
        let (mut groups, mut served, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        bell.take_grown(&mut groups);
        assert_eq!(groups.len(), 1, "one for all");
        let give = |number: &mut u32, _: super::Chunks<'_>| {
            served.push(*number);
            if *number % 5 == round { Err(()) } else { Ok(()) }
        };
        crowd.serve(groups[0], give, |number, _, why| gone.push((number, why)));
        served.sort_unstable();
        assert_eq!(served, left, "each once");
        left.retain(|number| number % 5 != round);
        assert!(gone.iter().all(|(number, why)| number % 5 == round && *why == Some(())));
        assert_eq!((crowd.len(), gone.len()), (left.len(), 10));
    }
    assert_eq!(hub.channels(), 0);
}
