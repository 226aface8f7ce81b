//! One event source: a session, and what its driver in JavaScript tells and asks it.

use core::time::Duration;

use sse_proto::{Backoff, Failure, Policy, RowClosed, RowConfig, RowSession, RowStep};

/// What [`Source::step`] returns: what to do next, in the lowest byte, and flags above it.
pub mod step {
    /// Drop any response and send a request.
    pub const CONNECT: u32 = 0;
    /// Go on reading, until [`until`](super::Source::until).
    pub const READ: u32 = 1;
    /// Drop any response, and ask again at [`until`](super::Source::until).
    pub const SLEEP: u32 = 2;
    /// It is over.
    pub const STOP: u32 = 3;
    /// With [`CONNECT`]: send the last event ID, which JavaScript has from the last row. If there is one
    /// and it is not to be sent, HTTP cannot carry it.
    pub const SEND_ID: u32 = 1 << 8;
    /// With [`CONNECT`]: send a `GET` without a body.
    pub const BY_GET: u32 = 1 << 9;
}

/// What [`Source::state`] returns: `readyState`.
pub mod state {
    /// A request is under way, or will be.
    pub const CONNECTING: u32 = 0;
    /// The stream is open.
    pub const OPEN: u32 = 1;
    /// It is over.
    pub const CLOSED: u32 = 2;
}

/// What [`Source::reason`] returns: why the last try, or the source, has ended; of a status with the
/// status above the lowest byte.
pub mod reason {
    /// Nothing has ended.
    pub const NONE: u32 = 0;
    /// The connection could not be made, or broke.
    pub const NETWORK: u32 = 1;
    /// The server ended the stream.
    pub const ENDED: u32 = 2;
    /// The server ended the stream before its last event.
    pub const INCOMPLETE: u32 = 3;
    /// The server answered with a status that is not 200.
    pub const STATUS: u32 = 4;
    /// The response is no event stream.
    pub const CONTENT_TYPE: u32 = 5;
    /// There was no response in time.
    pub const CONNECT_TIMEOUT: u32 = 6;
    /// The stream was silent for too long.
    pub const IDLE_TIMEOUT: u32 = 7;
    /// The caller could not provide the headers of the request.
    pub const HEADERS: u32 = 8;
    /// The caller asked for a new connection, or closed the source.
    pub const BY_CALLER: u32 = 9;
    /// The stream is complete.
    pub const COMPLETE: u32 = 10;
    /// The server said so in the stream (`stream-error`).
    pub const STREAM_ERROR: u32 = 11;
}

/// Bits of [`Settings::flags`].
pub mod flag {
    /// The policy: resilient, strict, once or resume, from 0 on.
    pub const POLICY: u32 = 3;
    /// Each request carries credentials that are made for it.
    pub const FRESH_CREDENTIALS: u32 = 1 << 2;
    /// `stream-open` and `keep-alive` are events like others.
    pub const CONTROL_EVENTS: u32 = 1 << 3;
    /// A stream that ends without its last event has failed.
    pub const MUST_COMPLETE: u32 = 1 << 4;
}

/// How a source behaves. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Any number, another one for each source.
    pub seed: f64,
    /// See [`flag`].
    pub flags: u32,
    /// What the random part of the delay between tries grows to.
    pub max_retry: f64,
    /// How long a stream may be silent; 0: for ever.
    pub idle_timeout: f64,
    /// How long a response may take.
    pub connect_timeout: f64,
    /// The greatest length of an event in bytes.
    pub max_event_len: usize,
    /// The greatest length of a line in bytes.
    pub max_line_len: usize,
}

/// One event source. Its driver in JavaScript owns the clock (in milliseconds) and the connection.
#[derive(Debug)]
pub struct Source {
    session: RowSession,
    until: f64,
}

impl Source {
    /// A source that has not connected yet, and continues from this last event ID, if it is not empty.
    /// An event with the data `terminator` completes the stream, unless that is empty.
    pub fn new(settings: &Settings, id: &[u8], terminator: &[u8]) -> Self {
        let flags = settings.flags;
        let longest = duration(settings.max_retry);
        let config = RowConfig {
            policy: match flags & flag::POLICY {
                0 => Policy::Resilient,
                1 => Policy::Strict,
                2 => Policy::Once,
                _ => Policy::Resume,
            },
            fresh_credentials: flags & flag::FRESH_CREDENTIALS != 0,
            backoff: Backoff::default().initial(Duration::from_secs(1).min(longest)).max(longest),
            connect_timeout: duration(settings.connect_timeout),
            idle_timeout: (settings.idle_timeout > 0.0).then(|| duration(settings.idle_timeout)),
            control_events: flags & flag::CONTROL_EVENTS != 0,
            terminator: terminator.into(),
            must_complete: flags & flag::MUST_COMPLETE != 0,
            max_event_len: settings.max_event_len,
            max_line_len: settings.max_line_len,
            last_event_id: id.into(),
        };
        Self { session: RowSession::new(config, settings.seed.to_bits()), until: f64::INFINITY }
    }

    /// What to do now; see [`step`].
    pub fn step(&mut self, now: f64) -> u32 {
        let (step, until) = match self.session.poll(duration(now)) {
            RowStep::Connect { sends_id, by_get } => {
                let send_id = if sends_id { step::SEND_ID } else { 0 };
                let by_get = if by_get { step::BY_GET } else { 0 };
                (step::CONNECT | send_id | by_get, None)
            }
            RowStep::Read { until } => (step::READ, until),
            RowStep::Sleep { until } => (step::SLEEP, Some(until)),
            RowStep::Stop => (step::STOP, None),
        };
        self.until = until.map_or(f64::INFINITY, milliseconds);
        step
    }

    /// When to ask for the next step, unless something happens before: of the last step.
    pub const fn until(&self) -> f64 {
        self.until
    }

    /// The head of a response: its status, how long it asks to wait (not a number: it does not), and
    /// its content type.
    pub fn response(&mut self, now: f64, status: u32, retry_after: f64, content_type: &[u8]) {
        let status = u16::try_from(status).unwrap_or_default();
        let retry_after = duration(retry_after);
        self.session.handle_response(duration(now), status, Some(content_type), retry_after);
    }

    /// Bytes of the body have arrived. Of what they complete there is a row each:
    /// [`RowSession::handle_bytes`] says what is in it.
    pub fn push(&mut self, now: f64, chunk: &[u8]) -> &[u8] {
        self.session.handle_bytes(duration(now), chunk)
    }

    /// The body has ended.
    pub fn end(&mut self, now: f64) {
        self.session.handle_end(duration(now));
    }

    /// The request has failed, or the body has broken off.
    pub fn error(&mut self, now: f64) {
        self.session.handle_error(duration(now));
    }

    /// The caller had no headers to send.
    pub fn unsent(&mut self, now: f64) {
        self.session.handle_unsent(duration(now), Failure::Headers);
    }

    /// The caller wants a new connection, now.
    pub fn reconnect(&mut self, now: f64) {
        self.session.reconnect(duration(now));
    }

    /// The caller wants no more.
    pub fn close(&mut self) {
        self.session.close();
    }

    /// See [`state`].
    pub fn state(&self) -> u32 {
        match self.session.closed() {
            Some(_) => state::CLOSED,
            None if self.session.is_open() => state::OPEN,
            None => state::CONNECTING,
        }
    }

    /// See [`reason`].
    pub fn reason(&self) -> u32 {
        let failure = match self.session.closed() {
            Some(RowClosed::ByCaller) => return reason::BY_CALLER,
            Some(RowClosed::Complete) => return reason::COMPLETE,
            Some(RowClosed::StreamError) => return reason::STREAM_ERROR,
            Some(RowClosed::Failed(failure)) => failure,
            Some(_) => return reason::NETWORK,
            None => match self.session.failure() {
                Some(failure) => failure,
                None => return reason::NONE,
            },
        };
        match failure {
            Failure::Ended => reason::ENDED,
            Failure::Incomplete => reason::INCOMPLETE,
            Failure::Status(status) => reason::STATUS | u32::from(status) << 8,
            Failure::ContentType => reason::CONTENT_TYPE,
            Failure::ConnectTimeout => reason::CONNECT_TIMEOUT,
            Failure::IdleTimeout => reason::IDLE_TIMEOUT,
            Failure::Headers => reason::HEADERS,
            Failure::ByCaller => reason::BY_CALLER,
            _ => reason::NETWORK,
        }
    }

    /// The reconnection time that the server has set; not a number: it has not.
    pub fn reconnection_time(&self) -> f64 {
        self.session.reconnection_time().map_or(f64::NAN, milliseconds)
    }
}

/// Of milliseconds; what is no time is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
#[inline(never)]
const fn duration(milliseconds: f64) -> Duration {
    Duration::from_micros((milliseconds * 1000.0) as u64)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        seed: 1.0,
        flags: flag::CONTROL_EVENTS,
        max_retry: 0.0,
        idle_timeout: 1000.0,
        connect_timeout: 500.0,
        max_event_len: 100,
        max_line_len: 100,
    };

    fn open(source: &mut Source) {
        assert_eq!(source.step(0.0) & 0xFF, step::CONNECT);
        source.response(1.0, 200, f64::NAN, b"text/event-stream");
        assert_eq!(source.state(), state::OPEN);
    }

    #[test]
    fn the_events_of_a_chunk_are_rows() {
        let mut source = Source::new(&SETTINGS, b"", b"");
        open(&mut source);
        let rows = source.push(2.0, b"id: 1\ndata: a\n\nevent: x\ndata: b\ndata\n\ndata: cu");
        assert_eq!(rows, b"a\r\r1\rb\n\rx\r1\r");
        assert_eq!(source.push(3.0, b"t\n\n"), b"cut\r\r1\r");
        let long = [b'a'; 101];
        assert_eq!(source.push(4.0, &long), b"!\r\n\r1\r", "too long, and told at once");
        assert_eq!(source.push(4.0, b"\n\nid\n\n"), b"\r\n\r\r", "only the id is another");
    }

    #[test]
    fn a_failure_is_told_with_the_time_of_the_next_try() {
        let mut source = Source::new(&SETTINGS, b"7", b"");
        assert_eq!(source.step(0.0), step::CONNECT | step::SEND_ID);
        assert_eq!((source.step(0.0), source.until()), (step::READ, 500.0));
        source.response(1.0, 503, 2000.0, b"");
        assert_eq!(source.step(1.0), step::SLEEP);
        assert!((source.until() - 2001.0).abs() < 0.01, "{}", source.until());
        assert_eq!(source.reason(), reason::STATUS | 503 << 8);
        source.reconnect(300.0);
        assert_eq!(source.step(300.0), step::CONNECT | step::SEND_ID);
        source.response(301.0, 204, f64::NAN, b"");
        assert_eq!((source.step(301.0), source.state()), (step::STOP, state::CLOSED));
        assert_eq!(source.reason(), reason::STATUS | 204 << 8);
    }

    #[test]
    fn control_events_are_rows_too() {
        let mut source = Source::new(&SETTINGS, b"", b"");
        open(&mut source);
        let rows = source.push(2.0, b"event: stream-reset\nid: a:3\ndata: {'channels': ['a']}\n\n");
        assert_eq!(rows, b"{'channels': ['a']}\rstream-reset\ra:3\r");
        let rows = source.push(3.0, b"event: stream-error\nid: error\ndata: no\n\ndata: late\n\n");
        assert_eq!(rows, b"no\rstream-error\ra:3\r");
        assert_eq!((source.step(4.0), source.reason()), (step::STOP, reason::STREAM_ERROR));
    }

    #[test]
    fn the_terminator_ends_a_stream_and_its_absence_is_a_failure() {
        let settings = Settings { flags: flag::POLICY & 2 | flag::MUST_COMPLETE, ..SETTINGS };
        for (chunk, reason) in [
            (&b"data: a\n\ndata: [DONE]\n\n"[..], reason::COMPLETE),
            (b"data: a\n\n", reason::INCOMPLETE),
        ] {
            let mut source = Source::new(&settings, b"", b"[DONE]");
            open(&mut source);
            assert!(source.push(2.0, chunk).starts_with(b"a\r\r\r"));
            source.end(3.0);
            assert_eq!((source.step(3.0), source.reason()), (step::STOP, reason));
        }
    }
}
