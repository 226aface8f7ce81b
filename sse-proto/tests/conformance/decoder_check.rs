//! The decoder against the vectors and the oracle, in every chunking.

use proptest::prelude::*;

use sse_proto::{Decoder, Event};

use crate::additions::{self, Delivery, Wanted};
use crate::decoder::{as_by_rows, by_rows, by_session, decode, delivery, interrupted};
use crate::oracle::{self, Item};
use crate::{strategy, vectors};

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

    // It ends there.
    let is_stream_error = |delivery: &Delivery| matches!(delivery, Delivery::Item(Item::Event { event, .. }) if event == "stream-error");
    if !case.expect().iter().any(is_stream_error) {
        let (delivered, last_event_id) = by_rows(chunks, &case.last_event_id, case.wanted());
        assert_eq!(delivered, as_by_rows(case.expect()), "{} as {chunks:?}", case.name);
        assert_eq!(last_event_id, case.final_last_event_id, "{} as {chunks:?}", case.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn random_streams_are_read_as_the_standard_says(
        bytes in strategy::stream(),
        seed in strategy::id(),
        chunking in strategy::chunking(),
    ) {
        let chunks = chunking.chunks(&bytes);
        let (items, last_event_id) = oracle::parse(&bytes, &seed);
        let expected: Vec<_> = items.into_iter().map(Delivery::Item).collect();
        let rows = (as_by_rows(expected.clone()), last_event_id.clone());
        prop_assert_eq!(decode(&chunks, &seed, Wanted::default()), (expected, last_event_id));
        prop_assert_eq!(by_rows(&chunks, &seed, Wanted::default()), rows);
    }

    #[test]
    fn limits_and_comments_do_not_depend_on_chunks(
        bytes in strategy::stream(),
        chunking in strategy::chunking(),
        event_limit in 0_usize..12,
        line_limit in 4_usize..24,
    ) {
        let wanted = Wanted {
            comments: true,
            event_limit: Some(event_limit),
            line_limit: Some(line_limit),
        };
        let chunks = chunking.chunks(&bytes);
        let (expected, last_event_id) = additions::parse(&bytes, "", wanted);
        let rows = (as_by_rows(expected.clone()), last_event_id.clone());
        prop_assert_eq!(decode(&chunks, "", wanted), (expected, last_event_id));
        prop_assert_eq!(by_rows(&chunks, "", wanted), rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Long chunks are looked at in advance, and read in other steps than short ones.
    #[test]
    fn long_streams_are_read_as_short_ones_are(
        streams in proptest::collection::vec(strategy::stream(), 1..40),
        chunking in strategy::chunking(),
        limits in proptest::option::of((0_usize..300, 4_usize..300)),
    ) {
        let bytes = streams.concat();
        let wanted = Wanted {
            comments: limits.is_some(),
            event_limit: limits.map(|(event, _)| event),
            line_limit: limits.map(|(_, line)| line),
        };
        let expected = additions::parse(&bytes, "", wanted);
        prop_assert_eq!(decode(&[&bytes], "", wanted), expected.clone());
        prop_assert_eq!(interrupted(&bytes, "", wanted), expected.clone());
        prop_assert_eq!(decode(&chunking.chunks(&bytes), "", wanted), expected);
    }
}

/// Longer than what is looked at in advance at once, so that its end cuts events of every kind.
#[test]
fn events_are_read_wherever_a_stretch_ends() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..60 {
        let mut stream = Vec::new();
        let ends = [&b"\n"[..], b"\r\n", b"\r"];
        let end = ends[round % 3];
        while stream.len() < 70_000 {
            // Up to a few events in a stretch, or thousands.
            let magnitude = rng.usize(..14);
            let len = rng.usize(..1 << magnitude);
            let filler = ["x", "\u{e9}"][usize::from(rng.u8(..) == 0)];
            for (field, share) in [("event: ", 2), ("id: ", 2), ("data: ", 5), ("data", 1)] {
                if rng.u8(..6) < share {
                    let len = if field == "data: " { len } else { len % 9 };
                    let value = if field == "data" { String::new() } else { filler.repeat(len) };
                    stream.extend([field.as_bytes(), value.as_bytes(), end].concat());
                }
            }
            stream.extend(end);
        }
        let (items, id) = oracle::parse(&stream, "");
        let expected: Vec<_> = items.into_iter().map(Delivery::Item).collect();
        let wanted = Wanted::default();
        let whole = decode(&[&stream], "", wanted);
        assert_eq!(whole.0.len(), expected.len(), "round {round}");
        assert!(whole == (expected, id), "round {round}");
        assert!(whole == interrupted(&stream, "", wanted), "round {round}");
        assert!(whole == by_session(&[&stream], "", wanted), "round {round}");
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Whatever is asked for, exactly that one event comes out, or the builder has refused it. Line
    /// breaks in the data arrive as LF, and nothing else changes.
    #[test]
    fn what_is_encoded_is_decoded_as_that_one_event(
        event_type in strategy::text(),
        id in proptest::option::of(strategy::text()),
        data in strategy::text(),
        chunking in strategy::chunking(),
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
            let (delivered, _) = decode(&chunking.chunks(&bytes), "", Wanted::default());
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
    fn an_encoded_comment_is_only_a_comment(comment in strategy::text(), data in "[a-z]{0,3}") {
        let mut bytes = Vec::new();
        sse_proto::encode_comment(&comment, &mut bytes);
        Event::new(&data).encode_into(&mut bytes);
        let (delivered, id) = decode(&[&bytes], "", Wanted::default());
        let event = Item::Event { event: "message".to_owned(), data, id: String::new() };
        prop_assert_eq!((delivered, id), (vec![Delivery::Item(event)], String::new()));
    }
}
