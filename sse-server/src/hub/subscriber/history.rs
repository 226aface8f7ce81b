//! Reading what is not in memory any more, in pages that all share who replay the same.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;

use super::super::log::Log;
use super::super::pages::{Extent, Next, Pages, Replaying, turn};
use super::super::pieces::ROUND_BYTES;
use super::{Found, Subscriber};

/// After so many bytes of history that needed no waiting others have their turn: a
/// publisher, a live reader or a new one waits for no more than that.
const TURN_BYTES: usize = ROUND_BYTES;

impl Subscriber {
    /// What comes after the position of the channel that is asked, at most so many events.
    pub(super) fn poll_history(&mut self, limit: usize, cx: &mut Context<'_>) -> Poll<Found> {
        let position = &self.positions[self.round.asked];
        let (log, at, generation) = (position.log.clone(), position.at, position.generation);
        let page = position.page;
        if self.round.reading.is_none() {
            // Others may be within the same event.
            if let Some(event) = self.shared.remembered.find(&log, generation, at + 1) {
                self.round.bytes += event.len();
                return Poll::Ready(Found::Events(vec![event]));
            }
            if self.replaying.is_none() {
                self.replaying = Some(Replaying::new(self.shared.clone()));
            }
            self.round.reading = Some(match self.shared.pages.find(&log, generation, at) {
                Some(next) if self.had < TURN_BYTES => {
                    return Poll::Ready(self.take_next(&log, next, limit, cx));
                }
                Some(next) => {
                    self.had = 0;
                    cx.waker().wake_by_ref();
                    let shared = self.shared.clone();
                    let taken = async move {
                        turn(&shared).await;
                        next
                    };
                    self.round.reading = Some(taken.boxed().shared());
                    return Poll::Pending;
                }
                None => Pages::load(&self.shared, &log, generation, at, page),
            });
        }
        let reading = self.round.reading.as_mut().expect("begun above");
        let next = ready!(reading.poll_unpin(cx));
        self.round.reading = None;
        if log.end().1 != generation {
            return Poll::Ready(self.positions[self.round.asked].gap());
        }
        Poll::Ready(self.take_next(&log, next, limit, cx))
    }

    /// Takes of what comes next as much as there is room for.
    fn take_next(
        &mut self,
        log: &Arc<Log>,
        next: Next,
        limit: usize,
        cx: &mut Context<'_>,
    ) -> Found {
        let position = &mut self.positions[self.round.asked];
        let (at, generation) = (position.at, position.generation);
        let (page, extent) = match next {
            Next::Page(page, extent) => (page, extent),
            Next::Large(event) => {
                position.page = 1;
                self.shared.remembered.add(log, generation, at + 1, &event);
                self.round.bytes += event.len();
                return Found::Events(vec![event]);
            }
            Next::Nothing => return position.gap(),
        };
        let Some(from) = page.index_of(at + 1) else { return position.gap() };
        position.learn(extent);
        if mutant!("pages-never-grow") {
            position.learn(Extent { limit: position.page, ..extent });
        }
        let (events, bytes) = page.run(from, limit, ROUND_BYTES - self.round.bytes);
        self.round.bytes += bytes;
        self.had += bytes;
        if self.positions.len() == 1 {
            self.read_ahead(log, generation, extent.up_to, cx);
        }
        Found::Page(page, events)
    }

    /// Has the next stretch read while this one goes out.
    fn read_ahead(&mut self, log: &Arc<Log>, generation: u64, up_to: u64, cx: &mut Context<'_>) {
        let (head, _) = log.end();
        if up_to >= head || self.shared.pages.is_ahead(log, generation, up_to) {
            return;
        }
        let page = self.positions[self.round.asked].page;
        let mut ahead = Pages::load(&self.shared, log, generation, up_to, page);
        // That begins it. The reader that gets there asks again.
        let _ = ahead.poll_unpin(cx);
        self.ahead = Some(ahead);
    }
}
