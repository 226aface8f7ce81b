//! What GitHub reads: workflows, and the forms of issues. It says nothing of a file that it cannot
//! read.

use std::fs;
use std::path::PathBuf;

use crate::{Outcome, Report, files, root};

const FOLDERS: [&str; 2] = [".github/workflows", ".github/ISSUE_TEMPLATE"];

/// One report for each file.
pub(crate) fn check() -> Vec<(PathBuf, Vec<Report>)> {
    let entries = FOLDERS.iter().flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).into_iter().flatten().flatten();
        entries.map(move |entry| PathBuf::from(folder).join(entry.file_name()))
    });
    let reports = entries.map(|path| {
        let text = fs::read_to_string(root().join(&path)).map_err(|error| error.to_string());
        let outcome = match text.and_then(|text| files::yaml(&text)) {
            Ok(()) => Outcome::Ok,
            Err(why) => Outcome::Failed(why),
        };
        (path, vec![Report { line: 1, language: "yaml".to_owned(), outcome }])
    });
    reports.collect()
}
