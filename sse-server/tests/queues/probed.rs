//! What `sse-fuzz probe --strict` finds at each queue: nothing.

use std::time::Duration;

use sse_fuzz::probe::{Hook, Settings, Target, Verdict, run};
use sse_server::views::queues::{Payload, Queue};
use testkit::services::Own;

use crate::{rabbitmq, serve_queue};

/// What it finds at the server that holds the connections here, axum's, whatever it serves: names
/// that are rebound, requests that do not end, many connections at once.
const OF_THE_HOST: [&str; 3] = ["con.rebinding", "rob.slowloris", "rob.backlog"];

/// Probes a channel of a queue. Each of these checks must have passed, and none have failed.
async fn probed(queue: &Queue, channel: &str, passed: &[&str]) {
    let address = serve_queue(queue).await;
    let target = |path: &str| Target::new(&format!("http://{address}{path}")).expect("a URL");
    let hook = Hook::Url {
        target: target("/publish/"),
        token: None,
        headers: Vec::new(),
        channel: channel.to_owned(),
    };
    let settings = Settings {
        publish: Some(hook),
        aggressive: true,
        wait: Duration::from_secs(4),
        deadline: Duration::from_mins(10),
        ..Settings::default()
    };
    let report = run(target(&format!("/{channel}")), settings, |_| {}).await.expect("checks");
    assert_eq!(report.problem, None);
    let is_bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn);
    let is_ours = |id: &str| !OF_THE_HOST.contains(&id);
    let outcomes = report.checks.iter().filter(|outcome| is_ours(&outcome.id));
    let bad = outcomes.filter(|outcome| is_bad(outcome.verdict));
    let bad: Vec<String> =
        bad.map(|outcome| format!("{}: {}", outcome.id, outcome.reason)).collect();
    assert_eq!(bad, Vec::<String>::new());
    for id in passed {
        let outcome = report.checks.iter().find(|outcome| outcome.id == *id).expect(id);
        assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    }
}

const ALL: [&str; 6] =
    ["con.live", "res.loss", "res.order", "res.busy-loss", "res.busy-duplicate", "inj.data-lf"];

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_nothing_at_a_redis_channel() {
    let Some(redis) = Own::redis().await else { return };
    let queue = Queue::builder().payload(Payload::Envelope).redis_channels(&redis.url()).await;
    probed(&queue.expect("it runs"), "a", &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_nothing_at_a_redis_stream() {
    let Some(redis) = Own::redis().await else { return };
    let queue = Queue::builder().redis_streams(&redis.url()).await.expect("it runs");
    probed(&queue, "a", &ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_nothing_at_a_postgres_channel() {
    let Some(postgres) = Own::postgres().await else { return };
    let url = postgres.url();
    let queue = Queue::builder().payload(Payload::Envelope).postgres_channels(&url).await;
    probed(&queue.expect("it runs"), "a", &ALL).await;
}

/// One broker for all three.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_finds_nothing_at_a_rabbitmq_topic_a_stream_and_a_queue() {
    let Some(broker) = Own::rabbitmq().await else { return };
    let (url, builder) = (broker.url(), Queue::builder);
    let (_connection, raw) = rabbitmq::channel(&url).await;
    rabbitmq::declare(&raw, "log", "stream").await;
    rabbitmq::declare(&raw, "jobs", "quorum").await;
    let topics = builder().rabbitmq_topics(&url, "amq.topic").await.expect("it runs");
    let streams = builder().rabbitmq_streams(&url).await.expect("it runs");
    let queues = builder().rabbitmq_queues(&url).await.expect("it runs");
    tokio::join!(
        probed(&topics, "a", &ALL),
        probed(&streams, "log", &ALL),
        probed(&queues, "jobs", &ALL),
    );
}
