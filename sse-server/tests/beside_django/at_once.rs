//! Many who publish at once, on both sides: readers here get every event once, in the order of the
//! ids, and no stream-reset.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use sse_proto::encode_channel;
use testkit::instances::{Instance, Publisher, Reader};
use testkit::services;

use testkit::django::Django;

/// How many events each thread sends; `SSE_DJANGO_EVENTS` says otherwise.
static EVENTS: LazyLock<usize> = LazyLock::new(|| number("SSE_DJANGO_EVENTS", 100));

fn number(variable: &str, default: usize) -> usize {
    let number = std::env::var(variable).ok();
    number.map_or(default, |number| number.parse().expect("a number"))
}

/// How often it is done; `SSE_DJANGO_RUNS` says otherwise.
fn runs() -> usize {
    number("SSE_DJANGO_RUNS", 2)
}

/// What channels can be called: in Redis, in tables, in messages, in ids.
fn odd(what: &str) -> String {
    format!("{what} b/c,d:é%~")
}

/// The query of a stream of this channel.
fn query(channel: &str) -> String {
    format!("channel={}", encode_channel(channel))
}

/// Who publishes.
#[derive(Clone, Copy)]
struct Writers {
    theirs: usize,
    ours: usize,
    /// Theirs are in transactions that are committed later.
    in_transaction: bool,
}

impl Writers {
    const fn new(theirs: usize, ours: usize) -> Self {
        Self { theirs, ours, in_transaction: false }
    }

    /// All that is to arrive, as data.
    fn all(self) -> HashSet<String> {
        let of = |mark: &'static str, threads| {
            (0..threads).flat_map(move |thread| {
                (0..*EVENTS).map(move |number| format!("\"{mark}-{thread}-{number}\""))
            })
        };
        of("theirs", self.theirs).chain(of("ours", self.ours)).collect()
    }

    async fn publish(self, server: &Instance, django: &Django, channel: &str) {
        let theirs = django.burst(channel, "theirs", self.theirs, *EVENTS, self.in_transaction);
        let mut ours = Vec::new();
        for thread in 0..self.ours {
            let mut publisher: Publisher = server.publisher().await;
            let channel = channel.to_owned();
            ours.push(tokio::spawn(async move {
                for number in 0..*EVENTS {
                    publisher.publish(&channel, format!("ours-{thread}-{number}")).await;
                }
            }));
        }
        theirs.await;
        for ours in ours {
            ours.await.expect("published");
        }
    }
}

/// The number in an id of this channel.
fn id_in(id: &str, channel: &str) -> u64 {
    let number = id.strip_prefix(&*encode_channel(channel).to_string());
    number.expect("its channel")[1..].parse().expect("a number")
}

/// Reads on until all have come, and checks that each came once, with the id after the one before,
/// and each thread's in its order. `before`: the id of the last event before.
async fn reads_all(reader: &mut Reader, channel: &str, before: Option<u64>, writers: Writers) {
    let mut missing = writers.all();
    let mut last = before;
    while !missing.is_empty() {
        let (kind, id, data) = reader.next().await;
        assert_eq!(kind, "message", "{data}; {} have not arrived", missing.len());
        let id = id_in(&id, channel);
        assert_eq!(id, last.map_or(id, |last| last + 1), "{data}");
        last = Some(id);
        assert!(missing.remove(&data), "{data} for the second time, or nobody has sent it");
    }
}

async fn everything_arrives(server: &Instance, django: &Django, writers: Writers) {
    for run in 0..runs() {
        let channel = odd(&format!("run-{run}"));
        // Who makes a channel's counter is not the question.
        django.send(&channel, "message", "first".into()).await;
        let mut readers = Vec::new();
        for _ in 0..2 {
            let mut reader = server.reader(&query(&channel), "").await;
            let channel = channel.clone();
            // Meanwhile: a reader that takes nothing for too long is closed.
            readers.push(tokio::spawn(async move {
                reads_all(&mut reader, &channel, Some(1), writers).await;
            }));
        }
        writers.publish(server, django, &channel).await;
        for reader in readers {
            reader.await.expect("it has got everything");
        }
        // And who comes later.
        let resume = format!("{}:1", encode_channel(&channel));
        let mut late = server.reader(&query(&channel), &resume).await;
        reads_all(&mut late, &channel, Some(1), writers).await;
    }
}

async fn over_redis(writers: Writers) {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let Some(redis) = services::Own::redis().await else { return };
    let url = redis.url();
    let server = Instance::start(&url, &url, Duration::from_secs(5)).await;
    let django = Django::start(&python, Some(&url), "redis", "").await;
    everything_arrives(&server, &django, writers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_threads_of_django_over_redis() {
    over_redis(Writers::new(4, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_threads_of_django_and_two_of_ours_over_redis() {
    over_redis(Writers::new(2, 2)).await;
}

async fn flush(url: &str) {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.expect("done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_django_sends_after_redis_has_lost_everything_is_no_loss() {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let Some(redis) = services::Own::redis().await else { return };
    let url = redis.url();
    let server = Instance::start(&url, &url, Duration::from_secs(5)).await;
    let django = Django::start(&python, Some(&url), "redis", "").await;
    for run in 0..runs() {
        let (known, new) = (odd(&format!("known-{run}")), odd(&format!("new-{run}")));
        let mut before = server.reader(&query(&known), "").await;
        django.send(&known, "message", "first".into()).await;
        assert_eq!(before.next().await.0, "message");
        flush(&url).await;
        let mut reader = server.reader(&query(&new), "").await;
        let writers = Writers::new(1, 0);
        writers.publish(&server, &django, &new).await;
        reads_all(&mut reader, &new, None, writers).await;
        // Who was there before may have missed something, is told so, and misses nothing after it.
        let writers = Writers::new(2, 1);
        writers.publish(&server, &django, &known).await;
        let (kind, id, _) = before.next().await;
        assert_eq!(kind, "stream-reset");
        reads_all(&mut before, &known, Some(id_in(&id, &known)), writers).await;
    }
}

/// Django with its model in PostgreSQL.
async fn over_postgres(writers: Writers, has_relay: bool) {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let Some(postgres) = services::postgres().await else { return };
    let Some(redis) = services::Own::redis().await else { return };
    let redis = has_relay.then(|| redis.url());
    let (_, database) = postgres.rsplit_once(':').expect("a port");
    // Its tables first, as a site has them that begins with this server.
    let django = Django::start(&python, redis.as_deref(), "model", database).await;
    let relay = redis.as_deref().unwrap_or("none");
    let server = Instance::start(&postgres, relay, Duration::from_secs(1)).await;
    everything_arrives(&server, &django, writers).await;
}

/// Django with its model in SQLite. Of thousands of events, most of the time is the disk's: without
/// a write-ahead log, Django alone stores less than 20 a second where a commit takes 10 ms.
async fn over_sqlite(journal: &str) {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("db.sqlite3").display().to_string();
    let django = Django::start(&python, None, "model", &format!("{path}{journal}")).await;
    let server =
        Instance::start(&format!("sqlite:{path}"), "none", Duration::from_millis(200)).await;
    everything_arrives(&server, &django, Writers::new(2, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_ours_in_one_sqlite_file() {
    over_sqlite("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_ours_in_one_sqlite_file_with_a_write_ahead_log() {
    over_sqlite("?wal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_ours_in_one_postgres() {
    over_postgres(Writers::new(2, 2), true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_in_transactions_and_ours_in_one_postgres() {
    over_postgres(Writers { in_transaction: true, ..Writers::new(2, 2) }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn django_and_ours_in_one_postgres_without_a_relay() {
    over_postgres(Writers::new(2, 2), false).await;
}
