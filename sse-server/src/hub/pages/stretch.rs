//! Making pages of the events that a storage shows.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sse_proto::{Event, event_id};
use tokio::sync::oneshot;

use super::page::{Page, Place};
use crate::ServiceError;
use crate::hub::Shared;
use crate::hub::event::KeptEvent;
use crate::hub::pieces::ROUND_BYTES;
use crate::hub::publish::clean;
use crate::storage::EventRef;

/// A stretch that a storage has, and gives back with the visitor.
struct Seeing(Option<(Stretch, oneshot::Sender<Stretch>)>);

impl Drop for Seeing {
    fn drop(&mut self) {
        if let Some((stretch, back)) = self.0.take() {
            back.send(stretch).ok();
        }
    }
}

/// Pages that are being made.
pub(in crate::hub) struct Stretch {
    pages: Vec<Arc<Page>>,
    large: Option<KeptEvent>,
    /// How many bytes there may be more.
    room: usize,
    /// The id of the next event; and as text, of which so much does not change.
    next: u64,
    id: String,
    id_prefix: usize,
    /// The page under way.
    out: BytesMut,
    events: Vec<Place>,
    skip_users: Vec<(usize, Box<[String]>)>,
}

impl Stretch {
    /// What comes after this event, at most so many bytes.
    fn new(channel: &str, after: u64, most: usize) -> Self {
        let mut id = event_id(channel, 0);
        id.pop();
        Self {
            pages: Vec::with_capacity(most / ROUND_BYTES + 1),
            large: None,
            room: most,
            next: after + 1,
            id_prefix: id.len(),
            id,
            out: BytesMut::new(),
            events: Vec::new(),
            skip_users: Vec::new(),
        }
    }

    /// Reads it from the storage.
    pub(in crate::hub) async fn read(
        shared: &Shared,
        channel: &str,
        after: u64,
        (limit, most): (usize, usize),
    ) -> Result<Self, ServiceError> {
        let (back, stretch) = oneshot::channel();
        let mut seeing = Seeing(Some((Self::new(channel, after, most), back)));
        let visitor = Box::new(move |event: EventRef<'_>| {
            seeing.0.as_mut().map_or(ControlFlow::Break(()), |(stretch, _)| stretch.see(event))
        });
        shared.storage.visit(channel, after, limit, visitor).await?;
        stretch.await.map_err(|error| ServiceError::new("read events", error))
    }

    /// Whether it has the first event.
    pub(in crate::hub) fn is_begun(&self) -> bool {
        self.large.is_some() || !self.pages.is_empty() || !self.events.is_empty()
    }

    /// Renders an event, if it is the next one.
    fn see(&mut self, event: EventRef<'_>) -> ControlFlow<()> {
        // Dense ids make a gap visible, wherever it comes from.
        if event.id != self.next {
            return ControlFlow::Break(());
        }
        self.id.truncate(self.id_prefix);
        write!(self.id, "{}", event.id).expect("writing to memory cannot fail");
        let event_type = clean(event.event_type);
        // With what stands around them, or a little less if there are line ends in the data.
        let len = event_type.len() + self.id.len() + event.data.len() + 21;
        if len > ROUND_BYTES && self.is_begun() {
            return ControlFlow::Break(());
        }
        if self.out.len() + len > ROUND_BYTES {
            self.turn();
        }
        if self.out.capacity() == 0 {
            self.out.reserve(ROUND_BYTES);
        }
        let rendered = Event::builder(event.data).event_type(&event_type).id(&self.id).build();
        let rendered = rendered.expect("a clean type, and an id that is percent-encoded");
        let start = self.out.len();
        let id_start = start + if event_type.is_empty() { 0 } else { event_type.len() + 8 };
        rendered.encode_into(&mut self.out);
        let len = self.out.len() - start;
        if self.out.len() > ROUND_BYTES {
            let whole = self.out.split_off(start);
            if len > ROUND_BYTES && !self.is_begun() {
                let users: Vec<String> =
                    event.skip_users.iter().map(|&user| user.to_owned()).collect();
                self.large = Some(KeptEvent::new(&rendered, &users));
            }
            self.turn();
            if len > ROUND_BYTES {
                return ControlFlow::Break(());
            }
            self.out.reserve(ROUND_BYTES);
            self.out.extend_from_slice(&whole);
            return self.add(event, 0, id_start - start);
        }
        self.add(event, start, id_start)
    }

    /// Takes note of the event that was rendered last.
    fn add(&mut self, event: EventRef<'_>, start: usize, id_start: usize) -> ControlFlow<()> {
        let at = |place: usize| u32::try_from(place).expect("a page is smaller");
        if !event.skip_users.is_empty() {
            let users = event.skip_users.iter().map(|&user| user.to_owned()).collect();
            self.skip_users.push((self.events.len(), users));
        }
        let id_end = id_start + self.id.len() + "id: \n".len();
        self.events.push(Place {
            id_start: at(id_start),
            id_end: at(id_end),
            end: at(self.out.len()),
        });
        self.next += 1;
        self.room = self.room.saturating_sub(self.out.len() - start);
        if self.room > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Ends the page under way, if there is an event in it.
    fn turn(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let out = std::mem::take(&mut self.out);
        // One that is far from full takes no more than it has.
        let is_full = out.len() >= out.capacity() / 4 * 3;
        let bytes = if is_full { out.freeze() } else { Bytes::copy_from_slice(&out) };
        self.pages.push(Arc::new(Page {
            first: self.next - self.events.len() as u64,
            bytes,
            events: std::mem::take(&mut self.events).into(),
            skip_users: std::mem::take(&mut self.skip_users).into(),
        }));
    }

    pub(super) fn end(mut self) -> (Vec<Arc<Page>>, Option<KeptEvent>) {
        self.turn();
        (self.pages, self.large)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::publish::render_stored;
    use crate::storage::StoredEvent;

    /// Pages of so many events from this one on, of a kibibyte each.
    pub(in crate::hub::pages) fn pages(first: u64, count: u64) -> Vec<Arc<Page>> {
        let mut stretch = Stretch::new("a", first - 1, 1 << 30);
        let data = "x".repeat(1000);
        for id in first..first + count {
            let event = EventRef { id, event_type: "t", data: &data, skip_users: &[] };
            assert!(stretch.see(event).is_continue());
        }
        stretch.end().0
    }

    /// What a stretch makes of these events, with ids from 1 on.
    fn stretch(events: &[StoredEvent], most: usize) -> (Vec<Arc<Page>>, Option<KeptEvent>) {
        let mut stretch = Stretch::new("a b", 0, most);
        for event in events {
            let users: Vec<&str> = event.skip_users.iter().map(|user| &**user).collect();
            let StoredEvent { id, event_type, data, .. } = event;
            let seen = EventRef { id: *id, event_type, data, skip_users: &users };
            if stretch.see(seen).is_break() {
                break;
            }
        }
        stretch.end()
    }

    fn events() -> impl Strategy<Value = Vec<StoredEvent>> {
        let line =
            prop_oneof![8 => Just(0), 1 => Just(ROUND_BYTES / 2), 1 => Just(ROUND_BYTES - 40)];
        let data =
            (line, "\\PC{0,9}", prop::bool::weighted(0.1)).prop_map(|(len, end, is_broken)| {
                // Line ends become seven bytes each.
                let text = if is_broken { "\n".repeat(len / 4) } else { "x".repeat(len) };
                text + &end
            });
        let event_type = prop_oneof![Just(""), Just("message"), Just("t"), Just("a\r\nb")];
        let users = prop::collection::vec("u[0-3]", 0..2);
        prop::collection::vec((event_type, data, users), 1..60).prop_map(|events| {
            let event = |(id, (event_type, data, users)): (u64, (&str, String, Vec<String>))| {
                StoredEvent::new(id, event_type, data).skip_users(users)
            };
            (1..).zip(events).map(event).collect()
        })
    }

    proptest! {
        #[test]
        fn pages_are_the_events_one_after_the_other_and_none_is_large(events in events()) {
            let (pages, large) = stretch(&events, 1 << 30);
            let mut left = events.iter();
            for page in &pages {
                prop_assert!(page.bytes.len() <= ROUND_BYTES);
                for index in 0..page.events.len() {
                    let event = left.next().expect("no more than there were");
                    prop_assert_eq!(page.index_of(event.id), Some(index));
                    let whole = render_stored("a b", event.id, event);
                    prop_assert_eq!(page.bytes(index..index + 1), whole.bytes());
                    prop_assert_eq!(page.head(index), whole.head());
                    prop_assert_eq!(page.tail(index), whole.tail());
                    prop_assert_eq!(page.event_type(index), whole.event_type());
                    for user in ["u1", "u2"] {
                        prop_assert_eq!(page.is_for(index, user), whole.is_for(user));
                    }
                }
                let on_page = events.iter().filter(|event| page.index_of(event.id).is_some());
                let mut users = on_page.flat_map(|event| &event.skip_users);
                prop_assert_eq!(page.is_for_all(), users.next().is_none());
            }
            // It ends before an event that is large, or with it, if that is all.
            if let Some(event) = large {
                prop_assert!(pages.is_empty());
                prop_assert!(event.len() > ROUND_BYTES);
            } else if let Some(event) = left.next() {
                let len = render_stored("a b", event.id, event).len();
                prop_assert!(len > ROUND_BYTES - 21, "{} bytes are a reason to end", len);
            }
        }

        #[test]
        fn a_run_has_at_most_so_many_events_and_bytes_and_one_in_any_case(
            events in events(), limit in 1_usize..9, most in 0_usize..2000,
        ) {
            for page in stretch(&events, 1 << 30).0 {
                let mut from = 0;
                while from < page.events.len() {
                    let (run, bytes) = page.run(from, limit, most);
                    prop_assert_eq!(page.bytes(run.clone()).len(), bytes);
                    prop_assert_eq!(run.start, from);
                    prop_assert!(run.len() == 1 || bytes <= most && run.len() <= limit);
                    let is_last = run.end == page.events.len() || run.len() == limit;
                    prop_assert!(is_last || page.bytes(from..run.end + 1).len() > most);
                    from = run.end;
                }
            }
        }
    }

    #[test]
    fn a_stretch_ends_where_an_event_is_missing_or_there_is_enough() {
        let events = |ids: &[u64]| {
            ids.iter().map(|&id| StoredEvent::new(id, "", "x".repeat(1000))).collect::<Vec<_>>()
        };
        let last = |ids: &[u64], most| {
            let (pages, _) = stretch(&events(ids), most);
            pages.last().map(|page| page.last())
        };
        assert_eq!(last(&[1, 2, 4], 1 << 30), Some(2));
        assert_eq!(last(&[2, 3], 1 << 30), None);
        assert_eq!(last(&[1, 2, 3, 4, 5], 3000), Some(3));
    }
}
