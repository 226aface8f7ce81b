//! What has to be on the machine, and how it gets there.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::cargo;

/// rustfmt and clippy, which rustup calls components.
pub(crate) fn components() -> Result<(), String> {
    let present =
        |name| cargo(&[name, "--version"]).output().is_ok_and(|output| output.status.success());
    if present("fmt") && present("clippy") {
        return Ok(());
    }
    Err("cargo fmt or cargo clippy is missing; get them with\n    rustup component add rustfmt clippy".to_owned())
}

/// A C compiler, which the server's database is built with. It is installed if that can be done without asking.
/// `run` runs a command and shows what it prints.
pub(crate) fn c_compiler(run: &mut dyn FnMut(Command) -> bool) -> Result<(), String> {
    if compiles_c() {
        return Ok(());
    }
    if is_root() && Path::new("/etc/debian_version").exists() && apt_get(run) && compiles_c() {
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

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Another apt may be at work; it is waited for.
const LOCK: &str = "DPkg::Lock::Timeout=300";

fn apt_get(run: &mut dyn FnMut(Command) -> bool) -> bool {
    let mut apt_get = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        run(command)
    };
    let install = ["install", "-y", "-o", LOCK, "gcc", "libc6-dev"];
    // A fresh container has no lists, and old lists name packages that are gone.
    apt_get(&install) || (apt_get(&["update", "-o", LOCK]) && apt_get(&install))
}
