//! Other crates' decoders beside the oracle, on the same random streams in the same chunks.
//!
//! "It differs here and there" proves nothing, so every difference has a name. A peer's module says
//! in what ways the peer misreads a stream, each with the rule it breaks, and applies them one by
//! one to what the oracle is given: what then comes out must be what the peer delivers, to the
//! letter. A difference without a name is a bug in the peer that nobody knows yet, or in the
//! oracle, and fails the test.

pub mod eventsource_stream;
pub mod sse_core;

use crate::oracle::Item;

/// What a decoder makes of a whole stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was delivered, and the committed last event ID at the end.
    Delivered(Vec<Item>, String),
    Panicked,
}

impl From<(Vec<Item>, String)> for Outcome {
    fn from((items, last_event_id): (Vec<Item>, String)) -> Self {
        Self::Delivered(items, last_event_id)
    }
}

/// The ways in which a peer misreads one stream, and what they lead to.
pub struct Explanation<Difference> {
    pub outcome: Outcome,
    differences: Vec<Difference>,
}

impl<Difference> Explanation<Difference> {
    /// Starts from what is right.
    fn new(right: (Vec<Item>, String)) -> Self {
        Self { outcome: right.into(), differences: Vec::new() }
    }

    /// Applies one more difference. It explains something only if it changes what is delivered.
    fn apply(&mut self, difference: Difference, outcome: impl Into<Outcome>) {
        let outcome = outcome.into();
        if outcome != self.outcome {
            self.outcome = outcome;
            self.differences.push(difference);
        }
    }
}

/// One concrete stream for one difference: the peer departs from the oracle in it, that difference
/// explains it, and no other is needed.
#[cfg(test)]
#[track_caller]
fn assert_example<Difference: std::fmt::Debug + PartialEq>(
    difference: Difference,
    explanation: &Explanation<Difference>,
    right: (Vec<Item>, String),
    peer: &Outcome,
) {
    assert_ne!(*peer, right.into(), "the peer has nothing to explain here");
    assert_eq!(*peer, explanation.outcome);
    assert_eq!(explanation.differences, [difference]);
}

/// The streams of the vectors that are about the standard alone, a chunk for each step.
#[cfg(test)]
fn vector_streams() -> impl Iterator<Item = (String, Vec<Vec<u8>>, String)> {
    use crate::vectors;
    vectors::all().into_iter().filter(|case| case.plain().is_some()).map(|case| {
        let steps = case.steps.iter().map(vectors::Step::bytes).collect();
        (case.name, steps, case.last_event_id)
    })
}

/// Rewrites a stream line by line, and leaves the line ends as they are. A last line without an end
/// is left out, since nobody reads it.
fn map_lines(stream: &str, mut rewrite: impl FnMut(&str) -> String) -> String {
    let (bom, mut rest) = match stream.strip_prefix('\u{FEFF}') {
        Some(rest) => ("\u{FEFF}", rest),
        None => ("", stream),
    };
    let mut rewritten = bom.to_owned();
    while let Some(length) = rest.find(['\r', '\n']) {
        let end = if rest[length..].starts_with("\r\n") { 2 } else { 1 };
        rewritten += &rewrite(&rest[..length]);
        rewritten += &rest[length..length + end];
        rest = &rest[length + end..];
    }
    rewritten
}

/// The value of a `retry` line.
fn retry_value(line: &str) -> Option<&str> {
    let value = line.strip_prefix("retry:")?;
    Some(value.strip_prefix(' ').unwrap_or(value))
}

/// A number as the standard reads it, of any size.
fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// A line that says nothing, to put in the place of one that a peer passes over. It is not blank.
const NOTHING: &str = ":";
