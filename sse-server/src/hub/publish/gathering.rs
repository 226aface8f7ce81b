//! Waiting for publishers who come again, so that all of them are one group.

use std::time::{Duration, Instant};

/// How long after the last request another one is waited for; far less than a commit takes.
const PAUSE: Duration = Duration::from_micros(200);

/// How many groups are not waited for at most after it was in vain.
const MOST_LEFT_OUT: u32 = 63;

/// Who was answered last, and who came meanwhile, are expected in the next group: publishers of
/// whom some are always late would be two groups otherwise, that wait for each other, and so for
/// two commits where one is enough.
///
/// Where that was in vain, because they do not come again, it is tried more and more seldom.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    expected: usize,
    /// How many requests there were, and when the last one was seen.
    seen: usize,
    since: Option<Instant>,
    /// How many groups are not waited for from now on, and after the next one in vain.
    leaves_out: u32,
    would_leave_out: u32,
}

impl Gathering {
    /// Whether to look again for another request, when there are so many and no other one waits.
    pub(super) fn goes_on(&mut self, len: usize) -> bool {
        if len >= self.expected || self.leaves_out > 0 {
            return false;
        }
        let now = Instant::now();
        if self.seen != len {
            (self.seen, self.since) = (len, Some(now));
        }
        self.since.is_some_and(|since| now.duration_since(since) < PAUSE)
    }

    /// A group of so many requests was stored, and so many have come meanwhile.
    pub(super) fn ends(&mut self, len: usize, meanwhile: usize) {
        if self.since.is_none() {
            self.leaves_out = self.leaves_out.saturating_sub(1);
        } else if len >= self.expected {
            self.would_leave_out = 0;
        } else {
            self.leaves_out = self.would_leave_out;
            self.would_leave_out = (2 * self.would_leave_out + 1).min(MOST_LEFT_OUT);
        }
        *self = Self { expected: len + meanwhile, seen: 0, since: None, ..*self };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until there is nothing to wait for.
    fn waits(gathering: &mut Gathering, len: usize) -> bool {
        let waits = gathering.goes_on(len);
        while gathering.goes_on(len) {}
        waits
    }

    #[test]
    fn who_was_answered_and_who_came_meanwhile_are_one_group() {
        let mut gathering = Gathering::default();
        assert!(!gathering.goes_on(1), "nobody is expected");
        gathering.ends(1, 7);
        assert!(gathering.goes_on(7));
        assert!(!gathering.goes_on(8), "all are there");
        gathering.ends(8, 0);
        assert!(gathering.goes_on(1) && gathering.goes_on(7) && !gathering.goes_on(8));
    }

    #[test]
    fn one_publisher_alone_is_not_waited_for() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            gathering.ends(1, 0);
            assert!(!gathering.goes_on(1));
        }
    }

    #[test]
    fn those_who_do_not_come_again_are_waited_for_more_and_more_seldom() {
        let mut gathering = Gathering::default();
        let mut waited = Vec::new();
        for group in 0..12 {
            gathering.ends(1, 1);
            if waits(&mut gathering, 1) {
                waited.push(group);
            }
        }
        assert_eq!(waited, [0, 1, 3, 7]);
        // Once all come, they are waited for again.
        for _ in 0..4 {
            gathering.ends(1, 1);
        }
        assert!(gathering.goes_on(1) && !gathering.goes_on(2));
        for _ in 0..2 {
            gathering.ends(2, 0);
            assert!(waits(&mut gathering, 1));
        }
    }
}
