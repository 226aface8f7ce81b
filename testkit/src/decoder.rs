//! The decoder under test, with its answer in the words of the vectors.

use sse_client_wasm::{Settings, Source, flag};
use sse_proto::{DecodeError, Decoder, DecoderConfig, Frame, Reader, ResponseHead, SessionConfig};

use crate::additions::{Delivery, Wanted};
use crate::oracle::Item;

/// What the decoder delivers, and the last event ID at the end.
///
/// Also sees to it that it never holds more than the limits allow.
pub fn decode(chunks: &[&[u8]], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let [event_limit, line_limit] = limits(wanted);
    let mut decoder = Decoder::with_config(config(wanted));
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

/// The same as one chunk, with another one begun after each frame, and after an event read in part:
/// what is known about the first one then counts no more.
pub fn interrupted(stream: &[u8], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let other = b"data: of the other\n\n".repeat(20);
    let mut decoder = Decoder::with_config(config(wanted));
    decoder.set_last_event_id((!seed.is_empty()).then(|| seed.to_owned()));
    let mut delivered = Vec::new();
    let mut chunk = decoder.begin(stream);
    while let Some(frame) = decoder.next_frame(&mut chunk) {
        let is_event = matches!(frame, Ok(Frame::Event(_)));
        delivered.push(delivery(frame));
        let mut other = decoder.begin(if is_event { &other } else { &[] });
        // Where an event is too long, to its end.
        while let Some(Err(_)) = decoder.next_frame(&mut other) {}
    }
    assert!(chunk.rest().is_empty());
    (delivered, decoder.last_event_id().unwrap_or_default().to_owned())
}

/// The same by way of a session, which has no item for a reconnection time.
pub fn by_session(chunks: &[&[u8]], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let config = SessionConfig::default().control_events(true).decoder(config(wanted));
    let mut reader = Reader::new(config, 0);
    reader.set_last_event_id((!seed.is_empty()).then(|| seed.to_owned()));
    let session = reader.session_mut();
    session.poll(0);
    let content_type = Some(&b"text/event-stream"[..]);
    session.handle_response(0, &ResponseHead { status: 200, content_type, retry_after: None });
    let mut delivered = Vec::new();
    for chunk in chunks {
        let mut items = reader.handle_bytes(0, chunk);
        while let Some(item) = items.next_item() {
            delivered.push(delivery(item.map(|item| match item {
                sse_proto::Item::Event(event) => Frame::Event(event),
                sse_proto::Item::Comment(comment) => Frame::Comment(comment),
                other => panic!("the vectors have no word for {other:?}"),
            })));
        }
    }
    (delivered, reader.last_event_id().unwrap_or_default().to_owned())
}

/// The same by way of the browser's client: the last reconnection time comes last, there are no
/// comments, and either limit is one of lines.
pub fn by_rows(chunks: &[&[u8]], seed: &str, wanted: Wanted) -> (Vec<Delivery>, String) {
    let [max_event_len, max_line_len] = limits(wanted);
    let settings = Settings {
        seed: 0.0,
        flags: flag::CONTROL_EVENTS,
        max_retry: 0.0,
        idle_timeout: 0.0,
        first_event_timeout: f64::NAN,
        connect_timeout: 1.0,
        max_event_len,
        max_line_len,
    };
    let mut source = Source::new(&settings, seed.as_bytes());
    source.step(0.0);
    source.response(0.0, 200, f64::NAN, b"text/event-stream");
    let mut delivered = Vec::new();
    let mut last_event_id = seed.to_owned();
    for chunk in chunks {
        let text = String::from_utf8_lossy(source.push(0.0, chunk)).into_owned();
        let parts: Vec<_> = text.split('\r').collect();
        for row in parts.chunks_exact(3) {
            let &[data, event, id] = row else { unreachable!("three at a time") };
            last_event_id.replace_range(.., id);
            delivered.extend(match (event, data) {
                ("\n", "") => None,
                ("\n", _) => Some(Delivery::LineTooLarge),
                _ => Some(Delivery::Item(Item::Event {
                    event: if event.is_empty() { "message" } else { event }.to_owned(),
                    data: data.to_owned(),
                    id: id.to_owned(),
                })),
            });
        }
    }
    let time = source.reconnection_time();
    if !time.is_nan() {
        delivered.push(Delivery::Item(Item::Retry(whole(time))));
    }
    (delivered, last_event_id)
}

/// As JavaScript has it.
#[expect(clippy::cast_precision_loss, reason = "JavaScript has no other numbers")]
fn number(time: u64) -> f64 {
    time as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(number: f64) -> u64 {
    number as u64
}

/// What [`by_rows`] delivers of these deliveries.
pub fn as_by_rows(deliveries: Vec<Delivery>) -> Vec<Delivery> {
    let (mut retry, mut others) = (None, Vec::new());
    for delivery in deliveries {
        match delivery {
            Delivery::Comment(_) => {}
            Delivery::EventTooLarge => others.push(Delivery::LineTooLarge),
            Delivery::Item(Item::Retry(time)) => {
                retry = Some(Delivery::Item(Item::Retry(whole(number(time)))));
            }
            other => others.push(other),
        }
    }
    others.extend(retry);
    others
}

fn config(wanted: Wanted) -> DecoderConfig {
    let [event, line] = limits(wanted);
    DecoderConfig::default().comments(wanted.comments).max_event_len(event).max_line_len(line)
}

/// The limits of an event and of a line.
fn limits(wanted: Wanted) -> [usize; 2] {
    [wanted.event_limit, wanted.line_limit].map(|limit| limit.unwrap_or(16 << 20))
}

pub fn delivery(frame: Result<Frame<'_>, DecodeError>) -> Delivery {
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
