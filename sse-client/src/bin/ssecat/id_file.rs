//! The last event ID in a file, for the next run.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct IdFile {
    path: PathBuf,
    id: Option<String>,
}

impl IdFile {
    /// Reads the file. A missing one is the same as an empty one.
    pub(crate) fn open(path: PathBuf) -> Result<Self, String> {
        let failed = |error| {
            format!("--id-file: cannot read {}: {error}; name a file to be written", path.display())
        };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let id = text.lines().next().filter(|id| !id.is_empty()).map(str::to_owned);
        Ok(Self { path, id })
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Stores this id, unless it is there already. The file is replaced, not rewritten, so that
    /// there is never half an id in it.
    pub(crate) fn save(&mut self, id: Option<&str>) -> Result<(), String> {
        if self.id.as_deref() == id {
            return Ok(());
        }
        self.replace(id.unwrap_or_default()).map_err(|error| {
            format!(
                "--id-file: cannot write {}: {error}; make room or name another",
                self.path.display()
            )
        })?;
        self.id = id.map(str::to_owned);
        Ok(())
    }

    fn replace(&self, id: &str) -> io::Result<()> {
        // Beside it, since a file can be moved into place only within its file system.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut draft = NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))?;
        writeln!(draft, "{id}")?;
        draft.persist(&self.path)?;
        Ok(())
    }
}
