//! A client that is right in everything but one thing, in simulated time: what it asks for goes to
//! the server's script, and what comes back is as a socket would bring it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::faults::Fault::{self, *};
use super::parser::{Asked, Parser};
use crate::hostile::answer::Stage;
use crate::hostile::case::Case;
use crate::hostile::play::{End, Outlet};
use crate::hostile::record::Origin;
use crate::hostile::request::{Head, Request};

const SILENCE: Duration = Duration::from_secs(3);
const LEAST: Duration = Duration::from_millis(400);
/// What a connection takes.
const LATENCY: Duration = Duration::from_millis(5);
/// What reads are merged that come within it.
const MERGED: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Signal {
    Bytes(Vec<u8>),
    GoAway,
    End(End),
}

/// The server's side of a connection.
struct Wire {
    signals: mpsc::Sender<Signal>,
    is_http2: bool,
}

impl Outlet for Wire {
    async fn head(&mut self, text: &str) -> io::Result<()> {
        self.send(text.as_bytes()).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.signals.send(Signal::Bytes(bytes.to_vec())).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn gone_within(&mut self, time: Duration) -> bool {
        timeout(time, self.signals.closed()).await.is_ok()
    }

    async fn go_away(&mut self) {
        if self.is_http2 {
            drop(self.signals.send(Signal::GoAway).await);
        }
    }

    async fn end(&mut self, end: End) {
        drop(self.signals.send(Signal::End(end)).await);
    }
}

pub(super) struct Client<'a> {
    pub(super) fault: Fault,
    pub(super) stage: &'a Arc<Stage>,
    pub(super) case: &'a Case,
    pub(super) parser: Parser,
}

/// How a connection ended.
enum After {
    /// The stream, or the answer, is over; after an error if so.
    Ended,
    Failed,
    /// To be asked for again, after this time at least.
    Wait(Duration),
    Stop,
    Die,
}

impl Client<'_> {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Runs until it ends; the exit code.
    pub(super) async fn run(&mut self, url: &str) -> i32 {
        let own = if self.is(WaitsLong) { Duration::from_secs(8) } else { Duration::from_secs(1) };
        let is_post = self.case.method() == "POST";
        loop {
            let after = self.attempt(url).await;
            self.parser.end();
            let is_error = self
                .parser
                .printed
                .borrow()
                .last()
                .is_some_and(|event| event.event == "stream-error");
            if is_error && self.case.id() == "con.stream-error" {
                return 1;
            }
            let asked_for = self.parser.wait.unwrap_or(own);
            let least = if self.is(ObeysZero) { Duration::ZERO } else { LEAST };
            let wait = match after {
                After::Stop => return 1,
                After::Die => return 3,
                After::Failed if self.is(StopsOnError) => return 1,
                After::Wait(time) => time.max(if self.is(LoopsOn5xx) { time } else { least }),
                After::Ended | After::Failed if asked_for == super::parser::AT_ONCE => asked_for,
                After::Ended | After::Failed if self.is(ObeysZero) => asked_for,
                After::Ended | After::Failed => asked_for.max(least),
            };
            if is_post && !self.is(RepeatsPosts) {
                return 0;
            }
            match self.fault {
                EndsProcess => return 0,
                NeverReturns => std::future::pending().await,
                TightLoop => {}
                _ => sleep(wait).await,
            }
        }
    }

    fn request(&self, url: &str, header: &str) -> Request {
        let (place, path) =
            url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).expect("a URL");
        let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
        let mut head = format!("{} /{path} HTTP/1.1\r\nHost: {host}\r\n", self.case.method());
        if !self.is(NoAccept) {
            head.push_str("Accept: text/event-stream\r\n");
        }
        if !self.is(NoCacheControl) {
            head.push_str("Cache-Control: no-cache\r\n");
        }
        if !header.is_empty() {
            head.extend([header, "\r\n"]);
        }
        let body = if self.is(LosesBody) { "" } else { self.case.body() };
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        let id = match self.fault {
            NoLastEventId => "",
            IdOfLastEvent => &self.parser.delivered_id,
            _ => &self.parser.last_id,
        };
        let is_unsendable = id.chars().any(char::is_control) && !self.is(Browser);
        let mut id = if is_unsendable { Vec::new() } else { id.as_bytes().to_vec() };
        if self.is(IdInLatin1) {
            id = String::from_utf8_lossy(&id).chars().map(|char| char as u8).collect();
        }
        if self.is(ShortIds) {
            id.truncate(1024);
        }
        let is_first = self.parser.last_id.is_empty() && self.parser.printed.borrow().is_empty();
        let has_empty = self.is(EmptyId) || self.is(EmptyIdLater) && !is_first;
        let mut head = head.into_bytes();
        if !id.is_empty() || has_empty {
            head.extend(b"Last-Event-ID: ");
            head.extend(id);
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        let Head::Complete(request, _) = Request::parse(&head) else { panic!("a head") };
        Request { body: body.as_bytes().to_vec(), ..*request }
    }

    async fn attempt(&mut self, url: &str) -> After {
        if self.is(DiesOnControls) && self.parser.last_id.chars().any(char::is_control) {
            return After::Die;
        }
        let mut url = url.to_owned();
        let mut header = match (self.case.needs.header, self.case.needs.userinfo) {
            (Some((name, value)), _) => format!("{name}: {value}"),
            (None, true) => "Authorization: Basic aG9zdGlsZTpzZWNyZXQ=".to_owned(),
            (None, false) => String::new(),
        };
        let most = match self.fault {
            RedirectsForEver => usize::MAX,
            FollowsFifty => 50,
            _ => 20,
        };
        for hop in 0.. {
            sleep(LATENCY).await;
            let mut request = self.request(&url, &header);
            if hop > 0 && self.is(RedirectsLoseId) {
                request.headers.retain(|(name, _)| name != "Last-Event-ID");
            }
            let addresses = self.stage.record.addresses();
            let is_other = url.contains(&format!(":{}/", addresses.other.port()));
            let is_secure = url.starts_with("https:");
            let origin = match (is_other, is_secure) {
                (true, _) => Origin::Other,
                (_, true) => Origin::Secure,
                _ => Origin::Main,
            };
            request.is_http2 = is_secure && !self.is(Http1);
            let (sender, receiver) = mpsc::channel(4096);
            let wire = Wire { signals: sender, is_http2: request.is_http2 };
            let stage = Arc::clone(self.stage);
            tokio::spawn(async move { stage.respond(request, origin, wire).await });
            let connection = Connection { signals: receiver, fault: self.fault, rest: Vec::new() };
            let Ok(answer) = Answer::read(connection).await else {
                return if self.is(StopsOnFailure) { After::Stop } else { After::Ended };
            };
            let is_redirect = answer.status / 100 == 3
                && !self.is(NoRedirects)
                && !(self.is(No308) && answer.status == 308);
            let location = answer.header("location").filter(|_| is_redirect);
            let Some(location) = location else { return self.answered(answer).await };
            if hop >= most || !location.starts_with("http") || location.contains("[::1") {
                return After::Stop;
            }
            let name = header.split(':').next().unwrap_or_default().to_owned();
            let is_away = location.contains(&format!(":{}/", addresses.other.port()));
            let is_kept = match name.as_str() {
                "Authorization" => self.is(LeaksAuthorization),
                "Cookie" => self.is(LeaksCookies),
                _ => self.is(LeaksHeaders) || self.is(Browser),
            };
            if is_away && !is_kept {
                header.clear();
            }
            url = location.to_owned();
        }
        unreachable!("it returns from the loop")
    }

    async fn answered(&mut self, answer: Answer) -> After {
        let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let is_stream = match self.fault {
            AnyType => true,
            NeedsType => essence == "text/event-stream" || kind.is_empty(),
            TypeByPrefix => kind.starts_with("text/event-stream"),
            TypeExactly => answer.header("content-type") == Some("text/event-stream"),
            _ => essence == "text/event-stream",
        };
        let is_right = match answer.status {
            200 => true,
            204 => false,
            201..300 => self.is(AnySuccess) || self.is(AnyStatus),
            _ => self.is(AnyStatus),
        };
        let again = match answer.status {
            _ if is_right && is_stream => return self.stream(answer, &kind).await,
            204 => self.is(Asks204Again),
            401 => self.is(Asks401Again),
            500..600 | 408 | 425 | 429 if !self.is(Browser) => {
                let after = answer.header("retry-after").filter(|_| !self.is(IgnoresRetryAfter));
                let time = after.map_or(Duration::from_secs(1), asked_for);
                return After::Wait(if self.is(LoopsOn5xx) { Duration::ZERO } else { time });
            }
            _ => false,
        };
        if again || self.is(NeverStops) { After::Wait(LEAST) } else { After::Stop }
    }

    async fn stream(&mut self, mut answer: Answer, kind: &str) -> After {
        let charset = kind.split("charset=").nth(1).unwrap_or_default().to_owned();
        self.parser.begin(&charset);
        let mut silence = tokio::time::Instant::now();
        loop {
            let patience = if self.is(CommentsAreSilence) {
                SILENCE.saturating_sub(silence.elapsed())
            } else {
                SILENCE
            };
            let body = answer.body();
            let bytes = match self.fault {
                Patient | Browser => Ok(body.await),
                _ => timeout(patience, body).await,
            };
            match bytes {
                Err(_) => return After::Ended,
                Ok(Err(_)) => return After::Failed,
                Ok(Ok(bytes)) if bytes.is_empty() => return After::Ended,
                Ok(Ok(bytes)) => {
                    let before = self.parser.printed.borrow().len();
                    let pieces = if self.is(ReadsBytes) { 1 } else { bytes.len() };
                    for piece in bytes.chunks(pieces) {
                        if self.parser.feed(piece) == Asked::Die {
                            return After::Die;
                        }
                    }
                    if self.parser.printed.borrow().len() > before {
                        silence = tokio::time::Instant::now();
                    }
                }
            }
        }
    }
}

/// How long a server wants to be left alone.
fn asked_for(after: &str) -> Duration {
    if let Ok(seconds) = after.parse::<u128>() {
        return Duration::from_secs(seconds.min(3600) as u64);
    }
    let date = httpdate::parse_http_date(after).expect("a number or a date");
    date.duration_since(std::time::SystemTime::now()).unwrap_or_default()
}

struct Connection {
    signals: mpsc::Receiver<Signal>,
    fault: Fault,
    rest: Vec<u8>,
}

impl Connection {
    /// What comes next; nothing at an end that is no error.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut signal = self.signals.recv().await;
        if self.fault == MergesReads {
            sleep(MERGED).await;
        }
        loop {
            match signal {
                Some(Signal::Bytes(more)) => bytes.extend(more),
                Some(Signal::GoAway) if self.fault == Hasty => return Ok(Vec::new()),
                Some(Signal::GoAway) => {}
                // What is not handed on yet is lost.
                Some(Signal::End(End::Reset | End::Abandoned)) => {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Some(Signal::End(_)) | None => break,
            }
            if self.fault != MergesReads && !bytes.is_empty() {
                break;
            }
            signal = match self.signals.try_recv() {
                Ok(signal) => Some(signal),
                Err(_) if bytes.is_empty() => self.signals.recv().await,
                Err(_) => break,
            };
        }
        Ok(bytes)
    }
}

struct Answer {
    connection: Connection,
    status: u16,
    head: String,
    left: Option<usize>,
}

impl Answer {
    async fn read(mut connection: Connection) -> io::Result<Self> {
        let patience = match connection.fault {
            Patient | Browser => Duration::from_hours(1),
            _ => SILENCE,
        };
        let end = loop {
            let rest = &connection.rest;
            if let Some(end) = rest.windows(4).rposition(|bytes| bytes == b"\r\n\r\n") {
                // The first one: what follows may have others.
                let first = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                break first.unwrap_or(end);
            }
            if rest.len() > 16 << 10 && connection.fault != Hoards {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let bytes = timeout(patience, connection.read()).await;
            let bytes = bytes.map_err(|_| io::ErrorKind::TimedOut)??;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            connection.rest.extend(bytes);
        };
        let head = String::from_utf8_lossy(&connection.rest[..end]).into_owned();
        connection.rest.drain(..end + 4);
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status =
            status.and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let mut answer = Self { connection, status, head, left: None };
        answer.left = answer.header("content-length").and_then(|length| length.parse().ok());
        Ok(answer)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The next bytes of the body; none at its end.
    async fn body(&mut self) -> io::Result<Vec<u8>> {
        if self.header("transfer-encoding").is_some() {
            return self.chunks().await;
        }
        if self.left == Some(0) {
            return Ok(Vec::new());
        }
        let bytes = match std::mem::take(&mut self.connection.rest) {
            rest if rest.is_empty() => self.connection.read().await?,
            rest => rest,
        };
        match &mut self.left {
            Some(_) if bytes.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(left) => *left -= bytes.len(),
            None => {}
        }
        Ok(bytes)
    }

    /// All chunks that are whole. What comes in one read with an error is lost.
    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let rest = &self.connection.rest;
            let end = rest.windows(2).position(|pair| pair == b"\r\n");
            if let Some(end) = end {
                let size = String::from_utf8_lossy(&rest[..end]).into_owned();
                let size = usize::from_str_radix(&size, 16);
                let size = size.map_err(|_| io::ErrorKind::InvalidData)?;
                if rest.len() >= end + size + 4 {
                    data.extend_from_slice(&rest[end + 2..end + 2 + size]);
                    self.connection.rest.drain(..end + size + 4);
                    if size == 0 {
                        self.left = Some(0);
                        return Ok(data);
                    }
                    continue;
                }
            }
            if !data.is_empty() || self.left == Some(0) {
                return Ok(data);
            }
            let bytes = self.connection.read().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.connection.rest.extend(bytes);
        }
    }
}
