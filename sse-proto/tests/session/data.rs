//! `Reader::next_data` is a shortcut: with it and without it a driver gets the same events.

use proptest::prelude::*;
use sse_proto::{Item, Reader, SessionConfig, Terminator};

use crate::open;

/// Pieces of streams, most of them of what the shortcut is for.
fn stream() -> impl Strategy<Value = String> {
    let block = prop_oneof![
        20 => Just("data: {\"delta\":\"some text, as models write it\"}\n\n"),
        4 => Just("data: \u{e9}\r\n\r\n"),
        1 => Just("data: [DONE]\n\n"),
        1 => Just("data:\n\n"),
        1 => Just("data: two\ndata: lines\n\n"),
        1 => Just("event: ping\ndata: {}\n\n"),
        1 => Just("event: stream-error\ndata: {\"condition\":\"gone\",\"text\":\"x\"}\n\n"),
        1 => Just("id: 7\ndata: with an id\n\n"),
        1 => Just(": a comment\n\nretry: 20\n\n"),
    ];
    prop::collection::vec(block, 0..80).prop_map(|blocks| blocks.concat())
}

fn config() -> impl Strategy<Value = SessionConfig> {
    let terminators = prop_oneof![
        Just(vec![]),
        Just(vec![Terminator::Data("[DONE]".into())]),
        Just(vec![Terminator::EventType("message".into())]),
    ];
    let errors = prop::sample::select(vec![vec![], vec!["ping"], vec!["message"]]);
    (terminators, errors).prop_map(|(terminators, errors)| {
        let config = SessionConfig::default();
        let config = terminators.into_iter().fold(config, SessionConfig::until);
        config.error_events(errors)
    })
}

/// What a driver delivers, and how often it got that by the shortcut.
fn delivered(mut reader: Reader, chunks: &[&[u8]], is_short: bool) -> (Vec<String>, String, usize) {
    let mut delivered = Vec::new();
    let mut count = 0;
    for bytes in chunks {
        let mut chunk = reader.begin(bytes);
        loop {
            if is_short {
                if let Some(data) = reader.next_data(&mut chunk) {
                    delivered.push(format!("{:?}", Item::Event(sse_proto::Event::new(data))));
                    count += 1;
                    continue;
                }
            }
            match reader.next_item(&mut chunk) {
                Some(item) => delivered.push(format!("{:?}", item.expect("within the limits"))),
                None => break,
            }
        }
        reader.session_mut().handle_read(0);
    }
    let end = format!("{:?} {:?}", reader.session().state(), reader.last_event_id());
    (delivered, end, count)
}

proptest! {
    #[test]
    fn the_shortcut_for_data_changes_nothing(
        stream in stream(), config in config(), len in 1..4000usize, id in prop::option::of(Just("5".to_owned())),
    ) {
        let chunks: Vec<_> = stream.as_bytes().chunks(len).collect();
        let [one, two] = [false, true].map(|is_short| {
            let mut reader = open(config.clone());
            if id.is_some() {
                reader.set_last_event_id(id.clone());
            }
            delivered(reader, &chunks, is_short)
        });
        prop_assert_eq!((one.0, one.1), (two.0, two.1));
    }
}

#[test]
fn events_of_nothing_but_data_are_read_by_the_shortcut() {
    let stream = "data: {\"delta\":\"some text, as models write it\"}\n\n".repeat(100);
    let config = SessionConfig::default().until(Terminator::Data("[DONE]".into()));
    let (all, _, count) = delivered(open(config), &[b"data: first\n\n", stream.as_bytes()], true);
    assert_eq!(all.len(), 101);
    assert!(count > 90, "{count}");
}
