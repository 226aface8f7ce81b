//! Failures that are known: they pass, and an entry that does not fail any more is a failure
//! itself, so that the list cannot rot.

use super::check::Check;
use super::outcome::Outcome;
use crate::verdict::Verdict;

/// A list has a line that names no check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list of known failures names {0:?}, which is no check; --list shows them")]
pub(super) struct NoSuchCheck(String);

/// Reads a list: an id in each line, whatever follows `#` is a comment.
pub(super) fn read(text: &str, checks: &[Check]) -> Result<Vec<String>, NoSuchCheck> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let mut ids = Vec::new();
    for id in lines.filter(|line| !line.is_empty()) {
        if !checks.iter().any(|check| check.id() == id) {
            return Err(NoSuchCheck(id.to_owned()));
        }
        ids.push(id.to_owned());
    }
    Ok(ids)
}

/// Marks the known failures. A check that was expected to fail and passed becomes a failure; one
/// that could not be judged is left alone.
pub(super) fn apply(outcomes: &mut [Outcome], ids: &[String], strict: bool) {
    for outcome in outcomes.iter_mut().filter(|outcome| ids.contains(&outcome.id)) {
        match outcome.verdict {
            Verdict::Fail => outcome.expected = true,
            Verdict::Warn if strict => outcome.expected = true,
            Verdict::Pass | Verdict::Info | Verdict::Warn => {
                outcome.verdict = Verdict::Fail;
                outcome.reason =
                    "it was expected to fail and does not; take it off the list".to_owned();
            }
            Verdict::Skip | Verdict::Inconclusive => {}
        }
    }
}
