//! The Django site, as a process.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sse_client::{EventSource, Item, reqwest};
use testkit::port::Port;
use testkit::wait::within;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A Django site, which ends when dropped.
pub(crate) struct Django {
    _process: Child,
    // As that above, only to be dropped.
    _port: Port,
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Django {
    /// Starts one; `site_of_test.py` says what storages and databases there are.
    pub(crate) async fn start(
        python: &str,
        redis: Option<&str>,
        storage: &str,
        database: &str,
    ) -> Self {
        let port = Port::reserve();
        let redis_port = redis.and_then(|url| url.rsplit(':').next()).unwrap_or_default();
        let mut command = Command::new(python);
        command.args(["-m", "daphne", "-v", "0", "-b", "127.0.0.1"]);
        command.args(["-p", &port.number().to_string(), "site_of_test:application"]);
        command.current_dir("tests/beside_django");
        command.env("REDIS_PORT", redis_port.trim_end_matches('/')).env("STORAGE", storage);
        command.env("DATABASE", database).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().expect("Python is there");
        let http = reqwest::Client::new();
        let url = format!("http://{port}");
        let this = Self { _process: process, _port: port, url, http };
        within("Django to answer", async {
            while this.http.get(&this.url).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        this
    }

    async fn post(&self, view: &str, body: &Value) {
        let request = self.http.post(format!("{}/{view}/", self.url)).body(body.to_string());
        let answer = request.send().await.expect("Django answers");
        let status = answer.status();
        assert_eq!(status, 200, "{}", answer.text().await.expect("a text"));
    }

    /// Sends one event.
    pub(crate) async fn send(&self, channel: &str, kind: &str, data: Value) {
        self.post("send", &json!({"channel": channel, "type": kind, "data": data})).await;
    }

    /// Sends `count` events from each of so many threads at once. The data are
    /// `"MARK-THREAD-NUMBER"`.
    pub(crate) async fn burst(
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

    pub(crate) async fn reader(&self, channel: &str) -> EventSource {
        let url = format!("{}/events/", self.url);
        let mut source = EventSource::channels(url, [channel]).build().expect("a client");
        let open = within("a stream", source.next()).await.expect("it goes on");
        assert_eq!(open.expect("it opens"), Item::Open);
        source
    }
}
