//! A client of NATS for one request at a time, and what a storage over JetStream would have to ask
//! at least. This server has no such storage: `docs/scaling.md` says why.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The stream, and what its subjects begin with.
const STREAM: &str = "events";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bytes of an event, about.
const EVENT: [u8; 240] = [b'x'; 240];

/// A connection.
#[derive(Debug)]
pub struct Nats {
    socket: BufReader<TcpStream>,
    /// Where answers to this connection go.
    inbox: String,
    /// Tells the batches of all connections apart.
    number: u32,
    batches: u32,
}

/// What the server says of a message: its number in the stream, or that another one is the last of
/// its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    At(u64),
    /// With its number, unless that one is still under way.
    After(Option<u64>),
}

impl Nats {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If nobody answers.
    pub fn connect(port: u16) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let inbox = format!("inbox.{number}");
        let mut this = Self { socket: BufReader::new(socket), inbox, number, batches: 0 };
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\nSUB {} 1\r\n",
            this.inbox
        );
        this.write(hello.as_bytes())?;
        Ok(this)
    }

    /// Makes a stream with so many replicas. A cluster needs a moment before it can, in which it
    /// refuses, or does not answer.
    ///
    /// # Errors
    ///
    /// If it cannot for a minute.
    pub fn create_stream(port: u16, replicas: usize) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        let config = format!(
            "{{\"name\":\"{STREAM}\",\"subjects\":[\"{STREAM}.>\"],\"retention\":\"limits\",\
             \"storage\":\"file\",\"num_replicas\":{replicas},\"allow_atomic\":true,\"allow_direct\":true}}"
        );
        let subject = format!("$JS.API.STREAM.CREATE.{STREAM}");
        loop {
            // Each time over a new one, to which no late answer comes.
            let mut nats = Self::connect(port)?;
            nats.socket.get_ref().set_read_timeout(Some(Duration::from_secs(3)))?;
            let made = nats.request(&subject, "", config.as_bytes());
            // A stream that was there before may have nobody yet who decides.
            let why = match made.and_then(|made| Ok((made.1, nats.beginning_at(1)?))) {
                Ok((answer, _)) if !answer.contains("\"error\"") => return Ok(()),
                Ok((answer, _)) => io::Error::other(answer),
                Err(error) => error,
            };
            if Instant::now() > deadline {
                return Err(why);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Appends an event to a channel, if this message is the last of the channel's.
    ///
    /// # Errors
    ///
    /// If the server refuses it for another reason.
    pub fn append(&mut self, channel: &str, after: u64) -> io::Result<Stored> {
        let headers = format!("Nats-Expected-Last-Subject-Sequence: {after}\r\n");
        let (_, answer) = self.request(&format!("{STREAM}.{channel}"), &headers, &EVENT)?;
        stored(&answer)
    }

    /// The same with the key of a request: both are stored, or neither is.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn append_once(&mut self, channel: &str, after: u64) -> io::Result<Stored> {
        let batch = self.next_batch();
        let expected = |after: u64| format!("Nats-Expected-Last-Subject-Sequence: {after}\r\n");
        let key = (format!("key.{batch}"), expected(0), &b"[1]"[..]);
        self.commit(&batch, &[key, (channel.to_owned(), expected(after), &EVENT)])
    }

    /// Appends an event to each of so many new channels: all or none. Returns what their names
    /// begin with.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn append_to_each(&mut self, channels: usize) -> io::Result<String> {
        let batch = self.next_batch();
        let event = |channel| (format!("{batch}.{channel}"), String::new(), &EVENT[..]);
        let events: Vec<_> = (0..channels).map(event).collect();
        self.commit(&batch, &events)?;
        Ok(batch)
    }

    fn next_batch(&mut self) -> String {
        self.batches += 1;
        format!("{}-{}", self.number, self.batches)
    }

    /// Sends the messages of a batch, each with its channel and its headers.
    fn commit(&mut self, batch: &str, messages: &[(String, String, &[u8])]) -> io::Result<Stored> {
        for (index, (channel, headers, payload)) in messages.iter().enumerate() {
            let number = index + 1;
            let subject = format!("{STREAM}.{channel}");
            let headers =
                format!("Nats-Batch-Id: {batch}\r\nNats-Batch-Sequence: {number}\r\n{headers}");
            if number == messages.len() {
                let last = headers + "Nats-Batch-Commit: 1\r\n";
                let (_, answer) = self.request(&subject, &last, payload)?;
                return stored(&answer);
            }
            self.write(&message(&subject, "", &headers, payload))?;
        }
        Err(io::Error::other("a batch has messages"))
    }

    /// What the channel's name begins with of the message of this number, if it is there. The
    /// replica that decides is asked, which has all that was answered.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub fn beginning_at(&mut self, number: u64) -> io::Result<Option<String>> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{STREAM}");
        let (_, answer) = self.request(&subject, "", format!("{{\"seq\":{number}}}").as_bytes())?;
        let name = answer.split_once(&format!("\"subject\":\"{STREAM}.")).map(|(_, name)| name);
        if name.is_none() && !answer.contains("10037") {
            return Err(io::Error::other(answer));
        }
        Ok(name.and_then(|name| name.split_once('.')).map(|(batch, _)| batch.to_owned()))
    }

    /// The headers and the payload of the answer.
    fn request(
        &mut self,
        subject: &str,
        headers: &str,
        payload: &[u8],
    ) -> io::Result<(String, String)> {
        let message = message(subject, &self.inbox, headers, payload);
        self.write(&message)?;
        loop {
            let mut line = String::new();
            if self.socket.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.starts_with("PING") {
                self.write(b"PONG\r\n")?;
            }
            if line.starts_with("-ERR") {
                return Err(io::Error::other(line));
            }
            let mut sizes = line.split_ascii_whitespace().rev().map(str::parse::<usize>);
            let (whole, head) = match line.split_ascii_whitespace().next() {
                Some("MSG") => (sizes.next(), Some(Ok(0))),
                Some("HMSG") => (sizes.next(), sizes.next()),
                _ => continue,
            };
            let (Some(Ok(whole)), Some(Ok(head))) = (whole, head) else {
                return Err(io::Error::other(line));
            };
            let mut bytes = vec![0; whole + 2];
            self.socket.read_exact(&mut bytes)?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            return Ok((text(&bytes[..head]), text(&bytes[head..whole])));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }
}

fn message(subject: &str, reply: &str, headers: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    let head =
        if headers.is_empty() { String::new() } else { format!("NATS/1.0\r\n{headers}\r\n") };
    let command = if head.is_empty() { "PUB" } else { "HPUB" };
    let _ = write!(text, "{command} {subject} {reply} ");
    if !head.is_empty() {
        let _ = write!(text, "{} ", head.len());
    }
    let _ = write!(text, "{}\r\n{head}", head.len() + payload.len());
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn stored(answer: &str) -> io::Result<Stored> {
    if !answer.contains("\"error\"") {
        let malformed = || io::Error::other(answer.to_owned());
        return number_after(answer, "\"seq\":").map(Stored::At).ok_or_else(malformed);
    }
    // "wrong last sequence", with that, and the same while another message is under way.
    if answer.contains("10071") || answer.contains("10164") {
        return Ok(Stored::After(number_after(answer, "sequence: ")));
    }
    Err(io::Error::other(answer.to_owned()))
}

fn number_after(text: &str, what: &str) -> Option<u64> {
    let rest = text.split_once(what)?.1.trim_start();
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}
