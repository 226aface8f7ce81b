//! Queues, topics and streams of RabbitMQ. Its broker takes seconds to start, so each test has one
//! and does much with it.

use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use sse_server::views::queues::{Queue, QueueError};
use testkit::services::Own;
use testkit::wait::{until, within};

use crate::{back, event, get, next, reader, reset, serve_queue};

pub(crate) async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.expect("it runs");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("it confirms");
    (connection, channel)
}

pub(crate) async fn declare(channel: &Channel, name: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), options, arguments).await.expect("declared");
}

/// As any other program does it.
pub(crate) async fn publish(channel: &Channel, exchange: &str, key: &str, kind: &str, data: &str) {
    let properties = BasicProperties::default().with_type(kind.into()).with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, data.as_bytes(), properties);
    sent.await.expect("sent").await.expect("taken");
}

/// How many read a queue, and how many messages wait in it.
async fn state(channel: &Channel, name: &str) -> (u32, u32) {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(name.into(), options, FieldTable::default()).await;
    let queue = queue.expect("it is there");
    (queue.consumer_count(), queue.message_count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_hands_its_messages_to_the_readers_here_and_keeps_them_while_there_are_none() {
    let Some(mut broker) = Own::rabbitmq().await else { return };
    let queue = Queue::builder().rabbitmq_queues(&broker.url()).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (_connection, raw) = channel(&broker.url()).await;
    assert_eq!(get(address, "/jobs", "").await.status, 404);
    let sent = queue.send_text("jobs", "message", "x").await;
    assert!(matches!(sent, Err(QueueError::NotFound(_))), "{sent:?}");
    declare(&raw, "jobs", "quorum").await;
    queue.send_event("jobs", "job", &1).await.expect("sent");
    publish(&raw, "", "jobs", "", "2").await;
    let (mut one, _) = reader(address, "jobs").await;
    let first = event(&mut one).await;
    assert!(first.starts_with("event: job\nid: ") && first.ends_with("\ndata: 1\n\n"), "{first}");
    let (_, id) = next(&mut one).await;
    let mut readers = Vec::new();
    for _ in 0..200 {
        readers.push(reader(address, "jobs").await.0);
    }
    assert_eq!(state(&raw, "jobs").await.0, 1);
    publish(&raw, "", "jobs", "", "to all").await;
    for reader in readers.iter_mut().chain([&mut one]) {
        assert_eq!(next(reader).await.0, "to all");
    }
    // Beside others who read it a reader that comes back goes on.
    let mut again = back(address, "jobs", &id).await;
    assert_eq!(next(&mut again).await.0, "to all");
    drop((one, again, readers));
    until("nobody to read it", async || state(&raw, "jobs").await.0 == 0).await;
    publish(&raw, "", "jobs", "", "kept").await;
    let mut again = back(address, "jobs", &id).await;
    reset(&mut again).await;
    assert_eq!(next(&mut again).await.0, "kept");
    until("it to be empty", async || state(&raw, "jobs").await == (1, 0)).await;
    broker.keep_declared();
    broker.kill();
    broker.start().await;
    reset(&mut again).await;
    within("it to be sent", async {
        while queue.send_text("jobs", "message", "after").await.is_err() {}
    })
    .await;
    again.until("data: after\n\n").await;
    let (_connection, raw) = channel(&broker.url()).await;
    raw.queue_delete("jobs".into(), QueueDeleteOptions::default()).await.expect("deleted");
    let rest = again.body().await;
    assert!(rest.contains("\"condition\": \"not-found\""), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_reaches_all_who_have_bound_to_it_and_an_outage_is_told() {
    let Some(mut broker) = Own::rabbitmq().await else { return };
    let linger = Duration::from_millis(50);
    let builder = Queue::builder().linger(linger);
    let queue = builder.rabbitmq_topics(&broker.url(), "prices").await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (_connection, raw) = channel(&broker.url()).await;
    assert_eq!(get(address, "/gold", "").await.status, 404, "there is no such exchange");
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        raw.exchange_declare("prices".into(), ExchangeKind::Topic, options, FieldTable::default());
    declared.await.expect("declared");
    let (mut gold, id) = reader(address, "metal.gold").await;
    let (mut all, _) = reader(address, "metal.*").await;
    publish(&raw, "prices", "metal.gold", "price", "17").await;
    queue.send_event("metal.silver", "price", &1).await.expect("sent");
    for data in ["17", "1"] {
        assert_eq!(next(&mut all).await.0, data);
    }
    let event = event(&mut gold).await;
    assert!(event.starts_with("event: price\n") && event.ends_with("data: 17\n\n"), "{event}");
    let mut again = back(address, "metal.gold", &id).await;
    assert_eq!(next(&mut again).await.0, "17");
    broker.keep_declared();
    broker.kill();
    broker.start().await;
    reset(&mut gold).await;
    reset(&mut again).await;
    within("it to be sent", async {
        while queue.send_event("metal.gold", "price", &18).await.is_err() {}
    })
    .await;
    for reader in [&mut gold, &mut again] {
        assert_eq!(next(reader).await.0, "18");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_by_offsets_and_tells_what_it_does_not_have() {
    let Some(broker) = Own::rabbitmq().await else { return };
    let builder = Queue::builder().tail(200).linger(Duration::ZERO);
    let queue = builder.rabbitmq_streams(&broker.url()).await.expect("it runs");
    let address = serve_queue(&queue).await;
    let (_connection, raw) = channel(&broker.url()).await;
    declare(&raw, "log", "stream").await;
    let (mut live, begin) = reader(address, "log").await;
    assert!(begin.starts_with("new-"), "{begin}");
    for n in 0..300 {
        publish(&raw, "", "log", "number", &n.to_string()).await;
    }
    for n in 0..300 {
        let event = event(&mut live).await;
        assert_eq!(event, format!("event: number\nid: {n}\ndata: {n}\n\n"));
    }
    for at in [298, 290, 100, 0] {
        let mut reader = back(address, "log", &at.to_string()).await;
        for n in at + 1..300 {
            assert_eq!(next(&mut reader).await, (n.to_string(), n.to_string()));
        }
    }
    drop(live);
    // Nobody reads it at first, and nothing is in the tail.
    let mut back_first = back(address, "log", "299").await;
    let mut unknown = back(address, "log", "new-1").await;
    reset(&mut unknown).await;
    queue.send_text("log", "message", "300").await.expect("sent");
    for reader in [&mut back_first, &mut unknown] {
        assert_eq!(next(reader).await, ("300".to_owned(), "300".to_owned()));
    }
    // An offset that never was.
    let mut foreign = back(address, "log", "9999").await;
    reset(&mut foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_told_or_reads_on_and_holds_up_nobody() {
    let Some(broker) = Own::rabbitmq().await else { return };
    let (_connection, raw) = channel(&broker.url()).await;
    declare(&raw, "jobs", "classic").await;
    declare(&raw, "log", "stream").await;
    let large = "x".repeat(200_000);
    for (name, exchange) in [("jobs", ""), ("metal.gold", "amq.topic"), ("log", "")] {
        let builder = Queue::builder().linger(Duration::ZERO).tail(8);
        let url = broker.url();
        let queue = match name {
            "jobs" => builder.rabbitmq_queues(&url).await,
            "log" => builder.rabbitmq_streams(&url).await,
            _ => builder.rabbitmq_topics(&url, exchange).await,
        };
        let address = serve_queue(&queue.expect("it runs")).await;
        let (mut slow, _) = reader(address, name).await;
        let (mut quick, _) = reader(address, name).await;
        for n in 0..150 {
            publish(&raw, exchange, name, "", &format!("{n} {large}")).await;
            assert!(next(&mut quick).await.0.starts_with(&format!("{n} ")), "{name}");
        }
        if name == "log" {
            for n in 0..150 {
                assert!(next(&mut slow).await.0.starts_with(&format!("{n} ")));
            }
        } else {
            slow.until("event: stream-reset\n").await;
        }
        publish(&raw, exchange, name, "", "last").await;
        slow.until("data: last\n\n").await;
        // The broker counts readers of queues, and not those of streams.
        if name == "jobs" {
            assert_eq!(state(&raw, name).await.0, 1);
            drop((slow, quick));
            until("nobody to read it", async || state(&raw, name).await == (0, 0)).await;
        }
    }
}
