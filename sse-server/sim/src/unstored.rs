//! Events that are not stored: when which hub had one to show. As often as a hub had it since a
//! reader came, as often may the reader get it; and has missed it, if it got it less often.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sse_server::relay::News;

use crate::disk::serial_of;
use crate::plan::Millis;

/// By the publisher's number of an event.
#[derive(Default)]
pub struct Unstored(Mutex<BTreeMap<u64, Vec<Showing>>>);

/// A hub shows an event to those who read from it then.
struct Showing {
    hub: usize,
    from: Millis,
    /// Until when it does, if that is known.
    until: Option<Millis>,
    /// When it has surely shown it, if that is known.
    shown: Option<Millis>,
}

/// How long it may take a hub to show what the relay brings: it may be about to read what came
/// before, from a storage that hangs.
const BY_RELAY: Millis = 15_000;

impl Unstored {
    /// The relay brings this to a hub, which shows it at once.
    pub fn brought(&self, hub: usize, news: &News, now: Millis) {
        let News::Message(message) = news else { return };
        let event = message.event.as_ref().filter(|_| message.id.is_none());
        if let Some(serial) = event.and_then(|(_, data)| serial_of(data)) {
            let shown = Some(now + BY_RELAY);
            let showing = Showing { hub, from: now, until: Some(now), shown };
            self.all().entry(serial).or_default().push(showing);
        }
    }

    /// A hub is asked to publish this: it shows it before it answers, or when nobody knows.
    pub fn asked(&self, hub: usize, serials: &[u64], now: Millis) {
        let mut all = self.all();
        for serial in serials {
            let showing = Showing { hub, from: now, until: None, shown: None };
            all.entry(*serial).or_default().push(showing);
        }
    }

    /// It has answered: yes, or no.
    pub fn answered(&self, hub: usize, serials: &[u64], now: Millis, is_confirmed: bool) {
        let mut all = self.all();
        for serial in serials {
            let showings = all.get_mut(serial).into_iter().flatten();
            let mut asked = showings.filter(|it| it.hub == hub && it.until.is_none());
            if let Some(last) = asked.next_back() {
                last.until = Some(now);
                last.shown = is_confirmed.then_some(now);
            }
        }
    }

    /// How often a hub may have shown an event since then.
    pub fn shown_since(&self, hub: usize, serial: u64, since: Millis) -> usize {
        let all = self.all();
        let showings = all.get(&serial).into_iter().flatten();
        let is_since = |it: &&Showing| it.hub == hub && it.until.is_none_or(|until| until >= since);
        showings.filter(is_since).count()
    }

    /// How often a hub has surely shown an event to all who were there between these times.
    pub fn surely_shown(&self, hub: usize, serial: u64, since: Millis, by: Millis) -> usize {
        let all = self.all();
        let showings = all.get(&serial).into_iter().flatten();
        let is_sure = |it: &&Showing| {
            it.hub == hub && it.from > since && it.shown.is_some_and(|shown| shown <= by)
        };
        showings.filter(is_sure).count()
    }

    /// Whether a hub had shown one event, and said so, before it was asked to publish another; or
    /// both are of one request. Only of events that were asked for there, once.
    pub fn is_before(&self, hub: usize, first: u64, second: u64, is_one_request: bool) -> bool {
        let all = self.all();
        let only = |serial: u64| {
            let mut showings = all.get(&serial)?.iter().filter(|it| it.hub == hub);
            let only = showings.next().filter(|it| it.until.is_none() || it.until == it.shown)?;
            showings.next().is_none().then_some((only.from, only.shown))
        };
        let (Some((_, shown)), Some((asked, _))) = (only(first), only(second)) else {
            return false;
        };
        (is_one_request && first < second) || shown.is_some_and(|shown| shown < asked)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Showing>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
