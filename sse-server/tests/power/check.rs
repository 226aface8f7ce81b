//! What is in a storage after a power cut, beside what had been promised before.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sse_server::storage::{Batch, NewEvent, Outcome, RequestKey, Storage};

use crate::load::{Attempt, CHANNELS};

/// A channel and a number.
pub(crate) type Id = (String, u64);

/// What has gone out before the cut, in answers and to readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promised(pub(crate) BTreeSet<Id>);

impl Promised {
    /// Takes note of the ids in bytes that went out: of `{"id":"orders:5"}`, and of `id: orders:5`.
    pub(crate) fn learn(&mut self, bytes: &[u8]) -> usize {
        let text = String::from_utf8_lossy(bytes);
        let answered = text.split("\"id\":\"").skip(1).filter_map(|rest| rest.split_once('"'));
        let read = text.split("\nid: ").skip(1).filter_map(|rest| rest.split_once('\n'));
        let mut count = 0;
        for (id, _) in answered.chain(read) {
            let Some((channel, number)) = id.split_once(':') else { continue };
            if let (true, Ok(number)) = (CHANNELS.contains(&channel), number.parse::<u64>()) {
                // Where a stream begins, nothing was promised yet.
                if number > 0 {
                    self.0.insert((channel.to_owned(), number));
                    count += 1;
                }
            }
        }
        count
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Promised, and not there.
    pub(crate) lost: Vec<Id>,
    /// The ends of the channels.
    pub(crate) heads: HashMap<&'static str, u64>,
}

/// Compares, and appends something. An error: what is there is not in order, whatever was lost.
/// `keep`: so many events of a channel are kept at least.
pub(crate) async fn check(
    storage: &Arc<dyn Storage>,
    attempts: &[Attempt],
    promised: &Promised,
    keep: Option<u64>,
) -> Result<Found, String> {
    let mut found = Found::default();
    // Of each event that is there the id, by its data.
    let mut there: HashMap<String, Id> = HashMap::new();
    let mut firsts = HashMap::new();
    for channel in CHANNELS {
        let said = |error| format!("{channel} cannot be read: {error}");
        let head = storage.head(channel).await.map_err(said)?;
        let mut next = 1;
        if let Some(keep) = keep {
            let first = storage.read(channel, 0, 1).await.map_err(said)?;
            next = first.first().map_or(head + 1, |event| event.id);
            if next > 1 && head + 1 - next < keep {
                return Err(format!(
                    "{channel}:{next} is the first of {head}, and {keep} are kept"
                ));
            }
        }
        firsts.insert(channel, next);
        loop {
            let events = storage.read(channel, next - 1, 500).await.map_err(said)?;
            if events.is_empty() {
                break;
            }
            for event in events {
                if event.id != next {
                    return Err(format!("{channel}:{} comes where {next} should be", event.id));
                }
                next += 1;
                let id = (channel.to_owned(), event.id);
                if let Some(other) = there.insert(event.data, id.clone()) {
                    return Err(format!("{id:?} is {other:?} again"));
                }
            }
        }
        if next != head + 1 {
            return Err(format!("{channel} ends at {head}, and its last event is {}", next - 1));
        }
        found.heads.insert(channel, head);
    }
    let of_id: HashMap<&Id, &String> = there.iter().map(|(data, id)| (id, data)).collect();
    for id in &promised.0 {
        let is_trimmed = id.1 < firsts[&*id.0];
        if !of_id.contains_key(id) && !is_trimmed {
            found.lost.push(id.clone());
        }
    }
    let mut known = 0;
    let mut again = Vec::new();
    for attempt in attempts {
        let ids: Vec<Option<&Id>> =
            attempt.events.iter().map(|(_, data)| there.get(data)).collect();
        let count = ids.iter().flatten().count();
        known += count;
        let is_whole = count == 0 || count == ids.len() || keep.is_some();
        if !is_whole {
            return Err(format!("a request is there in part: {ids:?}"));
        }
        for ((channel, data), id) in attempt.events.iter().zip(&ids) {
            if id.is_some_and(|id| id.0 != *channel) {
                return Err(format!("{id:?} was published to {channel}: {data:.16}"));
            }
        }
        if let Some(answered) = &attempt.ids
            && let Some(differs) = ids
                .iter()
                .zip(answered)
                .find(|(id, answered)| id.is_some_and(|id| id.1 != **answered))
        {
            return Err(format!("an event has another id than was answered: {differs:?}"));
        }
        if attempt.key.is_some() && keep.is_none() {
            let ids: Vec<u64> = ids.iter().flatten().map(|id| id.1).collect();
            again.push((attempt, ids));
        }
    }
    if known != there.len() {
        return Err(format!("{} events that nobody has published", there.len() - known));
    }
    // The last ones are those that a cut may have hit.
    for (attempt, ids) in again.iter().rev().take(6) {
        publish_again(storage, attempt, ids).await?;
    }
    for channel in CHANNELS {
        let before = storage.head(channel).await.map_err(|error| error.to_string())?;
        let appended = storage.append(&[NewEvent::new(channel, "message", "after")]).await;
        let ids = appended.map_err(|error| format!("nothing can be appended: {error}"))?;
        if ids != [before + 1] {
            return Err(format!("{ids:?} of {channel} come after {before}"));
        }
    }
    Ok(found)
}

/// A request that has a key is sent again: its events are there once then, and a key is known if
/// its events are.
async fn publish_again(
    storage: &Arc<dyn Storage>,
    attempt: &Attempt,
    ids: &[u64],
) -> Result<(), String> {
    let name = attempt.key.as_ref().expect("looked at before");
    // As the HTTP server does it for its operator's token.
    let key = RequestKey::new("*", name, attempt.body.as_bytes());
    let event =
        |(channel, data): &(&'static str, String)| NewEvent::new(*channel, "message", data.clone());
    let events: Vec<NewEvent> = attempt.events.iter().map(event).collect();
    let batch = Batch { events: &events, key: Some(&key) };
    let outcome = storage.append_once(&[batch]).await.map_err(|error| error.to_string())?;
    match &outcome[..] {
        [Outcome::Known(known)] if known == ids => Ok(()),
        [Outcome::Appended(_)] if ids.is_empty() => Ok(()),
        other => Err(format!("{name} with {ids:?}, sent again, is {other:?}")),
    }
}
