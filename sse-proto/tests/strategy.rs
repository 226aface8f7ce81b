//! The strategies, as someone uses them who tests a parser.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use sse_proto::strategy;

/// A thousand values, the same in each run.
fn sample<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    let mut value = || strategy.new_tree(&mut runner).expect("nothing is filtered").current();
    (0..1000).map(|_| value()).collect()
}

#[test]
fn hostile_streams_hold_what_parsers_stumble_over() {
    let streams = sample(strategy::stream());
    let having = |what: &[u8]| {
        streams.iter().filter(|stream| stream.windows(what.len()).any(|part| part == what)).count()
    };
    for what in [&b"\r"[..], b"\n", b"\r\n", b":", b"\0", b"id: \0", b"retry: +5", b"\xEF\xBB\xBF"]
    {
        assert!(having(what) > 100, "{what:?}");
    }
    let ill_formed = streams.iter().filter(|stream| std::str::from_utf8(stream).is_err()).count();
    assert!((100..500).contains(&ill_formed), "{ill_formed}");
    let with_events = streams.iter().filter(|stream| !strategy::expected(stream).is_empty());
    assert!(with_events.count() > 250);
}

#[test]
fn text_tries_to_inject_and_fields_do_not() {
    let texts = sample(strategy::text());
    assert!(texts.iter().any(|text| text.contains("\nid: 5")));
    assert!(texts.iter().filter(|text| text.contains(['\r', '\n', '\0'])).count() > 200);
    assert!(!sample(strategy::event_type()).iter().any(|text| text.contains(['\r', '\n'])));
    assert!(!sample(strategy::id()).iter().any(|text| text.contains(['\r', '\n', '\0'])));
}

#[test]
fn chunks_are_the_stream_cut_in_many_ways() {
    let mut numbers = HashSet::new();
    for chunking in sample(strategy::chunking()) {
        let chunks = chunking.chunks(b"0123456789abcdef");
        assert_eq!(chunks.concat(), b"0123456789abcdef");
        numbers.insert(chunks.len());
        assert_eq!(chunking.chunks(b"").concat(), b"");
    }
    assert!(numbers.contains(&1) && numbers.contains(&16) && numbers.len() > 10, "{numbers:?}");
}

proptest! {
    #[test]
    fn a_well_formed_stream_is_text_and_ends_with_a_blank_line(
        bytes in strategy::well_formed_stream(),
    ) {
        let text = std::str::from_utf8(&bytes);
        prop_assert!(text.is_ok_and(|text| text.ends_with("\n\n")));
    }

    #[test]
    fn an_event_is_expected_to_arrive_as_it_was_sent(event in strategy::event()) {
        let mut bytes = Vec::new();
        event.encode_into(&mut bytes);
        let expected = strategy::expected(&bytes);
        prop_assert_eq!(expected.len(), 1);
        prop_assert_eq!(expected[0].event_type(), event.event_type());
        prop_assert_eq!(expected[0].id(), event.id());
        let data = event.data().replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(expected[0].data(), data);
    }
}
