//! A real browser without a window, driven through chromedriver.
//!
//! `cargo xtask test` sees to it that both are there, and names them in the variables
//! `SSE_CHROMEDRIVER` and `SSE_CHROMIUM`. Without them there is no browser, and the tests that want
//! one say so.

use std::env;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use fantoccini::error::CmdError;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use http::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use url::{ParseError, Url};

use crate::wait::{DEADLINE, within};

/// How often the page is looked at while something is waited for.
const TICK: Duration = Duration::from_millis(25);

/// How often chromedriver is started before it is given up. The port that it finds for itself is
/// free for IPv4; where something else has the same one for IPv6, it ends.
const STARTS: u32 = 5;

/// A browser with one tab, and nothing left of it when dropped.
pub struct Browser {
    client: Client,
    // Only to be dropped.
    _session: Session,
}

/// An entry of the page's list of events, as it is read there.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Entry {
    #[serde(rename = "type")]
    pub kind: String,
    pub data: String,
    pub id: String,
}

impl Browser {
    /// A new browser with an empty profile; `None` if there is none on this machine.
    pub async fn start() -> Option<Self> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let (Some(chromedriver), Some(chromium)) =
            (variable("SSE_CHROMEDRIVER"), variable("SSE_CHROMIUM"))
        else {
            let test = thread::current();
            // Past the test harness, which keeps what tests print to itself.
            let _ = writeln!(
                io::stderr(),
                "{}: left out, it needs a browser; `cargo xtask test` runs it",
                test.name().unwrap_or("a test")
            );
            return None;
        };
        let mut session = Session::start(chromedriver.into()).await;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(session.capabilities(Path::new(&chromium)));
        let url = format!("http://{}", session.chromedriver);
        let client = within("the browser to start", builder.connect(&url)).await;
        let client = client.expect("chromedriver starts the browser");
        session.id = client.session_id().await.expect("chromedriver answers");
        Some(Self { client, _session: session })
    }

    pub async fn open(&self, url: &str) {
        ok(within("a page to load", self.client.goto(url)).await);
    }

    /// Opens another tab and looks at it from now on. Returns the one that was looked at.
    pub async fn new_tab(&self) -> WindowHandle {
        let before = ok(self.client.window().await);
        let tab = ok(self.client.new_window(true).await);
        self.look_at(tab.handle).await;
        before
    }

    pub async fn look_at(&self, tab: WindowHandle) {
        ok(self.client.switch_to_window(tab).await);
    }

    /// Waits until an element shows this text, among others.
    pub async fn until_shown(&self, css: &str, text: &str) {
        let mut shown = String::new();
        let deadline = Instant::now() + DEADLINE;
        while !shown.contains(text) {
            assert!(Instant::now() < deadline, "{css} shows {shown:?}, and not {text:?}");
            tokio::time::sleep(TICK).await;
            shown = match self.client.find(Locator::Css(css)).await {
                // No text if it has just been replaced.
                Ok(element) => element.text().await.unwrap_or_default(),
                Err(error) if error.is_no_such_element() => String::new(),
                Err(error) => panic!("{error}"),
            };
        }
    }

    /// Waits until a script returns this text, among others.
    pub async fn until_told(&self, script: &str, text: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let told = self.run(script).await;
            if told.as_str().is_some_and(|told| told.contains(text)) {
                return;
            }
            assert!(Instant::now() < deadline, "{script} returns {told}, and not {text:?}");
            tokio::time::sleep(TICK).await;
        }
    }

    /// The list of events from the oldest on, once there are this many.
    pub async fn entries(&self, count: usize) -> Vec<Entry> {
        let script = "
            const entry = item => ({
                type: item.querySelector('.type').innerText,
                data: item.querySelector('.body').innerText,
                id: item.querySelector('.id').innerText,
            });
            return [...document.querySelectorAll('#events li')].map(entry).reverse();";
        let deadline = Instant::now() + DEADLINE;
        loop {
            let list = self.run(script).await;
            let list: Vec<Entry> = serde_json::from_value(list).expect("a list of entries");
            if list.len() >= count {
                return list;
            }
            assert!(Instant::now() < deadline, "{} entries instead of {count}", list.len());
            tokio::time::sleep(TICK).await;
        }
    }

    pub async fn click(&self, css: &str) {
        ok(ok(self.client.find(Locator::Css(css)).await).click().await);
    }

    /// Types text into an emptied field.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = ok(self.client.find(Locator::Css(css)).await);
        ok(field.clear().await);
        ok(field.send_keys(text).await);
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        ok(self.client.execute(script, Vec::new()).await)
    }

    /// Makes the window as wide as a phone.
    pub async fn shrink(&self, width: u32) {
        let size = json!({"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes the timers of pages that are opened from now on faster by this factor.
    pub async fn hurry(&self, factor: u32) {
        let script = format!(
            "const wait = setTimeout;
             setTimeout = (then, time, ...rest) => wait(then, time / {factor}, ...rest);"
        );
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await;
    }

    /// Lets time pass, by the page's timers.
    pub async fn let_pass(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).expect("not for ever");
        let timer = "setTimeout(arguments[1], arguments[0])";
        let timer = self.client.execute_async(timer, vec![milliseconds.into()]);
        ok(within("time to pass", timer).await);
    }

    /// What the console has got since this was last asked, but for mere information.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.issue("se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().expect("a list").iter();
        let entries =
            entries.filter(|entry| !["INFO", "DEBUG"].map(Value::from).contains(&entry["level"]));
        entries.map(ToString::to_string).collect()
    }

    async fn devtools(&self, command: &str, parameters: Value) {
        self.issue("goog/cdp/execute", json!({"cmd": command, "params": parameters})).await;
    }

    async fn issue(&self, path: &'static str, body: Value) -> Value {
        ok(within(path, self.client.issue_cmd(ChromeCommand { path, body })).await)
    }
}

fn ok<T>(result: Result<T, CmdError>) -> T {
    result.unwrap_or_else(|error| panic!("the browser cannot do this: {error}"))
}

/// A command that only chromedriver knows.
#[derive(Debug)]
struct ChromeCommand {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for ChromeCommand {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}

/// A chromedriver, and the browser that it has started. Both end with this value, also if a test
/// panics.
struct Session {
    chromedriver: SocketAddr,
    _child: Child,
    /// The id of the session in chromedriver, once there is one.
    id: Option<String>,
    /// For the profile and everything else that the two write.
    folder: TempDir,
}

impl Session {
    async fn start(chromedriver: PathBuf) -> Self {
        let mut said = String::new();
        for _ in 0..STARTS {
            match Self::attempt(&chromedriver).await {
                Ok(session) => return session,
                Err(output) => said = output,
            }
        }
        panic!("{} ends when it is started, {STARTS} times:\n{said}", chromedriver.display());
    }

    /// Starts chromedriver once. The error is what it has printed before its end.
    async fn attempt(chromedriver: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(chromedriver);
        command.arg("--port=0").env("TMPDIR", folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("chromedriver can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        let port: Option<u16> = within("chromedriver to listen", async {
            while let Some(line) = lines.next_line().await.expect("readable") {
                // ChromeDriver was started successfully on port 43210.
                let port = line.split_once("successfully on port ").map(|(_, port)| port);
                if let Some(port) = port {
                    return Some(port.trim_end_matches('.').parse().expect("a port"));
                }
                said += &line;
                said.push('\n');
            }
            errors.read_to_string(&mut said).await.expect("readable");
            None
        })
        .await;
        let Some(port) = port else { return Err(said) };
        // As for the server: it must not stand still because a pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tokio::spawn(async move { tokio::io::copy(&mut errors, &mut tokio::io::sink()).await });
        let chromedriver = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { chromedriver, _child: child, id: None, folder })
    }

    fn capabilities(&self, chromium: &Path) -> Capabilities {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let args = [
            "--headless",
            "--window-size=1280,800",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // By this the browser notices, and ends too, should chromedriver be killed.
            "--remote-debugging-pipe",
            &profile,
        ];
        let capabilities = json!({
            "browserName": "chrome",
            // Those of the tests' own servers.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"binary": chromium, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        capabilities
    }

    /// Ends the browser, and returns when it has ended. The runtime may be unwinding: by hand, and
    /// with nothing but std.
    fn end_browser(&self, id: &str) -> io::Result<()> {
        let mut socket = TcpStream::connect_timeout(&self.chromedriver, DEADLINE)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let host = self.chromedriver;
        write!(
            socket,
            "DELETE /session/{id} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        socket.read_exact(&mut [0])
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            // If it fails, killing chromedriver ends the browser too.
            let _ = self.end_browser(&id);
        }
    }
}
