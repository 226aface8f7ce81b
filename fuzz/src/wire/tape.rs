//! What has been read off one connection, and when: the head, the body's bytes, the events in them.
//!
//! A tape knows no socket. It is what all judgements rest on, and what the evidence shows.

use std::io::{self, Write as _};
use std::time::Duration;

use sse_proto::{Decoder, DecoderConfig, Frame};

/// How much of a body is kept, in bytes. What comes after is decoded, counted, and forgotten.
pub(crate) const MAX_BODY: usize = 4 << 20;

/// How many events of a connection are kept.
const MAX_EVENTS: usize = 50_000;

/// The longest head that is read, in bytes.
const MAX_HEAD: usize = 256 << 10;

/// An answer's status line and headers.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Head {
    /// The value of a header, those of several joined by commas.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values = self.all(name);
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a header's list has this word.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        let value = self.header(name).unwrap_or_default();
        value.split(',').any(|item| {
            let item = item.split(['=', ';']).next().unwrap_or_default();
            item.trim().eq_ignore_ascii_case(word)
        })
    }

    /// The media type without its parameters, in lower case.
    pub(crate) fn essence(&self) -> String {
        let value = self.all("content-type").first().copied().unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(crate) fn is_event_stream(&self) -> bool {
        self.status == 200 && self.essence() == "text/event-stream"
    }
}

/// How a body's end is told (RFC 9112, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length(u64),
    Close,
    None,
}

/// How a connection, or the message on it, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The message was complete.
    Complete,
    /// The connection was closed, and that is the end of a body without length.
    Closed,
    /// It was closed in the middle of a message.
    Cut,
    /// It was reset.
    Reset,
    /// The message is not HTTP.
    Malformed(String),
}

/// An event, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) event: String,
    pub(crate) data: String,
    /// Its own id, not one that is still in force.
    pub(crate) id: Option<String>,
    /// The last event ID when it had been dispatched.
    pub(crate) last_id: String,
}

/// Bytes that were read at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) at: Duration,
    /// Where in the body they end.
    pub(crate) end: usize,
}

#[derive(Debug)]
pub(crate) struct Tape {
    pub(crate) request: Vec<u8>,
    /// Since the connection was begun.
    pub(crate) headed: Option<Duration>,
    pub(crate) head: Option<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) total: u64,
    /// Sizes of HTTP chunks.
    pub(crate) chunks: Vec<usize>,
    pub(crate) events: Vec<Seen>,
    pub(crate) comments: Vec<(Duration, String)>,
    pub(crate) end: Option<(Duration, End)>,
    /// From when to when its reader was held up, so that it would not have seen what came.
    pub(crate) held_up: Vec<(Duration, Duration)>,
    framing: Framing,
    raw: Vec<u8>,
    /// What is left of the HTTP chunk that is being read, its line end included.
    chunk: usize,
    received: u64,
    decoder: Decoder,
    is_encoded: bool,
}

impl Tape {
    pub(crate) fn new(request: Vec<u8>) -> Self {
        Self {
            request,
            headed: None,
            head: None,
            body: Vec::new(),
            marks: Vec::new(),
            total: 0,
            chunks: Vec::new(),
            events: Vec::new(),
            comments: Vec::new(),
            end: None,
            held_up: Vec::new(),
            framing: Framing::None,
            raw: Vec::new(),
            chunk: 0,
            received: 0,
            decoder: Decoder::with_config(DecoderConfig::default().comments(true)),
            is_encoded: false,
        }
    }

    /// For an answer whose head has been read by other means. What is put in is its body.
    pub(crate) fn of_head(request: Vec<u8>, head: Head, at: Duration) -> Self {
        let is_encoded = head.header("content-encoding").is_some_and(|value| value != "identity");
        Self {
            headed: Some(at),
            head: Some(head),
            framing: Framing::Close,
            is_encoded,
            ..Self::new(request)
        }
    }

    /// The last event ID that a client has, which has read so far.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.decoder.last_event_id().filter(|id| !id.is_empty())
    }

    pub(crate) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.head.as_ref().is_some_and(Head::is_event_stream)
    }

    /// Whether the answer is still waited for: it may come, and nothing forbids it but the clock.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.head.is_none() && self.end.is_none()
    }

    /// How much of a time its reader was there to see what came.
    pub(crate) fn awake(&self, from: Duration, to: Duration) -> Duration {
        let overlap =
            |(begin, end): &(Duration, Duration)| (*end).min(to).saturating_sub((*begin).max(from));
        to.saturating_sub(from).saturating_sub(self.held_up.iter().map(overlap).sum())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Bytes that came after the end of the message.
    pub(crate) fn surplus(&self) -> &[u8] {
        &self.raw
    }

    /// The events of a body in gzip, each with the time at which the bytes came that complete it.
    pub(crate) fn unzipped(&self) -> io::Result<Self> {
        let mut decoder = flate2::write::GzDecoder::new(Vec::new());
        let mut seen = Self::new(self.request.clone());
        let mut begin = 0;
        for mark in &self.marks {
            decoder.write_all(&self.body[begin..mark.end])?;
            decoder.flush()?;
            begin = mark.end;
            let bytes = std::mem::take(decoder.get_mut());
            seen.decode(&bytes, mark.at);
        }
        Ok(seen)
    }

    /// Takes in what was read.
    pub(crate) fn put(&mut self, bytes: &[u8], at: Duration) {
        self.raw.extend_from_slice(bytes);
        while self.end.is_none() && self.step(at) {}
        if self.head.is_none() && self.raw.len() > MAX_HEAD {
            self.finish(at, End::Malformed("a head of more than 256 KiB".to_owned()));
        }
    }

    /// The connection has ended.
    pub(crate) fn close(&mut self, at: Duration, is_reset: bool) {
        if self.end.is_some() {
            return;
        }
        let end = match (is_reset, self.head.is_some(), self.framing) {
            (true, ..) => End::Reset,
            (false, true, Framing::Close) => End::Closed,
            _ => End::Cut,
        };
        self.finish(at, end);
    }

    fn finish(&mut self, at: Duration, end: End) {
        self.end = Some((at, end));
    }

    /// Does one thing with what there is; whether there was something to do.
    fn step(&mut self, at: Duration) -> bool {
        if self.head.is_none() {
            return self.take_head(at);
        }
        match self.framing {
            Framing::None => {
                self.finish(at, End::Complete);
                false
            }
            Framing::Close => {
                let bytes = std::mem::take(&mut self.raw);
                self.take_body(&bytes, at);
                false
            }
            Framing::Length(length) => {
                let left = length - self.received;
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.raw.len());
                let bytes: Vec<u8> = self.raw.drain(..len).collect();
                self.take_body(&bytes, at);
                if self.received == length {
                    self.finish(at, End::Complete);
                }
                false
            }
            Framing::Chunked => self.take_chunk(at),
        }
    }

    fn take_head(&mut self, at: Duration) -> bool {
        let mut headers = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut headers);
        // Browsers read folded lines; that nobody may send them is a check's business.
        let mut config = httparse::ParserConfig::default();
        config.allow_obsolete_multiline_headers_in_responses(true);
        let len = match config.parse_response(&mut response, &self.raw) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => return false,
            Err(error) => {
                self.finish(at, End::Malformed(format!("the head: {error}")));
                return false;
            }
        };
        let headers = response.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value);
            let lines: Vec<&str> = value.split(['\r', '\n']).map(str::trim).collect();
            (header.name.to_owned(), lines.join(" ").trim().to_owned())
        });
        let head = Head {
            status: response.code.unwrap_or_default(),
            headers: headers.collect(),
            text: String::from_utf8_lossy(&self.raw[..len]).into_owned(),
        };
        self.raw.drain(..len);
        if (100..200).contains(&head.status) && head.status != 101 {
            // The answer proper is still to come.
            return true;
        }
        self.framing =
            if self.request.starts_with(b"HEAD ") || matches!(head.status, 101 | 204 | 304) {
                Framing::None
            } else if head.lists("transfer-encoding", "chunked") {
                Framing::Chunked
            } else if let Some(length) =
                head.header("content-length").and_then(|text| text.parse().ok())
            {
                Framing::Length(length)
            } else {
                Framing::Close
            };
        self.is_encoded = head.header("content-encoding").is_some_and(|value| value != "identity");
        self.headed = Some(at);
        self.head = Some(head);
        true
    }

    /// `chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF` (RFC 9112, section 7.1).
    fn take_chunk(&mut self, at: Duration) -> bool {
        if self.chunk > 0 {
            let data = self.chunk.saturating_sub(2).min(self.raw.len());
            if data > 0 {
                let bytes: Vec<u8> = self.raw.drain(..data).collect();
                self.chunk -= data;
                self.take_body(&bytes, at);
                return true;
            }
            if self.chunk <= 2 && self.raw.len() >= self.chunk {
                if !self.raw.starts_with(b"\r\n") {
                    self.finish(at, End::Malformed("no line end after a chunk".to_owned()));
                    return false;
                }
                self.raw.drain(..2);
                self.chunk = 0;
                return true;
            }
            return false;
        }
        match httparse::parse_chunk_size(&self.raw) {
            Ok(httparse::Status::Partial) => false,
            Ok(httparse::Status::Complete((len, 0))) => {
                // Trailers are not used by streams; the empty line that ends them is waited for.
                let rest = &self.raw[len..];
                if rest.starts_with(b"\r\n") || rest.windows(4).any(|end| end == b"\r\n\r\n") {
                    let is_bare = rest.starts_with(b"\r\n");
                    let trailers = rest.windows(4).position(|end| end == b"\r\n\r\n");
                    let end = if is_bare { 2 } else { trailers.map_or(0, |at| at + 4) };
                    self.raw.drain(..len + end);
                    self.finish(at, End::Complete);
                }
                false
            }
            Ok(httparse::Status::Complete((len, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX - 2);
                self.raw.drain(..len);
                self.chunks.push(size);
                self.chunk = size.saturating_add(2);
                true
            }
            Err(_) => {
                self.finish(at, End::Malformed("the size of a chunk".to_owned()));
                false
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8], at: Duration) {
        if bytes.is_empty() {
            return;
        }
        self.received += bytes.len() as u64;
        self.total += bytes.len() as u64;
        let room = MAX_BODY.saturating_sub(self.body.len()).min(bytes.len());
        self.body.extend_from_slice(&bytes[..room]);
        let end = self.body.len();
        match self.marks.last_mut() {
            Some(mark) if mark.at == at || room == 0 => mark.end = end,
            _ => self.marks.push(Mark { at, end }),
        }
        if !self.is_encoded {
            self.decode(bytes, at);
        }
    }

    /// Reads events out of bytes that are not compressed, or are so no longer.
    pub(crate) fn decode(&mut self, bytes: &[u8], at: Duration) {
        let mut frames = self.decoder.decode(bytes);
        while let Some(frame) = frames.next_frame() {
            match frame {
                Ok(Frame::Event(event)) if self.events.len() < MAX_EVENTS => {
                    self.events.push(Seen {
                        at,
                        event: event.event_type().to_owned(),
                        data: event.data().to_owned(),
                        id: event.id().map(str::to_owned),
                        last_id: event.last_event_id().to_owned(),
                    });
                }
                Ok(Frame::Comment(text)) if self.comments.len() < MAX_EVENTS => {
                    self.comments.push((at, text.to_owned()));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{End, Tape};

    fn tape(bytes: &str, cut: usize) -> Tape {
        let mut tape = Tape::new(b"GET / HTTP/1.1\r\n\r\n".to_vec());
        for (index, part) in bytes.as_bytes().chunks(cut).enumerate() {
            tape.put(part, Duration::from_millis(index as u64));
        }
        tape
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let bytes = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
                     Transfer-Encoding: chunked\r\n\r\n6\r\nid: 1\n\r\na;x=y\r\ndata: a\r\n\n\r\n0\r\n\r\nrest";
        for cut in [1, 2, 3, 7, 1000] {
            let tape = tape(bytes, cut);
            assert!(tape.is_stream());
            assert_eq!(tape.text(), "id: 1\ndata: a\r\n\n");
            assert_eq!(tape.last_id(), Some("1"));
            assert_eq!(tape.chunks, [6, 10]);
            assert_eq!(tape.end.as_ref().expect("it ends").1, End::Complete);
            if cut == 1000 {
                assert_eq!(tape.surplus(), b"rest");
            }
        }
    }

    #[test]
    fn a_folded_header_has_one_line() {
        let tape = tape("HTTP/1.1 200 OK\r\nCache-Control: a,\r\n\t b\r\n\r\n", 1000);
        let head = tape.head.expect("it is there");
        assert!(head.lists("cache-control", "a") && head.lists("cache-control", "b"));
    }

    #[test]
    fn an_end_within_a_message_is_a_cut() {
        let head = "HTTP/1.1 200 OK\r\n";
        for (rest, end) in [
            ("\r\nabc", End::Closed),
            ("Content-Length: 3\r\n\r\nab", End::Cut),
            ("Content-Length: 3\r\n\r\nabc", End::Complete),
            ("Transfer-Encoding: chunked\r\n\r\n5\r\nab", End::Cut),
            ("X", End::Cut),
        ] {
            let mut tape = tape(&format!("{head}{rest}"), 4);
            tape.close(Duration::ZERO, false);
            assert_eq!(tape.end.expect("it ends").1, end, "{rest:?}");
        }
    }
}
