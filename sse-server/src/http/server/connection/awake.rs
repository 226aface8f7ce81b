//! Waiting for a publisher's next request without falling asleep.
//!
//! A publisher that waits for each answer before it sends the next event sends that within some
//! 40 µs. A thread that sleeps by then takes about 20 µs to wake up, of 200 for all. So it looks
//! again and again for a while, but only for a publisher who was that quick the last time, and
//! only if nobody else publishes meanwhile: those who publish together wake the thread for each
//! other.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::task::yield_now;

use super::transport::{Io, Transport};
use crate::hub::PublishThread;

/// How long it looks, and what is quick. About what a small request costs, so that looking in vain
/// doubles that at most, and once.
const LONGEST: Duration = Duration::from_micros(100);

/// One publisher's pace.
#[derive(Debug)]
pub(super) struct Pace {
    thread: PublishThread,
    /// When the last answer went, and its number among all of the thread.
    answered: Option<(Instant, u64)>,
    is_quick: bool,
}

impl Pace {
    /// Of a connection that has asked for nothing yet.
    pub(super) const fn new(thread: PublishThread) -> Self {
        Self { thread, answered: None, is_quick: false }
    }

    /// A request has been answered.
    pub(super) fn has_answered(&mut self) {
        let number = self.thread.count_answer();
        self.answered = Some((Instant::now(), number));
    }

    /// Bytes of the next one are there.
    pub(super) fn has_received(&mut self) {
        // Only the first of them say something.
        if let Some((when, number)) = self.answered.take() {
            self.is_quick = self.thread.answers() == number && when.elapsed() <= LONGEST;
        }
    }

    /// Looks for the next request, if it is worth it. None: it has not come.
    pub(super) async fn wait_awake(
        &self,
        socket: &mut Transport<impl Io>,
        read: &mut BytesMut,
    ) -> Option<io::Result<usize>> {
        let (since, _) =
            self.answered.filter(|_| self.is_quick && self.thread.is_on_many_cores())?;
        while since.elapsed() < LONGEST {
            let look = poll_fn(|context| {
                let looked = pin!(socket.read_buf(&mut *read)).poll(context);
                Poll::Ready(looked)
            });
            if let Poll::Ready(len) = look.await {
                return Some(len);
            }
            // Others have their turn, and the system is asked what has come.
            yield_now().await;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_publisher_who_is_quick_and_alone_is_waited_for() {
        let thread = PublishThread::start().expect("a thread");
        let (mut pace, mut other) = (Pace::new(thread.clone()), Pace::new(thread));
        pace.has_received();
        assert!(!pace.is_quick, "the first request says nothing");
        // How long this takes is not ours to say; whether it was quick is.
        let exchange = |pace: &mut Pace, other: Option<&mut Pace>, pause: Duration| {
            pace.has_answered();
            if let Some(other) = other {
                other.has_answered();
            }
            std::thread::sleep(pause);
            pace.has_received();
            pace.is_quick
        };
        let was_quick = (0..1_000).any(|_| exchange(&mut pace, None, Duration::ZERO));
        assert!(was_quick, "the next request was there at once");
        assert!(!exchange(&mut pace, Some(&mut other), Duration::ZERO), "it was not alone");
        assert!(!exchange(&mut pace, None, 2 * LONGEST), "it was late");
    }
}
