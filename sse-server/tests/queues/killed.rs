//! The program with the view killed with `kill -9`, again and again: what a queue that keeps its
//! messages has acknowledged reaches a reader once and in order, and without a reset.

use std::env;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sse_client::{EventSource, Item};
use sse_server::views::queues::Queue;
use testkit::services::Own;
use testkit::wait::{until, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::{app_of, rabbitmq, redis_streams};

/// What the process reads, and where it listens.
const QUEUE: &str = "SSE_TEST_KILLED_QUEUE";
const ADDRESS: &str = "SSE_TEST_KILLED_ADDRESS";

/// What it says before its address.
const HERE: &str = "listening at ";

const KILLS: usize = 6;

/// How many events come between two kills at least.
const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other tests run it, as a process of its own"]
async fn serves_until_it_is_killed() {
    let (Ok(url), Ok(address)) = (env::var(QUEUE), env::var(ADDRESS)) else { return };
    let queue = if url.starts_with("redis") {
        Queue::builder().redis_streams(&url).await
    } else {
        Queue::builder().rabbitmq_streams(&url).await
    };
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    println!("{HERE}{}", listener.local_addr().expect("it listens"));
    axum::serve(listener, app_of(&queue.expect("it runs"))).await.expect("it serves");
}

/// Runs this program again, to do nothing but to serve. Dropped, it is killed.
async fn start(url: &str, address: &str) -> (Child, SocketAddr, BufReader<ChildStdout>) {
    let mut command = Command::new(env::current_exe().expect("this program has a place"));
    command.args(["--ignored", "--exact", "--nocapture", "killed::serves_until_it_is_killed"]);
    command.env(QUEUE, url).env(ADDRESS, address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("it can be run once more");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    loop {
        let mut line = String::new();
        within("its address", lines.read_line(&mut line)).await.expect("it can be read");
        assert_ne!(line, "", "it has ended");
        if let Some((_, address)) = line.trim().split_once(HERE) {
            return (child, address.parse().expect("an address"), lines);
        }
    }
}

/// Kills the process while `write` has a number at a time acknowledged by the queue.
async fn prove(url: &str, channel: &str, mut write: impl AsyncFnMut(usize)) {
    let (mut child, address, mut _lines) = start(url, "127.0.0.1:0").await;
    let mut source =
        EventSource::get(format!("http://{address}/{channel}")).build().expect("a client");
    // From its first position on nothing may be missing.
    while !matches!(within("a stream", source.next()).await, Some(Ok(Item::Open))) {}
    let got = Arc::new(AtomicUsize::new(0));
    let seen = got.clone();
    let reading = tokio::spawn(async move {
        let handle = source.handle();
        loop {
            match source.next().await {
                Some(Ok(Item::Event(event))) if event.data() == "end" => break,
                Some(Ok(Item::Event(event))) => {
                    let number = seen.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(event.data(), number.to_string(), "each once, and in order");
                }
                Some(Ok(Item::Waiting { .. })) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    handle.reconnect();
                }
                Some(Ok(Item::Open)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let mut number = 0;
    for round in 1..=KILLS {
        while got.load(Ordering::Relaxed) < round * EACH && !reading.is_finished() {
            write(number).await;
            number += 1;
        }
        child.kill().await.expect("it runs");
        // While nobody serves as well.
        for _ in 0..EACH / 2 {
            write(number).await;
            number += 1;
        }
        (child, _, _lines) = start(url, &address.to_string()).await;
    }
    let all = async || got.load(Ordering::Relaxed) == number || reading.is_finished();
    until("all to arrive", all).await;
    write(usize::MAX).await;
    within("the end", reading).await.expect("it has read all");
    assert_eq!(got.load(Ordering::Relaxed), number);
}

fn text(number: usize) -> String {
    if number == usize::MAX { "end".to_owned() } else { number.to_string() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_redis_stream_nothing_is_lost_or_told_twice() {
    let Some(redis) = Own::redis().await else { return };
    let mut raw = redis_streams::connection(&redis.url()).await;
    prove(&redis.url(), "a", async |number| {
        let add = format!("XADD a * data {}", text(number));
        let _: String = redis_streams::run(&mut raw, &add).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_rabbitmq_stream_nothing_is_lost_or_told_twice() {
    let Some(broker) = Own::rabbitmq().await else { return };
    let (_connection, raw) = rabbitmq::channel(&broker.url()).await;
    rabbitmq::declare(&raw, "log", "stream").await;
    prove(&broker.url(), "log", async |number| {
        rabbitmq::publish(&raw, "", "log", "", &text(number)).await;
    })
    .await;
}
