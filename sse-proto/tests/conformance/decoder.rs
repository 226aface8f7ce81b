//! The decoder under test, with its answer in the words of the vectors.

use sse_proto::{DecodeError, Decoder, DecoderConfig, Frame};

use crate::additions::{Delivery, Wanted};
use crate::oracle::Item;

/// What the decoder delivers, and the last event ID at the end.
///
/// Also sees to it that it never holds more than the limits allow.
pub(crate) fn decode(chunks: &[&[u8]], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let event_limit = wanted.event_limit.unwrap_or(16 << 20);
    let line_limit = wanted.line_limit.unwrap_or(16 << 20);
    let config = DecoderConfig::default()
        .comments(wanted.comments)
        .max_event_len(event_limit)
        .max_line_len(line_limit);
    let mut decoder = Decoder::with_config(config);
    if !seed.is_empty() {
        decoder.set_last_event_id(Some(seed.to_owned()));
    }
    let mut delivered = Vec::new();
    for chunk in chunks {
        let mut frames = decoder.decode(chunk);
        while let Some(frame) = frames.next_frame() {
            delivered.push(delivery(frame));
        }
        assert!(decoder.buffered_len() <= event_limit + line_limit);
    }
    (delivered, decoder.last_event_id().unwrap_or_default().to_owned())
}

pub(crate) fn delivery(frame: Result<Frame<'_>, DecodeError>) -> Delivery {
    match frame {
        Ok(Frame::Event(event)) => Delivery::Item(Item::Event {
            event: event.event_type().to_owned(),
            data: event.data().to_owned(),
            id: event.last_event_id().to_owned(),
        }),
        Ok(Frame::Retry(time)) => {
            let time = u64::try_from(time.as_millis()).expect("retry is read as a u64");
            Delivery::Item(Item::Retry(time))
        }
        Ok(Frame::Comment(comment)) => Delivery::Comment(comment.to_owned()),
        Err(DecodeError::EventTooLong { .. }) => Delivery::EventTooLarge,
        Err(DecodeError::LineTooLong { .. }) => Delivery::LineTooLarge,
        other => panic!("the vectors have no word for {other:?}"),
    }
}
