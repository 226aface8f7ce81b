//! The package once more, made by Debian's compiler, on a machine whose package lists are as old as
//! its image: a choice from such lists is a compiler that is too old, or no longer there.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::toolchain::VARIABLE;
use super::{Trouble, base};
use crate::apt::Archive;
use crate::files::{self, told};
use crate::process::{Run, output, say};

/// A version that is too old, and in no archive any more.
const GONE: &str = "1.63.0+long-gone-1";

/// Sets up the compiler, in a folder of its own, and builds with it.
pub(crate) fn build(run: Run<'_>) -> Result<(), Trouble> {
    if Command::new("apt-cache").arg("--version").stdin(Stdio::null()).output().is_err() {
        return Err(Trouble::Missing("it needs a system with apt".to_owned()));
    }
    let folder = base()?.join("old-lists");
    files::create(&folder)?;
    let lists = folder.join("lists");
    let archive = Archive::look(&lists, run).map_err(Trouble::Missing)?;
    if archive.package("rustc-web", None).is_err() {
        return Err(Trouble::Missing("this system's archive has no rustc-web".to_owned()));
    }
    age(&lists)?;
    let settings = folder.join("apt.conf");
    let text = format!("Dir::State::Lists \"{}/\";\n{NO_CACHE}", lists.display());
    files::write(&settings, text)?;
    // Everything that asks apt believes this now.
    let mut believed = Command::new("apt-cache");
    believed.args(["show", "rustc-web"]).env("APT_CONFIG", &settings).stdin(Stdio::null());
    if !String::from_utf8_lossy(&output(&mut believed)?.stdout)
        .contains(&format!("Version: {GONE}\n"))
    {
        return Err("the package lists could not be made old".to_owned().into());
    }
    say(&format!("package lists whose newest rustc-web is {GONE}, in {}", lists.display()));
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let mut wasm = Command::new(this);
    wasm.args(["wasm", "--in"]).arg(folder.join("wasm")).stdin(Stdio::null());
    wasm.env("APT_CONFIG", &settings).env(VARIABLE, "debian");
    if run(wasm) { Ok(()) } else { Err(String::new().into()) }
}

const NO_CACHE: &str = "Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n";

/// Makes the compiler's versions in these lists old ones.
fn age(lists: &Path) -> Result<(), String> {
    for file in files::entries(lists)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((plain, _)) = name.split_once("_Packages") else { continue };
        // apt may keep them compressed.
        let mut cat = Command::new("/usr/lib/apt/apt-helper");
        let cat = output(cat.arg("cat-file").arg(&file).stdin(Stdio::null()))?;
        let text = String::from_utf8_lossy(&cat.stdout);
        let aged: Vec<_> = text.split("\n\n").map(aged).collect();
        told("delete", &file, fs::remove_file(&file))?;
        let plain = lists.join(format!("{plain}_Packages"));
        files::write(&plain, aged.join("\n\n"))?;
    }
    Ok(())
}

fn aged(stanza: &str) -> String {
    let begin = "Package: ";
    let name = stanza.trim_start().strip_prefix(begin).and_then(|rest| rest.lines().next());
    if !name.is_some_and(|name| name.contains("rust-web") || name == "rustc-web") {
        return stanza.to_owned();
    }
    let lines = stanza.lines().map(|line| match line.split_once(": ") {
        Some(("Version", _)) => format!("Version: {GONE}"),
        Some(("Filename", file)) => format!("Filename: {file}.gone"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compiler_becomes_old() {
        let stanza = "Package: rustc-web\nVersion: 1.96.0\nFilename: pool/r.deb";
        let old = "Package: rustc-web\nVersion: 1.63.0+long-gone-1\nFilename: pool/r.deb.gone";
        assert_eq!(aged(stanza), old);
        let other = "Package: redis\nVersion: 7\nFilename: pool/redis.deb";
        assert_eq!(aged(other), other);
    }
}
