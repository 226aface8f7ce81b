//! The npm packages of `sse-fuzz`: one with the program for each platform, and one that finds it.

use std::path::{Path, PathBuf};

use super::platform::{PLATFORMS, Platform, c_library};
use super::{FUZZ, LICENCES, VERSION, copy, remove, stripped};
use crate::files;
use crate::node::Node;
use crate::process::Run;

/// The two packages, as files.
pub(super) struct Packages {
    pub(super) main: PathBuf,
    pub(super) platform: PathBuf,
}

/// Makes both in a folder.
pub(super) fn make(
    program: &Path,
    platform: Platform,
    into: &Path,
    node: &Node,
    run: Run<'_>,
) -> Result<Packages, String> {
    let from = Path::new("packaging/sse-fuzz/npm");
    let into = files::absolute(into)?;
    let folder = into.join("npm");
    remove(&folder)?;

    let platforms = PLATFORMS.map(|platform| format!("    {:?}: \"{VERSION}\"", name(platform)));
    let manifest = files::read(&from.join("package.json"))?;
    let manifest = manifest.replace("@VERSION@", VERSION);
    let manifest = manifest.replace("@PLATFORMS@", &platforms.join(",\n"));
    let main = folder.join("main");
    copy(&from.join("sse-fuzz.js"), &main.join("sse-fuzz.js"))?;
    copy(Path::new("fuzz/README.md"), &main.join("README.md"))?;
    files::write(&main.join("package.json"), manifest)?;

    let own = folder.join("platform");
    stripped(program, &own.join(platform.file(FUZZ)))?;
    let (os, cpu) = platform.npm;
    let is_gnu = platform.wants_gnu(c_library(program)?);
    let libc = if is_gnu { ",\n  \"libc\": [\"glibc\"]" } else { "" };
    let mut manifest = files::read(&from.join("platform.json"))?;
    for (word, value) in [
        ("@NAME@", &*name(platform)),
        ("@VERSION@", VERSION),
        ("@OS@", os),
        ("@CPU@", cpu),
        ("@LIBC@", libc),
    ] {
        manifest = manifest.replace(word, value);
    }
    files::write(&own.join("package.json"), manifest)?;

    for package in [&main, &own] {
        for licence in LICENCES {
            copy(Path::new(licence), &package.join(licence))?;
        }
        let mut pack = node.command("npm");
        pack.args(["pack", "--silent", "--pack-destination"]).arg(&into).current_dir(package);
        if !run(pack) {
            return Err("npm cannot pack what it should".to_owned());
        }
    }
    remove(&folder)?;
    let file = |name: String| into.join(format!("{name}-{VERSION}.tgz"));
    Ok(Packages {
        main: file(FUZZ.to_owned()),
        platform: file(format!("ssekit-sse-fuzz-{os}-{cpu}")),
    })
}

/// The name of a platform's package, which `sse-fuzz.js` looks for.
fn name(platform: Platform) -> String {
    let (os, cpu) = platform.npm;
    format!("@ssekit/sse-fuzz-{os}-{cpu}")
}
