//! The compiler that Debian ships for building browsers with, unpacked into a folder of ours
//! without being installed. Its standard library is built for the target once, as Rust's own build
//! does it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{TARGET, Trouble, says, version};
use crate::apt::Archive;
use crate::files::{self, told};
use crate::process::{Run, cargo, workspace};
use crate::tool::Tool;

/// Change it with the way of making the compiler: then older ones are made anew.
const WAY: &str = "a compiler for wasm32, made the second way";

/// Unpacks the compiler and builds its library, unless it is kept.
pub(super) fn set_up(folder: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let tool = Tool::new(folder, WAY)?;
    let prefix = tool.folder();
    let oldest = oldest()?;
    let works = |unpacked: &str| {
        let version = version(&prefix.join("rustc").into())?;
        if !unpacked.contains(&format!("rustc {version}\n")) {
            return Err(format!("its rustc is {version} now"));
        }
        new_enough(&version, &oldest)
    };
    if !tool.is_kept(works) {
        tool.begin()?;
        let unpacked = unpack(prefix, &oldest, run)?;
        let path = wrap_compiler(prefix)?;
        wrap_linker(prefix, &path)?;
        let version = version(&prefix.join("rustc").into())?;
        build_std(prefix, run)?;
        tool.finish(&format!("{}\nrustc {version}\n", unpacked.join("\n")))?;
    }
    Ok(prefix.into())
}

/// Unpacks a compiler of this version for this machine alone, without its linker and source, unless
/// it is kept.
pub(crate) fn of_version(version: &str, folder: &Path, run: Run<'_>) -> Result<PathBuf, Trouble> {
    let tool = Tool::new(folder, &format!("Debian's rustc {version}, for this machine"))?;
    let prefix = tool.folder();
    let works = |_: &str| super::version(&prefix.join("rustc").into()).map(drop);
    if !tool.is_kept(works) {
        tool.begin()?;
        let archive = Archive::look(&prefix.join("lists"), run)?;
        let mut packages = packages(&archive, Some(version)).map_err(Trouble::Missing)?;
        packages.retain(|name| !name.starts_with("rust-web-src") && !name.starts_with("lld"));
        archive.unpack(&packages, &[], prefix, run)?;
        let _ = fs::remove_dir_all(prefix.join("lists"));
        wrap_compiler(prefix)?;
        tool.finish(&packages.join("\n"))?;
    }
    Ok(prefix.into())
}

/// Lets a command use it.
pub(crate) fn hand_to(prefix: &Path, command: &mut Command) {
    command.env("RUSTC", prefix.join("rustc")).env("RUSTDOC", prefix.join("rustdoc"));
    // These are meant for rustup's compiler.
    for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
}

/// The oldest compiler that the crate says it builds with.
fn oldest() -> Result<String, String> {
    let read = |path: &str| {
        let path = workspace().join(path);
        files::read(&path)
    };
    let found = |manifest: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""));
        line.and_then(|line| line.split('"').next()).map(str::to_owned)
    };
    let own = found(&read("sse-client-wasm/Cargo.toml")?);
    let workspace = || Ok::<_, String>(found(&read("Cargo.toml")?));
    let oldest = if own.is_some() { own } else { workspace()? };
    oldest.ok_or_else(|| "sse-client-wasm/Cargo.toml has no rust-version".to_owned())
}

/// `version` may be Debian's: `1.85.0+dfsg3-1~deb12u3`.
fn new_enough(version: &str, oldest: &str) -> Result<(), String> {
    let numbers = |text: &str| -> Vec<u32> {
        let numbers = text.split(|c: char| !c.is_ascii_digit()).map_while(|word| word.parse().ok());
        numbers.take(2).collect()
    };
    if numbers(version) >= numbers(oldest) {
        return Ok(());
    }
    Err(format!("Debian's rustc is {version}, and {oldest} is needed"))
}

/// Unpacks the compiler, its libraries, the linker, and of the source what the standard library is
/// made of. Returns what was unpacked, with versions.
fn unpack(prefix: &Path, oldest: &str, run: Run<'_>) -> Result<Vec<String>, String> {
    let archive = Archive::look(&prefix.join("lists"), run)?;
    let packages = packages(&archive, None)?;
    let version = packages[0].split_once('=').map_or("", |(_, version)| version);
    new_enough(version, oldest)?;
    let library = ["./usr/src/*/library", "./usr/lib/rustlib/src"];
    archive.unpack(&packages, &[("rust-web-src", &library)], prefix, run)?;
    let _ = fs::remove_dir_all(prefix.join("lists"));
    Ok(packages)
}

/// The packages, each with its version; the compiler is the newest, or the newest whose version
/// begins so.
fn packages(archive: &Archive, version: Option<&str>) -> Result<Vec<String>, String> {
    let compiler = archive.package("rustc-web", version)?;
    // These four are made of one source, and fit only each other.
    let same = |name: &str| archive.package(name, Some(&compiler.version));
    let library = same(&compiler.depends_on("libstd-rust-web-dev")?)?;
    let shared = same(&library.depends_on("libstd-rust-web-")?)?;
    let llvm = archive.package(&shared.depends_on("libllvm")?, None)?;
    let number: String = llvm.name.chars().filter(char::is_ascii_digit).collect();
    let linker = archive.package(&format!("lld-{number}"), None)?;
    let mut packages = vec![compiler.exactly(), library.exactly(), shared.exactly()];
    packages.extend([same("rust-web-src")?.exactly(), llvm.exactly(), linker.exactly()]);
    // clang's linker has parts of its own.
    if let Ok(own) = linker.depends_on("libllvm").and_then(|own| archive.package(&own, None))
        && !packages.contains(&own.exactly())
    {
        packages.push(own.exactly());
    }
    Ok(packages)
}

/// The programs that run the compiler, which does not know where its libraries are. Returns where
/// they are.
fn wrap_compiler(prefix: &Path) -> Result<OsString, String> {
    let usr = prefix.join("usr");
    let lib = usr.join("lib");
    let mut folders = vec![lib.clone()];
    for entry in files::entries(&lib)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with("-linux-gnu") || name.starts_with("llvm-") {
            folders.extend([entry.clone(), entry.join("lib")]);
        }
    }
    let path = env::join_paths(&folders).map_err(|error| error.to_string())?;
    for name in ["rustc", "rustdoc"] {
        wrap(&usr.join("bin").join(name), &path, &prefix.join(name))?;
    }
    Ok(path)
}

/// The linker, where the compiler looks for it.
fn wrap_linker(prefix: &Path, path: &OsStr) -> Result<(), String> {
    let lib = prefix.join("usr/lib");
    let bin = lib.join("rustlib").join(host(prefix)?).join("bin");
    files::create(&bin)?;
    let linker = linker(&lib)?;
    // Its name tells lld which linker to be.
    for (name, own) in [("rust-lld", "lld"), ("wasm-ld", "wasm-ld")] {
        let _ = fs::remove_file(bin.join(name));
        wrap(&linker.with_file_name(own), path, &bin.join(name))?;
    }
    Ok(())
}

/// Writes a script that runs a program with its libraries.
fn wrap(program: &Path, libraries: &OsStr, script: &Path) -> Result<(), String> {
    let text = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        libraries.to_string_lossy(),
        program.display()
    );
    files::write(script, text)?;
    told("change", script, fs::set_permissions(script, fs::Permissions::from_mode(0o755)))
}

/// lld, in the folder of the LLVM that was unpacked.
fn linker(lib: &Path) -> Result<PathBuf, String> {
    let found = files::entries(lib)?.into_iter().map(|entry| entry.join("bin/lld")).find(|lld| {
        // `lld` is a link to where the package would be installed.
        lld.symlink_metadata().is_ok()
    });
    found.ok_or_else(|| "the package of lld has no linker".to_owned())
}

fn host(prefix: &Path) -> Result<String, String> {
    says(&prefix.join("rustc").into(), "host")
}

/// Builds the standard library for the target, as Rust's own build does it.
fn build_std(prefix: &Path, run: Run<'_>) -> Result<(), String> {
    let lib = prefix.join("usr/lib");
    let source = lib.join("rustlib/src");
    let sources = prefix.join("usr/src");
    let folder = files::entries(&sources)?
        .into_iter()
        .find(|path| path.join("library").is_dir())
        .ok_or("the package of the source has no library")?;
    // The link that the package has leads to where it would be installed.
    let _ = fs::remove_dir_all(&source);
    let _ = fs::remove_file(&source);
    files::create(&source)?;
    told("link", &source, symlink(&folder, source.join("rust")))?;
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
    files::create(&to)?;
    let from = output.join(TARGET).join("release/deps");
    for file in files::entries(&from)? {
        if file.extension().is_some_and(|extension| extension == "rlib") {
            let name = file.file_name().unwrap_or_default();
            files::copy(&file, &to.join(name))?;
        }
    }
    let _ = fs::remove_dir_all(&output);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_that_is_too_old_is_not_unpacked() {
        assert_eq!(new_enough("1.96.0+dfsg1-1~deb12u2", "1.85"), Ok(()));
        assert_eq!(new_enough("1.85.0+dfsg3-1~deb12u3", "1.85"), Ok(()));
        assert_eq!(new_enough("1.100.0", "1.95"), Ok(()), "numbers, not text");
        assert_eq!(new_enough("2.0.0", "1.95"), Ok(()));
        let too_old = new_enough("1.78.0+dfsg1-2~deb12u3", "1.85").expect_err("older");
        assert!(too_old.contains("1.85 is needed"), "{too_old}");
    }

    #[test]
    fn the_crate_says_how_old_a_compiler_may_be() {
        let oldest = oldest().expect("in the manifest");
        assert!(new_enough(&oldest, "1.85").is_ok(), "{oldest}");
    }
}
