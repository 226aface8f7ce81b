//! `cargo xtask bench wasm`: how fast events reach a listener in a page, beside the browser's own
//! `EventSource` and npm's eventsource-parser.
//!
//! The browser is started as a plain process: a debugger is told of each message of the browser's
//! `EventSource`, and slows it six-fold. The page measures, and posts what it has measured to the
//! server that it has the stream from.

#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use sse_client_wasm_peers::{BYTES, Measured};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;

/// How long all rounds may take together.
const WITHIN: Duration = Duration::from_mins(5);

/// Whose measurements the page posts.
const OURS: &str = "wasm";
const PEERS: [&str; 2] = ["native", "eventsource-parser"];

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench wasm: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let text = measure().await?;
    let measured = Measured::read(&text)?;
    println!("\n{:24}{:>10}{:>10}{:>10}", "MB/s", "best", "median", "worst");
    for (name, speeds) in &measured.speeds {
        let [worst, median, best] = [0, speeds.len() / 2, speeds.len() - 1].map(|at| speeds[at]);
        println!("{name:24}{best:10.0}{median:10.0}{worst:10.0}");
    }
    for peer in PEERS {
        let ratio = measured.median(OURS)? / measured.median(peer)?;
        println!("ratio wasm.{peer}.throughput {ratio:.2}");
    }
    Ok(())
}

/// What `cargo xtask` says where it is.
fn named(variable: &str) -> Result<PathBuf, String> {
    let path =
        env::var_os(variable).ok_or(format!("{variable} is not set; run `cargo xtask bench wasm`"));
    path.map(PathBuf::from)
}

/// What the page posts.
async fn measure() -> Result<String, Failure> {
    let (sender, mut results) = mpsc::channel(1);
    let stream = Bytes::from(stream());
    let folders = Folders {
        package: named("SSE_WASM_PACKAGE")?,
        tools: named("SSE_WASM_TOOLS")?.join("node_modules"),
    };
    let router = Router::new()
        .route("/stream", get(async || uncached("text/event-stream", stream)))
        .route("/results", post(async move |body: String| drop(sender.send(body).await)))
        .route("/{folder}/{*path}", get(file))
        .route("/", get(async || Html(include_str!("page.html"))))
        .with_state(Arc::new(folders));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, router).await });

    let profile = tempfile::tempdir()?;
    let mut command = Command::new(named("SSE_CHROMIUM")?);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("http://{address}/")).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut browser = command.spawn()?;
    let measured = tokio::time::timeout(WITHIN, results.recv()).await;
    browser.kill().await?;
    let measured = measured.map_err(|_| "the page has not measured in time")?;
    Ok(measured.expect("the server lives, and has the sender"))
}

/// Where the page's scripts are.
struct Folders {
    package: PathBuf,
    tools: PathBuf,
}

async fn file(
    State(folders): State<Arc<Folders>>,
    UrlPath((folder, path)): UrlPath<(String, String)>,
) -> Result<impl IntoResponse, StatusCode> {
    let folder = match folder.as_str() {
        "package" => &folders.package,
        "tools" => &folders.tools,
        _ => return Err(StatusCode::NOT_FOUND),
    };
    let kind = match Path::new(&path).extension().and_then(|extension| extension.to_str()) {
        Some("js") => "text/javascript",
        Some("html") => "text/html",
        _ => "application/wasm",
    };
    let bytes = fs::read(folder.join(&path)).map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(uncached(kind, bytes.into()))
}

fn uncached(kind: &'static str, body: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], body)
}

/// Events of about 200 bytes, and one that says that it was the last.
fn stream() -> Vec<u8> {
    let filling = "the quick brown fox jumps over the lazy dog; ".repeat(4);
    let mut stream = Vec::with_capacity(BYTES + 1024);
    let mut number = 0;
    while stream.len() < BYTES {
        number += 1;
        let data = &filling[..150];
        stream.extend_from_slice(
            format!("id: {number}\ndata: {{\"n\":{number},\"text\":\"{data}\"}}\n\n").as_bytes(),
        );
    }
    stream.extend_from_slice(b"event: last\ndata:\n\n");
    stream
}
