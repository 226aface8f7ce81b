//! `sse-fuzz fuzz`: each fault of a server is found, made small and can be played again; in a
//! server without fault nothing is found.

mod command;
mod faulty;
#[path = "../probe/secure.rs"]
#[allow(dead_code, reason = "the probe's tests need more of it")]
mod secure;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use faulty::{Fault, Server};
use secure::Certified;
use sse_fuzz::campaign::{Case, Finding, Kind, Raw, Report, Settings, run};
use sse_fuzz::probe::{Target, Trust};
use sse_server::http::{self, HttpConfig, Operations, Tls};
use sse_server::hub::Hub;
use sse_server::storage::{MemoryStorage, NewEvent};
use tokio::net::TcpListener;

fn settings(cases: u64) -> Settings {
    Settings {
        cases,
        time: Duration::from_mins(3),
        patience: Duration::from_secs(1),
        warm_up: Duration::from_millis(500),
        shrinking: Duration::from_mins(1),
        ..Settings::default()
    }
}

async fn fuzzed(url: &str, settings: &Settings) -> Report {
    fuzzed_at(Target::new(url).expect("a URL"), settings).await
}

async fn fuzzed_at(target: Target, settings: &Settings) -> Report {
    let report = Mutex::new(Report::default());
    run(target, settings, &report, |_| {}).await;
    report.into_inner().expect("no panic")
}

/// The only finding that was seen again.
fn only(report: &Report) -> &Finding {
    let confirmed: Vec<_> = report.findings.iter().filter(|one| one.is_confirmed).collect();
    let [finding] = confirmed[..] else { panic!("one is to be found: {report:#?}") };
    assert!(finding.reproducer.is_minimal, "{finding:#?}");
    finding
}

async fn found(fault: Fault) -> (Kind, Vec<Case>) {
    let server = Server::start(fault);
    // A client that hangs is waited for.
    let patience = Duration::from_millis(if fault == Fault::Hang { 200 } else { 1000 });
    let settings = Settings { patience, ..settings(400) };
    let report = fuzzed(&server.url("/events?channel=test"), &settings).await;
    let reproducer = only(&report).reproducer.clone();
    assert_eq!(reproducer.cases.len(), 1, "{reproducer:#?}");
    (reproducer.kind, reproducer.cases)
}

fn with_header(name: &str, value: &str) -> Vec<Case> {
    vec![Case { headers: vec![(name.into(), Some(value.into()))], ..Case::default() }]
}

#[tokio::test]
async fn a_header_that_ends_the_process_is_found_down_to_the_byte() {
    assert_eq!(found(Fault::Crash).await, (Kind::Dead, with_header("Last-Event-ID", "\"")));
}

#[tokio::test]
async fn a_query_that_is_answered_with_500_is_found_down_to_the_byte() {
    let case = Case { query: Some(Raw(b"%".to_vec())), ..Case::default() };
    assert_eq!(found(Fault::Percent).await, (Kind::ServerError, vec![case]));
}

#[tokio::test]
async fn a_header_that_starves_the_others_is_found() {
    let expected = with_header("X-Forwarded-For", "");
    assert_eq!(found(Fault::Starve).await, (Kind::WitnessStarved, expected));
}

#[tokio::test]
async fn a_path_that_cuts_the_others_is_found() {
    let (kind, cases) = found(Fault::Cut).await;
    assert_eq!(kind, Kind::WitnessCut);
    assert_eq!(cases, [Case { path: Some("/..".into()), ..Case::default() }]);
}

#[tokio::test]
async fn a_method_that_is_never_answered_is_found() {
    let (kind, cases) = found(Fault::Hang).await;
    assert_eq!(kind, Kind::Hang);
    assert!(cases[0].method.is_some() && cases[0].parts().len() == 1, "{cases:?}");
}

#[tokio::test]
async fn a_request_that_is_left_unanswered_is_found() {
    assert_eq!(found(Fault::NoAnswer).await, (Kind::NoAnswer, with_header("Upgrade", "")));
}

#[tokio::test]
async fn nothing_is_found_where_there_is_nothing_and_the_number_of_requests_is_bounded() {
    let server = Server::start(Fault::None);
    let report = fuzzed(&server.url("/events"), &settings(300)).await;
    assert!(report.findings.is_empty() && report.problem.is_none(), "{report:#?}");
    assert_eq!(report.cases, 300);
    // A plain one after each, the first, and the witness.
    assert!(server.requests() <= 300 * 2 + 2, "{}", server.requests());
}

#[tokio::test]
async fn nothing_is_found_in_our_server() {
    nothing_is_found_in_ours(1000, None).await;
}

#[tokio::test]
async fn nothing_is_found_in_our_server_by_tls() {
    nothing_is_found_in_ours(300, Some(Certified::new())).await;
}

async fn nothing_is_found_in_ours(cases: u64, certified: Option<Certified>) {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let open = |files: &Certified| Tls::open(&files.certificate(), &files.key());
    let tls = certified.as_ref().map(|files| open(files).expect("they fit"));
    let operations = Operations::default().tls(tls);
    let config = HttpConfig::new("token").operations(operations.clone());
    let router = http::router(hub.clone(), config);
    let publisher = hub.clone();
    let serving = tokio::spawn(async move {
        http::serve_with(listener, router, &hub, &operations, std::future::pending()).await;
    });
    let publishing = tokio::spawn(async move {
        let event = NewEvent::new("test", "message", "tick");
        while publisher.publish(vec![event.clone()]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let scheme = if certified.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://localhost:{}/events/?channel=test", address.port());
    let mut target = Target::new(&url).expect("a URL");
    if let Some(files) = &certified {
        target = target.trusting(Trust::authority(&files.certificate()).expect("one"));
    }
    let report = fuzzed_at(target, &settings(cases)).await;
    assert_eq!(report.cases, cases);
    assert!(report.findings.is_empty() && report.problem.is_none(), "{report:#?}");
    publishing.abort();
    serving.abort();
}
