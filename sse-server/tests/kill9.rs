//! The proof: a real server on SQLite, killed with SIGKILL at random moments under load.
//!
//! Every event whose publication was acknowledged reaches every subscribed client exactly once and in
//! the order of ids; one that was not acknowledged, at most once; and nobody is told to reset.
//!
//! `SSE_KILLS` sets how often (default 20) and `SSE_SEED` the random choices; `cargo xtask proof
//! --kills 1000 --seed 7` is the comfortable way. Moments of kills and of the operating system are
//! not repeatable, so the same seed makes the same choices, not the same run.

mod server;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use server::{Server, TOKEN};
use sse_client::{Backoff, EventSource, Item, SessionConfig, reqwest};
use sse_proto::Cursor;
use tokio::time::{Instant, sleep, timeout};

const CHANNELS: [&str; 5] = ["orders", "a b", "x/y", "é", "quiet"];
const PUBLISHERS: usize = 8;
const READERS: usize = 20;

/// What an event carries: its channel, and a mark that no other event has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Payload {
    channel: String,
    mark: String,
}

/// What publishers and readers have seen, and what must agree.
#[derive(Default)]
struct Record {
    attempted: Mutex<HashSet<Payload>>,
    /// By event id, as the server has acknowledged it.
    acknowledged: Mutex<HashMap<String, Payload>>,
    /// By channel, as the first reader to get there has read it. All others must read the same.
    logs: Mutex<HashMap<String, Vec<Payload>>>,
    deliveries: AtomicU64,
    is_over: AtomicBool,
}

impl Record {
    /// A reader has got this event at this position.
    fn delivered(&self, position: u64, payload: Payload) {
        let mut logs = self.logs.lock().expect("no panic");
        let log = logs.entry(payload.channel.clone()).or_default();
        let index = usize::try_from(position).expect("small") - 1;
        if let Some(known) = log.get(index) {
            assert_eq!(*known, payload, "two readers differ at {position}");
        } else {
            assert_eq!(log.len(), index, "a reader is ahead of all others by more than one");
            log.push(payload);
        }
        self.deliveries.fetch_add(1, Ordering::Relaxed);
    }

    fn check(&self) {
        let logs = self.logs.lock().expect("no panic");
        let attempted = self.attempted.lock().expect("no panic");
        let acknowledged = self.acknowledged.lock().expect("no panic");
        for (id, payload) in &*acknowledged {
            let position = Cursor::parse(id).expect("an id").position(&payload.channel);
            let index = usize::try_from(position.expect("of its channel")).expect("small") - 1;
            let delivered = logs.get(&payload.channel).and_then(|log| log.get(index));
            assert_eq!(delivered, Some(payload), "{id} was acknowledged");
        }
        let mut seen = HashSet::new();
        for payload in logs.values().flatten() {
            assert!(attempted.contains(payload), "{payload:?} was never published");
            assert!(seen.insert(payload), "{payload:?} was delivered under two ids");
        }
        println!(
            "{} events attempted, {} acknowledged, {} delivered to each reader of their channel, \
             {} deliveries",
            attempted.len(),
            acknowledged.len(),
            seen.len(),
            self.deliveries.load(Ordering::Relaxed)
        );
        assert!(acknowledged.len() > PUBLISHERS, "the load was too small to show anything");
    }
}

/// Publishes one event, or a few at once, and records what is answered. Never tries again: what was
/// not acknowledged may or may not have been published.
async fn publish(
    http: &reqwest::Client,
    url: &str,
    record: &Record,
    payloads: Vec<Payload>,
) -> bool {
    record.attempted.lock().expect("no panic").extend(payloads.iter().cloned());
    let message = |payload: &Payload| json!({"channel": payload.channel, "data": payload});
    let body = json!(payloads.iter().map(message).collect::<Vec<_>>()).to_string();
    let answer = http.post(url).bearer_auth(TOKEN).body(body).send().await;
    let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) else { return false };
    let Ok(text) = answer.text().await else { return false };
    let ids: Vec<HashMap<String, String>> = serde_json::from_str(&text).expect("ids");
    let mut acknowledged = record.acknowledged.lock().expect("no panic");
    for (mut id, payload) in ids.into_iter().zip(payloads) {
        let id = id.remove("id").expect("an id");
        let before = acknowledged.insert(id.clone(), payload);
        assert_eq!(before, None, "{id} was acknowledged twice");
    }
    true
}

async fn publisher(number: usize, url: String, record: Arc<Record>, mut random: Rng) {
    let http = reqwest::Client::new();
    for n in 0.. {
        if record.is_over.load(Ordering::Relaxed) {
            return;
        }
        let payloads = (0..if random.u8(..4) == 0 { 3 } else { 1 }).map(|part| Payload {
            // The last channel is left to the end: it must survive being quiet.
            channel: CHANNELS[random.usize(..CHANNELS.len() - 1)].to_owned(),
            mark: format!("{number}-{n}-{part}"),
        });
        let payloads = payloads.collect();
        publish(&http, &url, &record, payloads).await;
        sleep(Duration::from_millis(random.u64(..20))).await;
    }
}

/// Reads its channels until each has reached its end, which is told when everything is published.
async fn reader(
    mut source: EventSource,
    channels: Vec<&'static str>,
    record: Arc<Record>,
    is_placed: tokio::sync::mpsc::Sender<()>,
    mut ends: tokio::sync::watch::Receiver<Option<HashMap<&'static str, u64>>>,
) {
    let mut is_placed = Some(is_placed);
    let mut at: HashMap<&str, u64> = channels.iter().map(|&channel| (channel, 0)).collect();
    loop {
        if ends.borrow().as_ref().is_some_and(|ends| at.iter().all(|(name, at)| ends[name] == *at))
        {
            return;
        }
        let item = tokio::select! {
            item = source.next() => item.expect("the client never gives up").expect("no error"),
            _ = ends.changed() => continue,
            // The first position comes without an item.
            () = sleep(Duration::from_millis(10)), if is_placed.is_some() => {
                if source.last_event_id().is_some() {
                    is_placed = None;
                }
                continue;
            }
        };
        match item {
            Item::Event(event) => {
                let payload: Payload = serde_json::from_str(event.data()).expect("a payload");
                let cursor = Cursor::parse(event.last_event_id()).expect("a cursor");
                let position = cursor.position(&payload.channel).expect("its own channel");
                let at = at.get_mut(&*payload.channel).expect("a channel of this reader");
                assert_eq!(position, *at + 1, "lost, repeated or reordered in {}", payload.channel);
                *at = position;
                record.delivered(position, payload);
            }
            Item::Open => {}
            other => panic!("unexpected {other:?} at {at:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_reach_everyone_exactly_once_though_the_server_is_killed() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let kills: u64 = number("SSE_KILLS").unwrap_or(20);
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, {kills} kills (SSE_SEED={seed} SSE_KILLS={kills})");
    let mut random = Rng::with_seed(seed);

    let mut server = Server::start(&[]).await;
    let record = Arc::new(Record::default());
    let (is_placed, mut all_placed) = tokio::sync::mpsc::channel(1);
    let (tell_ends, ends) = tokio::sync::watch::channel(None);
    let quick = Backoff::default()
        .initial(Duration::from_millis(100))
        .max(Duration::from_millis(300))
        .min(Duration::from_millis(10));
    let readers: Vec<_> = (0..READERS)
        .map(|number| {
            let mut channels = CHANNELS.to_vec();
            random.shuffle(&mut channels);
            channels.truncate(if number % 2 == 0 { 1 } else { 2 + number % 4 });
            let query = channels.iter().map(|&name| ("channel", name));
            let url =
                reqwest::Url::parse_with_params(&server.url("/events/"), query).expect("a URL");
            let source = EventSource::builder(url.as_str())
                .config(SessionConfig::default().backoff(quick.clone()))
                .build()
                .expect("a client");
            tokio::spawn(reader(source, channels, record.clone(), is_placed.clone(), ends.clone()))
        })
        .collect();
    drop(is_placed);
    timeout(server::DEADLINE, all_placed.recv()).await.expect("all readers know their positions");

    let url = server.url("/publish/");
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| tokio::spawn(publisher(number, url.clone(), record.clone(), random.fork())))
        .collect();
    let start = Instant::now();
    for kill in 1..=kills {
        sleep(Duration::from_millis(random.u64(..1000))).await;
        server.kill().await;
        sleep(Duration::from_millis(random.u64(..200))).await;
        server.restart().await;
        if let Some(failed) = readers.iter().find(|reader| reader.is_finished()) {
            panic!("a reader has ended early ({failed:?}); its message is above");
        }
        if kill % 100 == 0 {
            println!("{kill} kills in {} s", start.elapsed().as_secs());
        }
    }
    record.is_over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.expect("no panic");
    }

    // A last event in each channel, which nobody kills: where it stands is the end.
    let http = reqwest::Client::new();
    let mut last = HashMap::new();
    for channel in CHANNELS {
        let payload = Payload { channel: channel.to_owned(), mark: "last".to_owned() };
        assert!(publish(&http, &url, &record, vec![payload.clone()]).await, "nothing kills it now");
        let acknowledged = record.acknowledged.lock().expect("no panic");
        let id = acknowledged.iter().find(|(_, known)| **known == payload).expect("just now").0;
        let position = Cursor::parse(id).expect("an id").position(channel);
        last.insert(channel, position.expect("of its channel"));
    }
    tell_ends.send(Some(last)).expect("readers are there");
    for reader in readers {
        let reader = timeout(3 * server::DEADLINE, reader).await;
        reader.expect("every reader reaches the end").expect("every reader saw what it should");
    }
    record.check();
}
