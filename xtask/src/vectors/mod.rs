//! `cargo xtask vectors`: the vectors as packages of npm and `PyPI`, and what others' parsers make
//! of them.

pub(crate) mod packages;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use crate::dist::copy;
use crate::dist::installed::command;
use crate::files::{self, told};
use crate::node::Node;
use crate::process::{output, say, shown, target};
use crate::python;
use crate::tool::Tool;
use crate::{Failure, Outcome};

const PARSERS: &str = "sse-proto/peers/parsers";
const DOCUMENT: &str = "docs/vectors.md";
/// Between these the document has the table.
const MARKS: [&str; 2] =
    ["<!-- parsers: written by `cargo xtask vectors --update` -->\n", "\n<!-- end -->"];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut update = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("update") => update = true,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let table = table()?;
    let document = files::read(Path::new(DOCUMENT))?;
    let updated = with_table(&document, &table)
        .ok_or_else(|| Failure::Failed(format!("{DOCUMENT} has lost the marks of the table")))?;
    if update {
        files::write(Path::new(DOCUMENT), updated)?;
    } else if document != updated {
        say(&table);
        let why = format!("{DOCUMENT} has another table; --update writes this one");
        return Err(Failure::Failed(why));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the packages, gets the parsers, and runs them.
fn table() -> Result<String, String> {
    let folder = files::absolute(&target().join("vectors"))?;
    let node = Node::set_up(&mut shown)?;
    let made = packages::make(&folder.join("made"), &node, &mut shown)?;
    let parsers = Path::new(PARSERS);

    let requirements = files::read(&parsers.join("requirements.txt"))?;
    let tool = Tool::new(&folder.join("python"), &requirements)?;
    let python = tool.folder().join("bin/python");
    if !tool.is_kept(|_| if python.is_file() { Ok(()) } else { Err("Python is gone".to_owned()) }) {
        let names: Vec<_> = requirements.lines().map(str::to_owned).collect();
        python::install(&tool, &names, &mut shown)?;
        tool.finish("")?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    command(&mut shown, pip.arg("--force-reinstall").arg(&made.wheel))?;

    let modules = folder.join("node");
    let manifest = parsers.join("package.json");
    let tool = Tool::new(&modules, &files::read(&manifest)?)?;
    if !tool.is_kept(|_| Ok(())) {
        tool.begin()?;
        copy(&manifest, &modules.join("package.json"))?;
        let mut install = node.command("npm");
        install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]);
        command(&mut shown, install.current_dir(&modules))?;
        tool.finish("")?;
    }
    for file in ["npm.mjs", "table.mjs"] {
        copy(&parsers.join(file), &modules.join(file))?;
    }
    let mut install = node.command("npm");
    install.args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]);
    command(&mut shown, install.arg(&made.npm).current_dir(&modules))?;

    let npm = folder.join("npm.json");
    let pypi = folder.join("pypi.json");
    let mut runner = node.command("node");
    written(runner.arg("table.mjs").current_dir(&modules), &npm)?;
    written(Command::new(&python).arg(parsers.join("table.py")), &pypi)?;
    let script = folder.join("table.py");
    files::write(&script, include_str!("table.py"))?;
    let table = folder.join("table.md");
    written(Command::new(&python).arg(&script).arg(&npm).arg(&pypi), &table)?;
    files::read(&table)
}

/// Runs a command, and keeps what it prints in a file.
fn written(command: &mut Command, file: &Path) -> Result<(), String> {
    let done = output(command.stdin(Stdio::null()).stderr(Stdio::inherit()))?;
    if !done.status.success() {
        return Err(format!("{command:?} has failed: {}", done.status));
    }
    told("write", file, std::fs::write(file, done.stdout))
}

fn with_table(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(MARKS[0])?;
    let (_, after) = rest.split_once(MARKS[1])?;
    Some(format!("{before}{}\n{}\n{}{after}", MARKS[0], table.trim(), MARKS[1].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{MARKS, with_table};

    #[test]
    fn a_table_replaces_the_one_before() {
        let once = with_table(&format!("a\n{}old{}\nb\n", MARKS[0], MARKS[1]), "| new |\n");
        let once = once.expect("it has marks");
        assert!(once.starts_with("a\n<!--") && once.ends_with("<!-- end -->\nb\n"), "{once}");
        assert_eq!(with_table(&once, "| new |").as_ref(), Some(&once), "again, it is the same");
        assert_eq!(with_table("no marks", "| new |"), None);
    }
}
