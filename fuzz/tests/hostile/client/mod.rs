//! A small client of our own that does everything right, except for the one thing it is told to do
//! wrong. Blocking, on plain sockets (or TLS on them), so that nothing in between makes good what
//! it does wrong.

use std::io::{self, ErrorKind};
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use sse_proto::{Decoder, Frame};

pub(crate) mod http2;
mod tls;

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Comes back without waiting, whatever it is told.
    TightLoop,
    /// Never sends an id.
    NoId,
    /// Sends an empty id when it has none.
    EmptyId,
    /// Takes the secret along to wherever it is redirected.
    Leaks,
    /// Keeps the whole stream.
    Hoards,
    /// Waits for the byte after a CR.
    LateCr,
    /// Takes every status for a failure that passes.
    NeverStops,
    /// Does not forget half an event when the stream ends.
    KeepsHalves,
    /// Sends a POST again.
    Repeats,
    /// Reads a stream whatever its type.
    AnyType,
    /// Waits for ever.
    Patient,
    /// Takes GOAWAY for the end of the stream.
    Hasty,
    /// Takes an end with an error for one that is final.
    StopsOnError,
    /// Offers HTTP/1.1 only.
    Http1,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::TightLoop,
        Self::NoId,
        Self::EmptyId,
        Self::Leaks,
        Self::Hoards,
        Self::LateCr,
        Self::NeverStops,
        Self::KeepsHalves,
        Self::Repeats,
        Self::AnyType,
        Self::Patient,
        Self::Hasty,
        Self::StopsOnError,
        Self::Http1,
    ];

    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|fault| format!("{fault:?}") == name).expect("a fault")
    }
}

/// What it is to do.
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) method: String,
    pub(crate) header: String,
    pub(crate) body: String,
    /// The file with the authority to believe.
    pub(crate) authority: String,
}

const MIN_WAIT: Duration = Duration::from_millis(400);
const MAX_WAIT: Duration = Duration::from_hours(1);
const SILENCE: Duration = Duration::from_secs(3);

pub(crate) fn run(task: &Task, fault: Fault) -> ! {
    let mut decoder = Decoder::new();
    let mut wait = MIN_WAIT;
    let mut hoard = Vec::new();
    loop {
        let mut asked_for = wait;
        match attempt(task, fault, &mut decoder, &mut wait, &mut hoard) {
            Ok(After::Stop) => exit(1),
            Ok(After::Wait(time)) => asked_for = time.max(MIN_WAIT),
            Ok(After::Ended) | Err(_) => asked_for = asked_for.max(wait),
        }
        if task.method == "POST" && fault != Fault::Repeats {
            exit(0);
        }
        if fault != Fault::KeepsHalves {
            decoder.end_of_stream();
        }
        if fault != Fault::TightLoop {
            sleep(asked_for);
        }
    }
}

enum After {
    Ended,
    Wait(Duration),
    Stop,
}

fn attempt(
    task: &Task,
    fault: Fault,
    decoder: &mut Decoder,
    wait: &mut Duration,
    hoard: &mut Vec<u8>,
) -> io::Result<After> {
    let mut url = task.url.clone();
    let mut header = task.header.as_str();
    for _ in 0..5 {
        let id = decoder.last_event_id().filter(|id| !id.chars().any(char::is_control));
        let id = id.filter(|_| fault != Fault::NoId).unwrap_or_default();
        let mut response = Response::get(&url, task, header, id, fault)?;
        if let Some(location) = response.header("location").filter(|_| response.status / 100 == 3) {
            let (scheme, rest) = location.split_once("://").unwrap_or_default();
            let is_here = rest.starts_with("127.") || rest.starts_with("localhost:");
            if !scheme.starts_with("http") || !is_here {
                return Ok(After::Stop);
            }
            if place(location).authority != place(&url).authority && fault != Fault::Leaks {
                header = "";
            }
            url = location.to_owned();
            continue;
        }
        let content_type = response.header("content-type").unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        return match response.status {
            200 if essence.eq_ignore_ascii_case("text/event-stream") || fault == Fault::AnyType => {
                response.read_events(decoder, wait, fault, hoard)?;
                // At least as long as a failure, which is not told apart.
                Ok(After::Ended)
            }
            500..=599 | 408 | 425 | 429 => {
                let asked_for = response.header("retry-after").map_or(1, |after| {
                    // A date is one in four seconds, here.
                    after.parse::<u128>().map_or(5, |seconds| seconds.min(3600) as u64)
                });
                Ok(After::Wait(Duration::from_secs(asked_for)))
            }
            _ if fault == Fault::NeverStops => Ok(After::Wait(MIN_WAIT)),
            _ => Ok(After::Stop),
        };
    }
    Ok(After::Stop)
}

/// A URL, taken apart.
struct Place<'a> {
    is_secure: bool,
    has_user: bool,
    authority: &'a str,
    path: &'a str,
}

fn place(url: &str) -> Place<'_> {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    Place { is_secure: scheme == "https", has_user: !user.is_empty(), authority, path }
}

struct Response {
    stream: Box<dyn tls::Stream>,
    status: u16,
    head: String,
    /// What has been read and not been used.
    rest: Vec<u8>,
}

impl Response {
    fn get(url: &str, task: &Task, header: &str, id: &str, fault: Fault) -> io::Result<Self> {
        let Place { is_secure, has_user, authority: address, path } = place(url);
        let believed = is_secure.then_some(task.authority.as_str());
        let silence = Some(SILENCE).filter(|_| fault != Fault::Patient);
        let mut stream = tls::connect(address, believed, silence)?;
        let mut head = format!(
            "{} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\
             Cache-Control: no-cache\r\n",
            task.method
        );
        if has_user {
            head.push_str("Authorization: Basic aG9zdGlsZTpzZWNyZXQ=\r\n");
        }
        if !header.is_empty() {
            head.extend([header, "\r\n"]);
        }
        if !id.is_empty() || fault == Fault::EmptyId {
            head.extend(["Last-Event-ID: ", id, "\r\n"]);
        }
        let len = task.body.len().to_string();
        head.extend(["Content-Length: ", &len, "\r\n\r\n", &task.body]);
        stream.write_all(head.as_bytes())?;
        let mut response = Self { stream, status: 0, head: String::new(), rest: Vec::new() };
        let end = loop {
            if let Some(end) = response.rest.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            if response.rest.len() > 64 << 10 || response.read()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        response.head = String::from_utf8_lossy(&response.rest[..end]).into_owned();
        response.rest.drain(..end + 4);
        let status = response.head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|status| status.parse().ok());
        response.status = status.ok_or(ErrorKind::InvalidData)?;
        Ok(response)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut buffer = vec![0; 64 << 10];
        let len = self.stream.read(&mut buffer)?;
        self.rest.extend_from_slice(&buffer[..len]);
        Ok(len)
    }

    /// The next bytes of the body; none at its end.
    fn body(&mut self) -> io::Result<Vec<u8>> {
        if self.header("transfer-encoding").is_none() {
            if self.rest.is_empty() {
                self.read()?;
            }
            return Ok(std::mem::take(&mut self.rest));
        }
        loop {
            if let Some(end) = self.rest.windows(2).position(|bytes| bytes == b"\r\n") {
                let size = String::from_utf8_lossy(&self.rest[..end]).into_owned();
                let size = usize::from_str_radix(&size, 16);
                let size = size.map_err(|_| ErrorKind::InvalidData)?;
                if self.rest.len() >= end + size + 4 {
                    let chunk = self.rest[end + 2..end + 2 + size].to_vec();
                    self.rest.drain(..end + size + 4);
                    return Ok(chunk);
                }
            }
            if self.read()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn read_events(
        &mut self,
        decoder: &mut Decoder,
        wait: &mut Duration,
        fault: Fault,
        hoard: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut held = Vec::new();
        loop {
            let bytes = self.body()?;
            if bytes.is_empty() {
                return Ok(());
            }
            if fault == Fault::Hoards {
                hoard.extend_from_slice(&bytes);
            }
            held.extend_from_slice(&bytes);
            let is_late = fault == Fault::LateCr && held.ends_with(b"\r");
            let kept = if is_late { vec![b'\r'] } else { Vec::new() };
            held.truncate(held.len() - kept.len());
            print(decoder, &held, wait);
            held = kept;
        }
    }
}

/// Prints the events that end in these bytes.
fn print(decoder: &mut Decoder, bytes: &[u8], wait: &mut Duration) {
    let mut frames = decoder.decode(bytes);
    while let Some(frame) = frames.next_frame() {
        match frame {
            Ok(Frame::Event(event)) => {
                let line = serde_json::json!({
                    "event": event.event_type(),
                    "data": event.data(),
                    "id": event.last_event_id(),
                });
                // The test harness may have begun a line.
                println!("\n{line}");
                if event.event_type() == "stream-error" {
                    exit(1);
                }
            }
            Ok(Frame::Retry(time)) => *wait = time.clamp(MIN_WAIT, MAX_WAIT),
            _ => {}
        }
    }
}
