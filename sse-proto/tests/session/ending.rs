//! What ends a session for good, and what it then says.

use sse_proto::{Closed, Failure, Policy, Session, SessionConfig, State, Terminator};

use super::{EVENT, OK, SECOND, closed, connect, due, feed, once, open, status};

#[test]
fn a_stream_error_is_final_and_nothing_after_it_is_delivered() {
    let mut session = open(SessionConfig::default());
    let body = "data: x\n\nevent: stream-error\nid: error\n\
                data: {\"condition\": \"forbidden\", \"text\": \"no\"}\n\ndata: y\n\n";
    assert_eq!(feed(&mut session, SECOND, body), ["x"]);
    session.handle_end(SECOND);
    let Closed::StreamError(error) = closed(&mut session, SECOND) else { panic!("stream-error") };
    assert_eq!((error.condition.as_str(), error.text.as_str()), ("forbidden", "no"));
}

#[test]
fn close_is_final() {
    let mut session = open(SessionConfig::default());
    session.close();
    assert!(feed(&mut session, SECOND, "data: x\n\n").is_empty());
    session.handle_end(SECOND);
    session.handle_response(SECOND, &OK);
    assert_eq!(closed(&mut session, 1000 * SECOND), Closed::ByCaller);
}

#[test]
fn giving_up_names_the_last_failure() {
    let mut session = Session::new(SessionConfig::default().max_failures(Some(2)), 1);
    connect(&mut session, SECOND);
    session.handle_error(SECOND);
    let until = due(&mut session, SECOND);
    connect(&mut session, until);
    session.handle_response(until, &status(503));
    assert_eq!(closed(&mut session, until), Closed::GaveUp(Failure::Status(503)));
}

#[test]
fn once_asks_once_whatever_comes_of_it() {
    let mut session = open(once());
    assert_eq!(feed(&mut session, SECOND, EVENT), ["a"]);
    session.handle_end(SECOND);
    assert_eq!(closed(&mut session, SECOND), Closed::Ended, "its normal end");
    assert!(Closed::Ended.is_normal());

    let mut session = open(once());
    session.handle_error(SECOND);
    assert_eq!(closed(&mut session, SECOND), Closed::GaveUp(Failure::Network));

    let mut session = open(once());
    assert_eq!(closed(&mut session, 45 * SECOND), Closed::GaveUp(Failure::IdleTimeout));

    for code in [408, 429, 500, 503] {
        let mut session = Session::new(once(), 1);
        connect(&mut session, SECOND);
        session.handle_response(SECOND, &status(code));
        assert_eq!(closed(&mut session, SECOND), Closed::Status(code));
    }
    let mut session = Session::new(once(), 1);
    connect(&mut session, SECOND);
    session.handle_unsent(SECOND, Failure::Network);
    assert_eq!(closed(&mut session, SECOND), Closed::GaveUp(Failure::Network));

    let mut session = open(once());
    session.reconnect(1000 * SECOND);
    assert_eq!(session.state(), State::Open, "there is no other request to make");
}

#[test]
fn a_default_policy_gives_way_to_one_that_is_chosen() {
    let ends = |config: SessionConfig| {
        let mut session = open(config);
        session.handle_end(SECOND);
        matches!(session.state(), State::Closed(_))
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
        let mut session = open(config);
        assert_eq!(feed(&mut session, SECOND, "data: [DONE] \n\ndata: [DONE]x\n\n").len(), 2);
        assert_eq!(feed(&mut session, SECOND, body), ["a"]);
        session.handle_end(SECOND);
        assert_eq!(closed(&mut session, SECOND), Closed::Complete);
    }
    let last = Terminator::EventType("stop".to_owned());
    let mut session = open(SessionConfig::default().must_end_with(last));
    let body = "data: a\n\nevent: stop\ndata: z\n\ndata: b\n\n";
    assert_eq!(feed(&mut session, SECOND, body), ["a", "z"], "the last one is delivered");
    assert_eq!(closed(&mut session, SECOND), Closed::Complete);
}

#[test]
fn an_end_without_the_terminator_is_a_failure_if_it_must_be_there() {
    let mut session = open(once().until("[DONE]"));
    session.handle_end(SECOND);
    assert_eq!(closed(&mut session, SECOND), Closed::Ended);

    let mut session = open(once().must_end_with("[DONE]"));
    session.handle_end(SECOND);
    let reason = closed(&mut session, SECOND);
    assert_eq!(reason, Closed::GaveUp(Failure::Incomplete));
    assert!(!reason.is_normal());
}

#[test]
fn error_events_are_told_apart_and_are_no_progress() {
    let config = SessionConfig::default().error_events(["error"]).max_failures(Some(3));
    let mut session = open(config);
    let mut now = SECOND;
    for _ in 0..2 {
        assert_eq!(feed(&mut session, now, "event: error\ndata: busy\n\n"), ["error busy"]);
        session.handle_end(now);
        now = due(&mut session, now);
        connect(&mut session, now);
        session.handle_response(now, &OK);
    }
    assert_eq!(feed(&mut session, now, "event: error\ndata: busy\n\n"), ["error busy"]);
    session.handle_end(now);
    assert_eq!(closed(&mut session, now), Closed::GaveUp(Failure::Ended));
}

#[test]
fn giving_up_can_be_a_matter_of_time() {
    let config = SessionConfig::default().give_up_after(Some(100 * SECOND));
    let mut session = open(config);
    let mut now = 1000 * SECOND;
    feed(&mut session, now, EVENT);
    let first = now;
    let mut tries = 0;
    session.handle_end(now);
    while let State::Waiting { until, .. } = session.state() {
        assert!(until <= first + 100 * SECOND);
        now = until;
        connect(&mut session, now);
        session.handle_error(now);
        tries += 1;
    }
    assert!(tries > 1);
    assert_eq!(closed(&mut session, now), Closed::GaveUp(Failure::Network));
}
