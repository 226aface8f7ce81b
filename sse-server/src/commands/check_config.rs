//! `sse-server check-config`: whether a file of settings would do, and what it means.

use std::path::PathBuf;

use clap::Args;
use sse_server::config::{Settings, raise_file_limit};
use toml::de::{DeTable, DeValue};

use super::{EXIT_CODES, Failure, say};

/// Checks a file of settings, and says what it means
///
/// The first mistake is named with its line. Files that it names are read; databases and brokers
/// are not asked. Flags and the environment do not count.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CheckConfig {
    /// The file
    file: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        // As for serving, which the default of `max-connections` goes by.
        raise_file_limit();
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure::Refused(format!("{name}: {error}")))?;
        let settings = Settings::of_text(&text).map_err(|error| {
            Failure::Refused(format!("{name}:{}: {}", error.line(), error.problem()))
        })?;
        let meaning = settings.meaning().map_err(|error| {
            let place = place(&text, error.setting());
            let line = place.map(|at| format!(":{}", line(&text, at))).unwrap_or_default();
            let setting = error.setting().trim_start_matches("--");
            Failure::Refused(format!("{name}{line}: {setting}: {}", error.problem()))
        })?;
        say(format_args!("{name}: all is well\n\n{}", meaning.trim_end()))
    }
}

/// The line that this byte is in, from 1.
fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

/// Where a setting such as `access.rules[0].allow` is, or as much of it as there is.
fn place(text: &str, setting: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = Some(root.get_ref());
    let mut found = None;
    for part in setting.trim_start_matches("--").split('.') {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        // What is missing in a table is said of the table.
        let member = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref() == name));
        let Some((key, mut value)) = member else { break };
        found = Some(key.span().start);
        table = None;
        for index in indexes.split(['[', ']']).filter_map(|index| index.parse::<usize>().ok()) {
            let DeValue::Array(array) = value.get_ref() else { return found };
            let Some(element) = array.get(index) else { return found };
            value = element;
            found = Some(value.span().start);
        }
        if let DeValue::Table(inner) = value.get_ref() {
            table = Some(inner);
        }
    }
    found
}
