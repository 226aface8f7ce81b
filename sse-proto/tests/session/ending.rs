//! What ends a session for good, and what it then says.

use std::time::Duration;

use sse_proto::{Closed, Failure, Policy, Reader, SessionConfig, State, Terminator};

use super::{EVENT, OK, SECOND, closed, connect, due, feed, once, open, status};

#[test]
fn a_stream_error_is_final_and_nothing_after_it_is_delivered() {
    let mut reader = open(SessionConfig::default());
    let body = "data: x\n\nevent: stream-error\nid: error\n\
                data: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\ndata: y\n\n";
    assert_eq!(feed(&mut reader, SECOND, body), ["x"]);
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::StreamError);
    let error = reader.stream_error().expect("it is told");
    assert_eq!((error.condition.as_str(), error.text.as_str()), ("forbidden", "no"));
}

#[test]
fn close_is_final() {
    let mut reader = open(SessionConfig::default());
    reader.session_mut().close();
    assert!(feed(&mut reader, SECOND, "data: x\n\n").is_empty());
    reader.session_mut().handle_end(SECOND);
    reader.session_mut().handle_response(SECOND, &OK);
    assert_eq!(closed(&mut reader, 1000 * SECOND), Closed::ByCaller);
}

#[test]
fn giving_up_names_the_last_failure() {
    let mut reader = Reader::new(SessionConfig::default().max_failures(Some(2)), 1);
    connect(&mut reader, SECOND);
    reader.session_mut().handle_error(SECOND);
    let until = due(&mut reader, SECOND);
    connect(&mut reader, until);
    reader.session_mut().handle_response(until, &status(503));
    assert_eq!(closed(&mut reader, until), Closed::GaveUp(Failure::Status(503)));
}

#[test]
fn once_asks_once_whatever_comes_of_it() {
    let mut reader = open(once());
    assert_eq!(feed(&mut reader, SECOND, EVENT), ["a"]);
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Ended), "its normal end");
    assert!(Closed::Failed(Failure::Ended).is_normal());

    let mut reader = open(once());
    reader.session_mut().handle_error(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Network));

    let mut reader = open(once());
    assert_eq!(closed(&mut reader, 600 * SECOND), Closed::Failed(Failure::IdleTimeout));

    for code in [408, 429, 500, 503] {
        let mut reader = Reader::new(once(), 1);
        connect(&mut reader, SECOND);
        reader.session_mut().handle_response(SECOND, &status(code));
        assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Status(code)));
    }
    let mut reader = Reader::new(once(), 1);
    connect(&mut reader, SECOND);
    reader.session_mut().handle_unsent(SECOND, Failure::Network);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Network));

    let mut reader = open(once());
    reader.session_mut().reconnect(1000 * SECOND);
    assert_eq!(reader.session().state(), State::Open, "there is no other request to make");
}

#[test]
fn a_default_policy_gives_way_to_one_that_is_chosen() {
    let ends = |config: SessionConfig| {
        let mut reader = open(config);
        reader.session_mut().handle_end(SECOND);
        matches!(reader.session().state(), State::Closed(_))
    };
    let config = SessionConfig::default().default_policy(Policy::Once);
    assert!(ends(config.clone()));
    assert!(!ends(config.policy(Policy::Resilient)));
}

#[test]
fn a_terminator_ends_the_session_for_good() {
    let body = "data: a\n\ndata: [DONE]\n\ndata: b\n\n";
    for policy in [Policy::Resilient, Policy::Once] {
        let config = SessionConfig::default().policy(policy).until("[DONE]");
        let mut reader = open(config);
        assert_eq!(feed(&mut reader, SECOND, "data: [DONE] \n\ndata: [DONE]x\n\n").len(), 2);
        assert_eq!(feed(&mut reader, SECOND, body), ["a"]);
        reader.session_mut().handle_end(SECOND);
        assert_eq!(closed(&mut reader, SECOND), Closed::Complete);
    }
    let last = Terminator::EventType("stop".to_owned());
    let mut reader = open(SessionConfig::default().must_end_with(last));
    let body = "data: a\n\nevent: stop\ndata: z\n\ndata: b\n\n";
    assert_eq!(feed(&mut reader, SECOND, body), ["a", "z"], "the last one is delivered");
    assert_eq!(closed(&mut reader, SECOND), Closed::Complete);
}

#[test]
fn any_of_several_terminators_ends_the_session() {
    let types = ["response.completed", "response.incomplete", "response.failed"];
    let config = types.into_iter().fold(once().must_end_with("[DONE]"), |config, name| {
        config.must_end_with(Terminator::EventType(name.to_owned()))
    });
    for (body, delivered) in [
        ("data: a\n\ndata: [DONE]\n\ndata: b\n\n", &["a"][..]),
        ("event: response.incomplete\ndata: c\n\ndata: b\n\n", &["c"]),
        ("event: response.failed\ndata: [DONE]\n\n", &[]),
    ] {
        let mut reader = open(config.clone());
        assert_eq!(feed(&mut reader, SECOND, body), delivered);
        assert_eq!(closed(&mut reader, SECOND), Closed::Complete);
    }
    let mut reader = open(config);
    feed(&mut reader, SECOND, "event: response.created\ndata: {}\n\n");
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Incomplete));
}

#[test]
fn a_response_that_is_read_as_a_whole_completes_the_session() {
    let mut reader = open(SessionConfig::default());
    reader.session_mut().complete();
    assert_eq!(closed(&mut reader, SECOND), Closed::Complete);
    let mut reader = Reader::new(SessionConfig::default(), 1);
    reader.session_mut().complete();
    assert_eq!(reader.session().state(), State::Connecting, "there is no response yet");
}

#[test]
fn an_end_without_the_terminator_is_a_failure_if_it_must_be_there() {
    let mut reader = open(once().until("[DONE]"));
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Ended));

    let mut reader = open(once().must_end_with("[DONE]"));
    reader.session_mut().handle_end(SECOND);
    let reason = closed(&mut reader, SECOND);
    assert_eq!(reason, Closed::Failed(Failure::Incomplete));
    assert!(!reason.is_normal());
}

#[test]
fn error_events_are_told_apart_and_are_no_progress() {
    let config = SessionConfig::default().error_events(["error"]).max_failures(Some(3));
    let mut reader = open(config);
    let mut now = SECOND;
    for _ in 0..2 {
        assert_eq!(feed(&mut reader, now, "event: error\ndata: busy\n\n"), ["error busy"]);
        reader.session_mut().handle_end(now);
        now = due(&mut reader, now);
        connect(&mut reader, now);
        reader.session_mut().handle_response(now, &OK);
    }
    assert_eq!(feed(&mut reader, now, "event: error\ndata: busy\n\n"), ["error busy"]);
    reader.session_mut().handle_end(now);
    assert_eq!(closed(&mut reader, now), Closed::GaveUp(Failure::Ended));
}

#[test]
fn giving_up_can_be_a_matter_of_time() {
    let config = SessionConfig::default().give_up_after(Some(Duration::from_secs(100)));
    let mut reader = open(config);
    let mut now = 1000 * SECOND;
    feed(&mut reader, now, EVENT);
    let first = now;
    let mut tries = 0;
    reader.session_mut().handle_end(now);
    while let State::Waiting { until, .. } = reader.session().state() {
        assert!(until <= first + 100 * SECOND);
        now = until;
        connect(&mut reader, now);
        reader.session_mut().handle_error(now);
        tries += 1;
    }
    assert!(tries > 1);
    assert_eq!(closed(&mut reader, now), Closed::GaveUp(Failure::Network));
}
