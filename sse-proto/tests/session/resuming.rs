//! What is delivered, and where the next request goes on.

use sse_proto::{Closed, Event, Failure, Item, Reader, SessionConfig, State, Step};

use super::{OK, SECOND, connect, due, feed, open};

#[test]
fn the_end_of_the_stream_leads_to_a_request_that_resumes_it() {
    let mut reader = open(SessionConfig::default());
    assert_eq!(feed(&mut reader, SECOND, "id: 7\ndata: a\n\nid: 8\ndata: unfinished"), ["a"]);
    reader.session_mut().handle_end(SECOND);
    let until = due(&mut reader, SECOND);
    assert!(until > SECOND);
    assert_eq!(reader.session().state(), State::Waiting { until, failure: Failure::Ended });
    assert_eq!(due(&mut reader, until - 1), until);
    assert_eq!(connect(&mut reader, until).as_deref(), Some("7"), "8 was never committed");
    reader.session_mut().handle_response(until, &OK);
    assert_eq!(feed(&mut reader, until, "\ndata: b\n\n"), ["b"], "nothing is left of before");
    assert_eq!(reader.last_event_id(), Some("7"), "a stream without ids does not lose it");
}

/// A driver may hold on to the session from one stream to the next.
#[test]
fn another_stream_is_known_by_its_number() {
    let mut reader = Reader::new(SessionConfig::default(), 1);
    assert_eq!(reader.session().streams(), 0);
    connect(&mut reader, 0);
    assert_eq!(reader.session().streams(), 0, "there is no answer yet");
    reader.session_mut().handle_response(0, &OK);
    assert_eq!(reader.session().streams(), 1);
    assert_eq!(feed(&mut reader, SECOND, "id: 7\ndata: a\n\nid: 8\ndata: unfinished"), ["a"]);
    let session = reader.session_mut();
    session.handle_end(SECOND);
    assert_eq!(session.poll(SECOND), Step::Sleep);
    let until = session.until();
    assert!(matches!(session.poll(until), Step::Connect(_)));
    session.handle_response(until, &OK);
    assert_eq!(session.streams(), 2);
    assert_eq!(feed(&mut reader, until, "\ndata: b\n\n"), ["b"], "nothing is left of before");
}

#[test]
fn an_empty_id_is_never_sent_and_a_stored_one_is() {
    let mut reader = open(SessionConfig::default());
    feed(&mut reader, SECOND, "id: 1\ndata\n\nid\ndata\n\n");
    reader.session_mut().handle_error(SECOND);
    let until = due(&mut reader, SECOND);
    assert_eq!(connect(&mut reader, until), None);

    let mut reader = Reader::new(SessionConfig::default(), 1);
    reader.set_last_event_id(Some("é:5".to_owned()));
    assert_eq!(connect(&mut reader, SECOND).as_deref(), Some("é:5"));
}

#[test]
fn an_id_that_http_cannot_carry_is_withheld_and_reported() {
    for id in ["a\u{1}b", "a\nb", "\u{7f}", "\u{85}", " a", "a ", "\ta", "a\t"] {
        let mut reader = Reader::new(SessionConfig::default(), 1);
        reader.set_last_event_id(Some(id.to_owned()));
        let Step::Connect(request) = reader.session_mut().poll(SECOND) else {
            panic!("expected to connect")
        };
        assert_eq!((request.sends_id, request.id_withheld), (false, true), "{id:?}");
    }
}

#[test]
fn an_id_with_white_space_inside_is_sent() {
    for id in ["a\tb", "a b", "a \t b"] {
        let mut reader = Reader::new(SessionConfig::default(), 1);
        reader.set_last_event_id(Some(id.to_owned()));
        assert_eq!(connect(&mut reader, SECOND).as_deref(), Some(id));
    }
}

#[test]
fn a_reset_is_an_item_of_its_own_and_moves_the_position() {
    let mut reader = open(SessionConfig::default());
    let reset = "event: stream-reset\nid: a:3,b:0\ndata: {\"channels\": [\"a\"]}\n\ndata: x\n\n";
    assert_eq!(feed(&mut reader, SECOND, reset), ["reset a", "x"]);
    assert_eq!(reader.last_event_id(), Some("a:3,b:0"));
}

#[test]
fn control_events_are_swallowed_unless_asked_for() {
    let body = "event: stream-open\ndata:\n\nevent: keep-alive\ndata:\n\ndata: x\n\n";
    assert_eq!(feed(&mut open(SessionConfig::default()), SECOND, body), ["x"]);
    let config = SessionConfig::default().control_events(true);
    assert_eq!(feed(&mut open(config), SECOND, body), ["", "", "x"]);
}

#[test]
fn the_id_of_a_stream_error_is_no_place_to_resume_from() {
    for before in ["id: 5\ndata: x\n\n", "id: 4\ndata: x\n\nid: 5\n\n"] {
        let mut reader = open(SessionConfig::default());
        let body = format!("{before}event: stream-error\nid: error\ndata: {{}}\n\n");
        feed(&mut reader, SECOND, &body);
        assert_eq!(reader.last_event_id(), Some("5"));
    }
    let mut reader = open(SessionConfig::default());
    feed(&mut reader, SECOND, "id: 5\ndata: x\n\nevent: stream-error\ndata: {}\n\n");
    assert_eq!(reader.last_event_id(), Some("5"), "one without an id changes none");
}

#[test]
fn what_a_session_knows_can_be_asked_for_by_itself() {
    let mut reader = open(SessionConfig::default());
    assert!(reader.session().is_open());
    assert_eq!((reader.session().reconnection_time(), reader.session().failure()), (None, None));
    feed(&mut reader, SECOND, "retry: 1500\n\n");
    assert_eq!(reader.session().reconnection_time(), Some(1500));
    reader.session_mut().handle_end(SECOND);
    assert!(!reader.session().is_open());
    assert_eq!(
        (reader.session().failure(), reader.session().closed()),
        (Some(Failure::Ended), None)
    );
    reader.session_mut().close();
    assert_eq!(
        (reader.session().failure(), reader.session().closed()),
        (None, Some(Closed::ByCaller))
    );
}

#[test]
fn an_item_can_be_kept() {
    let mut reader = open(SessionConfig::default());
    let mut items = reader.handle_bytes(SECOND, b"data: x\n\n");
    let kept: Event<'static> = match items.next_item() {
        Some(Ok(Item::Event(event))) => event.into_owned(),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(kept, Event::new("x"));
}
