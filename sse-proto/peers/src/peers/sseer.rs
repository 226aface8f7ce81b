//! `sseer`. Its natural use is `EventStream` on a stream of `Bytes`: its events share the chunk
//! that they lie whole in. Its feature `std` is on, which makes it faster.

use std::convert::Infallible;

use bytes::Bytes;
use futures::executor::block_on;
use futures::{StreamExt as _, stream};
use sseer::EventStream;

use crate::{Codec, Count, Delivered, Event, Form};

pub(crate) const CODEC: Codec = Codec {
    name: "sseer",
    version: "0.3.1",
    ours: false,
    form: Form::Shared,
    deliver: |chunks, last_event_id| {
        let mut delivered = Delivered::default();
        let chunks: Vec<_> = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk)).collect();
        let mut events =
            EventStream::new(stream::iter(chunks.into_iter().map(Ok::<_, Infallible>)));
        events.set_last_event_id(last_event_id.to_owned());
        // An error is the end of it.
        while let Some(Ok(event)) = block_on(events.next()) {
            let time = event.retry.and_then(|time| u64::try_from(time.as_millis()).ok());
            delivered.retry = time.or(delivered.retry);
            delivered.events.push(Event {
                event_type: event.event.to_string(),
                data: event.data.to_string(),
                last_event_id: event.id.to_string(),
            });
        }
        delivered.last_event_id = events.last_event_id().to_string();
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let mut events = EventStream::new(stream::iter(chunks.shared().map(Ok::<_, Infallible>)));
        block_on(async {
            while let Some(Ok(event)) = events.next().await {
                count.add(&event, &event.data);
            }
        });
        count
    },
};
