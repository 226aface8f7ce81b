//! `cargo run -p sse-server`, which scripts and habits rely on, starts the server.
//!
//! The server's package is `ssekit-server`, because `sse-server` is somebody else's on crates.io.
//! Here the short name is free, and this unpublished package holds it. It becomes the cargo that
//! builds and runs the program, so that signals, the terminal and the exit code are the program's
//! own.

#![forbid(unsafe_code)]

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let here =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let workspace = PathBuf::from(here).join("../../Cargo.toml");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "-p", "ssekit-server", "--bin", "sse-server"]);
    cargo.arg("--manifest-path").arg(workspace);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.arg("--").args(env::args_os().skip(1));
    // What cargo says of this package is not to be taken for what it says of another one: build
    // scripts would be run again each time.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let error = cargo.exec();
    eprintln!("run-sse-server: cannot start cargo: {error}");
    ExitCode::FAILURE
}
