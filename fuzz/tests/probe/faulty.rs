//! An event stream server with one fault, or none: the probe's checks are tried on it.
//!
//! It is raw on purpose: a library would forbid most of the faults. Without a fault it does what each
//! check wants, so that a check that complains of it is wrong.

mod request;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use request::{Request, read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// How often it has something to say by itself.
const PACE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
struct Entry {
    event: String,
    data: String,
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
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    tasks: Vec<AbortHandle>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Server {
    pub(crate) async fn start(fault: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
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
        });
        for _ in 0..20 {
            state.append("message", "from before");
        }
        // With this fault, an event that comes between a client's last read and its end would count.
        let pace = if fault == "res.cut-after-id" { PACE * 3 } else { PACE };
        let ticking = Arc::clone(&state);
        let ticks = tokio::spawn(async move {
            for number in 1_u64.. {
                sleep(pace).await;
                ticking.append("message", &format!("tick {number}"));
            }
        });
        let accepting = tokio::spawn(async move {
            // Ended with it: what it has accepted.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(Arc::clone(&state), socket));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, tasks: vec![ticks.abort_handle(), accepting.abort_handle()] }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl State {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }

    fn append(&self, event: &str, data: &str) -> usize {
        let mut log = self.log.lock().expect("no panic");
        log.push(Entry { event: event.to_owned(), data: data.to_owned() });
        let len = log.len();
        drop(log);
        self.head.send_replace(len);
        len
    }
}

async fn serve(state: Arc<State>, mut socket: TcpStream) {
    drop(socket.set_nodelay(true));
    let mut raw = Vec::new();
    match read(&state.fault, &mut socket, &mut raw).await {
        Ok(Some(request)) => {
            *state.connections.lock().expect("no panic") += 1;
            if !raw.is_empty() && state.is("rob.pipelined") {
                state.append("message", "HTTP/1.1 404 Not Found");
            }
            answer(&state, &mut socket, &request).await;
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
        if state.is("con.errors") {
            drop(socket.write_all(b"HTTP/1.1 404 X\r\n\r\nnothing").await);
            return wait_for_end(state, socket).await;
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
            if state.is("con.options") {
                let head = format!(
                    "HTTP/1.1 200 X\r\n{cors}Access-Control-Allow-Headers: last-event-id\r\n\r\n"
                );
                drop(socket.write_all(head.as_bytes()).await);
                return wait_for_end(state, socket).await;
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
    if let Some(status) = refusal(state, request) {
        return whole(socket, status, "", "refused").await;
    }
    stream(state, socket, request, &cors).await;
}

fn cors(state: &State, request: &Request) -> String {
    let origin = request.header("origin").unwrap_or_default();
    let allowed = if state.is("con.cors") { origin } else { "*".to_owned() };
    let credentials = if state.is("con.cors") {
        "Access-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
    } else {
        ""
    };
    format!("Access-Control-Allow-Origin: {allowed}\r\n{credentials}")
}

/// What is no request for a stream, and how it is refused.
fn refusal(state: &State, request: &Request) -> Option<u16> {
    let accept = request.header("accept");
    let wants_json = accept.as_deref() == Some("application/json");
    let id = request.all("last-event-id");
    let bad = |id: &&[u8]| id.iter().any(|byte| matches!(byte, 0 | b'\r'));
    let host = request.header("host").unwrap_or_default();
    if wants_json && !state.is("con.accept-json") {
        return Some(406);
    }
    if accept.is_none() && state.is("con.no-accept") {
        return Some(500);
    }
    if request.header("range").is_some() && state.is("con.conditional") {
        return Some(304);
    }
    if host.contains("invalid") && !state.is("con.rebinding") {
        return Some(403);
    }
    if request.header("authorization").is_none()
        && request.path.contains("private")
        && !state.is("con.credentials")
    {
        return Some(401);
    }
    let is_odd = state.is("res.control-id") || state.is("inj.last-event-id");
    if state.is("rob.resets") && state.resets.load(SeqCst) > 50 {
        return Some(503);
    }
    if id.iter().any(bad) && !is_odd {
        return Some(400);
    }
    if id.len() > 1 && !state.is("res.repeated") {
        return Some(400);
    }
    let id = id.first().copied().unwrap_or_default();
    if id.len() > 1000 {
        return Some(if state.is("res.long-id") { 500 } else { 431 });
    }
    let is_ours = str::from_utf8(id).is_ok_and(|id| id.is_empty() || id.starts_with("t:"));
    if request.header("content-length").is_some() && state.is("rob.body") {
        return Some(500);
    }
    if request.header("upgrade").is_some() && state.is("rob.upgrade") {
        return Some(101);
    }
    if state.is("rob.streams") && state.open.load(SeqCst) > 40 {
        return Some(503);
    }
    if !id.is_ascii() && state.is("res.utf8-id") {
        return Some(500);
    }
    if id.starts_with(b"%zz") && state.is("res.garbage") {
        return Some(400);
    }
    if is_ours && (id.len() > 20 || id.contains(&b'-')) && state.is("res.overflow") {
        return Some(500);
    }
    None
}

fn head(state: &State, request: &Request) -> String {
    let is_old = request.version == "HTTP/1.0";
    let mut head = String::from(if state.is("con.status") {
        "HTTP/1.1 201 Created\r\n"
    } else {
        "HTTP/1.1 200 OK\r\n"
    });
    head += match state.fault.as_str() {
        "con.type" => "Content-Type: text/plain\r\n",
        "con.charset" => "Content-Type: text/event-stream; charset=latin-1\r\n",
        "con.type-twice" => {
            "Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n"
        }
        _ => "Content-Type: text/event-stream; charset=UTF-8\r\n",
    };
    head += match state.fault.as_str() {
        "con.cache-control" => "Cache-Control: max-age=60\r\n",
        _ => "Cache-Control: no-cache\r\n",
    };
    if !state.is("con.buffering") {
        head += "X-Accel-Buffering: no\r\n";
    }
    if !state.is("con.vary") {
        head += "Vary: Accept, Accept-Encoding\r\n";
    }
    if state.is("con.live") && *state.connections.lock().expect("no panic") > 1 {
        head += "Age: 7\r\n";
    }
    if state.is("con.length") {
        head += "Content-Length: 100000000\r\n";
    } else if !is_old || state.is("con.http10") {
        head += "Transfer-Encoding: chunked\r\n";
    }
    if is_zipped(request) {
        head += "Content-Encoding: gzip\r\n";
    }
    if state.is("res.reflected") {
        head += "X-Last: ";
        head += &request.header("last-event-id").unwrap_or_default();
        head += "\r\n";
    }
    head + "\r\n"
}

fn is_zipped(request: &Request) -> bool {
    request.header("accept-encoding").is_some_and(|offer| offer.contains("gzip"))
}

/// A stream's body on its way: compressed and in chunks, as the request has it.
struct Body<'a> {
    socket: &'a mut TcpStream,
    is_chunked: bool,
    zip: Option<flate2::write::GzEncoder<Vec<u8>>>,
    holds: usize,
    held: Vec<u8>,
    holds_count: usize,
    is_scattered: bool,
}

impl Body<'_> {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.held.extend_from_slice(bytes);
        self.holds_count += 1;
        if self.holds_count < self.holds {
            return Ok(());
        }
        self.holds_count = 0;
        let mut bytes = std::mem::take(&mut self.held);
        if let Some(zip) = &mut self.zip {
            zip.write_all(&bytes)?;
            zip.flush()?;
            bytes = std::mem::take(zip.get_mut());
        }
        if !self.is_chunked {
            return self.socket.write_all(&bytes).await;
        }
        let size = if self.is_scattered { 3 } else { usize::MAX };
        for part in bytes.chunks(size) {
            let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            self.socket.write_all(&chunk).await?;
        }
        Ok(())
    }

    async fn end(&mut self) {
        if self.is_chunked {
            drop(self.socket.write_all(b"0\r\n\r\n").await);
        }
    }
}

/// The number to go on after; the rest is what to send first.
fn start(state: &State, request: &Request) -> (usize, String) {
    let head = *state.head.borrow();
    let id = request.header("last-event-id").unwrap_or_default();
    let query_id = request.path.split("lastEventId=").nth(1).map(str::to_owned);
    let id = if id.is_empty() { query_id.unwrap_or_default() } else { id };
    let reset = || (head, format!("event: stream-reset\nid: t:{head}\ndata: {{}}\n\n"));
    if id.is_empty() {
        return (head, String::new());
    }
    let Some(Ok(number)) = id.rsplit_once(':').map(|(_, number)| number.parse::<usize>()) else {
        return reset();
    };
    let was_reset = *state.after_reset.lock().expect("no panic");
    let is_behind = number < *state.written.lock().expect("no panic");
    match state.fault.as_str() {
        "res.loss" if (20..head).contains(&number) => (number + 1, String::new()),
        "res.duplicate" if (20..=head).contains(&number) => (number - 1, String::new()),
        "res.cut-mid-event" if was_reset && number <= head => (head.max(number), String::new()),
        "res.cut-after-id" if is_behind && !was_reset && (21..=head).contains(&number) => {
            (head.max(number), String::new())
        }
        "res.expired" if number < 10 => (head, String::new()),
        "res.future" if number > head => (usize::MAX, String::new()),
        _ if number > head => reset(),
        _ => (number, String::new()),
    }
}

async fn stream(state: &State, socket: &mut TcpStream, request: &Request, cors: &str) {
    let fault = state.fault.as_str();
    let is_resumed = request.header("last-event-id").is_some_and(|id| !id.is_empty());
    let is_first = *state.connections.lock().expect("no panic") == 1;
    if fault == "tim.headers" {
        sleep(Duration::from_millis(1200)).await;
    }
    if is_resumed {
        let recent = {
            let mut times = state.times.lock().expect("no panic");
            times.push(Instant::now());
            let is_recent = |time: &&Instant| time.elapsed() < Duration::from_millis(500);
            times.iter().filter(is_recent).count()
        };
        if fault == "res.storm" && recent > 15 {
            state.times.lock().expect("no panic").clear();
            return whole(socket, 503, "", "too many").await;
        }
    }
    let _open = Count::of(Some(&state.open));
    let _resumed = Count::of(is_resumed.then_some(&state.resumed));
    let mut written = head(state, request).replace("\r\n\r\n", &format!("\r\n{cors}\r\n"));
    if fault == "res.no-header" && request.all("last-event-id") == [b""] {
        return whole(socket, 400, "", "an empty id").await;
    }
    let (mut at, first) = start(state, request);
    let _replay = Count::of((is_resumed && at < 60).then_some(&state.replays));
    let is_zipped = is_zipped(request);
    let holds = match fault {
        "tim.buffered" => 40,
        "tim.compressed" if is_zipped => 25,
        _ => 1,
    };
    if fault == "tim.headers-late" {
        sleep(Duration::from_millis(1200)).await;
        at = if is_resumed { at } else { at.saturating_sub(1) };
    } else {
        drop(socket.write_all(written.as_bytes()).await);
        written.clear();
    }
    if fault == "fmt.first-byte" && is_first {
        sleep(Duration::from_millis(1500)).await;
    }
    let is_fake = fault == "con.compressed" && is_zipped;
    let zip = (is_zipped && !is_fake)
        .then(|| flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let is_chunked =
        (request.version != "HTTP/1.0" || fault == "con.http10") && fault != "con.length";
    let mut body = Body {
        socket,
        is_chunked,
        zip,
        holds,
        held: Vec::new(),
        holds_count: 0,
        is_scattered: fault == "fmt.chunks",
    };
    if !written.is_empty() {
        drop(body.socket.write_all(written.as_bytes()).await);
    }
    let opening = opening(fault);
    let opening = if fault == "tim.headers-late" || fault == "fmt.terminators" {
        first
    } else {
        format!("{opening}{first}")
    };
    if !opening.is_empty() && body.write(opening.as_bytes()).await.is_err() {
        return;
    }
    if let Some(echo) = echo(fault, request)
        && body.write(&[b":", &echo[..], b"\n\n"].concat()).await.is_err()
    {
        return;
    }
    let mut head = state.head.subscribe();
    let began = Instant::now();
    let mut sent = 0;
    let mut is_half_closed = false;
    loop {
        let log: Vec<(usize, Entry)> = {
            let log = state.log.lock().expect("no panic");
            let rest = log.iter().enumerate().skip(at);
            rest.map(|(index, entry)| (index + 1, entry.clone())).collect()
        };
        let mut entries = log;
        if fault == "res.order" && is_resumed && sent == 0 && entries.len() > 2 && at > 20 {
            entries.swap(0, 1);
        }
        if fault == "res.parallel"
            && is_resumed
            && sent == 0
            && state.resumed.load(SeqCst) > 6
            && at > 30
        {
            at = at.max(entries.first().map_or(at, |(number, _)| *number));
            entries.drain(..entries.len().min(1));
        }
        if fault == "res.large" && is_first && state.replays.load(SeqCst) > 3 {
            entries.clear();
        }
        for (number, entry) in entries {
            at = at.max(number);
            sent += 1;
            let bytes = event(state, number, &entry, is_resumed);
            let _writing = match fault {
                "rob.slow-reader" => Some(state.writing.lock().await),
                _ => None,
            };
            let is_left_out = !is_first && entry.data.len() > 60_000 && number % 10 == 0;
            if fault == "rob.zero-window" && is_left_out {
                continue;
            }
            if body.write(&bytes).await.is_err() {
                if !is_half_closed {
                    note_end(state, number, true);
                }
                return;
            }
            if let Some(stop) = stops(fault, sent) {
                // Only the first connection, which is the witness.
                if is_first {
                    return finish(&mut body, stop).await;
                }
            }
        }
        let mut one = [0; 1024];
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return },
            read = body.socket.read(&mut one), if !is_half_closed => {
                match read {
                    Ok(0) => {
                        note_end(state, at, false);
                        is_half_closed = true;
                        if fault == "rob.half-close" {
                            return;
                        }
                    }
                    Err(_) => {
                        note_end(state, at, true);
                        return;
                    }
                    Ok(_) if fault == "rob.pipelined" => {
                        drop(body.write(b"HTTP/1.1 404 Not Found\r\n\r\n").await);
                    }
                    Ok(_) => {}
                }
            }
            () = sleep(Duration::from_secs(5)) => {
                if body.write(b":\n\n").await.is_err() {
                    return;
                }
            }
        }
        if began.elapsed() > Duration::from_mins(2) {
            return;
        }
    }
}

fn note_end(state: &State, written: usize, is_reset: bool) {
    if is_reset {
        state.resets.fetch_add(1, SeqCst);
    }
    *state.after_reset.lock().expect("no panic") = is_reset;
    *state.written.lock().expect("no panic") = written;
}

async fn wait_for_end(_: &State, socket: &mut TcpStream) {
    let mut rest = [0; 1024];
    while matches!(socket.read(&mut rest).await, Ok(1..)) {}
}

/// How the first stream ends in some faults: in the middle of a block, of a message, or in order.
#[derive(Clone, Copy)]
enum Stop {
    InBlock,
    WithoutLastChunk,
    WithoutRetry,
}

fn stops(fault: &str, sent: usize) -> Option<Stop> {
    let stop = match fault {
        "fmt.end" => Stop::InBlock,
        "tim.age" => Stop::WithoutLastChunk,
        "tim.retry" => Stop::WithoutRetry,
        _ => return None,
    };
    (sent == 100).then_some(stop)
}

async fn finish(body: &mut Body<'_>, stop: Stop) {
    match stop {
        Stop::InBlock => {
            drop(body.write(b"data: lost\n").await);
            body.end().await;
        }
        Stop::WithoutRetry => body.end().await,
        Stop::WithoutLastChunk => {}
    }
}

/// What of a request comes back in the stream.
fn echo(fault: &str, request: &Request) -> Option<Vec<u8>> {
    let header = |name: &str| request.all(name).first().map(|value| value.to_vec());
    let decoded = |text: &str| text.replace("%0A", "\n").replace("%0D", "\r").into_bytes();
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    match fault {
        "inj.path" => Some(decoded(path)),
        "inj.query" => Some(decoded(query)),
        "inj.user-agent" => header("user-agent"),
        "inj.cookie" => header("cookie"),
        "inj.last-event-id" => header("last-event-id"),
        _ => None,
    }
}

/// What each stream begins with.
fn opening(fault: &str) -> &'static str {
    match fault {
        "fmt.retry" => ":ok\nretry: 1s\n\n",
        "fmt.bom" => ":ok\n\n\u{feff}:x\n\n",
        "fmt.lf-cr" => ":ok\n\r:x\n\n",
        "fmt.no-data" => ":ok\n\nevent: ready\n\n",
        "fmt.bare-json" => ":ok\n\n{\"error\":{}}\n\n",
        "fmt.space" => ":ok\n\ndata : x\n\n",
        "fmt.fields" => ":ok\n\nDATA: x\n\n",
        "res.first-id" => ":ok\n\ndata: welcome\n\n",
        "tim.retry" => ":ok\n\n",
        _ => ":ok\nretry: 2000\n\n",
    }
}

/// An event's bytes.
fn event(state: &State, number: usize, entry: &Entry, is_resumed: bool) -> Vec<u8> {
    let fault = state.fault.as_str();
    let Entry { event, data } = entry;
    let mut id = format!("t:{number}");
    let mut data = data.clone();
    match fault {
        "res.ids" => id.clear(),
        "fmt.id-header" => id = format!("t{}:{number}", "-".repeat(140)),
        "fmt.id-unique" if number == 25 => id = "t:24".to_owned(),
        "fmt.heartbeat" if number == 25 => data = "ping".to_owned(),
        "fmt.data-data" if number == 25 => data = "data: x".to_owned(),
        "fmt.length" if number == 25 => data = "x".repeat(70_000),
        "res.same-bytes" if is_resumed => data.push('!'),
        _ => {}
    }
    let mut bytes = Vec::new();
    let event = if fault == "fmt.reserved-type" && number == 25 { "error" } else { event };
    let injected = |field: &str| fault.starts_with(&format!("inj.{field}"));
    if !id.is_empty() {
        bytes.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    if fault == "fmt.id-nul" && number == 25 {
        bytes.splice(..0, *b"id: x\0\n");
    }
    let type_name =
        if injected("event") { event.to_owned() } else { event.replace(['\r', '\n'], " ") };
    if type_name != "message" && !type_name.is_empty() {
        bytes.extend_from_slice(format!("event: {type_name}\n").as_bytes());
    }
    let data =
        if injected("data-cr") { data } else { data.replace("\r\n", "\n").replace('\r', "\n") };
    for line in data.split('\n') {
        bytes.extend_from_slice(format!("data: {line}\n").as_bytes());
    }
    bytes.push(b'\n');
    if fault == "fmt.utf8" && number == 25 {
        bytes = b"id: t:25\ndata: \xe9\n\n".to_vec();
    }
    if fault == "fmt.terminators" && number.is_multiple_of(2) {
        bytes = String::from_utf8_lossy(&bytes).replace('\n', "\r\n").into_bytes();
    }
    bytes
}

async fn publish(state: &State, socket: &mut TcpStream, request: &Request) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&request.body) else {
        return whole(socket, 400, "", "this is no JSON").await;
    };
    if state.is("tim.latency") {
        sleep(Duration::from_millis(1200)).await;
    }
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let event = text("event");
    let event = if event.is_empty() { "message".to_owned() } else { event };
    let number = state.append(&event, &text("text"));
    whole(socket, 200, "", &format!("{{\"id\":\"t:{number}\"}}")).await;
}

/// Counts something for as long as it lives.
struct Count<'a>(Option<&'a AtomicUsize>);

impl<'a> Count<'a> {
    fn of(counter: Option<&'a AtomicUsize>) -> Self {
        if let Some(counter) = counter {
            counter.fetch_add(1, SeqCst);
        }
        Self(counter)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.fetch_sub(1, SeqCst);
        }
    }
}
