//! `sse-core`. Its natural use is [`SseDecoder::next`] on the bytes that have come; its `SseStream`
//! is that and a connection's state. Any `Buf` will do, so it is given slices.

use std::num::NonZeroUsize;

use sse_core::{SseDecoder, SseEvent};

use crate::{Codec, Count, Delivered, Event, Form};

/// Its own default is 512 KiB, which would drop the greatest events; ours is this.
const LIMIT: NonZeroUsize = NonZeroUsize::new(16 << 20).expect("not 0");

pub(crate) const CODEC: Codec = Codec {
    name: "sse-core",
    version: "0.2.3",
    ours: false,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        let mut delivered = Delivered::default();
        let mut decoder = SseDecoder::with_limit(LIMIT);
        decoder.reconnect_with_id(Some(last_event_id.into()));
        for mut chunk in chunks.iter().copied() {
            while let Some(Ok(event)) = decoder.next(&mut chunk) {
                match event {
                    SseEvent::Message(message) => delivered.events.push(Event {
                        event_type: message.event.into_owned(),
                        data: message.data,
                        last_event_id: message.last_event_id.as_deref().unwrap_or("").to_owned(),
                    }),
                    SseEvent::Retry(time) => delivered.retry = Some(time.into()),
                }
            }
        }
        delivered.last_event_id = decoder.last_event_id().map_or("", |id| id).to_owned();
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let mut decoder = SseDecoder::with_limit(LIMIT);
        for mut chunk in chunks.slices() {
            while let Some(event) = decoder.next(&mut chunk) {
                if let Ok(SseEvent::Message(message)) = event {
                    count.add(&message, &message.data);
                }
            }
        }
        count
    },
};
