//! Many publishers and readers at once: nothing is lost, repeated or reordered.
//!
//! The faults looked for are those that django-eventstream shows under load: an event lost between
//! the first read and live delivery, a page replayed twice, a reset told twice, channels that start
//! over while another one pages, events overtaking each other, and the rest of a burst dropped.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use server::{Response, Server, within};
use sse_proto::{Control, Cursor, Decoder, Frame};
use testkit::server;

/// Reads streams of some channels, one after another, and checks every step of every one.
struct Reader {
    channels: Vec<&'static str>,
    decoder: Decoder,
    /// The position in each channel.
    at: HashMap<&'static str, u64>,
}

impl Reader {
    fn new(channels: &[&'static str]) -> Self {
        Self { channels: channels.to_vec(), decoder: Decoder::new(), at: HashMap::new() }
    }

    async fn connect(&self, server: &Server) -> Response {
        let channels: Vec<_> = self.channels.iter().map(|name| format!("channel={name}")).collect();
        let id = self.decoder.last_event_id().unwrap_or_default();
        let header = if id.is_empty() { String::new() } else { format!("Last-Event-ID: {id}\r\n") };
        server.get(&format!("/events/?{}", channels.join("&")), &header).await
    }

    /// Reads one stream until `enough`, which is asked after each block from stream-open on.
    async fn read(&mut self, server: &Server, mut enough: impl FnMut(&Self) -> bool) {
        let mut stream = self.connect(server).await;
        self.decoder.end_of_stream();
        let mut opened = 0;
        loop {
            let block = stream.until("\n\n").await;
            let mut decoder = std::mem::take(&mut self.decoder);
            let mut frames = decoder.decode(block.as_bytes());
            while let Some(frame) = frames.next_frame() {
                let Ok(Frame::Event(event)) = frame else { panic!("unexpected {frame:?}") };
                match Control::of(&event) {
                    Some(Control::Open) => opened += 1,
                    Some(control) => panic!("unexpected {control:?}"),
                    None => self.advance(event.last_event_id()),
                }
            }
            assert_eq!(frames.rest().len(), 0);
            if self.at.is_empty() {
                // The block that tells a new stream where it starts.
                if let Some(id) = decoder.last_event_id() {
                    self.start(id);
                }
            }
            self.decoder = decoder;
            if opened == 1 && !self.at.is_empty() && enough(self) {
                break;
            }
        }
        assert_eq!(opened, 1, "one stream-open");
    }

    fn start(&mut self, id: &str) {
        let cursor = Cursor::parse(id).expect("a cursor");
        self.at = self
            .channels
            .iter()
            .map(|&name| (name, cursor.position(name).expect("all channels")))
            .collect();
    }

    /// Exactly one channel has moved, by exactly one.
    fn advance(&mut self, id: &str) {
        if self.at.is_empty() {
            // A new stream whose first event came together with the opening.
            return self.start(id);
        }
        let cursor = Cursor::parse(id).expect("a cursor");
        let moved = self.at.iter_mut().filter_map(|(name, at)| {
            let now = cursor.position(name).expect("all channels");
            let step = now
                .checked_sub(*at)
                .unwrap_or_else(|| panic!("{name} went back from {at} to {now}"));
            *at = now;
            (step > 0).then_some(step)
        });
        assert_eq!(moved.collect::<Vec<_>>(), [1], "at {id}");
    }
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];
const PUBLISHERS: usize = 8;
const EVENTS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_come_page_and_reconnect_while_many_publish_see_each_event_once_in_order() {
    let server = Arc::new(Server::start(&[]).await);
    for channel in CHANNELS {
        server.fill(channel, 300).await;
    }
    let is_done = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let server = server.clone();
            tokio::spawn(async move {
                for n in 0..EVENTS {
                    let channel = CHANNELS[(publisher + n) % CHANNELS.len()];
                    server
                        .publish(&serde_json::json!({"channel": channel, "data": n}).to_string())
                        .await;
                }
            })
        })
        .collect();

    let sets: [&[&'static str]; 4] = [&["a"], &["c", "a"], &["a", "b", "c"], &["b"]];
    let end = 300 + (PUBLISHERS * EVENTS / CHANNELS.len()) as u64;
    let at_end =
        move |reader: &Reader| reader.at.values().all(|&at| at == end) && !reader.at.is_empty();
    let readers: Vec<_> = (0..24)
        .map(|index| {
            let (server, is_done) = (server.clone(), is_done.clone());
            let channels = sets[index % sets.len()];
            tokio::spawn(async move {
                let mut reader = Reader::new(channels);
                if index % 2 == 0 {
                    // From the beginning, so that paging meets live events.
                    let start: Cursor<'_> = channels.iter().map(|&name| (name, 0)).collect();
                    reader.start(&start.to_string());
                    reader.decoder.set_last_event_id(Some(start.to_string()));
                }
                if index % 3 == 0 {
                    // Cuts the stream again and again, after 1, 2, 3 … events.
                    let mut events = 0;
                    while !at_end(&reader) && !is_done.load(Ordering::Relaxed) {
                        events += 1;
                        let mut left = events;
                        reader
                            .read(&server, |reader| {
                                left -= 1;
                                left == 0 || at_end(reader)
                            })
                            .await;
                    }
                }
                if !at_end(&reader) {
                    reader.read(&server, at_end).await;
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("every publisher got its answers");
    }
    is_done.store(true, Ordering::Relaxed);
    for reader in readers {
        within("a reader to reach the end", reader).await.expect("every reader saw everything");
    }
}

#[tokio::test]
async fn a_burst_in_one_request_arrives_whole() {
    let server = Server::start(&[]).await;
    let mut reader = Reader::new(&["a"]);
    reader.start("a:0");
    reader.decoder.set_last_event_id(Some("a:0".to_owned()));
    let server = &server;
    let burst = server.fill("a", 2500);
    tokio::join!(burst, reader.read(server, |reader| reader.at["a"] == 2500));
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_nobody_up_and_misses_nothing() {
    let server = Server::start(&[]).await;
    let mut slow = server.get("/events/?channel=a", "").await;
    slow.opening().await;
    slow.until("id: a:0\n\n").await;
    // More than the sockets' buffers and the channel's memory together.
    let event = serde_json::json!({"channel": "a", "text": "x".repeat(100_000)}).to_string();
    for _ in 0..150 {
        server.publish(&event).await;
    }
    let mut quick = server.get("/events/?channel=a&lastEventId=a:149", "").await;
    quick.until("id: a:150\n").await;
    for id in 1..=150 {
        let block = slow.until("\n\n").await;
        assert!(
            block.starts_with(&format!("event: message\nid: a:{id}\ndata: xxx")),
            "{id}: {block:.60}"
        );
    }
}
