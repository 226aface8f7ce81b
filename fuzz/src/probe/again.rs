//! The second look: who is to blame, the server or a machine that has too much to do.
//!
//! A server that is held up once, or a probe that is, looks like a server that is always late. So
//! what rests on the clock alone is asked again, on fresh connections, and a server is accused of
//! what goes wrong both times. What was received is a fact, and needs no second look: a server that
//! loses each hundredth event has lost it.

use super::check::Check;
use super::finding::{Finding, Ruling};
use super::settings::Settings;
use crate::verdict::Verdict;

/// Whether it is to be asked again before it is told.
pub(super) fn is_due(settings: &Settings, check: &Check, finding: &Finding) -> bool {
    // A POST is not repeated without need, and a server that was ended does not end again.
    let can_be = settings.body.is_none() && !check.is_named_only;
    is_late(finding) && can_be && !settings.once
}

/// Whether something is said against the server that rests on the clock alone.
pub(crate) fn is_late(finding: &Finding) -> bool {
    finding.is_of_time && is_told(finding)
}

/// Whether something is said against the server, if only a note.
fn is_told(finding: &Finding) -> bool {
    match finding.ruling {
        Ruling::Fault => true,
        Ruling::Is(verdict) => matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Info),
    }
}

/// What is said when it has been looked at twice.
pub(crate) fn after_both(first: Finding, second: Finding) -> Finding {
    if is_told(&second) {
        // A fact is better than what was late.
        return if second.is_of_time {
            stands(first, "and so it was on a second try")
        } else {
            second
        };
    }
    let reason = match second.ruling {
        // It could be asked the first time, and has been changed by that.
        Ruling::Is(Verdict::Skip) => {
            return stands(first, &format!("on a second try: {}", second.reason));
        }
        Ruling::Is(Verdict::Inconclusive) => {
            format!("failed once: {}; a second try could not tell: {}", first.reason, second.reason)
        }
        _ => format!("failed once, passed on a second try; the first time: {}", first.reason),
    };
    let mut finding = Finding::inconclusive(reason);
    finding.exchanges = [first.exchanges, second.exchanges].concat();
    finding
}

/// What is said when a fresh stream did not even begin.
pub(super) fn without_another(first: Finding, problem: &str) -> Finding {
    stands(first, &format!("then there was no other stream: {problem}"))
}

fn stands(first: Finding, then: &str) -> Finding {
    let reason = format!("{}; {then}", first.reason);
    Finding { reason, ..first }
}

#[cfg(test)]
mod tests {
    use super::{after_both, is_due};
    use crate::probe::checks::checks;
    use crate::probe::finding::{Finding, Ruling};
    use crate::probe::settings::Settings;
    use crate::verdict::Verdict;

    #[test]
    fn accused_is_what_is_late_twice_and_what_is_a_fact() {
        let late = || Finding::fault("it was late").of_time();
        let inconclusive = Ruling::Is(Verdict::Inconclusive);
        for (second, ruling, said) in [
            (late(), Ruling::Fault, "it was late; and so it was on a second try"),
            (Finding::fault("it lost one"), Ruling::Fault, "it lost one"),
            (Finding::warn("it is odd"), Ruling::Is(Verdict::Warn), "it is odd"),
            (
                Finding::pass(),
                inconclusive,
                "failed once, passed on a second try; the first time: it was late",
            ),
            (
                Finding::skip("it is gone"),
                Ruling::Fault,
                "it was late; on a second try: it is gone",
            ),
            (
                Finding::inconclusive("it is quiet"),
                inconclusive,
                "failed once: it was late; a second try could not tell: it is quiet",
            ),
        ] {
            let both = after_both(late(), second);
            assert_eq!((both.ruling, &*both.reason), (ruling, said));
        }
    }

    #[test]
    fn asked_again_is_only_what_rests_on_the_clock() {
        let checks = checks();
        let named = |id: &str| checks.iter().find(|check| check.id() == id).expect("it is there");
        let settings = Settings::default();
        let plain = named("con.options");
        assert!(is_due(&settings, plain, &Finding::fault("late").of_time()));
        assert!(is_due(&settings, plain, &Finding::info("late").of_time()));
        assert!(!is_due(&settings, plain, &Finding::pass().of_time()));
        assert!(!is_due(&settings, plain, &Finding::inconclusive("quiet").of_time()));
        assert!(!is_due(&settings, plain, &Finding::fault("it lost one")));
        let late = Finding::fault("late").of_time();
        assert!(!is_due(&settings, named("rob.terminate"), &late));
        assert!(!is_due(&Settings { once: true, ..Settings::default() }, plain, &late));
        let body = Some(String::new());
        assert!(!is_due(&Settings { body, ..Settings::default() }, plain, &late));
    }
}
