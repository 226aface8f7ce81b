//! The one place where events become visible.
//!
//! One task appends for all publishers: it takes everything that is waiting, has it stored in one
//! transaction ("group commit"), and only then makes it visible and answers. The more wait, the
//! cheaper each becomes; and since nobody else makes events visible, readers see them in the order of
//! their ids.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use sse_proto::{Event, Rendered, event_id};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::Shared;
use super::log::Appended;
use crate::relay::Message;
use crate::storage::{NewEvent, StorageError};

/// The most requests that are stored together.
const GROUP: usize = 1024;

/// The most events that are stored together, save that one request is never split.
const GROUP_EVENTS: usize = 8192;

/// Events to be published, and where the answer goes.
#[derive(Debug)]
pub(super) struct Request {
    events: Vec<NewEvent>,
    answer: oneshot::Sender<Result<Vec<u64>, PublishError>>,
}

/// Events could not be published. None of them has been.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// The storage has failed; trying again later may help.
    #[error("the storage failed to {0}")]
    Storage(Arc<StorageError>),
    /// The storage can never store one of them: which, counted from 0, and why.
    #[error("event {0} is refused: {1}")]
    Refused(usize, String),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Closed,
}

/// Starts the task. It ends when the last sender is gone and everything has been answered.
pub(super) fn start(shared: Arc<Shared>) -> mpsc::Sender<Request> {
    let (sender, mut requests) = mpsc::channel::<Request>(GROUP);
    tokio::spawn(async move {
        let mut group = Vec::new();
        let mut was_failing = false;
        while let Some(first) = requests.recv().await {
            let mut events = first.events.len();
            group.push(first);
            while group.len() < GROUP && events < GROUP_EVENTS {
                let Ok(next) = requests.try_recv() else { break };
                events += next.events.len();
                group.push(next);
            }
            let result = commit(&shared, &mut group).await;
            report(&result, &mut was_failing);
        }
    });
    sender
}

pub(super) async fn send(
    shared: &Shared,
    requests: &mpsc::Sender<Request>,
    events: Vec<NewEvent>,
) -> Result<Vec<u64>, PublishError> {
    // Now, because a group of requests succeeds or fails as one.
    let refuse = |(index, event)| Some((index, shared.storage.refuse(event)?));
    if let Some((index, why)) = events.iter().enumerate().find_map(refuse) {
        return Err(PublishError::Refused(index, why));
    }
    let (answer, answered) = oneshot::channel();
    requests.send(Request { events, answer }).await.map_err(|_| PublishError::Closed)?;
    answered.await.map_err(|_| PublishError::Closed)?
}

/// Stores a group, makes it visible and answers.
async fn commit(shared: &Shared, group: &mut Vec<Request>) -> Result<(), Arc<StorageError>> {
    let take = |request: &mut Request| std::mem::take(&mut request.events);
    let sizes: Vec<usize> = group.iter().map(|request| request.events.len()).collect();
    let events: Vec<NewEvent> = group.iter_mut().flat_map(take).collect();
    let answers = group.drain(..).map(|request| request.answer);
    // Whoever asked may be gone by now; the answer is then nobody's, and the events stay published.
    match append(shared, &events).await {
        Ok(ids) => {
            show(shared, &events, &ids);
            tell(shared, &events, &ids);
            let mut ids = ids.into_iter();
            for (answer, size) in answers.zip(sizes) {
                answer.send(Ok(ids.by_ref().take(size).collect())).ok();
            }
            Ok(())
        }
        Err(error) => {
            let error = Arc::new(error);
            for answer in answers {
                answer.send(Err(PublishError::Storage(error.clone()))).ok();
            }
            Err(error)
        }
    }
}

/// Stores what is to be stored. The id of the other events is 0.
async fn append(shared: &Shared, events: &[NewEvent]) -> Result<Vec<u64>, StorageError> {
    if shared.reliable.is_none() {
        return shared.storage.append(events).await;
    }
    let is_stored = |event: &&NewEvent| shared.is_lasting(&event.channel);
    let stored: Vec<NewEvent> = events.iter().filter(is_stored).cloned().collect();
    let ids = if stored.is_empty() { Vec::new() } else { shared.storage.append(&stored).await? };
    let mut ids = ids.into_iter();
    let id = |event| if is_stored(&event) { ids.next().unwrap_or_default() } else { 0 };
    Ok(events.iter().map(id).collect())
}

/// Makes events visible to readers here.
fn show(shared: &Shared, events: &[NewEvent], ids: &[u64]) {
    for (event, &id) in events.iter().zip(ids) {
        let Some(log) = shared.log(&event.channel) else { continue };
        if !log.is_lasting() {
            log.append_live(render_live(&event.event_type, &event.data));
            continue;
        }
        match log.append(id, render(&event.channel, id, &event.event_type, &event.data)) {
            Appended::Visible => {}
            Appended::AfterOthers => shared.suspects.add(&event.channel, id, false),
            Appended::Unclear => shared.suspects.add(&event.channel, id, true),
        }
    }
}

/// Has other instances told.
fn tell(shared: &Shared, events: &[NewEvent], ids: &[u64]) {
    let Some(telling) = &shared.telling else { return };
    // Ids begin at 1; an event without one is not stored.
    let is_lasting = ids.iter().all(|&id| id > 0);
    let whole = |(event, &id): (&NewEvent, &u64)| Message {
        channel: event.channel.clone(),
        id: (id > 0).then_some(id),
        event: Some((event.event_type.clone(), event.data.clone())),
    };
    let messages: Vec<Message> = if telling.whole {
        events.iter().zip(ids).map(whole).collect()
    } else {
        let (stored, others): (Vec<_>, Vec<_>) =
            events.iter().zip(ids).partition(|(_, id)| **id > 0);
        let lasts: HashMap<_, _> =
            stored.iter().map(|(event, id)| (&event.channel, **id)).collect();
        let last = |(channel, id): (&Arc<str>, u64)| Message {
            channel: channel.clone(),
            id: Some(id),
            event: None,
        };
        others.into_iter().map(whole).chain(lasts.into_iter().map(last)).collect()
    };
    // Publishing does not wait for a relay that does not get on. With a storage, others see it later.
    if telling.sender.try_send(messages).is_err() && !is_lasting {
        warn!(events = events.len(), "the relay does not get on; other instances miss events");
    }
}

/// An event as it goes over the wire to those who read this channel only.
pub(super) fn render(channel: &str, id: u64, event_type: &str, data: &str) -> Rendered {
    let id = event_id(channel, id);
    let event_type = clean(event_type);
    let event = Event::builder(data).event_type(&event_type).id(&id).build();
    Rendered::new(&event.expect("a clean type, and an id that is percent-encoded"))
}

/// An event without an id.
pub(super) fn render_live(event_type: &str, data: &str) -> Rendered {
    let event_type = clean(event_type);
    Rendered::new(&Event::builder(data).event_type(&event_type).build().expect("a clean type"))
}

fn clean(event_type: &str) -> Cow<'_, str> {
    // Types are checked before they are stored. If another program has written to the storage, what
    // no event type can have is left out, as django-eventstream does.
    if event_type.contains(['\r', '\n']) {
        Cow::Owned(event_type.replace(['\r', '\n'], ""))
    } else {
        Cow::Borrowed(event_type)
    }
}

/// Logs when publishing starts to fail and when it works again, not every failure in between.
fn report(result: &Result<(), Arc<StorageError>>, was_failing: &mut bool) {
    match result {
        Err(error) if !*was_failing => error!(%error, "publishing fails"),
        Ok(()) if *was_failing => info!("publishing works again"),
        _ => {}
    }
    *was_failing = result.is_err();
}
