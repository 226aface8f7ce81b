//! This project's own server: nothing is to be said of it, over TLS either.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sse_fuzz::probe::{Hook, Report, Settings, Target, Trust, Verdict, run};
use sse_server::http::{self, HttpConfig, Operations, Tls};
use sse_server::hub::Hub;
use sse_server::storage::MemoryStorage;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::TOKEN;
use crate::secure::Certified;

struct Ours {
    serving: AbortHandle,
    authority: PathBuf,
    base: String,
    _certified: Certified,
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Ours {
    async fn start(has_tls: bool) -> Self {
        let certified = Certified::new();
        let tls = Tls::open(&certified.certificate(), &certified.key()).expect("they fit");
        let operations = Operations::default().tls(has_tls.then_some(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let hub = Hub::new(Arc::new(MemoryStorage::new()));
        let config = HttpConfig::new(TOKEN).operations(operations.clone());
        let router = http::router(hub.clone(), config);
        let serving = tokio::spawn(async move {
            http::serve_with(listener, router, &hub, &operations, std::future::pending()).await;
        });
        let scheme = if has_tls { "https" } else { "http" };
        Self {
            serving: serving.abort_handle(),
            authority: certified.certificate(),
            base: format!("{scheme}://localhost:{port}"),
            _certified: certified,
        }
    }

    async fn probed(&self, checks: &[&str]) -> Report {
        let trust = Trust::authority(&self.authority).expect("a certificate");
        let target = |path: &str| {
            let target = Target::new(&format!("{}{path}", self.base)).expect("a URL");
            target.trusting(trust.clone())
        };
        let settings = Settings {
            checks: checks.iter().map(ToString::to_string).collect(),
            publish: Some(Hook::Url {
                target: target("/publish/"),
                token: Some(TOKEN.to_owned()),
                headers: Vec::new(),
                channel: "test".to_owned(),
            }),
            aggressive: true,
            wait: Duration::from_secs(4),
            deadline: Duration::from_mins(10),
            ..Settings::default()
        };
        run(target("/events/?channel=test"), settings, |_| {}).await.expect("there are such checks")
    }
}

fn is_clean(report: &Report) {
    assert_eq!(report.problem, None);
    for outcome in &report.checks {
        let is_bad = matches!(outcome.verdict, Verdict::Fail | Verdict::Warn);
        assert!(!is_bad, "{outcome:#?}");
    }
}

fn passes(report: &Report, id: &str) {
    let outcome = report.checks.iter().find(|outcome| outcome.id == id).expect(id);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_nothing_is_wrong_with_it() {
    let server = Ours::start(true).await;
    let report = server.probed(&["con", "fmt", "tim", "res", "rob"]).await;
    is_clean(&report);
    for id in ["con.status", "con.h2", "con.h2-headers", "res.loss", "res.busy-loss"] {
        passes(&report, id);
    }
    for id in ["rob.resets", "rob.h2", "rob.tls-cut"] {
        passes(&report, id);
    }
    let curl = &report.checks[0].exchanges[0].curl;
    assert!(curl.contains("--cacert") && curl.contains("https://localhost:"), "{curl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_http2_in_the_clear_nothing_is_wrong_with_it() {
    let server = Ours::start(false).await;
    let report = server.probed(&["con", "rob.h2", "rob.tls-cut"]).await;
    is_clean(&report);
    for id in ["con.h2", "con.h2-headers", "rob.h2"] {
        passes(&report, id);
    }
    let outcome = |id: &str| report.checks.iter().find(|outcome| outcome.id == id).expect("it");
    let curl = &outcome("con.h2-headers").exchanges[0].curl;
    assert!(curl.contains("--http2-prior-knowledge"), "{curl}");
    assert_eq!(outcome("rob.tls-cut").verdict, Verdict::Skip);
}
