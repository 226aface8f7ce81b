//! The encoder: whatever is put into an event, exactly this event comes out, or it is refused.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use sse_proto::{Event, Rendered, encode_comment, encode_retry};

use super::decoder::chunks;
use crate::additions::{Delivery, Wanted};
use crate::decoder::decode;
use crate::oracle::{self, Item};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    event_type: &'a str,
    id: Option<&'a str>,
    other_id: &'a str,
    comment: &'a str,
    retry: Option<u32>,
    cuts: [u8; 3],
    data: &'a str,
}

pub(crate) fn run(data: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let builder = Event::builder(input.data).event_type(input.event_type);
    let built = match input.id {
        Some(id) => builder.id(id).build(),
        None => builder.build(),
    };
    let breaks = |text: &str| text.contains(['\r', '\n']);
    let is_bad_id = |id: &str| breaks(id) || id.contains('\0');
    let is_refused = breaks(input.event_type) || input.id.is_some_and(is_bad_id);
    assert_eq!(built.is_err(), is_refused, "{input:?}");
    let Ok(event) = built else { return };

    let mut stream = Vec::new();
    encode_comment(input.comment, &mut stream);
    let mut expected = Vec::new();
    if let Some(retry) = input.retry {
        encode_retry(Duration::from_millis(retry.into()), &mut stream);
        expected.push(Item::Retry(retry.into()));
    }
    event.encode_into(&mut stream);
    let item = |id: &str| Item::Event {
        event: if input.event_type.is_empty() { "message" } else { input.event_type }.to_owned(),
        data: input.data.replace("\r\n", "\n").replace('\r', "\n"),
        id: id.to_owned(),
    };
    let id = input.id.unwrap_or_default();
    expected.push(item(id));
    // The same event with another id for each reader, as a server sends it.
    if !is_bad_id(input.other_id) {
        Rendered::new(&event).encode_with_id(input.other_id, &mut stream);
        expected.push(item(input.other_id));
    }
    let (items, last_id) = oracle::parse(&stream, "");
    assert_eq!(items, expected, "{:?}", stream.escape_ascii().to_string());
    let expected: Vec<_> = items.into_iter().map(Delivery::Item).collect();
    let decoded = decode(&chunks(&stream, &input.cuts), "", Wanted::default());
    assert_eq!(decoded, (expected, last_id));
}
