//! A row session and a session decide the same, whatever happens.

use std::time::Duration;

use proptest::prelude::*;
use sse_proto::{
    Closed, Failure, Item, Policy, ResponseHead, RowClosed, RowConfig, RowSession, RowStep,
    Session, SessionConfig, Step, Terminator,
};

/// What a session tells.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Reset,
    Event { data: String, event_type: String, id: String },
    TooLong,
}

/// As the client for browsers reads them.
fn events(rows: &[u8], last_event_id: &mut String) -> Vec<Told> {
    let text = String::from_utf8_lossy(rows);
    let parts: Vec<_> = text.split('\r').collect();
    let rows = parts.chunks_exact(3);
    assert_eq!(rows.remainder(), [""], "each part ends");
    let told = |row: &[&str]| {
        let &[data, event_type, id] = row else { unreachable!("three at a time") };
        last_event_id.replace_range(.., id);
        let event_type = if event_type.is_empty() { "message" } else { event_type };
        match (event_type, data) {
            ("\n", "") => None,
            ("\n", _) => Some(Told::TooLong),
            _ => Some(Told::Event {
                data: data.into(),
                event_type: event_type.into(),
                id: id.into(),
            }),
        }
    };
    rows.filter_map(told).collect()
}

#[derive(Clone, Debug)]
enum Happening {
    Response(u16, Option<u64>, Option<&'static str>),
    Bytes(Vec<u8>),
    End,
    Error,
    Pause(u64),
    Close,
    Reconnect,
    Unsent,
}

fn happening() -> impl Strategy<Value = Happening> {
    let code = prop_oneof![6 => Just(200_u16), 1 => 100_u16..600];
    let types =
        [None, Some("Text/event-Stream ; charset=x"), Some("text/html"), Some("text/event-stream")];
    let content_type = prop::sample::select(types.to_vec());
    let line = prop_oneof![
        6 => "(id:|data|data:|event:|retry:|:|x:) ?[a-c0-9é]{0,4}".prop_map(String::into_bytes),
        2 => "event: (keep-alive|stream-open|stream-reset|stream-error|a)|id: error|data: a"
            .prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..6)
            .prop_map(|bytes| [&b"id: "[..], &bytes].concat()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        4 => Just(vec![]),
    ];
    let end = prop::sample::select(vec![&b"\n"[..], b"\r", b"\r\n", b"\n\n", b""]);
    let lines = prop::collection::vec((line, end), 0..8);
    let bytes = lines.prop_map(|lines| {
        lines.into_iter().flat_map(|(line, end)| [line, end.to_vec()].concat()).collect()
    });
    prop_oneof![
        4 => (code, proptest::option::of(0_u64..5000), content_type)
            .prop_map(|(code, after, of)| Happening::Response(code, after, of)),
        8 => bytes.prop_map(Happening::Bytes),
        1 => Just(Happening::Bytes(b"\xEF\xBB\xBFdata: marked".to_vec())),
        1 => Just(Happening::End),
        1 => Just(Happening::Error),
        3 => (0_u64..50_000).prop_map(Happening::Pause),
        1 => Just(Happening::Close),
        1 => Just(Happening::Reconnect),
        1 => Just(Happening::Unsent),
    ]
}

/// In the words of a row session, which has fewer.
fn closed(closed: &Closed) -> RowClosed {
    match closed {
        Closed::ByCaller => RowClosed::ByCaller,
        Closed::Complete => RowClosed::Complete,
        Closed::StreamError(_) => RowClosed::StreamError,
        Closed::Ended => RowClosed::Failed(Failure::Ended),
        Closed::NoContent => RowClosed::Failed(Failure::Status(204)),
        Closed::Status(status) => RowClosed::Failed(Failure::Status(*status)),
        Closed::ContentType(_) => RowClosed::Failed(Failure::ContentType),
        Closed::GaveUp(failure) => RowClosed::Failed(*failure),
        other => panic!("unexpected {other:?}"),
    }
}

/// With when to ask again, where that is told.
fn step(step: &Step<'_>, otherwise: u64) -> (RowStep, u64) {
    match step {
        Step::Connect(request) => {
            let sends_id = request.last_event_id.is_some();
            (RowStep::Connect { sends_id, by_get: request.by_get }, otherwise)
        }
        Step::Read { until } => (RowStep::Read, until.map_or(u64::MAX, nanos)),
        Step::Sleep { until } => (RowStep::Sleep, nanos(*until)),
        Step::Stop(_) => (RowStep::Stop, otherwise),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a short time")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn rows_are_the_events_of_a_session_and_the_rules_are_the_same(
        happenings in prop::collection::vec(happening(), 0..40),
        seed: u64,
        policy in prop::sample::select(vec![Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume]),
        [fresh_credentials, control_events, must_complete, is_limited]: [bool; 4],
        id in prop::sample::select(vec!["", "7", " 7", "a\u{85}b", "é\u{A0}", "\u{C2}a"]),
    ) {
        let (max_event_len, max_line_len) = if is_limited { (8, 12) } else { (16 << 20, 16 << 20) };
        let config = SessionConfig::default()
            .policy(policy)
            .fresh_credentials(fresh_credentials)
            .control_events(control_events)
            .max_event_len(max_event_len)
            .max_line_len(max_line_len);
        let mark = Terminator::from("a");
        let config = if must_complete { config.must_end_with(mark) } else { config.until(mark) };
        let mut session = Session::new(config, seed);
        session.set_last_event_id(Some(id.into()));
        let mut rows = RowSession::new(RowConfig {
            policy,
            fresh_credentials,
            control_events,
            terminator: b"a".to_vec(),
            must_complete,
            max_event_len,
            max_line_len,
            last_event_id: id.into(),
            ..RowConfig::default()
        }, seed);
        let mut now = Duration::ZERO;
        let mut last_event_id = id.to_owned();
        for happening in happenings {
            let next = rows.poll(nanos(now));
            prop_assert_eq!((next, rows.until()), step(&session.poll(now), rows.until()));
            match happening {
                Happening::Response(status, retry_after, content_type) => {
                    let retry_after = retry_after.map(Duration::from_secs);
                    session.handle_response(now, &ResponseHead { status, content_type, retry_after });
                    let content_type = content_type.map(str::as_bytes);
                    let retry_after = nanos(retry_after.unwrap_or_default());
                    rows.handle_response(nanos(now), status, content_type, retry_after);
                }
                Happening::Bytes(bytes) => {
                    let mut told = vec![];
                    let mut items = session.handle_bytes(now, &bytes);
                    while let Some(item) = items.next_item() {
                        told.push(match item {
                            Ok(Item::Event(event)) => Told::Event {
                                data: event.data().to_owned(),
                                event_type: event.event_type().to_owned(),
                                id: event.last_event_id().to_owned(),
                            },
                            Ok(Item::Reset { .. }) => Told::Reset,
                            Ok(other) => panic!("unexpected {other:?}"),
                            Err(_) => Told::TooLong,
                        });
                    }
                    // What a session tells of control events, rows tell as they came.
                    let by_rows = events(rows.handle_bytes(nanos(now), &bytes), &mut last_event_id);
                    let by_rows = by_rows.into_iter().filter_map(|told| match &told {
                        Told::Event { event_type, .. } if event_type == "stream-reset" => {
                            Some(Told::Reset)
                        }
                        Told::Event { event_type, .. } if event_type == "stream-error" => None,
                        _ => Some(told),
                    });
                    prop_assert_eq!(by_rows.collect::<Vec<_>>(), told);
                    prop_assert_eq!(&last_event_id, session.last_event_id().unwrap_or_default());
                }
                Happening::End => { session.handle_end(now); rows.handle_end(nanos(now)); }
                Happening::Error => { session.handle_error(now); rows.handle_error(nanos(now)); }
                Happening::Pause(milliseconds) => now += Duration::from_millis(milliseconds),
                Happening::Close => { session.close(); rows.close(); }
                Happening::Reconnect => { session.reconnect(now); rows.reconnect(nanos(now)); }
                Happening::Unsent => {
                    session.handle_unsent(now, Failure::Headers);
                    rows.handle_unsent(nanos(now), Failure::Headers);
                }
            }
            prop_assert_eq!(rows.is_open(), session.is_open());
            prop_assert_eq!(rows.failure(), session.failure());
            prop_assert_eq!(rows.reconnection_time().map(Duration::from_millis), session.reconnection_time());
            prop_assert_eq!(rows.closed(), session.closed().map(closed));
        }
    }
}
