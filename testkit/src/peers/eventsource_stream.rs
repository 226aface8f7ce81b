//! `eventsource-stream` 0.2.3, which differs in eight ways.

use std::panic::catch_unwind;

use eventsource_stream::EventStream;
use futures::{
    executor::block_on,
    stream::{self, StreamExt},
};

use super::{Explanation, NOTHING, Outcome, is_number, map_lines, retry_value};
use crate::oracle::{self, Item};

pub fn decode(chunks: &[&[u8]], seed: &str) -> Outcome {
    let run = || {
        let chunks = chunks.iter().map(|chunk| Ok::<_, std::convert::Infallible>(*chunk));
        let mut events = EventStream::new(stream::iter(chunks));
        events.set_last_event_id(seed);
        let mut items = Vec::new();
        // An error is the end: it says of the bytes since the last event only that they are lost.
        while let Some(Ok(event)) = block_on(events.next()) {
            if let Some(time) = event.retry {
                let time = time.as_millis().try_into().expect("it was read as a u64");
                items.push(Item::Retry(time));
            }
            items.push(Item::Event { event: event.event, data: event.data, id: event.id });
        }
        Outcome::Delivered(items, events.last_event_id().to_owned())
    };
    catch_unwind(run).unwrap_or(Outcome::Panicked)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
    /// It strips one byte of the three, which panics.
    LeadingBom,
    /// "Streams must be decoded using the UTF-8 decode algorithm", which replaces what is
    /// ill-formed. It holds everything back from the first ill-formed byte on, and loses it.
    IllFormedBytes,
    /// "[...] and a single U+000D CARRIAGE RETURN (CR) character not followed by a U+000A LINE FEED
    /// (LF) character being the ways in which a line can end." It waits for the character after a
    /// CR, so the line of a CR that is the last byte so far has not ended for it.
    FinalCr,
    /// "If the field value consists of only ASCII digits [...]. Otherwise, ignore the field."
    /// It takes a plus sign before them.
    SignedRetry,
    /// "[...] interpret the field value as an integer in base ten, and set the event stream's
    /// reconnection time to that integer." It ignores a number that needs more than 64 bits.
    RetryAbove64Bits,
    /// "[...] set the event stream's reconnection time to that integer", as the line is processed.
    /// It tells the time with the event, so of several in a block only the last is told, and none
    /// of a block that dispatches no event.
    RetryToldWithEvent,
    /// "Set the last event ID string of the event source to the value of the last event ID buffer"
    /// comes before "If the data buffer is an empty string [...] return." It sets the string only
    /// when there is an event.
    IdCommittedWithEvent,
    /// "The buffer does not get reset, so the last event ID string of the event source remains set
    /// to this value until the next time it is set by the server." The ID from before a
    /// reconnection is not on the first events after it, and they reset it.
    SeedForgotten,
}

pub fn explain(bytes: &[u8], seed: &str) -> Explanation<Difference> {
    let mut explanation = Explanation::new(oracle::parse(bytes, seed));
    if bytes.starts_with("\u{FEFF}".as_bytes()) {
        explanation.apply(Difference::LeadingBom, Outcome::Panicked);
        return explanation;
    }

    let mut apply = |difference, stream: &str| {
        explanation.apply(difference, oracle::parse(stream.as_bytes(), seed));
    };
    let stream = well_formed_start(bytes);
    apply(Difference::IllFormedBytes, stream);

    let stream = stream.strip_suffix('\r').unwrap_or(stream);
    apply(Difference::FinalCr, stream);

    let stream = map_lines(stream, |line| {
        match retry_value(line).and_then(|value| value.strip_prefix('+')) {
            Some(value) if is_number(value) => format!("retry:{value}"),
            _ => line.to_owned(),
        }
    });
    apply(Difference::SignedRetry, &stream);

    let stream = map_lines(&stream, |line| match retry_value(line) {
        Some(value) if is_number(value) && value.parse::<u64>().is_err() => NOTHING.to_owned(),
        _ => line.to_owned(),
    });
    apply(Difference::RetryAbove64Bits, &stream);

    let stream = last_retry_of_each_event(&stream);
    apply(Difference::RetryToldWithEvent, &stream);

    let (items, _) = oracle::parse(stream.as_bytes(), seed);
    let id = last_id_of_events(&items, seed);
    explanation.apply(Difference::IdCommittedWithEvent, (items, id));

    let (items, _) = oracle::parse(stream.as_bytes(), "");
    let id = last_id_of_events(&items, seed);
    explanation.apply(Difference::SeedForgotten, (items, id));
    explanation
}

/// Everything before the first ill-formed byte.
fn well_formed_start(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// Leaves a block the last of its `retry` lines, if the block dispatches an event.
fn last_retry_of_each_event(stream: &str) -> String {
    let mut kept = Vec::new();
    let (mut last_of_block, mut has_data, mut count) = (None, false, 0);
    map_lines(stream, |line| {
        if line.is_empty() {
            kept.extend(last_of_block.take().filter(|_| has_data));
            has_data = false;
        }
        if retry_value(line).is_some_and(is_number) {
            last_of_block = Some(count);
        }
        has_data |= line == "data" || line.starts_with("data:");
        count += 1;
        String::new()
    });

    let mut index = 0..;
    map_lines(stream, |line| {
        let index = index.next().expect("the range has no end");
        if retry_value(line).is_some() && !kept.contains(&index) {
            return NOTHING.to_owned();
        }
        line.to_owned()
    })
}

fn last_id_of_events(items: &[Item], seed: &str) -> String {
    let id = items.iter().rev().find_map(|item| match item {
        Item::Event { id, .. } => Some(id.as_str()),
        Item::Retry(_) => None,
    });
    id.unwrap_or(seed).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sse_proto::strategy;

    use super::super::{assert_example, vector_streams};
    use super::*;

    #[track_caller]
    fn example(difference: Difference, bytes: &[u8], seed: &str) {
        let right = oracle::parse(bytes, seed);
        assert_example(difference, &explain(bytes, seed), right, &decode(&[bytes], seed));
    }

    #[test]
    fn leading_bom() {
        let bytes = "\u{FEFF}data: a\n\n".as_bytes();
        example(Difference::LeadingBom, bytes, "");
        assert_eq!(decode(&[bytes], ""), Outcome::Panicked);
        assert_eq!(decode(&[&bytes[..1], &bytes[1..]], ""), Outcome::Panicked);
    }

    #[test]
    fn ill_formed_bytes() {
        example(Difference::IllFormedBytes, b"data: \xFF\n\n", "");
    }

    #[test]
    fn final_cr() {
        example(Difference::FinalCr, b"data: a\r\r", "");
    }

    #[test]
    fn signed_retry() {
        example(Difference::SignedRetry, b"retry: +5\ndata: a\n\n", "");
    }

    #[test]
    fn retry_above_64_bits() {
        example(Difference::RetryAbove64Bits, b"retry: 18446744073709551616\ndata: a\n\n", "");
    }

    #[test]
    fn retry_told_with_event() {
        example(Difference::RetryToldWithEvent, b"retry: 5\n\n", "");
        example(Difference::RetryToldWithEvent, b"retry: 5\nretry: 6\ndata: a\n\n", "");
    }

    #[test]
    fn id_committed_with_event() {
        example(Difference::IdCommittedWithEvent, b"id: 1\n\n", "");
    }

    #[test]
    fn seed_forgotten() {
        example(Difference::SeedForgotten, b"data: a\n\n", "7");
    }

    #[test]
    fn every_vector_is_read_right_or_explained() {
        for (name, steps, seed) in vector_streams() {
            let chunks: Vec<_> = steps.iter().map(Vec::as_slice).collect();
            assert_eq!(decode(&chunks, &seed), explain(&steps.concat(), &seed).outcome, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn every_random_stream_is_read_right_or_explained(
            bytes in strategy::stream(),
            seed in strategy::id(),
            chunking in strategy::chunking(),
        ) {
            let chunks = chunking.chunks(&bytes);
            prop_assert_eq!(decode(&chunks, &seed), explain(&bytes, &seed).outcome);
        }
    }
}
