//! One event source: a session and the rows of its stream, as numbers for its driver in JavaScript.

use alloc::vec::Vec;
use core::time::Duration;

use sse_proto::{
    Backoff, Closed, Failure, Nanos, Policy, ResponseHead, Session, SessionConfig, Step,
};

use crate::rows::Rows;

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
    /// With [`CONNECT`]: send the last event ID, which JavaScript has from the last row. Without
    /// this flag HTTP cannot carry it, if there is one.
    pub const SEND_ID: u32 = 1 << 8;
    /// With [`CONNECT`]: send a `GET` without a body.
    pub const BY_GET: u32 = 1 << 9;
}

/// What [`Source::tell`] is told.
pub mod happening {
    /// The body has ended.
    pub const END: u32 = 0;
    /// The request has failed, or the body has broken off.
    pub const ERROR: u32 = 1;
    /// The caller had no headers to send.
    pub const UNSENT: u32 = 2;
    /// The caller wants a new connection, now.
    pub const RECONNECT: u32 = 3;
    /// The caller wants no more.
    pub const CLOSE: u32 = 4;
    /// The last row that was taken completes the stream.
    pub const COMPLETE: u32 = 5;
}

/// What [`Source::state`] returns in its lowest two bits: `readyState`.
pub mod state {
    /// A request is under way, or will be.
    pub const CONNECTING: u32 = 0;
    /// The stream is open.
    pub const OPEN: u32 = 1;
    /// It is over.
    pub const CLOSED: u32 = 2;
}

/// What [`Source::state`] returns above the [`state`]: why the last try, or the source, has ended.
/// Six bits above a [`STATUS`](reason::STATUS) is the status itself.
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
    /// How long a stream may be silent; infinity means for ever, not a number what the session
    /// takes for right.
    pub idle_timeout: f64,
    /// How long a stream may be silent before its first event; not a number means as later.
    pub first_event_timeout: f64,
    /// How long a response may take; the same as of silence.
    pub connect_timeout: f64,
    /// The greatest length of an event in bytes.
    pub max_event_len: usize,
    /// The greatest length of a line in bytes.
    pub max_line_len: usize,
}

/// One event source. Its driver in JavaScript owns the clock (in milliseconds) and the connection.
#[derive(Debug)]
pub struct Source {
    session: Session,
    rows: Rows,
}

impl Source {
    /// A source that has not connected yet, and continues from this last event ID, if it is not
    /// empty.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pub fn new(settings: &Settings, id: &[u8]) -> Self {
        let flags = settings.flags;
        let is = |flag| flags & flag != 0;
        let mut config = SessionConfig::default()
            .policy(match flags & flag::POLICY {
                0 => Policy::Resilient,
                1 => Policy::Strict,
                2 => Policy::Once,
                _ => Policy::Resume,
            })
            .fresh_credentials(is(flag::FRESH_CREDENTIALS))
            .backoff(Backoff::up_to(time(settings.max_retry)))
            .control_events(is(flag::CONTROL_EVENTS))
            .must_complete(is(flag::MUST_COMPLETE));
        if !settings.connect_timeout.is_nan() {
            config = config.response_timeout(time(settings.connect_timeout));
        }
        if !settings.idle_timeout.is_nan() {
            config = config.idle_timeout(Some(time(settings.idle_timeout)));
        }
        if !settings.first_event_timeout.is_nan() {
            config = config.first_event_timeout(Some(time(settings.first_event_timeout)));
        }
        let mut session = Session::new(config, settings.seed.to_bits());
        if flags & flag::POLICY == 1 {
            // "Probably in the region of a few seconds" (section 9.2.2). So long it is in browsers,
            // and a redirect without end, which they follow 20 times for each try, costs less.
            session.set_reconnection_time(3000.min(settings.max_retry as u64));
        }
        session.set_last_event_id(id);
        let limits = [settings.max_event_len, settings.max_line_len];
        Self { session, rows: Rows::new(limits, owned(id)) }
    }

    /// What to do now; see [`step`].
    pub fn step(&mut self, now: f64) -> u32 {
        match self.session.poll(nanos(now)) {
            Step::Connect(request) => {
                self.rows.end_of_stream();
                step::CONNECT | u32::from(request.sends_id) << 8 | u32::from(request.by_get) << 9
            }
            Step::Read => step::READ,
            Step::Sleep => step::SLEEP,
            Step::Stop(_) => step::STOP,
        }
    }

    /// When to ask for the next step, unless something happens before. Without a time limit it is
    /// centuries away.
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds are more than JavaScript knows")]
    pub const fn until(&self) -> f64 {
        self.session.until() as f64 / 1e6
    }

    /// The head of a response: its status, how long it asks to wait (not a number: it does not),
    /// and its content type.
    pub fn response(&mut self, now: f64, status: u32, retry_after: f64, content_type: &[u8]) {
        let status = u16::try_from(status).unwrap_or_default();
        let retry_after = Some(nanos(retry_after));
        let head = ResponseHead { status, content_type: Some(content_type), retry_after };
        self.session.handle_response(nanos(now), &head);
    }

    /// Bytes of the body have arrived. Of what they complete there is a row each: the data, the
    /// type (empty: `message`) and the last event ID, with a CR after each of the three, which
    /// none of them can have.
    ///
    /// A row whose type is an LF is no event. Without data, it tells that the last event ID is
    /// another one; with data, that an event was dropped because it was longer than the limits.
    pub fn push(&mut self, now: f64, chunk: &[u8]) -> &[u8] {
        if !chunk.is_empty() {
            self.session.handle_arrival(nanos(now));
        }
        self.rows.read(&mut self.session, chunk);
        self.session.set_last_event_id(self.rows.last_event_id());
        self.rows.complete()
    }

    /// Something has happened; see [`happening`].
    pub fn tell(&mut self, now: f64, happening: u32) {
        let now = nanos(now);
        match happening {
            happening::END => self.session.handle_end(now),
            happening::ERROR => self.session.handle_error(now),
            happening::UNSENT => self.session.handle_unsent(now, Failure::Headers),
            happening::RECONNECT => self.session.reconnect(now),
            happening::COMPLETE => {
                self.session.handle_event(None, true);
            }
            _ => self.session.close(),
        }
    }

    /// See [`state`]; in the bits above it is the [`reason`].
    pub fn state(&self) -> u32 {
        let (state, reason) = match self.session.closed() {
            Some(Closed::Failed(failure) | Closed::GaveUp(failure)) => {
                (state::CLOSED, of_failure(failure))
            }
            Some(Closed::Complete) => (state::CLOSED, reason::COMPLETE),
            Some(Closed::StreamError) => (state::CLOSED, reason::STREAM_ERROR),
            Some(_) => (state::CLOSED, reason::BY_CALLER),
            None => {
                let reason = self.session.failure().map_or(reason::NONE, of_failure);
                (u32::from(self.session.is_open()), reason)
            }
        };
        state | reason << 2
    }

    /// The reconnection time that the server has set; not a number: it has not.
    #[expect(clippy::cast_precision_loss, reason = "nobody waits that long")]
    pub fn reconnection_time(&self) -> f64 {
        self.session.reconnection_time().map_or(f64::NAN, |time| time as f64)
    }
}

fn of_failure(failure: Failure) -> u32 {
    let status = match failure {
        Failure::Status(status) => u32::from(status),
        _ => 0,
    };
    // In this order the compiler makes one addition of it.
    let reason = match failure {
        Failure::Ended => reason::ENDED,
        Failure::Incomplete => reason::INCOMPLETE,
        Failure::Status(_) => reason::STATUS,
        Failure::ContentType => reason::CONTENT_TYPE,
        Failure::ConnectTimeout => reason::CONNECT_TIMEOUT,
        Failure::IdleTimeout => reason::IDLE_TIMEOUT,
        Failure::Headers => reason::HEADERS,
        Failure::ByCaller => reason::BY_CALLER,
        _ => reason::NETWORK,
    };
    reason | status << 6
}

/// The rows take these for their own. Not `into`, which would be code for this alone.
fn owned(bytes: &[u8]) -> Vec<u8> {
    let mut owned = Vec::new();
    owned.extend_from_slice(bytes);
    owned
}

/// Milliseconds as nanoseconds. Not a number is 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
const fn nanos(milliseconds: f64) -> Nanos {
    (milliseconds * 1e6) as Nanos
}

const fn time(milliseconds: f64) -> Duration {
    Duration::from_nanos(nanos(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        seed: 1.0,
        flags: flag::CONTROL_EVENTS,
        max_retry: 0.0,
        idle_timeout: 1000.0,
        first_event_timeout: f64::NAN,
        connect_timeout: 500.0,
        max_event_len: 100,
        max_line_len: 100,
    };

    fn open(source: &mut Source) {
        assert_eq!(source.step(0.0) & 0xFF, step::CONNECT);
        source.response(1.0, 200, f64::NAN, b"text/event-stream");
        assert_eq!(source.state() & 3, state::OPEN);
    }

    #[test]
    fn the_events_of_a_chunk_are_rows() {
        let mut source = Source::new(&SETTINGS, b"");
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
        let mut source = Source::new(&SETTINGS, b"7");
        assert_eq!(source.step(0.0), step::CONNECT | step::SEND_ID);
        assert_eq!((source.step(0.0), source.until()), (step::READ, 500.0));
        source.response(1.0, 503, 2000.0, b"");
        assert_eq!(source.step(1.0), step::SLEEP);
        assert!((source.until() - 2001.0).abs() < 0.01, "{}", source.until());
        assert_eq!(source.state() >> 2, reason::STATUS | 503 << 6);
        source.tell(300.0, happening::RECONNECT);
        assert_eq!(source.step(300.0), step::CONNECT | step::SEND_ID);
        source.response(301.0, 204, f64::NAN, b"");
        assert_eq!(
            (source.step(301.0), source.state()),
            (step::STOP, state::CLOSED | (reason::STATUS | 204 << 6) << 2)
        );
    }

    #[test]
    fn control_events_are_rows_too() {
        let mut source = Source::new(&SETTINGS, b"");
        open(&mut source);
        let rows = source.push(2.0, b"event: stream-reset\nid: a:3\ndata: {'channels': ['a']}\n\n");
        assert_eq!(rows, b"{'channels': ['a']}\rstream-reset\ra:3\r");
        let rows = source.push(3.0, b"event: stream-error\nid: error\ndata: no\n\ndata: late\n\n");
        assert_eq!(rows, b"no\rstream-error\ra:3\r");
        assert_eq!((source.step(4.0), source.state() >> 2), (step::STOP, reason::STREAM_ERROR));
    }

    #[test]
    fn what_completes_a_stream_ends_it_and_its_absence_is_a_failure() {
        let settings = Settings { flags: flag::POLICY & 2 | flag::MUST_COMPLETE, ..SETTINGS };
        for (is_last, reason) in [(true, reason::COMPLETE), (false, reason::INCOMPLETE)] {
            let mut source = Source::new(&settings, b"");
            open(&mut source);
            assert_eq!(source.push(2.0, b"data: a\n\ndata: b\n\n"), b"a\r\r\rb\r\r\r");
            if is_last {
                source.tell(2.0, happening::COMPLETE);
            }
            source.tell(3.0, happening::END);
            assert_eq!((source.step(3.0), source.state() >> 2), (step::STOP, reason));
        }
    }

    #[test]
    fn the_first_event_has_a_limit_of_its_own() {
        for (first, until) in [(5000.0, 5001.0), (f64::NAN, 1001.0)] {
            let mut source = Source::new(&Settings { first_event_timeout: first, ..SETTINGS }, b"");
            open(&mut source);
            assert_eq!((source.step(1.0), source.until()), (step::READ, until));
            source.push(2.0, b"data: a\n\n");
            source.push(3.0, b":\n");
            assert_eq!((source.step(3.0), source.until()), (step::READ, 1003.0));
        }
    }

    #[test]
    fn a_time_limit_of_infinity_is_none() {
        let never = f64::INFINITY;
        let settings = Settings { idle_timeout: never, connect_timeout: never, ..SETTINGS };
        let mut source = Source::new(&settings, b"");
        assert_eq!(source.step(0.0) & 0xFF, step::CONNECT);
        assert_eq!(source.step(1e12), step::READ, "thirty years are not too long for a head");
        source.response(1e12, 200, f64::NAN, b"text/event-stream");
        assert_eq!(source.step(2e12), step::READ);
    }
}
