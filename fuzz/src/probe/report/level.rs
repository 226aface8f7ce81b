//! Levels: what a server is good for, in one word. Each needs all that the one below needs.

use std::fmt;

use super::Report;
use crate::probe::outcome::Outcome;
use crate::verdict::Verdict;

/// How far a server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::probe) enum Level {
    /// Any `EventSource` can read it.
    Bronze,
    /// And nothing is lost or repeated when a client resumes.
    Silver,
    /// And that holds with slow readers, with odd texts, and while many publish.
    Gold,
}

/// What a level asks for: checks that must have passed, and sections without a failure.
struct Asked {
    level: Level,
    passes: &'static [&'static str],
    sections: &'static [&'static str],
}

const LEVELS: [Asked; 3] = [
    Asked {
        level: Level::Bronze,
        passes: &["con.status", "con.type", "fmt.utf8"],
        sections: &["con.", "fmt.", "tim."],
    },
    Asked {
        level: Level::Silver,
        passes: &["res.loss", "res.duplicate", "res.order", "res.cut-mid-event"],
        sections: &["res."],
    },
    Asked {
        level: Level::Gold,
        passes: &["res.busy-loss", "inj.data-lf", "inj.data-cr", "rob.slow-reader"],
        sections: &["inj.", "rob."],
    },
];

impl Level {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
        }
    }

    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Bronze => "any EventSource can read it",
            Self::Silver => "nothing is lost or repeated when a client resumes",
            Self::Gold => "that holds with slow readers, odd texts and busy publishing, too",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The level that a server has reached, and what is in the way of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) level: Option<Level>,
    pub(super) next: Option<(Level, Vec<String>)>,
}

/// What a report says of a server's level. A known failure is one, too.
pub(super) fn reached(report: &Report) -> Reached {
    let mut level = None;
    for asked in &LEVELS {
        let missing = missing(&report.checks, asked);
        if report.problem.is_some() || !missing.is_empty() {
            return Reached { level, next: Some((asked.level, missing)) };
        }
        level = Some(asked.level);
    }
    Reached { level, next: None }
}

fn missing(outcomes: &[Outcome], asked: &Asked) -> Vec<String> {
    let is_in = |outcome: &&Outcome| asked.sections.iter().any(|id| outcome.id.starts_with(id));
    let failed = outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Fail).filter(is_in);
    let mut missing: Vec<_> = failed.map(|outcome| format!("{} fails", outcome.id)).collect();
    for id in asked.passes {
        match outcomes.iter().find(|outcome| outcome.id == *id).map(|outcome| outcome.verdict) {
            Some(Verdict::Pass | Verdict::Fail) => {}
            Some(Verdict::Skip) | None => missing.push(format!("{id} was not asked")),
            Some(verdict) => missing.push(format!("{id} is {}", verdict.word())),
        }
    }
    missing
}

#[cfg(test)]
pub(super) mod tests {
    use super::{LEVELS, Level, Reached, reached};
    use crate::probe::check::Severity;
    use crate::probe::outcome::Outcome;
    use crate::probe::report::Report;
    use crate::verdict::{Summary, Verdict};

    pub(in crate::probe::report) fn report(verdicts: &[(&str, Verdict)]) -> Report {
        let checks = verdicts.iter().map(|(id, verdict)| Outcome {
            id: (*id).to_owned(),
            title: "Something holds".to_owned(),
            severity: Severity::Security,
            reference: "advice".to_owned(),
            verdict: *verdict,
            reason: "a|b\n<script>".to_owned(),
            expected: false,
            seconds: 0.1,
            exchanges: Vec::new(),
        });
        let checks: Vec<_> = checks.collect();
        Report {
            name: None,
            command: "probe".to_owned(),
            target: "http://h/".to_owned(),
            profile: "eventsource".to_owned(),
            version: "0".to_owned(),
            date: String::new(),
            seconds: 1.0,
            problem: None,
            summary: Summary::of(checks.iter().map(|outcome| outcome.verdict)),
            checks,
        }
    }

    fn passed(levels: usize) -> Vec<(&'static str, Verdict)> {
        let passes = LEVELS.iter().take(levels).flat_map(|asked| asked.passes);
        passes.map(|id| (*id, Verdict::Pass)).collect()
    }

    #[test]
    fn a_level_needs_all_of_those_below() {
        assert_eq!(reached(&report(&passed(3))), Reached { level: Some(Level::Gold), next: None });
        assert_eq!(reached(&report(&passed(2))).level, Some(Level::Silver));
        assert_eq!(reached(&report(&passed(1))).level, Some(Level::Bronze));
        assert_eq!(reached(&report(&[])).level, None);
        let gold_only: Vec<_> = passed(3)[3..].to_vec();
        assert_eq!(reached(&report(&gold_only)).level, None, "not without bronze");
    }

    #[test]
    fn what_was_not_asked_is_not_reached() {
        let mut verdicts = passed(3);
        verdicts.last_mut().expect("there are some").1 = Verdict::Skip;
        let found = reached(&report(&verdicts));
        assert_eq!(found.level, Some(Level::Silver));
        let missing = vec!["rob.slow-reader was not asked".to_owned()];
        assert_eq!(found.next, Some((Level::Gold, missing)));
    }

    #[test]
    fn another_failure_in_a_section_counts() {
        let mut verdicts = passed(3);
        verdicts.push(("res.expired", Verdict::Fail));
        let found = reached(&report(&verdicts));
        assert_eq!(found.level, Some(Level::Bronze));
        assert_eq!(found.next, Some((Level::Silver, vec!["res.expired fails".to_owned()])));
        let mut known = report(&verdicts);
        known.checks.last_mut().expect("there are some").expected = true;
        assert_eq!(reached(&known).level, Some(Level::Bronze), "a known failure is one");
    }
}
