//! The dialects, read with our own decoder in every kind of chunk.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sse_fuzz::hostile::{Dialect, Expected, cases, dialects};
use sse_proto::{Decoder, Frame};

/// The events and the reconnection times in these chunks.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Expected>, Vec<u64>) {
    let mut decoder = Decoder::new();
    let (mut events, mut retries) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let mut frames = decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            match frame.expect("within the limits") {
                Frame::Event(event) => events.push(Expected {
                    event: event.event_type().to_owned(),
                    data: event.data().to_owned(),
                    id: Some(event.last_event_id().to_owned()),
                    optional: false,
                }),
                Frame::Retry(time) => {
                    let time = Duration::as_millis(&time);
                    retries.push(u64::try_from(time).expect("small"));
                }
                _ => {}
            }
        }
    }
    (events, retries)
}

fn expected(dialect: &Dialect) -> (Vec<Expected>, Vec<u64>) {
    let events = dialect.events().into_iter();
    (events.map(|event| Expected { optional: false, ..event }).collect(), dialect.retries())
}

#[test]
fn every_dialect_has_its_events_whole_as_written_and_byte_by_byte() {
    for dialect in dialects() {
        let writes = dialect.writes();
        let bytes = writes.concat();
        let expected = expected(&dialect);
        assert_eq!(decode([bytes.as_slice()]), expected, "{} whole", dialect.name);
        assert_eq!(decode(writes.iter().map(Vec::as_slice)), expected, "{}", dialect.name);
        assert_eq!(decode(bytes.chunks(1)), expected, "{} byte by byte", dialect.name);
    }
}

#[test]
fn every_dialect_has_its_events_however_it_is_cut() {
    for dialect in dialects() {
        let bytes = dialect.writes().concat();
        let expected = expected(&dialect);
        let cuts = prop::collection::vec(0..=bytes.len(), 0..20);
        let config = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
        let tested = TestRunner::new(config).run(&cuts, |mut cuts| {
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(decode(chunks), expected.clone());
            Ok(())
        });
        assert_eq!(tested, Ok(()), "{}", dialect.name);
    }
}

#[test]
fn ids_are_words_and_each_is_there_once() {
    let mut ids: Vec<_> = cases().iter().map(|case| case.id().to_owned()).collect();
    for id in &ids {
        let is_slug =
            id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        assert!(is_slug && id.contains('.'), "{id}");
    }
    let len = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), len);
}
