//! Links from document to document, and to files of the project: what they name is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Outcome, Report, root};

/// One report for each document that has such links.
pub(crate) fn check(documents: &[(PathBuf, String)]) -> Vec<(PathBuf, Vec<Report>)> {
    let reports = documents.iter().filter_map(|(path, text)| {
        let broken: Vec<_> =
            links(text).map(|(line, link)| (line, link, broken(path, link))).collect();
        let first = broken.first()?.0;
        let broken: Vec<_> = broken
            .into_iter()
            .filter_map(|(line, link, why)| Some(format!("line {line}: {link}: {}", why?)))
            .collect();
        let outcome =
            if broken.is_empty() { Outcome::Ok } else { Outcome::Failed(broken.join("\n")) };
        Some((path.clone(), vec![Report { line: first, language: "links".to_owned(), outcome }]))
    });
    reports.collect()
}

/// The links that do not lead out of the project, with their lines.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    text.lines().zip(1..).flat_map(move |(line, number)| {
        in_block ^= line.trim_start().starts_with("```");
        let line = if in_block { "" } else { line };
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let own =
            targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
        own.map(move |target| (number, target))
    })
}

/// What is wrong with a link.
fn broken(document: &Path, link: &str) -> Option<String> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = document.parent().unwrap_or(Path::new(""));
    let target = if file.is_empty() { document.to_owned() } else { folder.join(file) };
    let target = root().join(target);
    if !target.exists() {
        return Some("there is no such file".to_owned());
    }
    if anchor.is_empty() || target.extension().is_none_or(|end| end != "md") {
        return None;
    }
    let text = fs::read_to_string(&target).unwrap_or_default();
    let is_there = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim())
        .any(|heading| self::anchor(heading) == anchor);
    (!is_there).then(|| "there is no such heading".to_owned())
}

/// A heading's anchor, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}
