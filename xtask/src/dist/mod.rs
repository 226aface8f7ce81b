//! `cargo xtask dist`: what people install, in `target/dist`; `cargo xtask pack`: the packages of
//! `sse-fuzz` around a program that has been built, also for another platform.
//!
//! The programs, their man pages and shell completions, Debian packages, and `sse-fuzz` for pip and
//! npm. The files that a package has beside the program are in `packaging`, as they are installed.

mod debian;
pub(crate) mod installed;
mod npm;
mod platform;
pub(crate) mod wheel;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use self::platform::Platform;
use crate::files::{self, told};
use crate::node::Node;
use crate::process::{Run, cargo, say, shown, target};
use crate::wasm::{self, Trouble};
use crate::{Failure, Outcome};

/// The version of all.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a program with the feature `manual` writes its man pages and completions.
const MANUAL: &str = "SSE_MANUAL";

const FUZZ: &str = "sse-fuzz";

/// The programs: name, package, features that it needs.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("sse-server", "ssekit-server", ""),
    ("ssecat", "ssekit-client", "cli"),
    (FUZZ, "ssekit-fuzz", ""),
];

/// What each package has.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut profile = "release";
    while let Some(arg) = args.next()? {
        match arg {
            Long("dev") => profile = "dev",
            _ => return Err(arg.unexpected().into()),
        }
    }
    let dist = target().join("dist");
    remove(&dist)?;
    // The server has it in itself.
    wasm::build(&mut shown).map_err(Trouble::why)?;
    let manual = dist.join("manual");
    for (name, package, features) in PROGRAMS {
        let manual = manual.join(name);
        let built = built(profile, name);
        // First with what writes the manual, then as it is shipped.
        build(profile, name, package, &format!("manual {features}"))?;
        files::create(&manual)?;
        let mut program = Command::new(&built);
        // The settings of this machine must not get into the texts.
        program.env_clear().env(MANUAL, &manual).stdin(Stdio::null());
        succeed(&mut program)?;
        build(profile, name, package, features)?;
        copy(&built, &dist.join(name))?;
    }
    for package in [debian::SERVER, debian::FUZZ] {
        let name = package.name;
        let file = package.make(&dist.join(name), &manual.join(name), &dist)?;
        say(&format!("{}", file.display()));
    }
    packed(&dist.join(FUZZ), Platform::of(None)?, &dist, &mut shown)?;
    say(&format!("programs, man pages and completions are in {}", dist.display()));
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask pack PROGRAM [--target TRIPLE]`
pub(crate) fn pack(args: &mut lexopt::Parser) -> Outcome {
    let (mut program, mut triple) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("target") => triple = Some(args.value()?.string()?),
            Value(path) if program.is_none() => program = Some(PathBuf::from(path)),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let usage = || Failure::Usage("name the program `sse-fuzz` that has been built".to_owned());
    let platform = Platform::of(triple.as_deref()).map_err(Failure::Usage)?;
    let dist = target().join("dist");
    files::create(&dist)?;
    packed(&program.ok_or_else(usage)?, platform, &dist, &mut shown)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the wheel and the npm packages.
fn packed(program: &Path, platform: Platform, into: &Path, run: Run<'_>) -> Result<(), String> {
    let wheel = wheel::make(program, platform, into, run)?;
    let node = Node::set_up(run)?;
    let npm = npm::make(program, platform, into, &node, run)?;
    for file in [wheel, npm.platform, npm.main] {
        say(&format!("{}", file.display()));
    }
    Ok(())
}

fn build(profile: &str, name: &str, package: &str, features: &str) -> Result<(), String> {
    let mut build = cargo(&["build", "--locked", "--profile", profile, "--package", package]);
    build.args(["--bin", name, "--features", features]);
    succeed(&mut build)
}

fn built(profile: &str, name: &str) -> PathBuf {
    target().join(if profile == "dev" { "debug" } else { profile }).join(name)
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} has failed: {status}")),
        Err(error) => Err(format!("cannot start {name}: {error}")),
    }
}

/// Copies a program without what only debuggers read, if it is one of this system.
fn stripped(program: &Path, to: &Path) -> Result<(), String> {
    copy(program, to)?;
    let is_elf = told("read", program, fs::read(program))?.starts_with(b"\x7fELF");
    if !is_elf {
        return Ok(());
    }
    succeed(Command::new("strip").arg("--strip-unneeded").arg(to))
}

/// Copies a file into a folder that need not exist.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    files::create(to.parent().unwrap_or(Path::new(".")))?;
    files::copy(from, to)
}

/// The newest file in a folder whose name ends so.
pub(crate) fn made(folder: &Path, end: &str) -> Result<PathBuf, String> {
    let mut made = files::entries(folder)?;
    made.retain(|path| path.to_string_lossy().ends_with(end));
    made.sort_by_key(|path| path.metadata().and_then(|file| file.modified()).ok());
    made.pop().ok_or_else(|| format!("there is no {end} in {}", folder.display()))
}

pub(crate) fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => told("empty", folder, Err(error)),
        _ => Ok(()),
    }
}

/// How many bytes the files of a folder have.
fn size(folder: &Path) -> Result<u64, String> {
    files::entries(folder)?.iter().try_fold(0, |sum, path| {
        if path.is_dir() {
            return Ok(sum + size(path)?);
        }
        Ok(sum + told("look at", path, path.metadata())?.len())
    })
}
