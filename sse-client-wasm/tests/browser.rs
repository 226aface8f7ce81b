//! The package in a real browser, in a window and in a worker, against a server that misbehaves.
//! The tests themselves are JavaScript, in `page/`: each is named for what it shows.
//!
//! They need a browser and the package. `cargo xtask test` sees to both.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::path::Path;

use faults::Faults;
use serde::Deserialize;
use serde_json::json;
use testkit::browser::Browser;
use tokio::time::{Duration, Instant};

/// How a test in the page has ended.
#[derive(Debug, Deserialize)]
struct Outcome {
    name: String,
    error: Option<String>,
}

/// Runs the tests of a file in `page/`, and fails with those that have failed.
async fn run(file: &str, place: &str) {
    let Some(package) = npm::package() else { return };
    let Some(browser) = Browser::start().await else { return };
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = vec![
        ("package", package),
        ("page", own.join("tests/page")),
        ("vectors", own.join("../sse-proto/vectors")),
    ];
    let faults = Faults::start(folders).await;
    browser.open(&faults.page(file, place)).await;
    let deadline = Instant::now() + Duration::from_secs(240);
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

/// A page is left, with an open stream, and comes back as it was.
async fn comes_back(kind: &str) {
    let Some(package) = npm::package() else { return };
    let Some(browser) = Browser::start().await else { return };
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = vec![("package", package), ("page", own.join("tests/page"))];
    let faults = Faults::start(folders).await;
    let stream = |id: &str| {
        json!({
            "head": "200 OK\r\nContent-Type: text/event-stream",
            "body": [format!("id: {id}\ndata: event {id}\n\n")], "end": "hang",
        })
    };
    faults.set("kept", &json!([stream("1"), stream("2")]));
    let address = faults.address;
    browser.open(&format!("http://{address}/page/kept.html?{kind}&http://{address}/s/kept")).await;
    let seen = "return window.seen?.join() ?? ''";
    browser.until_told(seen, "open,event 1").await;
    browser.open(&format!("http://{address}/page/service-worker.js")).await;
    browser.run("history.back()").await;
    browser.until_told(seen, "event 2").await;
    assert_eq!(browser.run(seen).await, json!("open,event 1,back,open,event 2"), "{kind}");
}

#[tokio::test]
async fn a_page_that_the_browser_has_kept_goes_on_without_an_error() {
    for kind in ["ReconnectingEventSource", "EventSource", "SharedEventSource"] {
        comes_back(kind).await;
    }
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
async fn what_was_reported_of_others_is_no_fault_in_a_window() {
    run("reported", "window").await;
}

#[tokio::test]
async fn what_was_reported_of_others_is_no_fault_in_a_worker() {
    run("reported", "worker").await;
}

#[tokio::test]
async fn a_page_with_credentials_in_its_address_has_sources() {
    run("credentials", "window").await;
}

#[tokio::test]
async fn sources_and_events_look_like_the_platforms_in_a_window() {
    run("surface", "window").await;
}

#[tokio::test]
async fn sources_and_events_look_like_the_platforms_in_a_worker() {
    run("surface", "worker").await;
}

#[tokio::test]
async fn pages_share_connections() {
    run("shared", "window").await;
}

#[tokio::test]
async fn the_package_works_in_script_tags_and_in_a_service_worker() {
    run("places", "window").await;
}
