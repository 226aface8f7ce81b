//! The report as one HTML file that needs nothing else: a matrix of servers, and the evidence.
//!
//! All text comes from the probed servers or from reports of others. maud escapes it wherever it
//! stands.

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use crate::probe::check::Check;
use crate::probe::checks::{SECTIONS, Section};
use crate::probe::finding::Exchange;
use crate::probe::outcome::Outcome;
use crate::verdict::{Summary, Verdict};

const STYLE: &str = include_str!("style.css");

/// With more failures than this, their heads alone are shown, which open: a list to be read first.
const OPEN: usize = 5;

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
    let outcomes = reports.iter().flat_map(|report| &report.checks);
    let failures = outcomes.filter(|outcome| is_failure(outcome)).count();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "sse-fuzz probe" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Event streams, probed" }
                    ol.targets { @for report in reports { (target(report)) } }
                    @if failures > 0 {
                        h2 { "Failures" }
                        (all_evidence(reports, is_failure, failures <= OPEN))
                    }
                    @for section in &SECTIONS { (matrix(section, reports)) }
                    h2 { "Evidence" }
                    (all_evidence(reports, |outcome| !is_failure(outcome), false))
                    footer { "sse-fuzz " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    };
    writeln!(out, "{}", page.into_string())
}

fn is_failure(outcome: &Outcome) -> bool {
    outcome.verdict == Verdict::Fail && !outcome.expected
}

/// The evidence of each server, as far as it is asked for.
fn all_evidence(reports: &[Report], is_shown: fn(&Outcome) -> bool, is_open: bool) -> Markup {
    html! {
        @for (index, report) in reports.iter().enumerate() {
            @if reports.len() > 1 && report.checks.iter().any(is_shown) {
                h3.server { (index + 1) ". " (report.called()) }
            }
            (evidence(index, report, is_shown, is_open))
        }
    }
}

/// A server, and how many checks came to each verdict.
fn target(report: &Report) -> Markup {
    let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
    let counts = [
        (fail, "fail"),
        (warn, "warn"),
        (info, "info"),
        (pass, "pass"),
        (inconclusive, "inconclusive"),
        (skip, "skip"),
    ];
    let seconds = format!("{:.0}", report.seconds);
    html! {
        li {
            @if let Some(name) = &report.name { b { (name) } " " }
            code { (report.target) } " "
            small { "as " (report.profile) ", " (seconds) " s, " (report.date) }
            @if let Some(problem) = &report.problem { p.problem { (problem) } }
            p.counts {
                @for (number, class) in counts {
                    @if number > 0 { span class=(class) { (number) " " (class) } " " }
                }
            }
        }
    }
}

/// What came of a check in a report, if it is there.
fn find<'a>(report: &'a Report, check: &Check) -> Option<&'a Outcome> {
    report.checks.iter().find(|outcome| outcome.id == check.id())
}

/// A section's checks, a column for each server. Those that all have skipped are listed below.
fn matrix(section: &Section, reports: &[Report]) -> Markup {
    let of = |check: &Check| reports.iter().find_map(|report| find(report, check));
    let is_asked = |check: &Check| {
        let mut outcomes = reports.iter().filter_map(|report| find(report, check));
        outcomes.any(|outcome| outcome.verdict != Verdict::Skip)
    };
    let known = section.checks().into_iter().filter(|check| of(check).is_some());
    let (shown, skipped): (Vec<_>, Vec<_>) = known.partition(is_asked);
    if shown.is_empty() && skipped.is_empty() {
        return Markup::default();
    }
    html! {
        h2 { (section.title) }
        table {
            thead { tr {
                th { "check" } th { "expected" }
                @for (index, report) in reports.iter().enumerate() {
                    th.cell title=(report.called()) { (column(index, report, reports.len())) }
                }
                @if reports.len() == 1 { th { "why" } }
            } }
            @for check in &shown { (row(check, reports)) }
        }
        @if !skipped.is_empty() {
            details.skipped {
                summary { (skipped.len()) " skipped" }
                ul {
                    @for check in &skipped {
                        li {
                            code { (check.id()) } " "
                            (of(check).map_or("", |outcome| outcome.reason.as_str()))
                        }
                    }
                }
            }
        }
    }
}

/// What stands above a server's column: the first word of its name; the whole is in the list of
/// servers.
fn column(index: usize, report: &Report, servers: usize) -> String {
    let word = report.name.as_deref().and_then(|name| name.split([' ', ',']).next());
    match (servers, word) {
        (1, _) => "verdict".to_owned(),
        (_, Some(word)) => word.to_owned(),
        (_, None) => (index + 1).to_string(),
    }
}

fn row(check: &Check, reports: &[Report]) -> Markup {
    html! {
        tr {
            td { code { (check.id()) } }
            td { (check.title()) " " small { (check.reference()) } }
            @for (index, report) in reports.iter().enumerate() {
                @if let Some(outcome) = find(report, check) {
                    @let column = column(index, report, reports.len());
                    td.cell.(class(outcome)) title=(outcome.reason) data-server=(column) {
                        @if is_told(outcome) {
                            a href={ "#" (index) "." (check.id()) } { (word(outcome)) }
                        } @else {
                            (word(outcome))
                        }
                    }
                    @if reports.len() == 1 { td.why { (outcome.reason) } }
                } @else {
                    td.cell { "–" }
                }
            }
        }
    }
}

/// Whether there is something to say about it; what is skipped stands in the matrix.
fn is_told(outcome: &Outcome) -> bool {
    !matches!(outcome.verdict, Verdict::Skip) && !outcome.exchanges.is_empty()
        || matches!(outcome.verdict, Verdict::Fail | Verdict::Warn)
}

/// What a server's verdicts rest on, the gravest first.
fn evidence(
    index: usize,
    report: &Report,
    is_shown: fn(&Outcome) -> bool,
    is_open: bool,
) -> Markup {
    let told = report.checks.iter().filter(|outcome| is_told(outcome) && is_shown(outcome));
    let mut told = told.collect::<Vec<_>>();
    told.sort_by_key(|outcome| std::cmp::Reverse(outcome.verdict));
    html! {
        @for outcome in &told {
            @let class = class(outcome);
            details open[is_open] {
                summary {
                    span class=(class) { (word(outcome)) } " "
                    code { (outcome.id) } " " (outcome.reason)
                }
                // A link to what is within opens it.
                p id={ (index) "." (outcome.id) } {
                    "Expected: " (outcome.title) " " small { (outcome.reference) }
                }
                @for exchange in &outcome.exchanges { (wire(exchange)) }
            }
        }
    }
}

/// A request and what came of it.
fn wire(exchange: &Exchange) -> Markup {
    let Exchange { request, curl, head, chunks, events, total, end } = exchange;
    html! {
        pre.command { (curl) }
        pre.wire {
            b { "request" } "\n" (request.replace("\\r\\n", "\n").trim_end()) "\n"
            @if !head.is_empty() { "\n" b { "answer" } "\n" (head.trim_end()) "\n" }
            @if !chunks.is_empty() { "\n" b { "body, in ms since the connection was begun" } "\n" }
            @for (at, bytes) in chunks { (format!("{at:7}")) "  " (bytes) "\n" }
            @if !events.is_empty() { "\n" b { "events" } "\n" }
            @for event in events { (event) "\n" }
            "\n" (total.0) " bytes and " (total.1) " events in all. " (end)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{OPEN, html};
    use crate::probe::report::from_json;

    fn page(failures: usize) -> String {
        let outcome = |number: usize| {
            json!({ "id": format!("con.x{number}"), "title": "x", "severity": "error",
                "reference": "9.2", "verdict": "fail", "reason": "x", "seconds": 0.5,
                "exchanges": [] })
        };
        let report = json!([{ "name": "x", "target": "x", "profile": "x", "version": "1", "date": "x",
            "seconds": 1.5, "problem": null,
            "summary": { "pass": 0, "fail": failures, "info": 0, "skip": 0, "inconclusive": 0 },
            "checks": (0..failures).map(outcome).collect::<Vec<_>>() }]);
        let reports = from_json(report.to_string().as_bytes()).expect("a report");
        let mut page = Vec::new();
        html(&mut page, &reports).expect("it is written into memory");
        String::from_utf8(page).expect("UTF-8")
    }

    #[test]
    fn many_failures_are_a_list_first_and_few_are_open() {
        for (failures, open) in [(1, 1), (OPEN, OPEN), (OPEN + 1, 0), (40, 0)] {
            let page = page(failures);
            assert_eq!(page.matches("<details open>").count(), open, "{failures}");
            assert_eq!(page.matches("<details").count(), failures);
            // What is linked to is within, so that the link opens it.
            assert_eq!(page.matches("</summary><p id=\"0.con.x").count(), failures);
        }
    }
}
