//! A Rust compiler for `wasm32-unknown-unknown`, and the folder that it is kept in.
//!
//! Where rustup is, it gets the target. Machines with nothing but package registries take the compiler
//! that Debian ships for browsers: it is unpacked into a folder of ours, without being installed, and
//! its standard library is built for the target once, as Rust's own build does it.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::cargo;

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Which way is taken: `auto` (the default), `rustup` or `debian`.
const VARIABLE: &str = "SSE_WASM_TOOLCHAIN";

/// Runs a command and shows what it prints.
type Run<'r> = &'r mut dyn FnMut(Command) -> bool;

/// What a build for the target needs to be told.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The folder of Debian's compiler; `None`: the one that builds everything else.
    debian: Option<PathBuf>,
}

impl Toolchain {
    /// Finds it, or gets it. `folder` is where Debian's is kept.
    pub(crate) fn set_up(folder: &Path, run: Run<'_>) -> Result<Self, String> {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("" | "auto") => {
                if host_has_target() || by_rustup(run).is_ok() {
                    return Ok(Self { debian: None });
                }
                let why = "neither rustup nor Debian's packages give a Rust compiler for it";
                Self::debian(folder, run).map_err(|error| format!("{TARGET}: {why}: {error}"))
            }
            Ok("rustup") => {
                if !host_has_target() {
                    by_rustup(run)?;
                }
                Ok(Self { debian: None })
            }
            Ok("debian") => Self::debian(folder, run),
            Ok(other) => Err(format!("{VARIABLE} is {other:?}; it may be auto, rustup or debian")),
        }
    }

    fn debian(folder: &Path, run: Run<'_>) -> Result<Self, String> {
        let prefix = absolute(folder)?;
        let done = prefix.join("complete");
        if !done.is_file() {
            // What is left of a try that was cut short.
            let _ = fs::remove_dir_all(&prefix);
            unpack(&prefix, run)?;
            wrap(&prefix)?;
            build_std(&prefix, run)?;
            fs::write(&done, "").map_err(|error| cannot("write", &done, &error))?;
        }
        Ok(Self { debian: Some(prefix) })
    }

    /// cargo with this compiler. It must have a target folder of its own: two compilers must not share
    /// one.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo(args);
        if let Some(prefix) = &self.debian {
            hand_to(prefix, &mut command);
        }
        command
    }
}

fn hand_to(prefix: &Path, command: &mut Command) {
    command.env("RUSTC", prefix.join("rustc")).env("RUSTDOC", prefix.join("rustdoc"));
    // Of rustup's compiler, and of whoever runs this.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
}

/// Whether the compiler that builds everything else has the target's libraries.
fn host_has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    libraries.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&folder).is_dir()
    })
}

fn by_rustup(run: Run<'_>) -> Result<(), String> {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).stdin(Stdio::null());
    if run(rustup) && host_has_target() {
        return Ok(());
    }
    Err(format!(
        "rustup cannot add the target {TARGET}; if it is not to be had, {VARIABLE}=debian takes \
         Debian's compiler"
    ))
}

/// The packages, unpacked into the prefix: the compiler, its libraries, the linker, and of the source
/// what the standard library is made of.
fn unpack(prefix: &Path, run: Run<'_>) -> Result<(), String> {
    let archives = prefix.join("archives");
    fs::create_dir_all(&archives).map_err(|error| cannot("create", &archives, &error))?;
    let mut packages = packages().or_else(|_| {
        run(apt_get(&["update"]));
        packages()
    })?;
    // An old list names what is gone; a new one may name another version.
    if !download(&packages, &archives, run) {
        run(apt_get(&["update"]));
        packages = self::packages()?;
        if !download(&packages, &archives, run) {
            return Err(format!("cannot download {}", packages.join(", ")));
        }
    }
    let files = fs::read_dir(&archives).map_err(|error| cannot("read", &archives, &error))?;
    for file in files.flatten() {
        let file = file.path();
        let script = if file.to_string_lossy().contains("rust-web-src") {
            "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --wildcards \
             './usr/src/*/library' './usr/lib/rustlib/src'"
        } else {
            "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\""
        };
        let mut sh = Command::new("sh");
        sh.args(["-c", script, "sh"]).arg(&file).arg(prefix).stdin(Stdio::null());
        if !run(sh) {
            return Err(format!("cannot unpack {}", file.display()));
        }
    }
    let _ = fs::remove_dir_all(&archives);
    Ok(())
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn download(packages: &[String], folder: &Path, run: Run<'_>) -> bool {
    let mut command = apt_get(&["download"]);
    command.args(packages).current_dir(folder);
    run(command)
}

/// The names of the packages, with the version of those that must have the same one.
fn packages() -> Result<Vec<String>, String> {
    let compiler = Fields::of("rustc-web")?;
    let library = compiler.depends("libstd-rust-web-dev")?;
    let version = library.split_once("(= ").map_or("", |(_, rest)| rest.trim_end_matches(')'));
    let library = Fields::of("libstd-rust-web-dev")?;
    let shared = library.name("libstd-rust-web-")?;
    let llvm = Fields::of(&shared)?.name("libllvm")?;
    let number: String = llvm.chars().filter(char::is_ascii_digit).collect();
    let mut packages: Vec<_> = ["rust-web-src", "rustc-web", "libstd-rust-web-dev", &shared]
        .map(|name| if version.is_empty() { name.into() } else { format!("{name}={version}") })
        .into();
    packages.extend([llvm, format!("lld-{number}")]);
    // clang's linker has parts of its own.
    if let Ok(own) = Fields::of(&format!("lld-{number}")).and_then(|lld| lld.name("libllvm"))
        && !packages.contains(&own)
    {
        packages.push(own);
    }
    Ok(packages)
}

/// What a package says of itself.
struct Fields {
    package: String,
    depends: String,
}

impl Fields {
    fn of(package: &str) -> Result<Self, String> {
        let output =
            Command::new("apt-cache").args(["show", "--no-all-versions", package]).output();
        let output = output.map_err(|error| format!("cannot start apt-cache: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "));
        let depends = depends.ok_or_else(|| format!("apt knows no package {package}"))?.to_owned();
        Ok(Self { package: package.to_owned(), depends })
    }

    /// What it depends on, with the version, where the name begins with this.
    fn depends(&self, prefix: &str) -> Result<&str, String> {
        let mut all = self.depends.split([',', '|']).map(str::trim);
        let found = all.find(|name| name.starts_with(prefix) && *name != self.package);
        found.ok_or_else(|| format!("the package {} does not depend on {prefix}", self.package))
    }

    fn name(&self, prefix: &str) -> Result<String, String> {
        self.depends(prefix).map(|name| name.split([' ', ':']).next().unwrap_or(name).to_owned())
    }
}

/// The programs that run the compiler, which does not know where its libraries are, and the linker
/// where it is looked for.
fn wrap(prefix: &Path) -> Result<(), String> {
    let usr = prefix.join("usr");
    let lib = usr.join("lib");
    let mut folders = vec![lib.clone()];
    let entries = fs::read_dir(&lib).map_err(|error| cannot("read", &lib, &error))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with("-linux-gnu") || name.starts_with("llvm-") {
            folders.extend([entry.path(), entry.path().join("lib")]);
        }
    }
    let path = env::join_paths(&folders).map_err(|error| error.to_string())?;
    for name in ["rustc", "rustdoc"] {
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
            path.to_string_lossy(),
            usr.join("bin").join(name).display()
        );
        let file = prefix.join(name);
        fs::write(&file, script).map_err(|error| cannot("write", &file, &error))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .map_err(|error| cannot("change", &file, &error))?;
    }
    let bin = lib.join("rustlib").join(host(prefix)?).join("bin");
    fs::create_dir_all(&bin).map_err(|error| cannot("create", &bin, &error))?;
    let linker = linker(&lib)?;
    for name in ["rust-lld", "wasm-ld"] {
        // It knows by its name which linker it is to be.
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
            path.to_string_lossy(),
            linker.with_file_name(if name == "wasm-ld" { "wasm-ld" } else { "lld" }).display()
        );
        let file = bin.join(name);
        let _ = fs::remove_file(&file);
        fs::write(&file, script).map_err(|error| cannot("write", &file, &error))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .map_err(|error| cannot("change", &file, &error))?;
    }
    Ok(())
}

/// lld, in the folder of the LLVM that was unpacked.
fn linker(lib: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(lib).map_err(|error| cannot("read", lib, &error))?;
    let found = entries.flatten().map(|entry| entry.path().join("bin/lld")).find(|lld| {
        // `lld` is a link to where the package would be installed.
        lld.symlink_metadata().is_ok()
    });
    found.ok_or_else(|| "the package of lld has no linker".to_owned())
}

fn host(prefix: &Path) -> Result<String, String> {
    let mut rustc = Command::new(prefix.join("rustc"));
    let output =
        rustc.arg("-vV").output().map_err(|error| format!("cannot start rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| format!("rustc does not run: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Builds the standard library for the target, as Rust's own build does it.
fn build_std(prefix: &Path, run: Run<'_>) -> Result<(), String> {
    let lib = prefix.join("usr/lib");
    let source = lib.join("rustlib/src");
    let sources = prefix.join("usr/src");
    let folder = fs::read_dir(&sources)
        .map_err(|error| cannot("read", &sources, &error))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.join("library").is_dir())
        .ok_or("the package of the source has no library")?;
    // The link that the package has leads to where it would be installed.
    let _ = fs::remove_dir_all(&source);
    let _ = fs::remove_file(&source);
    fs::create_dir_all(&source).map_err(|error| cannot("create", &source, &error))?;
    symlink(&folder, source.join("rust")).map_err(|error| cannot("link", &source, &error))?;
    let manifest = folder.join("library/sysroot/Cargo.toml");
    let output = prefix.join("std");
    let mut build = cargo(&[
        "build",
        "--release",
        "--locked",
        "--target",
        TARGET,
        "--no-default-features",
        "--features",
        "panic-unwind,backtrace",
    ]);
    build.arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(&output);
    hand_to(prefix, &mut build);
    build
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "wasm-sysroot")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked -Cembed-bitcode=yes")
        .current_dir(&folder);
    if !run(build) {
        return Err("the standard library cannot be built for the target".to_owned());
    }
    let to = lib.join("rustlib").join(TARGET).join("lib");
    fs::create_dir_all(&to).map_err(|error| cannot("create", &to, &error))?;
    let from = output.join(TARGET).join("release/deps");
    let files = fs::read_dir(&from).map_err(|error| cannot("read", &from, &error))?;
    for file in files.flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == "rlib") {
            let name = file.file_name().unwrap_or_default();
            fs::copy(&file, to.join(name)).map_err(|error| cannot("copy", &file, &error))?;
        }
    }
    let _ = fs::remove_dir_all(&output);
    Ok(())
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| cannot("find", path, &error))
}

pub(crate) fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
