//! What the tree looks like: files of code with at most 500 lines, comments that fit beside the
//! code, and no module that is taken from another crate's folder.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::process::output;
use crate::wasm::Trouble;

/// How many lines a file of code may have.
const LINES: usize = 500;

/// How many columns a comment may reach.
const COLUMNS: usize = 100;

/// The files that are code, by their extension, and what a line begins with that is a comment.
const CODE: [(&str, &[&str]); 9] = [
    ("css", &["/*", "*"]),
    ("html", &["<!--", "//", "/*"]),
    ("js", &["//", "/*", "*"]),
    ("mjs", &["//", "/*", "*"]),
    ("py", &["#"]),
    ("rs", &["//"]),
    ("toml", &["#"]),
    ("ts", &["//", "/*", "*"]),
    ("yml", &["#"]),
];

/// Looks at every file that git knows.
pub(crate) fn check() -> Result<(), Trouble> {
    let files = output(Command::new("git").args(["ls-files", "-z"]))?;
    if !files.status.success() {
        return Err(Trouble::Missing("this is not a checkout of git".to_owned()));
    }
    let files = String::from_utf8_lossy(&files.stdout);
    let files: Vec<_> = files.split_terminator('\0').map(Path::new).collect();
    let crates = files.iter().filter(|file| file.ends_with("Cargo.toml"));
    let crates: Vec<_> = crates.filter_map(|manifest| manifest.parent()).collect();
    let mut complaints = Vec::new();
    for file in &files {
        // git lists a file that has just been deleted, too.
        let Ok(text) = fs::read_to_string(file) else { continue };
        complaints.extend(complaints_of(file, &text, &crates));
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n").into()) }
}

/// What is wrong with a file, each with the line that it stands on.
fn complaints_of(file: &Path, text: &str, crates: &[&Path]) -> Vec<String> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let Some((_, marks)) = CODE.iter().find(|(code, _)| Some(*code) == extension) else {
        return Vec::new();
    };
    let mut complaints = Vec::new();
    let mut complain = |line: usize, what: &str| {
        complaints.push(format!("{}:{line}: {what}", file.display()));
    };
    if text.lines().count() > LINES {
        complain(LINES + 1, "more than 500 lines; what are the two files that this is?");
    }
    for (line, number) in text.lines().zip(1..) {
        let begin = line.trim_start();
        let is_comment = marks.iter().any(|mark| begin.starts_with(mark));
        // Markdown cannot break the row of a table.
        let is_row = begin.trim_start_matches(['/', '!']).trim_start().starts_with('|');
        if is_comment && !is_row && line.chars().count() > COLUMNS {
            complain(number, "a comment of more than 100 columns");
        }
        let Some(path) = begin.strip_prefix("#[path = \"").and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        let target = plain(&file.with_file_name(path));
        if owner(&target, crates) != owner(file, crates) {
            complain(number, "a module of another crate; testkit is for what tests share");
        }
    }
    complaints
}

/// The folder of the crate that a file belongs to.
fn owner<'a>(file: &Path, crates: &[&'a Path]) -> Option<&'a Path> {
    let owners = crates.iter().filter(|folder| file.starts_with(folder));
    owners.max_by_key(|folder| folder.components().count()).copied()
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            component => plain.push(component),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> Vec<String> {
        let crates = ["", "a", "a/b", "c"].map(Path::new);
        complaints_of(Path::new(file), text, &crates)
    }

    #[test]
    fn a_file_of_code_has_at_most_500_lines() {
        assert_eq!(complaints("a/src/x.rs", &"\n".repeat(500)), [""; 0]);
        let long = complaints("a/src/x.rs", &"\n".repeat(501));
        assert!(long[0].starts_with("a/src/x.rs:501: more than 500 lines"), "{long:?}");
        assert_eq!(complaints("a/x.json", &"\n".repeat(501)), [""; 0], "data");
    }

    #[test]
    fn a_comment_has_at_most_100_columns_and_code_is_the_formatters_matter() {
        let fits = format!("x\n    //{}\n", "é".repeat(94));
        assert_eq!(complaints("a/x.rs", &fits), [""; 0]);
        let long = complaints("a/x.rs", &fits.replace("//", "// "));
        assert_eq!(long, ["a/x.rs:2: a comment of more than 100 columns"]);
        assert_eq!(complaints("a/x.rs", &"x".repeat(101)), [""; 0]);
        assert_eq!(complaints("a/x.toml", &"#".repeat(101)).len(), 1);
        let row = format!("//! | a | {} |", "b".repeat(100));
        assert_eq!(complaints("a/x.rs", &row), [""; 0], "it cannot be broken");
    }

    #[test]
    fn a_module_of_another_crate_is_found() {
        let path = |path: &str| format!("#[path = \"{path}\"]\nmod x;\n");
        assert_eq!(complaints("a/tests/x/main.rs", &path("../y/mod.rs")), [""; 0]);
        assert_eq!(complaints("a/tests/x.rs", &path("../../c/src/y.rs")).len(), 1);
        assert_eq!(complaints("a/tests/x.rs", &path("../b/src/y.rs")).len(), 1, "one within it");
    }
}
