//! What stands in for cargo in documents: it runs the program that cargo would have built, after a
//! look whether cargo would have built it. So a package, program or feature of another name is
//! noticed, and nothing is built a second time.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::inside::built;
use crate::root;

/// Hands what cargo says of the workspace to those who run documents.
pub(crate) const METADATA: &str = "DOCUMENTS_METADATA";

/// What cargo says of the workspace.
pub(crate) fn metadata() -> Result<String, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root());
    let output = command.output().map_err(|error| format!("cargo: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    // As little as is needed, since variables have limits.
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let packages = packages.iter().map(|package| {
        let targets = package["targets"].as_array().cloned().unwrap_or_default();
        let targets = targets.iter().map(|target| {
            serde_json::json!({"name": target["name"], "kind": target["kind"][0],
                "required-features": target["required-features"]})
        });
        let features = package["features"].as_object().cloned().unwrap_or_default();
        serde_json::json!({"name": package["name"], "publish": package["publish"],
            "default": features.get("default"),
            "features": features.keys().collect::<Vec<_>>(), "targets": targets.collect::<Vec<_>>()})
    });
    Ok(Value::Array(packages.collect()).to_string())
}

/// Runs what a command of cargo's runs, in its place.
pub(crate) fn stand_in(args: &[String]) -> ExitCode {
    match look_at(args) {
        Ok(Some((program, rest))) => {
            let error = Command::new(built().join(&program)).args(rest).exec();
            eprintln!("{program}: {error}; `cargo test --workspace --no-run` builds it");
            ExitCode::FAILURE
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cargo {}: {why}", args.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Looks at the commands of cargo's in a block that is not run.
pub(crate) fn check_lines(block: &str) -> Result<(), String> {
    for line in block.lines() {
        let line = line.trim_start_matches("$ ");
        let command = line.split([';', '|', '&']).map(str::trim).find_map(|command| {
            command.split(" #").next().and_then(|command| command.strip_prefix("cargo "))
        });
        if let Some(command) = command {
            let args: Vec<_> = command
                .split_whitespace()
                .map(|word| word.trim_matches(['\'', '"']).to_owned())
                .collect();
            look_at(&args).map_err(|why| format!("{line}: {why}"))?;
        }
    }
    Ok(())
}

/// The program that would run, with its arguments, if one would.
fn look_at(args: &[String]) -> Result<Option<(String, Vec<String>)>, String> {
    let (own, rest) = match args.iter().position(|arg| arg == "--") {
        Some(at) => (&args[..at], args[at + 1..].to_vec()),
        None => (args, Vec::new()),
    };
    let command = own.first().map(String::as_str).unwrap_or_default();
    let packages: Value = serde_json::from_str(&env::var(METADATA).unwrap_or_default())
        .map_err(|error| error.to_string())?;
    match command {
        "xtask" => {
            let help = include_str!("../../../src/main.rs");
            let name = args.get(1).map(String::as_str).unwrap_or_default();
            if !help.contains(&format!("\ncargo xtask {name}")) {
                return Err(format!("there is no command {name:?}"));
            }
            Ok(Some(("xtask".to_owned(), args[1..].to_vec())))
        }
        "run" => {
            let name = if value(own, &["-p", "--package"]).is_some() {
                program(package(&packages, own)?, own)?
            } else {
                // In the project's folder a program is known by its name.
                let all = packages.as_array().into_iter().flatten();
                let mut found = all.map(|package| program(package, own)).filter_map(Result::ok);
                found.next().ok_or("there is no such program, or it needs a feature")?
            };
            Ok(Some((name, rest)))
        }
        "install" => program(package(&packages, own)?, own).map(|_| None),
        // Other people's packages are theirs.
        "add" if !named(own).starts_with("sse") => Ok(None),
        "add" => package(&packages, own).map(|_| None),
        "build" | "test" | "check" | "clippy" | "doc" | "mutants" => {
            if value(own, &["-p", "--package"]).is_some() {
                package(&packages, own)?;
            }
            Ok(None)
        }
        "fmt" => Ok(None),
        _ => Err("this test does not know the command (xtask/documents/tests/documents/cargo.rs)"
            .to_owned()),
    }
}

/// The value of a flag.
fn value<'a>(args: &'a [String], names: &[&str]) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let long = names.iter().find_map(|name| arg.strip_prefix(&format!("{name}=")));
        long.or_else(|| {
            names.contains(&arg.as_str()).then(|| args.get(at + 1).map(String::as_str))?
        })
    })
}

/// The name of a package, without its version. `add` and `install` have it without a flag.
fn named(args: &[String]) -> &str {
    let bare = || args.iter().skip(1).find(|arg| !arg.starts_with('-')).map(String::as_str);
    let name = value(args, &["-p", "--package"]).or_else(bare).unwrap_or_default();
    name.split('@').next().unwrap_or_default()
}

fn package<'p>(packages: &'p Value, args: &[String]) -> Result<&'p Value, String> {
    let name = named(args);
    let found = packages.as_array().into_iter().flatten().find(|package| package["name"] == name);
    let package = found.ok_or_else(|| format!("there is no package {name:?}"))?;
    let features = value(args, &["-F", "--features"]).unwrap_or_default();
    for feature in features.split([',', ' ']).filter(|feature| !feature.is_empty()) {
        let all = package["features"].as_array().into_iter().flatten();
        if !all.clone().any(|known| known == feature) {
            return Err(format!("{name} has no feature {feature:?}"));
        }
    }
    Ok(package)
}

/// The program that `cargo run` runs.
fn program(package: &Value, args: &[String]) -> Result<String, String> {
    let targets = package["targets"].as_array().into_iter().flatten();
    let (kind, name) = match value(args, &["--example"]) {
        Some(name) => ("example", Some(name)),
        None => ("bin", value(args, &["--bin"])),
    };
    let mut fitting = targets
        .filter(|target| target["kind"] == kind && name.is_none_or(|name| target["name"] == name));
    let (target, others) = (fitting.next(), fitting.next());
    let target =
        target.ok_or_else(|| format!("there is no {kind} {}", name.unwrap_or_default()))?;
    if others.is_some() {
        return Err("there are several programs; name one with --bin".to_owned());
    }
    let given = value(args, &["-F", "--features"]).unwrap_or_default();
    let mut given: Vec<_> = given.split([',', ' ']).collect();
    if !args.iter().any(|arg| arg == "--no-default-features") {
        let default = package["default"].as_array().into_iter().flatten();
        given.extend(default.filter_map(Value::as_str));
    }
    for needed in target["required-features"].as_array().into_iter().flatten() {
        if !needed.as_str().is_some_and(|needed| given.contains(&needed)) {
            return Err(format!("{} needs the feature {needed}", target["name"]));
        }
    }
    let name = target["name"].as_str().unwrap_or_default();
    Ok(if kind == "example" { format!("examples/{name}") } else { name.to_owned() })
}
