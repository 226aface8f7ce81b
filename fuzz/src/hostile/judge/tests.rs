//! Each check can fail and pass.

use super::super::request::Head;
use super::*;

/// One request, answered, that the server has ended.
fn seen(head: &str) -> Observation {
    let Head::Complete(mut request, _) = Request::parse(head.as_bytes()) else {
        panic!("a whole head expected");
    };
    request.played = true;
    request.ended = Some(Duration::from_secs(1));
    Observation { requests: vec![*request], ..Observation::default() }
}

fn verdict(check: Check, seen: &Observation) -> Verdict {
    let mut case = Case::new("test.case", "a title", "a reference", "what is right");
    case.checks = vec![check];
    judge(&case, seen).verdict
}

const HEAD: &str = "GET /test.case HTTP/1.1\r\nLast-Event-ID: 7\r\nX-Key: k\r\n\r\n";

fn event(data: &str, id: Option<&str>) -> Printed {
    let id = id.map(ToOwned::to_owned);
    Printed { event: "message".to_owned(), data: data.to_owned(), id }
}

#[test]
fn every_check_of_a_request_can_fail_and_pass() {
    let seen = seen(HEAD);
    let id = |id: &str| Some(id.as_bytes().to_vec());
    for (right, wrong) in [
        (Check::ComesBack(1), Check::ComesBack(2)),
        (Check::AtMost(1), Check::AtMost(0)),
        (Check::LastEventId(1, id("7")), Check::LastEventId(1, id("8"))),
        (Check::LastEventId(1, id("7")), Check::LastEventId(1, None)),
        (Check::Method(1, "GET"), Check::Method(1, "POST")),
        (Check::Header(1, "x-key", "k"), Check::Header(1, "X-Key", "l")),
        (Check::Body(1, String::new()), Check::Body(1, "b".to_owned())),
        (Check::StaysOn(1), Check::HangsUp(1)),
        (Check::Events(vec![]), Check::Events(vec![Expected::new("message", "a", "")])),
    ] {
        assert_eq!(verdict(right.clone(), &seen), Verdict::Pass, "{right:?}");
        assert_eq!(verdict(wrong.clone(), &seen), Verdict::Fail, "{wrong:?}");
    }
}

#[test]
fn a_pause_is_counted_from_the_end_of_the_connection_before() {
    let mut seen = seen(HEAD);
    let mut next = seen.requests[0].clone();
    next.at = Duration::from_millis(2500);
    seen.requests.push(next);
    let pause = |milliseconds| Check::Pause(2, Duration::from_millis(milliseconds));
    assert_eq!(verdict(pause(1500), &seen), Verdict::Pass);
    assert_eq!(verdict(pause(1600), &seen), Verdict::Fail);
}

#[test]
fn events_are_compared_in_order_and_the_optional_may_be_missing() {
    let new = |data| Expected::new("message", data, "1");
    let optional = Expected { optional: true, ..new("b") };
    let check = Check::Events(vec![new("a"), optional, new("c")]);
    let id = Some("1");
    for (printed, expected) in [
        (vec![("a", id), ("b", id), ("c", id)], Verdict::Pass),
        (vec![("a", id), ("c", id)], Verdict::Pass),
        (vec![("a", id), ("b", id)], Verdict::Fail),
        (vec![("c", id), ("a", id)], Verdict::Fail),
        (vec![("a", id), ("c", Some("2"))], Verdict::Fail),
        (vec![("a", id), ("c", id), ("d", id)], Verdict::Fail),
        (vec![("a", None), ("c", None)], Verdict::Inconclusive),
    ] {
        let mut seen = seen(HEAD);
        seen.printed = printed.iter().map(|(data, id)| event(data, *id)).collect();
        assert_eq!(verdict(check.clone(), &seen), expected, "{printed:?}");
    }
    let mut seen = seen(HEAD);
    seen.printed = vec![event("a", id), event("c", id)];
    assert_eq!(verdict(Check::LastEvent(new("c")), &seen), Verdict::Pass);
    assert_eq!(verdict(Check::LastEvent(new("a")), &seen), Verdict::Fail);
}

#[test]
fn a_crash_fails_and_an_end_does_not() {
    let mut seen = seen(HEAD);
    for (exit, expected) in [
        (None, Verdict::Pass),
        (Some(Some(0)), Verdict::Pass),
        (Some(Some(1)), Verdict::Pass),
        (Some(Some(101)), Verdict::Fail),
        (Some(Some(139)), Verdict::Fail),
        (Some(None), Verdict::Fail),
    ] {
        seen.exit = exit;
        assert_eq!(verdict(Check::Sound, &seen), expected, "{exit:?}");
    }
}

#[test]
fn what_was_not_seen_is_not_passed() {
    let check = || Check::AtMost(5);
    assert_eq!(verdict(check(), &Observation::default()), Verdict::Inconclusive);
    let mut unplayed = seen(HEAD);
    unplayed.requests[0].played = false;
    assert_eq!(verdict(check(), &unplayed), Verdict::Inconclusive);
    let unseen = verdict(Check::Memory(1), &seen(HEAD));
    assert!(matches!(unseen, Verdict::Inconclusive | Verdict::Skip), "{unseen:?}");
    let nothing_to_keep = verdict(Check::Secret("Cookie"), &seen(HEAD));
    assert_eq!(nothing_to_keep, Verdict::Inconclusive);
    let memory = |peak| Observation { memory: Some(Memory { before: 9, peak }), ..seen(HEAD) };
    assert_eq!(verdict(Check::Memory(1), &memory(10)), Verdict::Pass);
    assert_eq!(verdict(Check::Memory(1), &memory(11)), Verdict::Fail);
}

#[test]
fn a_process_that_ends_while_it_should_wait_gets_that_as_the_reason() {
    let reasons = |exit, reach| {
        let mut seen = seen(HEAD);
        seen.exit = exit;
        let mut case = Case::new("test.case", "a title", "a reference", "what is right");
        case.checks = if reach > 1 { Vec::new() } else { vec![Check::ComesBack(2)] };
        case.reach = reach;
        judge(&case, &seen).reasons.join(" ")
    };
    for reach in [1, 2] {
        for (exit, is_reason) in [(Some(Some(0)), true), (Some(Some(1)), true), (None, false)] {
            let reasons = reasons(exit, reach);
            let is_told = reasons.contains("its process has ended by itself");
            assert_eq!(is_told, is_reason, "{exit:?} {reach}: {reasons}");
        }
    }
}
