//! The package in the runtimes besides Node and browsers: Bun, Deno, and Cloudflare's workerd.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use faults::Faults;
use serde_json::json;
use tempfile::TempDir;
use testkit::wait::{DEADLINE, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

/// The package, installed in a folder with the scripts in `node/`, and where the runtimes are.
async fn installed() -> Option<(TempDir, PathBuf)> {
    let (package, runtimes) = (npm::package()?, npm::runtimes()?);
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;
    for script in ["behaviour.mjs", "worker.mjs", "worker.capnp"] {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node").join(script);
        fs::copy(own, folder.path().join(script)).expect("copied");
    }
    Some((folder, runtimes.join("node_modules/.bin")))
}

#[tokio::test]
async fn redirects_connections_and_bodies_in_bun() {
    let Some((folder, programs)) = installed().await else { return };
    let mut bun = Command::new(programs.join("bun"));
    bun.arg("behaviour.mjs");
    npm::run(bun, folder.path()).await;
}

#[tokio::test]
async fn redirects_connections_and_bodies_in_deno() {
    let Some((folder, programs)) = installed().await else { return };
    let mut deno = Command::new(programs.join("deno"));
    deno.args(["run", "--allow-all", "--no-config", "--node-modules-dir=manual", "behaviour.mjs"]);
    deno.env("DENO_NO_UPDATE_CHECK", "1");
    npm::run(deno, folder.path()).await;
}

#[tokio::test]
async fn streams_are_read_in_workerd() {
    let Some((folder, programs)) = installed().await else { return };
    let faults = Faults::start(Vec::new()).await;
    let head = "200 OK\r\nContent-Type: text/event-stream";
    faults.set("worker", &json!([{"head": head, "body": ["data: a\n\ndata: [DONE]\n\n"]}]));
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let mut workerd = Command::new(programs.join("workerd"));
    workerd.args(["serve", "worker.capnp"]).arg(format!("--socket-addr=http={address}"));
    workerd.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let _workerd = workerd.spawn().expect("workerd can be started");
    let deadline = Instant::now() + DEADLINE;
    let mut socket = loop {
        match TcpStream::connect(address).await {
            Ok(socket) => break socket,
            Err(error) => assert!(Instant::now() < deadline, "workerd does not listen: {error}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    let request = format!(
        "GET /?stream=http://{}/s/worker HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n",
        faults.address
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("workerd to answer", socket.read_to_string(&mut answer)).await.expect("readable");
    assert!(answer.contains(r#"["a","a"]"#), "{answer}");
}
