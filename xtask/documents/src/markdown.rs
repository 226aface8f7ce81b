//! Which documents there are, and the blocks of code in one. `build.rs` has this file, too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its first line of code, from 1.
    pub line: usize,
    /// The first word after the fence, such as `sh`; empty if there is none.
    pub language: String,
    /// The other words there.
    pub attributes: Vec<String>,
    /// The code.
    pub text: String,
    /// What the HTML comments right above it say.
    pub marks: Vec<Mark>,
    /// Whether it is indented by four spaces, and has no fence.
    pub indented: bool,
}

/// An HTML comment right above a block, `<!-- NAME: VALUE -->`. Readers do not see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `not run: REASON`. It cannot run here.
    NotRun(String),
    /// `given: CODE`, in the language of the block: what the block takes for granted.
    Given(String),
    /// `first: COMMANDS`, for a shell: what readers have done before, or do meanwhile in another
    /// terminal.
    First(String),
    /// `file: NAME`. Blocks for a shell find it under this name, those above it too.
    File(String),
    /// `needs: PROGRAM …`. Where one is missing, the block is left out. `network` is a network that
    /// nobody else is in.
    Needs(Vec<String>),
    /// `stays: URL`. Its command does not end. The block is done once somebody listens there, and
    /// it is left running.
    Stays(String),
    /// `printed`. The lines of the block are what the blocks for a shell above it have printed.
    Printed,
}

impl Mark {
    fn parse(comment: &str) -> Option<Self> {
        let (name, value) = comment.split_once(':').unwrap_or((comment, ""));
        let value = value.trim().to_owned();
        match name.trim() {
            "not run" => Some(Self::NotRun(value)),
            "given" => Some(Self::Given(value)),
            "first" => Some(Self::First(value)),
            "file" => Some(Self::File(value)),
            "needs" => Some(Self::Needs(value.split_whitespace().map(str::to_owned).collect())),
            "stays" => Some(Self::Stays(value)),
            "printed" => Some(Self::Printed),
            _ => None,
        }
    }
}

/// All documents below the project's folder that have blocks for readers, as paths relative to it.
///
/// # Errors
///
/// A folder cannot be read.
pub fn documents(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(root, root, &mut |path| path.components().count() == 1 || is_readme(path), &mut found)?;
    collect(root, &root.join("docs"), &mut |_| true, &mut found)?;
    found.sort();
    found.dedup();
    // What has changed is a list, with no blocks of its own.
    found.retain(|path| path != Path::new("CHANGELOG.md"));
    Ok(found)
}

fn is_readme(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "README.md")
}

fn collect(
    root: &Path,
    folder: &Path,
    wanted: &mut dyn FnMut(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            let is_others = name.starts_with('.') || name == "target" || name == "node_modules";
            if !is_others {
                collect(root, &path, wanted, found)?;
            }
        } else if name.ends_with(".md") {
            let path = path.strip_prefix(root).unwrap_or(&path);
            if wanted(path) {
                found.push(path.into());
            }
        }
    }
    Ok(())
}

/// The blocks of a document, in their order.
#[must_use]
pub fn blocks(document: &str) -> Vec<Block> {
    let mut reader = Reader { lines: document.lines().enumerate(), blocks: Vec::new() };
    reader.read();
    reader.blocks
}

struct Reader<'d> {
    lines: std::iter::Enumerate<std::str::Lines<'d>>,
    blocks: Vec<Block>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut marks = Vec::new();
        let mut after_blank = true;
        let mut in_list = false;
        while let Some((number, line)) = self.lines.next() {
            let text = line.trim_start();
            let indent = line.len() - text.len();
            if let Some(info) = text.strip_prefix("```") {
                self.fenced(info, indent, std::mem::take(&mut marks));
            } else if text.starts_with("<!--") {
                marks.extend(Mark::parse(&self.comment(text)));
            } else if indent >= 4 && after_blank && !in_list {
                self.indented(number + 1, line, std::mem::take(&mut marks));
            } else if !text.is_empty() {
                marks.clear();
                if indent == 0 {
                    in_list = is_item(text);
                }
            }
            after_blank = text.is_empty();
        }
    }

    /// The text of a comment that begins in this line.
    fn comment(&mut self, first: &str) -> String {
        let mut comment = first.trim_start_matches("<!--").to_owned();
        while !comment.contains("-->") {
            let Some((_, line)) = self.lines.next() else { break };
            comment.push('\n');
            comment.push_str(line);
        }
        let end = comment.find("-->").unwrap_or(comment.len());
        comment[..end].trim().to_owned()
    }

    fn fenced(&mut self, info: &str, indent: usize, marks: Vec<Mark>) {
        let mut words = info.split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let attributes = words.collect();
        let mut text = String::new();
        let mut begin = None;
        for (number, line) in self.lines.by_ref() {
            begin.get_or_insert(number + 1);
            let (spaces, rest) = line.split_at(indent.min(line.len() - line.trim_start().len()));
            debug_assert!(spaces.trim().is_empty());
            if rest.trim_end() == "```" {
                break;
            }
            text.push_str(rest);
            text.push('\n');
        }
        let line = begin.unwrap_or_default();
        self.blocks.push(Block { line, language, attributes, text, marks, indented: false });
    }

    fn indented(&mut self, line: usize, first: &str, marks: Vec<Mark>) {
        let mut text = format!("{}\n", first.trim_start());
        let mut rest = self.lines.clone();
        while let Some((_, next)) = rest.next() {
            if !next.starts_with("    ") {
                break;
            }
            text.push_str(next.trim_start());
            text.push('\n');
            self.lines = rest.clone();
        }
        let (language, attributes) = (String::new(), Vec::new());
        self.blocks.push(Block { line, language, attributes, text, marks, indented: true });
    }
}

fn is_item(text: &str) -> bool {
    let numbered = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.starts_with("- ")
        || text.starts_with("* ")
        || (numbered.len() < text.len() && numbered.starts_with(". "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_line_language_and_marks() {
        let document = "Text.\n\n<!-- given:\nlet a = 1;\n-->\n<!-- needs: b c -->\n\n```rust,no_run\nx();\n```\n";
        let [block] = &blocks(document)[..] else { panic!("one block") };
        assert_eq!((block.line, block.language.as_str()), (9, "rust"));
        assert_eq!(block.attributes, ["no_run"]);
        assert_eq!(block.text, "x();\n");
        let needs = Mark::Needs(vec!["b".to_owned(), "c".to_owned()]);
        assert_eq!(block.marks, [Mark::Given("let a = 1;".to_owned()), needs]);
    }

    #[test]
    fn a_mark_is_for_the_block_right_below_it() {
        let document =
            "<!-- not run: x -->\n\nText.\n\n```sh\na\n```\n\n<!-- printed -->\n```text\nb\n```\n";
        let marks: Vec<_> = blocks(document).into_iter().map(|block| block.marks).collect();
        assert_eq!(marks, [vec![], vec![Mark::Printed]]);
    }

    #[test]
    fn blocks_in_lists_lose_their_indent_and_no_other() {
        let document = "- item\n\n  ```yaml\n  a:\n    b: 1\n  ```\n\n      more of the item\n";
        let [block] = &blocks(document)[..] else { panic!("one block") };
        assert_eq!(block.text, "a:\n  b: 1\n");
    }

    #[test]
    fn a_block_without_a_fence_is_found() {
        let [block] = &blocks("Text:\n\n    a\n      b\n\nText.\n")[..] else {
            panic!("one block")
        };
        assert!(block.indented && block.text == "a\nb\n", "{block:?}");
    }
}
