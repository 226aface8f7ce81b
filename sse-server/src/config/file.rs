//! Reading the file of settings, so that a mistake in it can be found.

use serde::Deserialize;
use toml::Table;
use toml::de::DeTable;

use super::Settings;

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
    /// Reads the text of a file of settings. What the settings mean is looked at by [`resolve`](Self::resolve).
    ///
    /// # Errors
    ///
    /// If it is not TOML, or has a key that there is none of, or a value of another type.
    pub fn of_text(text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|error| {
            // Of settings that are flattened into these, serde does not say where they are.
            let (at, problem) = match error.span().map_or(0, |span| span.start) {
                0 => culprit(text).unwrap_or((0, error.message().to_owned())),
                at => (at, error.message().to_owned()),
            };
            let line = text[..at.min(text.len())].matches('\n').count() + 1;
            FileError { line, problem }
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
        let message = error.message();
        let is_named = message.contains(&format!("`{key}`"));
        Some((at, if is_named { message.to_owned() } else { format!("{key}: {message}") }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_line_and_key_wherever_the_key_belongs() {
        for (text, line, problem) in [
            ("log = 'info'\n\nlisten-on = 1\n", 3, "unknown field `listen-on`"),
            ("\nlisten = 1\n", 2, "invalid type: integer `1`, expected a string"),
            ("log = 'info'\nmax-connections = 'many'", 2, "max-connections: invalid type: string"),
            ("drain-time = '1s'\ndrain-tiem = '1s'", 2, "unknown field `drain-tiem`"),
            ("log = 'info'\n[cors]\norigin = []", 3, "unknown field `origin`"),
            ("log =", 1, ""),
        ] {
            let error = Settings::of_text(text).expect_err(text);
            assert_eq!(error.line(), line, "{text}: {error}");
            assert!(error.problem().contains(problem), "{text}: {error}");
        }
    }
}
