//! Reports for continuous integration: a summary in Markdown, SARIF for code scanning, a badge.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::level::{Level, reached};
use super::terminal::cell;
use super::{Report, is_failure};
use crate::probe::check::Severity;
use crate::probe::outcome::Outcome;
use crate::probe::pages;
use crate::report_file;
use crate::verdict::{Summary, Verdict};
use crate::wire::shown::visible;

/// Forms of the report beside JSON, `JUnit` and HTML.
#[derive(Args, Debug)]
pub(in crate::probe) struct Forms {
    /// Adds the report to this file in Markdown, for $`GITHUB_STEP_SUMMARY` and the like
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Writes what attackers could use as SARIF 2.1.0, for code scanning
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// The file of your project that SARIF names as the place of its findings
    #[arg(long, value_name = "PATH", default_value = "README.md", requires = "sarif")]
    sarif_place: String,
    /// Writes the server's level, bronze, silver or gold, as JSON for a badge of shields.io's form
    #[arg(long, value_name = "FILE")]
    badge: Option<PathBuf>,
}

impl Forms {
    pub(in crate::probe) fn write(&self, reports: &[Report], strict: bool) -> io::Result<()> {
        if let Some(path) = &self.summary {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            reports.iter().try_for_each(|report| summary(&mut file, report, strict))?;
        }
        report_file::write(self.sarif.as_deref(), |file| sarif(file, reports, &self.sarif_place))?;
        report_file::write(self.badge.as_deref(), |file| badge(file, reports))
    }
}

fn summary(out: &mut impl Write, report: &Report, strict: bool) -> io::Result<()> {
    writeln!(out, "## sse-fuzz: {}\n", cell(report.called()))?;
    if let Some(problem) = &report.problem {
        writeln!(out, "**{}**\n", cell(problem))?;
    }
    let found = reached(report);
    if let Some(level) = found.level {
        writeln!(out, "**{level}**: {}.", level.meaning())?;
    }
    if let Some((next, missing)) = &found.next {
        let (shown, more) = missing.split_at(missing.len().min(6));
        let more = if more.is_empty() { "" } else { ", …" };
        writeln!(out, "For {next} ({}): {}{more}.", next.meaning(), shown.join(", "))?;
    }
    let Summary { pass, fail, warn, info, skip, inconclusive } = report.summary;
    writeln!(out, "\n| pass | fail | warn | info | inconclusive | skipped |")?;
    writeln!(out, "|--:|--:|--:|--:|--:|--:|")?;
    writeln!(out, "| {pass} | {fail} | {warn} | {info} | {inconclusive} | {skip} |\n")?;
    let failures: Vec<_> = report.failures(strict).collect();
    for outcome in &failures {
        told(out, outcome)?;
    }
    let is_told = |outcome: &&Outcome| {
        !is_failure(outcome, strict) && (outcome.verdict == Verdict::Warn || outcome.expected)
    };
    let others: Vec<_> = report.checks.iter().filter(is_told).collect();
    if !others.is_empty() {
        let count = others.len();
        writeln!(out, "<details><summary>Warnings and known failures: {count}</summary>\n")?;
        others.iter().try_for_each(|outcome| told(out, outcome))?;
        writeln!(out, "</details>\n")?;
    }
    Ok(())
}

/// A check, why, its page, and how to see it again.
fn told(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let Outcome { id, reason, title, .. } = outcome;
    let word = if outcome.expected { "known" } else { outcome.verdict.word() };
    writeln!(out, "- **{word}** [`{}`]({}): {}", cell(id), pages::link(id), cell(reason))?;
    writeln!(out, "  <br>Expected: {}", cell(title))?;
    if let Some(exchange) = outcome.exchanges.first() {
        // Text of a server's cannot end the block: longer fences than any in it begin and end it.
        let command = visible(&exchange.curl);
        let longest = command.split(|char| char != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(3.max(longest + 1));
        writeln!(out, "\n  {fence}sh\n  {command}\n  {fence}")?;
    }
    Ok(())
}

/// What is wrong in security's sense. Severity, place and rules as code scanning reads them.
fn sarif(out: impl Write, reports: &[Report], place: &str) -> io::Result<()> {
    let outcomes = reports.iter().flat_map(|report| {
        let outcomes = report.checks.iter().filter(|outcome| {
            outcome.severity == Severity::Security
                && matches!(outcome.verdict, Verdict::Fail | Verdict::Warn)
        });
        outcomes.map(move |outcome| (report, outcome))
    });
    let outcomes: Vec<_> = outcomes.collect();
    let mut rules: Vec<&Outcome> = outcomes.iter().map(|(_, outcome)| *outcome).collect();
    rules.sort_by(|one, other| one.id.cmp(&other.id));
    rules.dedup_by(|one, other| one.id == other.id);
    let rules = rules.iter().map(|outcome| {
        json!({
            "id": outcome.id,
            "shortDescription": {"text": outcome.title},
            "helpUri": pages::link(&outcome.id),
            "help": {"text": format!("{} ({})", outcome.title, outcome.reference)},
            "properties": {"security-severity": "7.0", "tags": ["security", "server-sent-events"]},
        })
    });
    let results = outcomes.iter().map(|(report, outcome)| {
        let command = outcome.exchanges.first().map(|seen| format!("\n{}", seen.curl));
        let text = format!("{}: {}", report.called(), outcome.reason);
        let level = if outcome.verdict == Verdict::Fail { "error" } else { "warning" };
        json!({
            "ruleId": outcome.id,
            "level": level,
            "message": {"text": text + &command.unwrap_or_default()},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": place}, "region": {"startLine": 1},
            }}],
            "partialFingerprints": {"check/v1": format!("{} {}", report.called(), outcome.id)},
            "suppressions": if outcome.expected {
                json!([{"kind": "external", "justification": "--expected-failures"}])
            } else {
                json!([])
            },
        })
    });
    let (rules, results): (Vec<_>, Vec<_>) = (rules.collect(), results.collect());
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "sse-fuzz",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_HOMEPAGE"),
                "rules": rules,
            }},
            "results": results,
        }],
    });
    Ok(serde_json::to_writer_pretty(out, &log)?)
}

/// The lowest level of all servers, as an endpoint for badges has it.
fn badge(out: impl Write, reports: &[Report]) -> io::Result<()> {
    let level = reports.iter().map(|report| reached(report).level).min().flatten();
    let (message, color) = match level {
        Some(Level::Gold) => ("gold", "d4af37"),
        Some(Level::Silver) => ("silver", "9a9a9a"),
        Some(Level::Bronze) => ("bronze", "b08d57"),
        None => ("none", "red"),
    };
    let badge = json!({
        "schemaVersion": 1, "label": "event stream", "message": message, "color": color,
    });
    Ok(serde_json::to_writer_pretty(out, &badge)?)
}

#[cfg(test)]
mod tests {
    use super::super::level::tests::report;
    use super::{badge, sarif, summary};
    use crate::verdict::Verdict;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_summary_has_failures_with_their_pages_and_texts_of_servers_stay_text() {
        let report = report(&[("inj.data-lf", Verdict::Fail), ("fmt.bom", Verdict::Warn)]);
        let text = written(|out| summary(out, &report, false));
        assert!(text.contains("**FAIL** [`inj.data-lf`]("), "{text}");
        assert!(text.contains("docs/checks/inj.data.md"), "{text}");
        assert!(text.contains("Warnings and known failures: 1"), "{text}");
        let marked = text.matches("<script>").count();
        assert_eq!(marked, text.matches("\\<script>").count(), "it stays text:\n{text}");
        let strict = written(|out| summary(out, &report, true));
        assert!(!strict.contains("Warnings and"), "{strict}");
    }

    #[test]
    fn sarif_has_what_is_about_security_and_a_rule_for_each() {
        let mut report = report(&[("inj.data-lf", Verdict::Fail), ("inj.id-lf", Verdict::Pass)]);
        report.checks[0].expected = true;
        let text = written(|out| sarif(out, &[report.clone(), report.clone()], "src/app.py"));
        let log: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(1));
        assert_eq!(run["results"].as_array().map(Vec::len), Some(2));
        let result = &run["results"][0];
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!((&result["ruleId"], place), (&"inj.data-lf".into(), &"src/app.py".into()));
        assert_eq!(result["suppressions"][0]["kind"], "external");
    }

    #[test]
    fn a_badge_is_of_the_lowest_level() {
        let good = report(&[
            ("con.status", Verdict::Pass),
            ("con.type", Verdict::Pass),
            ("fmt.utf8", Verdict::Pass),
        ]);
        let text = written(|out| badge(out, std::slice::from_ref(&good)));
        assert!(text.contains(r#""message": "bronze""#), "{text}");
        let text = written(|out| badge(out, &[good, report(&[])]));
        assert!(text.contains(r#""message": "none""#), "{text}");
    }
}
