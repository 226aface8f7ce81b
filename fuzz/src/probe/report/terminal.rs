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
    writeln!(out, "\n{}", report.called())?;
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

/// The numbers of several servers, as a table that Markdown takes for one.
pub(in crate::probe) fn table(out: &mut impl Write, reports: &[Report]) -> io::Result<()> {
    let heads = ["pass", "fail", "warn", "info", "inconclusive", "skipped", "seconds"];
    let width = reports.iter().map(|report| report.called().chars().count()).max().unwrap_or(0);
    writeln!(out, "\n| {:width$} | {} |", "server", heads.join(" | "))?;
    let rules = heads.map(|head| format!("{:->width$}:", "", width = head.len() + 1));
    writeln!(out, "|-{:-<width$}-|{}|", "", rules.join("|"))?;
    for report in reports {
        write!(out, "| {:width$} |", report.called())?;
        let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
        for (number, head) in [pass, fail, warn, info, inconclusive, skip].iter().zip(heads) {
            write!(out, " {number:>width$} |", width = head.len())?;
        }
        writeln!(out, " {:>7.0} |", report.seconds)?;
    }
    for report in reports {
        if let Some(problem) = &report.problem {
            writeln!(out, "{}: {problem}", report.called())?;
        }
    }
    Ok(())
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
        if chunks.is_empty() {
            events.iter().try_for_each(|event| writeln!(out, "    {event}"))?;
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
