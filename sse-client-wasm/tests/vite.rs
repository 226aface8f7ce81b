//! The package under Vite: a page with a worker imports both of its entries, and Vite bundles it,
//! or serves it as it does while one writes it. `vite/` is the project, as a user has one.
//!
//! It needs a browser, the package and Vite. `cargo xtask test` sees to them.

#[allow(dead_code, reason = "each test file uses its part")]
mod faults;
#[allow(dead_code, reason = "each test file uses its part")]
mod npm;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use faults::Faults;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::browser::Browser;
use testkit::wait::{DEADLINE, within};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Duration, Instant};

/// A project that has installed the package.
struct Project {
    folder: TempDir,
    /// Vite lies elsewhere: the tools are installed once.
    vite: PathBuf,
}

impl Project {
    /// With a browser to look at it; `None` without one, or without the package.
    async fn new() -> Option<(Self, Browser)> {
        let (package, tools) = (npm::package()?, npm::tools()?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vite"));
        for file in files.expect("it is there").map(|entry| entry.expect("readable")) {
            fs::copy(file.path(), folder.path().join(file.file_name())).expect("copied");
        }
        let browser = Browser::start().await?;
        npm::install(&package, folder.path()).await;
        Some((Self { folder, vite: tools.join("node_modules/.bin/vite") }, browser))
    }

    fn vite(&self, faults: &Faults) -> Command {
        let mut vite = Command::new(&self.vite);
        vite.current_dir(self.folder.path()).env("FAULTS", format!("http://{}", faults.address));
        // Colours would stand within the address that is read; with `CI` set they come into pipes
        // too.
        vite.env("NO_COLOR", "1").env_remove("FORCE_COLOR");
        vite
    }
}

/// The server that Vite has for those who write a page.
struct Served {
    address: SocketAddr,
    _child: Child,
}

impl Served {
    async fn start(mut vite: Command) -> Self {
        vite.args(["--host", "127.0.0.1", "--port", "0"]).kill_on_drop(true);
        vite.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = vite.spawn().expect("Vite can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut errors = child.stderr.take().expect("piped");
        let address = within("Vite to listen", async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                // Local:   http://127.0.0.1:43210/
                if let Some((_, address)) = line.split_once("http://") {
                    return address.trim_end_matches('/').parse().expect("an address");
                }
            }
            let mut said = String::new();
            errors.read_to_string(&mut said).await.expect("readable");
            panic!("Vite has ended:\n{said}");
        })
        .await;
        // It must not stand still because a pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tokio::spawn(async move { tokio::io::copy(&mut errors, &mut tokio::io::sink()).await });
        Self { address, _child: child }
    }
}

/// Opens a page of the project, and fails unless it gets, in the window and in its worker, by each
/// entry, what it is sent, and continues where it was cut.
async fn works(browser: &Browser, page: &str) {
    browser.open(page).await;
    let deadline = Instant::now() + DEADLINE;
    let results = loop {
        let results = browser.run("return window.results ?? null").await;
        if !results.is_null() {
            break results;
        }
        let waits = Instant::now() < deadline;
        assert!(waits, "{page} finds nothing:\n{}", browser.complaints().await.join("\n"));
        tokio::time::sleep(Duration::from_millis(25)).await;
    };
    let entry = json!({"events": ["1a", "2b"], "from": [Value::Null, "1"]});
    let place = json!({"inline": entry, "external": entry});
    assert_eq!(results, json!({"window": place, "worker": place}));
}

#[tokio::test]
async fn a_page_that_vite_has_built_gets_events_in_its_window_and_in_its_worker() {
    let Some((project, browser)) = Project::new().await else { return };
    let faults = Faults::start(vec![("dist", project.folder.path().join("dist"))]).await;
    let mut vite = project.vite(&faults);
    vite.args(["build", "--base", "/dist/"]);
    npm::run(vite, project.folder.path()).await;
    works(&browser, &format!("http://{}/dist/index.html", faults.address)).await;
}

#[tokio::test]
async fn a_page_that_vite_serves_gets_events_in_its_window_and_in_its_worker() {
    let Some((project, browser)) = Project::new().await else { return };
    let faults = Faults::start(Vec::new()).await;
    let served = Served::start(project.vite(&faults)).await;
    works(&browser, &format!("http://{}/", served.address)).await;
}
