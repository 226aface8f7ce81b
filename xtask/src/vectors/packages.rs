//! The npm and the `PyPI` package of the vectors, and their use in an empty folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dist::installed::command;
use crate::dist::{copy, remove, wheel};
use crate::files;
use crate::node::Node;
use crate::process::Run;

const VECTORS: &str = "sse-proto/vectors";

/// The folders of cases beside those of the decoder, and the schemas.
const FOLDERS: [&str; 3] = ["encoding", "resuming", "schema"];

pub(crate) struct Packages {
    pub(crate) npm: PathBuf,
    pub(crate) wheel: PathBuf,
}

/// Makes both in a folder.
pub(crate) fn make(into: &Path, node: &Node, run: Run<'_>) -> Result<Packages, String> {
    let from = Path::new(VECTORS);
    let read = |name: &str| files::read(&from.join("packages").join(name));
    let version = read("version.txt")?.trim().to_owned();
    remove(into)?;

    let npm = into.join("npm");
    data(&npm.join("vectors"), &npm)?;
    for file in ["run.mjs", "reference.mjs", "run.rs"] {
        copy(&from.join("runners").join(file), &npm.join(file))?;
    }
    for file in ["LICENSE", "README.md"] {
        copy(&from.join(file), &npm.join(file))?;
    }
    files::write(&npm.join("package.json"), read("package.json")?.replace("@VERSION@", &version))?;
    let mut pack = node.command("npm");
    pack.args(["pack", "--silent", "--pack-destination"]).arg(files::absolute(into)?);
    command(run, pack.current_dir(&npm))?;

    let root = into.join("wheel");
    let package = root.join("sse_vectors");
    data(&package.join("vectors"), &package)?;
    for (file, name) in [
        ("sse_vectors.py", "__init__.py"),
        ("reference.py", "reference.py"),
        ("resume.py", "resume.py"),
    ] {
        copy(&from.join("runners").join(file), &package.join(name))?;
    }
    let main = "import sys\n\nfrom . import main\n\nsys.exit(main(*sys.argv[1:]))\n";
    files::write(&package.join("__main__.py"), main)?;
    let about = root.join(format!("sse_vectors-{version}.dist-info"));
    copy(&from.join("LICENSE"), &about.join("licenses/LICENSE"))?;
    let metadata = read("METADATA")?.replace("@VERSION@", &version);
    files::write(&about.join("METADATA"), metadata + &files::read(&from.join("README.md"))?)?;
    let tag = "Wheel-Version: 1.0\nGenerator: xtask\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    files::write(&about.join("WHEEL"), tag)?;
    let wheel = wheel::pack(&root, into, run)?;
    remove(&npm)?;
    Ok(Packages { npm: into.join(format!("sse-vectors-{version}.tgz")), wheel })
}

/// The cases, and the schemas beside them.
fn data(cases: &Path, beside: &Path) -> Result<(), String> {
    let from = Path::new(VECTORS);
    let copy_all = |from: &Path, to: &Path| {
        let mut files = files::entries(from)?;
        files.retain(|file| file.extension().is_some_and(|end| end == "json"));
        files.iter().try_for_each(|file| copy(file, &to.join(file.file_name().unwrap_or_default())))
    };
    copy_all(from, &cases.join("decoding"))?;
    FOLDERS.iter().try_for_each(|folder| {
        let to = if *folder == "schema" { beside } else { cases };
        copy_all(&from.join(folder), &to.join(folder))
    })
}

/// Installs both into empty folders, and runs a decoder, an encoder and a client through the cases.
pub(crate) fn check(folder: &Path, node: &Node, run: Run<'_>) -> Result<(), String> {
    let packages = make(&folder.join("made"), node, run)?;
    let python = folder.join("python");
    command(run, Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    let program = python.join("bin/python");
    let mut pip = Command::new(&program);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]);
    command(run, pip.arg(&packages.wheel))?;
    files::write(&python.join("user.py"), include_str!("user.py"))?;
    let client = format!("{} user.py {{url}}", program.display());
    for (kind, what) in [
        ("decode", "sse_vectors.reference:decode"),
        ("encode", "user:encode"),
        ("resume", &*client),
    ] {
        let mut runner = Command::new(&program);
        runner.args(["-m", "sse_vectors", kind, what]).current_dir(&python);
        command(run, &mut runner)?;
    }

    let empty = folder.join("node");
    files::create(&empty)?;
    files::write(&empty.join("package.json"), "{ \"private\": true }\n")?;
    files::write(&empty.join("user.mjs"), include_str!("user.mjs"))?;
    let mut install = node.command("npm");
    install.args(["install", "--offline", "--no-audit", "--no-fund"]).current_dir(&empty);
    command(run, install.arg(&packages.npm))?;
    for kind in ["decode", "encode"] {
        let mut runner = node.command("npx");
        runner.args(["--no-install", "sse-vectors", kind, "./user.mjs"]).current_dir(&empty);
        command(run, &mut runner)?;
    }
    Ok(())
}
