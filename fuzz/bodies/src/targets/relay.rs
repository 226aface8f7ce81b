//! Messages of the relay: anything that can write to the broker can send anything. A hint may be
//! late, lost, repeated or a lie; readers get every event all the same, once, in order.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use sse_proto::{Cursor, Decoder, Frame};
use sse_server::ServiceError;
use sse_server::hub::{Hub, HubConfig, Outgoing, Subscriber};
use sse_server::relay::{Message, News, Relay, fuzzing};
use sse_server::storage::{MemoryStorage, NewEvent, Storage};
use tokio::sync::{Mutex, mpsc};

const CHANNEL: &str = "a";

/// The data of what is in the storage.
const STORED: &str = "stored";

/// How often the hub looks at the storage by itself.
const REFRESH: Duration = Duration::from_secs(5);

/// Brings what it is handed.
struct Broker(Mutex<mpsc::Receiver<News>>);

#[async_trait]
impl Relay for Broker {
    async fn send(&self, _: &[Message]) -> Result<(), ServiceError> {
        Ok(())
    }

    async fn receive(&self, news: mpsc::Sender<News>) {
        while let Some(arrived) = self.0.lock().await.recv().await {
            if news.send(arrived).await.is_err() {
                return;
            }
        }
    }
}

/// Each line is a message as it arrives. An empty line stands for a new event of another instance
/// in the storage, `!` for one of this instance, `?` for a reader who reads.
pub(crate) fn run(data: &[u8]) {
    let lines: Vec<_> = data.split(|&byte| byte == b'\n').take(64).collect();
    for line in &lines {
        is_read_as_written(line);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(deliver(&lines));
}

fn is_read_as_written(line: &[u8]) {
    let Ok(Some(News::Message(message))) = fuzzing::decode(line) else { return };
    let written = fuzzing::encode(&message);
    let again = fuzzing::decode(written.as_bytes()).expect("what we write we read");
    assert_eq!(again, Some(News::Message(message)), "{written}");
}

async fn deliver(lines: &[&[u8]]) {
    let storage = Arc::new(MemoryStorage::new());
    let (sender, receiver) = mpsc::channel(128);
    let relay = Arc::new(Broker(Mutex::new(receiver)));
    let config = HubConfig::default().relay(relay).refresh(REFRESH);
    let hub = Hub::with_config(storage.clone(), config);
    let channel: Arc<str> = CHANNEL.into();
    let mut subscriber =
        hub.subscribe(std::slice::from_ref(&channel), &Cursor::new()).await.expect("memory");
    let event = NewEvent::new(channel.clone(), "message", STORED);
    let mut read = Vec::new();
    let mut count = 0;
    for line in lines {
        match *line {
            b"" => {
                storage.append(std::slice::from_ref(&event)).await.expect("memory");
                count += 1;
            }
            b"!" => {
                hub.publish(vec![event.clone()]).await.expect("memory");
                count += 1;
            }
            b"?" => read_some(&mut subscriber, &mut read).await,
            line => {
                if let Ok(Some(news)) = fuzzing::decode(line)
                    && !is_confusing(&news)
                {
                    sender.send(news).await.expect("the hub listens");
                }
            }
        }
        tokio::task::yield_now().await;
    }
    // Nobody has said anything of the last ones, perhaps: they come when the hub looks by itself.
    for _ in 0..3 {
        tokio::time::sleep(REFRESH).await;
        read_some(&mut subscriber, &mut read).await;
    }
    let mut decoder = Decoder::new();
    let mut frames = decoder.decode(&read);
    let mut at = 0;
    while let Some(frame) = frames.next_frame() {
        let Frame::Event(event) = frame.expect("within the limits") else { continue };
        assert_ne!(event.event_type(), "stream-reset", "nothing was lost");
        // Without an id: an event that is not stored, before all that are.
        let cursor = Cursor::parse(event.last_event_id());
        let position = match event.id() {
            None => 0,
            Some(_) => cursor.ok().and_then(|cursor| cursor.position(CHANNEL)).expect("a position"),
        };
        // An event that is not stored has the id of the one before it.
        let is_next = position == at + 1 && event.data() == STORED;
        let is_live = position == at && event.data() != STORED;
        assert!(is_next || is_live, "{position} after {at} in {}", read.escape_ascii());
        at = position;
    }
    assert_eq!(at, count, "the last one of {}", read.escape_ascii());
}

/// Whether it has an event that would look like one from the storage.
fn is_confusing(news: &News) -> bool {
    let News::Message(message) = news else { return false };
    message.event.as_ref().is_some_and(|(_, data)| data == STORED)
}

/// Reads until there is no more.
async fn read_some(subscriber: &mut Subscriber, read: &mut Vec<u8>) {
    for _ in 0..16 {
        let mut out = Outgoing::default();
        let delivered = std::future::poll_fn(|context| {
            Poll::Ready(subscriber.poll_deliver(context, &mut out).is_ready())
        });
        if !delivered.await {
            tokio::task::yield_now().await;
        }
        read.extend_from_slice(&out.into_bytes());
    }
}
