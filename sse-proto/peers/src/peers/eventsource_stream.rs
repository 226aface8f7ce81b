//! `eventsource-stream`. Its natural use is `EventStream` on a stream of anything that is bytes, so
//! it is given slices.

use std::convert::Infallible;

use eventsource_stream::EventStream;
use futures::executor::block_on;
use futures::{StreamExt as _, stream};

use crate::{Codec, Count, Delivered, Event, Form};

pub(crate) const CODEC: Codec = Codec {
    name: "eventsource-stream",
    version: "0.2.3",
    ours: false,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        let mut delivered = Delivered::default();
        let chunks = chunks.iter().map(|chunk| Ok::<_, Infallible>(*chunk));
        let mut events = EventStream::new(stream::iter(chunks));
        events.set_last_event_id(last_event_id);
        // An error is the end of it.
        while let Some(Ok(event)) = block_on(events.next()) {
            let time = event.retry.and_then(|time| u64::try_from(time.as_millis()).ok());
            delivered.retry = time.or(delivered.retry);
            delivered.events.push(Event {
                event_type: event.event,
                data: event.data,
                last_event_id: event.id,
            });
        }
        delivered.last_event_id = events.last_event_id().to_owned();
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let chunks = chunks.slices().map(Ok::<_, Infallible>);
        let mut events = EventStream::new(stream::iter(chunks));
        block_on(async {
            while let Some(Ok(event)) = events.next().await {
                count.add(&event, &event.data);
            }
        });
        count
    },
};
