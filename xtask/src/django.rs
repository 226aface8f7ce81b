//! Django with django-eventstream, in a Python of its own: for the test that runs a site of it beside the
//! server, and to be probed. It is kept in the target folder, for it takes a while to get.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::target;
use crate::setup::{apt_get, may_install};

/// What the test finds its Python by.
pub(crate) const VARIABLE: &str = "SSE_TEST_DJANGO";

/// What answers readers, and is named in reports. What is said of it is said of exactly these versions.
const SERVER: [(&str, &str); 3] =
    [("django-eventstream", "5.3.4"), ("daphne", "4.2.3"), ("Django", "5.2.19")];

/// What the test needs beside.
const TEST: [(&str, &str); 2] = [("redis", "8.1.0"), ("uvicorn", "0.54.0")];

fn folder() -> PathBuf {
    let folder = target().join("django");
    std::path::absolute(&folder).unwrap_or(folder)
}

/// A program that the packages bring.
pub(crate) fn program(name: &str) -> PathBuf {
    folder().join("bin").join(name)
}

/// What answers readers, with versions.
pub(crate) fn versions() -> String {
    SERVER.map(|(name, version)| format!("{name} {version}")).join(", ")
}

/// The Python that has it all, set up first if there is none.
pub(crate) fn set_up(run: &mut dyn FnMut(Command) -> bool) -> Result<PathBuf, String> {
    let folder = folder();
    let python = program("python");
    let packages = SERVER.iter().chain(&TEST);
    let wanted: Vec<_> = packages.map(|(name, version)| format!("{name}=={version}")).collect();
    let (stamp, stamped) = (folder.join("packages"), wanted.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == stamped) && starts(&python) {
        return Ok(python);
    }
    // The remains of an attempt, or older versions.
    let _ = fs::remove_dir_all(&folder);
    let venv = |run: &mut dyn FnMut(Command) -> bool| {
        let mut venv = command("python3");
        venv.args(["-m", "venv"]).arg(&folder);
        run(venv)
    };
    let made = venv(run)
        || (may_install()
            && apt_get(run, &["--no-install-recommends", "python3", "python3-venv"])
            && venv(run));
    if !made {
        return Err("there is no Python that can make virtual environments; get it with\n    \
             apt-get install python3-venv       Debian, Ubuntu (as root)\n    \
             dnf install python3                Fedora\n    \
             apk add python3                    Alpine\n    \
             pacman -S python                   Arch"
            .to_owned());
    }
    let mut pip = command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(&wanted);
    if !run(pip) {
        return Err("pip could not get django-eventstream".to_owned());
    }
    fs::write(&stamp, stamped)
        .map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
    Ok(python)
}

fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.stdin(Stdio::null());
    command
}

/// A newer Python of the system's does not have what was installed for the one before.
fn starts(python: &Path) -> bool {
    let mut import = command(python);
    import.args(["-c", "import daphne, django_eventstream, redis, uvicorn"]);
    import.stdout(Stdio::null()).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success())
}
