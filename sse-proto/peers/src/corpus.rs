//! The streams that speed is measured on. The same on every run and every machine.

use std::fmt::Write as _;

use bytes::Bytes;
use fastrand::Rng;

use crate::Count;

/// A stream of about 4 MiB, and what is in it. All lines end with LF.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// `a`, `b` or `c`.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// The stream.
    pub stream: Bytes,
    /// What a decoder must find.
    pub count: Count,
}

const LEN: usize = 4 << 20;

const MIB: usize = 1 << 20;

/// A multiple of an event with a line of 1,000 bytes and its end, two LF.
const LINES_LEN: usize = 16 * MIB / 1002 * 1002;

impl Corpus {
    /// The three corpora.
    pub fn all() -> [Self; 3] {
        [tokens(), records(), documents()]
    }

    /// Nearly 16 MiB in lines of 1,000 bytes, each an event, and as much as the one line of one
    /// event, which is nearly the longest that decoders take: to see that a long line costs no more
    /// per byte.
    pub fn lines() -> [Self; 2] {
        [("line-1k", "lines of 1,000 bytes", 1000), ("line-16m", "a line of 16 MiB", LINES_LEN - 2)]
            .map(|(name, about, len)| lines(name, about, len))
    }
}

/// a: a language model's answer, a token for each event. About 204 bytes an event, a single `data`
/// line of JSON; one token in sixteen is not ASCII.
fn tokens() -> Corpus {
    let mut rng = Rng::with_seed(1);
    build("a", "LLM tokens, ~204 B", |stream| {
        let token = if rng.u8(..) < 16 { " naïveté" } else { WORDS[rng.usize(..WORDS.len())] };
        let data = format!(
            r#"{{"id":"chatcmpl-9fX2kQ7LmB4tYc1Rz0aHdWuE","object":"chat.completion.chunk","created":1760000000,"model":"large-2025-10","choices":[{{"index":0,"delta":{{"content":"{token}"}},"finish_reason":null}}]}}"#
        );
        write_event(stream, "", &data);
        data.len()
    })
}

/// b: updates of records. About 790 bytes an event: a type, an id that counts up, and a line of
/// JSON.
fn records() -> Corpus {
    let mut rng = Rng::with_seed(2);
    let mut id = 1_000_000;
    build("b", "records with event and id, ~790 B", |stream| {
        id += 1;
        let mut data = format!(r#"{{"id":{id},"version":{},"body":""#, rng.u16(..));
        text(&mut data, 700 + rng.usize(..50), &mut rng);
        data.push_str("\"}");
        write_event(stream, &format!("event: record-updated\nid: {id}\n"), &data);
        data.len()
    })
}

/// c: four documents of 1 MiB each, in `data` lines of about 100 bytes.
fn documents() -> Corpus {
    let mut rng = Rng::with_seed(3);
    build("c", "documents of 1 MiB, lines of ~100 B", |stream| {
        let mut data = String::new();
        while data.len() < MIB - 128 {
            if !data.is_empty() {
                data.push('\n');
            }
            let len = 85 + rng.usize(..20);
            text(&mut data, len, &mut rng);
        }
        write_event(stream, "", &data);
        data.len()
    })
}

fn lines(name: &'static str, about: &'static str, len: usize) -> Corpus {
    let mut rng = Rng::with_seed(4);
    let data_len = len - "data: ".len();
    let mut data = String::new();
    text(&mut data, data_len, &mut rng);
    data.truncate(data_len);
    let mut stream = String::with_capacity(LINES_LEN);
    let mut count = Count::default();
    while stream.len() < LINES_LEN {
        write_event(&mut stream, "", &data);
        count.data_len += data_len;
        count.events += 1;
    }
    Corpus { name, about, stream: Bytes::from(stream), count }
}

/// Puts events one after the other. `push` writes one and says how long its data are.
fn build(
    name: &'static str,
    about: &'static str,
    mut push: impl FnMut(&mut String) -> usize,
) -> Corpus {
    let mut stream = String::with_capacity(LEN + MIB);
    let mut count = Count::default();
    while stream.len() < LEN {
        count.data_len += push(&mut stream);
        count.events += 1;
    }
    Corpus { name, about, stream: Bytes::from(stream), count }
}

fn write_event(stream: &mut String, fields: &str, data: &str) {
    stream.push_str(fields);
    for line in data.split('\n') {
        writeln!(stream, "data: {line}").expect("a string takes all text");
    }
    stream.push('\n');
}

/// Appends words, `len` bytes of them and a few more at most.
fn text(to: &mut String, len: usize, rng: &mut Rng) {
    let end = to.len() + len;
    while to.len() < end {
        to.push_str(WORDS[rng.usize(..WORDS.len())]);
    }
}

const WORDS: [&str; 24] = [
    " the",
    " of",
    " stream",
    " a",
    " token",
    " and",
    " is",
    " measured",
    ",",
    ".",
    " event",
    " that",
    " it",
    " in",
    " byte",
    " server",
    " to",
    " reads",
    " line",
    " on",
    " reconnection",
    " as",
    " time",
    " its",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corpora_are_as_described() {
        let mean_lens = [204, 790, MIB];
        for (corpus, wanted) in Corpus::all().into_iter().zip(mean_lens) {
            let len = corpus.stream.len();
            assert!(len.abs_diff(LEN) < LEN / 10, "{}: {len} bytes", corpus.name);
            let mean = len / corpus.count.events;
            assert!(mean.abs_diff(wanted) < wanted / 10, "{}: {mean} per event", corpus.name);
        }
        for (corpus, events) in Corpus::lines().into_iter().zip([LINES_LEN / 1002, 1]) {
            assert_eq!((corpus.stream.len(), corpus.count.events), (LINES_LEN, events));
        }
    }
}
