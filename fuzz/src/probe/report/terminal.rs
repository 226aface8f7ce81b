//! What is printed while it runs, and at the end.

use std::io::{self, Write};

use super::{Report, is_failure};
use crate::probe::finding::{Exchange, Outcome};
use crate::verdict::{Summary, Verdict};

/// The verdict of a check, on one line.
pub(in crate::probe) fn line(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let style = outcome.verdict.style();
    let word = outcome.verdict.word();
    write!(out, "{style}{word:12}{style:#} {:20} {:5.1} s", outcome.id, outcome.seconds)?;
    match outcome.reason.as_str() {
        "" => writeln!(out),
        reason => writeln!(out, "  {reason}"),
    }
}

/// What failed, with what it rests on, and the numbers last.
pub(in crate::probe) fn summary(
    out: &mut impl Write,
    report: &Report,
    strict: bool,
) -> io::Result<()> {
    for outcome in report.failures(strict) {
        details(out, outcome)?;
    }
    let known = report.checks.iter().filter(|outcome| outcome.expected).count();
    let style = Verdict::Fail.style();
    writeln!(out, "\n{}", report.target)?;
    if let Some(problem) = &report.problem {
        writeln!(out, "{style}{problem}{style:#}")?;
    }
    let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
    write!(out, "{pass} pass, {fail} fail, {warn} warn, {info} info, ")?;
    write!(out, "{inconclusive} inconclusive, {skip} skipped")?;
    if known > 0 {
        write!(out, "; {known} of the failures known")?;
    }
    writeln!(out)
}

fn details(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    debug_assert!(is_failure(outcome, true), "known failures are not shown at length");
    let style = outcome.verdict.style();
    writeln!(out, "\n{style}{}{style:#}: {}", outcome.id, outcome.reason)?;
    writeln!(out, "  expected: {} ({})", outcome.title, outcome.reference)?;
    for exchange in &outcome.exchanges {
        let Exchange { curl, head, chunks, events, end, total, .. } = exchange;
        writeln!(out, "  $ {curl}")?;
        for line in head.lines().filter(|line| !line.is_empty()) {
            writeln!(out, "    < {line}")?;
        }
        for (at, text) in chunks.iter().take(4) {
            writeln!(out, "    {at:6} ms  {text}")?;
        }
        if chunks.len() > 4 || total.1 > events.len() {
            writeln!(out, "    … {} bytes, {} events in all", total.0, total.1)?;
        }
        if !end.is_empty() {
            writeln!(out, "    {end}")?;
        }
    }
    writeln!(out, "  alone: sse-fuzz probe URL {}", outcome.id)
}
