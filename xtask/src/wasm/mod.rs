//! `cargo xtask wasm`: the npm package of sse-client-wasm, out of Rust and TypeScript.
//!
//! Everything that is got or made lies in one folder of the target folder, and is made again only if it
//! is missing: the compiler ([`toolchain`]), the tools of npm, and what cargo builds. The package itself
//! is made anew each time, which takes seconds.

pub(crate) mod bench;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use self::toolchain::{TARGET, Toolchain, cannot};
use crate::process::{say, target};
use crate::{Outcome, usage};

/// Names the package's folder for tests and benches.
const PACKAGE: &str = "SSE_WASM_PACKAGE";

/// Names the folder of the npm packages that it is tested under and compared with.
const TOOLS: &str = "SSE_WASM_TOOLS";

/// How large the module and the script of `ReconnectingEventSource` may be together, in bytes after
/// `gzip -9`. What grows beyond it has a reason, and changes this number.
const BUDGET: u64 = 7_000;

const CRATE: &str = "sse-client-wasm";

/// What the module may use: what browsers have had since 2021.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
];

/// An entry of the package: its source, its file, and whether it is a script rather than a module.
const ENTRIES: [(&str, &str, bool); 4] = [
    ("entry-inline.ts", "inline.js", false),
    ("entry-module.ts", "external.js", false),
    ("entry-script.ts", "reconnecting-eventsource.js", true),
    ("entry-script-inline.ts", "reconnecting-eventsource.inline.js", true),
];

const MODULE: &str = "sse-client.wasm";

type Run<'r> = &'r mut dyn FnMut(Command) -> bool;

pub(crate) fn run(args: &[String]) -> Outcome {
    if let Some(stray) = args.first() {
        return Ok(usage(&format!("wasm knows no {stray:?}")));
    }
    let package = build(&mut |mut command| command.status().is_ok_and(|status| status.success()))?;
    say(&format!("\nThe package is in {}", package.folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// What has been built.
#[derive(Debug)]
pub(crate) struct Package {
    folder: PathBuf,
    tools: PathBuf,
}

impl Package {
    /// All of it in one module, with the WebAssembly in it.
    pub(crate) fn single_file(&self) -> PathBuf {
        self.folder.join("inline.js")
    }

    /// Tells a command's tests about it.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.env(PACKAGE, &self.folder).env(TOOLS, &self.tools);
    }

    /// Tells them that there is none.
    pub(crate) fn take_from(command: &mut Command) {
        command.env_remove(PACKAGE).env_remove(TOOLS);
    }
}

/// Builds the package, and prints how large it is. `run` runs a command and shows what it prints.
pub(crate) fn build(run: Run<'_>) -> Result<Package, String> {
    let base = std::path::absolute(target().join("wasm"));
    let base = base.map_err(|error| cannot("find", &target(), &error))?;
    let tools = tools(&base.join("tools"), run)?;
    let module = compile(&base, run)?;
    let source = base.join("source");
    let folder = base.join("package");
    for made in [&source, &folder] {
        let _ = fs::remove_dir_all(made);
    }
    copy_all(Path::new(CRATE).join("js").as_path(), &source)?;
    fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
    let small = folder.join(MODULE);
    let mut wasm_opt = Command::new("node");
    wasm_opt.arg(tools.join("node_modules/binaryen/bin/wasm-opt")).args(FEATURES);
    // Another shape of the same code makes it 1 % smaller.
    wasm_opt.args(["--flatten", "--rereloop", "-Oz", "-Oz", "--converge"]);
    wasm_opt.args(["--strip-debug", "--strip-producers", "--strip-target-features"]);
    wasm_opt.arg(&module).arg("-o").arg(&small);
    succeeds(run, wasm_opt, "wasm-opt failed")?;
    copy(&small, &source.join(MODULE))?;
    for (entry, file, is_script) in ENTRIES {
        let mut esbuild = Command::new(tools.join("node_modules/.bin/esbuild"));
        esbuild.arg(source.join(entry)).arg(format!("--outfile={}", folder.join(file).display()));
        esbuild.arg(if is_script { "--format=iife" } else { "--format=esm" }).args([
            "--bundle",
            "--minify",
            "--sourcemap",
            "--target=es2022",
            "--loader:.wasm=binary",
            "--legal-comments=none",
            "--log-level=warning",
        ]);
        succeeds(run, esbuild, "esbuild failed")?;
    }
    let mut tsc = Command::new(tools.join("node_modules/.bin/tsc"));
    tsc.arg("-p").arg(&source).arg("--outDir").arg(folder.join("types"));
    succeeds(run, tsc, "the TypeScript does not fit")?;
    let own = Path::new(CRATE);
    copy(&own.join("js/package.json"), &folder.join("package.json"))?;
    copy(&own.join("README.md"), &folder.join("README.md"))?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(Path::new(license), &folder.join(license))?;
    }
    sizes(&folder)?;
    Ok(Package { folder, tools })
}

/// The tools of npm, in the versions of the lock file.
fn tools(folder: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let own = Path::new(CRATE).join("tools");
    let lock = own.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| cannot("read", &lock, &error))?;
    let done = folder.join("complete");
    if fs::read(&done).is_ok_and(|have| have == wanted) {
        return Ok(folder.into());
    }
    fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        copy(&own.join(file), &folder.join(file))?;
    }
    let mut npm = Command::new("npm");
    npm.arg("ci").current_dir(folder).stdin(Stdio::null());
    if !run(npm) {
        return Err(
            "`npm ci` failed; the browser's client needs Node 20 or newer with npm, and a \
                    package registry"
                .to_owned(),
        );
    }
    fs::write(&done, wanted).map_err(|error| cannot("write", &done, &error))?;
    Ok(folder.into())
}

/// The module as rustc makes it.
fn compile(base: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let toolchain = Toolchain::set_up(&base.join("toolchain"), run)?;
    let folder = base.join("build");
    let mut cargo = toolchain.cargo(&[
        "rustc",
        "-p",
        CRATE,
        "--lib",
        "--profile",
        "wasm",
        "--target",
        TARGET,
        "--crate-type",
        "cdylib",
    ]);
    cargo.arg("--target-dir").arg(&folder);
    // The stack; nothing here recurses.
    cargo.args(["--", "-Clink-arg=-zstack-size=4096"]);
    succeeds(run, cargo, "the module does not compile")?;
    Ok(folder.join(TARGET).join("wasm/sse_client_wasm.wasm"))
}

/// Prints the sizes, and fails if they are beyond the budget.
fn sizes(folder: &Path) -> Result<(), String> {
    let script = Path::new(CRATE).join("tools/sizes.mjs");
    let of = |files: &[&str]| -> Result<u64, String> {
        let mut node = Command::new("node");
        node.arg(&script).args(files.iter().map(|file| folder.join(file)));
        let output = node.output().map_err(|error| format!("cannot start node: {error}"))?;
        let table = String::from_utf8_lossy(&output.stdout);
        say(table.trim_end());
        let sum = table.lines().last().and_then(|line| line.split_whitespace().nth(2));
        sum.and_then(|sum| sum.parse().ok()).ok_or_else(|| "the sizes are unknown".to_owned())
    };
    say(&format!("\n{:40}{:>8}{:>8}{:>8}", "bytes", "raw", "gzip -9", "brotli"));
    of(&["inline.js"])?;
    of(&["reconnecting-eventsource.inline.js"])?;
    let sum = of(&[MODULE, "reconnecting-eventsource.js"])?;
    if sum > BUDGET {
        return Err(format!(
            "the module and the script of ReconnectingEventSource have {sum} bytes after gzip -9, and may \
             have {BUDGET}"
        ));
    }
    say(&format!("within the budget of {BUDGET} bytes after gzip -9"));
    Ok(())
}

fn succeeds(run: Run<'_>, mut command: Command, problem: &str) -> Result<(), String> {
    command.stdin(Stdio::null());
    if run(command) { Ok(()) } else { Err(problem.to_owned()) }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| cannot("copy", from, &error))
}

/// The files of a folder.
fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| cannot("create", to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| cannot("read", from, &error))?;
    for entry in entries.flatten() {
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
