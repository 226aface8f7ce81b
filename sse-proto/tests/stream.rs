//! A stream of bytes as a stream of events.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::stream::{self, FusedStream, StreamExt, TryStreamExt};
use proptest::prelude::*;
use sse_proto::stream::{EventStream, EventStreamError, Eventsource};
use sse_proto::{DecodeError, Decoder, DecoderConfig, Event, Frame};

/// A body that arrives in these chunks.
fn body<B: AsRef<[u8]>>(
    chunks: impl IntoIterator<Item = B>,
) -> impl stream::Stream<Item = io::Result<B>> {
    stream::iter(chunks.into_iter().map(Ok).collect::<Vec<_>>())
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer")
}

#[test]
fn chunks_of_any_type_and_size_are_read() {
    let text = "\u{FEFF}event: e\r\nid: é\ndata: a\r\ndata: b\n\ndata: c\r\r";
    let expected = ["a\nb".to_owned(), "c".to_owned()];
    let data = |event: Event<'static>| async move { Ok(event.data().to_owned()) };
    let bytes = body(text.as_bytes().chunks(1).map(Bytes::copy_from_slice)).eventsource();
    assert_eq!(block_on(bytes.and_then(data).try_collect::<Vec<_>>()).expect("whole"), expected);
    let vec = body([text.as_bytes().to_vec()]).eventsource();
    assert_eq!(block_on(vec.and_then(data).try_collect::<Vec<_>>()).expect("whole"), expected);
    let slices = body(text.as_bytes().chunks(3)).eventsource();
    assert_eq!(block_on(slices.and_then(data).try_collect::<Vec<_>>()).expect("whole"), expected);
}

/// Such as an async block, which must not be moved once it runs.
#[test]
fn a_stream_that_must_stay_where_it_is_is_taken_too() {
    let chunks = stream::unfold(0, |number| async move {
        std::future::ready(()).await;
        (number < 3).then(|| (Ok::<_, io::Error>(format!("data: {number}\n\n")), number + 1))
    });
    let events = std::pin::pin!(chunks.eventsource());
    let data: Vec<_> =
        block_on(events.map(|event| event.expect("whole").data().to_owned()).collect());
    assert_eq!(data, ["0", "1", "2"]);
}

#[test]
fn a_passed_limit_is_told_and_the_stream_goes_on() {
    let config = DecoderConfig::default().max_event_len(5).comments(true);
    let chunks = body(["data: a\n\nda", "ta: much too long\nid: 9\n\n: b\ndata: b\n\n"]);
    let mut events = EventStream::with_config(chunks, config);
    let items: Vec<_> =
        block_on(events.by_ref().map(|item| item.map_err(|error| error.to_string())).collect());
    let limit = "an event of the stream is longer than 5 bytes and was dropped".to_owned();
    assert_eq!(items, [Ok(Event::new("a")), Err(limit), Ok(Event::new("b"))]);
    assert_eq!(events.last_event_id(), None);
}

#[test]
fn an_error_of_the_stream_of_bytes_is_the_last_item() {
    let chunks = [Ok("id: 1\ndata: a\n\nid: 2\ndata: lost\n"), Err(cut()), Ok("\ndata: never\n\n")];
    let mut events = stream::iter(chunks).eventsource();
    let first = block_on(events.next()).expect("an item").expect("an event");
    assert_eq!(first.data(), "a");
    let error = block_on(events.next()).expect("an item").expect_err("the connection was cut");
    assert!(
        matches!(&error, EventStreamError::Transport(error) if error.kind() == io::ErrorKind::ConnectionReset)
    );
    assert_eq!(error.to_string(), "the stream was cut: reset by peer");
    assert!(events.is_terminated());
    assert!(block_on(events.next()).is_none() && block_on(events.next()).is_none());
    assert_eq!(events.last_event_id(), Some("1"));
}

#[test]
fn an_unfinished_event_is_discarded_at_the_end() {
    let mut events = body(["data: a\n\nid: 2\ndata: b\n"]).eventsource();
    assert!(block_on(events.next()).is_some() && !events.is_terminated());
    assert!(block_on(events.next()).is_none() && events.is_terminated());
    assert!(block_on(events.next()).is_none());
    assert_eq!(events.last_event_id(), None);
}

/// A program that stores the id with each event must not store that of a later one.
#[test]
fn what_a_client_resumes_with_is_as_of_the_last_item() {
    let mut events =
        body(["data: a\n\nretry: 1500\nid: 7\n\ndata: b\n\nid: 8\ndata: c\n\n"]).eventsource();
    events.set_last_event_id(Some("6".to_owned()));
    let mut seen = Vec::new();
    while let Some(event) = block_on(events.next()) {
        let event = event.expect("no error");
        assert_eq!(event.id(), events.last_event_id());
        seen.push((event.last_event_id().to_owned(), events.reconnection_time()));
    }
    let time = Some(Duration::from_millis(1500));
    assert_eq!(seen, [("6".to_owned(), None), ("7".to_owned(), time), ("8".to_owned(), time)]);
}

/// If the rest of the chunk were read for each event anew, this would take minutes.
#[test]
fn a_chunk_full_of_small_events_is_read_once() {
    let events = body([b"data\n\n".repeat(100_000)]).eventsource();
    assert_eq!(block_on(events.count()), 100_000);
}

#[test]
fn an_error_of_either_kind_has_its_source() {
    use std::error::Error;
    let transport = EventStreamError::Transport(cut());
    assert_eq!(transport.source().expect("the io::Error").to_string(), "reset by peer");
    let limit = EventStreamError::<io::Error>::Limit(DecodeError::LineTooLong { limit: 1 });
    assert!(limit.source().is_none());
}

proptest! {
    #[test]
    fn events_are_those_of_the_decoder_in_whatever_chunks_they_come(
        bytes in proptest::collection::vec(
            proptest::sample::select(vec!["data: a", "id: 1", "event: e", "\r", "\n", ":", "é"]), 0..40,
        ).prop_map(|pieces| pieces.concat()),
        len in 1_usize..40,
    ) {
        let mut decoder = Decoder::new();
        let mut frames = decoder.decode(bytes.as_bytes());
        let mut expected = Vec::new();
        while let Some(frame) = frames.next_frame() {
            if let Ok(Frame::Event(event)) = frame {
                expected.push(event.into_owned());
            }
        }
        let mut events = body(bytes.as_bytes().chunks(len)).eventsource();
        let received = block_on(events.by_ref().try_collect::<Vec<_>>()).expect("nothing fails");
        prop_assert_eq!(received, expected);
        prop_assert_eq!(events.last_event_id(), decoder.last_event_id());
    }
}
