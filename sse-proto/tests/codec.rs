//! Event streams over tokio-util's codecs, on a TCP connection and in memory.

use std::pin::pin;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use sse_proto::codec::EventCodec;
use sse_proto::{DecodeError, DecoderConfig, Event};
use tokio::io::{AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Decoder as _, Framed, FramedRead, FramedWrite};

fn events() -> Vec<Event<'static>> {
    let event = |event_type, id, data| {
        Event::builder(data).event_type(event_type).id(id).build().expect("valid").into_owned()
    };
    vec![event("", "1", "one"), event("greeting", "é", "two\nlines"), event("", "3", "")]
}

#[tokio::test]
async fn events_go_over_a_tcp_connection_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = Framed::new(stream, EventCodec::new());
        // Each comes back before the next is sent.
        while let Some(event) = stream.next().await {
            let event = event.expect("no error").expect("no limit");
            stream.send(&event).await.expect("the client reads");
        }
    });
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut stream = Framed::new(stream, EventCodec::new());
    for event in events() {
        stream.send(event.clone()).await.expect("the server reads");
        let echo = stream.next().await.expect("an answer").expect("no error");
        assert_eq!(echo, Ok(event));
    }
    assert_eq!(stream.codec().last_event_id(), Some("3"));
    drop(stream);
    server.await.expect("the server has not panicked");
}

#[tokio::test]
async fn events_arrive_through_a_pipe_of_one_byte() {
    let (client, server) = duplex(1);
    tokio::spawn(async move {
        let mut writer = FramedWrite::new(server, EventCodec::new());
        for event in events() {
            writer.send(&event).await.expect("it is read");
        }
    });
    let reader = FramedRead::new(client, EventCodec::new());
    let received: Vec<_> = reader.map(|event| event.expect("no error")).collect().await;
    assert_eq!(received, events().into_iter().map(Ok).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_arrives_with_its_last_byte() {
    let (client, mut server) = duplex(64);
    let mut reader = pin!(FramedRead::new(client, EventCodec::new()));
    server.write_all(b"data: a\r\r").await.expect("there is room");
    let event = reader.next().await.expect("an event").expect("no error");
    assert_eq!(event, Ok(Event::new("a")));
    server.write_all(b"\ndata: b\n\n").await.expect("there is room");
    let event = reader.next().await.expect("an event").expect("no error");
    assert_eq!(event, Ok(Event::new("b")));
}

#[tokio::test]
async fn a_passed_limit_is_an_item_and_the_stream_goes_on() {
    let input = &b"data: a\n\ndata: much too long\nid: 9\n\ndata: b\n\n"[..];
    let codec = EventCodec::with_config(DecoderConfig::default().max_event_len(5));
    let mut reader = FramedRead::new(input, codec);
    let mut items = Vec::new();
    while let Some(item) = reader.next().await {
        items.push(item.expect("no error"));
    }
    let limit = DecodeError::EventTooLong { limit: 5 };
    assert_eq!(items, [Ok(Event::new("a")), Err(limit), Ok(Event::new("b"))]);
    assert_eq!(reader.decoder().last_event_id(), None);
}

#[tokio::test]
async fn what_a_client_resumes_with_is_at_hand() {
    let input =
        &b": hello\nretry: 1500\ndata: a\n\nid: 7\n\ndata: b\n\nid: 8\ndata: unfinished"[..];
    let mut codec = EventCodec::new();
    codec.set_last_event_id(Some("6".to_owned()));
    assert_eq!(codec.reconnection_time(), None);
    let mut reader = FramedRead::new(input, codec);
    let first = reader.next().await.expect("an event").expect("no error").expect("no limit");
    assert_eq!((first.data(), first.id()), ("a", Some("6")));
    assert_eq!(reader.decoder().last_event_id(), Some("6"), "as of the first event");
    let second = reader.next().await.expect("an event").expect("no error").expect("no limit");
    assert_eq!((second.data(), second.id()), ("b", Some("7")));
    assert!(reader.next().await.is_none(), "the unfinished event is discarded");
    assert_eq!(reader.decoder().last_event_id(), Some("7"));
    assert_eq!(reader.decoder().reconnection_time(), Some(Duration::from_millis(1500)));
}

#[test]
fn after_the_end_comes_the_start_of_another_stream() {
    let mut codec = EventCodec::new();
    let mut first = (&b"data: unfinished\ndata"[..]).into();
    assert!(codec.decode_eof(&mut first).expect("no error").is_none());
    assert!(first.is_empty(), "nothing is left over");
    let mut second = (&b"\xEF\xBB\xBFdata: a\n\n"[..]).into();
    let event = codec.decode_eof(&mut second).expect("no error").expect("an event");
    assert_eq!(event, Ok(Event::new("a")));
}

/// If the rest of the buffer were read for each event anew, this would take minutes.
#[tokio::test]
async fn a_buffer_full_of_small_events_is_read_once() {
    let input = b"data\n\n".repeat(100_000);
    let reader = FramedRead::with_capacity(&input[..], EventCodec::new(), input.len());
    assert_eq!(reader.count().await, 100_000);
}

proptest! {
    #[test]
    fn frames_are_the_events_of_the_decoder(
        bytes in proptest::collection::vec(
            proptest::sample::select(vec!["data: a", "id: 1", "event: e", "\r", "\n", ":", "é"]), 0..40,
        ).prop_map(|pieces| pieces.concat()),
        capacity in 1_usize..9,
    ) {
        let mut decoder = sse_proto::Decoder::new();
        let mut frames = decoder.decode(bytes.as_bytes());
        let mut expected = Vec::new();
        while let Some(frame) = frames.next_frame() {
            if let Ok(sse_proto::Frame::Event(event)) = frame {
                expected.push(event.into_owned());
            }
        }
        let reader = FramedRead::with_capacity(bytes.as_bytes(), EventCodec::new(), capacity);
        let events = reader.map(|event| event.expect("no error").expect("no limit"));
        let events: Vec<_> = futures::executor::block_on(events.collect());
        prop_assert_eq!(events, expected);
    }
}
