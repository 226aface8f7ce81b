//! `sse-proto` in the two ways in which it can be used.

use sse_proto::{Decoder, Frame};

use crate::{Codec, Count, Delivered, Event, Form};

/// Events are read where they are, and not kept.
pub const BORROWED: Codec = Codec {
    name: "sse-proto",
    version: env!("CARGO_PKG_VERSION"),
    ours: true,
    form: Form::Borrowed,
    deliver: |chunks, last_event_id| deliver(chunks, last_event_id, |event| told(&event)),
    count: |chunks| {
        let mut count = Count::default();
        let mut decoder = Decoder::new();
        for chunk in chunks.slices() {
            let mut frames = decoder.decode(chunk);
            while let Some(frame) = frames.next_frame() {
                if let Ok(Frame::Event(event)) = frame {
                    count.add(&event, event.data());
                }
            }
        }
        count
    },
};

/// Each event is made to own its text, as a program does that hands it to another task.
pub const OWNED: Codec = Codec {
    name: "sse-proto owned",
    version: env!("CARGO_PKG_VERSION"),
    ours: true,
    form: Form::Owned,
    deliver: |chunks, last_event_id| {
        deliver(chunks, last_event_id, |event| told(&event.into_owned()))
    },
    count: |chunks| {
        let mut count = Count::default();
        let mut decoder = Decoder::new();
        for chunk in chunks.slices() {
            let mut frames = decoder.decode(chunk);
            while let Some(frame) = frames.next_frame() {
                if let Ok(Frame::Event(event)) = frame {
                    let event = event.into_owned();
                    count.add(&event, event.data());
                }
            }
        }
        count
    },
};

fn deliver(
    chunks: &[&[u8]],
    last_event_id: &str,
    read: fn(sse_proto::Event<'_>) -> Event,
) -> Delivered {
    let mut delivered = Delivered::default();
    let mut decoder = Decoder::new();
    if !last_event_id.is_empty() {
        decoder.set_last_event_id(Some(last_event_id.to_owned()));
    }
    for chunk in chunks {
        let mut frames = decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            match frame {
                Ok(Frame::Event(event)) => delivered.events.push(read(event)),
                Ok(Frame::Retry(time)) => delivered.retry = u64::try_from(time.as_millis()).ok(),
                _ => {}
            }
        }
    }
    delivered.last_event_id = decoder.last_event_id().unwrap_or_default().to_owned();
    delivered
}

fn told(event: &sse_proto::Event<'_>) -> Event {
    Event {
        event_type: event.event_type().to_owned(),
        data: event.data().to_owned(),
        last_event_id: event.last_event_id().to_owned(),
    }
}
