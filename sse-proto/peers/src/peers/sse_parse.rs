//! `sse-parse`. Its natural use is [`SseParser::feed`], then [`SseParser::next_event`] until there
//! is none; its `EventStream` does just that.

use sse_parse::SseParser;

use crate::{Codec, Count, Delivered, Event, Form};

pub(crate) const CODEC: Codec = Codec {
    name: "sse-parse",
    version: "0.1.0",
    ours: false,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        let mut delivered = Delivered::default();
        let mut parser = SseParser::with_last_event_id(last_event_id);
        for chunk in chunks {
            parser.feed(chunk);
            while let Some(event) = parser.next_event() {
                delivered.events.push(Event {
                    event_type: event.event,
                    data: event.data,
                    last_event_id: event.id,
                });
            }
        }
        delivered.retry = parser.retry().and_then(|time| u64::try_from(time.as_millis()).ok());
        delivered.last_event_id = parser.last_event_id().to_owned();
        delivered
    },
    count: |chunks| {
        let mut count = Count::default();
        let mut parser = SseParser::new();
        for chunk in chunks.slices() {
            parser.feed(chunk);
            while let Some(event) = parser.next_event() {
                count.add(&event, &event.data);
            }
        }
        count
    },
};
