//! `sse-fuzz grip`: each fault of an origin is found by its own check, and an origin without one is
//! left alone. `matrix.json` says for each fault what is found, all of it.

mod command;
mod faulty;

use std::sync::Arc;
use std::time::Duration;

use faulty::{ISSUER, KEY, Origin, PUBLIC};
use serde::Deserialize;
use sse_fuzz::grip::{Settings, Signer, run};
use sse_fuzz::probe::{Hook, Report, Target, Verdict};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many origins are asked at once. Most of the time all of them wait.
const AT_ONCE: usize = 8;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    fault: String,
    /// What is found, with the verdict.
    found: Vec<String>,
}

/// What there is to say, with the verdict; notes as well.
fn found(report: &Report) -> Vec<String> {
    let loud = report.checks.iter().filter_map(|outcome| match outcome.verdict {
        Verdict::Fail => Some(format!("{} fail", outcome.id)),
        Verdict::Warn => Some(format!("{} warn", outcome.id)),
        Verdict::Info => Some(format!("{} info", outcome.id)),
        _ => None,
    });
    loud.collect()
}

/// All that has come of it, for a test that has failed.
fn told(report: &Report) -> String {
    let line = |outcome: &sse_fuzz::probe::Outcome| {
        format!("    {} {:?} {}", outcome.id, outcome.verdict, outcome.reason)
    };
    report.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn signer() -> Signer {
    let signer = Signer::new(KEY).expect("a secret").issuer(Some(ISSUER.to_owned()));
    signer.public(Some(PUBLIC.to_owned()))
}

fn user(name: &str) -> Vec<(String, String)> {
    vec![("X-User".to_owned(), name.to_owned())]
}

async fn asked(fault: &str, checks: &[&str]) -> Report {
    let origin = Origin::start(fault).await;
    let publish = Target::new(&origin.url("/publish")).expect("a URL");
    let settings = Settings {
        headers: user("alice"),
        second_headers: user("bob"),
        publish: Some(Hook::Url {
            target: publish,
            token: None,
            headers: Vec::new(),
            channel: String::new(),
        }),
        wait: Duration::from_secs(2),
        checks: checks.iter().map(ToString::to_string).collect(),
        ..Settings::new(signer())
    };
    let target = Target::new(&origin.url("/events")).expect("a URL");
    run(target, settings, |_| {}).await.expect("there are such checks")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_without_fault_is_left_alone_and_each_fault_is_found_by_its_check() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("matrix.json")).expect("it is JSON");
    let only = std::env::var("ONLY").unwrap_or_default();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for row in rows.into_iter().filter(|row| row.fault.starts_with(&only)) {
        let slots = Arc::clone(&slots);
        running.spawn(async move {
            let _slot = slots.acquire().await.expect("it is never closed");
            let report = asked(&row.fault, &[]).await;
            let found = found(&report);
            let is_clean = row.fault.starts_with("none");
            let is_known = |outcome: &sse_fuzz::probe::Outcome| {
                matches!(outcome.verdict, Verdict::Pass | Verdict::Skip)
            };
            // Nothing stays undecided where nothing is wrong.
            let is_decided = !is_clean || report.checks.iter().all(is_known);
            (found != row.found || !is_decided).then(|| {
                let Row { fault, found: expected } = row;
                format!("{fault}: {found:?}, but expected {expected:?}\n{}", told(&report))
            })
        });
    }
    let mut wrong = Vec::new();
    while let Some(row) = running.join_next().await {
        wrong.extend(row.expect("no panic"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_late_once_is_not_accused_and_one_that_always_is_is() {
    for (fault, verdict, said) in [
        ("late once", Verdict::Inconclusive, "failed once, passed on a second try"),
        ("always late", Verdict::Warn, "and so it was on a second try"),
    ] {
        let report = asked(fault, &["sig.direct"]).await;
        let [outcome] = &*report.checks else { panic!("one check: {}", told(&report)) };
        assert_eq!(outcome.verdict, verdict, "{fault}: {}", outcome.reason);
        assert!(outcome.reason.contains(said), "{fault}: {}", outcome.reason);
    }
}

#[test]
fn each_check_has_a_fault_that_it_finds() {
    let rows: Vec<Row> = serde_json::from_str(include_str!("matrix.json")).expect("it is JSON");
    for check in sse_fuzz::grip::checks() {
        let finds = |row: &Row| row.found.iter().any(|it| it.split(' ').next() == Some(check.id()));
        assert!(rows.iter().any(finds), "{} finds nothing", check.id());
    }
}
