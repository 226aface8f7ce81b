//! `cargo xtask wasm`: the npm package of sse-client-wasm, out of Rust and TypeScript.
//!
//! Everything lies in one folder of the target folder: the compiler ([`toolchain`]), the tools of
//! npm, and what cargo builds. It is made again only if it is missing, or if another version is
//! needed. The package itself is made anew each time, which takes seconds.

pub(crate) mod old_lists;
mod runtimes;
pub(crate) mod toolchain;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

pub(crate) use self::toolchain::Trouble;
use self::toolchain::{TARGET, Toolchain};
use crate::files::{self, copy, told};
use crate::node::Node;
use lexopt::prelude::*;

use crate::Outcome;
use crate::process::{Run, output, page_client, say, shown, target};
use crate::tool::Tool;

/// Names the package's folder for tests and benches.
const PACKAGE: &str = "SSE_WASM_PACKAGE";

/// Names the folder of the npm packages that it is tested under and compared with.
const TOOLS: &str = "SSE_WASM_TOOLS";

/// Names the folder of the npm packages that have other runtimes.
const RUNTIMES: &str = "SSE_WASM_RUNTIMES";

/// How large the module and the script of `ReconnectingEventSource` may be together, in bytes after
/// `gzip -9`: a compiler's version, and its number. What grows beyond it has a reason, and changes
/// it. Other compilers make other code of the same source, and are not measured by it.
///
/// 7,000 became 8,300 for: the session's time limits by phase, exact `retry` and `Content-Type` as
/// Fetch reads it (0.6 KB of WebAssembly); events and classes that look like the platform's; errors
/// in the call that are final and named; requests made from the position, and where the id goes.
/// Then 8,400 for a limit for the first event, and the hooks for answers that are no event streams.
/// Then 8,650 for bodies in a coding that the browser has left as it is: they are refused by name.
/// Then 8,700 because Node's `fetch` lets go of a connection only if its body is cancelled too.
/// Then 8,870 for a request that a function makes and that is made once, limits of any size, all
/// lines of `Retry-After`, an ID that cannot be sent and is told, options that are inherited, and
/// events that can be printed elsewhere.
const BUDGETS: [(&str, u64); 2] = [("1.96.0", 8_870), ("1.95.0", 8_970)];

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
const ENTRIES: [(&str, &str, bool); 6] = [
    ("entry-inline.ts", "inline.js", false),
    ("entry-module.ts", "external.js", false),
    ("entry-shared-worker.ts", "shared-worker.js", true),
    ("entry-workerd.ts", WORKERD, false),
    ("entry-script.ts", "reconnecting-eventsource.js", true),
    ("entry-script-inline.ts", "reconnecting-eventsource.inline.js", true),
];

/// Names of properties that nobody outside of a file sees: neither callers, nor workers, nor the
/// module.
const SHORTENED: &str =
    "--mangle-props=^(accept|callback|calls|complete|drained|gone|piece|taken|write)$";

const MODULE: &str = "sse-client.wasm";

/// The entry that imports the module rather than its bytes, where those cannot be compiled.
const WORKERD: &str = "workerd.js";

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut base = base()?;
    while let Some(arg) = args.next()? {
        match arg {
            Long("in") => base = args.value()?.into(),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let package = build_in(&base, &mut shown).map_err(Trouble::why)?;
    package.keeps_to_its_budget()?;
    say(&format!("\nThe package is in {}", package.folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// What has been built.
#[derive(Debug)]
pub(crate) struct Package {
    folder: PathBuf,
    tools: PathBuf,
    /// The other runtimes, once they have been set up.
    runtimes: Option<PathBuf>,
    node: Node,
    /// The version of the compiler that has made the module.
    compiler: String,
    /// The size of module and script together, in bytes after `gzip -9`.
    size: u64,
}

impl Package {
    /// All of it in one module, with the WebAssembly in it.
    pub(crate) fn single_file(&self) -> PathBuf {
        self.folder.join("inline.js")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs our own hostile server against the package in Node: `client` is the script that is a
    /// client for it, and `fuzz` starts the server.
    pub(crate) fn torment(&self, mut fuzz: Command, run: Run<'_>) -> Result<(), String> {
        let folder = self.folder.with_file_name("hostile");
        let installed = folder.join("node_modules").join(CRATE);
        files::create(&installed)?;
        for file in ["package.json", "inline.js"] {
            copy(&self.folder.join(file), &installed.join(file))?;
        }
        let client = folder.join("hostile.mjs");
        copy(&Path::new(CRATE).join("tests/node/hostile.mjs"), &client)?;
        self.node.hand_to(&mut fuzz);
        fuzz.args(["hostile", "--strict", "--jobs", "16", "--check"]).arg(format!(
            "env NODE_EXTRA_CA_CERTS={{ca}} node '{}' {{url}} {{header}} {{method}} {{body}}",
            client.display()
        ));
        succeeds(run, fuzz, "the npm package does not bear all that servers do")
    }

    /// The Node that it is built and tested with.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Tells a command's tests about it.
    pub(crate) fn hand_to(&self, command: &mut Command) {
        command.env(PACKAGE, &self.folder).env(TOOLS, &self.tools);
        match &self.runtimes {
            Some(runtimes) => command.env(RUNTIMES, runtimes),
            None => command.env_remove(RUNTIMES),
        };
        self.node.hand_to(command);
    }

    /// Tells them that there is no package.
    pub(crate) fn take_from(command: &mut Command) {
        command.env_remove(PACKAGE).env_remove(TOOLS).env_remove(RUNTIMES);
    }

    /// Whether it has grown beyond what its compiler's number allows. That is asked in CI only:
    /// what users' compilers make is not ours to fail for.
    pub(crate) fn keeps_to_its_budget(&self) -> Result<(), String> {
        if env::var_os("CI").is_none() {
            return Ok(());
        }
        let Self { compiler, size, .. } = self;
        match BUDGETS.iter().find(|(version, _)| version == compiler) {
            Some((_, budget)) if size > budget => Err(format!(
                "the module and the script of ReconnectingEventSource have {size} bytes after gzip -9. With \
                 Rust {compiler} they may have {budget}: BUDGETS in xtask/src/wasm/mod.rs"
            )),
            Some((_, budget)) => {
                say(&format!("within the budget of {budget} bytes for Rust {compiler}"));
                Ok(())
            }
            None => {
                say(&format!("there is no budget for Rust {compiler}"));
                Ok(())
            }
        }
    }
}

/// Builds the package, and prints how large it is. `run` runs a command and shows what it prints.
pub(crate) fn build(run: Run<'_>) -> Result<Package, Trouble> {
    let package = build_in(&base()?, run);
    let script = package.as_ref().ok().map(Package::single_file);
    told("write", &page_client(), embed(script.as_deref()))?;
    package
}

/// Has the server's live page read with this script from its next build on. The file is left alone
/// if it is the same, so that the server is not built for nothing.
fn embed(script: Option<&Path>) -> io::Result<()> {
    let Some(script) = script else {
        return fs::remove_file(page_client()).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
    };
    let script = fs::read(script)?;
    if fs::read(page_client()).is_ok_and(|there| there == script) {
        return Ok(());
    }
    fs::write(page_client(), script)
}

/// The folder of everything that is made for it.
fn base() -> Result<PathBuf, String> {
    files::absolute(&target().join("wasm"))
}

fn build_in(base: &Path, run: Run<'_>) -> Result<Package, Trouble> {
    // First, because the rest is useless without it.
    let toolchain = Toolchain::set_up(&base.join("toolchain"), run)?;
    Ok(build_with(&toolchain, base, run)?)
}

fn build_with(toolchain: &Toolchain, base: &Path, run: Run<'_>) -> Result<Package, String> {
    let node = Node::set_up(run)?;
    let tools = tools(&base.join("tools"), &node, run)?;
    let module = compile(toolchain, base, run)?;
    let (source, folder) = (base.join("source"), base.join("package"));
    for made in [&source, &folder] {
        let _ = fs::remove_dir_all(made);
    }
    copy_all(Path::new(CRATE).join("js").as_path(), &source)?;
    files::create(&folder)?;
    let small = folder.join(MODULE);
    let mut wasm_opt = node.command("node");
    wasm_opt.arg(tools.join("node_modules/binaryen/bin/wasm-opt")).args(FEATURES);
    // Another shape of the same code makes it 1 % smaller.
    wasm_opt.args(["--flatten", "--rereloop", "-Oz", "-Oz", "--converge"]);
    wasm_opt.args(["--strip-debug", "--strip-producers", "--strip-target-features"]);
    wasm_opt.arg(&module).arg("-o").arg(&small);
    succeeds(run, wasm_opt, "wasm-opt failed")?;
    copy(&small, &source.join(MODULE))?;
    for (entry, file, is_script) in ENTRIES {
        let mut esbuild = node.command(tools.join("node_modules/.bin/esbuild"));
        esbuild.arg(source.join(entry)).arg(format!("--outfile={}", folder.join(file).display()));
        esbuild.arg(if is_script { "--format=iife" } else { "--format=esm" }).args([
            "--bundle",
            "--minify",
            "--sourcemap",
            "--target=es2022",
            SHORTENED,
            if file == WORKERD { "--external:*.wasm" } else { "--loader:.wasm=binary" },
            "--legal-comments=none",
            "--log-level=warning",
        ]);
        succeeds(run, esbuild, "esbuild failed")?;
        // It makes them 5 % smaller still.
        let mut terser = node.command(tools.join("node_modules/.bin/terser"));
        terser.current_dir(&folder).arg(file).args(["-o", file, "--ecma", "2022", "--mangle"]);
        terser.args(["--compress", "passes=4,unsafe_arrows=true,pure_getters=true"]);
        terser.args(["--source-map", &format!("content='{file}.map',url='{file}.map'")]);
        if !is_script {
            terser.arg("--module");
        }
        succeeds(run, terser, "terser failed")?;
    }
    let mut tsc = node.command(tools.join("node_modules/.bin/tsc"));
    tsc.arg("-p").arg(&source).arg("--outDir").arg(folder.join("types"));
    succeeds(run, tsc, "the TypeScript does not fit")?;
    let own = Path::new(CRATE);
    copy(&own.join("js/package.json"), &folder.join("package.json"))?;
    copy(&own.join("README.md"), &folder.join("README.md"))?;
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        copy(Path::new(license), &folder.join(license))?;
    }
    let size = sizes(&folder, &node)?;
    let compiler = toolchain.version()?;
    Ok(Package { folder, tools, runtimes: None, node, compiler, size })
}

/// The tools of npm, in the versions of the lock file.
fn tools(folder: &Path, node: &Node, run: Run<'_>) -> Result<PathBuf, String> {
    install(&Path::new(CRATE).join("tools"), folder, &["esbuild"], node, run)
}

/// What a lock file lists, in a folder of its own. These programs of it must start.
fn install(
    own: &Path,
    folder: &Path,
    programs: &[&str],
    node: &Node,
    run: Run<'_>,
) -> Result<PathBuf, String> {
    let lock = own.join("package-lock.json");
    let wanted = files::read(&lock)?;
    let tool = Tool::new(folder, &wanted)?;
    let starts = |_: &str| {
        let fails = programs.iter().find(|program| {
            let program = tool.folder().join("node_modules/.bin").join(program);
            let output = node.command(program).arg("--version").output();
            !output.is_ok_and(|output| output.status.success())
        });
        fails.map_or(Ok(()), |program| Err(format!("{program} does not start")))
    };
    if !tool.is_kept(starts) {
        tool.begin()?;
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            copy(&own.join(file), &tool.folder().join(file))?;
        }
        let mut npm = node.command("npm");
        npm.arg("ci").current_dir(tool.folder());
        succeeds(run, npm, "`npm ci` failed; it needs a package registry")?;
        starts("")?;
        tool.finish("")?;
    }
    Ok(tool.folder().into())
}

/// The module as rustc makes it.
fn compile(toolchain: &Toolchain, base: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let folder = base.join("build").join(toolchain.name());
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

/// Prints the sizes, and returns the one that has a budget.
fn sizes(folder: &Path, node: &Node) -> Result<u64, String> {
    let script = Path::new(CRATE).join("tools/sizes.mjs");
    let of = |files: &[&str]| -> Result<u64, String> {
        let mut sizes = node.command("node");
        sizes.arg(&script).args(files.iter().map(|file| folder.join(file)));
        let output = output(&mut sizes)?;
        let table = String::from_utf8_lossy(&output.stdout);
        say(table.trim_end());
        let sum = table.lines().last().and_then(|line| line.split_whitespace().nth(2));
        sum.and_then(|sum| sum.parse().ok()).ok_or_else(|| "the sizes are unknown".to_owned())
    };
    say(&format!("\n{:40}{:>8}{:>8}{:>8}", "bytes", "raw", "gzip -9", "brotli"));
    of(&["inline.js"])?;
    of(&["reconnecting-eventsource.inline.js"])?;
    of(&[MODULE, "reconnecting-eventsource.js"])
}

fn succeeds(run: Run<'_>, command: Command, problem: &str) -> Result<(), String> {
    if run(command) { Ok(()) } else { Err(problem.to_owned()) }
}

/// The files of a folder.
fn copy_all(from: &Path, to: &Path) -> Result<(), String> {
    files::create(to)?;
    files::entries(from)?
        .iter()
        .try_for_each(|file| copy(file, &to.join(file.file_name().unwrap_or_default())))
}
