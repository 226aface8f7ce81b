//! A Rust compiler for `wasm32-unknown-unknown`.
//!
//! Where rustup is, it gets the target. Machines with nothing but package registries take the
//! compiler that Debian ships for browsers ([`debian`]). Without either, the page's
//! client is left out, and that is said.

pub(crate) mod debian;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Run, cargo, output};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Which way is taken: `auto` (the default), `rustup` or `debian`.
pub(crate) const VARIABLE: &str = "SSE_WASM_TOOLCHAIN";

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is none here. The text says what to do.
    Missing(String),
    /// It was asked for by name, or something that should work did not.
    Failed(String),
}

impl Trouble {
    pub(crate) fn why(self) -> String {
        match self {
            Self::Missing(why) | Self::Failed(why) => why,
        }
    }
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// What a build for the target needs to be told.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The folder of Debian's compiler; `None`: the one that builds everything else.
    debian: Option<PathBuf>,
}

impl Toolchain {
    /// Finds it, or gets it. `folder` is where Debian's is kept.
    pub(crate) fn set_up(folder: &Path, run: Run<'_>) -> Result<Self, Trouble> {
        match env::var(VARIABLE).as_deref() {
            Err(_) | Ok("" | "auto") => {
                let Err(host) = Self::host(run) else { return Ok(Self { debian: None }) };
                Self::debian(folder, run).map_err(|debian| {
                    Trouble::Missing(format!(
                        "there is no Rust compiler for {TARGET} ({host}; {debian}); get it with \
                         `rustup target add {TARGET}`, with Rust from https://rustup.rs"
                    ))
                })
            }
            Ok("rustup") => Ok(Self::host(run).map_err(|why| {
                format!("{TARGET}: {why}; {VARIABLE}=debian takes Debian's compiler")
            })?),
            Ok("debian") => Ok(Self::debian(folder, run)?),
            Ok(other) => {
                Err(format!("{VARIABLE} is {other:?}; it may be auto, rustup or debian").into())
            }
        }
    }

    /// The compiler that builds everything else. If rustup is there, it is given the target.
    pub(crate) fn host(run: Run<'_>) -> Result<Self, String> {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add", TARGET]).stdin(Stdio::null());
        if host_has_target() || (run(rustup) && host_has_target()) {
            return Ok(Self { debian: None });
        }
        Err("rustup cannot add it".to_owned())
    }

    /// Debian's, kept in this folder.
    pub(crate) fn debian(folder: &Path, run: Run<'_>) -> Result<Self, String> {
        debian::set_up(folder, run).map(|folder| Self { debian: Some(folder) })
    }

    /// cargo with this compiler.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = cargo(args);
        if let Some(prefix) = &self.debian {
            debian::hand_to(prefix, &mut command);
        }
        command
    }

    /// A short name. Two compilers must not share a target folder.
    pub(crate) fn name(&self) -> &'static str {
        if self.debian.is_some() { "debian" } else { "host" }
    }

    /// Its version: `1.95.0`.
    pub(crate) fn version(&self) -> Result<String, String> {
        let rustc = self.debian.as_ref().map(|prefix| prefix.join("rustc").into());
        version(&rustc.unwrap_or_else(host_rustc))
    }
}

fn host_rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// The version of a compiler: `1.95.0`.
fn version(rustc: &OsString) -> Result<String, String> {
    says(rustc, "release")
}

/// What a compiler says of itself by this name.
fn says(rustc: &OsString, what: &str) -> Result<String, String> {
    let output = output(Command::new(rustc).arg("-vV").stdin(Stdio::null()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let said = lines.find_map(|(name, value)| (name == what).then(|| value.to_owned()));
    said.ok_or_else(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("{} does not run: {}", rustc.display(), error.trim())
    })
}

/// Whether the compiler that builds everything else has the target's libraries.
fn host_has_target() -> bool {
    let libraries = Command::new(host_rustc())
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(Stdio::null())
        .output();
    libraries.is_ok_and(|output| {
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        output.status.success() && files.count() > 0
    })
}
