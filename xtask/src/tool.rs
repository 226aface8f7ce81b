//! A tool that is made once, and kept in a folder below the target folder.
//!
//! The folder says what is in it: a file that is written when all else is done. A tool whose making
//! was cut short at any point has none, and one whose file says something else is another tool:
//! both are made anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{self, told};
use crate::process::say;

/// The name of the file. It says what the tool is on its first lines; a maker may add more.
const FILE: &str = "made-of";

#[derive(Debug)]
pub(crate) struct Tool {
    folder: PathBuf,
    made_of: String,
}

impl Tool {
    /// The tool of a folder, made of this: versions, the files that list them, the way it is made.
    pub(crate) fn new(folder: &Path, made_of: &str) -> Result<Self, String> {
        let folder = files::absolute(folder)?;
        // Tools contain this path. After a checkout has been moved, it leads nowhere.
        let made_of = format!("{}\nin {}\n", made_of.trim_end(), folder.display());
        Ok(Self { folder, made_of })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it is there, has the right parts, and works.
    pub(crate) fn is_kept(&self, works: impl FnOnce(&str) -> Result<(), String>) -> bool {
        let Ok(found) = fs::read_to_string(self.folder.join(FILE)) else { return false };
        let fits = match found.strip_prefix(&self.made_of) {
            Some(more) => works(more),
            None => Err("it is another version, or was made in another place".to_owned()),
        };
        match fits {
            Ok(()) => true,
            Err(why) => {
                say(&format!("The tool in {} is made anew: {why}.", self.folder.display()));
                false
            }
        }
    }

    /// Begins with an empty folder.
    pub(crate) fn begin(&self) -> Result<(), String> {
        // This file first: a tool that is half deleted must not look whole.
        let _ = fs::remove_file(self.folder.join(FILE));
        let _ = fs::remove_dir_all(&self.folder);
        files::create(&self.folder)
    }

    /// Says that it is whole. `more` is what `is_kept` hands to `works` later.
    pub(crate) fn finish(&self, more: &str) -> Result<(), String> {
        let file = self.folder.join(FILE);
        let part = self.folder.join("made-of.part");
        let written = fs::write(&part, format!("{}{more}", self.made_of));
        // At once, or not at all.
        told("write", &file, written.and_then(|()| fs::rename(&part, &file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: fn(&str) -> Result<(), String> = |_| Ok(());

    #[test]
    fn a_tool_is_kept_when_it_is_whole_and_of_what_it_should_be() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = place.path().join("tool");
        let of = |made_of: &str| Tool::new(&folder, made_of).expect("a path");
        let first = of("version 1");
        assert!(!first.is_kept(WELL), "nothing is there");
        first.begin().expect("a folder");
        fs::write(folder.join("program"), "").expect("written");
        assert!(!first.is_kept(WELL), "its making was cut short");
        first.finish("more\n").expect("written");
        assert!(first.is_kept(|more| if more == "more\n" { Ok(()) } else { Err(more.to_owned()) }));
        assert!(!first.is_kept(|_| Err("does not start".to_owned())), "it does not work");
        assert!(!of("version 2").is_kept(WELL), "another version is wanted");
        assert!(!of("version").is_kept(WELL), "a part of the words is not the word");
    }

    #[test]
    fn what_was_there_is_gone_before_a_tool_is_made_anew() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let tool = Tool::new(&place.path().join("tool"), "version 1").expect("a path");
        tool.begin().expect("a folder");
        tool.finish("").expect("written");
        fs::write(tool.folder().join("program"), "").expect("written");
        tool.begin().expect("a folder");
        assert!(!tool.is_kept(WELL));
        assert_eq!(fs::read_dir(tool.folder()).expect("there").count(), 0);
    }

    #[test]
    fn a_tool_that_was_moved_is_another_one() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let tool = Tool::new(&place.path().join("here"), "version 1").expect("a path");
        tool.begin().expect("a folder");
        tool.finish("").expect("written");
        fs::rename(place.path().join("here"), place.path().join("there")).expect("moved");
        let moved = Tool::new(&place.path().join("there"), "version 1").expect("a path");
        assert!(!moved.is_kept(WELL));
    }
}
