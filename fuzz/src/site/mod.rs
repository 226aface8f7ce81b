//! `sse-fuzz site`: reports of many servers and clients as a static site: what each comes to in
//! each section, with versions and dates, the evidence, and the reports themselves.

mod pages;
mod subject;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use self::subject::Subject;

/// Makes a static site of reports
///
/// Give files that `probe --json` and `hostile --check … --json` have written, each with a name if
/// you like: `eventsource 5.1.5=reports/eventsource.json`. The folder has pages that need nothing
/// else, and the reports.
#[derive(Args, Debug)]
pub struct Command {
    /// Reports, as `FILE` or `NAME=FILE`
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<String>,
    /// Where to write the site; the folder need not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no report of sse-fuzz: {source}", path.display())]
    Report { path: PathBuf, source: serde_json::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    ///
    /// If standard error cannot be written. All else is told there and by the exit code.
    pub fn run(&self) -> io::Result<ExitCode> {
        match self.make() {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                eprintln!("sse-fuzz: {error}");
                Ok(ExitCode::from(2))
            }
        }
    }

    fn make(&self) -> Result<(), Error> {
        let mut subjects = Vec::new();
        for word in &self.reports {
            let (name, path) = named(word);
            let path = PathBuf::from(path);
            let bytes = fs::read(&path);
            let bytes = bytes.map_err(|source| Error::Read { path: path.clone(), source })?;
            let read = Subject::read(name, &bytes);
            subjects.extend(read.map_err(|source| Error::Report { path, source })?);
        }
        let write = |file: &Path, content: &[u8]| {
            let path = self.out.join(file);
            let folder = path.parent().unwrap_or(&self.out);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, content));
            written.map_err(|source| Error::Write { path, source })
        };
        write(Path::new("index.html"), pages::index(&subjects).as_bytes())?;
        for (number, subject) in subjects.iter().enumerate() {
            let page = pages::page(subject);
            write(Path::new(&subject.file(number, "html")), page.as_bytes())?;
            write(Path::new(&subject.file(number, "json")), subject.json().as_bytes())?;
        }
        Ok(())
    }
}

/// A report's name, if it was given one, and its file. A file may have `=` in its name.
fn named(word: &str) -> (Option<&str>, &str) {
    match word.split_once('=') {
        Some((name, path)) if !Path::new(word).exists() => (Some(name), path),
        _ => (None, word),
    }
}
