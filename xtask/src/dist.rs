//! `cargo xtask dist`: what people install, in `target/dist`.
//!
//! The programs, their man pages and shell completions, and a Debian package of the server. The
//! files that a package has beside the program are in `packaging`, as they are installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use crate::Outcome;
use crate::files::{self, told};
use crate::process::{cargo, output, say, shown, target};
use crate::wasm::{self, Trouble};

/// Where a program with the feature `manual` writes its man pages and completions.
const MANUAL: &str = "SSE_MANUAL";

/// The programs: name, package, features that it needs.
const PROGRAMS: [(&str, &str, &str); 3] = [
    ("sse-server", "ssekit-server", ""),
    ("ssecat", "ssekit-client", "cli"),
    ("sse-fuzz", "ssekit-fuzz", ""),
];

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
    for (name, package, features) in PROGRAMS {
        let manual = dist.join("manual").join(name);
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
    let package = debian(&dist)?;
    say(&format!("{}", package.display()));
    say(&format!("programs, man pages and completions are in {}", dist.display()));
    Ok(ExitCode::SUCCESS)
}

fn build(profile: &str, name: &str, package: &str, features: &str) -> Result<(), String> {
    let mut build = cargo(&["build", "--locked", "--profile", profile, "--package", package]);
    build.args(["--bin", name, "--features", features]);
    succeed(&mut build)
}

fn built(profile: &str, name: &str) -> PathBuf {
    target().join(if profile == "dev" { "debug" } else { profile }).join(name)
}

/// Builds the package of the server from what lies in `dist`.
fn debian(dist: &Path) -> Result<PathBuf, String> {
    let root = dist.join("debian");
    let from = Path::new("packaging");
    let program = dist.join("sse-server");
    copy(&program, &root.join("usr/bin/sse-server"))?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-unneeded").arg(root.join("usr/bin/sse-server"));
    succeed(&mut strip)?;
    for (source, place) in [
        ("sse-server.toml", "etc/sse-server/sse-server.toml"),
        ("sse-server.service", "usr/lib/systemd/system/sse-server.service"),
        ("debian/copyright", "usr/share/doc/sse-server/copyright"),
        (
            "prometheus/sse-server.rules.yml",
            "usr/share/doc/sse-server/examples/sse-server.rules.yml",
        ),
        ("grafana/sse-server.json", "usr/share/doc/sse-server/examples/grafana.json"),
    ] {
        copy(&from.join(source), &root.join(place))?;
    }
    let manual = dist.join("manual/sse-server");
    for (source, place) in [
        ("sse-server.bash", "usr/share/bash-completion/completions/sse-server"),
        ("_sse-server", "usr/share/zsh/vendor-completions/_sse-server"),
        ("sse-server.fish", "usr/share/fish/vendor_completions.d/sse-server.fish"),
    ] {
        copy(&manual.join(source), &root.join(place))?;
    }
    for page in
        files::entries(&manual)?.iter().filter(|page| page.extension().is_some_and(|it| it == "1"))
    {
        let name = page.file_name().unwrap_or_default();
        let place = root.join("usr/share/man/man1").join(name);
        copy(page, &place)?;
        succeed(Command::new("gzip").arg("-9n").arg(&place))?;
    }
    let changes = root.join("usr/share/doc/sse-server/changelog");
    copy(Path::new("CHANGELOG.md"), &changes)?;
    succeed(Command::new("gzip").arg("-9n").arg(&changes))?;

    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?.stdout;
    let architecture = String::from_utf8_lossy(&architecture).trim().to_owned();
    let values = [
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
        ("@ARCHITECTURE@", architecture.clone()),
        ("@SIZE@", (size(&root)? / 1024).to_string()),
        ("@DEPENDS@", format!("libc6 (>= {}), libgcc-s1", c_library(&program)?)),
    ];
    let mut control = files::read(&from.join("debian/control"))?;
    for (name, value) in values {
        control = control.replace(name, &value);
    }
    files::create(&root.join("DEBIAN"))?;
    files::write(&root.join("DEBIAN/control"), control)?;
    for script in ["conffiles", "postinst", "postrm", "prerm"] {
        copy(&from.join("debian").join(script), &root.join("DEBIAN").join(script))?;
    }
    let package = dist.join(format!("sse-server_{}_{architecture}.deb", env!("CARGO_PKG_VERSION")));
    let mut modes = Command::new("chmod");
    succeed(modes.args(["-R", "u=rwX,go=rX"]).arg(&root))?;
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&root).arg(&package);
    succeed(build.stdout(Stdio::null()))?;
    remove(&root)?;
    Ok(package)
}

/// The oldest GNU C library that a program runs with: the newest whose symbols it asks for.
fn c_library(program: &Path) -> Result<String, String> {
    let bytes = told("read", program, fs::read(program))?;
    newest_symbols(&bytes)
        .map(|minor| format!("2.{minor}"))
        .ok_or_else(|| format!("{} asks for no GNU C library", program.display()))
}

fn newest_symbols(program: &[u8]) -> Option<u32> {
    let mark = b"GLIBC_2.";
    let minors = program.windows(mark.len()).enumerate().filter(|(_, window)| window == mark);
    let minors = minors.filter_map(|(at, _)| {
        let digits = program[at + mark.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        String::from_utf8(digits.copied().collect()).ok()?.parse().ok()
    });
    minors.max()
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} has failed: {status}")),
        Err(error) => Err(format!("cannot start {name}: {error}")),
    }
}

/// Copies a file into a folder that need not exist.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    files::create(to.parent().unwrap_or(Path::new(".")))?;
    files::copy(from, to)
}

fn remove(folder: &Path) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbols_decide_on_the_c_library() {
        let program = b"..GLIBC_2.2.5\0GLIBC_2.34\0x\0GLIBC_2.9\0GLIBC_PRIVATE\0GLIBC_2.";
        assert_eq!(newest_symbols(program), Some(34));
        assert_eq!(newest_symbols(b"GLIBC_"), None);
    }
}
