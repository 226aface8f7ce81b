//! The package as npm hands it out: packed, and installed in a folder. Nothing here needs a
//! network.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder that `cargo xtask wasm` has made.
pub(crate) fn package() -> Option<PathBuf> {
    made("SSE_WASM_PACKAGE")
}

/// The folder of the npm packages that it is made with and tested under.
pub(crate) fn tools() -> Option<PathBuf> {
    made("SSE_WASM_TOOLS")
}

/// The folder of the npm packages that have other runtimes.
pub(crate) fn runtimes() -> Option<PathBuf> {
    made("SSE_WASM_RUNTIMES")
}

/// The client in Rust as a program for pages, before wasm-bindgen has seen it.
pub(crate) fn program() -> Option<PathBuf> {
    made("SSE_WASM_PROGRAM")
}

/// Copies the scripts in `node/`.
pub(crate) fn copy_scripts(to: &Path) {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node");
    for script in fs::read_dir(own).expect("readable") {
        let script = script.expect("readable");
        fs::copy(script.path(), to.join(script.file_name())).expect("copied");
    }
}

fn made(variable: &str) -> Option<PathBuf> {
    let folder = env::var_os(variable).filter(|path| !path.is_empty());
    if folder.is_none() {
        // Past the test harness, which keeps what tests print to itself.
        let text =
            "left out, it needs what is made for pages, and tools; `cargo xtask test` gets them";
        let _ = writeln!(io::stderr(), "{}: {text}", std::thread::current().name().unwrap_or(""));
    }
    folder.map(PathBuf::from)
}

/// Packs the package, and installs what comes of it.
pub(crate) async fn install(package: &Path, folder: &Path) {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", "--pack-destination"]).arg(folder);
    let file = run(npm, package).await;
    let mut npm = Command::new("npm");
    npm.args(["install", "--offline", "--no-audit", "--no-fund"]).arg(folder.join(file.trim()));
    run(npm, folder).await;
}

/// What a command prints, which must succeed.
pub(crate) async fn run(mut command: Command, folder: &Path) -> String {
    let output = command.current_dir(folder).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await;
    let output = output.expect("it ends").expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
