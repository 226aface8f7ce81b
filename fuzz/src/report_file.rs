//! Writes reports to files.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A report could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// Writes a file, if one is asked for. The error has its name.
pub(crate) fn write(
    path: Option<&Path>,
    write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    let written = File::create(path).and_then(|file| {
        let mut file = io::BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|source| {
        io::Error::new(source.kind(), FileError { path: path.to_owned(), source })
    })
}
