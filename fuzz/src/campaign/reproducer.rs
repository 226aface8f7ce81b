//! A finding as a file, to be played again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::case::{Case, Raw};
use super::subject::Kind;

/// What leads to a finding. There are no secrets in it: neither headers that were given on the
/// command line, nor those in the URL's query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reproducer {
    /// The server's stream, without secrets.
    pub url: String,
    /// What goes wrong.
    pub kind: Kind,
    /// In words.
    pub reason: String,
    /// The requests, one after the other.
    pub cases: Vec<Case>,
    /// Whether nothing more can be left out of them.
    pub is_minimal: bool,
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no file of sse-fuzz fuzz: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
}

impl Reproducer {
    /// What is odd about the requests, in words.
    pub fn parts(&self) -> BTreeSet<String> {
        self.cases.iter().flat_map(Case::parts).collect()
    }

    /// A name for its file.
    pub(super) fn file_name(&self) -> String {
        let parts: Vec<_> = self.parts().into_iter().collect();
        let words = format!("{} {}", self.kind.word(), parts.join(" "));
        let is_fit = |char: char| if char.is_ascii_alphanumeric() { char } else { '-' };
        let mut name: String = words.chars().map(is_fit).take(80).collect();
        name.push_str(".json");
        name
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(self.file_name());
        fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(path)
    }

    /// Reads a file. One that does not look like JSON is a request, as bytes; of it is not known
    /// what goes wrong.
    pub(super) fn read(path: &Path) -> Result<(Option<Self>, Vec<Case>), ReadError> {
        let bytes = fs::read(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let read: Result<Self, _> = serde_json::from_slice(&bytes);
            let read = read.map_err(|source| ReadError::Json { path: path.into(), source })?;
            let cases = read.cases.clone();
            return Ok((Some(read), cases));
        }
        Ok((None, vec![Case { whole: Some(Raw(bytes)), ..Case::default() }]))
    }
}
