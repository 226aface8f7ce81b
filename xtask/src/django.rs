//! Django with django-eventstream, for the test that runs a site of it beside the server. It is kept in the
//! target folder, for it takes a while to get.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::target;
use crate::setup::{apt_get, may_install};

/// What the test finds its Python by.
pub(crate) const VARIABLE: &str = "SSE_TEST_DJANGO";

/// What is said of Django is said of exactly these versions.
const PACKAGES: [&str; 4] =
    ["Django==5.2.19", "django-eventstream==5.3.4", "redis==8.1.0", "uvicorn==0.54.0"];

/// The Python that has it, set up first if there is none.
pub(crate) fn set_up(run: &mut dyn FnMut(Command) -> bool) -> Result<PathBuf, String> {
    let target = env::current_dir().unwrap_or_default().join(target());
    let folder = target.join("django");
    let python = folder.join("bin/python");
    let (stamp, wanted) = (folder.join("packages"), PACKAGES.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && starts(&python) {
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
            && apt_get(run, &["--no-install-recommends", "python3-venv"])
            && venv(run));
    if !made {
        return Err("there is no Python that can make virtual environments; get it with\n    \
             apt-get install python3-venv       Debian, Ubuntu (as root)\n    \
             dnf install python3                Fedora\n    \
             apk add python3                    Alpine\n    \
             pacman -S python                   Arch\n\
             `cargo xtask test --no-services` runs everything else"
            .to_owned());
    }
    let mut pip = command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    if !run(pip) {
        return Err("pip could not get Django, which a test runs beside the server; \
             `cargo xtask test --no-services` does without"
            .to_owned());
    }
    fs::write(&stamp, wanted)
        .map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
    Ok(python)
}

fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.stdin(Stdio::null());
    command
}

fn starts(python: &Path) -> bool {
    let mut import = command(python);
    import.args(["-c", "import django_eventstream, redis, uvicorn"]);
    import.stdout(Stdio::null()).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success())
}
