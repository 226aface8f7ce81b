//! Where settings come from: flags and variables stand above the file that they may name.

use std::fmt::Display;
use std::path::Path;

use clap::{ArgMatches, FromArgMatches};

use super::{ConfigError, Settings};

impl Settings {
    /// Reads the file that these flags and variables name, if they name one, and puts them above
    /// it.
    ///
    /// ```
    /// use clap::CommandFactory;
    /// use sse_server::config::Settings;
    ///
    /// let flags = Settings::command().get_matches_from(["sse-server", "--storage", "memory"]);
    /// let config = Settings::of(&flags)?.resolve()?;
    /// assert_eq!(config.storage.to_string(), "memory");
    /// # Ok::<(), sse_server::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has a mistake.
    pub fn of(flags: &ArgMatches) -> Result<Self, ConfigError> {
        let settings = Self::default().under(flags)?;
        let Some(path) = &settings.config else { return Ok(settings) };
        let text = std::fs::read_to_string(path).map_err(|problem| in_file(path, &problem))?;
        Self::of_text(&text).map_err(|problem| in_file(path, &problem))?.under(flags)
    }

    /// These settings, save for those that flags and variables give.
    pub(super) fn under(mut self, flags: &ArgMatches) -> Result<Self, ConfigError> {
        // They are two ways to say one thing.
        if ["publish_token", "publish_token_file"].iter().any(|id| flags.contains_id(id)) {
            self.publish_token = None;
            self.publish_token_file = None;
        }
        if ["relay_secret", "relay_secret_file"].iter().any(|id| flags.contains_id(id)) {
            self.relay_secret = None;
            self.relay_secret_file = None;
        }
        self.update_from_arg_matches(flags)
            .map_err(|error| ConfigError::new("flags", error.to_string()))?;
        Ok(self)
    }
}

/// A problem with the file of settings.
pub(super) fn in_file(path: &Path, problem: &dyn Display) -> ConfigError {
    ConfigError::new(format!("--config {}", path.display()), problem.to_string())
}
