//! Which of the cases that went wrong are blamed: a case blames a client for its own fault only.

use super::basis;
use super::case::{ADVICE, Case};
use super::judge::{Judgement, is_wrong};
use crate::verdict::Verdict;

/// A case, and what came of it.
pub(super) trait Judged {
    fn case(&self) -> &Case;
    fn judgement(&mut self) -> &mut Judgement;
    fn verdict(&self) -> Verdict;
}

/// What cases that went wrong rest on, as far as it is not among them.
pub(super) fn unknown_basis<T: Judged>(outcomes: &[T]) -> Vec<&'static str> {
    let wrong = outcomes.iter().filter(|outcome| is_wrong(outcome.verdict()));
    let mut missing: Vec<_> = wrong.flat_map(|outcome| basis::of(outcome.case())).collect();
    missing.sort_unstable();
    missing.dedup();
    missing.retain(|id| outcomes.iter().all(|outcome| outcome.case().id() != *id));
    missing
}

/// Takes back what is the fault of another case: each case blames a client for its own only.
pub(super) fn blame_once<T: Judged>(outcomes: &mut [T]) {
    let wrong = outcomes.iter().filter(|outcome| is_wrong(outcome.verdict()));
    // A warning beside what a case is about explains no failure of others.
    let weight = |outcome: &T| match outcome.verdict() {
        Verdict::Warn if outcome.case().reference != ADVICE => Verdict::Warn,
        _ => Verdict::Fail,
    };
    let wrong = wrong.map(|outcome| (outcome.case().id.clone(), weight(outcome)));
    let wrong: Vec<_> = wrong.collect();
    for outcome in outcomes {
        let verdict = outcome.verdict();
        if !is_wrong(verdict) {
            continue;
        }
        let basis = basis::of(outcome.case());
        let explains =
            |id: &str| wrong.iter().any(|(other, weight)| other == id && *weight >= verdict);
        if let Some(basic) = basis.into_iter().find(|id| explains(id)) {
            let judgement = outcome.judgement();
            judgement.verdict = Verdict::Inconclusive;
            let first = format!("it gets {basic} wrong, which this case takes for granted");
            judgement.reasons.insert(0, first);
        }
    }
}
