//! What comes of a check, in one word; and how many came to each. For all commands that judge.

use anstyle::{AnsiColor, Style};
use serde::{Deserialize, Serialize};

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What is right was seen, and nothing else.
    Pass,
    /// Something worth knowing that is no fault.
    Info,
    /// It cannot be asked: the command line or this machine lacks something.
    Skip,
    /// It did not come to the point where the rule applies, or what was to be seen could not be.
    Inconclusive,
    /// Allowed, but others will stumble over it.
    Warn,
    /// Something else was seen.
    Fail,
}

impl Verdict {
    /// All of them, the best first.
    pub const ALL: [Self; 6] =
        [Self::Pass, Self::Info, Self::Skip, Self::Inconclusive, Self::Warn, Self::Fail];

    /// As it stands in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Skip => "skip",
            Self::Inconclusive => "inconclusive",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    /// How it looks on a terminal.
    pub(crate) const fn style(self) -> Style {
        match self {
            Self::Pass => AnsiColor::Green.on_default(),
            Self::Info => AnsiColor::Cyan.on_default(),
            Self::Skip => AnsiColor::BrightBlack.on_default(),
            Self::Inconclusive | Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Fail => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// How many cases came to each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// [`Verdict::Pass`]
    pub pass: usize,
    /// [`Verdict::Fail`]
    pub fail: usize,
    /// [`Verdict::Warn`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warn: usize,
    /// [`Verdict::Info`]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub info: usize,
    /// [`Verdict::Skip`]
    pub skip: usize,
    /// [`Verdict::Inconclusive`]
    pub inconclusive: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Summary {
    /// Counts.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let mut summary = Self::default();
        for verdict in verdicts {
            *summary.count(verdict) += 1;
        }
        summary
    }

    const fn count(&mut self, verdict: Verdict) -> &mut usize {
        match verdict {
            Verdict::Pass => &mut self.pass,
            Verdict::Info => &mut self.info,
            Verdict::Skip => &mut self.skip,
            Verdict::Inconclusive => &mut self.inconclusive,
            Verdict::Warn => &mut self.warn,
            Verdict::Fail => &mut self.fail,
        }
    }
}
