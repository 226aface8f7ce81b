//! The step of `action.yml`, run as GitHub runs it: inputs are variables, results are files.
#![cfg(unix)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use sse_server::http::{self, HttpConfig};
use sse_server::hub::Hub;
use sse_server::storage::MemoryStorage;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;

/// A token that must not get into any result.
const TOKEN: &str = "a-secret-to-publish-with";

async fn server() -> String {
    let hub = Hub::new(Arc::new(MemoryStorage::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = http::router(hub.clone(), HttpConfig::new(TOKEN));
    tokio::spawn(async move { http::serve(listener, router, &hub, std::future::pending()).await });
    base
}

struct Job {
    folder: TempDir,
}

impl Job {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    async fn run(&self, inputs: &[(&str, &str)]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/action/probe.sh");
        let program = Path::new(env!("CARGO_BIN_EXE_sse-fuzz"));
        let built = program.parent().expect("a folder").to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(built).chain(env::split_paths(&path)));
        let mut step = Command::new("bash");
        step.arg(script).current_dir(self.folder.path()).kill_on_drop(true);
        step.env("PATH", path.expect("a path")).env("RUNNER_TEMP", self.folder.path());
        step.env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("GITHUB_OUTPUT", self.path("out"));
        // As GitHub has them: those without a value are empty.
        for name in ["PUBLISH", "PUBLISH_URL", "PUBLISH_TOKEN", "KNOWN", "LEVEL", "SARIF", "ARGS"] {
            step.env(format!("SSE_FUZZ_{name}"), "");
        }
        for (name, value) in inputs {
            step.env(format!("SSE_FUZZ_{name}"), value);
        }
        step.output().await.expect("there is bash")
    }
}

#[tokio::test]
async fn a_job_gets_a_summary_a_level_and_a_verdict() {
    let base = server().await;
    let url = format!("{base}/events/?channel=test");
    let publish = format!("{base}/publish/");
    let job = Job::new();
    let inputs = [
        ("URL", &*url),
        ("PUBLISH_URL", &publish),
        ("PUBLISH_TOKEN", TOKEN),
        ("SARIF", "found.sarif"),
        (
            "ARGS",
            "--wait 3 con.status con.type fmt res.loss res.duplicate res.order res.cut-mid-event",
        ),
    ];
    let output = job.run(&inputs).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(job.text("out"), "level=silver\n");
    let summary = job.text("summary");
    assert!(summary.contains("**silver**") && summary.contains("For gold"), "{summary}");
    assert!(job.text("found.sarif").contains("\"2.1.0\""));
    for name in ["out", "summary", "found.sarif"] {
        assert!(!job.text(name).contains(TOKEN), "{name} has the token");
    }

    let wanted = job.run(&[&inputs[..], &[("LEVEL", "gold")]].concat()).await;
    assert_eq!(wanted.status.code(), Some(1), "silver is below gold");
    assert!(String::from_utf8_lossy(&wanted.stdout).contains("::error::"), "{wanted:?}");
}

#[tokio::test]
async fn what_is_no_stream_fails_and_inputs_are_no_commands() {
    let base = server().await;
    let job = Job::new();
    let output = job.run(&[("URL", &format!("{base}/health/live"))]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(job.text("out"), "level=none\n");
    let url = format!("{base}/events/?channel=$(touch${{IFS}}made)");
    let args = "con.status $(touch made) ; touch made";
    drop(job.run(&[("URL", &url), ("ARGS", args)]).await);
    assert!(!job.path("made").exists(), "an input was run as a command");
}
