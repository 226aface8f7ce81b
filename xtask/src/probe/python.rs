//! django-eventstream, in a Python of its own below `target`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::servers::{Run, packages};
use crate::process::target;

/// What is said of it is said of exactly these.
const PACKAGES: [(&str, &str); 3] =
    [("django-eventstream", "5.3.4"), ("daphne", "4.2.3"), ("Django", "5.2.19")];

fn folder() -> PathBuf {
    let folder = target().join("probe/python");
    std::path::absolute(&folder).unwrap_or(folder)
}

/// A program that the packages bring.
pub(super) fn program(name: &str) -> PathBuf {
    folder().join("bin").join(name)
}

pub(super) fn versions() -> String {
    PACKAGES.map(|(name, version)| format!("{name} {version}")).join(", ")
}

pub(super) fn set_up(run: Run<'_>) -> Result<(), String> {
    let done = folder().join("complete");
    if fs::read_to_string(&done).is_ok_and(|text| text == versions()) {
        return Ok(());
    }
    // What is left of a try that was cut short, or of other versions.
    let _ = fs::remove_dir_all(folder());
    let has_venv = || {
        let mut python = Command::new("python3");
        python.args(["-c", "import ensurepip, venv"]).stdin(Stdio::null()).stderr(Stdio::null());
        python.status().is_ok_and(|status| status.success())
    };
    packages(run, has_venv, &["python3", "python3-venv"])?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(folder()).stdin(Stdio::null());
    let mut pip = Command::new(program("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]).stdin(Stdio::null());
    pip.args(PACKAGES.map(|(name, version)| format!("{name}=={version}")));
    if !(run(venv) && run(pip)) {
        return Err("pip cannot install it".to_owned());
    }
    fs::write(&done, versions())
        .map_err(|error| format!("cannot write {}: {error}", done.display()))
}
