//! `sse-server check-config`: whether a file of settings would do, and what it means.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use sse_server::access::AccessSettings;
use sse_server::config::{Config, Settings};
use toml::de::{DeTable, DeValue};

use super::{EXIT_CODES, Failure, say};

/// Checks a file of settings, and says what it means
///
/// The first mistake is named with its line. Files that it names are read; databases and brokers are not
/// asked. Flags and the environment do not count.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CheckConfig {
    /// The file
    file: PathBuf,
}

impl CheckConfig {
    pub(super) fn run(self) -> Result<(), Failure> {
        let name = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure::Refused(format!("{name}: {error}")))?;
        let settings = Settings::of_text(&text).map_err(|error| {
            Failure::Refused(format!("{name}:{}: {}", error.line(), error.problem()))
        })?;
        let config = settings.clone().resolve().map_err(|error| {
            let place = place(&text, error.setting());
            let line = place.map(|at| format!(":{}", line(&text, at))).unwrap_or_default();
            let setting = error.setting().trim_start_matches("--");
            Failure::Refused(format!("{name}{line}: {setting}: {}", error.problem()))
        })?;
        say(format_args!("{name}: all is well\n\n{}", meaning(&settings, &config).trim_end()))
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

/// What the settings come to, in words.
fn meaning(settings: &Settings, config: &Config) -> String {
    let mut out = String::new();
    let listen: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    let mut row = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(out, "{name:<12} {value}").expect("writing to a String cannot fail");
    };
    row("listen", &listen.join(", "));
    row("storage", &config.storage);
    row("relay", &config.relay);
    let age = humantime::format_duration(config.retention.age);
    match config.retention.events {
        Some(events) => row("retention", &format_args!("{age}, {events} events of each channel")),
        None => row("retention", &age),
    }
    if !settings.unreliable.texts().is_empty() {
        row("not stored", &settings.unreliable.texts().join(", "));
    }
    out.push_str("\nWho may read, the first that matches:\n");
    readers(settings.access.as_ref(), &mut out);
    out.push_str("\nWho may publish:\n");
    let all = if config.publish_token.is_some() {
        "whoever has publish-token"
    } else {
        "whoever has the token that is printed at the start"
    };
    pair(&mut out, "*", all);
    for (index, token) in settings.publish_tokens.iter().enumerate() {
        let more =
            if token.may_change_permissions { ", which may change permissions too" } else { "" };
        let who = format!("whoever has the token of publish-tokens[{index}]{more}");
        pair(&mut out, &token.channel.texts().join(", "), &who);
    }
    out
}

fn pair(out: &mut String, channels: &str, who: &str) {
    writeln!(out, "  {channels:<24} {who}").expect("writing to a String cannot fail");
}

fn readers(access: Option<&AccessSettings>, out: &mut String) {
    let Some(access) = access.filter(|access| !access.rules.is_empty()) else {
        pair(out, "*", "everyone who can reach the server, for there are no rules");
        return;
    };
    for rule in &access.rules {
        let who = match (&*rule.allow, &access.forward_auth) {
            ("public", _) => "everyone".to_owned(),
            ("authenticated", _) => "whoever has credentials that hold".to_owned(),
            ("token", _) => "whoever has a token that lists the channel".to_owned(),
            ("backend", Some(backend)) => format!("whoever {} lets in", backend.url),
            _ => "nobody".to_owned(),
        };
        pair(out, &rule.channel.texts().join(", "), &who);
    }
    pair(out, "any other", "nobody");
}
