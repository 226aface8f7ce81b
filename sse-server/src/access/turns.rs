//! Who may ask the backend next, when many want to.
//!
//! Questions for readers who are in have places of their own, so that no stranger is ever before
//! them: some for changes of permissions, some for everything else. Newcomers have the rest, and
//! take turns by where they come from: a thousand questions from one address are one queue, and a
//! client from another one does not stand behind them. If the backend gets too slow, newcomers have
//! fewer places, until it is quicker.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::Occasion;

/// Places for changes of permissions, and for other questions about readers who are in.
const CHANGES: usize = 16;
const READERS: usize = 24;

/// The most places for newcomers, with which they begin, and the fewest.
const NEWCOMERS: usize = 32;
const FEWEST: usize = 4;

/// How many newcomers may wait. More are refused.
const MOST_WAITING: usize = 4096;

/// How long a question waits for its turn. Shorter than a check may take in all, so that a queue
/// here is told from a backend that does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that are late within this time are late for one reason.
const ONE_REASON: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Turns {
    changes: Semaphore,
    readers: Semaphore,
    newcomers: Arc<Newcomers>,
}

/// The right to ask one question now.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    newcomers: &'a Arc<Newcomers>,
    _place: Place<'a>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for as long as the question takes")]
enum Place<'a> {
    OfReaders(SemaphorePermit<'a>),
    OfNewcomers(Taken),
}

/// Too many others want to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            changes: Semaphore::new(CHANGES),
            readers: Semaphore::new(READERS),
            newcomers: Arc::new(Newcomers::new(MOST_WAITING)),
        }
    }

    /// Waits for a turn. `origin`: where a newcomer comes from.
    pub(super) async fn wait(
        &self,
        occasion: Occasion,
        origin: Option<IpAddr>,
    ) -> Result<Turn<'_>, TooMany> {
        let place = async {
            Ok(match occasion {
                Occasion::Opening => {
                    Place::OfNewcomers(self.newcomers.wait(origin.map(network)).await?)
                }
                Occasion::Recheck => {
                    Place::OfReaders(self.readers.acquire().await.expect("never closed"))
                }
                Occasion::Change => {
                    Place::OfReaders(self.changes.acquire().await.expect("never closed"))
                }
            })
        };
        let place = timeout(PATIENCE, place).await.map_err(|_| TooMany)??;
        Ok(Turn { newcomers: &self.newcomers, _place: place })
    }
}

impl Turn<'_> {
    /// The backend has answered, in time or not.
    pub(super) fn answered(self, is_in_time: bool) {
        self.newcomers.adapt(is_in_time);
    }
}

/// An IPv4 address, or the network of an IPv6 address: what one customer gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & u128::MAX << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// The places of newcomers, and who waits for one.
#[derive(Debug)]
struct Newcomers {
    queues: Mutex<Queues>,
    most_waiting: usize,
}

type Origin = Option<IpAddr>;

#[derive(Debug)]
struct Queues {
    /// How many may ask at the same time.
    places: usize,
    taken: usize,
    /// Answers that came in time since `places` was changed.
    in_time: usize,
    /// When it was made less.
    reduced: Option<Instant>,
    waiting: usize,
    /// Who waits, by origin.
    by_origin: HashMap<Origin, VecDeque<oneshot::Sender<Taken>>>,
    /// The origins, in the order of their turns.
    order: VecDeque<Origin>,
}

/// One of the places. Dropped, it goes to who is next.
#[derive(Debug)]
struct Taken(Option<Arc<Newcomers>>);

impl Newcomers {
    fn new(most_waiting: usize) -> Self {
        let queues = Queues {
            places: NEWCOMERS,
            taken: 0,
            in_time: 0,
            reduced: None,
            waiting: 0,
            by_origin: HashMap::new(),
            order: VecDeque::new(),
        };
        Self { queues: Mutex::new(queues), most_waiting }
    }

    async fn wait(self: &Arc<Self>, origin: Origin) -> Result<Taken, TooMany> {
        let turn = {
            let mut queues = self.queues();
            if queues.waiting >= self.most_waiting {
                queues.make_room(origin)?;
            }
            let (turn, waiting) = oneshot::channel();
            let queue = queues.by_origin.entry(origin).or_default();
            let is_first = queue.is_empty();
            queue.push_back(turn);
            queues.waiting += 1;
            if is_first {
                queues.order.push_back(origin);
            }
            queues.hand_out(self);
            waiting
        };
        // Dropped, if others needed the room.
        turn.await.map_err(|_| TooMany)
    }

    /// Fewer places if an answer was late; more after a round of answers that were not.
    fn adapt(self: &Arc<Self>, is_in_time: bool) {
        let mut queues = self.queues();
        if is_in_time {
            queues.in_time += 1;
            if queues.in_time >= queues.places {
                queues.in_time = 0;
                queues.places = (queues.places + 1).min(NEWCOMERS);
                queues.hand_out(self);
            }
        } else if queues.reduced.is_none_or(|at| at.elapsed() >= ONE_REASON) {
            queues.in_time = 0;
            queues.places = (queues.places / 2).max(FEWEST);
            queues.reduced = Some(Instant::now());
        }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    /// Gives the places that are free to those whose turn it is.
    fn hand_out(&mut self, all: &Arc<Newcomers>) {
        while self.taken < self.places
            && let Some(turn) = self.next()
        {
            match turn.send(Taken(Some(all.clone()))) {
                Ok(()) => self.taken += 1,
                // Does not wait any more; the place was never taken.
                Err(mut place) => drop(place.0.take()),
            }
        }
    }

    /// The next to ask: the first of the origin whose turn it is. Then it is the other origins'
    /// turn.
    fn next(&mut self) -> Option<oneshot::Sender<Taken>> {
        let origin = self.order.pop_front()?;
        let queue = self.by_origin.get_mut(&origin)?;
        let turn = queue.pop_front();
        if queue.is_empty() {
            self.by_origin.remove(&origin);
        } else {
            self.order.push_back(origin);
        }
        self.waiting -= usize::from(turn.is_some());
        turn
    }

    /// Room for one more from this origin: that of somebody who has left, or of the last in the
    /// longest queue, unless that is this one's.
    fn make_room(&mut self, origin: Origin) -> Result<(), TooMany> {
        for queue in self.by_origin.values_mut() {
            queue.retain(|turn| !turn.is_closed());
        }
        self.by_origin.retain(|_, queue| !queue.is_empty());
        self.order.retain(|origin| self.by_origin.contains_key(origin));
        let before = self.waiting;
        self.waiting = self.by_origin.values().map(VecDeque::len).sum();
        if self.waiting < before {
            return Ok(());
        }
        let own = self.by_origin.get(&origin).map_or(0, VecDeque::len);
        let longest = self.by_origin.values_mut().max_by_key(|queue| queue.len());
        // One that has several keeps one, so that no queue becomes empty here.
        let Some(longest) = longest.filter(|queue| queue.len() > own + 1) else {
            return Err(TooMany);
        };
        longest.pop_back();
        self.waiting -= 1;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(all) = self.0.take() else { return };
        let mut queues = all.queues();
        queues.taken -= 1;
        queues.hand_out(&all);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn origin(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    async fn fill(turns: &Turns) -> Vec<Turn<'_>> {
        let mut all = Vec::new();
        for _ in 0..NEWCOMERS {
            all.push(turns.wait(Occasion::Opening, Some(origin(1))).await.expect("a free place"));
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_are_never_before_readers_and_wait_for_a_bounded_time() {
        let turns = Turns::new();
        let strangers = fill(&turns).await;
        let refused = turns.wait(Occasion::Opening, Some(origin(1))).await;
        assert_eq!(refused.expect_err("no place is free"), TooMany);
        for occasion in [Occasion::Recheck, Occasion::Change] {
            turns.wait(occasion, Some(origin(1))).await.expect("a place of their own");
        }
        drop(strangers);
        turns.wait(Occasion::Opening, Some(origin(1))).await.expect("a place is free again");
    }

    #[tokio::test]
    async fn origins_take_turns_and_whoever_leaves_loses_no_place() {
        let turns = Turns::new();
        let mut strangers = fill(&turns).await;
        let wait = |n| {
            let mut waiting = Box::pin(turns.wait(Occasion::Opening, Some(origin(n))));
            assert!(waiting.as_mut().now_or_never().is_none(), "no place is free");
            waiting
        };
        let [mut first, second, mut third] = [wait(1), wait(1), wait(1)];
        let mut other = wait(2);
        strangers.pop();
        let _first = first.as_mut().now_or_never().expect("its turn").expect("a place");
        drop(second);
        strangers.pop();
        let _other = other.as_mut().now_or_never().expect("before the rest").expect("a place");
        // The place that the one who has left would get, and one that was handed out and not taken.
        strangers.pop();
        let _third = third.as_mut().now_or_never().expect("its turn").expect("a place");
        let unaware = wait(3);
        strangers.pop();
        drop(unaware);
        turns.wait(Occasion::Opening, Some(origin(4))).await.expect("a free place");
        assert_eq!(turns.newcomers.queues().waiting, 0);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_has_room_for_another_origin_and_none_for_its_own() {
        let all = Arc::new(Newcomers::new(3));
        all.queues().places = 0;
        let wait = |n| {
            let mut waiting = Box::pin({
                let all = all.clone();
                async move { all.wait(Some(origin(n))).await }
            });
            let now = waiting.as_mut().now_or_never().map(|turn| turn.expect_err("no place"));
            (waiting, now)
        };
        let waiting = [wait(1), wait(1), wait(1)];
        assert!(waiting.iter().all(|(_, now)| now.is_none()));
        assert_eq!(wait(1).1, Some(TooMany));
        let (_other, now) = wait(2);
        assert_eq!(now, None);
        let [_, _, (mut last, _)] = waiting;
        last.as_mut().now_or_never().expect("it had to go").expect_err("it had to go");
        assert_eq!(wait(3).1, None, "those who have left make room");
    }

    #[tokio::test(start_paused = true)]
    async fn newcomers_have_fewer_places_while_answers_are_late() {
        let turns = Turns::new();
        let places = || turns.newcomers.queues().places;
        let ask = async |is_in_time: bool| {
            let turn = turns.wait(Occasion::Recheck, None).await.expect("a place");
            turn.answered(is_in_time);
        };
        for _ in 0..5 {
            ask(false).await;
        }
        assert_eq!(places(), NEWCOMERS / 2, "late for one reason");
        for _ in 0..10 {
            tokio::time::advance(ONE_REASON).await;
            ask(false).await;
        }
        assert_eq!(places(), FEWEST);
        for _ in 0..NEWCOMERS * NEWCOMERS {
            ask(true).await;
        }
        assert_eq!(places(), NEWCOMERS);
    }

    #[test]
    fn an_ipv6_network_is_one_origin() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
