//! Delivery, seen from a subscriber: what it gets after which position.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use sse_proto::{Cursor, Decoder, Frame};
use sse_server::hub::{Delivery, Framing, Hub, HubConfig, Outgoing, Subscriber};
use sse_server::storage::{MemoryStorage, NewEvent, Storage};

struct Fixture {
    storage: Arc<MemoryStorage>,
    hub: Hub,
}

impl Fixture {
    fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        Self { hub: Hub::new(storage.clone()), storage }
    }

    async fn publish(&self, channel: &str, data: impl ToString) -> u64 {
        let event = NewEvent::new(channel, "message", data.to_string());
        self.hub.publish(vec![event]).await.expect("published")[0]
    }

    async fn fill(&self, channel: &str, count: usize) {
        for n in 1..=count {
            self.publish(channel, n).await;
        }
    }

    /// Removes everything that has been stored so far.
    async fn trim(&self) {
        let later = SystemTime::now() + Duration::from_secs(1);
        self.storage.trim(later, usize::MAX).await.expect("trimmed");
    }

    async fn subscribe(&self, channels: &[&str], resume: &str) -> Subscriber {
        let channels: Vec<Arc<str>> = channels.iter().map(|&name| name.into()).collect();
        let resume =
            if resume.is_empty() { Cursor::new() } else { resume.parse().expect("a cursor") };
        self.hub.subscribe(&channels, &resume).await.expect("subscribed")
    }
}

/// What is due now, each event as `id data`, a reset as `reset id data`.
async fn due(subscriber: &mut Subscriber) -> Vec<String> {
    let mut out = Outgoing::default();
    std::future::poll_fn(|cx| {
        loop {
            match subscriber.poll_deliver(cx, &mut out) {
                Poll::Ready(Delivery::Events) => {}
                Poll::Pending if subscriber.is_reading() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
                Poll::Ready(other) => panic!("unexpected {other:?}"),
            }
        }
    })
    .await;
    let mut decoder = Decoder::new();
    let out = out.into_bytes();
    let mut frames = decoder.decode(&out);
    let mut due = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let Ok(Frame::Event(event)) = frame else { panic!("unexpected {frame:?}") };
        let kind = if event.event_type() == "stream-reset" { "reset " } else { "" };
        due.push(format!("{kind}{} {}", event.last_event_id(), event.data()));
    }
    due
}

#[tokio::test]
async fn a_new_subscriber_gets_what_is_published_from_now_on() {
    let fixture = Fixture::new();
    fixture.fill("a", 2).await;
    let mut subscriber = fixture.subscribe(&["a"], "").await;
    assert!(due(&mut subscriber).await.is_empty());
    fixture.publish("a", "x").await;
    fixture.publish("other", "y").await;
    assert_eq!(due(&mut subscriber).await, ["a:3 x"]);
    assert!(due(&mut subscriber).await.is_empty());
}

#[tokio::test]
async fn several_channels_share_a_cursor_that_only_grows() {
    let fixture = Fixture::new();
    fixture.fill("a", 1).await;
    let mut subscriber = fixture.subscribe(&["b", "a"], "a:0").await;
    assert_eq!(due(&mut subscriber).await, ["b:0,a:1 1"]);
    fixture.publish("a", "x").await;
    fixture.publish("b", "y").await;
    assert_eq!(due(&mut subscriber).await, ["b:1,a:1 y", "b:1,a:2 x"]);
}

#[tokio::test]
async fn a_reader_far_behind_goes_through_storage_into_the_present() {
    let fixture = Fixture::new();
    fixture.fill("a", 350).await;
    let mut subscriber = fixture.subscribe(&["a"], "a:0").await;
    fixture.publish("a", "351").await;
    let expected: Vec<_> = (1..=351).map(|n| format!("a:{n} {n}")).collect();
    assert_eq!(due(&mut subscriber).await, expected);
    fixture.publish("a", "352").await;
    assert_eq!(due(&mut subscriber).await, ["a:352 352"]);
}

#[tokio::test]
async fn a_reader_that_falls_behind_the_memory_misses_nothing() {
    let fixture = Fixture::new();
    let mut subscriber = fixture.subscribe(&["a"], "").await;
    fixture.fill("a", 3000).await;
    let expected: Vec<_> = (1..=3000).map(|n| format!("a:{n} {n}")).collect();
    assert_eq!(due(&mut subscriber).await, expected);
}

#[tokio::test]
async fn missing_history_is_a_reset_and_delivery_goes_on() {
    let fixture = Fixture::new();
    fixture.fill("a", 3).await;
    fixture.fill("b", 1).await;
    fixture.trim().await;
    fixture.publish("a", 4).await;
    let mut subscriber = fixture.subscribe(&["a", "b"], "a:2,b:1").await;
    assert_eq!(due(&mut subscriber).await, [r#"reset a:4,b:1 {"channels": ["a"]}"#]);
    fixture.publish("a", 5).await;
    assert_eq!(due(&mut subscriber).await, ["a:5,b:1 5"]);
}

#[tokio::test]
async fn several_resets_are_one_and_come_before_the_events() {
    let fixture = Fixture::new();
    for channel in ["a", "b", "c"] {
        fixture.fill(channel, 2).await;
    }
    let mut subscriber = fixture.subscribe(&["a", "b", "c"], "a:9,b:1,c:9").await;
    let reset = r#"reset a:2,b:1,c:2 {"channels": ["a", "c"]}"#;
    assert_eq!(due(&mut subscriber).await, [reset, "a:2,b:2,c:2 2"]);
}

#[tokio::test]
async fn a_quiet_channel_does_not_reset_because_what_was_seen_has_expired() {
    let fixture = Fixture::new();
    fixture.fill("a", 3).await;
    fixture.trim().await;
    let mut subscriber = fixture.subscribe(&["a"], "a:3").await;
    assert!(due(&mut subscriber).await.is_empty());
    fixture.publish("a", 4).await;
    let mut late = fixture.subscribe(&["a"], "a:3").await;
    assert_eq!(due(&mut subscriber).await, ["a:4 4"]);
    assert_eq!(due(&mut late).await, ["a:4 4"]);
}

#[tokio::test]
async fn history_that_expires_under_a_reader_is_a_reset() {
    let fixture = Fixture::new();
    let mut subscriber = fixture.subscribe(&["a"], "").await;
    fixture.fill("a", 3000).await;
    fixture.trim().await;
    assert_eq!(due(&mut subscriber).await, [r#"reset a:3000 {"channels": ["a"]}"#]);
}

/// A reader who comes from another instance may know events that this one has not heard of.
#[tokio::test]
async fn who_is_ahead_of_this_instance_is_not_reset_if_the_storage_knows_their_position() {
    let fixture = Fixture::new();
    // No relay, and it never looks: it hears nothing by itself.
    let never = HubConfig::default().refresh(Duration::from_hours(1));
    let deaf = Fixture { hub: Hub::with_config(fixture.storage.clone(), never), ..Fixture::new() };
    fixture.publish("a", "1").await;
    let mut here = deaf.subscribe(&["a"], "").await;
    fixture.publish("a", "2").await;
    fixture.publish("a", "3").await;
    assert!(due(&mut here).await.is_empty());
    let mut moved = deaf.subscribe(&["a"], "a:3").await;
    assert!(due(&mut moved).await.is_empty(), "nothing is missing");
    fixture.publish("a", "4").await;
    assert_eq!(deaf.publish("a", "5").await, 5);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        tokio::task::yield_now().await;
        seen.extend(due(&mut moved).await);
    }
    assert_eq!(seen, ["a:4 4", "a:5 5"]);
    // What was heard by the question is told to those who were there.
    assert_eq!(due(&mut here).await, ["a:2 2", "a:3 3", "a:4 4", "a:5 5"]);
    let mut beyond = deaf.subscribe(&["a"], "a:6").await;
    assert_eq!(due(&mut beyond).await, ["reset a:5 {\"channels\": [\"a\"]}"]);
}

#[tokio::test]
async fn channels_that_nobody_reads_cost_nothing() {
    let fixture = Fixture::new();
    fixture.fill("a", 1).await;
    assert_eq!(fixture.hub.channels(), 0);
    let first = fixture.subscribe(&["a", "b"], "").await;
    let second = fixture.subscribe(&["a"], "").await;
    assert_eq!(fixture.hub.channels(), 2);
    drop(first);
    assert_eq!(fixture.hub.channels(), 1);
    drop(second);
    assert_eq!(fixture.hub.channels(), 0);
}

#[tokio::test]
async fn closing_the_hub_ends_subscribers_that_wait_and_those_that_come() {
    let fixture = Fixture::new();
    let mut waiting = fixture.subscribe(&["a"], "").await;
    let mut out = Outgoing::default();
    let ended =
        tokio::spawn(
            async move { std::future::poll_fn(|cx| waiting.poll_deliver(cx, &mut out)).await },
        );
    tokio::task::yield_now().await;
    fixture.hub.close();
    assert_eq!(ended.await.expect("no panic"), Delivery::Closed);
    let mut late = fixture.subscribe(&["a"], "").await;
    let mut out = Outgoing::default();
    let delivery = std::future::poll_fn(|cx| late.poll_deliver(cx, &mut out)).await;
    assert_eq!(delivery, Delivery::Closed);
}

/// What is due when the hub is closed, until it says so.
async fn last(subscriber: &mut Subscriber) -> String {
    let mut out = Outgoing::default();
    while std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut out)).await != Delivery::Closed
    {
    }
    String::from_utf8(out.into_bytes().to_vec()).expect("text")
}

/// The data of events, one behind the other.
fn data(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn what_was_published_before_the_hub_was_closed_is_delivered_and_what_comes_then_is_not() {
    let fixture = Fixture::new();
    let mut one = fixture.subscribe(&["a"], "").await;
    let mut several = fixture.subscribe(&["a", "b", "c"], "").await;
    let mut waiting = fixture.subscribe(&["b"], "").await;
    assert!(due(&mut waiting).await.is_empty());
    fixture.fill("a", 250).await;
    fixture.fill("b", 2).await;
    // One that goes out in pieces.
    fixture.publish("b", "x".repeat(100_000)).await;
    fixture.hub.close();
    let all: Vec<_> = (1..=250).map(|n| n.to_string()).collect();
    assert_eq!(data(&last(&mut one).await), all.join(" "));
    let seen = last(&mut several).await;
    assert_eq!(seen.matches("data: ").count(), 253);
    assert!(seen.contains(&"x".repeat(100_000)) && seen.contains("id: a:250,b:3,c:0\n"));
    let waiting = data(&last(&mut waiting).await);
    assert_eq!(waiting, format!("1 2 {}", "x".repeat(100_000)));
}

#[tokio::test]
async fn a_closed_hub_ends_subscribers_in_the_midst_of_history_and_does_not_go_on_for_ever() {
    let fixture = Fixture::new();
    let mut live = fixture.subscribe(&["a"], "").await;
    fixture.publish("a", "before").await;
    fixture.hub.close();
    let mut out = Outgoing::default();
    let first = std::future::poll_fn(|cx| live.poll_deliver(cx, &mut out)).await;
    assert_eq!(first, Delivery::Events);
    fixture.publish("a", "after").await;
    assert_eq!(last(&mut live).await, "");
    assert_eq!(data(&String::from_utf8_lossy(&out.into_bytes())), "before");

    let fixture = Fixture::new();
    fixture.fill("a", 100).await;
    let mut behind = fixture.subscribe(&["a"], "a:0").await;
    fixture.hub.close();
    assert_eq!(last(&mut behind).await, "", "it reads on where it connects next");

    let fixture = Fixture::new();
    let mut slow = fixture.subscribe(&["a", "b", "c", "d", "e", "f", "g", "h"], "").await;
    for _ in 0..12 {
        for channel in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            fixture.publish(channel, "x".repeat(20_000)).await;
        }
    }
    fixture.hub.close();
    let seen = last(&mut slow).await;
    assert!((1 << 20..(1 << 20) + 30_000).contains(&seen.len()), "{} bytes", seen.len());
    assert!(seen.ends_with("x\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_subscriber_is_woken_by_every_publisher() {
    let fixture = Arc::new(Fixture::new());
    let mut subscriber = fixture.subscribe(&["a", "b"], "").await;
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let fixture = fixture.clone();
            let channel = if publisher % 2 == 0 { "a" } else { "b" };
            tokio::spawn(async move { fixture.fill(channel, 500).await })
        })
        .collect();
    let mut seen = 0;
    while seen < 2000 {
        let mut out = Outgoing::default();
        let delivery = std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut out));
        let delivery = tokio::time::timeout(Duration::from_secs(20), delivery).await;
        assert_eq!(delivery, Ok(Delivery::Events), "after {seen}");
        seen += str::from_utf8(&out.into_bytes()).expect("UTF-8").matches("\n\n").count();
    }
    assert_eq!(subscriber.cursor().to_string(), "a:1000,b:1000");
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
}

/// Publisher and subscriber take turns, so that one wake-up that got lost stops both for good.
#[tokio::test(flavor = "multi_thread")]
async fn no_wake_up_is_lost_between_looking_and_waiting() {
    const TURNS: u64 = 20_000;
    let fixture = Fixture::new();
    let mut subscriber = fixture.subscribe(&["a"], "").await;
    let (seen, mut turn) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        while subscriber.cursor().position("a") < Some(TURNS) {
            seen.send(()).expect("the publisher is there");
            // Long enough, at times, for the next event to come just as the subscriber looks.
            for turn in 0..fastrand::u32(..1000) {
                std::hint::black_box(turn);
            }
            let mut out = Outgoing::default();
            std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut out)).await;
        }
    });
    let publishing = async {
        for n in 0..TURNS {
            turn.recv().await.expect("the subscriber is there");
            fixture.publish("a", n).await;
        }
        reading.await.expect("no panic");
    };
    tokio::time::timeout(Duration::from_mins(1), publishing).await.expect("nobody waits in vain");
}

#[tokio::test]
async fn readers_of_one_channel_get_the_same_memory_also_as_chunks() {
    let fixture = Fixture::new();
    // As long as there is a reader, the event is in memory.
    let _first = fixture.subscribe(&["a"], "").await;
    fixture.publish("a", "x").await;
    let text = "event: message\nid: a:1\ndata: x\n\n";
    for (framing, expected) in
        [(Framing::Plain, text.to_owned()), (Framing::Chunked, format!("20\r\n{text}\r\n"))]
    {
        let mut places = Vec::new();
        for _ in 0..3 {
            let mut reader = fixture.subscribe(&["a"], "a:0").await;
            let mut out = Outgoing::new(framing);
            std::future::poll_fn(|cx| reader.poll_deliver(cx, &mut out)).await;
            let bytes = out.into_bytes();
            assert_eq!(bytes, expected);
            places.push((bytes.as_ptr(), bytes));
        }
        assert!(places.iter().all(|(place, _)| *place == places[0].0), "one memory");
    }
}

/// However large events are: a reader that stands still holds a page.
#[tokio::test]
async fn history_comes_in_pages_of_a_mebibyte_at_most_and_all_of_it() {
    for (len, count) in [(400_000, 20), (2_000_000, 5), (10, 1500)] {
        let fixture = Fixture::new();
        for _ in 0..count {
            fixture.publish("a", "x".repeat(len)).await;
        }
        let mut subscriber = fixture.subscribe(&["a"], "a:0").await;
        let (mut pages, mut stream) = (0, Vec::new());
        while subscriber.cursor().position("a") != Some(count) {
            let mut page = Outgoing::default();
            let delivery = std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut page)).await;
            assert_eq!(delivery, Delivery::Events);
            let page = page.into_bytes();
            assert!(page.len() <= (1 << 20) || page.len() < len + 100, "{} bytes", page.len());
            stream.extend_from_slice(&page);
            pages += 1;
        }
        let mut decoder = Decoder::new();
        let mut frames = decoder.decode(&stream);
        let mut ids = (1..=count).map(|id| format!("a:{id}"));
        while let Some(frame) = frames.next_frame() {
            let Ok(Frame::Event(event)) = frame else { panic!("unexpected {frame:?}") };
            assert_eq!(Some(event.last_event_id()), ids.next().as_deref());
        }
        assert_eq!(ids.next(), None);
        assert!(len > 1000 || pages < 20, "{pages} pages of small events");
    }
}

impl Fixture {
    fn with(config: HubConfig) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        Self { hub: Hub::with_config(storage.clone(), config), storage }
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect(what);
}

/// A channel for each user: memory does not grow with their number, and nobody loses anything.
#[tokio::test]
async fn the_events_of_all_channels_together_take_no_more_memory_than_is_set() {
    let fixture = Fixture::with(HubConfig::default().memory(1 << 20));
    let channels: Vec<String> = (0..300).map(|n| format!("user-{n}")).collect();
    let mut subscribers = Vec::new();
    for channel in &channels {
        subscribers.push(fixture.subscribe(&[channel], "").await);
        for _ in 0..40 {
            fixture.publish(channel, "x".repeat(1000)).await;
        }
    }
    until("memory to be freed", async || fixture.hub.memory() <= 1 << 20).await;
    for (channel, subscriber) in channels.iter().zip(&mut subscribers) {
        let seen = due(subscriber).await;
        let ids: Vec<_> = seen.iter().filter_map(|event| event.split(' ').next()).collect();
        let expected: Vec<_> = (1..=40).map(|id| format!("{channel}:{id}")).collect();
        assert_eq!(ids, expected);
    }
    drop(subscribers);
    assert_eq!(fixture.hub.memory(), 0, "nobody reads any more");
}

/// It makes no difference whether somebody else reads the channel.
#[tokio::test]
async fn what_the_storage_has_forgotten_is_forgotten_in_memory_too() {
    let fixture = Fixture::with(HubConfig::default().memory_age(Duration::from_millis(20)));
    let mut here = fixture.subscribe(&["a"], "").await;
    fixture.fill("a", 40).await;
    assert_eq!(due(&mut here).await.len(), 40);
    fixture.trim().await;
    until("memory to be freed", async || fixture.hub.memory() == 0).await;
    let mut late = fixture.subscribe(&["a"], "a:0").await;
    assert_eq!(due(&mut late).await, [r#"reset a:40 {"channels": ["a"]}"#]);
    fixture.publish("a", "next").await;
    for subscriber in [&mut here, &mut late] {
        assert_eq!(due(subscriber).await, ["a:41 next"]);
    }
}

#[tokio::test]
async fn who_has_not_read_what_is_nowhere_else_before_it_is_forgotten_is_told() {
    let config = HubConfig::default().memory_age(Duration::from_millis(20));
    let fixture = Fixture::with(config.reliable(|channel| channel == "a"));
    let mut quick = fixture.subscribe(&["a", "typing"], "").await;
    let mut slow = fixture.subscribe(&["a", "typing"], "").await;
    fixture.publish("typing", "u1").await;
    assert_eq!(due(&mut quick).await, ["a:0 u1"]);
    until("memory to be freed", async || fixture.hub.memory() == 0).await;
    assert_eq!(due(&mut slow).await, [r#"reset a:0 {"channels": ["typing"]}"#]);
    fixture.publish("a", "next").await;
    for subscriber in [&mut quick, &mut slow] {
        assert_eq!(due(subscriber).await, ["a:1 next"]);
    }
}
