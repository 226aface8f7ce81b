//! A real server process on a port of its own, and an HTTP client that sends and shows raw bytes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::AbortHandle;

use crate::port::Port;
pub use crate::wait::{DEADLINE, until, within};

pub const TOKEN: &str = "test-token";

/// The program under test. cargo builds it together with the tests of its package, a folder above
/// them.
pub fn program() -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    let folder = this.parent().and_then(Path::parent).expect("target/debug/deps/test");
    folder.join("sse-server")
}

pub fn binary() -> Command {
    let mut command = Command::new(program());
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // The server under test must not see the settings of the person who runs the tests.
    command.env_remove("PORT");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SSE_SERVER_")) {
        command.env_remove(name);
    }
    command
}

/// The same by way of another command, if there is one.
fn under(wrapper: &[String]) -> Command {
    let own = binary();
    let [first, args @ ..] = wrapper else { return own };
    let mut command = Command::new(first);
    command.args(args).arg(program());
    for (name, value) in own.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    port: Port,
    folder: TempDir,
    storage: String,
    flags: Vec<String>,
    /// The command that starts it again, to which its own is added. Empty: its own.
    wrapper: Vec<String>,
    log: Log,
}

/// What a server has logged since it listens.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reading: AbortHandle,
}

impl Server {
    /// Starts with a SQLite file in a folder of its own.
    pub async fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = file_in(folder.path());
        Self::start_in(folder, binary(), storage, flags).await
    }

    /// Starts by way of another command, then and whenever it is started again. `folder` is where
    /// its file is.
    pub async fn start_always_under(wrapper: Vec<String>, folder: TempDir, flags: &[&str]) -> Self {
        let storage = file_in(folder.path());
        let mut this = Self::start_in(folder, under(&wrapper), storage, flags).await;
        this.wrapper = wrapper;
        this
    }

    /// Starts with a storage that it may share with others.
    pub async fn start_on(storage: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, binary(), storage.to_owned(), flags).await
    }

    /// Starts by way of another command, which gets the server's as its last arguments.
    pub async fn start_under(mut wrapper: Command, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        wrapper.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped());
        wrapper.arg(program());
        let storage = file_in(folder.path());
        Self::start_in(folder, wrapper, storage, flags).await
    }

    async fn start_in(folder: TempDir, command: Command, storage: String, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let port = Port::reserve();
        let (child, address, log) = launch(command, &port, &storage, &flags).await;
        Self { child, address, port, folder, storage, flags, wrapper: Vec::new(), log }
    }

    /// SIGKILL: no goodbye, no flush.
    pub async fn kill(&mut self) {
        self.child.start_kill().expect("it is running");
        self.child.wait().await.expect("it can be waited for");
    }

    /// Starts again on the same storage and port.
    pub async fn restart(&mut self) {
        (self.child, self.address, self.log) =
            launch(under(&self.wrapper), &self.port, &self.storage, &self.flags).await;
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it is running").to_string();
        let sent = std::process::Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill is there").success());
    }

    pub async fn wait(&mut self) -> ExitStatus {
        within("the server to exit", self.child.wait()).await.expect("it can be waited for")
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    /// Everything that was logged since it listens.
    pub fn log(&self) -> String {
        self.log.lines.lock().expect("no panic").join("\n")
    }

    /// Ends what reads its log, and has it log something.
    pub fn leave_log(&self) {
        self.log.reading.abort();
        self.signal("-HUP");
    }

    /// Waits until this was logged.
    pub async fn until_logged(&self, text: &str) {
        until(&format!("{text:?} in the log"), async || self.log().contains(text)).await;
    }

    /// One of the numbers that `/metrics` tells, by its name and labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics", "").await.body().await;
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        let found = lines.find(|(key, _)| *key == format!("sse_server_{name}"));
        found.map_or(0.0, |(_, value)| value.parse().expect("a number"))
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends bytes as they are, and reads the head of the answer.
    pub async fn send(&self, bytes: &[u8]) -> Response {
        send(self.address, bytes).await
    }

    pub async fn get(&self, path: &str, headers: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes())
            .await
    }

    /// Asks until there is room: connections that have ended may count for a moment yet, and others
    /// on this machine may look at a new port.
    pub async fn admitted(&self, path: &str, headers: &str) -> Response {
        within("room", async {
            loop {
                let answer = self.get(path, headers).await;
                if answer.status != 503 {
                    return answer;
                }
            }
        })
        .await
    }

    pub async fn post(&self, body: &str, headers: &str) -> Response {
        let len = body.len();
        let head = format!(
            "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n{headers}\r\n"
        );
        self.send(format!("{head}{body}").as_bytes()).await
    }

    /// Publishes with the right token, and returns the answer's status and JSON.
    pub async fn try_publish(&self, body: &str) -> (u16, Value) {
        let mut response = self.post(body, &format!("Authorization: Bearer {TOKEN}\r\n")).await;
        let text = response.body().await;
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"));
        (response.status, json)
    }

    pub async fn publish(&self, body: &str) -> Value {
        let (status, answer) = self.try_publish(body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Publishes events 1 to `count` of a channel, as far as it was empty, each with its number.
    pub async fn fill(&self, channel: &str, count: usize) {
        let events = (1..=count).map(|n| serde_json::json!({"channel": channel, "data": n}));
        for batch in events.collect::<Vec<_>>().chunks(500) {
            self.publish(&Value::from(batch.to_vec()).to_string()).await;
        }
    }
}

/// Sends bytes as they are, and reads the head of the answer.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Response {
    within("an answer", async {
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        socket.write_all(bytes).await.expect("it reads");
        Response::read(socket).await
    })
    .await
}

fn file_in(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("events.db").display())
}

async fn launch(
    mut command: Command,
    port: &Port,
    storage: &str,
    flags: &[String],
) -> (Child, SocketAddr, Log) {
    command.args(["--listen", &port.to_string(), "--publish-token", TOKEN]);
    if !flags.iter().any(|flag| flag == "--storage") {
        command.args(["--storage", storage]);
    }
    let mut child = command.args(flags).spawn().expect("the server can be started");
    let stderr = child.stderr.take().expect("piped");
    let mut lines = BufReader::new(stderr).lines();
    let mut seen = String::new();
    let address = within("the server to listen", async {
        while let Some(line) = lines.next_line().await.expect("readable") {
            if let Some((_, rest)) = line.split_once("listening on http") {
                let (_, rest) = rest.split_once("://").expect("a URL");
                let (address, _) = rest.split_once('/').expect("an address and a path");
                return Some(address.parse().expect("an address"));
            }
            seen += &line;
        }
        None
    })
    .await;
    let address = address.unwrap_or_else(|| panic!("the server did not start: {seen}"));
    // What it logs later must go somewhere, or it would stand still once the pipe is full.
    let logged = Arc::new(Mutex::new(Vec::new()));
    let log = logged.clone();
    let reading = tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if std::env::var_os("SSE_TEST_LOG").is_some() {
                eprintln!("{line}");
            }
            logged.lock().expect("no panic").push(line);
        }
    });
    (child, address, Log { lines: log, reading: reading.abort_handle() })
}

/// A connection, to send bytes over as they are.
pub async fn connect(address: SocketAddr) -> TcpStream {
    within("a connection", TcpStream::connect(address)).await.expect("it listens")
}

/// An answer whose body is read as it comes.
pub struct Response {
    socket: TcpStream,
    pub status: u16,
    pub head: String,
    is_chunked: bool,
    raw: Vec<u8>,
    /// The body so far, without its chunks' frames.
    pub seen: String,
    is_ended: bool,
}

impl Response {
    pub async fn read(mut socket: TcpStream) -> Self {
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = find(&raw, b"\r\n\r\n") {
                break end;
            }
            let read = socket.read_buf(&mut raw).await.unwrap_or(0);
            assert!(read > 0, "no head: {:?}", String::from_utf8_lossy(&raw));
        };
        let head = String::from_utf8(raw[..end].to_vec()).expect("an ASCII head");
        raw.drain(..end + 4);
        let status = head[9..12].parse().expect("a status");
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Self { socket, status, head, is_chunked, raw, seen: String::new(), is_ended: false }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The whole body.
    pub async fn body(&mut self) -> String {
        within("the end of a body", async {
            let len = self.header("content-length").map(|len| len.parse().expect("a number"));
            while !self.is_ended && len.is_none_or(|len: usize| self.seen.len() < len) {
                self.more().await;
            }
            std::mem::take(&mut self.seen)
        })
        .await
    }

    /// The body up to and including this text; what comes after it is left for the next call.
    pub async fn until(&mut self, text: &str) -> String {
        let reading = async {
            let mut start = 0;
            loop {
                if let Some(at) = self.seen[start..].find(text) {
                    let rest = self.seen.split_off(start + at + text.len());
                    return Some(std::mem::replace(&mut self.seen, rest));
                }
                if self.is_ended {
                    return None;
                }
                start = self.seen.len().saturating_sub(text.len());
                while !self.seen.is_char_boundary(start) {
                    start -= 1;
                }
                self.more().await;
            }
        };
        match tokio::time::timeout(DEADLINE, reading).await {
            Ok(Some(seen)) => seen,
            ended => panic!("no {text:?} in {:?} (ended: {})", self.seen, ended.is_ok()),
        }
    }

    /// The opening of a stream, which every stream has.
    pub async fn opening(&mut self) {
        let opening = self.until("event: stream-open\ndata:\n\n").await;
        assert_eq!(opening.as_bytes(), sse_proto::OPENING);
    }

    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    async fn more(&mut self) {
        if self.take() {
            return;
        }
        let read = self.socket.read_buf(&mut self.raw).await.unwrap_or(0);
        if read == 0 {
            assert!(!self.is_chunked, "cut off after {:?}", self.seen);
            self.is_ended = true;
        }
    }

    /// Moves what has been read into the body, if it makes up anything.
    fn take(&mut self) -> bool {
        if !self.is_chunked {
            // What has been read may end within a character.
            let whole = match str::from_utf8(&self.raw) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(error) => panic!("{error} in {}", self.raw.escape_ascii()),
            };
            let text: Vec<u8> = self.raw.drain(..whole).collect();
            self.seen += str::from_utf8(&text).expect("looked at above");
            return whole > 0;
        }
        let Some(end) = find(&self.raw, b"\r\n") else { return false };
        let size = str::from_utf8(&self.raw[..end]).expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        let chunk = end + 2..end + 2 + size;
        if self.raw.len() < chunk.end + 2 {
            return false;
        }
        self.seen += str::from_utf8(&self.raw[chunk.clone()]).expect("whole events");
        self.raw.drain(..chunk.end + 2);
        self.is_ended |= size == 0;
        true
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
