//! A session is driven in simulated time: no sockets, no clock, no waiting.
#![allow(clippy::unchecked_time_subtraction, reason = "simulated time does not run backwards")]

use std::time::Duration;

use proptest::prelude::*;
use sse_proto::{
    Backoff, Closed, Decision, Event, Failure, Item, Outcome, Policy, ResponseHead, Session,
    SessionConfig, Stage, State, Step, Terminator,
};

const SECOND: Duration = Duration::from_secs(1);
const OK: ResponseHead<'_> =
    ResponseHead { status: 200, content_type: Some("text/event-stream"), retry_after: None };

fn status(status: u16) -> ResponseHead<'static> {
    ResponseHead { status, ..OK }
}

/// What the driver would deliver, as text: an event's data, or `reset a,b`.
fn feed(session: &mut Session, now: Duration, bytes: &str) -> Vec<String> {
    let mut items = session.handle_bytes(now, bytes.as_bytes());
    let mut delivered = Vec::new();
    while let Some(item) = items.next_item() {
        delivered.push(match item.expect("within the limits") {
            Item::Event(event) => event.data().to_owned(),
            Item::Reset { channels } => format!("reset {}", channels.join(",")),
            Item::Error(event) => format!("error {}", event.data()),
            other => panic!("unexpected {other:?}"),
        });
    }
    delivered
}

fn connect(session: &mut Session, now: Duration) -> Option<String> {
    match session.poll(now) {
        Step::Connect(request) => request.last_event_id.map(str::to_owned),
        step => panic!("expected to connect, got {step:?}"),
    }
}

fn open(config: SessionConfig) -> Session {
    let mut session = Session::new(config, 1);
    assert_eq!(connect(&mut session, Duration::ZERO), None);
    session.handle_response(Duration::ZERO, &OK);
    assert_eq!(session.state(), State::Open);
    session
}

/// When the next try is due; the session must be waiting.
fn due(session: &mut Session, now: Duration) -> Duration {
    match session.poll(now) {
        Step::Sleep { until } => until,
        step => panic!("expected to sleep, got {step:?}"),
    }
}

fn closed(session: &mut Session, now: Duration) -> Closed {
    match session.poll(now) {
        Step::Stop(closed) => closed.clone(),
        step => panic!("expected to stop, got {step:?}"),
    }
}

#[test]
fn the_end_of_the_stream_leads_to_a_request_that_resumes_it() {
    let mut session = open(SessionConfig::default());
    assert_eq!(feed(&mut session, SECOND, "id: 7\ndata: a\n\nid: 8\ndata: unfinished"), ["a"]);
    session.handle_end(SECOND);
    let until = due(&mut session, SECOND);
    assert!(until > SECOND);
    assert_eq!(session.state(), State::Waiting { until, failure: Failure::Ended });
    assert_eq!(due(&mut session, until - Duration::from_nanos(1)), until);
    assert_eq!(connect(&mut session, until).as_deref(), Some("7"), "8 was never committed");
    session.handle_response(until, &OK);
    assert_eq!(feed(&mut session, until, "\ndata: b\n\n"), ["b"], "nothing is left of before");
    assert_eq!(session.last_event_id(), Some("7"), "a stream without ids does not lose it");
}

#[test]
fn an_empty_id_is_never_sent_and_a_stored_one_is() {
    let mut session = open(SessionConfig::default());
    feed(&mut session, SECOND, "id: 1\ndata\n\nid\ndata\n\n");
    session.handle_error(SECOND);
    let until = due(&mut session, SECOND);
    assert_eq!(connect(&mut session, until), None);

    let mut session = Session::new(SessionConfig::default(), 1);
    session.set_last_event_id(Some("é:5".to_owned()));
    assert_eq!(connect(&mut session, SECOND).as_deref(), Some("é:5"));
}

#[test]
fn an_id_that_http_cannot_carry_is_withheld_and_reported() {
    for id in ["a\u{1}b", "a\nb", "\u{7f}", "a\tb", " a", "a "] {
        let mut session = Session::new(SessionConfig::default(), 1);
        session.set_last_event_id(Some(id.to_owned()));
        let Step::Connect(request) = session.poll(SECOND) else { panic!("expected to connect") };
        assert_eq!((request.last_event_id, request.id_withheld), (None, true), "{id:?}");
    }
}

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
fn a_reset_is_an_item_of_its_own_and_moves_the_position() {
    let mut session = open(SessionConfig::default());
    let reset = "event: stream-reset\nid: a:3,b:0\ndata: {\"channels\": [\"a\"]}\n\ndata: x\n\n";
    assert_eq!(feed(&mut session, SECOND, reset), ["reset a", "x"]);
    assert_eq!(session.last_event_id(), Some("a:3,b:0"));
}

#[test]
fn control_events_are_swallowed_unless_asked_for() {
    let body = "event: stream-open\ndata:\n\nevent: keep-alive\ndata:\n\ndata: x\n\n";
    assert_eq!(feed(&mut open(SessionConfig::default()), SECOND, body), ["x"]);
    let config = SessionConfig::default().control_events(true);
    assert_eq!(feed(&mut open(config), SECOND, body), ["", "", "x"]);
}

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
fn the_id_of_a_stream_error_is_no_place_to_resume_from() {
    for before in ["id: 5\ndata: x\n\n", "id: 4\ndata: x\n\nid: 5\n\n"] {
        let mut session = open(SessionConfig::default());
        let body = format!("{before}event: stream-error\nid: error\ndata: {{}}\n\n");
        feed(&mut session, SECOND, &body);
        assert_eq!(session.last_event_id(), Some("5"));
    }
    let mut session = open(SessionConfig::default());
    feed(&mut session, SECOND, "id: 5\ndata: x\n\nevent: stream-error\ndata: {}\n\n");
    assert_eq!(session.last_event_id(), Some("5"), "one without an id changes none");
}

#[test]
fn what_a_session_knows_can_be_asked_for_by_itself() {
    let mut session = open(SessionConfig::default());
    assert!(session.is_open());
    assert_eq!((session.reconnection_time(), session.failure()), (None, None));
    feed(&mut session, SECOND, "retry: 1500\n\n");
    assert_eq!(session.reconnection_time(), Some(Duration::from_millis(1500)));
    session.handle_end(SECOND);
    assert!(!session.is_open());
    assert_eq!((session.failure(), session.closed()), (Some(Failure::Ended), None));
    session.close();
    assert_eq!((session.failure(), session.closed()), (None, Some(&Closed::ByCaller)));
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

const EVENT: &str = "id: 1\ndata: a\n\n";

fn once() -> SessionConfig {
    SessionConfig::default().policy(Policy::Once)
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

#[derive(Clone, Debug)]
enum Happening {
    Response(u16, Option<u64>),
    Bytes(String),
    End,
    Error,
    Pause(u64),
    Close,
    Reconnect,
    Unsent,
}

fn happening() -> impl Strategy<Value = Happening> {
    let code = prop_oneof![4 => Just(200u16), 1 => 100u16..600];
    prop_oneof![
        4 => (code, proptest::option::of(0u64..5000)).prop_map(|(code, after)| Happening::Response(code, after)),
        4 => "(id: ?[0-9]{0,3}\n|data: [a-z]{0,3}\n|event: (keep-alive|stream-open|stream-error|x)\n|retry: [0-9]{1,25}\n|\n){0,6}"
            .prop_map(Happening::Bytes),
        1 => Just(Happening::End),
        1 => Just(Happening::Error),
        2 => (0u64..100_000).prop_map(Happening::Pause),
        1 => Just(Happening::Close),
        1 => Just(Happening::Reconnect),
        1 => Just(Happening::Unsent),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: tries are never closer than the floor, the id sent is the
    /// one committed, nothing is delivered unless the stream is open, and what may be asked only once is.
    #[test]
    fn whatever_happens_the_rules_hold(
        happenings in prop::collection::vec(happening(), 0..60),
        seed: u64,
        policy in prop::sample::select(vec![Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume]),
    ) {
        let floor = Duration::from_millis(250);
        let mut session = Session::new(SessionConfig::default().policy(policy), seed);
        let mut now = Duration::ZERO;
        let mut last_try: Option<Duration> = None;
        let mut is_closed = false;
        for happening in happenings {
            let committed = session.last_event_id().unwrap_or_default().to_owned();
            match session.poll(now) {
                Step::Connect(request) => {
                    prop_assert!(!is_closed);
                    prop_assert!(last_try.is_none_or(|last| now - last >= floor));
                    prop_assert!(last_try.is_none() || policy != Policy::Once);
                    prop_assert!(last_try.is_none() || policy != Policy::Resume || request.by_get);
                    prop_assert_eq!(request.last_event_id.unwrap_or_default(), committed);
                    last_try = Some(now);
                }
                Step::Stop(_) => is_closed = true,
                Step::Read { .. } | Step::Sleep { .. } => prop_assert!(!is_closed),
            }
            let was_open = session.state() == State::Open;
            match happening {
                Happening::Response(code, retry_after) => {
                    let retry_after = retry_after.map(Duration::from_secs);
                    session.handle_response(now, &ResponseHead { retry_after, ..status(code) });
                }
                Happening::Bytes(bytes) => {
                    let mut items = session.handle_bytes(now, bytes.as_bytes());
                    while let Some(item) = items.next_item() {
                        prop_assert!(was_open, "{item:?}");
                    }
                }
                Happening::End => session.handle_end(now),
                Happening::Error => session.handle_error(now),
                Happening::Pause(milliseconds) => now += Duration::from_millis(milliseconds),
                Happening::Close => session.close(),
                Happening::Reconnect => session.reconnect(now),
                Happening::Unsent => session.handle_unsent(now, Failure::Headers),
            }
        }
    }
}

#[test]
fn an_item_can_be_kept() {
    let mut session = open(SessionConfig::default());
    let mut items = session.handle_bytes(SECOND, b"data: x\n\n");
    let kept: Event<'static> = match items.next_item() {
        Some(Ok(Item::Event(event))) => event.into_owned(),
        other => panic!("unexpected {other:?}"),
    };
    assert_eq!(kept, Event::new("x"));
}
