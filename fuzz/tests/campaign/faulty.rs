//! A server of event streams with one fault that some request brings out. It is raw, as others'
//! are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How often everyone gets an event.
const PACE: Duration = Duration::from_millis(20);

/// How long its supervisor takes to start it again.
const RESTART: Duration = Duration::from_millis(300);

/// How long it is busy with one reader.
const BUSY: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// A quote in an id ends the process; it is started again.
    Crash,
    /// A query that is not percent-encoded as it should be is answered with 500.
    Percent,
    /// Who comes through a proxy is asked for, and everyone waits.
    Starve,
    /// A path with two dots ends all streams.
    Cut,
    /// A method that it does not know is never answered.
    Hang,
    /// What it cannot upgrade to, it leaves unanswered.
    NoAnswer,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
    requests: Arc<AtomicU64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct State {
    fault: Fault,
    requests: Arc<AtomicU64>,
    /// Raised when the process, or all streams, are to end.
    crash: Arc<watch::Sender<u64>>,
    cut: Arc<watch::Sender<u64>>,
    busy: Arc<tokio::sync::RwLock<()>>,
}

impl Server {
    pub(crate) fn start(fault: Fault) -> Self {
        let held = bind(([127, 0, 0, 1], 0).into());
        let address = held.local_addr().expect("an address");
        // On Linux nobody else gets it while the process is away; elsewhere it could not have it
        // itself.
        let held = Some(held).filter(|_| cfg!(target_os = "linux"));
        let requests = Arc::<AtomicU64>::default();
        let state = State {
            fault,
            requests: Arc::clone(&requests),
            crash: Arc::new(watch::Sender::new(0)),
            cut: Arc::new(watch::Sender::new(0)),
            busy: Arc::default(),
        };
        let mut listener = bind(address).listen(1024).expect("the port is ours");
        let task = tokio::spawn(async move {
            let _held = held;
            loop {
                live(listener, &state).await;
                sleep(RESTART).await;
                listener = bind(address).listen(1024).expect("the port is ours");
            }
        });
        Self { address, task: task.abort_handle(), requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(SeqCst)
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("it is new");
    socket.bind(address).expect("a port");
    socket
}

/// One life of the process.
async fn live(listener: TcpListener, state: &State) {
    let mut crash = state.crash.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    connections.spawn(serve(socket, state.clone()));
                }
            }
            _ = crash.changed() => return,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut socket: TcpStream, state: State) {
    let mut raw = Vec::new();
    while !raw.windows(4).any(|four| four == b"\r\n\r\n") {
        if !matches!(timeout(PACE * 50, socket.read_buf(&mut raw)).await, Ok(Ok(1..))) {
            return;
        }
    }
    let text = String::from_utf8_lossy(&raw).into_owned();
    // Others on this machine ask new ports for `/`.
    if !text.starts_with("GET / ") {
        state.requests.fetch_add(1, SeqCst);
    }
    let mut lines = text.split("\r\n");
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = first[..] else {
        return refuse(&mut socket, 400).await;
    };
    let header = |name: &str| {
        let name = format!("{}:", name.to_ascii_lowercase());
        text.lines().find(|line| line.to_ascii_lowercase().starts_with(&name)).map(str::to_owned)
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match state.fault {
        Fault::Crash if header("Last-Event-ID").is_some_and(|id| id.contains('"')) => {
            state.crash.send_modify(|count| *count += 1);
            return std::future::pending().await;
        }
        Fault::Percent if is_bad(query) => return refuse(&mut socket, 500).await,
        Fault::Starve if header("X-Forwarded-For").is_some() => {
            let busy = state.busy.clone();
            tokio::spawn(async move {
                let _busy = busy.write().await;
                sleep(BUSY).await;
            });
        }
        Fault::Cut if path.contains("..") => state.cut.send_modify(|count| *count += 1),
        Fault::Hang if !matches!(method, "GET" | "HEAD" | "POST") => {
            return std::future::pending().await;
        }
        Fault::NoAnswer if header("Upgrade").is_some() => return,
        _ => {}
    }
    if method != "GET" {
        return refuse(&mut socket, 405).await;
    }
    if path != "/events" {
        return refuse(&mut socket, 404).await;
    }
    let mut cut = state.cut.subscribe();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: welcome\n\n";
    if socket.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut buffer = [0; 1024];
    for number in 1_u64.. {
        tokio::select! {
            () = sleep(PACE) => {}
            _ = cut.changed() => return,
            read = socket.read(&mut buffer) => match read {
                Ok(1..) => continue,
                _ => return,
            },
        }
        drop(state.busy.read().await);
        let event = format!("id: test:{number}\ndata: {number}\n\n");
        if socket.write_all(event.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn refuse(socket: &mut TcpStream, status: u16) {
    let answer =
        format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    drop(socket.write_all(answer.as_bytes()).await);
    // A socket with something unread in it is reset when it is closed.
    drop(socket.shutdown().await);
    let mut rest = Vec::new();
    drop(timeout(PACE * 10, socket.read_to_end(&mut rest)).await);
}

/// A percent sign without two digits after it.
fn is_bad(query: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = query.as_bytes();
    (0..bytes.len()).any(|at| {
        bytes[at] == b'%' && !(is_digit(bytes.get(at + 1)) && is_digit(bytes.get(at + 2)))
    })
}
