//! The settings of a server that runs, read again. What is closed is never opened by accident: a
//! reload is judged by what the server really does, and not by what the new file leaves out.

use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use toml::Table;

use super::sources::in_file;
use super::{Config, ConfigError, ListenAddress, Settings};

/// How long a file has to stay the same before it is taken for whole.
const SETTLED: Duration = Duration::from_millis(200);

/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server runs with, so that new settings can be judged.
#[derive(Clone, Debug)]
pub struct Running {
    /// The flags and variables that it was started with.
    flags: ArgMatches,
    /// The address that is listened on, whatever a new file says.
    listens_on: ListenAddress,
    has_rules: bool,
    has_publishers: bool,
}

impl Running {
    /// A server that was started with these flags and variables, has made `config` of them and
    /// their file, and listens on this address.
    pub fn new(flags: ArgMatches, config: &Config, listens_on: ListenAddress) -> Self {
        let mut running = Self { flags, listens_on, has_rules: false, has_publishers: false };
        running.took(config);
        running
    }

    /// Whether there is a file of settings.
    pub fn has_file(&self) -> bool {
        self.flags.contains_id("config")
    }

    /// Reads the file again, and checks everything. Nothing has changed if that fails.
    ///
    /// # Errors
    ///
    /// As [`Settings::of`] and [`Settings::resolve`]; and if the file is empty, does not stay the
    /// same for a moment, or leaves out all rules without saying `open-access = true` in their
    /// place.
    pub async fn read_again(&mut self) -> Result<Config, ConfigError> {
        let mut settings = Settings::default().under(&self.flags)?;
        if let Some(path) = settings.config {
            let text = settled(&path).await?;
            let of_file = Settings::of_text(&text).map_err(|problem| in_file(&path, &problem))?;
            let is_empty = toml::from_str::<Table>(&text).is_ok_and(|table| table.is_empty());
            if is_empty && (self.has_rules || self.has_publishers) {
                return Err(in_file(&path, &"there are no settings in it; is it being written?"));
            }
            // Said in the file, because a flag was meant for the rules that there were.
            if self.has_rules && of_file.access.is_none() && of_file.open_access != Some(true) {
                let problem = "there were rules for who may read, and there are none now; write \
                               open-access = true into it if everyone may read every channel";
                return Err(in_file(&path, &problem));
            }
            settings = of_file.under(&self.flags)?;
        }
        settings.listen = Some(self.listens_on.clone());
        let config = settings.resolve()?;
        self.took(&config);
        Ok(config)
    }

    fn took(&mut self, config: &Config) {
        self.has_rules = config.rules.is_some();
        self.has_publishers = !config.publishers.is_empty();
    }
}

/// The text of a file that is not being written: it has not changed for a moment.
async fn settled(path: &Path) -> Result<String, ConfigError> {
    let read = || std::fs::read_to_string(path).map_err(|it| in_file(path, &it));
    let settling = async {
        let mut text = read()?;
        loop {
            tokio::time::sleep(SETTLED).await;
            let before = std::mem::replace(&mut text, read()?);
            if before == text {
                return Ok(text);
            }
        }
    };
    let is_changing = |_| Err(in_file(path, &"it is being written all the time; try again later"));
    tokio::time::timeout(PATIENCE, settling).await.unwrap_or_else(is_changing)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::CommandFactory;

    use super::*;

    const RULES: &str = "[[access.rules]]\nchannel = \"news\"\nallow = \"public\"\n";

    /// A server with these settings in its file, and the file.
    fn running(text: &str) -> (Running, tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).expect("writable");
        let args = ["sse-server".as_ref(), "--config".as_ref(), path.as_os_str()];
        let flags = Settings::command().get_matches_from(args);
        let config = Settings::of(&flags).and_then(Settings::resolve).expect("they make sense");
        let listens_on = Settings::of_text(text).expect("TOML").listen;
        let listens_on = listens_on.unwrap_or_else(|| "8080".parse().expect("a port"));
        (Running::new(flags, &config, listens_on), folder, path)
    }

    #[tokio::test(start_paused = true)]
    async fn a_public_address_is_judged_as_it_is_listened_on() {
        let open = "listen = \"0.0.0.0:8080\"\nopen-access = true\n";
        let (mut running, _folder, path) = running(open);
        for without in ["log = \"info\"\n", "listen = \"127.0.0.1:8080\"\n"] {
            std::fs::write(&path, without).expect("writable");
            let error = running.read_again().await.expect_err(without);
            assert_eq!(error.setting(), "--listen", "{error}");
        }
        std::fs::write(&path, RULES).expect("writable");
        assert!(running.read_again().await.expect("rules will do").rules.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_when_nobody_writes_to_it_any_more() {
        let (mut running, _folder, path) = running(RULES);
        let (first, second) = RULES.split_at(RULES.len() / 2);
        std::fs::write(&path, "open-access = true\n").expect("writable");
        let writing = async {
            tokio::time::sleep(SETTLED / 2).await;
            std::fs::write(&path, first).expect("writable");
            tokio::time::sleep(SETTLED / 2).await;
            std::fs::write(&path, format!("{first}{second}")).expect("writable");
        };
        let (config, ()) = tokio::join!(running.read_again(), writing);
        assert!(config.expect("it is whole in the end").rules.is_some());
        let writing = async {
            for n in 0.. {
                tokio::time::sleep(SETTLED / 2).await;
                std::fs::write(&path, format!("{RULES}# {n}\n")).expect("writable");
            }
        };
        tokio::select! {
            config = running.read_again() => {
                let error = config.expect_err("it changes all the time").to_string();
                assert!(error.contains("being written"), "{error}");
            }
            () = writing => unreachable!("it has no end"),
        }
    }
}
