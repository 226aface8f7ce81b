//! The checks as data, section by section. A check that has been published keeps its id.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::verdict::Verdict;

mod connecting;
mod fmt;
mod inj;
mod res;
mod rob;
mod tim;

pub(super) use inj::{FIELDS, PAYLOADS, Payload};

/// What a violation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It breaks the standard, or an `EventSource`.
    Error,
    /// Somebody may use it to harm others.
    Security,
    /// Some clients, proxies or servers will stumble.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The verdict on a violation.
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            Self::Error | Self::Security => Verdict::Fail,
            Self::Warning => Verdict::Warn,
            Self::Note => Verdict::Info,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Security => "security",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What a check needs beside the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Url,
    /// A way to publish.
    Publish,
    /// The server's process.
    Process,
    /// That the server speaks HTTP/2.
    Http2,
    /// A second user's credentials.
    SecondUser,
    /// A URL with `https`.
    Tls,
}

impl Needs {
    const fn word(self) -> &'static str {
        match self {
            Self::Url => "URL",
            Self::Publish => "publishing",
            Self::Process => "`--pid`",
            Self::Http2 => "HTTP/2",
            Self::SecondUser => "`--second-header`",
            Self::Tls => "`https`",
        }
    }
}

/// One thing that is looked at.
#[derive(Clone, Debug)]
pub struct Check {
    pub(super) id: Cow<'static, str>,
    pub(super) title: Cow<'static, str>,
    pub(super) severity: Severity,
    pub(super) needs: Needs,
    pub(super) reference: &'static str,
    pub(super) is_aggressive: bool,
}

impl Check {
    /// The name that never changes: a section and a word, such as `con.status`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is expected, in one line.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What a violation means.
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// What it needs.
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// Where the expectation is written.
    pub const fn reference(&self) -> &'static str {
        self.reference
    }

    /// Whether it can harm a server, and is done only if asked for.
    pub const fn is_aggressive(&self) -> bool {
        self.is_aggressive
    }

    pub(super) fn section(&self) -> &str {
        self.id.split('.').next().unwrap_or_default()
    }

    /// Whether a name on the command line means it: its id, or its section.
    pub(super) fn is_meant_by(&self, name: &str) -> bool {
        let rest = self.id.strip_prefix(name.trim_end_matches('.'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// One row of a section's table: id, severity, needs, reference, expectation.
type Row = (&'static str, Severity, Needs, &'static str, &'static str);

fn section(rows: &[Row], is_aggressive: bool) -> impl Iterator<Item = Check> {
    rows.iter().map(move |&(id, severity, needs, reference, title)| Check {
        id: id.into(),
        title: title.into(),
        severity,
        needs,
        reference,
        is_aggressive,
    })
}

/// All checks, in the order in which they are listed.
pub fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = section(connecting::ROWS, false).collect();
    checks.extend(section(fmt::ROWS, false));
    checks.extend(section(tim::ROWS, false));
    checks.extend(section(res::ROWS, false));
    checks.extend(inj::checks());
    checks.extend(section(rob::ROWS, true));
    checks
}

/// The checks as a table in Markdown, as the documentation has it. Injections are one row a field: they
/// differ in what is injected only.
pub fn table() -> String {
    let mut table =
        "| check | expected | severity | needs | reference |\n|---|---|---|---|---|\n".to_owned();
    let mut row = |id: &str, title: &str, check: &Check| {
        let aggressive = if check.is_aggressive { ", `--aggressive`" } else { "" };
        let title = title.replace('|', "\\|");
        let _ = writeln!(
            table,
            "| {id} | {title} | {} | {}{aggressive} | {} |",
            check.severity.word(),
            check.needs.word(),
            check.reference
        );
    };
    for check in checks().iter().filter(|check| !inj::is_product(&check.id)) {
        row(&format!("`{}`", check.id), &check.title, check);
    }
    let first = format!("-{}", PAYLOADS[0].name);
    for (field, check) in FIELDS.iter().filter_map(|field| {
        let id = format!("inj.{field}{first}");
        checks().into_iter().find(|check| check.id == id).map(|check| (field, check))
    }) {
        let payloads: Vec<_> = PAYLOADS.iter().map(|payload| payload.name).collect();
        let id = format!("`inj.{field}-…` with {}", payloads.join(", "));
        row(&id, "Exactly one event comes of it, with nothing added and nothing changed", &check);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::checks;

    #[test]
    fn ids_are_unique_and_well_formed() {
        let mut seen = std::collections::BTreeSet::new();
        for check in checks() {
            let (section, word) = check.id.split_once('.').expect("a section and a word");
            assert!(section.len() == 3 && !word.is_empty(), "{}", check.id);
            let is_slug = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
            assert!(check.id.chars().all(|char| is_slug(char) || ".-".contains(char)));
            assert!(!check.title.ends_with('.') && !check.reference.is_empty());
            assert!(seen.insert(check.id.clone()), "{} is there twice", check.id);
        }
    }
}
