//! All checks. Each section is a file or a folder; it opens with the table of its checks, and what
//! runs stands below. A check that has been published keeps its id.

use std::fmt::Write as _;

use super::check::{Check, Run};
use super::context::Probe;
use super::finding::Finding;
use super::payload::PAYLOADS;
use super::publish::FIELDS;

mod bytes;
mod connecting;
mod http2;
mod injection;
mod resuming;
mod robustness;
mod timing;

/// Checks that belong together.
pub(super) struct Section {
    pub(super) title: &'static str,
    checks: fn() -> Vec<Check>,
}

/// The sections, in the order in which they are listed.
pub(super) const SECTIONS: [Section; 6] = [
    Section { title: "Connecting", checks: || connecting::CHECKS.to_vec() },
    Section { title: "Bytes", checks: || bytes::CHECKS.to_vec() },
    Section { title: "Timing", checks: || timing::CHECKS.to_vec() },
    Section { title: "Resuming", checks: || resuming::CHECKS.to_vec() },
    Section { title: "Injection", checks: injection::checks },
    Section { title: "Robustness", checks: || robustness::CHECKS.to_vec() },
];

impl Section {
    pub(super) fn checks(&self) -> Vec<Check> {
        (self.checks)()
    }
}

/// All checks, in the order in which they are listed.
pub fn checks() -> Vec<Check> {
    SECTIONS.iter().flat_map(Section::checks).collect()
}

/// Runs a check.
pub(super) async fn judge(probe: &Probe, check: &Check) -> Finding {
    match check.run {
        Run::Read(needed, fault) => bytes::judge(probe, needed, fault),
        Run::Look(look) => look(probe),
        Run::Ask(ask) => ask(probe).await.unwrap_or_else(|finding| finding),
        Run::Publish(field, payload) => {
            injection::publish(probe, field, payload).await.unwrap_or_else(|finding| finding)
        }
    }
}

/// The checks as a table in Markdown, as the documentation has it. Checks that publish are one row
/// a field: they differ only in the text.
pub fn table() -> String {
    let mut table =
        "| check | expected | severity | needs | reference |\n|---|---|---|---|---|\n".to_owned();
    let mut row = |id: &str, title: &str, check: &Check| {
        let aggressive = if check.is_aggressive() { ", `--aggressive`" } else { "" };
        let title = title.replace('|', "\\|");
        let _ = writeln!(
            table,
            "| {id} | {title} | {} | {}{aggressive} | {} |",
            check.severity().word(),
            check.needs().word(),
            check.reference()
        );
    };
    let checks = checks();
    for check in checks.iter().filter(|check| !matches!(check.run, Run::Publish(..))) {
        row(&format!("`{}`", check.id()), check.title(), check);
    }
    let payloads: Vec<_> = PAYLOADS.iter().map(|payload| payload.name).collect();
    for field in FIELDS {
        let is_of_field = |check: &&Check| matches!(check.run, Run::Publish(of, _) if of == field);
        let Some(check) = checks.iter().find(is_of_field) else { continue };
        let id = format!("`inj.{field}-…` with {}", payloads.join(", "));
        row(&id, "Exactly one event comes of it, with nothing added and nothing changed", check);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{SECTIONS, checks};

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = std::collections::BTreeSet::new();
        for check in checks() {
            let (section, word) = check.id().split_once('.').expect("a section and a word");
            assert!(section.len() == 3 && !word.is_empty(), "{}", check.id());
            let is_slug = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
            assert!(check.id().chars().all(|char| is_slug(char) || ".-".contains(char)));
            assert!(!check.title().ends_with('.') && !check.reference().is_empty());
            assert!(seen.insert(check.id().to_owned()), "{} is there twice", check.id());
        }
    }

    #[test]
    fn each_section_has_a_prefix_of_its_own() {
        let mut all = std::collections::BTreeSet::new();
        for section in &SECTIONS {
            let checks = section.checks();
            let prefixes = checks.iter().filter_map(|check| check.id().split('.').next());
            let prefixes: std::collections::BTreeSet<_> = prefixes.collect();
            assert_eq!(prefixes.len(), 1, "{}", section.title);
            all.extend(prefixes.into_iter().map(str::to_owned));
        }
        assert_eq!(all.len(), SECTIONS.len());
    }
}
