//! Publishers and readers, under whom servers are killed, and the record of what they have seen.
//!
//! What must agree: every event whose publication was acknowledged reaches every reader exactly
//! once and in the order of ids; one that was not acknowledged, at most once; a request's events
//! are published together or not at all; and no reader is told to reset.

mod load;
pub mod record;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sse_client::{Backoff, Builder, EventSource, Item, reqwest};
use sse_proto::Cursor;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::server::TOKEN;
pub use load::Load;
pub use record::{Payload, Record};

/// The last one is quiet: [`publisher`] leaves it out.
pub const CHANNELS: [&str; 5] = ["orders", "a b", "x/y", "é", "quiet"];

/// How long an answer may take, whatever fails.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);

/// Publishes one event, or a few at once, and records what is answered. Never tries again: what was
/// not acknowledged may or may not have been published. Returns whether it was acknowledged.
pub async fn publish(
    http: &reqwest::Client,
    url: &str,
    record: &Record,
    payloads: Vec<Payload>,
) -> bool {
    let _traffic = record.traffic.read().await;
    record.attempt(&payloads);
    let message = |payload: &Payload| json!({"channel": payload.channel, "data": payload});
    let body = json!(payloads.iter().map(message).collect::<Vec<_>>()).to_string();
    let answered = async {
        let answer = http.post(url).bearer_auth(TOKEN).body(body).send().await?;
        Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
    };
    let Ok(answered) = timeout(ANSWERED_WITHIN, answered).await else {
        let text = format!("{payloads:?} had no answer within {ANSWERED_WITHIN:?}");
        record.fail(&payloads[0].channel, &text);
    };
    match answered {
        Ok((200, text)) => {
            let ids: Vec<Value> = serde_json::from_str(&text).expect("ids");
            assert_eq!(ids.len(), payloads.len());
            for (id, payload) in ids.iter().zip(&payloads) {
                record.acknowledge(id["id"].as_str().expect("an id"), payload);
            }
            true
        }
        Ok((status, text)) => {
            record.not_acknowledged(&payloads, &format!("{status} {text}"));
            if status != 503 {
                record.fail(&payloads[0].channel, &format!("the answer was {status} {text}"));
            }
            false
        }
        Err(error) => {
            record.not_acknowledged(&payloads, &error.to_string());
            false
        }
    }
}

/// Publishes to all channels but the quiet one until it is over.
pub async fn publisher(number: usize, url: String, record: Arc<Record>, mut random: Rng) {
    let http = reqwest::Client::new();
    for n in 0.. {
        if record.is_over.load(Ordering::Relaxed) {
            return;
        }
        let payloads = (0..if random.u8(..4) == 0 { 3 } else { 1 }).map(|part| Payload {
            // The last channel must survive being quiet.
            channel: CHANNELS[random.usize(..CHANNELS.len() - 1)].to_owned(),
            mark: format!("{number}-{n}-{part}"),
        });
        let payloads = payloads.collect();
        publish(&http, &url, &record, payloads).await;
        sleep(Duration::from_millis(random.u64(..20))).await;
    }
}

/// Some channels for a reader, by its number: one, or several in any order.
pub fn channels_of(number: usize, random: &mut Rng) -> Vec<&'static str> {
    let mut channels = CHANNELS.to_vec();
    random.shuffle(&mut channels);
    channels.truncate(if number.is_multiple_of(2) { 1 } else { 2 + number % 4 });
    channels
}

/// The client of a reader, which does not wait long before it tries again.
pub fn source(address: &str, channels: &[&str], last_event_id: Option<String>) -> EventSource {
    builder(address, channels, last_event_id).build().expect("a client")
}

/// What makes this client.
pub fn builder(address: &str, channels: &[&str], last_event_id: Option<String>) -> Builder {
    let quick = Backoff::default()
        .initial(Duration::from_millis(100))
        .max(Duration::from_millis(300))
        .min(Duration::from_millis(10));
    let builder = EventSource::channels(format!("http://{address}/events/"), channels)
        .session(|config| config.backoff(quick));
    match last_event_id {
        Some(id) => builder.last_event_id(id),
        None => builder,
    }
}

/// Reads its channels, each from 0 on, for as long as it is let.
pub async fn reader(
    mut source: EventSource,
    number: usize,
    record: Arc<Record>,
    is_placed: mpsc::Sender<()>,
) {
    let mut is_placed = Some(is_placed);
    loop {
        let item = tokio::select! {
            item = source.next() => item,
            // The first position comes without an item.
            () = sleep(Duration::from_millis(10)), if is_placed.is_some() => {
                if source.last_event_id().is_some() {
                    is_placed = None;
                }
                continue;
            }
        };
        match item {
            Some(Ok(Item::Event(event))) => {
                let payload: Payload = serde_json::from_str(event.data()).expect("a payload");
                let cursor = Cursor::parse(event.last_event_id()).expect("a cursor");
                let position = cursor.position(&payload.channel).expect("its own channel");
                record.delivered(number, position, payload);
            }
            Some(Ok(Item::Open)) => {
                record.opened(number, source.last_event_id().unwrap_or_default());
            }
            Some(Ok(Item::Reset { channels })) => {
                let channel = channels.first().map_or("", String::as_str);
                let place = source.last_event_id().unwrap_or_default();
                record.fail(channel, &format!("reader {number} was reset to {place}"));
            }
            // Cut off: it comes back.
            Some(Ok(Item::Waiting { .. })) => {}
            other => record.fail("", &format!("reader {number} got {other:?}")),
        }
    }
}
