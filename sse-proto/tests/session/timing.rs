//! How long a session waits for what: connection, request, head, first event, the next byte.

use std::time::Duration;

use sse_proto::{Failure, Nanos, Policy, Reader, SessionConfig, State, Step};

use super::{EVENT, OK, SECOND, connect, due, feed, once, open};

const MINUTE: Nanos = 60 * SECOND;

/// Until when the session reads on, if nothing happens.
fn reading(reader: &mut Reader, now: Nanos) -> Nanos {
    assert_eq!(reader.session_mut().poll(now), Step::Read, "at {now}");
    reader.session().until()
}

/// The session gives this try up at this time, and not before.
fn gives_up(reader: &mut Reader, at: Nanos, why: Failure) {
    assert_eq!(reading(reader, at - 1), at);
    due(reader, at);
    let state = reader.session().state();
    assert!(matches!(state, State::Waiting { failure, .. } if failure == why), "{state:?}");
}

#[test]
fn with_all_defaults_a_silent_stream_is_not_dropped_for_minutes() {
    // As that of MCP's GET, or PocketBase's.
    let mut reader = open(SessionConfig::default());
    feed(&mut reader, SECOND, EVENT);
    assert_eq!(reading(&mut reader, SECOND + MINUTE), SECOND + 10 * MINUTE);
    assert_eq!(feed(&mut reader, 2 * MINUTE, EVENT), ["a"]);
    gives_up(&mut reader, 12 * MINUTE, Failure::IdleTimeout);
}

#[test]
fn with_all_defaults_heartbeats_of_55_seconds_lose_nothing() {
    // An event, as Home Connect has it, comments, and both after a greeting in two parts.
    for beat in ["event: KEEP-ALIVE\ndata:\n\n", ": alive\n\n", "event: keep-alive\ndata:\n\n"] {
        let mut reader = open(SessionConfig::default());
        feed(&mut reader, SECOND, ": welcome\n");
        feed(&mut reader, SECOND + 1, ": padding\n\n");
        for number in 1..50 {
            let now = number * 55 * SECOND;
            reading(&mut reader, now);
            feed(&mut reader, now, beat);
            reading(&mut reader, now + 5 * SECOND);
            if number % 7 == 0 {
                assert_eq!(feed(&mut reader, now + 5 * SECOND, EVENT), ["a"]);
            }
        }
    }
}

#[test]
fn a_server_that_keeps_its_streams_alive_is_missed_soon() {
    for beat in [":\n\n", "event: keep-alive\ndata:\n\n"] {
        let mut reader = open(SessionConfig::default());
        feed(&mut reader, SECOND, EVENT);
        let mut now = SECOND;
        for _ in 0..4 {
            now += 20 * SECOND;
            feed(&mut reader, now, beat);
        }
        assert_eq!(reading(&mut reader, now), now + 45 * SECOND);
        // Events between do not change what it has shown.
        feed(&mut reader, now, EVENT);
        gives_up(&mut reader, now + 45 * SECOND, Failure::IdleTimeout);

        // That it has stopped may be its way, not the connection's.
        now += 45 * SECOND;
        let until = due(&mut reader, now);
        connect(&mut reader, until);
        reader.session_mut().handle_response(until, &OK);
        feed(&mut reader, until, beat);
        assert_eq!(reading(&mut reader, until), until + 10 * MINUTE);
    }
}

#[test]
fn pieces_of_an_event_and_beats_between_events_show_nothing() {
    let mut reader = open(SessionConfig::default());
    let mut now = SECOND;
    for _ in 0..20 {
        now += SECOND / 10;
        feed(&mut reader, now, "data: a");
    }
    for _ in 0..20 {
        now += 10 * SECOND;
        feed(&mut reader, now, ":\n");
        now += 10 * SECOND;
        feed(&mut reader, now, EVENT);
    }
    assert_eq!(reading(&mut reader, now), now + 10 * MINUTE);
}

#[test]
fn with_all_defaults_a_model_may_think_for_minutes() {
    // Before the head, before the first event, and in the middle, with and without pings.
    for policy in [Policy::Once, Policy::Resume] {
        let mut reader = Reader::new(SessionConfig::default().policy(policy), 1);
        connect(&mut reader, 0);
        let mut now = 5 * MINUTE;
        reading(&mut reader, now);
        reader.session_mut().handle_response(now, &OK);
        feed(&mut reader, now, ": PROCESSING\n\n");
        now += 5 * MINUTE;
        reading(&mut reader, now);
        feed(&mut reader, now, EVENT);
        for _ in 0..5 {
            now += 15 * SECOND;
            feed(&mut reader, now, ": ping\n\n");
        }
        now += 5 * MINUTE;
        reading(&mut reader, now);
        assert_eq!(feed(&mut reader, now, EVENT), ["a"]);
    }
}

#[test]
fn a_head_that_never_comes_is_not_waited_for() {
    let mut reader = Reader::new(SessionConfig::default(), 1);
    connect(&mut reader, SECOND);
    gives_up(&mut reader, SECOND + 5 * MINUTE, Failure::ConnectTimeout);

    let config = SessionConfig::default().response_timeout(Duration::from_secs(7));
    let mut reader = Reader::new(config.connect_timeout(Duration::from_secs(3)), 1);
    connect(&mut reader, SECOND);
    gives_up(&mut reader, 8 * SECOND, Failure::ConnectTimeout);

    // The old name for both.
    let config = SessionConfig::default().connect_timeout(Duration::from_secs(3));
    assert_eq!(config.connection_limit(), Duration::from_secs(3));
    let mut reader = Reader::new(config, 1);
    connect(&mut reader, SECOND);
    gives_up(&mut reader, 4 * SECOND, Failure::ConnectTimeout);
}

#[test]
fn a_long_upload_is_no_late_answer() {
    let config = SessionConfig::default().response_timeout(Duration::from_secs(30));
    let mut reader = Reader::new(config.clone(), 1);
    connect(&mut reader, 0);
    for second in 0..100 {
        reading(&mut reader, second * SECOND);
        reader.session_mut().handle_sending(second * SECOND);
    }
    reader.session_mut().handle_sent(100 * SECOND);
    reading(&mut reader, 129 * SECOND);
    reader.session_mut().handle_response(129 * SECOND, &OK);
    assert_eq!(reader.session().state(), State::Open);

    let mut reader = Reader::new(config.send_timeout(Duration::from_secs(5)), 1);
    connect(&mut reader, 0);
    reader.session_mut().handle_sending(SECOND);
    gives_up(&mut reader, 6 * SECOND, Failure::SendTimeout);
    reader.session_mut().handle_sent(6 * SECOND);
    assert!(matches!(reader.session().state(), State::Waiting { .. }), "too late");
}

#[test]
fn the_first_event_has_a_limit_of_its_own() {
    let config = once().idle_timeout(Some(Duration::from_secs(20)));
    let mut reader = open(config.first_event_timeout(Some(Duration::from_secs(90))));
    assert_eq!(reading(&mut reader, 0), 90 * SECOND);
    feed(&mut reader, 60 * SECOND, ":\n");
    assert_eq!(reading(&mut reader, 60 * SECOND), 150 * SECOND);
    feed(&mut reader, 61 * SECOND, EVENT);
    reader.session_mut().handle_read(61 * SECOND);
    assert_eq!(reading(&mut reader, 61 * SECOND), 81 * SECOND);

    let mut reader = open(SessionConfig::default().idle_timeout(None));
    assert_eq!(reading(&mut reader, 0), Nanos::MAX);
}
