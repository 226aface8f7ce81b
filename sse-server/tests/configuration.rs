//! `docs/configuration.md` says what the program says.
//! `SSE_UPDATE=1 cargo test -p ssekit-server --test configuration` writes it after a change to the
//! settings.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use schemars::schema_for;
use serde_json::{Map, Value};
use sse_server::config::Settings;

const BEGIN: &str = "# Settings and commands

Written by a test from the settings' own descriptions; change them there (`sse-server/src/config/mod.rs`,
`sse-server/src/access/settings/`).

Every flag can also be given as an environment variable, or as a key of the TOML file that `--config` names.
A flag beats the environment, which beats the file. `sse-server check-config FILE` tells whether a file will do,
and what it means.

## Flags, variables, keys of the file

| flag | variable | key | default | |
|---|---|---|---|---|
";

const COMMANDS: [&str; 4] = ["publish", "tail", "check-config", "token"];

/// The text of the reference.
fn reference() -> String {
    let mut out = BEGIN.to_owned();
    let mut command = Settings::command();
    command.build();
    let schema = schema_for!(Settings).to_value();
    let properties = schema["properties"].as_object().expect("a struct");
    let mut keys = Vec::new();
    for arg in command.get_arguments() {
        let (Some(flag), Some(variable)) = (arg.get_long(), arg.get_env()) else { continue };
        let help = arg.get_help().expect("each has a description").to_string();
        let (text, default) = match help.split_once("[default: ") {
            Some((text, default)) => (text, default.trim_end_matches(']')),
            None => (&*help, ""),
        };
        let variable = variable.to_string_lossy();
        let must_have_value = arg.get_num_args().is_some_and(|count| count.min_values() > 0);
        let names = arg.get_value_names().filter(|_| must_have_value);
        let value = names.map(|names| format!(" {}", names[0])).unwrap_or_default();
        let key = if properties.contains_key(flag) { format!("`{flag}`") } else { String::new() };
        keys.push(flag.to_owned());
        // A value, or words about it.
        let is_value = !default.is_empty() && !default.contains(' ');
        let default = if is_value { format!("`{default}`") } else { default.to_owned() };
        let text = cell(text);
        writeln!(out, "| `--{flag}{value}` | `{variable}` | {key} | {default} | {text} |")
            .expect("writing to a String cannot fail");
    }
    out.push_str("\n## Only in the file\n\n");
    let mut tables = Vec::new();
    let only: Map<String, Value> = properties
        .iter()
        .filter(|(key, _)| !keys.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    table(&mut out, "", &only, &schema, &mut tables);
    while !tables.is_empty() {
        let (name, properties) = tables.remove(0);
        write!(out, "\n### {name}\n\n").expect("writing to a String cannot fail");
        table(&mut out, &name, &properties, &schema, &mut tables);
    }
    out.push_str("\n[auth.md](auth.md) shows how these go together.\n\n## Commands\n");
    for name in COMMANDS {
        let help = Command::new(env!("CARGO_BIN_EXE_sse-server"))
            .args([name, "--help"])
            .env_clear()
            .env("COLUMNS", "100")
            .output()
            .expect("it can be started");
        let help = String::from_utf8(help.stdout).expect("UTF-8");
        let (help, codes) =
            help.split_once("Exit codes:").expect("each command tells its exit codes");
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let help = lines.join("\n");
        write!(out, "\n### sse-server {name}\n\n```text\n{}\n```\n", help.trim())
            .expect("writing to a String cannot fail");
        if name == COMMANDS[COMMANDS.len() - 1] {
            write!(out, "\n### Exit codes\n\n```text\n{}\n```\n", codes.trim_matches('\n'))
                .expect("writing to a String cannot fail");
        }
    }
    out
}

/// A table of keys. Those that are tables themselves are left in `tables`, with their names.
fn table(
    out: &mut String,
    place: &str,
    properties: &Map<String, Value>,
    schema: &Value,
    tables: &mut Vec<(String, Map<String, Value>)>,
) {
    out.push_str("| key | | |\n|---|---|---|\n");
    for (key, property) in properties {
        let place = place.trim_matches(['[', ']', '`']);
        let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        let (kind, inner) = kind(property, schema);
        let text = cell(property["description"].as_str().expect("each has a description"));
        writeln!(out, "| `{key}` | {kind} | {text} |").expect("writing to a String cannot fail");
        if let Some(inner) = inner {
            let name =
                if kind == "tables" { format!("`[[{place}]]`") } else { format!("`[{place}]`") };
            tables.push((name, inner));
        }
    }
}

/// What a key has for a value, and if that is a table, what is in it.
fn kind(property: &Value, schema: &Value) -> (String, Option<Map<String, Value>>) {
    if let Some(reference) = property["$ref"].as_str() {
        let name = reference.trim_start_matches("#/$defs/");
        return kind(&schema["$defs"][name], schema);
    }
    if let Some(choices) = property["anyOf"].as_array() {
        let choices = choices.iter().filter(|choice| choice["type"] != "null");
        let kinds: Vec<_> = choices.map(|choice| kind(choice, schema)).collect();
        let names: Vec<_> = kinds.iter().map(|(name, _)| &**name).collect();
        return (names.join(" or "), kinds.into_iter().find_map(|(_, inner)| inner));
    }
    let name = match &property["type"] {
        Value::Array(types) => types.iter().find(|name| *name != "null").and_then(Value::as_str),
        other => other.as_str(),
    };
    match name {
        Some("object") => ("table".to_owned(), property["properties"].as_object().cloned()),
        Some("array") => match kind(&property["items"], schema) {
            (_, Some(inner)) => ("tables".to_owned(), Some(inner)),
            (name, None) => (format!("list of {name}s"), None),
        },
        Some("string") => ("text".to_owned(), None),
        Some("integer") => ("number".to_owned(), None),
        Some("boolean") => ("`true` or `false`".to_owned(), None),
        other => panic!("no name for the type {other:?}: {property}"),
    }
}

fn cell(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace(" Only in the file.", "").replace('|', "\\|").trim_end_matches('.').to_owned()
}

#[test]
fn the_reference_says_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let reference = reference();
    if std::env::var_os("SSE_UPDATE").is_some() {
        std::fs::write(&path, reference).expect("writable");
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference,
        "docs/configuration.md is not what the settings say; \
         SSE_UPDATE=1 cargo test -p ssekit-server --test configuration writes it"
    );
}
