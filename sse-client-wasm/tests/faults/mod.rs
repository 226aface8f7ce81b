//! A server that does what a script says, byte by byte: it cuts, stalls, resets and refuses, and
//! tells what it was asked. The scripts come from the tests in the page.
//!
//! - `POST /script/NAME` with a JSON list sets what the connections to `/s/NAME` get, the last
//!   entry over and over:
//!   `{"head": …, "body": [text | pause in ms | {"gate": …}], "end": "close" | "reset" | "hang"}`.
//! - `POST /open/GATE` lets go on who waits at that gate.
//! - `GET /log/NAME` lists the requests for `/s/NAME`.
//! - `/package/…`, `/page/…`, `/vectors/…` and `/tools/…` are files.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The server, as long as the runtime lives.
pub(crate) struct Faults {
    pub(crate) address: SocketAddr,
    /// Another origin, with the same answers.
    pub(crate) other: SocketAddr,
    state: Arc<State>,
}

struct State {
    started: Instant,
    folders: Vec<(&'static str, PathBuf)>,
    scripts: Mutex<HashMap<String, Vec<Value>>>,
    log: Mutex<HashMap<String, Vec<Value>>>,
    open: Mutex<HashSet<String>>,
    opened: Notify,
}

impl Faults {
    pub(crate) async fn start(folders: Vec<(&'static str, PathBuf)>) -> Self {
        let state = Arc::new(State {
            started: Instant::now(),
            folders,
            scripts: Mutex::default(),
            log: Mutex::default(),
            open: Mutex::default(),
            opened: Notify::new(),
        });
        let address = listen(Arc::clone(&state)).await;
        Self { address, other: listen(Arc::clone(&state)).await, state }
    }

    /// Sets what the connections to `/s/NAME` get.
    pub(crate) fn set(&self, name: &str, script: &Value) {
        let script = script.as_array().expect("a list").clone();
        self.state.scripts.lock().expect("whole").insert(name.to_owned(), script);
    }

    /// The page that runs the tests of a file, in a window or in a worker.
    pub(crate) fn page(&self, file: &str, place: &str) -> String {
        let other = self.other.port();
        // What the address of the page itself may have.
        let user = if file == "credentials" { "user:pass@" } else { "" };
        format!("http://{user}{}/page/run.html?{file}&{place}&{other}", self.address)
    }
}

async fn listen(state: Arc<State>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            // Who goes away early is no matter of ours.
            tokio::spawn(async move { drop(state.serve(socket).await) });
        }
    });
    address
}

struct Request {
    method: String,
    target: String,
    headers: serde_json::Map<String, Value>,
    body: String,
}

async fn read(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if socket.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = serde_json::Map::new();
    loop {
        let mut line = Vec::new();
        socket.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().into());
    }
    let len = headers.get("content-length").and_then(Value::as_str);
    let mut body = vec![0; len.and_then(|len| len.parse().ok()).unwrap_or(0)];
    socket.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method, target, headers, body }))
}

impl State {
    async fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut socket = BufReader::new(socket);
        let Some(request) = read(&mut socket).await? else { return Ok(()) };
        let path = request.target.split(['?', '#']).next().unwrap_or_default().to_owned();
        let mut parts = path.splitn(3, '/').skip(1);
        let (first, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match first {
            "s" => return self.play(&mut socket, rest, request).await,
            "script" => {
                let script = serde_json::from_str(&request.body).expect("a list");
                self.scripts.lock().expect("whole").insert(rest.to_owned(), script);
                answer(&mut socket, "200 OK", "text/plain", b"").await
            }
            "open" => {
                self.open.lock().expect("whole").insert(rest.to_owned());
                self.opened.notify_waiters();
                answer(&mut socket, "200 OK", "text/plain", b"").await
            }
            "log" => {
                let log = self.log.lock().expect("whole").get(rest).cloned().unwrap_or_default();
                let log = Value::from(log).to_string();
                answer(&mut socket, "200 OK", "application/json", log.as_bytes()).await
            }
            _ => self.file(&mut socket, first, rest).await,
        }
    }

    async fn file(
        &self,
        socket: &mut BufReader<TcpStream>,
        folder: &str,
        name: &str,
    ) -> std::io::Result<()> {
        let folder = self.folders.iter().find(|(prefix, _)| *prefix == folder);
        let path = folder.map(|(_, folder)| folder.join(name));
        let Some(bytes) = path.as_ref().and_then(|path| std::fs::read(path).ok()) else {
            return answer(socket, "404 Not Found", "text/plain", b"").await;
        };
        let kind = match name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js" | "mjs") => "text/javascript",
            Some("wasm") => "application/wasm",
            _ => "application/json",
        };
        answer(socket, "200 OK", kind, &bytes).await
    }

    async fn play(
        &self,
        socket: &mut BufReader<TcpStream>,
        name: &str,
        request: Request,
    ) -> std::io::Result<()> {
        let Request { method, target, headers, body } = request;
        let at = u64::try_from(self.started.elapsed().as_millis()).expect("not for ever");
        let entry =
            json!({"method": method, "target": target, "headers": headers, "body": body, "at": at});
        let preflight = method == "OPTIONS";
        let count = {
            let mut log = self.log.lock().expect("whole");
            let log = log.entry(name.to_owned()).or_default();
            log.push(entry);
            log.iter().filter(|entry| entry["method"] != "OPTIONS").count()
        };
        let script = {
            let scripts = self.scripts.lock().expect("whole");
            let script = scripts.get(name);
            script.and_then(|script| script.get(count.max(1) - 1).or(script.last())).cloned()
        };
        let Some(script) = script.filter(|_| !preflight) else {
            // As most servers do.
            return answer(socket, "405 Method Not Allowed", "text/plain", b"").await;
        };
        let out = socket.get_mut();
        if let Some(head) = script["head"].as_str() {
            out.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())
                .await?;
        }
        for step in script["body"].as_array().into_iter().flatten() {
            if let Some(text) = step.as_str() {
                // One code point for each byte, as in the vectors.
                let bytes: Vec<u8> =
                    text.chars().map(|c| u8::try_from(c).expect("a byte")).collect();
                out.write_all(&bytes).await?;
            } else if let Some(pause) = step.as_u64() {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            } else if let Some(gate) = step["gate"].as_str() {
                self.wait_at(gate).await;
            }
        }
        match script["end"].as_str() {
            Some("hang") => {
                // Until the other side goes.
                while out.read(&mut [0; 64]).await? > 0 {}
                Ok(())
            }
            Some("reset") => out.set_zero_linger(),
            _ => out.shutdown().await,
        }
    }

    async fn wait_at(&self, gate: &str) {
        loop {
            let opened = self.opened.notified();
            if self.open.lock().expect("whole").contains(gate) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), opened).await;
        }
    }
}

async fn answer(
    socket: &mut BufReader<TcpStream>,
    status: &str,
    kind: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let out = socket.get_mut();
    out.write_all(head.as_bytes()).await?;
    out.write_all(body).await?;
    out.shutdown().await
}
