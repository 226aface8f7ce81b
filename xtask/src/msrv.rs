//! The oldest Rust that the crates which others build on say they need: a real one builds them and
//! runs their unit tests.
//!
//! rustup's is taken if it is installed, else the one that Debian ships for browsers, unpacked into
//! a folder of ours. Without either, the step is skipped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files;
use crate::process::{Run, cargo, say, target, workspace};
use crate::wasm::Trouble;
use crate::wasm::toolchain::debian;

/// Their folders and packages.
const CRATES: [(&str, &str); 3] = [
    ("sse-proto", "ssekit-proto"),
    ("sse-client", "ssekit-client"),
    ("sse-client-wasm", "sse-client-wasm"),
];

/// Not `cli`: the program and what it is made of may need more.
const FEATURES: &str = "ssekit-client/blocking,ssekit-client/gzip,ssekit-client/http2,\
                        ssekit-client/hyper-rustls,ssekit-client/json,ssekit-client/tower";

/// Leaves out the tools that only other tests need: see sse-client-wasm/Cargo.toml.
const UNIT_TESTS_ONLY: &str = "--cfg unit_tests_only";

/// Builds the crates, and runs their unit tests.
pub(crate) fn check(run: Run<'_>) -> Result<(), Trouble> {
    let oldest = oldest()?;
    // Two compilers must not share a target folder.
    let folder = target().join("msrv");
    let rustc = match by_rustup(&oldest) {
        Some(rustc) => rustc,
        None => debian::of_version(&oldest, &folder.join("toolchain"), run)
            .map_err(|trouble| without(&oldest, trouble))?
            .join("rustc"),
    };
    say(&format!("with {}", rustc.display()));
    let mut ours = vec!["--lib", "--locked", "--features", FEATURES];
    ours.extend(CRATES.iter().flat_map(|(_, package)| ["-p", package]));
    let no_std = ["--lib", "--locked", "--no-default-features", "-p", "ssekit-proto"];
    for (command, args) in [("build", &no_std[..]), ("test", &ours)] {
        let mut cargo = cargo(&[&[command], args].concat());
        cargo.arg("--target-dir").arg(folder.join("build")).env("RUSTC", &rustc);
        for name in ["RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"] {
            cargo.env_remove(name);
        }
        cargo.env("RUSTFLAGS", UNIT_TESTS_ONLY).env("CARGO_PROFILE_DEV_DEBUG", "0");
        if !run(cargo) {
            return Err(format!(
                "our libraries need more than Rust {oldest}. If a dependency does, lock an older one: \
                 cargo update NAME --precise VERSION"
            )
            .into());
        }
    }
    Ok(())
}

/// The message if there is no such compiler.
fn without(oldest: &str, trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Missing(why) => Trouble::Missing(format!(
            "there is no Rust {oldest} ({why}); get it by `rustup toolchain install {oldest} --profile minimal`"
        )),
        failed @ Trouble::Failed(_) => failed,
    }
}

/// What the crates say.
fn oldest() -> Result<String, String> {
    let mut all = Vec::new();
    for (folder, _) in CRATES {
        let path = workspace().join(folder).join("Cargo.toml");
        let manifest = files::read(&path)?;
        all.push(rust_version(&manifest).map(str::to_owned));
    }
    match all.first() {
        Some(Some(first)) if all.iter().all(|one| one.as_ref() == Some(first)) => Ok(first.clone()),
        _ => Err(format!("they do not all say the same rust-version: {all:?}")),
    }
}

fn rust_version(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \""))?;
    line.strip_suffix('"')
}

/// rustup's compiler of this version, if it is installed.
fn by_rustup(version: &str) -> Option<PathBuf> {
    let mut rustup = Command::new("rustup");
    rustup.args(["run", version, "rustc", "--print", "sysroot"]).stdin(Stdio::null());
    let output = rustup.output().ok().filter(|output| output.status.success())?;
    let sysroot = String::from_utf8_lossy(&output.stdout);
    Some(Path::new(sysroot.trim()).join("bin/rustc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_build_on_agrees_about_the_oldest_rust() {
        assert_eq!(oldest().as_deref(), Ok("1.85"));
    }

    #[test]
    fn an_inherited_version_is_none_of_its_own() {
        assert_eq!(rust_version("[package]\nrust-version = \"1.85\"\n"), Some("1.85"));
        assert_eq!(rust_version("[package]\nrust-version.workspace = true\n"), None);
    }

    #[test]
    fn who_has_no_such_compiler_is_told_how_to_get_it() {
        let Trouble::Missing(why) = without("1.85", Trouble::Missing("no apt".to_owned())) else {
            panic!("it is no failure");
        };
        assert!(why.contains("no apt") && why.contains("rustup toolchain install 1.85"), "{why}");
    }
}
