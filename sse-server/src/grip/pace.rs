//! How long until a proxy is to ask again about a connection.
//!
//! Pushpin follows ten different links a second, and no more. A connection whose turn has not come
//! gets nothing that is published meanwhile. So where a proxy comes late, it has more to ask than
//! it can, and is asked to come less often; each connection finds that out by itself, whichever
//! instance is asked.

use std::time::Duration;

/// What is not late yet.
const LATE: Duration = Duration::from_secs(5);

/// The longest that a proxy is told to wait.
const LONGEST: Duration = Duration::from_mins(30);

/// When the proxy was to ask: so long after something, which was this long ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) wait: Duration,
    pub(super) elapsed: Duration,
}

/// How long it is to wait now, if it is to wait `usual` where there is nothing else to it.
pub(super) fn next(usual: Duration, asked: Option<Asked>) -> Duration {
    let Some(Asked { wait, elapsed }) = asked else { return usual };
    let longest = LONGEST.max(usual);
    let wait = wait.clamp(usual, longest);
    if elapsed > wait + LATE {
        return (elapsed * 3 / 2).min(longest);
    }
    // Sooner: for another reason, which says nothing of how it gets on.
    if elapsed < wait { wait } else { (wait * 9 / 10).max(usual) }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const USUAL: Duration = Duration::from_mins(1);

    /// How long the connections wait for their turn at a proxy that follows ten links a second, the
    /// longest of the last ten minutes; and how often it has asked in these.
    fn after_an_hour(connections: usize) -> (u64, usize) {
        // In tenths of a second, one for each link.
        let mut due: Vec<_> = (0..connections).map(|index| (600, 0, index)).collect();
        let mut waiting = VecDeque::new();
        let (mut longest, mut questions) = (0, 0);
        for now in 0_u64..36_000 {
            let (ready, later): (Vec<_>, Vec<_>) = due.into_iter().partition(|it| it.0 <= now);
            waiting.extend(ready);
            due = later;
            let Some((at, since, index)) = waiting.pop_front() else { continue };
            let tenths = |number: u64| Duration::from_millis(number * 100);
            let asked = Asked { wait: tenths(at - since), elapsed: tenths(now - since) };
            let wait = u64::try_from(next(USUAL, Some(asked)).as_millis()).expect("short") / 100;
            due.push((now + wait, now, index));
            if now > 30_000 {
                longest = longest.max(now - at);
                questions += 1;
            }
        }
        (longest / 10, questions)
    }

    #[test]
    fn who_can_ask_about_all_is_to_ask_as_often_as_is_usual() {
        let (longest, questions) = after_an_hour(300);
        assert!(longest < 60, "{longest} s");
        assert!((300 * 9..=300 * 10).contains(&questions), "{questions}");
    }

    #[test]
    fn who_has_more_to_ask_than_is_possible_is_to_ask_less_often_and_hardly_late() {
        for connections in [1000, 2000, 5000] {
            let (longest, questions) = after_an_hour(connections);
            assert!(longest < 60, "{connections}: {longest} s");
            assert!(questions > 1000, "{connections}: {questions}");
        }
    }

    #[test]
    fn a_question_for_another_reason_changes_nothing() {
        let asked = |wait, elapsed| {
            let [wait, elapsed] = [wait, elapsed].map(Duration::from_secs);
            next(USUAL, Some(Asked { wait, elapsed })).as_secs()
        };
        assert_eq!(next(USUAL, None), USUAL);
        assert_eq!(asked(60, 1), 60);
        assert_eq!(asked(300, 10), 300);
        assert_eq!(asked(300, 301), 270);
        assert_eq!(asked(60, 61), 60);
        assert_eq!(asked(60, 200), 300);
        assert_eq!(asked(3000, 9000), 1800);
        // Sealed by an instance with other settings.
        assert_eq!(asked(0, 0), 60);
    }
}
