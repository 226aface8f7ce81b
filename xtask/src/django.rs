//! Django with django-eventstream, in a Python of its own: for the test that runs a site of it
//! beside the server, and to be probed. It is kept in the target folder, for it takes a while to
//! get.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Run, target};
use crate::python;
use crate::tool::Tool;

/// The variable by which tests find its Python.
pub(crate) const VARIABLE: &str = "SSE_TEST_DJANGO";

/// What answers readers. What reports say of it, they say of exactly these versions.
const SERVER: [(&str, &str); 3] =
    [("django-eventstream", "5.3.4"), ("daphne", "4.2.3"), ("Django", "5.2.19")];

/// What the test needs besides.
const TEST: [(&str, &str); 3] =
    [("psycopg", "3.3.9"), ("psycopg-binary", "3.3.9"), ("redis", "8.1.0")];

fn folder() -> PathBuf {
    let folder = target().join("django");
    std::path::absolute(&folder).unwrap_or(folder)
}

/// The Python that has it all, once it is set up.
pub(crate) fn python() -> PathBuf {
    folder().join("bin/python")
}

/// That Python, set up first if there is none.
pub(crate) fn set_up(run: Run<'_>) -> Result<PathBuf, String> {
    let folder = folder();
    let python = python();
    let packages = SERVER.iter().chain(&TEST);
    let wanted: Vec<_> = packages.map(|(name, version)| format!("{name}=={version}")).collect();
    let tool = Tool::new(&folder, &wanted.join("\n"))?;
    if !tool.is_kept(|_| starts(&python)) {
        python::install(&tool, &wanted, run)?;
        tool.finish("")?;
    }
    Ok(python)
}

/// A newer Python of the system's does not have what was installed for the one before.
fn starts(python: &Path) -> Result<(), String> {
    let mut import = Command::new(python);
    import.args(["-c", "import daphne, django, psycopg, redis"]);
    import.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let starts = import.status().is_ok_and(|status| status.success());
    if starts { Ok(()) } else { Err("it does not start".to_owned()) }
}
