//! The decoder beside the oracle on as many random streams as one likes, several times as fast as
//! proptest: nothing is shrunk, and a failure is told by its stream alone, as a vector.
//!
//! `cargo xtask oracle --cases N [--seed S]` runs it in release mode. Plain `cargo test` runs a
//! few.

use std::env;
use std::panic::{catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use crate::additions::{self, Delivery, Wanted};
use crate::decoder::{by_session, decode};
use crate::oracle::{self, Item};
use crate::strategy::{BROKEN, LINES, PIECES};

/// How many streams.
const CASES: &str = "SSE_RANDOM_CASES";
/// A number; the same one makes the same streams.
const SEED: &str = "SSE_RANDOM_SEED";

const FEW: u64 = 10_000;

#[test]
fn many_random_streams_are_read_as_the_standard_says() {
    let cases = number(CASES).unwrap_or(FEW);
    let seed = number(SEED).unwrap_or_else(|| fastrand::u64(..));
    println!("{cases} streams, three chunkings of each, {SEED}={seed}");
    let started = Instant::now();
    let mut told = started;
    for case in 0..cases {
        // Each has a seed of its own, so that one can be run without those before it.
        check(&Case::random(&mut Rng::with_seed(seed.wrapping_add(case))));
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{} of {cases} after {} s", case + 1, started.elapsed().as_secs());
        }
    }
    println!("{cases} streams read right in {} s", started.elapsed().as_secs());
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a whole number, not {value:?}")))
}

/// A stream, and how it is read.
#[derive(Debug)]
struct Case {
    bytes: Vec<u8>,
    last_event_id: &'static str,
    wanted: Wanted,
    /// Where the third chunking cuts, in order.
    cuts: Vec<usize>,
}

impl Case {
    fn random(rng: &mut Rng) -> Self {
        let bytes = random_stream(rng);
        let mut cuts: Vec<_> = (0..rng.usize(0..12)).map(|_| rng.usize(0..=bytes.len())).collect();
        // Chunks that are long enough to be looked at in advance, and yet hold but a part of a
        // line.
        if let Some(cut) = cuts.first().filter(|_| rng.bool()) {
            cuts.push(bytes.len().min(cut + rng.usize(256..800)));
        }
        cuts.sort_unstable();
        let last_event_id = if rng.u8(0..3) == 0 { "seed" } else { "" };
        // A quarter of them with what this project adds.
        let wanted = if rng.u8(0..4) == 0 {
            Wanted {
                comments: rng.bool(),
                event_limit: rng.bool().then(|| limit(rng, 0)),
                // Room for a byte order mark, which is held and counts for no limit.
                line_limit: rng.bool().then(|| limit(rng, 3)),
            }
        } else {
            Wanted::default()
        };
        Self { bytes, last_event_id, wanted, cuts }
    }

    /// The stream whole, in single bytes, and cut at random.
    fn chunkings(&self) -> [Vec<&[u8]>; 3] {
        let mut start = 0;
        let ends = self.cuts.iter().copied().chain([self.bytes.len()]);
        let cut = ends.map(|end| &self.bytes[std::mem::replace(&mut start, end)..end]);
        [vec![&self.bytes], self.bytes.chunks(1).collect(), cut.collect()]
    }

    /// What the first bytes of the stream must deliver.
    fn expected(&self, len: usize) -> (Vec<Delivery>, String) {
        let bytes = &self.bytes[..len];
        if !self.wanted.is_plain() {
            return additions::parse(bytes, self.last_event_id, self.wanted);
        }
        let (items, last_event_id) = oracle::parse(bytes, self.last_event_id);
        (items.into_iter().map(Delivery::Item).collect(), last_event_id)
    }

    /// Read so, it is a case for `vectors/*.json`.
    fn as_vector(&self, chunks: &[&[u8]]) -> Value {
        let mut delivered = 0;
        let mut len = 0;
        let steps = chunks.iter().map(|chunk| {
            len += chunk.len();
            let (expected, _) = self.expected(len);
            let new: Vec<_> = expected[delivered..].iter().map(as_json).collect();
            delivered = expected.len();
            json!({ "bytes": chunk.iter().copied().map(char::from).collect::<String>(), "expect": new })
        });
        let steps: Vec<_> = steps.collect();
        json!({
            "name": "found-by-a-long-run",
            "standard": "?",
            "why": "?",
            "last_event_id": self.last_event_id,
            "limits": { "event": self.wanted.event_limit, "line": self.wanted.line_limit },
            "comments": self.wanted.comments,
            "steps": steps,
            "final_last_event_id": self.expected(self.bytes.len()).1,
        })
    }
}

fn as_json(delivery: &Delivery) -> Value {
    match delivery {
        Delivery::Item(Item::Event { event, data, id }) => {
            json!({ "event": event, "data": data, "id": id })
        }
        Delivery::Item(Item::Retry(time)) => json!({ "retry": time }),
        Delivery::Comment(comment) => json!({ "comment": comment }),
        Delivery::EventTooLarge => json!({ "error": "event-too-large" }),
        Delivery::LineTooLarge => json!({ "error": "line-too-large" }),
    }
}

fn check(case: &Case) {
    let expected = case.expected(case.bytes.len());
    for chunks in case.chunkings() {
        let delivered = catch_unwind(|| decode(&chunks, case.last_event_id, case.wanted));
        match delivered {
            Ok(delivered) if delivered == expected => {}
            Ok(delivered) => panic!(
                "read wrong:\n{:#}\ndelivered: {delivered:?}\nexpected:  {expected:?}",
                case.as_vector(&chunks),
            ),
            Err(panic) => {
                println!("panicked:\n{:#}", case.as_vector(&chunks));
                resume_unwind(panic);
            }
        }
        // A session keeps the reconnection time to itself.
        let is_item = |delivery: &Delivery| !matches!(delivery, Delivery::Item(Item::Retry(_)));
        let mut expected = expected.clone();
        expected.0.retain(is_item);
        let delivered = catch_unwind(|| by_session(&chunks, case.last_event_id, case.wanted));
        assert!(
            delivered.as_ref().is_ok_and(|delivered| *delivered == expected),
            "read wrong by a session:\n{:#}\ndelivered: {delivered:?}",
            case.as_vector(&chunks),
        );
    }
}

/// Either such that nearly every event passes it, or long enough for a decoder that looks at many
/// bytes at once.
fn limit(rng: &mut Rng, least: usize) -> usize {
    if rng.bool() { rng.usize(least..24) } else { rng.usize(256..1500) }
}

/// Of the same pieces as `strategy::stream`, and sometimes long enough for a decoder that looks at
/// many bytes at once.
fn random_stream(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    if rng.u8(0..10) == 0 {
        bytes.extend("\u{FEFF}".as_bytes());
    }
    let ill_formed = rng.bool();
    // Now and then long enough to be looked at in advance.
    let longest = if rng.u8(0..8) == 0 { 400 } else { 32 };
    for _ in 0..rng.usize(0..longest) {
        let pieces = match rng.u8(0..9) {
            0 if ill_formed => BROKEN,
            0..4 => PIECES,
            _ => LINES,
        };
        bytes.extend(pieces[rng.usize(0..pieces.len())]);
        if rng.u8(0..64) == 0 {
            let filler = rng.u8(b'a'..=b'z');
            let most = if rng.u8(0..4) == 0 { 4000 } else { 200 };
            bytes.resize(bytes.len() + rng.usize(0..most), filler);
        }
    }
    bytes
}

#[test]
fn a_failure_is_told_as_a_vector() {
    let case = Case {
        bytes: b"data: \xFF\n\nid: 1\n\n".to_vec(),
        last_event_id: "seed",
        wanted: Wanted { line_limit: Some(20), ..Wanted::default() },
        cuts: vec![7],
    };
    let [_, _, chunks] = case.chunkings();
    let vector = serde_json::from_value::<crate::vectors::Case>(case.as_vector(&chunks));
    let vector = vector.expect("the vectors' own form");
    assert_eq!((vector.bytes(), vector.steps.len()), (case.bytes.clone(), 2));
    assert_eq!(
        (vector.expect(), vector.final_last_event_id.clone()),
        case.expected(case.bytes.len())
    );
    assert_eq!(vector.wanted().line_limit, Some(20));
}
