//! Queues, topics and streams of RabbitMQ. Its broker takes seconds to start, so each test has one
//! and does much with it.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use sse_server::views::queues::Queue;
use testkit::services::Own;
use testkit::wait::within;

use crate::{back, event, get, next, reader, reset, serve_queue};

async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.expect("it runs");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// As any other program does it.
async fn publish(channel: &Channel, exchange: &str, key: &str, kind: &str, data: &str) {
    let properties = BasicProperties::default().with_type(kind.into()).with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let sent =
        channel.basic_publish(exchange.into(), key.into(), options, data.as_bytes(), properties);
    sent.await.expect("sent").await.expect("taken");
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
    let options = lapin::options::ExchangeDeclareOptions { durable: true, ..Default::default() };
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
