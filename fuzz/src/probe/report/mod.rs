//! What has come of a run, for people and for programs.

use std::io;
use std::time::SystemTime;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use crate::verdict::{Summary, Verdict};
use crate::wire::target::Target;

pub(super) mod forms;
pub(super) mod html;
mod level;
pub(crate) mod terminal;

/// What came of probing one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What it is called, if it was given a name.
    #[serde(default)]
    pub name: Option<String>,
    /// The command that has made it.
    #[serde(default = "probe")]
    pub command: String,
    /// The URL, without secrets.
    pub target: String,
    /// The profile's name.
    pub profile: String,
    /// The version of the probe.
    pub version: String,
    /// When it was begun, as HTTP writes dates.
    #[serde(default)]
    pub date: String,
    /// How long it took, in seconds.
    #[serde(default)]
    pub seconds: f32,
    /// Why it could not be probed, or hardly.
    pub problem: Option<String>,
    /// How many came to each verdict.
    pub summary: Summary,
    /// In the order in which they are listed.
    pub checks: Vec<Outcome>,
}

/// What reports say that do not name a command.
fn probe() -> String {
    "probe".to_owned()
}

impl Report {
    pub(crate) fn new(command: &str, target: &Target, profile: String) -> Self {
        Self {
            name: None,
            command: command.to_owned(),
            target: target.shown(),
            profile,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            date: httpdate::fmt_http_date(SystemTime::now()),
            seconds: 0.0,
            problem: None,
            summary: Summary::default(),
            checks: Vec::new(),
        }
    }

    /// Its name, or else its URL.
    pub(crate) fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.target)
    }

    /// Those that [`json`] has written.
    pub(crate) fn from_json(bytes: &[u8]) -> serde_json::Result<Vec<Self>> {
        from_json(bytes)
    }

    /// Its own page.
    pub(crate) fn html(&self) -> String {
        let mut page = Vec::new();
        html::html(&mut page, std::slice::from_ref(self)).expect("memory takes all");
        String::from_utf8(page).expect("a page is text")
    }

    /// The level that the server has reached, in a word.
    pub(crate) fn level(&self) -> Option<&'static str> {
        level::reached(self).level.map(level::Level::word)
    }

    pub(crate) fn count(&mut self) {
        self.summary = Summary::of(self.checks.iter().map(|outcome| outcome.verdict));
    }

    /// Those that make it a failure.
    pub(crate) fn failures(&self, strict: bool) -> impl Iterator<Item = &Outcome> {
        self.checks.iter().filter(move |outcome| is_failure(outcome, strict))
    }

    /// The exit code: 0 clean, 1 failures, 3 unreachable or not a stream, 4 nothing that says
    /// anything.
    pub fn exit_code(&self, strict: bool) -> u8 {
        let is_conclusive =
            |outcome: &Outcome| !matches!(outcome.verdict, Verdict::Skip | Verdict::Inconclusive);
        if self.problem.is_some() {
            3
        } else if self.failures(strict).next().is_some() {
            1
        } else if self.checks.iter().any(is_conclusive) {
            0
        } else {
            4
        }
    }
}

pub(super) fn is_failure(outcome: &Outcome, strict: bool) -> bool {
    let counts = outcome.verdict == Verdict::Fail || strict && outcome.verdict == Verdict::Warn;
    counts && !outcome.expected
}

/// One report alone, or a list of several.
pub(crate) fn json(out: impl io::Write, reports: &[Report]) -> io::Result<()> {
    match reports {
        [report] => serde_json::to_writer_pretty(out, report)?,
        reports => serde_json::to_writer_pretty(out, reports)?,
    }
    Ok(())
}

/// Reads what [`json`] has written.
pub(super) fn from_json(bytes: &[u8]) -> serde_json::Result<Vec<Report>> {
    match serde_json::from_slice::<Report>(bytes) {
        Ok(report) => Ok(vec![report]),
        // The error of the list is the one to be told if it is neither.
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// The form that CI systems read, a suite for each server.
pub(crate) fn junit(out: impl io::Write, reports: &[Report], strict: bool) -> io::Result<()> {
    let mut junit = quick_junit::Report::new("sse-fuzz");
    for report in reports {
        let mut suite = TestSuite::new(format!("sse-fuzz {} {}", report.command, report.called()));
        if let Some(problem) = &report.problem {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(problem.clone());
            suite.add_test_case(TestCase::new("reachable", status));
        }
        for outcome in &report.checks {
            suite.add_test_case(case(&report.command, outcome, strict));
        }
        junit.add_test_suite(suite);
    }
    junit.serialize(out).map_err(io::Error::other)
}

fn case(command: &str, outcome: &Outcome, strict: bool) -> TestCase {
    let is_failure = is_failure(outcome, strict);
    let mut status = match outcome.verdict {
        _ if is_failure => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Skip | Verdict::Inconclusive => TestCaseStatus::skipped(),
        _ => TestCaseStatus::success(),
    };
    if is_failure || matches!(outcome.verdict, Verdict::Skip | Verdict::Inconclusive) {
        status.set_message(format!("{}: {}", outcome.verdict.word(), outcome.reason));
        let commands: Vec<_> = outcome.exchanges.iter().map(|seen| seen.curl.as_str()).collect();
        let text = format!("{} ({})\n{}", outcome.title, outcome.reference, commands.join("\n"));
        status.set_description(text);
    }
    let mut case = TestCase::new(outcome.id.as_str(), status);
    let section = outcome.id.split('.').next().unwrap_or_default();
    let time = std::time::Duration::try_from_secs_f32(outcome.seconds).unwrap_or_default();
    case.set_classname(format!("{command}.{section}")).set_time(time);
    if !is_failure && !outcome.reason.is_empty() {
        case.set_system_out(format!("{}: {}", outcome.verdict.word(), outcome.reason));
    }
    case
}
