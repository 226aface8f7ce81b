//! When a session asks again, and how long it waits before.

use std::time::Duration;

use sse_proto::{
    Backoff, Closed, Decision, Failure, Nanos, Outcome, Policy, Reader, ResponseHead,
    SessionConfig, Stage, State, Step,
};

use super::{EVENT, OK, SECOND, closed, connect, due, feed, open, status};

#[test]
fn what_may_pass_is_tried_again_and_the_rest_is_final() {
    let after = |policy, head: &ResponseHead<'_>| {
        let mut reader = Reader::new(SessionConfig::default().policy(policy), 1);
        connect(&mut reader, SECOND);
        reader.session_mut().handle_response(SECOND, head);
        reader.session().state()
    };
    for code in [408, 425, 429, 500, 502, 503, 504, 599] {
        let state = after(Policy::Resilient, &status(code));
        assert!(
            matches!(state, State::Waiting { failure, .. } if failure == Failure::Status(code)),
            "{code}: {state:?}"
        );
        assert_eq!(
            after(Policy::Strict, &status(code)),
            State::Closed(Closed::Failed(Failure::Status(code)))
        );
    }
    for code in [100, 201, 206, 301, 304, 400, 401, 403, 404, 405, 410, 451] {
        assert_eq!(
            after(Policy::Resilient, &status(code)),
            State::Closed(Closed::Failed(Failure::Status(code)))
        );
    }
    assert_eq!(
        after(Policy::Resilient, &status(204)),
        State::Closed(Closed::Failed(Failure::Status(204)))
    );
    // "Extract a MIME type" (WHATWG Fetch): the last value that is one counts.
    for good in [
        "text/event-stream",
        "Text/Event-Stream;charset=latin1",
        " text/event-stream ; x",
        "text/event-stream, text/event-stream",
        "application/json, text/event-stream; charset=utf-8",
        "text/event-stream, */*",
        "text/event-stream,, no type, /, text/",
        "text/html;x=\", text/html\", text/event-stream",
        "text/event-stream;x=\"a\\\", text/html\"",
    ] {
        let head = ResponseHead { content_type: Some(good.as_bytes()), ..OK };
        assert_eq!(after(Policy::Strict, &head), State::Open, "{good}");
    }
    for wrong in [
        None,
        Some("text/html"),
        Some("text/event-stream2"),
        Some(""),
        Some("text/event-stream, text/html"),
        Some("text/html;x=\", text/event-stream"),
        Some("text/event stream"),
        Some("*/*"),
    ] {
        let head = ResponseHead { content_type: wrong.map(str::as_bytes), ..OK };
        let expected = Closed::Failed(Failure::ContentType);
        assert_eq!(after(Policy::Resilient, &head), State::Closed(expected));
    }
}

#[test]
fn retry_and_retry_after_are_floors_and_retry_zero_has_one() {
    let mut reader = open(SessionConfig::default());
    feed(&mut reader, SECOND, "retry: 20000\n");
    reader.session_mut().handle_end(SECOND);
    let until = due(&mut reader, SECOND);
    assert!(until >= 21 * SECOND, "{until:?}");
    connect(&mut reader, until);
    reader
        .session_mut()
        .handle_response(until, &ResponseHead { retry_after: Some(60 * SECOND), ..status(503) });
    assert!(due(&mut reader, until) >= until + 60 * SECOND);

    let mut reader = open(SessionConfig::default());
    feed(&mut reader, SECOND, "retry: 0\n");
    reader.session_mut().handle_end(SECOND);
    assert!(due(&mut reader, SECOND) >= SECOND + SECOND / 4);
}

#[test]
fn a_strict_session_keeps_to_the_reconnection_time() {
    for seed in 0..50 {
        let config = SessionConfig::default().policy(Policy::Strict);
        let mut reader = Reader::new(config, seed);
        let mut now = SECOND;
        connect(&mut reader, now);
        for _ in 0..4 {
            reader.session_mut().handle_response(now, &OK);
            feed(&mut reader, now, "retry: 3000\n");
            reader.session_mut().handle_end(now);
            let delay = due(&mut reader, now) - now;
            assert!((3 * SECOND..=36 * SECOND / 10).contains(&delay), "{delay}");
            now += delay;
            connect(&mut reader, now);
        }
        // Then it is asked less and less often all the same, as the standard allows.
        let mut longest = 0;
        for _ in 0..20 {
            reader.session_mut().handle_error(now);
            longest = longest.max(due(&mut reader, now) - now);
            now += longest;
            connect(&mut reader, now);
        }
        assert!(longest > 4 * SECOND, "{longest}");
    }
}

#[test]
fn a_driver_may_learn_late_that_a_request_is_to_be_made_once() {
    let begun = |config: SessionConfig| {
        let mut reader = Reader::new(config, 1);
        connect(&mut reader, SECOND);
        reader.session_mut().set_default_policy(Policy::Once);
        reader
    };
    let mut reader = begun(SessionConfig::default());
    assert_eq!(reader.session().until(), 601 * SECOND, "as long as what is made once");
    reader.session_mut().handle_response(SECOND, &OK);
    reader.session_mut().reconnect(SECOND);
    assert!(reader.session().is_open(), "there is no other request");
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Ended));

    let mut reader = begun(SessionConfig::default().policy(Policy::Strict));
    reader.session_mut().handle_error(SECOND);
    due(&mut reader, SECOND);
    assert_eq!(
        begun(SessionConfig::default().response_timeout(Duration::from_secs(7))).session().until(),
        8 * SECOND
    );
}

#[test]
fn a_409_may_pass_once_a_stream_was_open() {
    let refused = |reader: &mut Reader, now| {
        reader.session_mut().handle_response(now, &status(409));
        reader.session().state()
    };
    let mut reader = Reader::new(SessionConfig::default(), 1);
    connect(&mut reader, SECOND);
    let expected = State::Closed(Closed::Failed(Failure::Status(409)));
    assert_eq!(refused(&mut reader, SECOND), expected, "it is not ours that is held");

    for (policy, passes) in
        [(Policy::Resilient, true), (Policy::Resume, true), (Policy::Strict, false)]
    {
        let mut reader = open(SessionConfig::default().policy(policy));
        feed(&mut reader, SECOND, EVENT);
        reader.session_mut().handle_error(SECOND);
        let until = due(&mut reader, SECOND);
        connect(&mut reader, until);
        let state = refused(&mut reader, until);
        assert_eq!(matches!(state, State::Waiting { .. }), passes, "{policy:?}: {state:?}");
    }
}

#[test]
fn what_would_fail_again_is_final() {
    let config = SessionConfig::default();
    for failure in [Failure::Local, Failure::ContentCoding] {
        let mut reader = Reader::new(config.clone(), 1);
        connect(&mut reader, SECOND);
        match failure {
            Failure::Local => reader.session_mut().handle_unsent(SECOND, failure),
            _ => reader.session_mut().handle_unreadable(SECOND, failure),
        }
        assert_eq!(closed(&mut reader, SECOND), Closed::Failed(failure));
    }
}

#[test]
fn a_response_that_turns_out_to_be_unreadable_is_final() {
    for policy in [Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume] {
        let mut reader = open(SessionConfig::default().policy(policy));
        reader.session_mut().handle_unreadable(SECOND, Failure::ContentType);
        assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::ContentType));
    }
}

#[test]
fn delays_grow_until_there_is_progress() {
    let growing = Backoff::default().initial(Duration::from_secs(1)).max(Duration::from_secs(1024));
    let mut reader = open(SessionConfig::default().backoff(growing));
    let mut now = 0;
    let fail_after = |reader: &mut Reader, now: &mut Nanos, body: &str| {
        feed(reader, *now, body);
        reader.session_mut().handle_end(*now);
        let until = due(reader, *now);
        let delay = until - *now;
        *now = until;
        connect(reader, *now);
        reader.session_mut().handle_response(*now, &OK);
        delay
    };
    let opening = "event: stream-open\ndata:\n\n";
    let longest = (0..9).map(|_| fail_after(&mut reader, &mut now, opening)).max();
    assert!(longest > Some(20 * SECOND), "a 200 and a stream-open are no progress: {longest:?}");
    let delay = fail_after(&mut reader, &mut now, "event: keep-alive\ndata:\n\n");
    assert!(delay < 2 * SECOND, "{delay:?}");
}

#[test]
fn what_must_not_be_repeated_is_resumed_by_get_once_there_is_an_id() {
    let config = SessionConfig::default().policy(Policy::Resume);
    let mut reader = open(config.clone());
    reader.session_mut().handle_end(SECOND);
    assert_eq!(
        closed(&mut reader, SECOND),
        Closed::Failed(Failure::Ended),
        "nothing to resume from"
    );

    let mut reader = open(config);
    assert_eq!(feed(&mut reader, SECOND, "id: e1\nretry: 5000\ndata: \n\n"), [""]);
    reader.session_mut().handle_end(SECOND);
    let until = due(&mut reader, SECOND);
    assert!(until >= 6 * SECOND, "{until:?}");
    let Step::Connect(request) = reader.session_mut().poll(until) else {
        panic!("expected to connect")
    };
    assert_eq!((request.sends_id, request.by_get), (true, true));
    assert_eq!(reader.last_event_id(), Some("e1"));
    reader.session_mut().handle_response(until, &OK);
    reader.session_mut().handle_end(until);
    let again = due(&mut reader, until);
    assert!(again >= until + 5 * SECOND, "the end of the stream means: poll again");
    connect(&mut reader, again);
    reader.session_mut().handle_response(again, &status(404));
    assert_eq!(closed(&mut reader, again), Closed::Failed(Failure::Status(404)));
}

/// A browser follows twenty redirects, and tells only that the request has failed.
#[test]
fn a_request_that_was_sent_and_not_answered_is_repeated_after_half_the_time_at_least() {
    let eight = Duration::from_secs(8);
    let backoff = Backoff::default().initial(eight).max(eight);
    let delays = |was_sent| {
        let delay = |seed| {
            let mut reader = Reader::new(SessionConfig::default().backoff(backoff.clone()), seed);
            connect(&mut reader, 0);
            if was_sent {
                reader.session_mut().handle_error(0);
            } else {
                reader.session_mut().handle_unsent(0, Failure::Network);
            }
            due(&mut reader, 0)
        };
        (0..100).map(delay).collect::<Vec<_>>()
    };
    assert!(delays(true).iter().all(|delay| *delay >= 4 * SECOND));
    assert!(delays(false).iter().any(|delay| *delay < 4 * SECOND));
}

#[test]
fn other_policies_repeat_the_request_as_it_is() {
    for policy in [Policy::Resilient, Policy::Strict] {
        let mut reader = open(SessionConfig::default().policy(policy));
        assert_eq!(feed(&mut reader, SECOND, "id: e1\ndata: \n\n"), [""]);
        reader.session_mut().handle_end(SECOND);
        let again = due(&mut reader, SECOND);
        let Step::Connect(request) = reader.session_mut().poll(again) else {
            panic!("expected to connect")
        };
        assert_eq!((request.sends_id, request.by_get), (true, false), "{policy:?}");
    }
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
        let mut reader = Reader::new(config.clone(), 1);
        connect(&mut reader, SECOND);
        reader.session_mut().handle_response(SECOND, head);
        reader.session().state()
    };
    let html = ResponseHead { content_type: Some(b"text/html"), ..OK };
    for head in [status(404), status(204), html, status(503)] {
        assert!(matches!(after(&head), State::Waiting { .. }), "{head:?}");
    }
    assert_eq!(after(&status(403)), State::Closed(Closed::Failed(Failure::Status(403))));

    let mut reader = open(config.clone());
    reader.session_mut().handle_end(SECOND);
    assert_eq!(closed(&mut reader, SECOND), Closed::Failed(Failure::Ended));

    let mut reader = Reader::new(config.policy(Policy::Once).max_failures(Some(3)), 1);
    let mut now = SECOND;
    for _ in 0..2 {
        connect(&mut reader, now);
        reader.session_mut().handle_unsent(now, Failure::Network);
        now = due(&mut reader, now);
    }
    connect(&mut reader, now);
    reader.session_mut().handle_unsent(now, Failure::Network);
    assert_eq!(closed(&mut reader, now), Closed::GaveUp(Failure::Network), "limits hold");
}

#[test]
fn with_fresh_credentials_a_401_is_answered_with_one_more_request() {
    for policy in [Policy::Resilient, Policy::Strict, Policy::Once] {
        let config = SessionConfig::default().policy(policy).fresh_credentials(true);
        let mut reader = Reader::new(config, 1);
        connect(&mut reader, SECOND);
        reader.session_mut().handle_response(SECOND, &status(401));
        let until = due(&mut reader, SECOND);
        connect(&mut reader, until);
        reader.session_mut().handle_response(until, &status(401));
        assert_eq!(closed(&mut reader, until), Closed::Failed(Failure::Status(401)));
    }
    let mut reader = Reader::new(SessionConfig::default().fresh_credentials(true), 1);
    let mut now = SECOND;
    for _ in 0..3 {
        connect(&mut reader, now);
        reader.session_mut().handle_response(now, &status(401));
        now = due(&mut reader, now);
        connect(&mut reader, now);
        reader.session_mut().handle_response(now, &OK);
        reader.session_mut().handle_end(now);
        now = due(&mut reader, now);
    }
}

#[test]
fn the_caller_can_cut_a_delay_short_but_not_make_a_tight_loop() {
    let mut reader = Reader::new(SessionConfig::default(), 1);
    connect(&mut reader, SECOND);
    reader
        .session_mut()
        .handle_response(SECOND, &ResponseHead { retry_after: Some(60 * SECOND), ..status(503) });
    assert!(due(&mut reader, SECOND) >= 61 * SECOND);
    reader.session_mut().reconnect(SECOND);
    let floor = SECOND + SECOND / 4;
    assert_eq!(due(&mut reader, SECOND), floor, "since the last try");
    connect(&mut reader, floor);
    reader.session_mut().handle_response(floor, &OK);
    feed(&mut reader, floor, EVENT);

    reader.session_mut().reconnect(10 * SECOND);
    assert_eq!(connect(&mut reader, 10 * SECOND).as_deref(), Some("1"), "at once, and resumed");
    reader.session_mut().reconnect(11 * SECOND);
    assert!(
        matches!(reader.session_mut().poll(11 * SECOND), Step::Read),
        "it is on its way already"
    );
    reader.session_mut().close();
    reader.session_mut().reconnect(20 * SECOND);
    assert_eq!(closed(&mut reader, 20 * SECOND), Closed::ByCaller);
}
