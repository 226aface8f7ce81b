//! Reading on within a large event.

use std::task::{Context, Poll, ready};

use futures_util::FutureExt;

use super::super::event::KeptEvent;
use super::super::log::Read;
use super::super::outgoing::Outgoing;
use super::super::pages::{Next, Pages};
use super::super::pieces::Begun;
use super::{Delivery, Position, Subscriber};

impl Subscriber {
    /// Writes the first piece of a large event.
    pub(super) fn begin(&mut self, mut begun: Begun, event: &KeptEvent, out: &mut Outgoing) {
        begun.write(event, out);
        self.begun = Some(begun);
    }

    /// Writes the next piece of the event that has gone out in part.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Outgoing,
    ) -> Poll<Delivery> {
        let Some(mut begun) = self.begun.take() else { return Poll::Pending };
        let event = match &begun.live {
            Some(event) => Poll::Ready(Some(event.clone())),
            None => self.poll_begun(begun.index, cx),
        };
        let Poll::Ready(Some(event)) = event else {
            self.begun = Some(begun);
            return event.map(|_| Delivery::Lost);
        };
        if begun.write(&event, out) {
            self.tally.events += 1;
            if begun.live.is_none() {
                self.positions[begun.index].at += 1;
            }
        } else {
            self.begun = Some(begun);
        }
        Poll::Ready(Delivery::Events)
    }

    /// The event after the position of a channel, if it is still there.
    fn poll_begun(&mut self, index: usize, cx: &mut Context<'_>) -> Poll<Option<KeptEvent>> {
        let Position { log, at, generation, .. } = &self.positions[index];
        let is_same = || log.end().1 == *generation;
        if self.round.reading.is_none() {
            let in_tail = match log.read(*at, 1) {
                Read::Events(events) => events.into_iter().next(),
                Read::NotInMemory => None,
            };
            let remembered = || self.shared.remembered.find(log, *generation, at + 1);
            if let Some(event) = in_tail.or_else(remembered).filter(|_| is_same()) {
                return Poll::Ready(Some(event));
            }
            self.round.reading = Some(Pages::load(&self.shared, log, *generation, *at, 1));
        }
        let reading = self.round.reading.as_mut().expect("begun above");
        let next = ready!(reading.poll_unpin(cx));
        self.round.reading = None;
        Poll::Ready(match next {
            Next::Large(event) if is_same() => {
                self.shared.remembered.add(log, *generation, at + 1, &event);
                Some(event)
            }
            _ => None,
        })
    }
}
