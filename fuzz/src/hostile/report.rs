//! What has come of a run, for people and for programs.

use std::io::{self, Write};
use std::time::SystemTime;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use super::check::Outcome;
use crate::verdict::{Summary, Verdict};

pub(super) fn verdicts(outcomes: &[Outcome]) -> impl Iterator<Item = Verdict> {
    outcomes.iter().map(|outcome| outcome.judgement.verdict)
}

/// The verdict of a case, on one line.
pub(super) fn line(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let verdict = outcome.judgement.verdict;
    let style = verdict.style();
    let seconds = outcome.time.as_secs_f32();
    write!(out, "{style}{:12}{style:#} {:32} {seconds:5.1} s", verdict.word(), outcome.case.id)?;
    match outcome.judgement.reasons.first() {
        Some(reason) => writeln!(out, "  {reason}"),
        None => writeln!(out),
    }
}

/// What failed, with all that is known about it, then what is warned of, and the numbers last.
pub(super) fn summary(out: &mut impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    for verdict in [Verdict::Fail, Verdict::Warn] {
        for outcome in outcomes.iter().filter(|outcome| outcome.judgement.verdict == verdict) {
            fault(out, outcome)?;
        }
    }
    let Summary { pass, fail, warn, skip, inconclusive, .. } = Summary::of(verdicts(outcomes));
    writeln!(
        out,
        "\n{pass} pass, {fail} fail, {warn} warn, {inconclusive} inconclusive, {skip} skipped"
    )
}

fn fault(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let Outcome { case, judgement, .. } = outcome;
    let style = judgement.verdict.style();
    writeln!(out, "\n{style}{} {}{style:#}: {}", judgement.verdict.word(), case.id, case.title)?;
    writeln!(out, "  a correct client: {} ({})", case.correct, case.reference)?;
    for reason in &judgement.reasons {
        writeln!(out, "  {reason}")?;
    }
    for evidence in &judgement.evidence {
        writeln!(out, "    {evidence}")?;
    }
    writeln!(out, "  alone: sse-fuzz hostile {} --check …", case.id)
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    title: &'a str,
    correct: &'a str,
    reference: &'a str,
    verdict: Verdict,
    reasons: &'a [String],
    evidence: &'a [String],
    seconds: f32,
}

#[derive(Serialize)]
struct Whole<'a> {
    client: &'a str,
    /// Of sse-fuzz.
    version: &'a str,
    /// When it was written, as HTTP writes dates.
    date: String,
    summary: Summary,
    cases: Vec<Entry<'a>>,
}

/// Everything, as JSON.
pub(super) fn json(out: impl Write, client: &str, outcomes: &[Outcome]) -> io::Result<()> {
    let cases = outcomes.iter().map(|Outcome { case, judgement, time, .. }| Entry {
        id: &case.id,
        title: &case.title,
        correct: &case.correct,
        reference: &case.reference,
        verdict: judgement.verdict,
        reasons: &judgement.reasons,
        evidence: &judgement.evidence,
        seconds: time.as_secs_f32(),
    });
    let whole = Whole {
        client,
        version: env!("CARGO_PKG_VERSION"),
        date: httpdate::fmt_http_date(SystemTime::now()),
        summary: Summary::of(verdicts(outcomes)),
        cases: cases.collect(),
    };
    Ok(serde_json::to_writer_pretty(out, &whole)?)
}

/// The form that CI systems read. What is inconclusive counts as skipped there, with its reason.
pub(super) fn junit(out: impl Write, outcomes: &[Outcome]) -> io::Result<()> {
    let mut suite = TestSuite::new("sse-fuzz hostile");
    for Outcome { case, judgement, time, .. } in outcomes {
        let mut status = match judgement.verdict {
            Verdict::Pass | Verdict::Info | Verdict::Warn => TestCaseStatus::success(),
            Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Verdict::Skip | Verdict::Inconclusive => TestCaseStatus::skipped(),
        };
        if judgement.verdict != Verdict::Pass {
            let reasons = judgement.reasons.join("; ");
            status.set_message(format!("{}: {reasons}", judgement.verdict.word()));
            status.set_description(judgement.evidence.join("\n"));
        }
        let mut test = TestCase::new(case.id.as_str(), status);
        let section = case.id.split('.').next().unwrap_or_default();
        test.set_classname(format!("hostile.{section}")).set_time(*time);
        suite.add_test_case(test);
    }
    let mut report = Report::new("sse-fuzz");
    report.add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}
