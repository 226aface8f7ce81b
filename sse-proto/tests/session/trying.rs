//! When a session asks again, and how long it waits before.

use std::time::Duration;

use sse_proto::{
    Backoff, Closed, Decision, Failure, Outcome, Policy, ResponseHead, Session, SessionConfig,
    Stage, State, Step,
};

use super::{EVENT, OK, SECOND, closed, connect, due, feed, open, status};

#[test]
fn what_may_pass_is_tried_again_and_the_rest_is_final() {
    let after = |policy, head: &ResponseHead<'_>| {
        let mut session = Session::new(SessionConfig::default().policy(policy), 1);
        connect(&mut session, SECOND);
        session.handle_response(SECOND, head);
        session.state()
    };
    for code in [408, 425, 429, 500, 502, 503, 504, 599] {
        let state = after(Policy::Resilient, &status(code));
        assert!(
            matches!(state, State::Waiting { failure, .. } if failure == Failure::Status(code)),
            "{code}: {state:?}"
        );
        assert_eq!(after(Policy::Strict, &status(code)), State::Closed(Closed::Status(code)));
    }
    for code in [100, 201, 206, 301, 304, 400, 401, 403, 404, 405, 410, 451] {
        assert_eq!(after(Policy::Resilient, &status(code)), State::Closed(Closed::Status(code)));
    }
    assert_eq!(after(Policy::Resilient, &status(204)), State::Closed(Closed::NoContent));
    for good in ["text/event-stream", "Text/Event-Stream;charset=latin1", " text/event-stream ; x"]
    {
        let head = ResponseHead { content_type: Some(good), ..OK };
        assert_eq!(after(Policy::Strict, &head), State::Open, "{good}");
    }
    for wrong in [None, Some("text/html"), Some("text/event-stream2"), Some("")] {
        let head = ResponseHead { content_type: wrong, ..OK };
        let expected = Closed::ContentType(wrong.map(str::to_owned));
        assert_eq!(after(Policy::Resilient, &head), State::Closed(expected));
    }
}

#[test]
fn retry_and_retry_after_are_floors_and_retry_zero_has_one() {
    let mut session = open(SessionConfig::default());
    feed(&mut session, SECOND, "retry: 20000\n");
    session.handle_end(SECOND);
    let until = due(&mut session, SECOND);
    assert!(until >= 21 * SECOND, "{until:?}");
    connect(&mut session, until);
    session.handle_response(until, &ResponseHead { retry_after: Some(60 * SECOND), ..status(503) });
    assert!(due(&mut session, until) >= until + 60 * SECOND);

    let mut session = open(SessionConfig::default());
    feed(&mut session, SECOND, "retry: 0\n");
    session.handle_end(SECOND);
    assert!(due(&mut session, SECOND) >= SECOND + Duration::from_millis(250));
}

#[test]
fn delays_grow_until_there_is_progress() {
    let growing = Backoff::default().initial(SECOND).max(1024 * SECOND);
    let mut session = open(SessionConfig::default().backoff(growing));
    let mut now = Duration::ZERO;
    let fail_after = |session: &mut Session, now: &mut Duration, body: &str| {
        feed(session, *now, body);
        session.handle_end(*now);
        let until = due(session, *now);
        let delay = until - *now;
        *now = until;
        connect(session, *now);
        session.handle_response(*now, &OK);
        delay
    };
    let opening = "event: stream-open\ndata:\n\n";
    let longest = (0..9).map(|_| fail_after(&mut session, &mut now, opening)).max();
    assert!(longest > Some(20 * SECOND), "a 200 and a stream-open are no progress: {longest:?}");
    let delay = fail_after(&mut session, &mut now, "event: keep-alive\ndata:\n\n");
    assert!(delay < 2 * SECOND, "{delay:?}");
}

#[test]
fn silence_and_a_missing_answer_are_noticed() {
    let mut session = open(SessionConfig::default());
    assert_eq!(session.poll(SECOND), Step::Read { until: Some(45 * SECOND) });
    feed(&mut session, 40 * SECOND, ":");
    assert_eq!(session.poll(45 * SECOND), Step::Read { until: Some(85 * SECOND) });
    let until = due(&mut session, 85 * SECOND);
    assert_eq!(session.state(), State::Waiting { until, failure: Failure::IdleTimeout });
    assert!(feed(&mut session, 85 * SECOND, "data: late\n\n").is_empty());
    connect(&mut session, until);
    assert_eq!(session.poll(until), Step::Read { until: Some(until + 30 * SECOND) });
    due(&mut session, until + 30 * SECOND);
    assert!(matches!(session.state(), State::Waiting { failure: Failure::ConnectTimeout, .. }));
}

#[test]
fn what_must_not_be_repeated_is_resumed_by_get_once_there_is_an_id() {
    let config = SessionConfig::default().policy(Policy::Resume);
    let mut session = open(config.clone());
    session.handle_end(SECOND);
    assert_eq!(closed(&mut session, SECOND), Closed::Ended, "nothing to resume from");

    let mut session = open(config);
    assert_eq!(feed(&mut session, SECOND, "id: e1\nretry: 5000\ndata: \n\n"), [""]);
    session.handle_end(SECOND);
    let until = due(&mut session, SECOND);
    assert!(until >= 6 * SECOND, "{until:?}");
    let Step::Connect(request) = session.poll(until) else { panic!("expected to connect") };
    assert_eq!((request.last_event_id, request.by_get), (Some("e1"), true));
    session.handle_response(until, &OK);
    session.handle_end(until);
    let again = due(&mut session, until);
    assert!(again >= until + 5 * SECOND, "the end of the stream means: poll again");
    connect(&mut session, again);
    session.handle_response(again, &status(404));
    assert_eq!(closed(&mut session, again), Closed::Status(404));
}

#[test]
fn the_caller_has_the_last_word_on_each_failure() {
    let decide = |outcome: &Outcome| match (outcome.stage, outcome.failure) {
        (_, Failure::Ended) => Decision::Stop,
        (Stage::Unsent, _) | (_, Failure::ContentType | Failure::Status(204 | 404)) => {
            Decision::Retry
        }
        _ => outcome.decision,
    };
    let config = SessionConfig::default().decide(decide);
    let after = |head: &ResponseHead<'_>| {
        let mut session = Session::new(config.clone(), 1);
        connect(&mut session, SECOND);
        session.handle_response(SECOND, head);
        session.state()
    };
    let html = ResponseHead { content_type: Some("text/html"), ..OK };
    for head in [status(404), status(204), html, status(503)] {
        assert!(matches!(after(&head), State::Waiting { .. }), "{head:?}");
    }
    assert_eq!(after(&status(403)), State::Closed(Closed::Status(403)));

    let mut session = open(config.clone());
    session.handle_end(SECOND);
    assert_eq!(closed(&mut session, SECOND), Closed::Ended);

    let mut session = Session::new(config.policy(Policy::Once).max_failures(Some(3)), 1);
    let mut now = SECOND;
    for _ in 0..2 {
        connect(&mut session, now);
        session.handle_unsent(now, Failure::Network);
        now = due(&mut session, now);
    }
    connect(&mut session, now);
    session.handle_unsent(now, Failure::Network);
    assert_eq!(closed(&mut session, now), Closed::GaveUp(Failure::Network), "limits hold");
}

#[test]
fn with_fresh_credentials_a_401_is_answered_with_one_more_request() {
    for policy in [Policy::Resilient, Policy::Strict, Policy::Once] {
        let config = SessionConfig::default().policy(policy).fresh_credentials(true);
        let mut session = Session::new(config, 1);
        connect(&mut session, SECOND);
        session.handle_response(SECOND, &status(401));
        let until = due(&mut session, SECOND);
        connect(&mut session, until);
        session.handle_response(until, &status(401));
        assert_eq!(closed(&mut session, until), Closed::Status(401));
    }
    let mut session = Session::new(SessionConfig::default().fresh_credentials(true), 1);
    let mut now = SECOND;
    for _ in 0..3 {
        connect(&mut session, now);
        session.handle_response(now, &status(401));
        now = due(&mut session, now);
        connect(&mut session, now);
        session.handle_response(now, &OK);
        session.handle_end(now);
        now = due(&mut session, now);
    }
}

#[test]
fn the_caller_can_cut_a_delay_short_but_not_make_a_tight_loop() {
    let mut session = Session::new(SessionConfig::default(), 1);
    connect(&mut session, SECOND);
    session
        .handle_response(SECOND, &ResponseHead { retry_after: Some(60 * SECOND), ..status(503) });
    assert!(due(&mut session, SECOND) >= 61 * SECOND);
    session.reconnect(SECOND);
    let floor = SECOND + Duration::from_millis(250);
    assert_eq!(due(&mut session, SECOND), floor, "since the last try");
    connect(&mut session, floor);
    session.handle_response(floor, &OK);
    feed(&mut session, floor, EVENT);

    session.reconnect(10 * SECOND);
    assert_eq!(connect(&mut session, 10 * SECOND).as_deref(), Some("1"), "at once, and resumed");
    session.reconnect(11 * SECOND);
    assert!(matches!(session.poll(11 * SECOND), Step::Read { .. }), "it is on its way already");
    session.close();
    session.reconnect(20 * SECOND);
    assert_eq!(closed(&mut session, 20 * SECOND), Closed::ByCaller);
}
