//! The source of a page and a native reader decide and deliver the same, whatever happens.

use std::time::Duration;

use proptest::prelude::*;
use sse_client_wasm::{Settings, Source, flag, happening, reason, state, step};
use sse_proto::{
    Backoff, Closed, Failure, Item, Nanos, Policy, Reader, ResponseHead, SessionConfig, State, Step,
};

const MILLISECOND: Nanos = 1_000_000;

/// What a reader delivers.
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
    Complete,
    Unsent,
}

fn any_happening() -> impl Strategy<Value = Happening> {
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
        1 => Just(Happening::Complete),
        1 => Just(Happening::Unsent),
    ]
}

/// Why a try, or all of it, has ended, in the words of a source.
fn reason(failure: Failure) -> u32 {
    match failure {
        Failure::Network => reason::NETWORK,
        Failure::Ended => reason::ENDED,
        Failure::Incomplete => reason::INCOMPLETE,
        Failure::Status(status) => reason::STATUS | u32::from(status) << 6,
        Failure::ContentType => reason::CONTENT_TYPE,
        Failure::ConnectTimeout => reason::CONNECT_TIMEOUT,
        Failure::IdleTimeout => reason::IDLE_TIMEOUT,
        Failure::Headers => reason::HEADERS,
        Failure::ByCaller => reason::BY_CALLER,
        other => panic!("unexpected {other:?}"),
    }
}

/// The state of a session, in the words of a source.
fn state(state: State) -> u32 {
    let (state, reason) = match state {
        State::Connecting => (state::CONNECTING, reason::NONE),
        State::Open => (state::OPEN, reason::NONE),
        State::Waiting { failure, .. } => (state::CONNECTING, reason(failure)),
        State::Closed(Closed::ByCaller) => (state::CLOSED, reason::BY_CALLER),
        State::Closed(Closed::Complete) => (state::CLOSED, reason::COMPLETE),
        State::Closed(Closed::StreamError) => (state::CLOSED, reason::STREAM_ERROR),
        State::Closed(Closed::Failed(failure) | Closed::GaveUp(failure)) => {
            (state::CLOSED, reason(failure))
        }
        other => panic!("unexpected {other:?}"),
    };
    state | reason << 2
}

/// A step of a session, in the words of a source.
fn step(step: Step) -> u32 {
    match step {
        Step::Connect(request) => {
            let by_get = if request.by_get { step::BY_GET } else { 0 };
            step::CONNECT | if request.sends_id { step::SEND_ID } else { 0 } | by_get
        }
        Step::Read => step::READ,
        Step::Sleep => step::SLEEP,
        Step::Stop(_) => step::STOP,
    }
}

/// As JavaScript has it.
#[expect(clippy::cast_precision_loss, reason = "JavaScript has no other numbers")]
fn number(number: u64) -> f64 {
    number as f64
}

/// As a page has the time.
fn milliseconds(time: Nanos) -> f64 {
    number(time) / 1e6
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn rows_are_the_items_of_a_reader_and_the_rules_are_the_same(
        happenings in prop::collection::vec(any_happening(), 0..40),
        seed in 0.0..1.0,
        policy in prop::sample::select(vec![Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume]),
        [fresh_credentials, control_events, must_complete, is_limited]: [bool; 4],
        id in prop::sample::select(vec!["", "7", " 7", "a\u{85}b", "é\u{A0}", "\u{C2}a"]),
    ) {
        let (max_event_len, max_line_len) = if is_limited { (8, 12) } else { (16 << 20, 16 << 20) };
        let config = SessionConfig::default()
            .policy(policy)
            .fresh_credentials(fresh_credentials)
            .backoff(Backoff::up_to(Duration::from_secs(30)))
            .control_events(control_events)
            .max_event_len(max_event_len)
            .max_line_len(max_line_len)
            .must_complete(must_complete);
        let mut reader = Reader::new(config, f64::to_bits(seed));
        reader.set_last_event_id(Some(id.into()));
        if policy == Policy::Strict {
            reader.session_mut().set_reconnection_time(3000);
        }
        let flag = |is, flag| if is { flag } else { 0 };
        let settings = Settings {
            seed,
            flags: match policy {
                Policy::Resilient => 0,
                Policy::Strict => 1,
                Policy::Once => 2,
                _ => 3,
            } | flag(fresh_credentials, flag::FRESH_CREDENTIALS)
                | flag(control_events, flag::CONTROL_EVENTS)
                | flag(must_complete, flag::MUST_COMPLETE),
            max_retry: 30_000.0,
            idle_timeout: f64::NAN,
            first_event_timeout: f64::NAN,
            connect_timeout: f64::NAN,
            max_event_len,
            max_line_len,
        };
        let mut source = Source::new(&settings, id.as_bytes());
        let mut now: Nanos = 0;
        let mut last_event_id = id.to_owned();
        for happening in happenings {
            let page_now = milliseconds(now);
            prop_assert_eq!(source.step(page_now), step(reader.session_mut().poll(now)));
            let until = milliseconds(reader.session().until());
            prop_assert_eq!(source.until().to_bits(), until.to_bits());
            match happening {
                Happening::Response(status, retry_after, content_type) => {
                    let content_type = content_type.map(str::as_bytes);
                    let retry_after = retry_after.map(|seconds| seconds * 1000 * MILLISECOND);
                    let head = ResponseHead { status, content_type, retry_after };
                    reader.session_mut().handle_response(now, &head);
                    let retry_after = retry_after.map_or(f64::NAN, milliseconds);
                    let content_type = content_type.unwrap_or_default();
                    source.response(page_now, status.into(), retry_after, content_type);
                }
                Happening::Bytes(bytes) => {
                    let mut told = vec![];
                    let mut items = reader.handle_bytes(now, &bytes);
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
                    // What a reader tells of control events, rows tell as they came.
                    let by_rows = events(source.push(page_now, &bytes), &mut last_event_id);
                    let by_rows = by_rows.into_iter().filter_map(|told| match &told {
                        Told::Event { event_type, .. } if event_type == "stream-reset" => {
                            Some(Told::Reset)
                        }
                        Told::Event { event_type, .. } if event_type == "stream-error" => None,
                        _ => Some(told),
                    });
                    prop_assert_eq!(by_rows.collect::<Vec<_>>(), told);
                    prop_assert_eq!(&last_event_id, reader.last_event_id().unwrap_or_default());
                }
                Happening::Pause(milliseconds) => now += milliseconds * MILLISECOND,
                Happening::End => {
                    reader.session_mut().handle_end(now);
                    source.tell(page_now, happening::END);
                }
                Happening::Error => {
                    reader.session_mut().handle_error(now);
                    source.tell(page_now, happening::ERROR);
                }
                Happening::Unsent => {
                    reader.session_mut().handle_unsent(now, Failure::Headers);
                    source.tell(page_now, happening::UNSENT);
                }
                Happening::Close => {
                    reader.session_mut().close();
                    source.tell(page_now, happening::CLOSE);
                }
                Happening::Complete => {
                    reader.session_mut().handle_event(None, true);
                    source.tell(page_now, happening::COMPLETE);
                }
                Happening::Reconnect => {
                    reader.session_mut().reconnect(now);
                    source.tell(page_now, happening::RECONNECT);
                }
            }
            prop_assert_eq!(source.state(), state(reader.session().state()));
            let time = reader.session().reconnection_time();
            let time = time.map(number);
            prop_assert_eq!(Some(source.reconnection_time()).filter(|time| !time.is_nan()), time);
        }
    }
}
