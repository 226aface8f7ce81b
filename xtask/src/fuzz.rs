//! `cargo xtask fuzz`: the fuzz targets with libFuzzer, which lets coverage lead it.
//!
//! This is not a step of `cargo xtask test`: it needs a nightly compiler, and all dependencies are
//! built once more for it. The same targets run there with their seeds and a few random inputs
//! (`fuzz/bodies/tests/few.rs`).

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use crate::process::{cargo, exit_code, say, target};
use crate::{Failure, Outcome, files, setup};

/// The package of cargo-fuzz.
const FOLDER: &str = "fuzz/targets";

/// How long each target runs, in seconds, without `--time`. Nine minutes for all of them.
const TIME: u64 = 60;

/// One input may take this many seconds.
const TIMEOUT: u64 = 20;

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let all = targets()?;
    let mut chosen = Vec::new();
    let mut time = TIME;
    while let Some(arg) = args.next()? {
        match arg {
            Long("time") => time = args.value()?.parse::<NonZero<u64>>()?.get(),
            Value(name) if all.iter().any(|target| name == *target.as_str()) => {
                chosen.push(name.string()?);
            }
            Value(name) => {
                let names = all.join(", ");
                return Err(Failure::Usage(format!(
                    "no target is {}; they are {names}",
                    name.display()
                )));
            }
            _ => return Err(arg.unexpected().into()),
        }
    }
    if chosen.is_empty() {
        chosen = all;
    }
    setup::nightly()?;
    let place = Place::new(&target().join("fuzz"))?;
    let tool = cargo_fuzz(&place.0.join("tools"))?;
    let mut write = cargo(&["run", "--quiet", "-p", "sse-fuzz-bodies", "--", "seeds"]);
    succeeds(write.arg(place.0.join("seeds")), "the seeds cannot be written")?;
    for name in &chosen {
        let mut build = place.command(&tool, "build");
        succeeds(build.arg(name), "the targets cannot be built; the compiler says above why")?;
    }
    let mut findings = Vec::new();
    for name in &chosen {
        say(&format!("\n{name}: {time} s"));
        if let Some(finding) = place.fuzz(&tool, name, time)? {
            findings.push(finding);
        }
    }
    say("");
    for finding in &findings {
        say(finding);
    }
    if findings.is_empty() {
        say(&format!("nothing found by {} in {time} s each", chosen.join(", ")));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// The names of the binaries.
fn targets() -> Result<Vec<String>, String> {
    let path = Path::new(FOLDER).join("Cargo.toml");
    Ok(binaries(&files::read(&path)?))
}

fn binaries(manifest: &str) -> Vec<String> {
    let mut lines = manifest.lines();
    let mut names = Vec::new();
    while lines.any(|line| line == "[[bin]]") {
        let name = lines.next().and_then(|line| line.strip_prefix("name = \""));
        names.extend(name.and_then(|name| name.strip_suffix('"')).map(str::to_owned));
    }
    names
}

/// Where everything goes: builds, corpora, findings. You may delete all of it.
struct Place(PathBuf);

impl Place {
    fn new(folder: &Path) -> Result<Self, String> {
        files::create(&folder.join("findings"))?;
        // libFuzzer is started elsewhere.
        let folder = fs::canonicalize(folder);
        folder.map(Self).map_err(|error| format!("cannot find the target folder: {error}"))
    }

    fn command(&self, tool: &Path, command: &str) -> Command {
        let mut fuzz = Command::new(tool);
        // Optimised; the manifest turns on overflow checks and debug assertions anyway.
        fuzz.args([command, "-O", "--fuzz-dir", FOLDER, "--target-dir"]).arg(self.0.join("build"));
        // Not the cargo that runs this: it has another toolchain, and another target folder.
        fuzz.env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO").env_remove("CARGO_TARGET_DIR");
        fuzz.stdin(Stdio::null());
        fuzz
    }

    /// Runs a target. Returns what to do about its finding, if it has found something.
    fn fuzz(&self, tool: &Path, name: &str, time: u64) -> Result<Option<String>, String> {
        let [corpus, seeds] = ["corpus", "seeds"].map(|folder| self.0.join(folder).join(name));
        files::create(&corpus)?;
        let before = self.findings(name);
        let mut fuzz = self.command(tool, "run");
        let dictionary = fs::canonicalize(Path::new(FOLDER).join("words.dict"));
        let dictionary = dictionary.map_err(|error| format!("no dictionary: {error}"))?;
        let findings = self.0.join("findings");
        fuzz.arg(name).arg(&corpus).arg(&seeds).args([
            "--".to_owned(),
            format!("-max_total_time={time}"),
            format!("-timeout={TIMEOUT}"),
            format!("-dict={}", dictionary.display()),
            format!("-artifact_prefix={}/{name}-", findings.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        let status = fuzz.status().map_err(|error| format!("cannot start cargo-fuzz: {error}"))?;
        if status.success() {
            return Ok(None);
        }
        let new = self.findings(name).into_iter().find(|path| !before.contains(path));
        let Some(path) = new else {
            return Err(format!("{name} has ended with {}", exit_code(status)));
        };
        let path = path.display();
        Ok(Some(format!(
            "{name} has found something. Reproduce it, with any compiler, by\n    \
             cargo run -p sse-fuzz-bodies -- run {name} {path}\n\
             make the input smaller by\n    \
             cargo +nightly fuzz tmin --fuzz-dir {FOLDER} {name} {path}\n\
             and keep it for all later runs of the tests by\n    \
             cp {path} {FOLDER}/seeds/{name}/"
        )))
    }

    fn findings(&self, name: &str) -> Vec<PathBuf> {
        let files = fs::read_dir(self.0.join("findings")).into_iter().flatten().flatten();
        let prefix = format!("{name}-");
        let is_its = |path: &PathBuf| {
            path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&prefix))
        };
        files.map(|file| file.path()).filter(is_its).collect()
    }
}

/// cargo-fuzz: the one that is installed, or one of our own.
fn cargo_fuzz(tools: &Path) -> Result<PathBuf, String> {
    let starts = |program: &Path| {
        let mut version = Command::new(program);
        version.args(["fuzz", "--version"]).stdin(Stdio::null());
        version.output().is_ok_and(|output| output.status.success())
    };
    let own = tools.join("bin/cargo-fuzz");
    for program in [PathBuf::from("cargo-fuzz"), own.clone()] {
        if starts(&program) {
            return Ok(program);
        }
    }
    say("cargo-fuzz is missing, and is built into the target folder");
    let mut install = cargo(&["install", "cargo-fuzz", "--locked", "--root"]);
    succeeds(install.arg(tools), "cargo-fuzz cannot be installed; cargo says above why")?;
    Ok(own)
}

fn succeeds(command: &mut Command, problem: &str) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{problem}: {error}"))?;
    if status.success() { Ok(()) } else { Err(problem.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_binaries() {
        let manifest = "[package]\nname = \"x\"\n\n[[bin]]\nname = \"a\"\npath = \"a.rs\"\n\n\
                        [[bin]]\nname = \"b\"\n";
        assert_eq!(binaries(manifest), ["a", "b"]);
    }
}
