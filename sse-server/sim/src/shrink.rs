//! Makes a run that fails smaller, as long as it breaks the same promise.

use crate::plan::Plan;
use crate::run::{Report, run};

/// How many runs it may take.
const MOST: usize = 100;

/// The smallest plan that was found, and its report with all its lines.
pub fn shrink(plan: &Plan, mutant: Option<&'static str>) -> (Plan, Report) {
    let whole = run(plan, mutant, true);
    let Some(rule) = whole.violation.as_ref().map(|violation| violation.rule) else {
        return (plan.clone(), whole);
    };
    let mut best = (plan.clone(), whole);
    let mut runs = 0;
    loop {
        let mut is_smaller = false;
        let mut next = 0;
        while let Some(smaller) = candidate(&best.0, &best.1, next) {
            runs += 1;
            if runs > MOST {
                return best;
            }
            let report = run(&smaller, mutant, true);
            if report.violation.as_ref().is_some_and(|violation| violation.rule == rule) {
                best = (smaller, report);
                is_smaller = true;
            } else {
                next += 1;
            }
        }
        if !is_smaller {
            return best;
        }
    }
}

/// The plan with something less in it; which, is for the caller to count.
#[expect(clippy::same_functions_in_if_condition, reason = "each takes the next number")]
fn candidate(plan: &Plan, report: &Report, number: usize) -> Option<Plan> {
    let mut smaller = plan.clone();
    let mut left = number;
    let mut take = |count: usize| {
        let index = left;
        left = left.saturating_sub(count);
        (index < count).then_some(index)
    };
    if let Some(index) = take(plan.disturbances.len()) {
        smaller.disturbances.remove(index);
    } else if let Some(index) = take(plan.readers.len()) {
        // Others keep their numbers.
        smaller.readers[index].begins = u64::MAX / 2_000_000;
        if smaller.readers[index].begins == plan.readers[index].begins {
            return candidate(plan, report, number + 1);
        }
    } else if let Some(index) = take(plan.publishers.len()) {
        smaller.publishers.remove(index);
    } else if take(1).is_some() {
        smaller.is_late = false;
    } else if take(1).is_some() {
        smaller.keep = None;
    } else if take(1).is_some() {
        let at = report.violation.as_ref().map_or(plan.length, |violation| violation.at);
        smaller.length = plan.length.min(at) * 3 / 4;
    } else {
        return None;
    }
    let is_same = smaller.is_late == plan.is_late
        && smaller.keep == plan.keep
        && smaller.length == plan.length
        && smaller.disturbances.len() == plan.disturbances.len()
        && smaller.publishers.len() == plan.publishers.len()
        && smaller.readers.iter().zip(&plan.readers).all(|(one, other)| one.begins == other.begins);
    if is_same { candidate(plan, report, number + 1) } else { Some(smaller) }
}
