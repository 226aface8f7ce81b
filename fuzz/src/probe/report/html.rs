//! The report as one HTML file that needs nothing else: a matrix of servers, and the evidence.

use std::io::{self, Write};

use super::Report;
use crate::probe::check::Check;
use crate::probe::checks::SECTIONS;
use crate::probe::finding::Exchange;
use crate::probe::outcome::Outcome;
use crate::verdict::{Summary, Verdict};

const STYLE: &str = include_str!("style.css");

/// Text that stays text.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for char in raw.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char => safe.push(char),
        }
    }
    safe
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome.verdict {
        _ if outcome.expected => "known",
        Verdict::Pass => "pass",
        Verdict::Info => "info",
        Verdict::Skip => "skip",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Warn => "warn",
        Verdict::Fail => "fail",
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match (outcome.expected, outcome.verdict) {
        (true, _) => "known",
        (false, Verdict::Fail) => "fail",
        (false, verdict) => verdict.word(),
    }
}

/// Writes the file.
pub(in crate::probe) fn html(mut out: impl Write, reports: &[Report]) -> io::Result<()> {
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>sse-fuzz probe</title>\n<style>{STYLE}</style>\n<main>\n<h1>Event streams, probed</h1>"
    )?;
    targets(&mut out, reports)?;
    matrix(&mut out, reports)?;
    writeln!(out, "<h2>Evidence</h2>")?;
    for (index, report) in reports.iter().enumerate() {
        if reports.len() > 1 {
            writeln!(out, "<h3 class=\"server\">{}. {}</h3>", index + 1, text(report.called()))?;
        }
        let mut told = report.checks.iter().filter(|outcome| is_told(outcome)).collect::<Vec<_>>();
        told.sort_by_key(|outcome| std::cmp::Reverse(outcome.verdict));
        for outcome in &told {
            details(&mut out, index, outcome)?;
        }
        if told.is_empty() {
            writeln!(out, "<p>There is nothing to show: see the matrix.</p>")?;
        }
    }
    writeln!(out, "<footer>sse-fuzz {}</footer>\n</main>\n</html>", env!("CARGO_PKG_VERSION"))
}

/// Whether there is something to be said of it; what is skipped stands in the matrix.
fn is_told(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict, Verdict::Skip) && !outcome.exchanges.is_empty()
        || matches!(outcome.verdict, Verdict::Fail | Verdict::Warn)
}

fn targets(out: &mut impl Write, reports: &[Report]) -> io::Result<()> {
    writeln!(out, "<ol class=\"targets\">")?;
    for report in reports {
        let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
        writeln!(
            out,
            "<li>{}<code>{}</code> <small>as {}, {:.0} s, {}</small>",
            report
                .name
                .as_deref()
                .map(|name| format!("<b>{}</b> ", text(name)))
                .unwrap_or_default(),
            text(&report.target),
            text(&report.profile),
            report.seconds,
            text(&report.date)
        )?;
        if let Some(problem) = &report.problem {
            writeln!(out, "<p class=\"problem\">{}</p>", text(problem))?;
        }
        write!(out, "<p class=\"counts\">")?;
        for (number, class) in [
            (fail, "fail"),
            (warn, "warn"),
            (info, "info"),
            (pass, "pass"),
            (inconclusive, "inconclusive"),
            (skip, "skip"),
        ] {
            if number > 0 {
                write!(out, "<span class=\"{class}\">{number} {class}</span> ")?;
            }
        }
        writeln!(out, "</p></li>")?;
    }
    writeln!(out, "</ol>")
}

fn matrix(out: &mut impl Write, reports: &[Report]) -> io::Result<()> {
    let find =
        |report: &Report, id: &str| report.checks.iter().position(|outcome| outcome.id == id);
    for section in &SECTIONS {
        let checks = section.checks();
        let rows: Vec<_> = checks
            .iter()
            .filter(|check| reports.iter().any(|report| find(report, check.id()).is_some()))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let said = |check: &&&Check| {
            reports.iter().any(|report| {
                find(report, check.id())
                    .is_some_and(|at| report.checks[at].verdict != Verdict::Skip)
            })
        };
        let shown: Vec<_> = rows.iter().filter(said).collect();
        let skipped = rows.len() - shown.len();
        writeln!(out, "<h2>{}</h2>\n<table>\n<thead><tr><th>check<th>expected", section.title)?;
        for (index, report) in reports.iter().enumerate() {
            // Of a name, the first word; the whole stands at the top.
            let word = report.name.as_deref().and_then(|name| name.split([' ', ',']).next());
            let head = match (reports.len(), word) {
                (1, _) => "verdict".to_owned(),
                (_, Some(word)) => text(word),
                (_, None) => (index + 1).to_string(),
            };
            write!(out, "<th class=\"cell\" title=\"{}\">{head}", text(report.called()))?;
        }
        writeln!(out, "{}</thead>", if reports.len() == 1 { "<th>why" } else { "" })?;
        for check in shown {
            write!(
                out,
                "<tr><td><code>{}</code><td>{} <small>{}</small>",
                check.id(),
                text(check.title()),
                text(check.reference())
            )?;
            for (index, report) in reports.iter().enumerate() {
                let Some(outcome) = find(report, check.id()).map(|at| &report.checks[at]) else {
                    write!(out, "<td class=\"cell\">–")?;
                    continue;
                };
                let (class, word) = (class(outcome), word(outcome));
                let reason = text(&outcome.reason);
                write!(out, "<td class=\"cell {class}\" title=\"{reason}\">")?;
                if is_told(outcome) {
                    write!(out, "<a href=\"#{index}.{}\">{word}</a>", check.id())?;
                } else {
                    write!(out, "{word}")?;
                }
                if reports.len() == 1 {
                    write!(out, "<td class=\"why\">{reason}")?;
                }
            }
            writeln!(out)?;
        }
        writeln!(out, "</table>")?;
        if skipped > 0 {
            writeln!(out, "<details class=\"skipped\"><summary>{skipped} skipped</summary><ul>")?;
            for check in rows.iter().filter(|check| !said(check)) {
                let reason = reports.iter().find_map(|report| {
                    find(report, check.id()).map(|at| report.checks[at].reason.as_str())
                });
                writeln!(
                    out,
                    "<li><code>{}</code> {}",
                    check.id(),
                    text(reason.unwrap_or_default())
                )?;
            }
            writeln!(out, "</ul></details>")?;
        }
    }
    Ok(())
}

fn details(out: &mut impl Write, index: usize, outcome: &Outcome) -> io::Result<()> {
    let class = class(outcome);
    let open = if matches!(class, "fail") { " open" } else { "" };
    writeln!(
        out,
        "<details id=\"{index}.{id}\"{open}><summary><span class=\"{class}\">{word}</span> \
         <code>{id}</code> {reason}</summary>\n<p>Expected: {title} <small>{reference}</small></p>",
        id = outcome.id,
        word = word(outcome),
        reason = text(&outcome.reason),
        title = text(&outcome.title),
        reference = text(&outcome.reference),
    )?;
    for exchange in &outcome.exchanges {
        let Exchange { request, curl, head, chunks, events, total, end } = exchange;
        writeln!(out, "<pre class=\"command\">{}</pre>", text(curl))?;
        writeln!(
            out,
            "<pre class=\"wire\"><b>request</b>\n{}",
            text(&request.replace("\\r\\n", "\n")).trim_end()
        )?;
        if !head.is_empty() {
            writeln!(out, "\n<b>answer</b>\n{}", text(head).trim_end())?;
        }
        if !chunks.is_empty() {
            writeln!(out, "\n<b>body, in ms since the connection was begun</b>")?;
        }
        for (at, bytes) in chunks {
            writeln!(out, "{at:7}  {}", text(bytes))?;
        }
        if !events.is_empty() {
            writeln!(out, "\n<b>events</b>")?;
        }
        for event in events {
            writeln!(out, "{}", text(event))?;
        }
        writeln!(out, "\n{} bytes and {} events in all. {}</pre>", total.0, total.1, text(end))?;
    }
    writeln!(out, "</details>")
}
