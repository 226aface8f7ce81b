//! The package in the runtimes besides Node and browsers: Bun, Deno, and Cloudflare's workerd.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use faults::Faults;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::wait::{DEADLINE, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant, sleep};

/// The package, installed in a folder with the scripts in `node/`, and where the runtimes are.
async fn installed() -> Option<(TempDir, PathBuf)> {
    let (package, runtimes) = (npm::package()?, npm::runtimes()?);
    let folder = tempfile::tempdir().expect("a temporary folder");
    npm::install(&package, folder.path()).await;
    npm::copy_scripts(folder.path());
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

/// The worker, and where it listens.
async fn worker(folder: &Path, programs: &Path) -> (Child, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port");
    let mut workerd = Command::new(programs.join("workerd"));
    workerd.args(["serve", "worker.capnp"]).arg(format!("--socket-addr=http={address}"));
    workerd.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let workerd = workerd.spawn().expect("workerd can be started");
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = TcpStream::connect(address).await {
        assert!(Instant::now() < deadline, "workerd does not listen: {error}");
        sleep(Duration::from_millis(50)).await;
    }
    (workerd, address)
}

/// What the worker answers.
async fn ask(address: SocketAddr, target: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("workerd to answer", socket.read_to_string(&mut answer)).await.expect("readable");
    answer
}

const STREAM: &str = "200 OK\r\nContent-Type: text/event-stream";

#[tokio::test]
async fn streams_are_read_in_workerd() {
    let Some((folder, programs)) = installed().await else { return };
    let faults = Faults::start(Vec::new()).await;
    faults.set("worker", &json!([{"head": STREAM, "body": ["data: a\n\ndata: [DONE]\n\n"]}]));
    let (_workerd, address) = worker(folder.path(), &programs).await;
    let answer = ask(address, &format!("/read?url=http://{}/s/worker", faults.address)).await;
    assert!(answer.contains(r#"["a","a"]"#), "{answer}");
}

#[tokio::test]
async fn secrets_go_to_no_other_origin_from_workerd_and_the_id_goes_in_the_header() {
    let Some((folder, programs)) = installed().await else { return };
    let faults = Faults::start(Vec::new()).await;
    for (name, status) in [("found", "302 Found"), ("kept", "307 Temporary Redirect")] {
        let head = format!("{status}\r\nLocation: http://{}/s/there", faults.other);
        faults.set(name, &json!([{ "head": head }]));
    }
    faults.set("there", &json!([{"head": STREAM, "body": ["data: a\n\n"]}]));
    faults.set("resumed", &json!([{"head": STREAM, "body": ["retry: 1\nid: 7\ndata: a\n\n"]}]));
    let (_workerd, address) = worker(folder.path(), &programs).await;
    let answer = ask(address, &format!("/moved?url=http://{}", faults.address)).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    let found = &body[body.find('{').unwrap_or(0)..=body.rfind('}').unwrap_or(body.len() - 1)];
    let expected = json!({
        "got": ["a"],
        "kept": ["request"],
        "seen": [["GET", null, null, "7", ""]],
        "resumed": ["/s/resumed", "7"],
    });
    assert_eq!(serde_json::from_str::<Value>(found).ok(), Some(expected), "{answer}");
}
