//! A stream, from what comes first to its end.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::bytes::{base, echo, event, opening};
use super::head::{head, is_brotli, is_zipped};
use super::request::Request;
use super::{Entry, State, is_others, whole};

pub(super) async fn stream(state: &State, socket: &mut TcpStream, request: &Request, cors: &str) {
    let fault = state.fault.as_str();
    let is_resumed = request.header("last-event-id").is_some_and(|id| !id.is_empty());
    let is_first = *state.connections.lock().expect("no panic") == 1;
    if fault == "tim.headers" {
        sleep(Duration::from_millis(1200)).await;
    }
    if state.is_late("head") {
        // So late that something is published meanwhile, if that can be.
        sleep(Duration::from_millis(1600)).await;
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
    let is_behind = at.saturating_add(3) < *state.head.borrow();
    let _replay = Count::of((is_resumed && is_behind).then_some(&state.replays));
    let is_zipped = is_zipped(request);
    let holds = match fault {
        "tim.buffered" => 30,
        "tim.compressed" if is_zipped => 25,
        _ if is_brotli(state, request) => 25,
        _ => 1,
    };
    if fault == "tim.headers-waiting" {
        drop(state.head.subscribe().changed().await);
    }
    if fault == "tim.headers-late" {
        sleep(Duration::from_millis(1200)).await;
        at = if is_resumed { at } else { at.saturating_sub(1) };
    } else {
        drop(socket.write_all(written.as_bytes()).await);
        written.clear();
        if fault == "tim.headers" {
            // An event that came with the head by chance would be another fault.
            sleep(Duration::from_millis(100)).await;
        }
    }
    if !is_resumed && (fault == "fmt.first-byte" || state.is_late("first byte")) {
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
        is_behind: fault == "tim.compressed-behind" && is_zipped,
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
    if !opening.is_empty() {
        // Not held, so that the first byte is in time whatever else is.
        body.holds_count = holds - 1;
        if body.write(opening.as_bytes()).await.is_err() {
            return;
        }
    }
    if let Some(echo) = echo(fault, request)
        && body.write(&[b":", &echo[..], b"\n\n"].concat()).await.is_err()
    {
        return;
    }
    let mut head = state.head.subscribe();
    let began = Instant::now();
    let comes_late = state.is_busy();
    let mut put_off: Option<Vec<u8>> = None;
    let mut beats = beats(fault);
    let mut ending = state.ending.subscribe();
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
        if fault == "res.large" && !is_resumed && state.replays.load(SeqCst) > 3 {
            entries.clear();
        }
        for (number, entry) in entries {
            at = at.max(number);
            if is_left_out(state, number, &entry, is_resumed) {
                continue;
            }
            sent += 1;
            let mut bytes = event(state, number, &entry, is_resumed);
            if entry.is_busy && number % 20 == 7 && !is_resumed {
                match fault {
                    "res.busy-loss" if !comes_late => continue,
                    "res.busy-connect-loss" if comes_late => continue,
                    "res.busy-duplicate" => bytes = [&bytes[..], &bytes].concat(),
                    "res.busy-order" => {
                        put_off = Some(bytes);
                        continue;
                    }
                    _ => {}
                }
            }
            bytes.extend(put_off.take().unwrap_or_default());
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
            _ = ending.changed() => return body.end().await,
            () = sleep(beats.next().unwrap_or(BEAT)) => {
                if body.write(b":\n\n").await.is_err() {
                    return;
                }
            }
        }
        if began.elapsed() > Duration::from_mins(10) {
            return;
        }
    }
}

/// Whether nobody here gets an event: since it is lost, or since it is another channel's, with
/// which this one shares its counter.
fn is_left_out(state: &State, number: usize, entry: &Entry, is_resumed: bool) -> bool {
    match state.fault.as_str() {
        "res.hole" => number.is_multiple_of(97),
        "res.hole-published" => number.is_multiple_of(7) && entry.data.starts_with('z'),
        "res.hole-live" => number.is_multiple_of(97) && !is_resumed,
        _ => is_others(state, number),
    }
}

fn note_end(state: &State, written: usize, is_reset: bool) {
    if is_reset {
        state.resets.fetch_add(1, SeqCst);
    }
    *state.after_reset.lock().expect("no panic") = is_reset;
    *state.written.lock().expect("no panic") = written;
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
    /// What is written comes out with what is written next.
    is_behind: bool,
}

impl Body<'_> {
    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let next = if self.is_behind { bytes.to_vec() } else { Vec::new() };
        self.held.extend_from_slice(if self.is_behind { b"" } else { bytes });
        self.holds_count += 1;
        if self.holds_count < self.holds {
            return Ok(());
        }
        self.holds_count = 0;
        let mut bytes = std::mem::replace(&mut self.held, next);
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

/// How long nothing comes before a comment does.
const BEAT: Duration = Duration::from_secs(5);

/// The first of these times, which are all the same unless that is the fault.
fn beats(fault: &str) -> impl Iterator<Item = Duration> {
    let millis: &[u64] = match fault {
        "fmt.silence" => &[60_000],
        "tim.keep-alive" => &[600, 100, 100, 2000],
        _ => &[],
    };
    millis.iter().map(|millis| Duration::from_millis(*millis))
}

/// The number to go on after; the rest is what to send first.
fn start(state: &State, request: &Request) -> (usize, String) {
    let head = *state.head.borrow();
    let id = request.header("last-event-id").unwrap_or_default();
    let query_id = request.path.split("lastEventId=").nth(1).map(str::to_owned);
    let id = if id.is_empty() { query_id.unwrap_or_default() } else { id };
    let reset =
        || (head, format!("event: stream-reset\nid: t:{}\ndata: {{}}\n\n", head + base(state)));
    if id.is_empty() {
        return (head, String::new());
    }
    let number = id.rsplit_once(':').map(|(_, number)| number.parse::<usize>());
    let number = match number {
        Some(Ok(number)) => number.saturating_sub(base(state)),
        _ if state.is("res.unknown") => return (head, String::new()),
        _ => return reset(),
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
        "res.unknown" if number > head => (head, String::new()),
        _ if number > head => reset(),
        "res.busy-resume-loss" if state.is_busy() => (number + 1, String::new()),
        "res.busy-resume-duplicate" if state.is_busy() => (number.saturating_sub(1), String::new()),
        _ => (number, String::new()),
    }
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

/// Counts something for as long as it lives.
pub(super) struct Count<'a>(Option<&'a AtomicUsize>);

impl<'a> Count<'a> {
    pub(super) fn of(counter: Option<&'a AtomicUsize>) -> Self {
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
