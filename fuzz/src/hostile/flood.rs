//! Whether a client that is late still takes what it is flooded with.

use std::time::Duration;

use tokio::time::Instant;

use super::request::Request;

/// After so long without taking anything of a flood, a client takes no more.
const STALLED: Duration = Duration::from_secs(5);

/// So long a client may work on what it has taken and has not read: buffers hold megabytes.
const DIGESTING: Duration = Duration::from_mins(2);

/// A connection ends after so long, even if its client still works.
const LONG: Duration = Duration::from_mins(4);

/// What clients take of floods. On a busy machine that takes long; a client that still takes
/// something is no later than the machine.
#[derive(Debug, Default)]
pub(super) struct Flood {
    sent: u64,
    /// Since when there is one.
    began: Option<Instant>,
    /// When something was last taken of it, and when the client last worked.
    taken: Option<Instant>,
    worked: Option<Instant>,
    /// How long its end may lie in buffers: as long again as it took to be sent.
    read_by: Option<Instant>,
    /// When the first one began, and whether the server ended one that went on for so long.
    first: Option<Instant>,
    is_cut: bool,
}

impl Flood {
    pub(super) fn look(&mut self, requests: &[Request], now: Instant) {
        let sent = requests.iter().map(|request| request.sent).sum();
        let has_gone_on = self.goes_on(now)
            && self.first.is_some_and(|first| now.saturating_duration_since(first) > LONG);
        let is_on = requests.iter().any(|request| request.is_flooded && request.ended.is_none());
        if is_on {
            self.began.get_or_insert(now);
            self.first.get_or_insert(now);
            if self.taken.is_none() || sent != self.sent {
                self.taken = Some(now);
            }
        } else {
            self.taken = None;
            let is_open = requests.iter().any(|request| request.ended.is_none());
            let was_left = requests.iter().any(|request| request.ended_by_client);
            self.is_cut |= has_gone_on && !is_open && !was_left;
            self.read_by = match self.began.take() {
                Some(began) => Some(now + (now - began)),
                None => self.read_by,
            }
            .filter(|_| is_open);
        }
        self.sent = sent;
    }

    /// Whether the client was still at it when the connection's time was over.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn is_on(&self) -> bool {
        self.taken.is_some() || self.read_by.is_some()
    }

    /// The client has worked, though it may have taken nothing.
    pub(super) fn is_worked_on(&mut self, now: Instant) {
        if self.taken.is_some_and(|taken| now - taken < DIGESTING) {
            self.worked = Some(now);
        }
    }

    pub(super) fn goes_on(&self, now: Instant) -> bool {
        let last = self.taken.map(|taken| self.worked.map_or(taken, |worked| worked.max(taken)));
        last.is_some_and(|last| now - last < STALLED) || self.read_by.is_some_and(|time| now < time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::request::Head;

    fn request(sent: u64) -> Request {
        let Head::Complete(request, _) = Request::parse(b"GET / HTTP/1.1\r\n\r\n") else {
            panic!("a head")
        };
        Request { sent, is_flooded: true, ..*request }
    }

    #[test]
    fn a_flood_goes_on_for_as_long_as_something_of_it_is_taken() {
        let mut flood = Flood::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!flood.goes_on(start), "there is none");
        for seconds in (0..100).step_by(4) {
            flood.look(&[request(seconds)], at(seconds));
            assert!(flood.goes_on(at(seconds + 4)));
        }
        flood.look(&[request(96)], at(100));
        assert!(!flood.goes_on(at(102)), "nothing is taken any more");
        flood.look(&[request(97)], at(103));
        assert!(flood.goes_on(at(104)));
        flood.is_worked_on(at(110));
        assert!(flood.goes_on(at(114)), "it works on what it has taken");
        flood.is_worked_on(at(300));
        assert!(!flood.goes_on(at(301)), "but not for ever");
        let mut ended = request(98);
        ended.ended = Some(Duration::ZERO);
        flood.look(&[ended], at(304));
        assert!(!flood.goes_on(at(304)), "its connection has ended");
        flood.look(&[request(99)], at(310));
        let over = Request { is_flooded: false, ..request(99) };
        flood.look(&[over], at(320));
        assert!(flood.goes_on(at(329)), "its end may lie in buffers");
        assert!(!flood.goes_on(at(330)), "but not for longer than it took");
    }

    #[test]
    fn a_client_that_is_still_at_it_when_its_time_is_over_is_not_late() {
        for (seconds, by_client, is_cut) in
            [(300, false, true), (300, true, false), (20, false, false)]
        {
            let mut flood = Flood::default();
            let start = Instant::now();
            let at = |seconds| start + Duration::from_secs(seconds);
            for seconds in (0..seconds).step_by(4) {
                flood.look(&[request(seconds)], at(seconds));
            }
            let mut ended = request(seconds);
            (ended.ended, ended.ended_by_client) = (Some(Duration::ZERO), by_client);
            flood.look(&[ended], at(seconds));
            assert_eq!(flood.is_cut(), is_cut, "{seconds} s");
        }
    }
}
