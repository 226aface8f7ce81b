//! django-eventstream as the origin behind a GRIP proxy: what `sse-fuzz grip` finds in it.

use std::process::Stdio;
use std::time::Duration;

use sse_fuzz::grip::{Settings, Signer, run};
use sse_fuzz::probe::{Hook, Report, Target, Verdict};
use testkit::port::Port;
use testkit::services;
use testkit::wait::until;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const KEY: &str = "of-a-proxy-that-lives-for-a-minute";

struct Site {
    _process: Child,
    port: Port,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start(python: &str, prefix: &str) -> Self {
        let port = Port::reserve();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(python);
        command.args(["-m", "daphne", "-v", "0", "-b", "127.0.0.1"]);
        command.args(["-p", &port.number().to_string(), "django_site:application"]);
        command.current_dir("../fuzz/peers/files").env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("SITE_FOLDER", folder.path()).env("GRIP_PREFIX", prefix);
        // Nobody is there: what it publishes goes nowhere.
        let url = format!("http://127.0.0.1:9?iss=pushpin&verify-iss=pushpin&key={KEY}");
        command.env("GRIP_URL", url).stdin(Stdio::null()).stderr(Stdio::null());
        let process = command.kill_on_drop(true).spawn().expect("Python is there");
        let number = port.number();
        let listens = async || TcpStream::connect(("127.0.0.1", number)).await.is_ok();
        until("Django to listen", listens).await;
        Self { _process: process, port, _folder: folder }
    }

    async fn asked(&self, channel: &str) -> Report {
        let target = |path: String| Target::new(&format!("http://{}{path}", self.port));
        let publish = Hook::Url {
            target: target("/publish/".to_owned()).expect("a URL"),
            token: None,
            headers: Vec::new(),
            channel: channel.replace("%20", " "),
        };
        let signer = Signer::new(KEY).expect("a secret").issuer(Some("pushpin".to_owned()));
        let settings = Settings {
            publish: Some(publish),
            wait: Duration::from_secs(2),
            ..Settings::new(signer)
        };
        let stream = target(format!("/events/?channel={channel}")).expect("a URL");
        run(stream, settings, |_| {}).await.expect("there are such checks")
    }
}

fn found(report: &Report) -> Vec<String> {
    assert_eq!(report.problem, None);
    let is_bad = |verdict| matches!(verdict, Verdict::Fail | Verdict::Warn | Verdict::Info);
    let bad = report.checks.iter().filter(|outcome| is_bad(outcome.verdict));
    bad.map(|outcome| outcome.id.clone()).collect()
}

/// If one of these is found no more, Django is better than docs/grip.md says.
#[tokio::test(flavor = "multi_thread")]
async fn its_faults_as_an_origin_are_those_that_are_documented() {
    let Some(python) = services::variable("SSE_TEST_DJANGO") else { return };
    let site = Site::start(&python, "").await;
    let always = ["lnk.timeout", "lnk.query", "rec.malformed"];
    assert_eq!(found(&site.asked("plain").await), always);
    let encoded = found(&site.asked("a%20b").await);
    assert_eq!(encoded, ["hld.percent", "lnk.timeout", "lnk.query", "rec.malformed"]);
    drop(site);
    let site = Site::start(&python, "site-").await;
    let expected = [
        "hld.ids",
        "lnk.timeout",
        "lnk.query",
        "rec.gap",
        "rec.pages",
        "rec.snapshot",
        "rec.unknown",
    ];
    assert_eq!(found(&site.asked("plain").await), expected);
}
