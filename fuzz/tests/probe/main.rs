//! `sse-fuzz probe`: each fault of a server is found by its own check, and a server without one is
//! left alone. `matrix.json` says for each fault what is found, all of it.

mod command;
mod faulty;
mod ours;
#[cfg(unix)]
mod process;
mod secure;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use faulty::Server;
use secure::Front;
use serde::Deserialize;
use sse_fuzz::probe::{Hook, Profile, Report, Settings, Target, Trust, Verdict, checks, run};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const TOKEN: &str = "a-token-of-the-tests";

/// How many servers are probed at once. Most of the time all of them wait.
const AT_ONCE: usize = 32;

/// How many, where they should not be disturbed.
const QUIETLY: usize = 4;

/// How many checks a slow server is put to; for the next ones there is another server of the kind.
const PART: usize = 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "these are cells of a table")]
struct Row {
    fault: String,
    /// Of the stream, if it is another.
    path: Option<String>,
    header: Option<String>,
    /// The second user's.
    second: Option<String>,
    profile: Option<String>,
    /// Whether the probe may publish.
    publish: bool,
    aggressive: bool,
    /// Whether the server is a process of its own.
    process: bool,
    /// Whether it is reached by TLS.
    tls: bool,
    /// Whether it takes long, since the server keeps each request waiting, or the check does.
    slow: bool,
    /// Whether the first look is believed.
    once: bool,
    /// How long to wait, in seconds, if it is not 4.
    wait: Option<u64>,
    /// What to look at; everything if empty.
    checks: Vec<String>,
    /// What is found, with the verdict.
    found: Vec<String>,
}

fn matrix() -> Vec<Row> {
    serde_json::from_str(include_str!("matrix.json")).expect("the matrix is JSON")
}

/// A server, here or in a process of its own.
enum Probed {
    Here(Server),
    Behind(Front, #[expect(dead_code, reason = "it serves while it is kept")] Server),
    #[cfg(unix)]
    Process(Box<process::Process>),
}

impl Probed {
    async fn start(row: &Row) -> Self {
        #[cfg(unix)]
        if row.process {
            return Self::Process(Box::new(process::Process::start(&row.fault).await));
        }
        let server = Server::start(&row.fault);
        if row.tls {
            return Self::Behind(Front::start(&row.fault, server.address).await, server);
        }
        Self::Here(server)
    }

    fn url(&self, path: &str) -> String {
        match self {
            Self::Here(server) => server.url(path),
            Self::Behind(front, _) => front.url(path),
            #[cfg(unix)]
            Self::Process(server) => server.url(path),
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Here(_) | Self::Behind(..) => None,
            #[cfg(unix)]
            Self::Process(server) => server.pid(),
        }
    }
}

async fn probed(server: &Probed, row: &Row) -> Report {
    let path = row.path.as_deref().unwrap_or("/events?channel=test");
    let trust = Trust::anyone();
    let target =
        |path: &str| Target::new(&server.url(path)).expect("a URL").trusting(trust.clone());
    let publish = row.publish.then(|| Hook::Url {
        target: target("/publish"),
        token: Some(TOKEN.to_owned()),
        headers: Vec::new(),
        channel: "test".to_owned(),
    });
    let header = |header: &Option<String>| -> Vec<(String, String)> {
        let parts = header.as_deref().and_then(|header| header.split_once(": "));
        parts.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    };
    let profile = row.profile.as_deref().map(|name| Profile::from_str(name, true));
    let settings = Settings {
        checks: row.checks.clone(),
        headers: header(&row.header),
        second_headers: header(&row.second),
        profile: profile.map_or(Profile::Eventsource, |profile| profile.expect("a profile")),
        publish,
        aggressive: row.aggressive,
        wait: Duration::from_secs(row.wait.unwrap_or(4)),
        pid: server.pid(),
        once: row.once,
        deadline: Duration::from_mins(10),
        ..Settings::default()
    };
    run(target(path), settings, |_| {}).await.expect("there are such checks")
}

/// What it has to say, with the verdict; notes as well.
fn found(report: &Report) -> Vec<String> {
    let loud = report.checks.iter().filter_map(|outcome| match outcome.verdict {
        Verdict::Fail => Some(format!("{} fail", outcome.id)),
        Verdict::Warn => Some(format!("{} warn", outcome.id)),
        Verdict::Info => Some(format!("{} info", outcome.id)),
        _ => None,
    });
    loud.collect()
}

/// Probes a server for each row, so many at once. Returns those of which something else was found,
/// with what.
async fn wrong(rows: Vec<Row>, at_once: usize) -> Vec<(Row, Vec<String>)> {
    let slots = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for row in rows {
        let slots = Arc::clone(&slots);
        running.spawn(async move {
            let _slot = slots.acquire().await.expect("it is never closed");
            let server = Probed::start(&row).await;
            let report = probed(&server, &row).await;
            let found = found(&report);
            if found == row.found {
                return None;
            }
            let mut text = vec![format!("{}: {found:?}, but expected {:?}", row.fault, row.found)];
            for outcome in report.checks {
                let is_meant = row.found.iter().any(|name| name.starts_with(&outcome.id));
                let is_quiet = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
                if is_meant || !is_quiet {
                    text.push(format!(
                        "    {} {:?} {}",
                        outcome.id, outcome.verdict, outcome.reason
                    ));
                }
            }
            Some((row, text))
        });
    }
    let mut wrong = Vec::new();
    while let Some(row) = running.join_next().await {
        wrong.extend(row.expect("no panic"));
    }
    wrong
}

/// The parts of a row that all together make up the whole.
fn parts(row: &Row) -> Vec<Row> {
    if !row.checks.is_empty() {
        return vec![row.clone()];
    }
    let ids: Vec<String> = checks().iter().map(|check| check.id().to_owned()).collect();
    let part = |ids: &[String]| {
        let is_in = |found: &&String| ids.iter().any(|id| found.split(' ').next() == Some(id));
        let found = row.found.iter().filter(is_in).cloned().collect();
        Row { checks: ids.to_vec(), found, ..row.clone() }
    };
    ids.chunks(PART).map(part).collect()
}

fn rows_of(wrong: Vec<(Row, Vec<String>)>) -> Vec<Row> {
    wrong.into_iter().map(|(row, _)| row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_fault_is_left_alone_and_each_fault_is_found_by_its_check() {
    let mut rows = matrix();
    // Only Linux shows memory and descriptors.
    rows.retain(|row| !row.process || cfg!(target_os = "linux"));
    if let Ok(only) = std::env::var("ONLY") {
        rows.retain(|row| only.split(',').any(|name| row.fault.starts_with(name)));
    }
    for publish in [false, true, false, true] {
        rows.push(Row { fault: "none".to_owned(), publish, ..Row::default() });
    }
    let (faultless, faulty): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.fault.starts_with("none"));
    let (slow, faulty): (Vec<_>, Vec<_>) = faulty.into_iter().partition(|row| row.slow);
    let slow = slow.iter().flat_map(parts).collect();
    // Faults that depend on which event comes when may need another look, less and less disturbed
    // by others. The slow servers wait most of the time, and disturb the others little.
    let slow = async {
        let again = wrong(slow, AT_ONCE / 2).await;
        wrong(rows_of(again), QUIETLY).await
    };
    let others = async {
        let again = wrong(faulty, AT_ONCE).await;
        tokio::join!(wrong(rows_of(again), QUIETLY), wrong(faultless, QUIETLY))
    };
    let (slow, (again, faultless)) = tokio::join!(slow, others);
    let again = wrong(rows_of([slow, again].concat()), 1).await;
    let wrong: Vec<_> = again.into_iter().chain(faultless).flat_map(|(_, lines)| lines).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What rests on the clock: of each kind one, in all turns.
const OF_TIME: [&str; 6] =
    ["con.options", "con.errors", "fmt.first-byte", "tim.headers-late", "res.loss", "inj.data-nul"];

#[tokio::test(flavor = "multi_thread")]
async fn who_is_late_once_is_not_accused_and_who_always_is_is() {
    let found = ["con.options info", "con.errors info", "fmt.first-byte warn"];
    let found = [&found[..], &["tim.headers-late warn", "res.loss fail", "inj.data-nul fail"]];
    let found = found.concat();
    for (fault, once, accused, said) in [
        ("none but late once", false, &[][..], "failed once, passed on a second try"),
        ("none but late once", true, &found, ""),
        ("always late", false, &found, "; and so it was on a second try"),
    ] {
        let checks = OF_TIME.map(str::to_owned).to_vec();
        let row = Row { fault: fault.to_owned(), publish: true, once, checks, ..Row::default() };
        // A machine may have too much to do twice.
        let mut report = probed(&Probed::start(&row).await, &row).await;
        if self::found(&report) != accused {
            report = probed(&Probed::start(&row).await, &row).await;
        }
        assert_eq!(self::found(&report), accused, "{fault}, once: {once}");
        for outcome in &report.checks {
            assert!(outcome.reason.contains(said), "{}: {}", outcome.id, outcome.reason);
            let is_inconclusive = outcome.verdict == Verdict::Inconclusive;
            assert_eq!(is_inconclusive, accused.is_empty(), "{}", outcome.id);
        }
    }
}
