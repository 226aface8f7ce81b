//! The package in a real browser, in a window and in a worker, against a server that misbehaves. The
//! tests themselves are JavaScript, in `page/`: each is named for what it shows.
//!
//! They need a browser and the package. `cargo xtask test` sees to both.

#[allow(dead_code, reason = "only a part of it is needed here")]
#[path = "../../sse-server/tests/browser/mod.rs"]
mod browser;
#[allow(dead_code, reason = "each test file uses its part")]
mod faults;

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use browser::Browser;
use faults::Faults;
use serde::Deserialize;
use tokio::time::{Duration, Instant};

/// What the browser's room expects of the crate that it is in.
mod server {
    use std::time::Duration;

    pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

    pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
        let done = tokio::time::timeout(DEADLINE, work).await;
        done.unwrap_or_else(|_| panic!("timed out: {what}"))
    }
}

/// How a test in the page has ended.
#[derive(Debug, Deserialize)]
struct Outcome {
    name: String,
    error: Option<String>,
}

/// The folder that `cargo xtask wasm` has made.
fn package() -> Option<PathBuf> {
    let package = env::var_os("SSE_WASM_PACKAGE").filter(|path| !path.is_empty());
    if package.is_none() {
        // Past the test harness, which keeps what tests print to itself.
        let text = "left out, it needs the npm package; `cargo xtask test` builds it";
        let _ = writeln!(io::stderr(), "{}: {text}", std::thread::current().name().unwrap_or(""));
    }
    package.map(PathBuf::from)
}

/// Runs the tests of a file in `page/`, and fails with those that have failed.
async fn run(file: &str, place: &str) {
    let Some(package) = package() else { return };
    let Some(browser) = Browser::start().await else { return };
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = vec![
        ("package", package),
        ("page", own.join("tests/page")),
        ("vectors", own.join("../sse-proto/vectors")),
    ];
    let faults = Faults::start(folders).await;
    browser.open(&faults.page(file, place)).await;
    let deadline = Instant::now() + Duration::from_mins(2);
    let outcomes: Vec<Outcome> = loop {
        let results = browser.run("return window.results ?? null").await;
        if !results.is_null() {
            break serde_json::from_value(results).expect("a list of outcomes");
        }
        assert!(Instant::now() < deadline, "{file} does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let failed: Vec<_> = outcomes
        .iter()
        .filter_map(|Outcome { name, error }| Some(format!("{name}: {}", error.as_ref()?)))
        .collect();
    assert!(!outcomes.is_empty(), "{file} has no tests");
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), outcomes.len(), failed.join("\n"));
}

#[tokio::test]
async fn the_conformance_cases_pass_in_a_window() {
    run("vectors", "window").await;
}

#[tokio::test]
async fn the_conformance_cases_pass_in_a_worker() {
    run("vectors", "worker").await;
}

#[tokio::test]
async fn the_faults_of_the_old_libraries_are_gone_in_a_window() {
    run("faults", "window").await;
}

#[tokio::test]
async fn the_faults_of_the_old_libraries_are_gone_in_a_worker() {
    run("faults", "worker").await;
}

#[tokio::test]
async fn sources_behave_in_a_window() {
    run("behaviour", "window").await;
}

#[tokio::test]
async fn sources_behave_in_a_worker() {
    run("behaviour", "worker").await;
}

#[tokio::test]
async fn the_package_works_in_script_tags_and_in_a_service_worker() {
    run("places", "window").await;
}
