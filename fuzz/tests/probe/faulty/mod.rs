//! An event stream server with one fault, or none: the probe's checks are tried on it.
//!
//! It is raw on purpose: a library would forbid most of the faults. Without a fault it does what
//! each check wants, so that a check that complains of it is wrong.

mod bytes;
mod head;
mod http2;
mod request;
mod stream;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use head::{cors, head, refusal};
use request::{Request, read};
use stream::{Count, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// How often it has something to say by itself.
const PACE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
struct Entry {
    event: String,
    data: String,
    /// It was published while others were.
    is_busy: bool,
}

struct State {
    fault: String,
    /// Number n is at n - 1.
    log: Mutex<Vec<Entry>>,
    head: watch::Sender<usize>,
    /// Whether the connection that ended last was reset.
    after_reset: Mutex<bool>,
    /// The newest number that was written to the connection that ended last.
    written: Mutex<usize>,
    connections: Mutex<usize>,
    /// Resumed streams that are open, and those of them that began long ago.
    resumed: AtomicUsize,
    open: AtomicUsize,
    /// Held while something is written, by a server that writes to one after the other.
    writing: tokio::sync::Mutex<()>,
    resets: AtomicUsize,
    replays: AtomicUsize,
    /// When streams were resumed.
    times: Mutex<Vec<Instant>>,
    /// How many are publishing at the moment.
    publishing: AtomicUsize,
    /// What a server that leaks does not let go of.
    sockets: Mutex<Vec<TcpStream>>,
    memory: Mutex<Vec<Vec<u8>>>,
    /// Streams are to end.
    ending: watch::Sender<bool>,
    /// What was late already.
    late: Mutex<BTreeSet<&'static str>>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Server {
    pub(crate) fn start(fault: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let is_narrow = fault == "rob.backlog";
        let listener = socket.listen(if is_narrow { 16 } else { 4096 }).expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            fault: fault.to_owned(),
            log: Mutex::default(),
            head: watch::Sender::new(0),
            after_reset: Mutex::default(),
            written: Mutex::default(),
            connections: Mutex::default(),
            resumed: AtomicUsize::default(),
            open: AtomicUsize::default(),
            writing: tokio::sync::Mutex::default(),
            resets: AtomicUsize::default(),
            replays: AtomicUsize::default(),
            times: Mutex::default(),
            publishing: AtomicUsize::default(),
            sockets: Mutex::default(),
            memory: Mutex::default(),
            ending: watch::Sender::new(false),
            late: Mutex::default(),
        });
        for _ in 0..20 {
            state.append("message", "from before");
        }
        // With this fault, an event that comes between a client's last read and its end would
        // count.
        let pace = if fault == "res.cut-after-id" { PACE * 3 } else { PACE };
        let ticking = Arc::clone(&state);
        let is_quiet = matches!(fault, "fmt.silence" | "tim.keep-alive" | "tim.headers-waiting");
        let ticks = tokio::spawn(async move {
            if is_quiet {
                return;
            }
            for number in 1_u64.. {
                sleep(pace).await;
                ticking.append("message", &format!("tick {number}"));
            }
        });
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            // Ended with it: what it has accepted.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&shared), socket));
                if is_narrow {
                    sleep(Duration::from_millis(5)).await;
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, tasks: vec![ticks.abort_handle(), accepting.abort_handle()] }
    }

    /// Ends all streams, and waits until they have ended.
    #[cfg(unix)]
    pub(crate) async fn end(&self) {
        self.state.ending.send_replace(true);
        while self.state.open.load(SeqCst) > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl State {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    /// Whether it is late with something: always, or the first time, as a right server may be on a
    /// machine that has too much to do.
    fn is_late(&self, what: &'static str) -> bool {
        match self.fault.as_str() {
            "always late" => true,
            "none but late once" => self.late.lock().expect("no panic").insert(what),
            _ => false,
        }
    }

    /// Whether several publish at the same time.
    fn is_busy(&self) -> bool {
        self.publishing.load(SeqCst) > 4
    }

    /// Appends an event, and before it one of another channel that has its turn.
    fn append(&self, event: &str, data: &str) -> usize {
        let is_busy = self.is_busy();
        let mut log = self.log.lock().expect("no panic");
        let entry = |event: &str, data: &str| {
            let (event, data) = (event.to_owned(), data.to_owned());
            Entry { event, data, is_busy }
        };
        if is_others(self, log.len() + 1) {
            log.push(entry("other", "of another channel"));
        }
        log.push(entry(event, data));
        let len = log.len();
        drop(log);
        self.head.send_replace(len);
        len
    }
}

/// Whether a number belongs to another channel: of every three, or now and then.
fn is_others(state: &State, number: usize) -> bool {
    match state.fault.as_str() {
        "none with busy channels" => number.is_multiple_of(3),
        "none with quiet channels" => number.is_multiple_of(37),
        _ => false,
    }
}

async fn serve(state: Arc<State>, mut socket: TcpStream) {
    drop(socket.set_nodelay(true));
    if http2::is_spoken(&state, &socket).await {
        return http2::serve(&state, socket).await;
    }
    let mut raw = Vec::new();
    match read(&state.fault, &mut socket, &mut raw).await {
        Ok(Some(request)) => {
            // Others on this machine ask new ports for `/`.
            if request.path != "/" {
                *state.connections.lock().expect("no panic") += 1;
            }
            if !raw.is_empty() && state.is("rob.pipelined") {
                state.append("message", "HTTP/1.1 404 Not Found");
            }
            answer(&state, &mut socket, &request).await;
            let leaks = ["rob.resets-descriptors", "rob.churn", "rob.disconnect"];
            if leaks.contains(&&*state.fault) && request.method == "GET" {
                state.sockets.lock().expect("no panic").push(socket);
            }
        }
        Ok(None) => {}
        Err(status) => whole(&mut socket, status, "", "refused").await,
    }
}

/// An answer that ends.
async fn whole(socket: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n{headers}\r\n{body}",
        body.len()
    );
    drop(socket.write_all(answer.as_bytes()).await);
    // What the client is still sending must not turn the end into a reset.
    drop(socket.shutdown().await);
    let mut rest = [0; 4096];
    while matches!(timeout(Duration::from_secs(1), socket.read(&mut rest)).await, Ok(Ok(1..))) {}
}

async fn answer(state: &State, socket: &mut TcpStream, request: &Request) {
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/publish" && request.method == "POST" {
        return publish(state, socket, request).await;
    }
    if path == "/redirect" {
        let location =
            if state.is("con.redirect") { "" } else { "Location: /events?channel=test\r\n" };
        return whole(socket, 307, location, "").await;
    }
    let is_taken = path == "/events" || state.is("inj.path") && path.starts_with("/events%");
    if !is_taken {
        if state.is("con.errors") || state.is_late("errors") {
            drop(socket.write_all(b"HTTP/1.1 404 X\r\n\r\nnothing").await);
            return wait_for_end(socket).await;
        }
        if state.is("rob.paths") && request.path.contains('%') {
            return whole(socket, 500, "", "?").await;
        }
        return whole(socket, 404, "", "nothing here").await;
    }
    let cors =
        if request.header("origin").is_some() { cors(state, request) } else { String::new() };
    match request.method.as_str() {
        "GET" => {}
        "HEAD" => {
            if !state.is("con.head") {
                let head = head(state, request).replace("Transfer-Encoding: chunked\r\n", "");
                drop(socket.write_all(head.as_bytes()).await);
                return;
            }
        }
        "OPTIONS" => {
            if state.is("con.options") || state.is_late("options") {
                let head = format!(
                    "HTTP/1.1 200 X\r\n{cors}Access-Control-Allow-Headers: last-event-id\r\n\r\n"
                );
                drop(socket.write_all(head.as_bytes()).await);
                return wait_for_end(socket).await;
            }
            let allow = if state.is("con.preflight") {
                ""
            } else {
                "Access-Control-Allow-Headers: last-event-id\r\n"
            };
            return whole(socket, 200, &format!("{cors}{allow}"), "").await;
        }
        _ if state.is("con.method") => {}
        _ => return whole(socket, 405, "Allow: GET, HEAD, OPTIONS\r\n", "").await,
    }
    let id = request.header("last-event-id").unwrap_or_default();
    let is_malformed = id.rsplit(':').next().is_some_and(|number| number.contains("abc"));
    if state.is("res.malformed-id") && is_malformed || !id.is_empty() && state.is_late("resuming") {
        return wait_for_end(socket).await;
    }
    let number = id.rsplit(':').next().unwrap_or_default();
    if state.is("res.garbage-ended") && !id.is_empty() && number.parse::<u64>().is_err() {
        // As a server whose handler throws at an id that it cannot read.
        let head = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
        return drop(socket.write_all(head.as_bytes()).await);
    }
    if let Some(status) = refusal(state, request) {
        return whole(socket, status, "", "refused").await;
    }
    stream(state, socket, request, &cors).await;
}

async fn publish(state: &State, socket: &mut TcpStream, request: &Request) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&request.body) else {
        return whole(socket, 400, "", "this is no JSON").await;
    };
    if state.is("tim.latency") {
        sleep(Duration::from_millis(1200)).await;
    }
    let _publishing = Count::of(Some(&state.publishing));
    if state.fault.starts_with("res.busy") {
        // Slow enough for others to publish and to connect meanwhile.
        sleep(Duration::from_millis(100)).await;
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    if text("text").contains('\0') && state.is_late("publishing") {
        sleep(Duration::from_secs(9)).await;
    }
    let event = text("event");
    let event = if event.is_empty() { "message".to_owned() } else { event };
    let grows = ["rob.slow-reader-memory", "rob.h2-window"].contains(&&*state.fault);
    if grows && text("text").len() > 60_000 {
        state.memory.lock().expect("no panic").push(vec![1; 1 << 20]);
    }
    if state.is("inj.event-and-end") && text("text").contains('\0') {
        state.ending.send_replace(true);
    }
    let number = state.append(&event, &text("text"));
    whole(socket, 200, "", &format!("{{\"id\":\"t:{number}\"}}")).await;
}

async fn wait_for_end(socket: &mut TcpStream) {
    let mut rest = [0; 1024];
    while matches!(socket.read(&mut rest).await, Ok(1..)) {}
}
