//! Packages of Python in a virtual environment: Django for a test, and Node where the system's is
//! missing or too old.

use std::process::{Command, Stdio};

use crate::apt;
use crate::process::Run;
use crate::tool::Tool;

/// Makes the environment in the tool's folder, with these packages in it. It is not finished yet.
pub(crate) fn install(tool: &Tool, packages: &[String], run: Run<'_>) -> Result<(), String> {
    let venv = |run: Run<'_>| {
        tool.begin()?;
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(tool.folder()).stdin(Stdio::null());
        Ok::<_, String>(run(venv))
    };
    let python = ["--no-install-recommends", "python3", "python3-venv"];
    let made = venv(run)? || (apt::install(run, &python) && venv(run)?);
    if !made {
        return Err("no Python here can make virtual environments; get one with\n    \
             apt-get install python3-venv       Debian, Ubuntu (as root)\n    \
             dnf install python3                Fedora\n    \
             apk add python3                    Alpine\n    \
             pacman -S python                   Arch"
            .to_owned());
    }
    let mut pip = Command::new(tool.folder().join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(packages).stdin(Stdio::null());
    if !run(pip) {
        return Err(format!("pip cannot get {}", packages.join(", ")));
    }
    Ok(())
}
