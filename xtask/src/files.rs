//! The file system, with errors that say what cannot be done, and with which file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes an error say what cannot be done.
pub(crate) fn told<T>(what: &str, path: &Path, done: io::Result<T>) -> Result<T, String> {
    done.map_err(|error| format!("cannot {what} {}: {error}", path.display()))
}

/// Creates a folder, and those above it.
pub(crate) fn create(folder: &Path) -> Result<(), String> {
    told("create", folder, fs::create_dir_all(folder))
}

pub(crate) fn read(file: &Path) -> Result<String, String> {
    told("read", file, fs::read_to_string(file))
}

pub(crate) fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    told("write", file, fs::write(file, content))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    told("copy", from, fs::copy(from, to)).map(drop)
}

/// What a folder holds, in the order of the names.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = told("read", folder, fs::read_dir(folder))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, String> {
    told("find", path, std::path::absolute(path))
}
