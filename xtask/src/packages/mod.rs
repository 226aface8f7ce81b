//! What would be published: each package is made, checked, and used by projects that have nothing
//! else.
//!
//! Nothing of the checkout is used but what is in the packages. They are built together, because
//! each by itself would compile its dependencies once more. The [front page](front_page) of the
//! server's documentation is built apart, without its default features.

mod front_page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::files;
use crate::process::{Run, cargo, say, target};
use crate::wasm::{Package, Trouble};

/// In the order in which they are published.
const PACKAGES: [&str; 4] = ["ssekit-proto", "ssekit-client", "ssekit-server", "ssekit-fuzz"];
/// The version of all.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The files that each must contain.
const FILES: [&str; 4] = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];
/// The keys that each manifest must have.
const KEYS: [&str; 9] = [
    "categories",
    "description",
    "documentation",
    "homepage",
    "keywords",
    "license",
    "readme",
    "repository",
    "rust-version",
];

/// The lines that a user's `cargo add` writes, and the packages in place of the registry's.
const PROJECT: &str = r#"[package]
name = "project"
version = "0.0.0"
edition = "2024"

[dependencies]
ssekit-client = { version = "VERSION", features = ["json"] }
ssekit-fuzz = "VERSION"
ssekit-proto = "VERSION"
ssekit-server = "VERSION"
tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }

[[bin]]
name = "project"
path = "main.rs"

[workspace]
resolver = "3"
members = ["ssekit-*"]

[profile.dev]
debug = false
incremental = false

[patch.crates-io]
"#;

/// Makes the packages, checks and uses them. `npm` is the npm package, if it has been built.
pub(crate) fn check(npm: Option<&Package>, run: Run<'_>) -> Result<(), Trouble> {
    let folder = files::absolute(&target().join("packages"))?;
    let project = folder.join("project");
    let _ = fs::remove_dir_all(&project);
    files::create(&project)?;
    // A package of an earlier run must not pass for one of this run.
    let _ = fs::remove_dir_all(folder.join("made/package"));
    make(&folder.join("made"), run)?;
    for name in PACKAGES {
        let unpacked = unpack(&folder.join("made/package"), name, &project, run)?;
        complete(&unpacked).map_err(|why| format!("{name}: {why}"))?;
    }
    build(&project, &folder.join("build"), run)?;
    try_programs(&folder.join("build/debug"), run)?;
    front_page::check(&project, &folder.join("fresh"), run)?;
    match npm {
        Some(npm) => use_npm(npm, &folder.join("npm"), run)?,
        None => say("the npm package has not been built, so it is not checked"),
    }
    Ok(())
}

/// Makes all packages as files, and asks whether the registry would take them in this order.
fn make(folder: &Path, run: Run<'_>) -> Result<(), String> {
    for command in [&["package"][..], &["publish", "--dry-run"]] {
        let mut cargo = cargo(command);
        // Uncommitted work is checked too. The packages are built below.
        cargo.args(["--allow-dirty", "--no-verify", "--locked", "--target-dir"]).arg(folder);
        cargo.args(PACKAGES.iter().flat_map(|name| ["-p", name]));
        if !run(cargo) {
            return Err(format!("cargo {} failed", command.join(" ")));
        }
    }
    Ok(())
}

fn unpack(made: &Path, name: &str, into: &Path, run: Run<'_>) -> Result<PathBuf, String> {
    let file = made.join(format!("{name}-{VERSION}.crate"));
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&file).arg("-C").arg(into).stdin(Stdio::null());
    if !run(tar) {
        return Err(format!("cannot unpack {}", file.display()));
    }
    Ok(into.join(format!("{name}-{VERSION}")))
}

/// Checks that an unpacked package has what its users look for, and can be unpacked everywhere.
fn complete(package: &Path) -> Result<(), String> {
    let missing = |file: &&&str| fs::metadata(package.join(file)).map_or(0, |file| file.len()) == 0;
    if let Some(file) = FILES.iter().find(missing) {
        return Err(format!("it has no {file}"));
    }
    let path = package.join("Cargo.toml");
    let manifest = files::read(&path)?;
    let says = |key: &&&str| manifest.lines().any(|line| line.starts_with(&format!("{key} = ")));
    if let Some(key) = KEYS.iter().find(|key| !says(key)) {
        return Err(format!("its manifest has no {key}"));
    }
    reserved(package).map_or(Ok(()), |path| {
        Err(format!("Windows cannot have a file of this name: {}", path.display()))
    })
}

/// A path below a folder that has a name which Windows keeps for devices.
fn reserved(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).find_map(|path| {
        let stem = path.file_stem()?.to_string_lossy().to_ascii_lowercase();
        let numbered = |device: &str| {
            stem.strip_prefix(device).is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']))
        };
        let is_device = ["aux", "con", "nul", "prn"].contains(&stem.as_str());
        if is_device || numbered("com") || numbered("lpt") { Some(path) } else { reserved(&path) }
    })
}

/// A project that depends on all, and their programs, in one build.
fn build(project: &Path, target: &Path, run: Run<'_>) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        let path = project.join(name);
        files::write(&path, text)
    };
    let patches = PACKAGES.map(|name| format!("{name} = {{ path = \"{name}-{VERSION}\" }}\n"));
    write("Cargo.toml", &(PROJECT.replace("VERSION", VERSION) + &patches.concat()))?;
    write("main.rs", include_str!("project.rs"))?;
    // The versions that everything else is tested with.
    write("Cargo.lock", &files::read(Path::new("Cargo.lock"))?)?;
    let mut build = cargo(&["build", "--workspace", "--bins", "--features", "ssekit-client/cli"]);
    build.current_dir(project).env("CARGO_TARGET_DIR", target);
    if run(build) { Ok(()) } else { Err("what is in the packages does not build".to_owned()) }
}

fn try_programs(folder: &Path, run: Run<'_>) -> Result<(), String> {
    for (name, args) in [
        ("project", &[][..]),
        ("sse-server", &["--version"]),
        ("ssecat", &["--version"]),
        ("sse-fuzz", &["decode"]),
    ] {
        let mut program = Command::new(folder.join(name));
        program.args(args).stdin(Stdio::null());
        if !run(program) {
            return Err(format!("{name}, built from the packages, does not run"));
        }
    }
    Ok(())
}

/// The npm package as a file, and a project that has installed it.
fn use_npm(package: &Package, folder: &Path, run: Run<'_>) -> Result<(), String> {
    let _ = fs::remove_dir_all(folder);
    files::create(folder)?;
    let mut step = |program: &str, args: &[&str], within: &Path| {
        let mut command = package.node().command(program);
        command.args(args).current_dir(within);
        if run(command) { Ok(()) } else { Err(format!("{program} {} failed", args.join(" "))) }
    };
    let file = format!("sse-client-wasm-{VERSION}.tgz");
    let to = folder.display().to_string();
    step("npm", &["pack", "--pack-destination", &to], package.folder())?;
    for (name, text) in [
        // Without it npm looks for a project above.
        ("package.json", "{ \"private\": true }\n"),
        ("project.mjs", include_str!("project.mjs")),
    ] {
        let path = folder.join(name);
        files::write(&path, text)?;
    }
    step(
        "npm",
        &["install", "--offline", "--no-audit", "--no-fund", &format!("./{file}")],
        folder,
    )?;
    step("node", &["project.mjs"], folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package that has everything.
    fn whole() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("src")).expect("created");
        for file in FILES {
            fs::write(folder.path().join(file), "text").expect("written");
        }
        let manifest = KEYS.map(|key| format!("{key} = \"…\"\n")).concat();
        fs::write(folder.path().join("Cargo.toml"), manifest).expect("written");
        folder
    }

    #[test]
    fn a_package_without_a_licence_a_readme_or_a_repository_is_not_published() {
        let package = whole();
        assert_eq!(complete(package.path()), Ok(()));
        for file in FILES {
            let package = whole();
            fs::remove_file(package.path().join(file)).expect("removed");
            assert_eq!(complete(package.path()), Err(format!("it has no {file}")));
            fs::write(package.path().join(file), "").expect("written");
            assert_eq!(complete(package.path()), Err(format!("it has no {file}")), "empty");
        }
        for key in KEYS {
            let package = whole();
            let path = package.path().join("Cargo.toml");
            let manifest = fs::read_to_string(&path).expect("read");
            fs::write(&path, manifest.replace(&format!("{key} ="), "other =")).expect("written");
            assert_eq!(complete(package.path()), Err(format!("its manifest has no {key}")));
        }
    }

    #[test]
    fn names_that_windows_keeps_for_devices_are_found_wherever_they_stand() {
        for name in ["con.rs", "src/AUX.txt", "src/com1", "src/lpt9.tar"] {
            let package = whole();
            fs::write(package.path().join(name), "").expect("written");
            assert_eq!(reserved(package.path()), Some(package.path().join(name)));
        }
        for name in ["connecting.rs", "com", "com10", "lpt0", "nullable.rs"] {
            let package = whole();
            fs::write(package.path().join(name), "").expect("written");
            assert_eq!(reserved(package.path()), None, "{name}");
        }
    }
}
