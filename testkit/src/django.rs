//! A Django site with django-eventstream, as a process of a test's own.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sse_client::{EventSource, Item, reqwest};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::port::Port;
use crate::wait::within;

/// A Django site, which ends when dropped.
pub struct Django {
    process: Child,
    port: Port,
    pub url: String,
    http: reqwest::Client,
    python: String,
    settings: Vec<(&'static str, String)>,
}

impl Django {
    /// Starts one; `site_of_test.py` says what storages and databases there are.
    pub async fn start(python: &str, redis: Option<&str>, storage: &str, database: &str) -> Self {
        let port = Port::reserve();
        let redis = redis.and_then(|url| url.rsplit(':').next()).unwrap_or_default();
        let settings = vec![
            ("REDIS_PORT", redis.trim_end_matches('/').to_owned()),
            ("STORAGE", storage.to_owned()),
            ("DATABASE", database.to_owned()),
        ];
        let process = launched(python, &port, &settings);
        let http = reqwest::Client::new();
        let url = format!("http://{port}");
        let this = Self { process, port, url, http, python: python.to_owned(), settings };
        this.answers().await;
        this
    }

    async fn answers(&self) {
        within("Django to answer", async {
            while self.http.get(&self.url).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// `kill -9`.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it is ours");
    }

    /// Has it say on standard error where each of its threads is.
    pub async fn say_where(&self) {
        if let Some(process) = self.process.id() {
            Command::new("kill").args(["-USR1", &process.to_string()]).status().await.ok();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.process = launched(&self.python, &self.port, &self.settings);
        self.answers().await;
    }

    async fn post(&self, view: &str, body: &Value) {
        let request = self.http.post(format!("{}/{view}/", self.url)).body(body.to_string());
        let answer = request.send().await.expect("Django answers");
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.expect("a text"));
    }

    /// Sends one event.
    pub async fn send(&self, channel: &str, kind: &str, data: Value) {
        self.post("send", &json!({"channel": channel, "type": kind, "data": data})).await;
    }

    /// Sends `count` events from each of so many threads at once. The data are
    /// `"MARK-THREAD-NUMBER"`.
    pub async fn burst(
        &self,
        channel: &str,
        mark: &str,
        threads: usize,
        count: usize,
        in_transaction: bool,
    ) {
        let order = json!({
            "channel": channel, "mark": mark, "threads": threads, "count": count,
            "in_transaction": in_transaction,
        });
        // Thousands take a while.
        let sent = timeout(Duration::from_mins(10), self.post("burst", &order)).await;
        sent.expect("Django has sent");
    }

    pub async fn reader(&self, channel: &str) -> EventSource {
        let url = format!("{}/events/", self.url);
        let mut source = EventSource::channels(url, [channel]).build().expect("a client");
        let open = within("a stream", source.next()).await.expect("it goes on");
        assert_eq!(open.expect("it opens"), Item::Open);
        source
    }
}

fn launched(python: &str, port: &Port, settings: &[(&str, String)]) -> Child {
    let mut command = Command::new(python);
    command.args(["-m", "daphne", "-v", "0", "-b", "127.0.0.1"]);
    command.args(["-p", &port.number().to_string(), "site_of_test:application"]);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/django"));
    command.envs(settings.iter().cloned()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("Python is there")
}
