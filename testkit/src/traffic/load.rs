//! The load of one server: readers of its channels, publishers, and what they must agree on in the
//! end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use sse_client::reqwest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{CHANNELS, Payload, Record, channels_of, publish, publisher, reader, source};
use crate::wait::within;

const PUBLISHERS: usize = 8;
const READERS: usize = 20;

/// How long after a fault publishing may fail.
const BACK_WITHIN: Duration = Duration::from_secs(30);

pub struct Load {
    record: Arc<Record>,
    http: reqwest::Client,
    url: String,
    readers: Vec<JoinHandle<()>>,
    publishers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins at the routes below this place, which is an address with or without a path. Readers
    /// know their positions when this returns. `again` says how to have the same choices again.
    pub async fn begin(place: &str, again: String, random: &mut Rng) -> Self {
        let record = Arc::new(Record::new(again));
        let (is_placed, mut all_placed) = mpsc::channel(1);
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let channels = channels_of(readers.len(), random);
            let source = source(place, &channels, None);
            let number = record.add_reader(&channels);
            readers.push(tokio::spawn(reader(source, number, record.clone(), is_placed.clone())));
        }
        drop(is_placed);
        within("all readers to know their positions", all_placed.recv()).await;
        let url = format!("http://{place}/publish/");
        let publishers = (0..PUBLISHERS)
            .map(|number| publisher(number, url.clone(), record.clone(), random.fork()))
            .map(tokio::spawn)
            .collect();
        Self { record, http: reqwest::Client::new(), url, readers, publishers }
    }

    pub fn record(&self) -> &Record {
        &self.record
    }

    /// After a fault: waits until the server publishes again, which must not take long.
    pub async fn is_back(&self, after: &str, random: &mut Rng) {
        self.record.note(format!("is mended: {after}"));
        let (mended, quiet) = (Instant::now(), CHANNELS.last().expect("there are some"));
        while !self.publish(quiet, format!("quiet {}", random.u64(..))).await {
            if mended.elapsed() > BACK_WITHIN {
                self.record.fail("", &format!("nothing can be published after {after}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        self.record.still_running(&self.readers);
        self.record.still_running(&self.publishers);
    }

    /// Ends it: every reader must have got everything, and all must agree.
    pub async fn end(mut self) {
        self.record.is_over.store(true, Ordering::Relaxed);
        for publisher in std::mem::take(&mut self.publishers) {
            publisher.await.expect("no panic");
        }
        // A last event in each channel, which nothing happens to.
        for channel in CHANNELS {
            let is_published = self.publish(channel, "last".to_owned()).await;
            assert!(is_published, "nothing is in its way now");
        }
        let ends = self.record.acknowledged_ends();
        self.record.reach(&self.readers, async || Some(ends.clone())).await;
        self.record.check();
    }

    async fn publish(&self, channel: &str, mark: String) -> bool {
        let payload = Payload { channel: channel.to_owned(), mark };
        publish(&self.http, &self.url, &self.record, vec![payload]).await
    }
}
