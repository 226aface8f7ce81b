//! One event source: a session, and what its driver in JavaScript tells and asks it.

use alloc::string::String;
use core::time::Duration;

use sse_proto::{
    Backoff, Closed, Failure, Policy, RawItem, ResponseHead, Session, SessionConfig, Step,
    Terminator,
};

use crate::text::Text;

/// What [`Source::step`] returns: what to do next, in the lowest byte, and flags above it.
pub mod step {
    /// Drop any response and send a request. The text is the last event ID, if there is one to send.
    pub const CONNECT: u32 = 0;
    /// Go on reading, until [`until`](super::Source::until).
    pub const READ: u32 = 1;
    /// Drop any response, and ask again at [`until`](super::Source::until).
    pub const SLEEP: u32 = 2;
    /// It is over.
    pub const STOP: u32 = 3;
    /// With [`CONNECT`]: there is a last event ID that HTTP cannot carry.
    pub const ID_WITHHELD: u32 = 1 << 8;
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

/// What kind of row [`Source::push`] has written.
pub mod kind {
    /// An event.
    pub const EVENT: u32 = 0;
    /// A `stream-reset`: an event, and events before it are missing.
    pub const RESET: u32 = 3;
    /// A `stream-error`: an event, and the last one.
    pub const STREAM_ERROR: u32 = 4;
    /// A comment, in the place of the data.
    pub const COMMENT: u32 = 1;
    /// An event that was longer than the limit, and was dropped.
    pub const TOO_LONG: u32 = 2;
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
    /// Comments are delivered.
    pub const COMMENTS: u32 = 1 << 5;
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
}

/// One event source. Its driver in JavaScript owns the clock (in milliseconds) and the connection.
#[derive(Debug)]
pub struct Source {
    session: Session,
    output: Text,
    until: f64,
}

impl Source {
    /// A source that has not connected yet, and continues from this last event ID, if there is one. An
    /// event with the data `terminator` completes the stream, unless that is empty.
    pub fn new(settings: Settings, id: Option<&[u8]>, terminator: &[u8]) -> Self {
        let Settings { seed, flags, .. } = settings;
        let longest = duration(settings.max_retry);
        let backoff = Backoff::default();
        let first = Duration::from_secs(1).min(longest);
        let idle = (settings.idle_timeout > 0.0).then(|| duration(settings.idle_timeout));
        let mut config = SessionConfig::default()
            .policy(match flags & flag::POLICY {
                0 => Policy::Resilient,
                1 => Policy::Strict,
                2 => Policy::Once,
                _ => Policy::Resume,
            })
            .fresh_credentials(flags & flag::FRESH_CREDENTIALS != 0)
            .control_events(flags & flag::CONTROL_EVENTS != 0)
            .comments(flags & flag::COMMENTS != 0)
            .backoff(backoff.initial(first).max(longest))
            .idle_timeout(idle)
            .connect_timeout(duration(settings.connect_timeout));
        if !terminator.is_empty() {
            let terminator = Terminator::Data(owned(terminator));
            let must_complete = flags & flag::MUST_COMPLETE != 0;
            config = if must_complete {
                config.must_end_with(terminator)
            } else {
                config.until(terminator)
            };
        }
        let mut session = Session::new(config, seed.to_bits());
        session.set_last_event_id(id.map(owned));
        Self { session, output: Text::default(), until: f64::INFINITY }
    }

    /// What to do now; see [`step`].
    pub fn step(&mut self, now: f64) -> u32 {
        self.output.clear();
        let (step, until) = match self.session.poll(duration(now)) {
            Step::Connect(request) => {
                self.output.push(request.last_event_id.unwrap_or_default());
                let withheld = if request.id_withheld { step::ID_WITHHELD } else { 0 };
                let by_get = if request.by_get { step::BY_GET } else { 0 };
                (step::CONNECT | withheld | by_get, None)
            }
            Step::Read { until } => (step::READ, until),
            Step::Sleep { until } => (step::SLEEP, Some(until)),
            Step::Stop(_) => (step::STOP, None),
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
    pub fn response(
        &mut self,
        now: f64,
        status: u32,
        retry_after: f64,
        content_type: Option<&[u8]>,
    ) {
        let head = ResponseHead {
            status: u16::try_from(status).unwrap_or_default(),
            content_type: content_type.and_then(|bytes| str::from_utf8(bytes).ok()),
            retry_after: (retry_after >= 0.0).then(|| duration(retry_after)),
        };
        self.session.handle_response(duration(now), &head);
    }

    /// Bytes of the body have arrived. Of what they complete there is a row in the [table](Self::table) for each: its [kind], and the ends of its type (empty: `message`), its
    /// last event ID and its data in the [text](Self::text). After the last row is the end of the last
    /// event ID of all.
    pub fn push(&mut self, now: f64, chunk: &[u8]) {
        let Self { session, output, .. } = self;
        output.clear();
        let mut items = session.handle_bytes(duration(now), chunk);
        let mut row = |kind, event_type: &str, id: &str, data: &str| {
            output.note(kind);
            output.push(event_type);
            output.push(id);
            output.push(data);
        };
        while let Some(item) = items.next_raw_item() {
            let (kind, event) = match &item {
                Ok(RawItem::Event(event) | RawItem::Error(event)) => (kind::EVENT, event),
                Ok(RawItem::Reset(event)) => (kind::RESET, event),
                Ok(RawItem::StreamError(event)) => (kind::STREAM_ERROR, event),
                Ok(RawItem::Comment(comment)) => {
                    row(kind::COMMENT, "", "", comment);
                    continue;
                }
                Ok(_) => continue,
                Err(_) => {
                    row(kind::TOO_LONG, "", "", "");
                    continue;
                }
            };
            row(kind, event.event_type(), event.last_event_id(), event.data());
        }
        output.push(session.last_event_id().unwrap_or_default());
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
        let Some(closed) = self.session.closed() else {
            return self.session.failure().map_or(reason::NONE, of_failure);
        };
        match closed {
            Closed::ByCaller => reason::BY_CALLER,
            Closed::Complete => reason::COMPLETE,
            Closed::Ended => reason::ENDED,
            Closed::NoContent => of_failure(Failure::Status(204)),
            Closed::Status(status) => of_failure(Failure::Status(*status)),
            Closed::ContentType(_) => reason::CONTENT_TYPE,
            Closed::StreamError(_) => reason::STREAM_ERROR,
            Closed::GaveUp(failure) => of_failure(*failure),
            _ => reason::NETWORK,
        }
    }

    /// The reconnection time that the server has set; not a number: it has not.
    pub fn reconnection_time(&self) -> f64 {
        self.session.reconnection_time().map_or(f64::NAN, milliseconds)
    }

    /// The text of the last call.
    pub fn text(&self) -> &str {
        self.output.text()
    }

    /// The table of the last call.
    pub fn table(&self) -> &[u32] {
        self.output.table()
    }
}

const fn of_failure(failure: Failure) -> u32 {
    match failure {
        Failure::Ended => reason::ENDED,
        Failure::Incomplete => reason::INCOMPLETE,
        Failure::Status(status) => reason::STATUS | (status as u32) << 8,
        Failure::ContentType => reason::CONTENT_TYPE,
        Failure::ConnectTimeout => reason::CONNECT_TIMEOUT,
        Failure::IdleTimeout => reason::IDLE_TIMEOUT,
        Failure::Headers => reason::HEADERS,
        Failure::ByCaller => reason::BY_CALLER,
        _ => reason::NETWORK,
    }
}

/// What JavaScript has encoded is UTF-8.
fn owned(bytes: &[u8]) -> String {
    str::from_utf8(bytes).unwrap_or_default().into()
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
    };

    fn open(source: &mut Source) {
        assert_eq!(source.step(0.0) & 0xFF, step::CONNECT);
        source.response(1.0, 200, f64::NAN, Some(b"text/event-stream"));
        assert_eq!(source.state(), state::OPEN);
    }

    #[test]
    fn the_events_of_a_chunk_are_one_text_with_a_table() {
        let mut source = Source::new(SETTINGS, None, b"");
        open(&mut source);
        source.push(2.0, "id: 1\ndata: \u{e9}\n\nevent: x\ndata: 😀\n\ndata: cu".as_bytes());
        assert_eq!(source.text(), "message1éx1😀1");
        assert_eq!(source.table(), [kind::EVENT, 7, 8, 9, kind::EVENT, 10, 11, 13, 14]);
        source.push(3.0, b"t\n\n");
        assert_eq!(source.text(), "message1cut1");
        assert_eq!(source.table(), [kind::EVENT, 7, 8, 11, 12]);
    }

    #[test]
    fn a_failure_is_told_with_the_time_of_the_next_try() {
        let mut source = Source::new(SETTINGS, Some(b"7"), b"");
        assert_eq!(source.step(0.0), step::CONNECT);
        assert_eq!(source.text(), "7", "the id to send");
        assert_eq!((source.step(0.0), source.until()), (step::READ, 500.0));
        source.response(1.0, 503, 2000.0, None);
        assert_eq!(source.step(1.0), step::SLEEP);
        assert!((source.until() - 2001.0).abs() < 0.01, "{}", source.until());
        assert_eq!(source.reason(), reason::STATUS | 503 << 8);
        source.reconnect(300.0);
        assert_eq!(source.step(300.0), step::CONNECT);
        source.response(301.0, 204, f64::NAN, None);
        assert_eq!((source.step(301.0), source.state()), (step::STOP, state::CLOSED));
        assert_eq!(source.reason(), reason::STATUS | 204 << 8);
    }

    #[test]
    fn control_events_are_rows_of_their_own_kinds() {
        let mut source = Source::new(SETTINGS, None, b"");
        open(&mut source);
        source.push(2.0, b"event: stream-reset\nid: a:3\ndata: {'channels': ['a']}\n\n");
        assert_eq!(source.text(), "stream-reseta:3{'channels': ['a']}a:3");
        assert_eq!(source.table()[0], kind::RESET);
        source.push(3.0, b"event: stream-error\nid: error\ndata: no\n\ndata: late\n\n");
        assert_eq!(source.text(), "stream-errora:3noa:3");
        assert_eq!(source.table()[0], kind::STREAM_ERROR);
        assert_eq!((source.step(4.0), source.reason()), (step::STOP, reason::STREAM_ERROR));
    }

    #[test]
    fn the_terminator_ends_a_stream_and_its_absence_is_a_failure() {
        let settings = Settings { flags: flag::POLICY & 2 | flag::MUST_COMPLETE, ..SETTINGS };
        for (chunk, reason) in [
            (&b"data: a\n\ndata: [DONE]\n\n"[..], reason::COMPLETE),
            (b"data: a\n\n", reason::INCOMPLETE),
        ] {
            let mut source = Source::new(settings, None, b"[DONE]");
            open(&mut source);
            source.push(2.0, chunk);
            assert_eq!(source.text(), "messagea");
            source.end(3.0);
            assert_eq!((source.step(3.0), source.reason()), (step::STOP, reason));
        }
    }
}
