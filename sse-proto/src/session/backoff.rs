//! How long to wait before the next try.

use core::time::Duration;

/// A moment, as nanoseconds since any other that stays the same (such as the session's start), or a
/// length of time in nanoseconds. They last for 584 years.
///
/// Arithmetic with them is a fifth of the code that it is with [`Duration`], and crosses the border
/// to JavaScript as a number.
pub type Nanos = u64;

/// Later than any moment.
pub(super) const NEVER: Nanos = Nanos::MAX;

pub(super) const SECOND: Nanos = 1_000_000_000;

/// A length of time in nanoseconds. What is longer than 584 years is as long as that.
pub const fn nanos(time: Duration) -> Nanos {
    if time.as_secs() >= NEVER / SECOND {
        return NEVER - 1;
    }
    time.as_secs() * SECOND + time.subsec_nanos() as Nanos
}

/// The longest that a server can make a client wait, by `retry` or `Retry-After`: an
/// hour. A number beyond it is more often a mistake or malice than a wish.
const MAX_ASKED_FOR: Nanos = 3600 * SECOND;

/// Delays that grow with each failure in a row: a floor that is always waited, and on top of it a
/// random part ("full jitter") out of a range that doubles up to a cap.
///
/// After a request that has failed without an answer, half of the range is always waited, too
/// ("equal jitter"): it may have been many requests, as in a browser that has followed redirects in
/// a circle. With the default it takes four seconds until the fourth of such tries.
///
/// The random part is what keeps ten thousand clients from coming back in the same millisecond
/// after a server has restarted; the floor is what keeps one client from trying in a tight loop,
/// whatever the server says.
///
/// ```
/// use core::time::Duration;
/// use sse_proto::Backoff;
///
/// let backoff = Backoff::default()
///     .initial(Duration::from_millis(300))
///     .max(Duration::from_secs(5));
/// # let longest = Duration::from_millis(250 + 5000);
/// # assert!(backoff.delay(9, None, u64::MAX) <= longest);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct Backoff {
    initial: Nanos,
    max: Nanos,
    min: Nanos,
    jitter: u8,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(Duration::from_secs(30))
    }
}

impl Backoff {
    /// The range of the random part after the first failure. Default: 1 s. Shorter recovers faster
    /// from a hiccup; longer spreads the load after a restart better. Zero doubles to zero: there
    /// is no random part then, after any number of failures.
    pub const fn initial(mut self, range: Duration) -> Self {
        self.initial = nanos(range);
        self
    }

    /// What the range of the random part grows to. Default: 30 s. It is about twice the time that a
    /// client needs, on average, to notice that a long outage is over.
    pub const fn max(mut self, range: Duration) -> Self {
        self.max = nanos(range);
        self
    }

    /// The floor: the least to wait, also if the server sends `retry: 0`. Default: 250 ms. Do not
    /// set it to zero unless the server is yours.
    pub const fn min(mut self, delay: Duration) -> Self {
        self.min = nanos(delay);
        self
    }

    /// How much of the range is left to chance, in percent, up to 100. Default: 100, which spreads
    /// many clients best. With 0 the whole range is always waited: delays are as long as
    /// possible, and the same for everyone.
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter = if percent > 100 { 100 } else { percent };
        self
    }

    /// The default, but the range grows to `max`, and begins no higher.
    pub const fn up_to(max: Duration) -> Self {
        let max = nanos(max);
        let initial = if max < SECOND { max } else { SECOND };
        Self { initial, max, min: SECOND / 4, jitter: 100 }
    }

    pub(super) const fn floor(&self) -> Nanos {
        self.min
    }

    /// The delay after `failures` failures in a row (the first is 1), where the server has
    /// answered, or was never reached. `asked_for` is the time that the server asks to be left
    /// alone, if it does; it raises the floor, up to an hour. `random` is any number, every time
    /// another.
    pub fn delay(&self, failures: u32, asked_for: Option<Duration>, random: u64) -> Duration {
        let asked_for = nanos(asked_for.unwrap_or_default());
        Duration::from_nanos(self.delay_nanos(self.range(failures), asked_for, random))
    }

    /// A fifth of what the server asks for: the range of a client that keeps close to it.
    pub(super) fn fifth_of(&self, asked_for: Nanos) -> Nanos {
        self.floor_for(asked_for) / 5
    }

    /// The range of the random part after so many failures in a row.
    pub(super) fn range(&self, failures: u32) -> Nanos {
        let doublings = failures.saturating_sub(1).min(31);
        let is_at_cap = self.initial > self.max >> doublings;
        if is_at_cap { self.max } else { self.initial << doublings }
    }

    /// What is always waited.
    fn floor_for(&self, asked_for: Nanos) -> Nanos {
        asked_for.min(MAX_ASKED_FOR).max(self.min)
    }

    pub(super) fn delay_nanos(&self, range: Nanos, asked_for: Nanos, random: u64) -> Nanos {
        let by_chance = range / 100 * u64::from(self.jitter);
        let jitter = by_chance / (1 << 16) * (random >> 48);
        self.floor_for(asked_for).saturating_add(range - by_chance).saturating_add(jitter)
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): jitter needs a spread, not a secret.
#[derive(Clone, Debug)]
pub(crate) struct Jitter(pub(crate) u64);

impl Jitter {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_range_doubles_up_to_the_cap() {
        let backoff = Backoff::default().min(Duration::ZERO);
        let longest = |failures| backoff.delay(failures, None, u64::MAX).as_millis().div_ceil(100);
        let ranges = [1, 2, 3, 4, 5, 6, 7, 40, u32::MAX].map(longest);
        assert_eq!(ranges, [10, 20, 40, 80, 160, 300, 300, 300, 300]);
    }

    #[test]
    fn without_jitter_the_whole_range_is_waited() {
        let backoff = Backoff::default().jitter(0);
        assert_eq!(backoff.delay(1, None, 0), backoff.delay(1, None, u64::MAX));
        assert_eq!(backoff.delay(3, None, 7), Duration::from_millis(4250));
        let half = Backoff::default().jitter(50);
        assert_eq!(half.delay(1, None, 0), Duration::from_millis(750));
    }

    /// Those that others have published for this seed.
    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        let mut jitter = Jitter(1_234_567);
        let numbers = [jitter.next(), jitter.next(), jitter.next()];
        assert_eq!(
            numbers,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor_between_ours_and_an_hour() {
        let backoff = Backoff::default();
        let shortest = |asked_for| backoff.delay(1, asked_for, 0);
        assert_eq!(shortest(None), Duration::from_millis(250));
        assert_eq!(shortest(Some(Duration::ZERO)), Duration::from_millis(250));
        assert_eq!(shortest(Some(5 * SECOND)), 5 * SECOND);
        assert_eq!(shortest(Some(Duration::MAX)), 3600 * SECOND);
    }
}
