//! Reading the file of settings, so that a mistake in it can be found, and put right.

use clap::CommandFactory;
use serde::Deserialize;
use toml::Table;
use toml::de::{DeTable, DeValue};

use super::Settings;
use crate::values::nearest;

/// The keys of the file that are no flags. A test keeps this what it says.
const ONLY_IN_FILE: [&str; 8] = [
    "access",
    "cors",
    "default-endpoints",
    "endpoint",
    "grip",
    "publish-tokens",
    "request-limits",
    "unreliable",
];

/// Flags that are no keys of the file.
const ONLY_FLAGS: [&str; 4] = ["config", "cors-origin", "help", "version"];

/// What is wrong with the text of a file of settings, and in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct FileError {
    line: usize,
    problem: String,
}

impl FileError {
    /// The line, from 1.
    pub const fn line(&self) -> usize {
        self.line
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl Settings {
    /// Reads the text of a file of settings. What the settings mean is looked at by
    /// [`resolve`](Self::resolve).
    ///
    /// # Errors
    ///
    /// If it is not TOML, has an unknown key, or a value of the wrong type.
    pub fn of_text(text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|error| {
            let (at, problem) = match error.span().map_or(0, |span| span.start) {
                // Of settings that are flattened into these, serde does not say where they are.
                0 => culprit(text).unwrap_or((0, error.message().to_owned())),
                at => (at, error.message().to_owned()),
            };
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            FileError { line, problem: in_words(&problem, key_at(text, at).as_deref()) }
        })
    }
}

/// Where the first key is that cannot be read by itself, and why.
fn culprit(text: &str) -> Option<(usize, String)> {
    let places = DeTable::parse(text).ok()?;
    let mut places: Vec<_> =
        places.get_ref().keys().map(|key| (key.span().start, key.get_ref().to_string())).collect();
    places.sort_unstable();
    let mut values: Table = toml::from_str(text).ok()?;
    places.into_iter().find_map(|(at, key)| {
        let alone: Table = values.remove_entry(&key).into_iter().collect();
        let error = Settings::deserialize(alone).err()?;
        Some((at, error.message().to_owned()))
    })
}

/// The key that this place belongs to, such as `access.rules[0].allow`.
fn key_at(text: &str, at: usize) -> Option<String> {
    fn within(table: &DeTable<'_>, at: usize) -> Option<String> {
        // The last one that begins before it; a table ends where the next one begins.
        let begun = table.iter().filter(|(key, _)| key.span().start <= at);
        let (key, value) = begun.max_by_key(|(key, _)| key.span().start)?;
        let mut path = key.get_ref().to_string();
        let mut value = value.get_ref();
        if let DeValue::Array(array) = value {
            let begun = array.iter().enumerate().filter(|(_, element)| element.span().start <= at);
            if let Some((index, element)) = begun.max_by_key(|(index, _)| *index)
                && matches!(element.get_ref(), DeValue::Table(_))
            {
                path = format!("{path}[{index}]");
                value = element.get_ref();
            }
        }
        match value {
            DeValue::Table(inner) => match within(inner, at) {
                Some(rest) => Some(format!("{path}.{rest}")),
                None => Some(path),
            },
            _ => Some(path),
        }
    }
    within(DeTable::parse(text).ok()?.get_ref(), at)
}

/// The problem, without the words of Rust and with what to do. No value is shown: it may be a
/// secret in the wrong place.
fn in_words(problem: &str, key: Option<&str>) -> String {
    if let Some(unknown) = problem.strip_prefix("unknown field `") {
        return unknown_key(problem, unknown.split('`').next().unwrap_or_default());
    }
    let name = key.map(|key| format!("{key}: ")).unwrap_or_default();
    let Some((found, expected)) =
        problem.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    else {
        return format!("{name}{problem}");
    };
    let found = match found.split([' ', '`', '"']).next() {
        Some("integer" | "floating") => "a number",
        Some("boolean") => "true or false",
        Some("string") => "a text",
        Some("sequence") => "a list",
        Some("map") => "a table",
        _ => "something else",
    };
    let last = key.and_then(|key| key.rsplit('.').next()).unwrap_or("name");
    let belongs = match expected {
        "a string" if found == "a number" => {
            "a text in quotes belongs, such as \"7s\" for a time".to_owned()
        }
        "a string" => "a text in quotes belongs".to_owned(),
        "a boolean" => "true or false belongs, without quotes".to_owned(),
        "usize" | "u64" | "u32" | "u16" => "a whole number belongs, such as 1000".to_owned(),
        "a sequence" if found == "a table" => {
            format!(
                "a list of tables belongs; write [[{}]], with two brackets",
                key.unwrap_or(last)
            )
        }
        "a sequence" => "a list belongs".to_owned(),
        text if text.starts_with("struct") || text == "a map" => {
            let key = key.unwrap_or(last);
            format!("a table belongs; write [{key}], and its keys below it")
        }
        other => format!("{other} belongs"),
    };
    format!("{name}{found} is there where {belongs}")
}

/// What an unknown key may have been meant to be.
fn unknown_key(problem: &str, unknown: &str) -> String {
    // Tables list their own keys.
    let Some((_, known)) = problem.split_once(", expected ") else {
        let top = top_level();
        return match nearest(unknown, top.iter().map(String::as_str)) {
            Some(key) => format!("{problem}; did you mean `{key}`?"),
            None => format!("{problem}; `sse-server --help` lists what there is"),
        };
    };
    let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
    match nearest(unknown, known) {
        Some(key) => format!("unknown field `{unknown}`; did you mean `{key}`?"),
        None if top_level().iter().any(|key| key == unknown) => {
            format!("{problem}; `{unknown}` itself stands above the first [table]")
        }
        None => problem.to_owned(),
    }
}

/// The keys that are in no table.
fn top_level() -> Vec<String> {
    let command = Settings::command();
    let flags = command.get_arguments().filter_map(clap::Arg::get_long);
    let flags = flags.filter(|flag| !ONLY_FLAGS.contains(flag));
    flags.chain(ONLY_IN_FILE).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line_and_key_and_what_to_do() {
        for (text, line, problem) in [
            (
                "log = 'info'\n\nlisten-on = 1\n",
                3,
                "unknown field `listen-on`; did you mean `listen`?",
            ),
            ("retenion = '7d'", 1, "unknown field `retenion`; did you mean `retention`?"),
            ("\nmax_connections = 5", 2, "`max_connections`; did you mean `max-connections`?"),
            ("drain-time = '1s'\ndrain-tiem = '1s'", 2, "did you mean `drain-time`?"),
            ("acces = 1", 1, "unknown field `acces`; did you mean `access`?"),
            ("qqq = 1", 1, "unknown field `qqq`; `sse-server --help` lists"),
            (
                "log = 'info'\n[cors]\norigin = []",
                3,
                "unknown field `origin`; did you mean `origins`?",
            ),
            ("[access.forward-auth]\ncache_size = 1", 2, "did you mean `cache-size`?"),
            ("[[access.rules]]\nchanel = 'a'", 2, "did you mean `channel`?"),
            ("[cors]\nzzz = 1", 2, "expected one of `origins`, "),
            ("[cors]\nlisten = '8080'", 2, "`listen` itself stands above the first [table]"),
            ("\nlisten = true\n", 2, "listen: true or false is there where a text such as"),
            (
                "retention = 7",
                1,
                "retention: 7 is no time without a unit; write for example \"7s\" or \"7d\"",
            ),
            ("keep-alive = '0s'", 1, "keep-alive: \"0s\": must be longer than nothing"),
            ("log = 'info'\ndrain-time = 10", 2, "drain-time: 10 is no time without a unit"),
            (
                "storage = 1",
                1,
                "storage: a number is there where a text belongs; write for example \"sqlite:",
            ),
            (
                "log = 'info'\nmax-connections = 'many'",
                2,
                "max-connections: \"many\" is no whole number",
            ),
            ("max-event-size = 0", 1, "max-event-size: with 0 nothing could pass"),
            ("max-per-address = -1", 1, "max-per-address: a negative number is not possible"),
            ("open-access = 'yes'", 1, "open-access: a text is there where true or false belongs"),
            (
                "[request-limits]\nurl = '1k'",
                2,
                "request-limits.url: a text is there where a whole number",
            ),
            (
                "[cors]\norigins = '*'\nmax-age = 7",
                3,
                "cors.max-age: a number is there where a text in quotes belongs, such as \"7s\"",
            ),
            ("unreliable = 7", 1, "unreliable: a text in quotes, or a list of such texts"),
            (
                "[publish-tokens]\ntoken = 'a'",
                1,
                "publish-tokens: a table is there where a list of tables belongs; write [[publish-tokens]]",
            ),
            ("cors = '*'", 1, "cors: a text is there where a table belongs; write [cors]"),
            (
                "[[access.rules]]\nchannel = 'a'\nallow = 'public'\n[[access.rules]]\nchannel = 'b'",
                4,
                "access.rules[1]: missing field `allow`",
            ),
            ("log =", 1, ""),
        ] {
            let error = Settings::of_text(text).expect_err(text);
            assert_eq!(error.line(), line, "{text}: {error}");
            assert!(error.problem().contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_form_is_not_shown() {
        for text in [
            "publish-token = 5367",
            "publish-token = ['5367']",
            "publish-token = '53 67'",
            "publish-tokens = ['5367']",
            "publish-tokens = [5367]",
            "[[publish-tokens]]\nchannel = '*'\ntoken = 5367",
            "[access]\njwt = '5367'",
            "[access.jwt]\nsecret = 5367",
            "storage = 'postgres:me:5367@host'",
            "relay = 'amqp:me:5367@host'",
        ] {
            let error = Settings::of_text(text).expect_err(text).to_string();
            assert!(!error.contains("5367"), "{error}");
        }
    }

    #[cfg(feature = "schema")]
    #[test]
    fn all_keys_of_the_file_are_known_for_suggestions() {
        let schema = schemars::schema_for!(Settings).to_value();
        let keys = schema["properties"].as_object().expect("a struct").keys();
        let mut known = top_level();
        known.sort_unstable();
        assert_eq!(keys.cloned().collect::<Vec<_>>(), known);
    }
}
