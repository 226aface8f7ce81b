//! Two servers, as processes, that append to one channel at full speed: no id twice, no hole, and
//! all readers of both see the same in the order of the ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use server::{Server, within};
use sse_client::reqwest;
use sse_server::config::StorageChoice;
use sse_server::storage::Retention;
use testkit::{server, services, traffic};
use tokio::sync::mpsc;
use traffic::{Payload, Record};

/// For each server.
const PUBLISHERS: usize = 4;
const READERS: usize = 2;
const REQUESTS: usize = 100;

/// Publishes to one channel by way of both.
async fn both_append(servers: &[Server; 2], storage: &str) {
    let storage = StorageChoice::parse(storage).expect("a storage");
    let storage = storage.open(Retention::default()).await.expect("it opens");
    // One that no other test uses.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let channel: &'static str = format!("appended-{:x}", now.as_nanos()).leak();

    let record = Arc::new(Record::new("no seed".to_owned()));
    let (is_placed, mut all_placed) = mpsc::channel(1);
    let mut readers = Vec::new();
    for server in servers {
        for _ in 0..READERS {
            let number = record.add_reader(&[channel]);
            let source = traffic::source(&server.address.to_string(), &[channel], None);
            let reader = traffic::reader(source, number, record.clone(), is_placed.clone());
            readers.push(tokio::spawn(reader));
        }
    }
    drop(is_placed);
    within("all readers to know their positions", all_placed.recv()).await;

    let mut publishers = Vec::new();
    for number in 0..servers.len() * PUBLISHERS {
        let url = servers[number % servers.len()].url("/publish/");
        let record = record.clone();
        publishers.push(tokio::spawn(async move {
            let http = reqwest::Client::new();
            for request in 0..REQUESTS {
                // A batch now and then.
                let events = if request % 5 == number % 5 { 7 } else { 1 };
                let payload = |part| Payload {
                    channel: channel.to_owned(),
                    mark: format!("{number}-{request}-{part}"),
                };
                let payloads = (0..events).map(payload).collect();
                let is_published = traffic::publish(&http, &url, &record, payloads).await;
                assert!(is_published, "nothing stands in its way");
            }
        }));
    }
    for publisher in publishers {
        publisher.await.expect("all was published");
    }
    let end = storage.head(channel).await.expect("it answers");
    let all = 2 * PUBLISHERS * (REQUESTS + 6 * REQUESTS / 5);
    assert_eq!(end, all as u64, "as many ids as events");
    record.reach(&readers, async || Some(HashMap::from([(channel, end)]))).await;
    record.check();
}

async fn both_append_over(storage: &str) {
    let flags = ["--refresh", "100ms"];
    let servers =
        [Server::start_on(storage, &flags).await, Server::start_on(storage, &flags).await];
    both_append(&servers, storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_one_sqlite_file() {
    let flags = ["--refresh", "100ms"];
    let first = Server::start(&flags).await;
    let storage = format!("sqlite:{}", first.database().display());
    let second = Server::start_on(&storage, &flags).await;
    both_append(&[first, second], &storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_one_postgres() {
    let Some(postgres) = services::postgres().await else { return };
    both_append_over(&postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_one_redis() {
    let Some(redis) = services::redis() else { return };
    both_append_over(&redis).await;
}
