//! What an application reads of its own channels.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use sse_proto::{Control, Cursor, Decoder, DecoderConfig, Frame};

use super::{Event, EventStreams, SendError};
use crate::ServiceError;
use crate::hub::{Delivery, Framing, Outgoing, PublishError, Subscriber};
use crate::storage::StoredEvent;

/// An event of a channel, as the application [reads](EventStreams::subscribe) it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its number in the channel, from 1. One that is not stored has the number of the event
    /// before it.
    pub number: u64,
    /// The event type.
    pub event_type: String,
    /// The data, as they go over the wire.
    pub data: String,
}

/// Events of a channel came before, and are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events before this are gone; read anew what was derived from them")]
pub struct Missed;

impl EventStreams {
    /// The number of a channel's last event, also if it is not kept any more; 0 if there never was
    /// one.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn head(&self, channel: &str) -> Result<u64, SendError> {
        self.storage().head(channel).await.map_err(failed)
    }

    /// Events of a channel that are kept, those after this number, at most so many, in their order.
    /// There may be more even if it is fewer than that.
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn read(
        &self,
        channel: &str,
        after: u64,
        most: usize,
    ) -> Result<Vec<StoredEvent>, SendError> {
        self.storage().read(channel, after, most).await.map_err(failed)
    }

    /// Events of a channel as they come, from the one after this number on, or from now on. For
    /// parts of the application that are no readers of an event stream: a job that waits for an
    /// event, a WebSocket, a view that shows some of them. Who may read the channel is not asked;
    /// events that [skip](crate::storage::NewEvent::skip_users) `anonymous` are left out. It ends
    /// with these streams.
    ///
    /// ```
    /// use std::future::ready;
    ///
    /// use futures_util::StreamExt;
    /// use sse_server::views::{Event, EventStreams, SendError, StreamView};
    ///
    /// async fn large(streams: EventStreams) -> Result<StreamView, SendError> {
    ///     let events = streams.subscribe("orders", None).await?;
    ///     let is_large = |data: &str| data.parse().is_ok_and(|amount: u64| amount >= 1_000);
    ///     let large = events.filter_map(move |event| {
    ///         ready(event.ok().filter(|event| is_large(&event.data)).map(Event::from))
    ///     });
    ///     Ok(streams.view(large))
    /// }
    /// # let _ = large;
    /// ```
    ///
    /// # Errors
    ///
    /// If the storage fails.
    pub async fn subscribe(
        &self,
        channel: &str,
        after: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Received, Missed>> + Send + 'static, SendError> {
        let from: Cursor<'static> =
            after.map(|after| (channel.to_owned(), after)).into_iter().collect();
        let subscriber = self.hub().subscribe(&[channel.into()], &from).await.map_err(failed)?;
        Ok(received(subscriber))
    }
}

fn failed(error: ServiceError) -> SendError {
    PublishError::Storage(Arc::new(error)).into()
}

/// With its number as the id.
impl From<Received> for Event {
    fn from(received: Received) -> Self {
        let event_type = match received.event_type {
            message if message == sse_proto::DEFAULT_EVENT_TYPE => String::new(),
            event_type => event_type,
        };
        Self::text(received.data).event_type(event_type).id(received.number)
    }
}

/// What a subscriber of one channel gets.
fn received(
    subscriber: Subscriber,
) -> impl Stream<Item = Result<Received, Missed>> + Send + 'static {
    let decoder = Decoder::with_config(
        DecoderConfig::default().max_event_len(usize::MAX).max_line_len(usize::MAX),
    );
    let begun = (subscriber, decoder);
    stream::unfold(begun, |(mut subscriber, mut decoder)| async move {
        let mut out = Outgoing::new(Framing::Plain);
        let delivery = std::future::poll_fn(|cx| subscriber.poll_deliver(cx, &mut out)).await;
        if matches!(delivery, Delivery::Closed | Delivery::Lost) {
            return None;
        }
        let events = decoded(&mut decoder, &out.into_bytes());
        Some((stream::iter(events), (subscriber, decoder)))
    })
    .flatten()
}

fn decoded(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Result<Received, Missed>> {
    let mut events = Vec::new();
    let mut frames = decoder.decode(bytes);
    while let Some(frame) = frames.next_frame() {
        // None is longer than what the hub may store.
        let Ok(Frame::Event(event)) = frame else { continue };
        if let Some(Control::Reset { .. }) = Control::of(&event) {
            events.push(Err(Missed));
            continue;
        }
        let id = event.id().and_then(|id| Cursor::parse(id).ok());
        events.push(Ok(Received {
            number: id.and_then(|id| id.iter().next().map(|(_, number)| number)).unwrap_or(0),
            event_type: event.event_type().to_owned(),
            data: event.data().to_owned(),
        }));
    }
    events
}
