//! `cargo xtask bench wasm`: how fast events reach a listener in a page, beside the browser's own
//! `EventSource` and npm's eventsource-parser.
//!
//! The browser is started as a plain process: a debugger is told of each message of the
//! browser's `EventSource`, and slows it six-fold. The page measures, and posts what it has measured to
//! the server that it has the stream from.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use super::{Package, Trouble};
use crate::Outcome;
use crate::process::{Running, say, target};
use crate::setup::Browser;

/// How long all rounds may take together.
const WITHIN: Duration = Duration::from_mins(5);

/// The length of the stream in bytes.
const BYTES: usize = 50_000_000;

/// Whose measurements the page posts.
const OURS: &str = "wasm";
const PEERS: [&str; 2] = ["native", "eventsource-parser"];

pub(crate) fn run() -> Outcome {
    let mut run = |mut command: Command| command.status().is_ok_and(|status| status.success());
    let browser = Browser::set_up(&mut run)?;
    let package = super::build(&mut run).map_err(Trouble::why)?;
    let text = measure(&browser, package).map_err(|error| error.to_string())?;
    let measured = Measured::read(&text)?;
    say(&format!("\n{:24}{:>10}{:>10}{:>10}", "MB/s", "best", "median", "worst"));
    for (name, speeds) in &measured.0 {
        let [worst, median, best] = [0, speeds.len() / 2, speeds.len() - 1].map(|at| speeds[at]);
        say(&format!("{name:24}{best:10.0}{median:10.0}{worst:10.0}"));
    }
    for peer in PEERS {
        let ratio = measured.median(OURS)? / measured.median(peer)?;
        say(&format!("ratio wasm.{peer}.throughput {ratio:.2}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the page posts.
fn measure(browser: &Browser, package: Package) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, results) = mpsc::channel();
    let server = Arc::new(Server { package, stream: stream(), results: sender });
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            // A browser that goes away early is no matter of the server's.
            thread::spawn(move || drop(server.answer(socket)));
        }
    });
    let profile = target().join("wasm/profile");
    let _ = fs::remove_dir_all(&profile);
    let mut command = Command::new(browser.chromium());
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    command.arg(format!("--user-data-dir={}", std::path::absolute(&profile)?.display()));
    command.arg(format!("http://{address}/"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Ends with this value.
    let _browser = Running::start(&mut command)?;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the page has not measured in time");
    results.recv_timeout(WITHIN).map_err(late)
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

struct Server {
    package: Package,
    stream: Vec<u8>,
    results: Sender<String>,
}

impl Server {
    fn answer(&self, socket: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let (target, length) = request(&mut reader)?;
        let path = target.split('?').next().unwrap_or_default();
        if path == "/results" {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let _ = self.results.send(String::from_utf8_lossy(&body).into_owned());
            return respond(socket, "text/plain", b"");
        }
        if path == "/stream" {
            return respond(socket, "text/event-stream", &self.stream);
        }
        let file: PathBuf = match path.trim_start_matches('/').split_once('/') {
            Some(("package", name)) => self.package.folder.join(name),
            Some(("tools", name)) => self.package.tools.join("node_modules").join(name),
            _ => "sse-client-wasm/benches/page.html".into(),
        };
        let kind = match file.extension().and_then(|extension| extension.to_str()) {
            Some("js") => "text/javascript",
            Some("html") => "text/html",
            _ => "application/wasm",
        };
        respond(socket, kind, &fs::read(file)?)
    }
}

/// The target of a request, and the length of its body.
fn request(reader: &mut impl BufRead) -> io::Result<(String, usize)> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    Ok((first.split(' ').nth(1).unwrap_or_default().to_owned(), length))
}

fn respond(mut socket: TcpStream, kind: &str, body: &[u8]) -> io::Result<()> {
    write!(
        socket,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )?;
    socket.write_all(body)
}

/// Of each reader the speeds in MB/s, from the worst to the best.
struct Measured(BTreeMap<String, Vec<f64>>);

impl Measured {
    fn read(text: &str) -> Result<Self, String> {
        let mut speeds = BTreeMap::<_, Vec<f64>>::new();
        let mut seen = None;
        for line in text.lines() {
            let wrong = || format!("the page has posted {line:?}");
            let (name, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let (time, rest) = rest.split_once(' ').ok_or_else(wrong)?;
            let time: f64 = time.parse().map_err(|_| wrong())?;
            // All must have seen the same.
            if *seen.get_or_insert_with(|| rest.to_owned()) != rest {
                return Err(wrong());
            }
            #[expect(clippy::cast_precision_loss, reason = "50 million is exact")]
            let speed = BYTES as f64 / time / 1000.0;
            speeds.entry(name.to_owned()).or_default().push(speed);
        }
        for speeds in speeds.values_mut() {
            speeds.sort_by(f64::total_cmp);
        }
        Ok(Self(speeds))
    }

    fn median(&self, name: &str) -> Result<f64, String> {
        let speeds = self.0.get(name).ok_or_else(|| format!("{name} was not measured"))?;
        Ok(speeds[speeds.len() / 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_saw_different_events_are_not_compared() {
        let measured = Measured::read("a 500 9 9 9\na 250 9 9 9\na 125 9 9 9\nb 100 9 9 9");
        let measured = measured.expect("they saw the same");
        assert_eq!(measured.0["a"], [100.0, 200.0, 400.0]);
        assert!(Measured::read("a 500 9 9 9\nb 500 8 9 9").is_err());
        assert!(Measured::read("failed TypeError: x").is_err());
    }
}
