//! What is printed while it runs, and at the end.
//!
//! Texts come from servers, and from reports of others: none of their bytes reaches a terminal as a
//! command.

use std::io::{self, Write};

use super::{Report, is_failure};
use crate::probe::finding::Exchange;
use crate::probe::outcome::Outcome;
use crate::verdict::{Summary, Verdict};
use crate::wire::shown::visible;

/// The verdict of a check, on one line.
pub(crate) fn line(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    if outcome.verdict == Verdict::Skip {
        // They are told together, at the end.
        return Ok(());
    }
    let style = outcome.verdict.style();
    let word = outcome.verdict.word();
    write!(out, "{style}{word:12}{style:#} {:20} {:5.1} s", outcome.id, outcome.seconds)?;
    match visible(&outcome.reason).as_str() {
        "" => writeln!(out),
        reason => writeln!(out, "  {reason}"),
    }
}

/// What failed, with what it rests on, and the numbers last.
pub(crate) fn summary(out: &mut impl Write, report: &Report, strict: bool) -> io::Result<()> {
    for outcome in report.failures(strict) {
        details(out, &report.command, outcome)?;
    }
    skipped(out, report)?;
    let known = report.checks.iter().filter(|outcome| outcome.expected).count();
    let style = Verdict::Fail.style();
    writeln!(out, "\n{}", visible(report.called()))?;
    if let Some(problem) = &report.problem {
        writeln!(out, "{style}{}{style:#}", visible(problem))?;
    }
    let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
    write!(out, "{pass} pass, {fail} fail, {warn} warn, {info} info, ")?;
    write!(out, "{inconclusive} inconclusive, {skip} skipped")?;
    if known > 0 {
        write!(out, "; {known} of the failures known")?;
    }
    writeln!(out)
}

/// What was skipped: a line for each reason.
fn skipped(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let mut reasons: Vec<(&str, usize, Vec<&str>)> = Vec::new();
    for outcome in report.checks.iter().filter(|outcome| outcome.verdict == Verdict::Skip) {
        let section = outcome.id.split('.').next().unwrap_or_default();
        match reasons.iter_mut().find(|(reason, ..)| *reason == outcome.reason) {
            Some((_, count, sections)) => {
                *count += 1;
                if !sections.contains(&section) {
                    sections.push(section);
                }
            }
            None => reasons.push((&outcome.reason, 1, vec![section])),
        }
    }
    let style = Verdict::Skip.style();
    if !reasons.is_empty() {
        writeln!(out)?;
    }
    for (reason, count, sections) in reasons {
        let sections = sections.join(", ");
        writeln!(out, "{style}skipped {count:3}{style:#} of {sections}: {}", visible(reason))?;
    }
    Ok(())
}

/// Text in a cell of a table in Markdown, where it stays text.
pub(super) fn cell(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for char in visible(text).chars() {
        if matches!(char, '\\' | '|' | '<' | '[' | '`') {
            cell.push('\\');
        }
        cell.push(char);
    }
    cell
}

/// The numbers of several servers, as a table that Markdown takes for one.
pub(crate) fn table(out: &mut impl Write, reports: &[Report]) -> io::Result<()> {
    let heads = ["pass", "fail", "warn", "info", "inconclusive", "skipped", "seconds"];
    let names: Vec<_> = reports.iter().map(|report| cell(report.called())).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(out, "\n| {:width$} | {} |", "server", heads.join(" | "))?;
    let rules = heads.map(|head| format!("{:->width$}:", "", width = head.len() + 1));
    writeln!(out, "|-{:-<width$}-|{}|", "", rules.join("|"))?;
    for (report, name) in reports.iter().zip(&names) {
        write!(out, "| {name:width$} |")?;
        let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
        for (number, head) in [pass, fail, warn, info, inconclusive, skip].iter().zip(heads) {
            write!(out, " {number:>width$} |", width = head.len())?;
        }
        writeln!(out, " {:>7.0} |", report.seconds)?;
    }
    for report in reports {
        if let Some(problem) = &report.problem {
            writeln!(out, "{}: {}", visible(report.called()), visible(problem))?;
        }
    }
    Ok(())
}

fn details(out: &mut impl Write, command: &str, outcome: &Outcome) -> io::Result<()> {
    debug_assert!(is_failure(outcome, true), "known failures are not shown at length");
    let style = outcome.verdict.style();
    writeln!(out, "\n{style}{}{style:#}: {}", outcome.id, visible(&outcome.reason))?;
    writeln!(out, "  expected: {} ({})", outcome.title, outcome.reference)?;
    for exchange in &outcome.exchanges {
        let Exchange { curl, head, chunks, events, end, total, .. } = exchange;
        writeln!(out, "  $ {}", visible(curl))?;
        for line in head.lines().filter(|line| !line.is_empty()) {
            writeln!(out, "    < {}", visible(line))?;
        }
        for (at, text) in chunks.iter().take(4) {
            writeln!(out, "    {at:6} ms  {}", visible(text))?;
        }
        if chunks.is_empty() {
            events.iter().try_for_each(|event| writeln!(out, "    {}", visible(event)))?;
        }
        if chunks.len() > 4 || total.1 > events.len() {
            writeln!(out, "    … {} bytes, {} events in all", total.0, total.1)?;
        }
        if !end.is_empty() {
            writeln!(out, "    {}", visible(end))?;
        }
    }
    writeln!(out, "  alone: sse-fuzz {command} URL {}", outcome.id)
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_is_one_cell_and_commands_no_terminal() {
        assert_eq!(cell("a|b\\|c\n| d |"), "a\\|b\\\\\\|c\\\\n\\| d \\|");
        assert_eq!(cell("\u{1b}[2J<b>`x`"), "\\\\u{1b}\\[2J\\<b>\\`x\\`");
        assert_eq!(cell("http://h:1/a_b?c=d&e"), "http://h:1/a_b?c=d&e");
    }
}
