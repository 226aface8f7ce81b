//! Each package of `sse-fuzz`, made, installed into an empty folder, and used there as its users
//! do: on a server in Python, or in Node.
//!
//! The program is the one that other steps have built, so this costs no build.

use std::path::Path;
use std::process::{Command, Stdio};

use super::platform::Platform;
use super::{FUZZ, built, debian, npm, remove, wheel};
use crate::files;
use crate::node::Node;
use crate::process::{Run, cargo, say, target};
use crate::vectors;
use crate::wasm::Trouble;

/// Both take the program's command line, and fail unless it has a verdict on their server.
const IN_PYTHON: &str = include_str!("verdict.py");
const IN_NODE: &str = include_str!("verdict.mjs");

pub(crate) fn check(run: Run<'_>) -> Result<(), Trouble> {
    // The command line of the step `hostile`.
    if !run(cargo(&["build", "-p", "ssekit-fuzz", "--bin", FUZZ])) {
        return Err("sse-fuzz does not build".to_owned().into());
    }
    let program = built("dev", FUZZ);
    let platform = Platform::of(None)?;
    let folder = files::absolute(&target().join("installed"))?;
    remove(&folder)?;
    let made = folder.join("made");
    files::create(&made)?;
    let script = |name: &str, text: &str| {
        let path = folder.join(name);
        files::write(&path, text).map(|()| path)
    };
    let (python, mjs) = (script("verdict.py", IN_PYTHON)?, script("verdict.mjs", IN_NODE)?);

    let wheel = wheel::make(&program, platform, &made, run)?;
    let empty = folder.join("python");
    command(run, Command::new("python3").args(["-m", "venv"]).arg(&empty))?;
    let mut pip = Command::new(empty.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    command(run, pip.arg(&wheel))?;
    let mut verdict = Command::new(empty.join("bin/python"));
    command(run, verdict.arg(&python).arg(empty.join("bin").join(FUZZ)))?;

    let node = Node::set_up(run)?;
    let npm = npm::make(&program, platform, &made, &node, run)?;
    let empty = folder.join("node");
    files::create(&empty)?;
    // Without it npm looks for a project above.
    files::write(&empty.join("package.json"), "{ \"private\": true }\n")?;
    let mut install = node.command("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund"]).current_dir(&empty);
    command(run, install.arg(&npm.platform).arg(&npm.main))?;
    let mut verdict = node.command("node");
    verdict.arg(&mjs).args(["npx", "--no-install", FUZZ]).current_dir(&empty);
    command(run, &mut verdict)?;

    if Command::new("dpkg-deb").arg("--version").output().is_ok() {
        let deb = debian::FUZZ.make(&program, Path::new(""), &made)?;
        let empty = folder.join("debian");
        files::create(&empty)?;
        command(run, Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&empty))?;
        let mut verdict = Command::new("python3");
        command(run, verdict.arg(&python).arg(empty.join("usr/bin").join(FUZZ)))?;
    } else {
        say("there is no dpkg-deb, so no Debian package is made");
    }

    let empty = folder.join("cargo");
    let mut install = cargo(&["install", "--locked", "--offline", "--debug", "--path", "fuzz"]);
    install.arg("--target-dir").arg(target()).arg("--root").arg(&empty);
    command(run, &mut install)?;
    let mut verdict = Command::new("python3");
    command(run, verdict.arg(&python).arg(empty.join("bin").join(FUZZ)))?;
    vectors::packages::check(&folder.join("vectors"), &node, run)?;
    // Each is tens of megabytes.
    Ok(remove(&folder)?)
}

/// Runs a command that has nothing to read, and says so if it fails.
pub(crate) fn command(run: Run<'_>, command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let mut owned = Command::new(command.get_program());
    owned.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => owned.env(name, value),
            None => owned.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        owned.current_dir(folder);
    }
    if run(owned) { Ok(()) } else { Err(format!("{shown} failed")) }
}
