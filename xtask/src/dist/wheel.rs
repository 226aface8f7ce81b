//! Wheels; and that of `sse-fuzz`, for pip, pipx and uvx: the program, as a script of the package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::platform::{Platform, c_library};
use super::{FUZZ, LICENCES, VERSION, copy, remove, stripped};
use crate::files;
use crate::process::{Run, target};
use crate::python;
use crate::tool::Tool;

/// What writes wheels: the list of files with their digests is its matter.
const WHEEL: &str = "wheel==0.48.0";

/// Makes the wheel of a program in a folder.
pub(super) fn make(
    program: &Path,
    platform: Platform,
    into: &Path,
    run: Run<'_>,
) -> Result<PathBuf, String> {
    let root = into.join("wheel");
    remove(&root)?;
    let named = |end: &str| root.join(format!("sse_fuzz-{VERSION}.{end}"));
    let script = named("data").join("scripts").join(platform.file(FUZZ));
    stripped(program, &script)?;
    let about = named("dist-info");
    for licence in LICENCES {
        copy(Path::new(licence), &about.join("licenses").join(licence))?;
    }
    let metadata = files::read(Path::new("packaging/sse-fuzz/pypi/METADATA"))?;
    let metadata =
        metadata.replace("@VERSION@", VERSION) + &files::read(Path::new("fuzz/README.md"))?;
    files::write(&about.join("METADATA"), metadata)?;
    let tags = platform.wheel_tags(c_library(program)?);
    let tags = tags.join("\nTag: ");
    let wheel =
        format!("Wheel-Version: 1.0\nGenerator: xtask\nRoot-Is-Purelib: false\nTag: {tags}\n");
    files::write(&about.join("WHEEL"), wheel)?;
    pack(&root, into, run)
}

/// Makes a wheel of a folder that has all but the list of its files, and removes the folder.
pub(crate) fn pack(root: &Path, into: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let tool = Tool::new(&target().join("wheel"), WHEEL)?;
    let python = tool.folder().join("bin/python");
    if !tool.is_kept(|_| if python.is_file() { Ok(()) } else { Err("Python is gone".to_owned()) }) {
        python::install(&tool, &[WHEEL.to_owned()], run)?;
        tool.finish("")?;
    }
    let mut pack = Command::new(python);
    pack.args(["-m", "wheel", "pack", "--dest-dir"]).arg(into).arg(root).stdin(Stdio::null());
    if !run(pack) {
        return Err("no wheel can be made".to_owned());
    }
    remove(root)?;
    super::made(into, ".whl")
}
