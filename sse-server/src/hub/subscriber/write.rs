//! Writing what a round has found.

use std::ops::Range;
use std::sync::Arc;

use sse_proto::stream_reset;

use super::super::event::KeptEvent;
use super::super::filter::lets;
use super::super::outgoing::Outgoing;
use super::super::pages::Page;
use super::super::pieces::{Begun, is_large};
use super::{Found, Subscriber};

impl Subscriber {
    /// Writes what the round has found, resets first: their id must not claim events that come
    /// after.
    pub(super) fn write_round(&mut self, out: &mut Outgoing) {
        let mut found = std::mem::take(&mut self.round.found);
        let mut lost: Vec<Arc<str>> = Vec::new();
        for (index, found) in &found {
            if let &Found::Gap { head, generation, live_head } = found {
                let position = &mut self.positions[*index];
                position.at = head;
                position.is_unknown = false;
                position.generation = generation;
                position.live_at = live_head;
                lost.push(position.log.name().clone());
            }
        }
        if !lost.is_empty() {
            self.tally.resets += 1;
            let id = Some(self.cursor().to_string()).filter(|id| !id.is_empty());
            let reset = stream_reset(id.as_deref(), &lost);
            let reset = reset.expect("a cursor is percent-encoded");
            if !mutant!("reset-swallowed") {
                out.put(reset.to_string().as_bytes());
            }
            self.is_untold = false;
        }
        let (types, user) = (self.types.clone(), self.user.clone());
        let is_wanted = |event: &KeptEvent| lets(types.as_ref(), &user, event);
        for (index, found) in &mut found {
            let position = &self.positions[*index];
            let is_all = match found {
                Found::Gap { .. } => false,
                Found::Live(events) => {
                    position.live_at + events.len() as u64 >= position.log.live_head()
                }
                Found::Events(events) => {
                    Some(position.at + events.len() as u64) >= position.log.head()
                }
                Found::Page(_, events) => {
                    Some(position.at + events.len() as u64) >= position.log.head()
                }
            };
            if is_all {
                self.tally.lag = position.log.age();
            }
            match found {
                Found::Gap { .. } => {}
                Found::Live(events) => {
                    self.positions[*index].live_at += events.len() as u64;
                    // Beside channels that are stored, their positions. Not with an event of such a
                    // channel: it would have the id of the one before.
                    let is_lasting = self.positions[*index].log.is_lasting();
                    let id = if is_lasting { String::new() } else { self.cursor().to_string() };
                    for event in events.drain(..).filter(&is_wanted) {
                        if is_large(&event) {
                            let id = (!id.is_empty()).then(|| id.clone());
                            self.begin(Begun::new(*index, Some(event.clone()), id), &event, out);
                            continue;
                        }
                        self.tally.events += 1;
                        if id.is_empty() {
                            out.put_event(&event);
                        } else {
                            out.put_event_with_id(&event, &id);
                            self.is_untold = false;
                        }
                    }
                }
                Found::Page(page, events) => self.write_page(*index, page, events.clone(), out),
                Found::Events(events) => {
                    if mutant!("id-of-the-whole-round") {
                        let len = events.len() as u64;
                        for event in events.drain(..).filter(&is_wanted) {
                            let mut cursor = self.cursor().into_owned();
                            let at = self.positions[*index].at + len;
                            cursor.set(self.positions[*index].channel().to_string(), at);
                            out.put_event_with_id(&event, &cursor.to_string());
                        }
                        self.positions[*index].at += len;
                        continue;
                    }
                    for event in events.drain(..) {
                        self.positions[*index].at += 1;
                        self.is_untold = !is_wanted(&event);
                        if self.is_untold {
                            continue;
                        }
                        if is_large(&event) {
                            let id = (self.positions.len() > 1).then(|| self.cursor().to_string());
                            // It counts when it is whole.
                            self.positions[*index].at -= 1;
                            self.begin(Begun::new(*index, None, id), &event, out);
                            continue;
                        }
                        self.tally.events += 1;
                        if self.positions.len() == 1 {
                            out.put_event(&event);
                        } else {
                            out.put_event_with_id(&event, &self.cursor().to_string());
                        }
                    }
                }
            }
        }
        // The memory is for the next round, unless this one was large.
        found.clear();
        self.round.found = found;
    }

    /// Writes events of a page. Those who read nothing else get as many as they want in one piece.
    fn write_page(
        &mut self,
        channel: usize,
        page: &Page,
        events: Range<usize>,
        out: &mut Outgoing,
    ) {
        let is_alone = self.positions.len() == 1;
        let is_for_all = page.is_for_all() || mutant!("pages-are-for-all");
        if is_alone && self.types.is_none() && is_for_all {
            self.positions[channel].at += events.len() as u64;
            self.tally.events += events.len() as u64;
            self.is_untold = false;
            return out.put_shared(page.bytes(events));
        }
        let mut wanted = events.start..events.start;
        for index in events {
            self.positions[channel].at += 1;
            let is_of_type =
                self.types.as_ref().is_none_or(|types| types.has(page.event_type(index)));
            self.is_untold = !(is_of_type && page.is_for(index, &self.user));
            if self.is_untold {
                continue;
            }
            self.tally.events += 1;
            if !is_alone {
                out.put_from_page(page, index, &self.cursor().to_string());
            } else if wanted.end == index {
                wanted.end += 1;
            } else {
                out.put_shared(page.bytes(std::mem::replace(&mut wanted, index..index + 1)));
            }
        }
        out.put_shared(page.bytes(wanted));
    }
}
