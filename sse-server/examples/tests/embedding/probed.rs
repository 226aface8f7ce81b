//! `sse-fuzz probe --strict` on streams below a path of an application.

use std::future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::{Router, routing::get};
use sse_fuzz::probe::{Hook, Profile, Settings, Target, Verdict, run};
use sse_server::access::PublishToken;
use sse_server::http::{self, Operations};
use sse_server::views::EventStreams;
use testkit::server::TOKEN;
use tokio::net::{TcpListener, TcpSocket};

fn application() -> (EventStreams, Router) {
    let streams = EventStreams::builder()
        .publish_token(PublishToken::for_all(TOKEN))
        .operations(Operations::default().hosts(["app.example".to_owned()]))
        .build();
    let app =
        Router::new().route("/", get(async || "the application")).nest("/sse", streams.router());
    (streams, app)
}

/// With as long a queue as the system allows.
fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let listener = socket.listen(65_535).expect("it is bound");
    let address = listener.local_addr().expect("it listens");
    (listener, address)
}

/// What a strict probe takes for a fault.
async fn faults(address: SocketAddr) -> Vec<String> {
    let url =
        |path: &str| Target::new(&format!("http://{address}/sse{path}")).expect("a URL in order");
    let settings = Settings {
        profile: Profile::Django,
        publish: Some(Hook::Url {
            target: url("/publish/"),
            token: Some(TOKEN.to_owned()),
            headers: Vec::new(),
            channel: "test".to_owned(),
        }),
        aggressive: true,
        wait: Duration::from_secs(4),
        deadline: Duration::from_mins(10),
        ..Settings::default()
    };
    let report = run(url("/events/?channel=test"), settings, |_| {}).await.expect("all checks");
    assert_eq!(report.problem, None);
    let of = |verdict| report.checks.iter().filter(move |outcome| outcome.verdict == verdict);
    let passed = of(Verdict::Pass).count();
    println!("{passed} of {} checks have passed", report.checks.len());
    assert!(passed > 100, "it has not looked at much");
    let faults = of(Verdict::Fail).chain(of(Verdict::Warn));
    faults.map(|outcome| format!("{}: {}", outcome.id, outcome.reason)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wrong_where_http_serve_serves() {
    let (streams, app) = application();
    let (listener, address) = listener();
    tokio::spawn(async move { http::serve(listener, app, streams.hub(), future::pending()).await });
    assert_eq!(faults(address).await, [] as [String; 0]);
}

/// For how long a connection may be about its request is not the streams' business. If nothing is
/// found any more, axum is better than docs/moving/axum.md says.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_axum_serve_has_no_limit_for_is_wrong_where_that_serves() {
    let (_streams, app) = application();
    let (listener, address) = listener();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let faults = faults(address).await;
    let [fault] = &*faults else { panic!("{faults:#?}") };
    assert!(fault.starts_with("rob.slowloris: "), "{fault}");
}
