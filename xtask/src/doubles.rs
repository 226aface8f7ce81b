//! The examples of `examples/hostile`: `OpenAI`'s clients for Python and for JavaScript, by pytest
//! and by vitest, against `sse-fuzz hostile --dialect openai`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::dist::copy;
use crate::dist::installed::command;
use crate::files;
use crate::node::Node;
use crate::process::{Run, cargo, target};
use crate::python;
use crate::tool::Tool;
use crate::wasm::Trouble;

/// Packages of `PyPI`, and of npm. What is said of them is said of exactly these versions.
const PYTHON: [&str; 2] = ["openai==3.57.0", "pytest==8.4.2"];
const NODE: [&str; 2] = ["openai@7.55.0", "vitest@3.0.1"];

const EXAMPLES: [&str; 2] = ["examples/hostile/test_openai.py", "examples/hostile/openai.test.mjs"];

pub(crate) fn check(run: Run<'_>) -> Result<(), Trouble> {
    if !run(cargo(&["build", "-p", "ssekit-fuzz", "--bin", "sse-fuzz"])) {
        return Err("sse-fuzz does not build".to_owned().into());
    }
    let folder = files::absolute(&target().join("doubles"))?;
    let tool = Tool::new(&folder.join("python"), &PYTHON.join("\n"))?;
    let program = tool.folder().join("bin/python");
    if !tool.is_kept(|_| if program.is_file() { Ok(()) } else { Err("Python is gone".to_owned()) })
    {
        python::install(&tool, &PYTHON.map(str::to_owned), run).map_err(Trouble::Missing)?;
        tool.finish("")?;
    }
    let [python_test, node_test] = EXAMPLES.map(PathBuf::from);
    let mut pytest = Command::new(&program);
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]).arg(python_test);
    command(run, with_program(&mut pytest)?)?;

    let node = Node::set_up(run)?;
    let modules = folder.join("node");
    let tool = Tool::new(&modules, &NODE.join("\n"))?;
    if !tool.is_kept(|_| Ok(())) {
        tool.begin()?;
        files::write(
            &modules.join("package.json"),
            "{ \"private\": true, \"type\": \"module\" }\n",
        )?;
        let mut install = node.command("npm");
        install.args(["install", "--no-audit", "--no-fund"]).args(NODE).current_dir(&modules);
        command(run, &mut install).map_err(Trouble::Missing)?;
        tool.finish("")?;
    }
    copy(&node_test, &modules.join("openai.test.mjs"))?;
    let mut vitest = node.command("npx");
    vitest.args(["--no-install", "vitest", "run"]).current_dir(&modules);
    Ok(command(run, with_program(&mut vitest)?)?)
}

/// Lets a command find the program that has been built.
fn with_program(command: &mut Command) -> Result<&mut Command, String> {
    let built = files::absolute(&target().join("debug"))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(built).chain(env::split_paths(&path));
    let path = env::join_paths(folders).map_err(|error| error.to_string())?;
    Ok(command.env("PATH", path))
}
