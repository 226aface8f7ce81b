//! All checks, a file for each section. A check that has been published keeps its id.

use std::fmt::Write as _;

use super::check::{Check, Run};
use super::origin::Origin;
use crate::probe::finding::Finding;

mod holding;
mod linking;
mod recovering;
mod signing;

/// All checks, in the order in which they are listed.
pub fn checks() -> Vec<Check> {
    [&signing::CHECKS[..], &holding::CHECKS, &linking::CHECKS, &recovering::CHECKS].concat()
}

/// Runs a check.
pub(super) async fn judge(origin: &Origin, check: &Check) -> Finding {
    match check.run {
        Run::Ask(ask) => ask(origin).await.unwrap_or_else(|finding| finding),
        Run::Look(fault) => look(origin, fault).await.unwrap_or_else(|finding| finding),
    }
}

async fn look(
    origin: &Origin,
    fault: fn(&super::answer::Answer) -> Option<String>,
) -> Result<Finding, Finding> {
    origin.first().await?;
    for answer in origin.answers() {
        if let Some(text) = fault(&answer) {
            return Err(origin.show(Finding::fault(text), &answer));
        }
    }
    Ok(Finding::pass())
}

/// The checks as a table in Markdown, as the documentation has it.
pub fn table() -> String {
    let mut table =
        "| check | expected | severity | needs | reference |\n|---|---|---|---|---|\n".to_owned();
    for check in checks() {
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} | {} |",
            check.id(),
            check.title(),
            check.severity().word(),
            check.needs().word(),
            check.reference()
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::checks;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for check in checks() {
            let (section, word) = check.id().split_once('.').expect("a section and a word");
            assert!(section.len() == 3 && !word.is_empty(), "{}", check.id());
            let is_slug = |char: char| char.is_ascii_lowercase() || ".-".contains(char);
            assert!(check.id().chars().all(is_slug));
            assert!(!check.title().ends_with('.') && !check.title().contains('|'));
            assert!(!check.reference().is_empty());
            assert!(seen.insert(check.id()), "{} is there twice", check.id());
        }
    }
}
