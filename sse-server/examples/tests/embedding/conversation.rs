//! `useChat` of npm's `ai`, at its default addresses, in a real browser: whatever happens to the
//! page or the server, the page shows what is recorded.
//!
//! It needs a browser, and the npm packages of `sse-client-wasm/tools`. `cargo xtask test` sees to
//! both.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use testkit::browser::Browser;
use testkit::services::variable;
use testkit::wait::until;

use crate::program::Example;

struct Chat {
    example: Example,
    browser: Browser,
    _folder: TempDir,
}

impl Chat {
    async fn start() -> Option<Self> {
        let tools = PathBuf::from(variable("SSE_WASM_TOOLS")?).join("node_modules");
        let browser = Browser::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        let (events, page) = (folder.path().join("events.db"), folder.path().join("page.js"));
        bundle(&tools, &page);
        let args = [events, page].map(|path| path.display().to_string());
        let args = [&*args[0], &*args[1]];
        let example = Example::start(env!("CARGO_BIN_EXE_conversation"), &args).await;
        Some(Self { example, browser, _folder: folder })
    }

    async fn open(&self) {
        self.browser.open(&format!("http://{}/?chat=a b", self.example.port)).await;
        self.browser.until_told("return document.querySelector('form')?.textContent", "Ask").await;
    }

    async fn ask(&self, question: &str) {
        self.browser.fill("input", question).await;
        self.browser.click("#ask").await;
    }

    /// Waits until the last answer that is shown has got as far as this.
    async fn until_answered(&self, word: &str) {
        self.browser.until_told(LAST, word).await;
    }

    /// Waits until the page is at rest, and returns the answers that it shows.
    async fn answers(&self) -> Vec<String> {
        self.browser.until_shown("#status", "ready").await;
        let script = "return [...document.querySelectorAll('.assistant')].map(p => p.textContent)";
        let answers = self.browser.run(script).await;
        serde_json::from_value(answers).expect("texts")
    }

    /// What is recorded of the last answer, once that has ended.
    async fn transcript(&self) -> String {
        let body = self.example.get("/api/chat/a%20b/stream", "").await.body().await;
        let parts = body.lines().filter_map(|line| line.strip_prefix("data: "));
        let parts = parts.map(|part| serde_json::from_str::<Value>(part).expect("a part"));
        parts.filter_map(|part| part["delta"].as_str().map(str::to_owned)).collect()
    }
}

/// The last answer that is shown.
const LAST: &str = "return [...document.querySelectorAll('.assistant')].at(-1)?.textContent ?? ''";

/// As the example says, with packages that lie elsewhere.
fn bundle(packages: &Path, to: &Path) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("conversation/page.jsx");
    let mut esbuild = Command::new(packages.join(".bin/esbuild"));
    esbuild.arg(page).arg(format!("--outfile={}", to.display())).env("NODE_PATH", packages);
    esbuild.args(["--bundle", "--format=esm", "--jsx=automatic", "--log-level=warning"]);
    assert!(esbuild.status().expect("esbuild is there").success());
}

fn whole(question: &str) -> String {
    let words = (1..=100).map(|number| format!("reason-{number} "));
    format!("You have asked: {question} {}", words.collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_reloaded_and_a_second_tab_show_the_whole_answer_once() {
    let Some(chat) = Chat::start().await else { return };
    chat.open().await;
    chat.ask("why").await;
    chat.until_answered("reason-5 ").await;
    chat.open().await;
    chat.until_answered("reason-10 ").await;
    let first = chat.browser.new_tab().await;
    chat.open().await;
    chat.until_answered("reason-100 ").await;
    let in_second = chat.answers().await;
    chat.browser.look_at(first).await;
    chat.until_answered("reason-100 ").await;
    assert_eq!(chat.answers().await, [whole("why")]);
    assert_eq!(in_second, [whole("why")]);
    assert_eq!(chat.transcript().await, whole("why"));
    // Asked again, both are shown, also by a page that is opened when all is over.
    chat.ask("really").await;
    chat.until_answered("really reason-1 ").await;
    chat.until_answered("reason-100 ").await;
    let both = [whole("why"), whole("really")];
    assert_eq!(chat.answers().await, both);
    chat.open().await;
    chat.until_answered("reason-100 ").await;
    assert_eq!(chat.answers().await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_shows_what_it_had_sent_and_answers_again() {
    let Some(mut chat) = Chat::start().await else { return };
    chat.open().await;
    chat.ask("why").await;
    chat.until_answered("reason-5 ").await;
    chat.example.kill().await;
    chat.browser.until_shown("#status", "error").await;
    chat.example.restart().await;
    let shown = chat.answers().await;
    let transcript = chat.transcript().await;
    assert_eq!(shown, [&*transcript]);
    assert!(transcript.contains("reason-5 ") && whole("why").starts_with(&transcript));
    chat.open().await;
    chat.until_answered("reason-5 ").await;
    assert_eq!(chat.answers().await, [&*transcript]);
    chat.ask("again").await;
    chat.until_answered("again reason-1 ").await;
    chat.until_answered("reason-100 ").await;
    assert_eq!(chat.answers().await, [transcript, whole("again")]);
    // That a server was gone is the only thing to complain of.
    let complaints = chat.browser.complaints().await;
    let is_other = |complaint: &&String| !complaint.contains("net::ERR_");
    assert_eq!(complaints.iter().find(is_other), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_stopped_ends_for_everyone_and_stays() {
    let Some(chat) = Chat::start().await else { return };
    chat.open().await;
    chat.ask("why").await;
    chat.until_answered("reason-5 ").await;
    let first = chat.browser.new_tab().await;
    chat.open().await;
    chat.until_answered("reason-6 ").await;
    chat.browser.click("#stop").await;
    let transcript = chat.transcript().await;
    assert!(transcript.contains("reason-6 ") && transcript.len() < whole("why").len());
    chat.browser.look_at(first).await;
    let in_first = async || chat.browser.run(LAST).await == *transcript;
    until("the first tab to show all of it", in_first).await;
    chat.open().await;
    chat.until_answered("reason-6 ").await;
    assert_eq!(chat.answers().await, [transcript]);
}
