//! Whatever happens, in whatever order, the rules hold.

use proptest::prelude::*;
use sse_proto::{Failure, Nanos, Policy, Reader, ResponseHead, SessionConfig, State, Step};

use super::{SECOND, status};

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

/// Requests that a browser makes of one try that is redirected for ever (Fetch, "HTTP-redirect
/// fetch": "if request's redirect count is 20, then return a network error").
const OF_A_LOOP: usize = 21;

/// What is done before a loop begins.
#[derive(Clone, Copy, Debug)]
enum Before {
    Nothing,
    /// A stream that has had an event, and ends.
    Stream,
    /// A stream without an event.
    Silence,
    Refused,
    /// A connection that breaks while it is open.
    Broken,
}

proptest! {
    /// A browser that is redirected in a circle tells only that the request has failed. However
    /// chance has it, and however it began, the server gets fewer than 64 requests in four seconds.
    #[test]
    fn redirects_without_end_are_few_requests(
        seed: u64,
        before in prop::sample::select(vec![
            Before::Nothing, Before::Stream, Before::Silence, Before::Refused, Before::Broken,
        ]),
        policy in prop::sample::select(vec![Policy::Resilient, Policy::Strict]),
        retry in proptest::option::of(0u64..2000),
    ) {
        let mut reader = Reader::new(SessionConfig::default().policy(policy), seed);
        let mut now: Nanos = SECOND;
        let session = reader.session_mut();
        if policy == Policy::Strict {
            // As in a page, where section 9.2.2 has it "in the region of a few seconds".
            session.set_reconnection_time(3000);
        }
        match before {
            Before::Nothing => {}
            Before::Refused => {
                super::connect(&mut reader, now);
                reader.session_mut().handle_response(now, &status(503));
            }
            Before::Stream | Before::Silence | Before::Broken => {
                super::connect(&mut reader, now);
                reader.session_mut().handle_response(now, &super::OK);
                if let Some(retry) = retry.filter(|_| policy == Policy::Resilient) {
                    super::feed(&mut reader, now, &format!("retry: {retry}\n"));
                }
                match before {
                    Before::Stream => drop(super::feed(&mut reader, now, super::EVENT)),
                    Before::Broken => reader.session_mut().handle_error(now),
                    _ => {}
                }
                reader.session_mut().handle_end(now);
            }
        }
        let mut tries = Vec::new();
        while tries.len() < 12 {
            match reader.session_mut().poll(now) {
                Step::Connect(_) => {
                    tries.push(now);
                    reader.session_mut().handle_error(now);
                }
                Step::Sleep => now = reader.session().until(),
                // A strict session takes no 503.
                _ => break,
            }
        }
        for (number, first) in tries.iter().enumerate() {
            let within = tries[number..].iter().filter(|at| **at - first <= 4 * SECOND).count();
            prop_assert!(within * OF_A_LOOP < 64, "{within} tries: {tries:?}");
        }
    }

    /// Whatever happens, in whatever order: tries are never closer than the floor, the id sent is
    /// the one committed, nothing is delivered unless the stream is open, and what may be asked
    /// only once is.
    #[test]
    fn whatever_happens_the_rules_hold(
        happenings in prop::collection::vec(happening(), 0..60),
        seed: u64,
        policy in prop::sample::select(vec![Policy::Resilient, Policy::Strict, Policy::Once, Policy::Resume]),
    ) {
        let floor = SECOND / 4;
        let mut reader = Reader::new(SessionConfig::default().policy(policy), seed);
        let mut now: Nanos = 0;
        let mut last_try: Option<Nanos> = None;
        let mut is_closed = false;
        for happening in happenings {
            let committed = reader.last_event_id().unwrap_or_default().to_owned();
            match reader.session_mut().poll(now) {
                Step::Connect(request) => {
                    prop_assert!(!is_closed);
                    prop_assert!(last_try.is_none_or(|last| now - last >= floor));
                    prop_assert!(last_try.is_none() || policy != Policy::Once);
                    prop_assert!(last_try.is_none() || policy != Policy::Resume || request.by_get);
                    prop_assert_eq!(request.sends_id, !committed.is_empty());
                    last_try = Some(now);
                }
                Step::Stop(_) => is_closed = true,
                Step::Read | Step::Sleep => prop_assert!(!is_closed),
            }
            let was_open = reader.session().state() == State::Open;
            match happening {
                Happening::Response(code, retry_after) => {
                    let retry_after = retry_after.map(|seconds| seconds * SECOND);
                    reader.session_mut().handle_response(now, &ResponseHead { retry_after, ..status(code) });
                }
                Happening::Bytes(bytes) => {
                    let mut items = reader.handle_bytes(now, bytes.as_bytes());
                    while let Some(item) = items.next_item() {
                        prop_assert!(was_open, "{item:?}");
                    }
                }
                Happening::End => reader.session_mut().handle_end(now),
                Happening::Error => reader.session_mut().handle_error(now),
                Happening::Pause(milliseconds) => now += milliseconds * 1_000_000,
                Happening::Close => reader.session_mut().close(),
                Happening::Reconnect => reader.session_mut().reconnect(now),
                Happening::Unsent => reader.session_mut().handle_unsent(now, Failure::Headers),
            }
        }
    }
}
