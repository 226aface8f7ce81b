//! `cargo xtask test`: every check and test there is, as a table of steps.
//!
//! All steps use cargo's dev profile, and but for three the same features, so that little is
//! compiled twice.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use lexopt::prelude::*;

use crate::process::{self, cargo, output, say, target};
use crate::report::{Progress, Verdict, summary};
use crate::services::{self, Services};
use crate::setup::{self, Browser, Programs};
use crate::wasm::{self, Package, Trouble};
use crate::{Failure, Outcome, apt, dist, django, doubles, files, lanes, layout, msrv, packages};

/// What `sse-proto` may depend on, itself included. Everyone builds on this crate, so it stays
/// small: add a name only for a good reason.
const PROTO_MAY_USE: [&str; 5] = ["ssekit-proto", "bytes", "memchr", "nom", "percent-encoding"];

struct Step {
    name: &'static str,
    /// Run with `--quick` too.
    quick: bool,
    /// Pointless if the workspace does not compile.
    needs_build: bool,
    run: fn(&mut Progress, &mut Run) -> Result<(), Trouble>,
}

/// What one run has set up for later steps.
#[derive(Debug, Default)]
struct Run {
    options: Options,
    /// Started early, because they start while the tests are compiled.
    services: Option<Services>,
    /// The Python that has Django.
    django: Option<PathBuf>,
    /// The npm package.
    package: Option<Package>,
    /// The client in Rust as a program for pages, before wasm-bindgen has seen it.
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    quick: bool,
    no_browser: bool,
    no_services: bool,
}

impl Options {
    /// Why a step is left out, if it is.
    fn leaves_out(self, step: &str) -> Option<&'static str> {
        match step {
            BROWSER if self.no_browser => {
                Some("--no-browser; the tests of the live page are left out")
            }
            WASM if self.no_browser => {
                Some("--no-browser; the tests of the npm package are left out")
            }
            SERVICES if self.no_services => {
                Some("--no-services; the tests that need one are left out")
            }
            _ => None,
        }
    }
}

const SET_UP: &str = "set-up";
const BROWSER: &str = "browser";
const SERVICES: &str = "services";
const WASM: &str = "wasm";
const BUILD: &str = "build";
const PACKAGES: &str = "packages";
const HOSTILE: &str = "hostile";
const WASM32: &str = "sse-client, wasm32";
const TESTS: &str = "tests";

/// Names the program for pages to its tests.
const PROGRAM: &str = "SSE_WASM_PROGRAM";

const STEPS: [Step; 24] = [
    Step { name: SET_UP, quick: true, needs_build: false, run: set_up },
    Step { name: BROWSER, quick: true, needs_build: false, run: browser },
    Step { name: SERVICES, quick: true, needs_build: false, run: services },
    Step { name: WASM, quick: true, needs_build: false, run: wasm },
    Step { name: "wasm, from old lists", quick: false, needs_build: false, run: old_lists },
    Step { name: "fmt", quick: true, needs_build: false, run: fmt },
    Step { name: "layout", quick: true, needs_build: false, run: layout },
    Step { name: BUILD, quick: true, needs_build: false, run: build },
    Step { name: "clippy", quick: true, needs_build: true, run: clippy },
    Step { name: "doc", quick: false, needs_build: true, run: doc },
    Step { name: "no-std", quick: false, needs_build: false, run: no_std },
    Step { name: "rust 1.85", quick: false, needs_build: false, run: oldest_rust },
    Step { name: "dependencies", quick: false, needs_build: false, run: dependencies },
    Step { name: "sse-proto without std", quick: false, needs_build: false, run: proto },
    Step { name: "sse-proto, all features", quick: false, needs_build: false, run: all_features },
    Step { name: "sse-client, by hyper", quick: false, needs_build: false, run: by_hyper },
    Step { name: WASM32, quick: false, needs_build: false, run: client_for_wasm },
    Step { name: PACKAGES, quick: false, needs_build: false, run: packages },
    Step { name: "simulation", quick: false, needs_build: true, run: simulation },
    Step { name: "probe", quick: false, needs_build: true, run: probe },
    Step { name: HOSTILE, quick: false, needs_build: true, run: hostile },
    Step { name: "installed", quick: false, needs_build: true, run: installed },
    Step { name: "doubles", quick: false, needs_build: true, run: doubles },
    Step { name: TESTS, quick: true, needs_build: true, run: tests },
];

pub(crate) fn run(args: &mut lexopt::Parser) -> Outcome {
    let mut options = Options::default();
    let mut filters = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("quick") => options.quick = true,
            Long("no-browser") => options.no_browser = true,
            Long("no-services") => options.no_services = true,
            Value(filter) => filters.push(filter.string()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    let is_stray = |filter: &&String| !STEPS.iter().any(|step| step.name.contains(&***filter));
    if let Some(stray) = filters.iter().find(is_stray) {
        let names = STEPS.map(|step| step.name).join(", ");
        return Err(Failure::Usage(format!("no step has {stray:?} in its name: {names}")));
    }
    let steps: Vec<_> = STEPS.iter().filter(|step| wanted(step, &filters, options)).collect();

    let mut run = Run { options, ..Run::default() };
    let mut entries = Vec::new();
    let mut build_failed = false;
    for (index, step) in steps.iter().enumerate() {
        let mut progress = Progress::start(index + 1, steps.len(), step.name);
        let verdict = if step.needs_build && build_failed {
            Verdict::Skipped("the build failed".to_owned())
        } else if let Some(why) = options.leaves_out(step.name) {
            Verdict::Skipped(why.to_owned())
        } else {
            match (step.run)(&mut progress, &mut run) {
                Ok(()) => Verdict::Ok,
                Err(Trouble::Missing(why)) => Verdict::Skipped(why),
                Err(Trouble::Failed(why)) => Verdict::Failed(why),
            }
        };
        build_failed |= step.name == BUILD && verdict != Verdict::Ok;
        entries.push(progress.end(step.name, verdict));
    }
    drop(run);
    let (table, all_well) = summary(&entries);
    say(&table);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wanted(step: &Step, filters: &[String], options: Options) -> bool {
    let named = |name: &str| filters.iter().any(|filter| name.contains(filter.as_str()));
    match step.name {
        // Any step may need it.
        SET_UP => true,
        BROWSER | SERVICES | WASM | WASM32 if named(TESTS) => true,
        WASM if named(PACKAGES) || named(HOSTILE) => true,
        name => named(name) || (filters.is_empty() && (step.quick || !options.quick)),
    }
}

/// A command whose own output says what is wrong.
fn succeeds(progress: &mut Progress, command: Command) -> Result<(), Trouble> {
    if progress.run(command) { Ok(()) } else { Err(String::new().into()) }
}

fn set_up(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let run: process::Run<'_> = &mut |command| progress.run(command);
    apt::finish_what_was_begun(run);
    let found = [setup::components(run), setup::c_compiler(run)];
    let missing: Vec<_> = found.into_iter().filter_map(Result::err).collect();
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n").into()) }
}

fn browser(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    Ok(Browser::set_up(&mut |command| progress.run(command)).map(drop)?)
}

fn services(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    let programs = Programs::set_up(&mut |command| progress.run(command))?;
    let services = run.services.insert(Services::start(&programs)?);
    let between = setup::between(&mut |command| progress.run(command));
    services.know(&between);
    for name in setup::BETWEEN {
        if !between.iter().any(|(there, _)| *there == name) {
            say(&format!("{name} is not there; its tests are left out"));
        }
    }
    if let Err(why) = setup::strace(&mut |command| progress.run(command)) {
        say(&format!("the power is not cut: {why}"));
    }
    let django = django::set_up(&mut |command| progress.run(command));
    run.django = Some(django.map_err(|why| {
        format!("{why}\n`cargo xtask test --no-services` runs what does without Django")
    })?);
    Ok(())
}

fn wasm(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    let mut package = wasm::build(&mut |command| progress.run(command))?;
    package.keeps_to_its_budget()?;
    package.get_runtimes(&mut |command| progress.run(command));
    run.package = Some(package);
    Ok(())
}

fn old_lists(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    wasm::old_lists::build(&mut |command| progress.run(command))
}

fn fmt(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let workspace = succeeds(progress, cargo(&["fmt", "--all", "--check"]));
    // These are not in the workspace.
    [NO_STD_CHECK, FUZZ_TARGETS].iter().fold(workspace, |others, manifest| {
        let check = ["fmt", "--check", "--manifest-path", *manifest];
        others.and(succeeds(progress, cargo(&check)))
    })
}

/// The sizes of files, the lengths of comments, and modules of other crates.
fn layout(_: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    layout::check()
}

fn build(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    succeeds(progress, cargo(&["test", "--workspace", "--no-run"]))
}

fn clippy(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let features = ["clippy", "-p", "ssekit-proto", "--all-features", "--all-targets"];
    let mut all_features = cargo(&features);
    all_features.args(["--", "-D", "warnings"]);
    // With features, it is checked and tested in the workspace, where `documents` turns them on.
    let mut client = cargo(&["clippy", "-p", "ssekit-client"]);
    client.args(["--", "-D", "warnings"]);
    // What every embedder needs, and no more.
    let mut server = cargo(&["clippy", "-p", "ssekit-server", "--no-default-features"]);
    server.args(["--", "-D", "warnings"]);
    let workspace = succeeds(progress, cargo(&clippy));
    let packages = succeeds(progress, all_features).and(succeeds(progress, client));
    workspace.and(packages).and(succeeds(progress, server))
}

fn doc(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let mut doc = |packages: &[&str]| {
        let mut doc = cargo(&["doc", "--no-deps"]);
        doc.args(packages).env("RUSTDOCFLAGS", "-Dwarnings");
        succeeds(progress, doc)
    };
    let workspace = doc(&["--workspace"]);
    let proto = doc(&["-p", "ssekit-proto", "--all-features"]);
    workspace.and(proto).and(doc(&["-p", "ssekit-client", "--features", CLIENT_FEATURES]))
}

const NO_STD_CHECK: &str = "sse-proto/no-std-check/Cargo.toml";
const FUZZ_TARGETS: &str = "fuzz/targets/Cargo.toml";

/// Links sse-proto into a program without std, and runs it.
fn no_std(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let mut check = cargo(&["run", "--locked", "--manifest-path", NO_STD_CHECK]);
    check.arg("--target-dir").arg(target().join("no-std-check"));
    succeeds(progress, check)
}

/// Builds and tests our libraries with the oldest Rust that they support.
fn oldest_rust(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    msrv::check(&mut |command| progress.run(command))
}

fn dependencies(_: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let tree = [
        "tree",
        "-p",
        "ssekit-proto",
        "-e",
        "normal",
        "--target",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let output = output(&mut cargo(&tree))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let strangers = strangers(&tree);
    if strangers.is_empty() {
        return Ok(());
    }
    Err(format!(
        "sse-proto now also depends on {}, and should stay light. If there is a good reason, add the \
         name to PROTO_MAY_USE in xtask/src/checks.rs",
        strangers.join(", ")
    )
    .into())
}

/// The packages of `cargo tree` that are not allowed.
fn strangers(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut strangers: Vec<_> = names.filter(|name| !PROTO_MAY_USE.contains(name)).collect();
    strangers.sort_unstable();
    strangers.dedup();
    strangers
}

/// How many seeds are run in CI.
const SEEDS: &str = "40";

/// For how long faults are put in; those that are left are for `cargo xtask sim --mutants`.
const MUTANT_SECONDS: &str = "25";

/// Hubs in simulated time: these seeds are clean, some are run twice and are the same, and faults
/// that are put in are found.
fn simulation(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    // With the features of the whole workspace, so that nothing is compiled for this alone.
    let build = ["test", "--workspace", "--no-run", "--test", "simulation"];
    succeeds(progress, cargo(&build))?;
    let mut simulation = Command::new(target().join("debug/sse-sim"));
    simulation.args(["--seeds", SEEDS, "--mutants", "--seconds", MUTANT_SECONDS]);
    succeeds(progress, simulation)
}

fn proto(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let test = ["test", "-p", "ssekit-proto", "--no-default-features", "--no-fail-fast"];
    succeeds(progress, cargo(&test))
}

fn all_features(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let test = ["test", "-p", "ssekit-proto", "--all-features", "--no-fail-fast"];
    succeeds(progress, cargo(&test))
}

/// The native client without reqwest, which must not be in its tree.
fn by_hyper(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let client = ["-p", "ssekit-client", "--no-default-features"];
    let tree = ["tree", "--features", "hyper", "-e", "normal", "--prefix", "none"];
    let output = output(cargo(&tree).args(client))?;
    let tree = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || tree.lines().any(|line| line.starts_with("reqwest ")) {
        return Err(format!("reqwest is in the tree of sse-client by hyper:\n{tree}").into());
    }
    let features = ["test", "--features", "blocking,hyper,json,tower", "--no-fail-fast"];
    let mut test = cargo(&features);
    test.args(client);
    succeeds(progress, test)
}

/// The native client for pages: without a transport, and with `fetch`; and programs with it, of
/// which tests go on with one.
fn client_for_wasm(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let mut libraries = Command::new("rustc");
    libraries.args(["--print", "target-libdir", "--target", TARGET]);
    let folder = output(&mut libraries)?;
    let folder = String::from_utf8_lossy(&folder.stdout).trim().to_owned();
    if !std::path::Path::new(&folder).exists() {
        return Err(Trouble::Missing(format!(
            "there is no {TARGET}; get it by `rustup target add {TARGET}`"
        )));
    }
    for features in [&["--no-default-features"][..], &[]] {
        let mut clippy = cargo(&["clippy", "-p", "ssekit-client", "--lib", "--target", TARGET]);
        clippy.args(features).args(["--", "-D", "warnings"]);
        succeeds(progress, clippy)?;
    }
    let mut build = cargo(&["build", "-p", "ssekit-client", "--target", TARGET]);
    build.args(["--example", "page", "--example", "hostile_page"]);
    // Small, and fast enough for a million ids.
    build.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    succeeds(progress, build)?;
    let program = target().join(TARGET).join("debug/examples/hostile_page.wasm");
    run.program = Some(files::absolute(&program)?);
    Ok(())
}

/// Not all features: `native-tls` needs a library of the system's.
const CLIENT_FEATURES: &str = "blocking,cli,http2,hyper-rustls,json,tower";

/// What would be published.
fn packages(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    packages::check(run.package.as_ref(), &mut |command| progress.run(command))
}

/// `sse-fuzz probe` on this server, which must be clean, and on the one peer that needs nothing but
/// cargo.
fn probe(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let mut probe = Command::new(this);
    probe.args(["probe", "--built", "--strict", "ours", "axum"]).stdin(Stdio::null());
    succeeds(progress, probe)
}

/// `sse-fuzz hostile` on the npm package in Node. Its tests run it on the native client.
fn hostile(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    let Some(package) = &run.package else {
        return Err(Trouble::Missing("there is no npm package".to_owned()));
    };
    let fuzz = cargo(&["run", "--quiet", "-p", "ssekit-fuzz", "--bin", "sse-fuzz", "--"]);
    Ok(package.torment(fuzz, &mut |command| progress.run(command))?)
}

/// The wheel, the npm package and the Debian package of `sse-fuzz`, each in an empty folder.
fn installed(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    dist::installed::check(&mut |command| progress.run(command))
}

/// Others' clients in Python and Node, against services' doubles.
fn doubles(progress: &mut Progress, _: &mut Run) -> Result<(), Trouble> {
    doubles::check(&mut |command| progress.run(command))
}

fn tests(progress: &mut Progress, run: &mut Run) -> Result<(), Trouble> {
    let mut trouble = Ok(());
    if let Some(services) = &run.services {
        trouble = services.wait();
    }
    let has_services = trouble.is_ok();
    let prepare = |test: &mut Command| prepare_test(test, run, has_services);
    Ok(trouble?).and(lanes::run(progress, &prepare))
}

/// What is there for a test.
fn prepare_test(test: &mut Command, run: &Run, has_services: bool) {
    if run.options.quick {
        // How often the tests kill9 and chaos kill something.
        test.env("SSE_KILLS", "3").env("SSE_ROUNDS", "1");
    }
    match Browser::find() {
        Ok(browser) if !run.options.no_browser => browser.hand_to(test),
        // An earlier step has said that it is missing.
        _ => drop(test.env_remove(setup::CHROMEDRIVER)),
    }
    match &run.package {
        Some(package) => package.hand_to(test),
        // The same.
        None => Package::take_from(test),
    }
    match &run.program {
        Some(program) => test.env(PROGRAM, program),
        None => test.env_remove(PROGRAM),
    };
    // Tests delete what they find, so they must not find the services of the person who runs this.
    for name in services::VARIABLES {
        test.env_remove(name);
    }
    test.env_remove(django::VARIABLE);
    if let Some(python) = &run.django {
        test.env(django::VARIABLE, python);
    }
    if let (Some(services), true) = (&run.services, has_services) {
        services.hand_to(test);
    }
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn a_browser_and_services_are_set_up_only_for_the_tests() {
        let names = |filters: &[&str]| {
            let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
            let steps = STEPS.iter().filter(|step| wanted(step, &filters, Options::default()));
            steps.map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["fmt"]), [SET_UP, "fmt"]);
        assert_eq!(names(&["test"]), [SET_UP, BROWSER, SERVICES, WASM, WASM32, TESTS]);
        assert_eq!(names(&[]), STEPS.map(|step| step.name));
    }

    #[test]
    fn a_new_dependency_is_noticed_once() {
        let tree = "ssekit-proto v0.1.0 (/here)\nbytes v1.12.1\nserde v1.0.229\nnom v8.0.0\n\
                    memchr v2.8.3\nserde v1.0.229 (*)\nabc v1.0.0\n";
        assert_eq!(strangers(tree), ["abc", "serde"]);
    }
}
