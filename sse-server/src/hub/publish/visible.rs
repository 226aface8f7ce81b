//! Showing events to readers here, and having other instances told.

use super::super::Shared;
use super::super::log::Appended;
use super::{render, render_live};
use crate::relay::Message;
use crate::seams::HashMap;
use crate::storage::NewEvent;

/// Makes events visible, here and elsewhere. The id of those that are not stored is 0.
pub(super) fn make_visible(shared: &Shared, events: &[(&NewEvent, u64)]) {
    show(shared, events);
    tell(shared, events);
    if let Some(tap) = shared.tap.get() {
        tap(events);
    }
}

/// Has events looked for that were stored before, here and at other instances: the one that stored
/// them may have ended before it told, or not know that they are stored.
pub(super) fn remind(shared: &Shared, events: &[NewEvent], ids: &[u64]) {
    if mutant!("known-not-shown") {
        return;
    }
    for (event, &id) in events.iter().zip(ids).filter(|(_, id)| **id > 0) {
        shared.hints.add(&event.channel, id, false);
    }
    if let Some(announcer) = &shared.announcer
        && !mutant!("known-not-told")
    {
        let stored = events.iter().zip(ids.iter().copied()).filter(|(_, id)| *id > 0);
        let lasts = last_of_each(stored);
        if !lasts.is_empty() {
            announcer.tell(lasts);
        }
    }
}

/// Makes events visible to readers here.
fn show(shared: &Shared, events: &[(&NewEvent, u64)]) {
    if mutant!("unstored-out-of-order") && events.len() > 1 && events.iter().all(|(_, id)| *id == 0)
    {
        return events.iter().rev().for_each(|event| show(shared, &[*event]));
    }
    for &(event, id) in events {
        let Some(log) = shared.log(&event.channel) else { continue };
        let NewEvent { event_type, data, skip_users, .. } = event;
        if id == 0 {
            log.append_live(render_live(event_type, data, skip_users));
            continue;
        }
        match log.append(id, render(&event.channel, id, event_type, data, skip_users)) {
            Appended::Visible => {}
            Appended::AfterOthers if mutant!("others-not-looked-for") => {}
            Appended::AfterOthers => shared.hints.add(&event.channel, id, false),
            Appended::Unclear => shared.hints.add(&event.channel, id, true),
        }
    }
}

/// A fault for the simulator: makes events visible that may never be stored.
pub(super) fn show_too_early(shared: &Shared, events: &[NewEvent]) {
    for event in events {
        let Some(log) = shared.log(&event.channel) else { continue };
        let Some(id) = log.head().filter(|_| event.store).map(|head| head + 1) else { continue };
        let NewEvent { event_type, data, skip_users, .. } = event;
        log.append(id, render(&event.channel, id, event_type, data, skip_users));
    }
}

/// Has other instances told.
fn tell(shared: &Shared, events: &[(&NewEvent, u64)]) {
    let Some(announcer) = &shared.announcer else { return };
    if events.is_empty() || mutant!("nobody-told") {
        return;
    }
    let whole = |(event, id): (&NewEvent, u64)| {
        let NewEvent { channel, event_type, data, skip_users, .. } = event.clone();
        Message::new(channel, (id > 0).then_some(id)).with_event(event_type, data, skip_users)
    };
    let messages: Vec<Message> = if announcer.whole {
        events.iter().copied().map(whole).collect()
    } else {
        let (stored, others): (Vec<_>, Vec<_>) =
            events.iter().copied().partition(|(_, id)| *id > 0);
        others.into_iter().map(whole).chain(last_of_each(stored)).collect()
    };
    announcer.tell(messages);
}

/// How far the channels of events that are stored reach, for other instances.
fn last_of_each<'a>(stored: impl IntoIterator<Item = (&'a NewEvent, u64)>) -> Vec<Message> {
    let lasts: HashMap<_, _> = stored.into_iter().map(|(event, id)| (&event.channel, id)).collect();
    lasts.into_iter().map(|(channel, id)| Message::new(channel.clone(), Some(id))).collect()
}
