//! When something is due, for many that all wait for as long.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// A reader, and which of those that have had this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) reader: u32,
    pub(super) stamp: u32,
}

/// Times in milliseconds, of each reader the next keep-alive and its end.
#[derive(Default)]
pub(super) struct Deadlines {
    /// For each interval a queue, in the order of time. What is written in the meantime puts a
    /// keep-alive off, which is looked at when its time comes.
    keep_alives: Vec<(Duration, VecDeque<(u64, Key)>)>,
    ends: BinaryHeap<Reverse<(u64, Key)>>,
}

impl Deadlines {
    pub(super) fn add_keep_alive(&mut self, interval: Duration, due: u64, key: Key) {
        let known = self.keep_alives.iter_mut().find(|(known, _)| *known == interval);
        match known {
            Some((_, queue)) => queue.push_back((due, key)),
            None => self.keep_alives.push((interval, VecDeque::from([(due, key)]))),
        }
    }

    pub(super) fn add_end(&mut self, due: u64, key: Key) {
        self.ends.push(Reverse((due, key)));
    }

    /// The first time at which something is due.
    pub(super) fn next(&self) -> Option<u64> {
        let keep_alives = self.keep_alives.iter().filter_map(|(_, queue)| queue.front());
        let ends = self.ends.peek().map(|Reverse((due, _))| *due);
        keep_alives.map(|(due, _)| *due).chain(ends).min()
    }

    /// A keep-alive that is due by now, and its interval.
    pub(super) fn take_keep_alive(&mut self, now: u64) -> Option<(Duration, Key)> {
        for (interval, queue) in &mut self.keep_alives {
            if let Some((_, key)) = queue.pop_front_if(|(due, _)| *due <= now) {
                if queue.is_empty() {
                    queue.shrink_to(64);
                }
                return Some((*interval, key));
            }
        }
        None
    }

    /// A reader whose end has come.
    pub(super) fn take_end(&mut self, now: u64) -> Option<Key> {
        let Reverse((due, key)) = *self.ends.peek()?;
        (due <= now).then(|| {
            self.ends.pop();
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_not_before() {
        let key = |reader| Key { reader, stamp: 1 };
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut deadlines = Deadlines::default();
        assert_eq!(deadlines.next(), None);
        deadlines.add_keep_alive(long, 100, key(0));
        deadlines.add_keep_alive(short, 10, key(1));
        deadlines.add_keep_alive(short, 12, key(2));
        deadlines.add_end(50, key(3));
        deadlines.add_end(20, key(4));
        assert_eq!((deadlines.next(), deadlines.take_keep_alive(9)), (Some(10), None));
        assert_eq!(deadlines.take_keep_alive(11), Some((short, key(1))));
        assert_eq!((deadlines.take_keep_alive(11), deadlines.next()), (None, Some(12)));
        assert_eq!((deadlines.take_end(19), deadlines.take_end(20)), (None, Some(key(4))));
        assert_eq!(deadlines.take_keep_alive(99), Some((short, key(2))));
        assert_eq!((deadlines.take_keep_alive(99), deadlines.next()), (None, Some(50)));
        assert_eq!(deadlines.take_end(50), Some(key(3)));
        assert_eq!(deadlines.take_keep_alive(100), Some((long, key(0))));
        assert_eq!(deadlines.next(), None);
    }
}
