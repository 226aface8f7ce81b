//! The one place where events become visible.
//!
//! One task appends for all publishers: it takes everything that is waiting, has it stored in one
//! transaction ("group commit"), and only then makes it visible and answers. The more wait, the
//! cheaper each becomes; and since no other task makes events visible, readers see them in the
//! order of their ids.
//!
//! A group is stored as one, and so waits as one. Where another program stands in the way of a
//! channel, only the requests to it are set aside and tried again; everybody else goes on.

mod doubts;
mod gathering;
mod held;
#[cfg(test)]
mod tests;
mod thread;
mod visible;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use doubts::Doubts;
use futures_util::FutureExt;
use gathering::Gathering;
use held::Held;
use sse_proto::{Event, event_id};
pub use thread::PublishThread;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::{error, info};
use visible::{make_visible, remind, show_too_early};

use super::Shared;
use super::event::KeptEvent;
use crate::ServiceError;
use crate::storage::{Batch, NewEvent, Outcome, RequestKey, StoredEvent};

/// The most requests that are stored together.
const GROUP: usize = 1024;

/// The most events that are stored together. One request is never split, however many it has.
const GROUP_EVENTS: usize = 8192;

/// Events to be published, and where the answer goes.
#[derive(Debug)]
pub(super) struct Request {
    events: Vec<NewEvent>,
    key: Option<RequestKey>,
    answer: oneshot::Sender<Result<Vec<u64>, PublishError>>,
    /// Since when it has been set aside.
    held_since: Option<Instant>,
}

/// Events that are on their way. A future of their ids, or of why they were not published; dropping
/// it does not take them back.
#[derive(Debug)]
#[must_use]
pub struct Submitted(oneshot::Receiver<Result<Vec<u64>, PublishError>>);

impl Future for Submitted {
    type Output = Result<Vec<u64>, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx).map(|answer| answer.unwrap_or(Err(PublishError::Closed)))
    }
}

/// Events could not be published. None of them has been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// The storage has failed; trying again later may help.
    #[error("the storage failed to {0}")]
    Storage(Arc<ServiceError>),
    /// The storage can never store one of them: which, counted from 0, and why.
    #[error("event {0} is refused: {1}")]
    Refused(usize, String),
    /// Another request had the same key.
    #[error("another request had the same key; give each its own")]
    KeyReused,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closed,
}

/// Starts the task. It ends when the last sender is gone and everything has been answered.
pub(super) fn start(shared: Arc<Shared>) -> mpsc::Sender<Request> {
    let (sender, mut requests) = mpsc::channel::<Request>(GROUP);
    let hub = shared.clone();
    let runtime = hub.publish_thread.as_ref().map(PublishThread::runtime);
    let runtime = runtime.map_or_else(Handle::current, Handle::clone);
    let publishing = runtime.spawn(async move {
        let mut was_failing = false;
        // How many requests the last group had.
        let mut last_len = 0;
        let mut gathering = Gathering::default();
        let mut next = None;
        let mut held = Held::default();
        let mut doubts = Doubts::default();
        loop {
            let has_more = !requests.is_closed() || !requests.is_empty();
            let first = if let Some(first) = next.take() {
                Some(first)
            } else {
                tokio::select! {
                    // In this order: what is due seldom must not wait behind what always is.
                    biased;
                    () = held.due(), if !held.is_empty() => None,
                    first = requests.recv(), if has_more => first,
                    else => break,
                }
            };
            let mut group = Group::default();
            let is_retry = first.is_none();
            let is_apart = shared.storage.works_apart();
            if let Some(first) = first {
                next = held.keep_or(first, |request| group.add(request));
                while next.is_none() && !group.is_full() {
                    let Ok(request) = requests.try_recv() else {
                        // Those that were answered together come again together, one right after
                        // the other. As long as more come they are one group, and not two that
                        // wait for each other. One that comes alone waits for nobody.
                        if last_len.max(group.requests.len()) > 1 {
                            yield_now().await;
                            if !requests.is_empty()
                                || (is_apart && gathering.goes_on(group.requests.len()))
                            {
                                continue;
                            }
                        }
                        break;
                    };
                    next = held.keep_or(request, |request| group.add(request));
                }
            } else {
                held.take_into(&mut group);
            }
            if group.requests.is_empty() {
                continue;
            }
            last_len = group.requests.len();
            let result = commit(&shared, group.requests, is_retry, &mut doubts).await;
            gathering.ends(last_len, requests.len() + usize::from(next.is_some()));
            report(&result, &mut was_failing);
            let left = result.unwrap_or_default();
            if is_retry || !left.is_empty() {
                held.put(left);
            }
        }
    });
    hub.tasks.add("publishing", publishing.abort_handle());
    sender
}

/// Requests that are stored together.
#[derive(Default)]
struct Group {
    requests: Vec<Request>,
    events: usize,
    keys: HashSet<String>,
}

impl Group {
    /// Adds a request. Returns it if it has to wait: another one of the group has its key.
    fn add(&mut self, request: Request) -> Option<Request> {
        if let Some(key) = &request.key
            && !self.keys.insert(key.name().to_owned())
        {
            return Some(request);
        }
        self.events += request.events.len();
        self.requests.push(request);
        None
    }

    fn is_full(&self) -> bool {
        self.requests.len() >= GROUP || self.events >= GROUP_EVENTS
    }
}

pub(super) async fn send(
    shared: &Shared,
    requests: &mpsc::Sender<Request>,
    events: Vec<NewEvent>,
    key: Option<RequestKey>,
) -> Result<Submitted, PublishError> {
    // Now, because a group of requests succeeds or fails as one.
    let refuse = |(index, event)| Some((index, shared.storage.refuse(event)?));
    if let Some((index, why)) = events.iter().enumerate().find_map(refuse) {
        return Err(PublishError::Refused(index, why));
    }
    let (answer, answered) = oneshot::channel();
    let key = key.filter(|_| !mutant!("key-forgotten"));
    let request = Request { events, key, answer, held_since: None };
    requests.send(request).await.map_err(|_| PublishError::Closed)?;
    Ok(Submitted(answered))
}

/// Whether something was written: not if all was known already, or is not to be stored.
fn is_written(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Appended(ids) => {
            ids.iter().any(|id| *id > 0) || mutant!("nothing-written-is-well")
        }
        Outcome::Known(_) | Outcome::Reused => false,
    }
}

/// Stores a group, makes it visible and answers. Returned are those requests that another program
/// stands in the way of. If that is known beforehand, no other program is waited for.
async fn commit(
    shared: &Shared,
    group: Vec<Request>,
    is_retry: bool,
    doubts: &mut Doubts,
) -> Result<Vec<Request>, Arc<ServiceError>> {
    let mut all = Vec::new();
    let mut parts = Vec::with_capacity(group.len());
    for Request { mut events, key, answer, held_since } in group {
        let start = all.len();
        all.append(&mut events);
        parts.push((Part { events: start..all.len(), key, held_since }, answer));
    }
    let (parts, answers): (Vec<Part>, Vec<_>) = parts.into_iter().unzip();
    shared.writing.begins();
    if mutant!("publish-before-commit") {
        show_too_early(shared, &all);
    }
    let mut appended = append(shared, &all, &parts, is_retry).await;
    if appended.as_ref().is_err_and(ServiceError::is_held) && !mutant!("held-holds-all") {
        appended = append(shared, &all, &parts, true).await;
    }
    let appended = appended.map_err(Arc::new);
    shared.writing.ends(match &appended {
        Ok(outcomes) => outcomes.iter().flatten().any(is_written).then_some(Ok(())),
        Err(error) => Some(Err(error.clone())),
    });
    // The caller may be gone by now; the events stay published all the same.
    match appended {
        Ok(mut outcomes) => {
            if mutant!("answers-mixed-up") {
                outcomes.rotate_left(1);
            }
            let mut new = Vec::with_capacity(all.len());
            for (part, outcome) in parts.iter().zip(&outcomes) {
                let events = &all[part.events.clone()];
                let Some(outcome) = outcome else { continue };
                let is_unseen = doubts.settle(part.key.as_ref(), outcome);
                match outcome {
                    Outcome::Appended(ids) => new.extend(events.iter().zip(ids.iter().copied())),
                    Outcome::Known(ids) => {
                        remind(shared, events, ids);
                        let unstored = events.iter().zip(ids.iter().copied());
                        new.extend(unstored.filter(|(_, id)| is_unseen && *id == 0));
                    }
                    Outcome::Reused => {}
                }
            }
            make_visible(shared, &new);
            let mut held = Vec::new();
            for ((answer, outcome), part) in answers.into_iter().zip(outcomes).zip(parts) {
                let ids = match outcome {
                    Some(Outcome::Appended(ids) | Outcome::Known(ids)) => Ok(ids),
                    Some(Outcome::Reused) => Err(PublishError::KeyReused),
                    None => {
                        let Part { events, key, held_since } = part;
                        held.push(Request {
                            events: all[events].to_vec(),
                            key,
                            answer,
                            held_since,
                        });
                        continue;
                    }
                };
                answer.send(ids).ok();
            }
            Ok(held)
        }
        Err(error) => {
            let is_stored = |event: &NewEvent| is_stored(shared, event);
            let unstored =
                parts.iter().filter(|part| !all[part.events.clone()].iter().all(is_stored));
            unstored.filter_map(|part| part.key.as_ref()).for_each(|key| doubts.add(key));
            // Of which the storage has to know nothing.
            let is_apart = |part: &Part| {
                let events = &all[part.events.clone()];
                part.key.is_none() && !events.iter().any(is_stored) && !mutant!("all-fail-together")
            };
            let apart = parts.iter().filter(|part| is_apart(part));
            let new: Vec<_> = apart
                .flat_map(|part| all[part.events.clone()].iter().map(|event| (event, 0)))
                .collect();
            make_visible(shared, &new);
            for (answer, part) in answers.into_iter().zip(parts) {
                if is_apart(&part) {
                    answer.send(Ok(vec![0; part.events.len()])).ok();
                    continue;
                }
                if mutant!("confirm-before-commit") {
                    answer.send(Ok(part.events.map(|_| 1).collect())).ok();
                    continue;
                }
                answer.send(Err(PublishError::Storage(error.clone()))).ok();
            }
            Err(error)
        }
    }
}

/// Whether an event has an id, and is there for those who come later.
fn is_stored(shared: &Shared, event: &NewEvent) -> bool {
    event.store && shared.is_lasting(&event.channel)
}

/// One request of a group: which of the events are its.
struct Part {
    events: Range<usize>,
    key: Option<RequestKey>,
    held_since: Option<Instant>,
}

/// Stores the events that are stored at all; if `only_free`, those that can be without waiting for
/// others. The id of the other events is 0.
async fn append(
    shared: &Shared,
    all: &[NewEvent],
    parts: &[Part],
    only_free: bool,
) -> Result<Vec<Option<Outcome>>, ServiceError> {
    let is_stored = |event: &NewEvent| is_stored(shared, event);
    let stored: Cow<'_, [NewEvent]> = if all.iter().all(is_stored) {
        Cow::Borrowed(all)
    } else {
        Cow::Owned(all.iter().filter(|event| is_stored(event)).cloned().collect())
    };
    let mut rest = &*stored;
    let mut batches = Vec::with_capacity(parts.len());
    for part in parts {
        let events = all[part.events.clone()].iter().filter(|event| is_stored(event)).count();
        let (events, after) = rest.split_at(events);
        batches.push(Batch { events, key: part.key.as_ref() });
        rest = after;
    }
    let outcomes = if only_free {
        shared.storage.append_free(&batches).await?
    } else if batches.iter().any(|batch| batch.key.is_some()) {
        shared.storage.append_once(&batches).await?.into_iter().map(Some).collect()
    } else {
        let ids =
            if stored.is_empty() { Vec::new() } else { shared.storage.append(&stored).await? };
        let mut ids = ids.into_iter();
        let mut of = |batch: &Batch<'_>| ids.by_ref().take(batch.events.len()).collect();
        batches.iter().map(|batch| Some(Outcome::Appended(of(batch)))).collect()
    };
    let whole = |(part, outcome): (&Part, Option<Outcome>)| {
        let spread = |ids: Vec<u64>| {
            let mut ids = ids.into_iter();
            let id = |event| if is_stored(event) { ids.next().unwrap_or_default() } else { 0 };
            all[part.events.clone()].iter().map(id).collect()
        };
        outcome.map(|outcome| match outcome {
            Outcome::Appended(ids) => Outcome::Appended(spread(ids)),
            Outcome::Known(ids) => Outcome::Known(spread(ids)),
            Outcome::Reused => Outcome::Reused,
        })
    };
    Ok(parts.iter().zip(outcomes).map(whole).collect())
}

/// An event as it goes over the wire to those who read this channel only.
pub(super) fn render(
    channel: &str,
    id: u64,
    event_type: &str,
    data: &str,
    skip_users: &[String],
) -> KeptEvent {
    let id = event_id(channel, id);
    let event_type = clean(event_type);
    let event = Event::builder(data).event_type(&event_type).id(&id).build();
    let event = event.expect("a clean type, and an id that is percent-encoded");
    KeptEvent::new(&event, skip_users)
}

/// The same, of an event that was read from the storage.
pub(super) fn render_stored(channel: &str, id: u64, event: &StoredEvent) -> KeptEvent {
    render(channel, id, &event.event_type, &event.data, &event.skip_users)
}

/// An event without an id.
pub(super) fn render_live(event_type: &str, data: &str, skip_users: &[String]) -> KeptEvent {
    let event_type = clean(event_type);
    let event = Event::builder(data).event_type(&event_type).build().expect("a clean type");
    KeptEvent::new(&event, skip_users)
}

/// A type that a reader can be told.
pub(super) fn clean(event_type: &str) -> Cow<'_, str> {
    // Types are checked before they are stored. If another program has written to the storage, what
    // no event type can have is left out, as django-eventstream does.
    if event_type.contains(['\r', '\n']) {
        Cow::Owned(event_type.replace(['\r', '\n'], ""))
    } else {
        Cow::Borrowed(event_type)
    }
}

/// Logs when publishing starts to fail and when it works again, not every failure in between.
fn report<T>(result: &Result<T, Arc<ServiceError>>, was_failing: &mut bool) {
    match result {
        Err(error) if !*was_failing => error!(%error, "publishing fails"),
        Ok(_) if *was_failing => info!("publishing works again"),
        _ => {}
    }
    *was_failing = result.is_err();
}
