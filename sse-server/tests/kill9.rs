//! The proof: a real server on SQLite, killed with SIGKILL at random moments under load.
//!
//! `SSE_KILLS` sets how often (default 20) and `SSE_SEED` the random choices; `cargo xtask proof
//! --kills 1000 --seed 7` is the comfortable way. Moments of kills and of the operating system are
//! not repeatable, so the same seed makes the same choices, not the same run.

mod port;
mod server;
mod traffic;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use server::Server;
use sse_client::reqwest;
use sse_server::storage::{SqliteStorage, Storage};
use tokio::time::{Instant, sleep, timeout};
use traffic::{CHANNELS, Payload, Record};

const PUBLISHERS: usize = 8;
const READERS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_reach_everyone_exactly_once_though_the_server_is_killed() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let kills: u64 = number("SSE_KILLS").unwrap_or(20);
    let seed = number("SSE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let again = format!("SSE_SEED={seed} SSE_KILLS={kills}");
    println!("seed {seed}, {kills} kills ({again})");
    let mut random = Rng::with_seed(seed);

    let mut server = Server::start(&[]).await;
    let record = Arc::new(Record::new(again));
    let (is_placed, mut all_placed) = tokio::sync::mpsc::channel(1);
    let mut tasks = Vec::new();
    for _ in 0..READERS {
        let channels = traffic::channels_of(tasks.len(), &mut random);
        let source = traffic::source(&server.address.to_string(), &channels, None);
        let number = record.add_reader(&channels);
        let reader = traffic::reader(source, number, record.clone(), is_placed.clone());
        tasks.push(tokio::spawn(reader));
    }
    drop(is_placed);
    timeout(server::DEADLINE, all_placed.recv()).await.expect("all readers know their positions");

    let url = server.url("/publish/");
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let random = random.fork();
            tokio::spawn(traffic::publisher(number, url.clone(), record.clone(), random))
        })
        .collect();
    let start = Instant::now();
    for kill in 1..=kills {
        record.begin_round(kill);
        sleep(Duration::from_millis(random.u64(..1000))).await;
        server.kill().await;
        record.note("the server is killed".to_owned());
        sleep(Duration::from_millis(random.u64(..200))).await;
        server.restart().await;
        record.note("the server is there again".to_owned());
        record.still_running(&tasks);
        if kill % 100 == 0 {
            println!("{kill} kills in {} s", start.elapsed().as_secs());
        }
    }
    record.is_over.store(true, Ordering::Relaxed);
    for publisher in publishers {
        publisher.await.expect("no panic");
    }

    // A last event in each channel, which nobody kills.
    let http = reqwest::Client::new();
    for channel in CHANNELS {
        let payload = Payload { channel: channel.to_owned(), mark: "last".to_owned() };
        assert!(
            traffic::publish(&http, &url, &record, vec![payload]).await,
            "nothing kills it now"
        );
    }
    let storage = SqliteStorage::open(server.database()).await.expect("it can be shared");
    let heads = storage.heads(&CHANNELS).await.expect("it answers");
    let ends: HashMap<_, _> = CHANNELS.into_iter().zip(heads).collect();
    record.reach(&tasks, async || Some(ends.clone())).await;
    record.check();
}
