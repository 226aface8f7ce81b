//! `sse-core` 0.2.3, which reads as the standard says, but for the size of one number.

use sse_core::{SseDecoder, SseEvent};

use super::{Explanation, NOTHING, Outcome, is_number, map_lines, retry_value};
use crate::oracle::{self, Item};

pub fn decode(chunks: &[&[u8]], seed: &str) -> Outcome {
    let mut decoder = SseDecoder::new();
    decoder.reconnect_with_id(Some(seed.into()));
    let mut items = Vec::new();
    for mut chunk in chunks.iter().copied() {
        while let Some(event) = decoder.next(&mut chunk) {
            items.push(match event.expect("no stream of these comes near its limit of 512 KiB") {
                SseEvent::Message(message) => Item::Event {
                    event: message.event.into_owned(),
                    data: message.data,
                    id: message.last_event_id.as_deref().unwrap_or_default().to_owned(),
                },
                SseEvent::Retry(time) => Item::Retry(time.into()),
            });
        }
    }
    Outcome::Delivered(items, decoder.last_event_id().map_or("", |id| id).to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// "If the field value consists of only ASCII digits, then interpret the field value as an
    /// integer in base ten, and set the event stream's reconnection time to that integer."
    /// It ignores a number that needs more than 32 bits.
    RetryAbove32Bits,
}

pub fn explain(bytes: &[u8], seed: &str) -> Explanation<Difference> {
    let mut explanation = Explanation::new(oracle::parse(bytes, seed));

    let stream = map_lines(&String::from_utf8_lossy(bytes), |line| match retry_value(line) {
        Some(value) if is_number(value) && value.parse::<u32>().is_err() => NOTHING.to_owned(),
        _ => line.to_owned(),
    });
    let outcome = oracle::parse(stream.as_bytes(), seed);
    explanation.apply(Difference::RetryAbove32Bits, outcome);
    explanation
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sse_proto::strategy;

    use super::super::{assert_example, vector_streams};
    use super::*;

    #[test]
    fn retry_above_32_bits() {
        let bytes = b"retry: 4294967296\n";
        assert_example(
            Difference::RetryAbove32Bits,
            &explain(bytes, ""),
            oracle::parse(bytes, ""),
            &decode(&[bytes], ""),
        );
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
