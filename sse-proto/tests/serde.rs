//! Events as data, and back.

use proptest::prelude::*;
use serde::Deserialize;
use sse_proto::Event;

fn event<'a>(event_type: &'a str, id: Option<&'a str>, data: &'a str) -> Event<'a> {
    let event = Event::builder(data).event_type(event_type);
    let event = if let Some(id) = id { event.id(id) } else { event };
    event.build().expect("the texts are valid")
}

#[test]
fn an_event_is_an_object_of_its_fields_and_an_id_that_is_not_there_is_left_out() {
    for (event, json) in [
        (Event::new("a\nb"), r#"{"event":"message","data":"a\nb"}"#),
        (event("e", Some(""), ""), r#"{"event":"e","data":"","id":""}"#),
        (event("", Some("7"), "é"), r#"{"event":"message","data":"é","id":"7"}"#),
    ] {
        assert_eq!(serde_json::to_string(&event).expect("text is JSON"), json);
        assert_eq!(serde_json::from_str::<Event<'_>>(json).expect("an event"), event);
    }
}

#[test]
fn what_is_left_out_or_null_is_the_default() {
    for json in [r#"{"data": "x"}"#, r#"{"id": null, "data": "x", "more": [1]}"#] {
        assert_eq!(serde_json::from_str::<Event<'_>>(json).expect("an event"), Event::new("x"));
    }
    let error = serde_json::from_str::<Event<'_>>("{}").expect_err("an event has data");
    assert!(error.to_string().starts_with("missing field `data`"), "{error}");
}

#[test]
fn a_default_type_is_not_written_to_the_stream() {
    let json = r#"{"event": "message", "data": "x"}"#;
    let event: Event<'_> = serde_json::from_str(json).expect("an event");
    assert_eq!(event.to_string(), "data: x\n\n");
}

#[test]
fn what_the_builder_refuses_is_refused_in_its_words() {
    for (json, message) in [
        (r#"{"event": "a\nb", "data": ""}"#, "event type contains LF at byte 1"),
        (r#"{"data": "", "id": "\u0000"}"#, "id contains NUL at byte 0"),
        (r#"{"data": "", "id": "12\r"}"#, "id contains CR at byte 2"),
    ] {
        let error = serde_json::from_str::<Event<'_>>(json).expect_err(json);
        assert!(error.to_string().starts_with(message), "{error}");
        let mut reader = serde_json::Deserializer::from_reader(json.as_bytes());
        let error = Event::deserialize_owned(&mut reader).expect_err(json);
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[test]
fn text_without_escapes_is_borrowed() {
    let json = String::from(r#"{"event": "e", "data": "text", "id": "7"}"#);
    let event = serde_json::from_str::<Event<'_>>(&json).expect("an event");
    let inside = |text: &str| json.as_bytes().as_ptr_range().contains(&text.as_ptr());
    assert!(inside(event.event_type()) && inside(event.data()) && inside(event.last_event_id()));
}

/// In a struct, and of an input that is gone by then.
#[test]
fn an_owned_event_outlives_its_input() {
    #[derive(Deserialize)]
    struct Line {
        #[serde(deserialize_with = "Event::deserialize_owned")]
        event: Event<'static>,
    }
    let json = String::from(r#"{"event": {"data": "x"}}"#);
    let line: Line = serde_json::from_reader(json.as_bytes()).expect("an event");
    drop(json);
    assert_eq!(line.event, Event::new("x"));
}

proptest! {
    #[test]
    fn every_event_comes_back(
        event_type in "[^\r\n]{0,4}",
        id in proptest::option::of("[^\r\n\0]{0,4}"),
        data in any::<String>(),
    ) {
        let event = event(&event_type, id.as_deref(), &data);
        let json = serde_json::to_string(&event).expect("text is JSON");
        let borrowed = serde_json::from_str::<Event<'_>>(&json).expect("an event");
        prop_assert_eq!(&borrowed, &event);
        let value = serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
        let owned = Event::deserialize_owned(value).expect("an event");
        prop_assert_eq!(owned, event);
    }
}
