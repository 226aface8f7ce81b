//! Publishers over HTTP, and the record of what they wanted and what they were answered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sse_client::reqwest;
use testkit::server::{Response, Server, TOKEN, until};
use tokio::time::sleep;

/// They may be written in an id as they are.
pub(crate) const CHANNELS: [&str; 3] = ["orders", "news", "chat"];

const PUBLISHERS: usize = 6;

/// What one request was to publish.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) body: String,
    pub(crate) key: Option<String>,
    /// Of each event the channel, and the data, which no other event has.
    pub(crate) events: Vec<(&'static str, String)>,
    /// The ids that were answered.
    pub(crate) ids: Option<Vec<u64>>,
}

#[derive(Default)]
pub(crate) struct Load {
    attempts: Mutex<Vec<Attempt>>,
    count: AtomicUsize,
    is_over: AtomicBool,
}

/// How much is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    pub(crate) time: Duration,
    /// Some requests have many events.
    pub(crate) is_much: bool,
}

impl Load {
    pub(crate) fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.attempts.lock().expect("no panic")
    }

    /// Publishes for some time, with a reader in each channel.
    pub(crate) async fn publish(self: &Arc<Self>, server: &Server, amount: Amount, rng: &mut Rng) {
        self.is_over.store(false, Ordering::Relaxed);
        let before = self.answered();
        let mut readers = Vec::new();
        for channel in CHANNELS {
            let mut stream = server.admitted(&format!("/events/?channel={channel}"), "").await;
            stream.opening().await;
            readers.push(tokio::spawn(read(stream)));
        }
        let url = server.url("/publish/");
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|_| {
                let publisher = publisher(self.clone(), url.clone(), amount, rng.fork());
                tokio::spawn(publisher)
            })
            .collect();
        sleep(amount.time).await;
        // Also on a machine that has much else to do.
        until("enough answers", async || self.answered() >= before + PUBLISHERS).await;
        self.is_over.store(true, Ordering::Relaxed);
        // Some of them are under way when the server ends.
        if rng.bool() {
            for publisher in publishers {
                publisher.await.expect("no panic");
            }
        }
        readers.iter().for_each(tokio::task::JoinHandle::abort);
    }

    fn answered(&self) -> usize {
        self.attempts().iter().filter(|attempt| attempt.ids.is_some()).count()
    }

    fn begin(&self, events: Vec<(&'static str, String)>, is_keyed: bool) -> (usize, Attempt) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let message = |(channel, data): &(&str, String)| json!({"channel": channel, "text": data});
        let body = Value::from(events.iter().map(message).collect::<Vec<_>>()).to_string();
        let key = is_keyed.then(|| format!("request-{number}"));
        let attempt = Attempt { body, key, events, ids: None };
        let mut attempts = self.attempts();
        attempts.push(attempt.clone());
        (attempts.len() - 1, attempt)
    }
}

/// Takes what comes, until the server is gone.
async fn read(mut stream: Response) {
    loop {
        stream.until("\n\n").await;
    }
}

async fn publisher(load: Arc<Load>, url: String, amount: Amount, mut rng: Rng) {
    let http = reqwest::Client::new();
    while !load.is_over.load(Ordering::Relaxed) {
        let count = match rng.u8(..8) {
            0 if amount.is_much => 400,
            0..3 => rng.usize(2..5),
            _ => 1,
        };
        let len = if amount.is_much { 4000 } else { 300 };
        let event = |_| {
            let channel = CHANNELS[rng.usize(..CHANNELS.len())];
            let mark = format!("{:016x}", rng.u64(..));
            // Each byte is the mark's: what is torn is seen.
            let len = if rng.u8(..30) == 0 { 20_000 } else { rng.usize(..len) };
            (channel, mark.repeat(1 + len / mark.len()))
        };
        let events = (0..count).map(event).collect();
        let is_keyed = rng.u8(..3) == 0;
        let (index, attempt) = load.begin(events, is_keyed);
        let mut request = http.post(&url).bearer_auth(TOKEN).body(attempt.body.clone());
        if let Some(key) = &attempt.key {
            request = request.header("Idempotency-Key", key);
        }
        let answered = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        };
        // The server may be gone.
        let Ok((200, text)) = answered.await else { continue };
        let ids: Vec<Value> = serde_json::from_str(&text).expect("ids");
        let id = |answer: &Value| {
            let id = answer["id"].as_str().and_then(|id| id.split_once(':')).expect("an id");
            id.1.parse().expect("a number")
        };
        load.attempts()[index].ids = Some(ids.iter().map(id).collect());
        sleep(Duration::from_millis(rng.u64(..15))).await;
    }
}
