//! The decoder against the vectors and the oracle, in every chunking.

use proptest::prelude::*;

use sse_proto::{DecodeError, Decoder, DecoderConfig, Event, Frame};

use crate::additions::{self, Delivery, Wanted};
use crate::oracle::{self, Item};
use crate::{streams, vectors};

/// The decoder under test, with the answer in the words of the vectors.
///
/// Also sees to it that it never holds more than the limits allow.
fn decode(chunks: &[&[u8]], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let event_limit = wanted.event_limit.unwrap_or(16 << 20);
    let line_limit = wanted.line_limit.unwrap_or(16 << 20);
    let config = DecoderConfig::default()
        .comments(wanted.comments)
        .max_event_len(event_limit)
        .max_line_len(line_limit);
    let mut decoder = Decoder::with_config(config);
    if !seed.is_empty() {
        decoder.set_last_event_id(Some(seed.to_owned()));
    }
    let mut delivered = Vec::new();
    for chunk in chunks {
        let mut frames = decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            delivered.push(delivery(frame));
        }
        assert!(decoder.buffered_len() <= event_limit + line_limit);
    }
    (delivered, decoder.last_event_id().unwrap_or_default().to_owned())
}

fn delivery(frame: Result<Frame<'_>, DecodeError>) -> Delivery {
    match frame {
        Ok(Frame::Event(event)) => Delivery::Item(Item::Event {
            event: event.event_type().to_owned(),
            data: event.data().to_owned(),
            id: event.last_event_id().to_owned(),
        }),
        Ok(Frame::Retry(time)) => {
            let time = u64::try_from(time.as_millis()).expect("retry is read as a u64");
            Delivery::Item(Item::Retry(time))
        }
        Ok(Frame::Comment(comment)) => Delivery::Comment(comment.to_owned()),
        Err(DecodeError::EventTooLong { .. }) => Delivery::EventTooLarge,
        Err(DecodeError::LineTooLong { .. }) => Delivery::LineTooLarge,
        other => panic!("the vectors have no word for {other:?}"),
    }
}

/// Fed the first steps alone, the decoder has delivered what they call for: nothing waits for a
/// byte that has not come.
#[test]
fn vectors_step_by_step() {
    for case in vectors::all() {
        let steps: Vec<_> = case.steps.iter().map(vectors::Step::bytes).collect();
        let chunks: Vec<_> = steps.iter().map(Vec::as_slice).collect();
        let mut expected = Vec::new();
        for (index, step) in case.steps.iter().enumerate() {
            expected.extend(step.expect());
            let fed = &chunks[..=index];
            let (delivered, _) = decode(fed, &case.last_event_id, case.wanted());
            assert_eq!(delivered, expected, "{}, step {index}", case.name);
        }
        check(&case, &chunks);
    }
}

#[test]
fn vectors_whole_and_in_single_bytes() {
    for case in vectors::all() {
        let bytes = case.bytes();
        check(&case, &[&bytes]);
        check(&case, &bytes.chunks(1).collect::<Vec<_>>());
    }
}

#[test]
fn vectors_in_every_two_chunks() {
    for case in vectors::all() {
        let bytes = case.bytes();
        for middle in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(middle);
            check(&case, &[head, tail]);
        }
    }
}

#[track_caller]
fn check(case: &vectors::Case, chunks: &[&[u8]]) {
    let (delivered, last_event_id) = decode(chunks, &case.last_event_id, case.wanted());
    assert_eq!(delivered, case.expect(), "{} as {chunks:?}", case.name);
    assert_eq!(last_event_id, case.final_last_event_id, "{} as {chunks:?}", case.name);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_streams_are_read_as_the_standard_says(
        bytes in streams::stream(),
        seed in streams::seed(),
        cuts in streams::cuts(),
    ) {
        let chunks = streams::chunks(&bytes, &cuts);
        let (items, last_event_id) = oracle::parse(&bytes, &seed);
        let expected: Vec<_> = items.into_iter().map(Delivery::Item).collect();
        prop_assert_eq!(decode(&chunks, &seed, Wanted::default()), (expected, last_event_id));
    }

    #[test]
    fn limits_and_comments_do_not_depend_on_chunks(
        bytes in streams::stream(),
        cuts in streams::cuts(),
        event_limit in 0_usize..12,
        line_limit in 4_usize..24,
    ) {
        let wanted = Wanted {
            comments: true,
            event_limit: Some(event_limit),
            line_limit: Some(line_limit),
        };
        let chunks = streams::chunks(&bytes, &cuts);
        prop_assert_eq!(decode(&chunks, "", wanted), additions::parse(&bytes, "", wanted));
    }
}

/// Stopped at any frame and fed what it has not read, a decoder goes on as if nothing had been.
#[test]
fn reading_can_stop_after_any_frame() {
    for case in vectors::all().into_iter().filter(|case| case.wanted().is_plain()) {
        let bytes = case.bytes();
        let mut decoder = Decoder::new();
        if !case.last_event_id.is_empty() {
            decoder.set_last_event_id(Some(case.last_event_id.clone()));
        }
        let mut delivered = Vec::new();
        let mut rest = &bytes[..];
        loop {
            let mut frames = decoder.decode(rest);
            let Some(frame) = frames.next_frame() else {
                break;
            };
            delivered.push(delivery(frame));
            rest = frames.rest();
        }
        assert_eq!(delivered, case.expect(), "{}", case.name);
    }
}

/// Text that no field may hold, beside text that any may.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-z :]{0,4}",
        1 => proptest::sample::select(vec![
            "\r", "\n", "\r\n", "\n\n", "\0", "\u{FEFF}", "data: x", "\nid: 5", "\nevent: e", "\u{2028}",
        ]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Whatever is asked for, exactly that one event comes out, or the builder has refused it. Line
    /// breaks in the data arrive as LF, and nothing else changes.
    #[test]
    fn what_is_encoded_is_decoded_as_that_one_event(
        event_type in text(), id in proptest::option::of(text()), data in text(), cuts in streams::cuts(),
    ) {
        let builder = Event::builder(&data).event_type(&event_type);
        let built = match &id {
            Some(id) => builder.id(id).build(),
            None => builder.build(),
        };
        let refused = event_type.contains(['\r', '\n'])
            || id.as_ref().is_some_and(|id| id.contains(['\r', '\n', '\0']));
        prop_assert_eq!(built.is_err(), refused);
        if let Ok(event) = built {
            let mut bytes = Vec::new();
            event.encode_into(&mut bytes);
            let (delivered, _) = decode(&streams::chunks(&bytes, &cuts), "", Wanted::default());
            let expected = Item::Event {
                event: if event_type.is_empty() { "message".to_owned() } else { event_type },
                data: data.replace("\r\n", "\n").replace('\r', "\n"),
                id: id.unwrap_or_default(),
            };
            prop_assert_eq!(delivered, [Delivery::Item(expected)]);
        }
    }

    /// A comment is never an event, a field or an end of one.
    #[test]
    fn an_encoded_comment_is_only_a_comment(comment in text(), data in "[a-z]{0,3}") {
        let mut bytes = Vec::new();
        sse_proto::encode_comment(&comment, &mut bytes);
        Event::new(&data).encode_into(&mut bytes);
        let (delivered, id) = decode(&[&bytes], "", Wanted::default());
        let event = Item::Event { event: "message".to_owned(), data, id: String::new() };
        prop_assert_eq!((delivered, id), (vec![Delivery::Item(event)], String::new()));
    }
}
