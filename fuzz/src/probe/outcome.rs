//! What came of a check, as reports have it: without secrets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::Severity;
use super::finding::{Exchange, Finding, Ruling};
use super::secrets::Secrets;
use crate::verdict::Verdict;

/// What came of a check, for reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The check's id.
    pub id: String,
    /// What is expected.
    pub title: String,
    /// What a violation means.
    pub severity: Severity,
    /// Where the expectation is written.
    pub reference: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why; may be empty for a pass.
    pub reason: String,
    /// Whether a failure was expected (`--expected-failures`).
    #[serde(default)]
    pub expected: bool,
    /// How long it took, in seconds.
    pub seconds: f32,
    /// What it rests on.
    pub exchanges: Vec<Exchange>,
}

/// What a check says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) severity: Severity,
    pub(crate) reference: &'a str,
}

impl Outcome {
    pub(crate) fn new(
        check: About<'_>,
        finding: Finding,
        time: Duration,
        secrets: &Secrets,
    ) -> Self {
        let verdict = match finding.ruling {
            Ruling::Fault => check.severity.verdict(),
            Ruling::Is(verdict) => verdict,
        };
        let mut outcome = Self {
            id: check.id.to_owned(),
            title: check.title.to_owned(),
            severity: check.severity,
            reference: check.reference.to_owned(),
            verdict,
            reason: finding.reason,
            expected: false,
            seconds: time.as_secs_f32(),
            exchanges: finding.exchanges,
        };
        secrets.hide(&mut outcome.reason);
        for exchange in &mut outcome.exchanges {
            let Exchange { request, curl, head, chunks, events, end, total: _ } = exchange;
            let texts = [request, curl, head, end].into_iter();
            let texts = texts.chain(chunks.iter_mut().map(|(_, text)| text)).chain(events);
            texts.for_each(|text| secrets.hide(text));
        }
        outcome
    }
}
